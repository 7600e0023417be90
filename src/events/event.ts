import { hash } from 'node:crypto';

/** Who and what caused an event. Those of one transaction differ at most in the deploy that they belong to. */
export interface Meta {
  /** who: `root@host`, `key:<name>`, `token:<name>`, `worker:<id>`, `system:<part>` */
  readonly actor: string;
  /** the command or step that decided it, as a user would name it: `ps:scale`, `git push`, `step:build` */
  readonly command: string;
  /** groups all events of one piece of work: `<app id>.<deploy>`, or a command's own `<what it is about>:<12 hex digits>` */
  readonly correlation: string;
  /** id of the event that led to this one, if one did */
  readonly causation: string | null;
  /** W3C trace id (32 hex digits): the same from a push to its last step, and for what was written together with the push */
  readonly trace: string;
}

/** The W3C trace id of everything with this correlation: 32 hex digits. */
export const traceOf = (correlation: string): string => hash('sha256', correlation, 'hex').slice(0, 32);

/** A fact that has not been written yet. `schema` is the version of `data`'s shape (1 unless said). */
export interface NewEvent<T extends string = string, D = unknown> {
  readonly type: T;
  readonly data: D;
  readonly schema?: number;
}

/** A fact in the log. */
export interface Recorded<E extends NewEvent = NewEvent> {
  /** global order; gaps are allowed, going back is not: a reader that has seen p never finds a new event at or below p */
  readonly position: number;
  readonly stream: string;
  /** 1 for a stream's first event, no gaps */
  readonly version: number;
  readonly id: string;
  readonly type: E['type'];
  readonly data: E['data'];
  readonly schema: number;
  readonly meta: Meta;
  /** when it was written: milliseconds since the epoch */
  readonly at: number;
}
