import { setImmediate as turn } from 'node:timers/promises';
import { GENESIS, link, type ChainedEvent } from '../../events/chain.js';
import type { Checkpoint } from '../../events/types/audit.events.js';
import { isSigned } from './audit-key.js';

export type ProblemKind = 'altered' | 'removed' | 'inserted' | 'reordered' | 'rewritten';
/** The first thing that is not as it was written. */
export interface Problem { readonly kind: ProblemKind; readonly position: number; readonly type: string | null; readonly message: string }

/** A checkpoint, and where it comes from: `the log at 12`, or a file. */
export interface Known { readonly checkpoint: Checkpoint; readonly where: string; /** its own position in the log */ readonly at: number | null }

export interface Place { readonly position: number; readonly hash: string }
export const START: Place = { position: 0, hash: GENESIS };

export interface Against {
  /** what stands before the first event that is read */
  readonly from: Place;
  readonly checkpoints: readonly Known[];
  /** the only key that checkpoints may be signed with; null: whichever they name */
  readonly key: string | null;
  /** hashes as an earlier export has them, by position */
  readonly earlier: ReadonlyMap<number, string>;
}

export interface Verdict {
  readonly events: number;
  readonly head: Place;
  /** checkpoints that hold, and the last position they cover */
  readonly checkpoints: number;
  readonly covered: number;
  readonly problem: Problem | null;
}

/** how far ahead is looked for an event that is not where it belongs */
const AHEAD = 1000;

const fits = (previous: string, event: ChainedEvent, position = event.position): boolean => link(previous, { ...event, position }) === event.hash;

/** What is wrong with `event`, which does not follow upon `before`; `rest` are those that come after it. */
export function diagnose(before: Place, event: ChainedEvent, rest: readonly ChainedEvent[]): Problem {
  const due = before.position + 1;
  const of = (kind: ProblemKind, position: number, message: string, type: string | null = event.type): Problem => ({ kind, position, type, message });
  if (event.position <= before.position) return of('inserted', event.position, `position ${event.position} stands there a second time, behind ${before.position}`);
  if (event.position > due) {
    const late = rest.find((other) => other.position === due);
    if (late) return of('reordered', due, `event ${due} stands behind event ${event.position}`, late.type);
    return of('removed', due, event.position - due === 1 ? `event ${due} is missing` : `events ${due} to ${event.position - 1} are missing`, null);
  }
  const [next] = rest;
  const at = rest.findIndex((other) => fits(before.hash, other, due));
  const owner = rest[at];
  if (owner && [owner, rest[at - 1]].some((ahead) => ahead && fits(ahead.hash, event, owner.position))) return of('reordered', due, `events ${due} and ${owner.position} have changed places`);
  if (owner) return of('inserted', due, `event ${due} was put in: what belongs here stands at ${owner.position}`);
  if (next && fits(event.hash, next, next.position + 1)) return of('removed', due, `event ${due} was taken out and those behind it were moved up`, null);
  if (next && fits(event.hash, next)) return of('altered', due, `event ${due} is not as it was written`);
  return of('altered', due, `event ${due} is not as it was written, or the one before it was written anew`);
}

/**
 * Walks the chain and compares it with checkpoints and an earlier export. Ends at the first problem; gives the event loop a turn
 * between pages, as it may be the API that does this.
 */
export async function verifyChain(pages: AsyncIterable<readonly ChainedEvent[]>, against: Against): Promise<Verdict> {
  const { from, earlier } = against;
  let head = from;
  let events = 0;
  let held = 0;
  let covered = 0;
  const due = new Map<number, Known[]>();
  const verdict = (problem: Problem | null): Verdict => ({ events, head, checkpoints: held, covered, problem });
  for (const known of against.checkpoints) {
    const { checkpoint, where, at } = known;
    if (!isSigned(checkpoint)) return verdict({ kind: 'altered', position: at ?? checkpoint.position, type: 'AuditCheckpointTaken', message: `the checkpoint of ${where} is not what its signature says` });
    if (against.key !== null && checkpoint.key !== against.key) return verdict({ kind: 'altered', position: at ?? checkpoint.position, type: 'AuditCheckpointTaken', message: `the checkpoint of ${where} was signed with another key than this server's` });
    if (checkpoint.position > from.position || (checkpoint.position === from.position && from.position > 0)) due.set(checkpoint.position, [...(due.get(checkpoint.position) ?? []), known]);
  }
  /** what others remember of the event at `head` */
  const remembered = (type: string | null): Problem | null => {
    const was = earlier.get(head.position);
    if (was !== undefined && was !== head.hash) return { kind: 'rewritten', position: head.position, type, message: `event ${head.position} is another one than in the earlier export: the log was written anew from here on` };
    for (const { checkpoint, where } of due.get(head.position) ?? []) {
      if (checkpoint.chain !== head.hash) return { kind: 'rewritten', position: covered + 1, type: null, message: `the log was written anew somewhere from event ${covered + 1} to ${head.position}: the checkpoint of ${where} says otherwise` };
      held += 1;
      covered = head.position;
    }
    due.delete(head.position);
    return null;
  };
  const iterator = pages[Symbol.asyncIterator]();
  const first = from.position > 0 ? remembered(null) : null;
  if (first) return verdict(first);
  for (let page = await iterator.next(); !page.done; page = await iterator.next()) {
    const rows = page.value;
    for (const [i, event] of rows.entries()) {
      if (event.position !== head.position + 1 || !fits(head.hash, event)) {
        const rest = rows.slice(i + 1);
        while (rest.length < AHEAD) {
          const more = await iterator.next();
          if (more.done) break;
          rest.push(...more.value);
        }
        return verdict(diagnose(head, event, rest));
      }
      head = { position: event.position, hash: event.hash };
      events += 1;
      const problem = remembered(event.type);
      if (problem) return verdict(problem);
    }
    await turn();
  }
  const beyond = Math.max(0, ...due.keys(), ...[...earlier.keys()].slice(-1));
  if (beyond > head.position) return verdict({ kind: 'removed', position: head.position + 1, type: null, message: `the log ends at ${head.position}, but once reached ${beyond}: its end was cut off` });
  return verdict(null);
}
