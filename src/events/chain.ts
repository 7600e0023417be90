import { hash } from 'node:crypto';

/** What one link of the chain covers. `data` and `meta` are the JSON texts exactly as they are stored. */
export interface Link {
  readonly position: number;
  readonly stream: string;
  readonly version: number;
  readonly id: string;
  readonly type: string;
  readonly schema: number;
  readonly data: string;
  readonly meta: string;
  /** ms since the epoch */
  readonly at: number;
}

/** An event with its place in the chain. */
export interface ChainedEvent extends Link {
  readonly correlation: string;
  readonly hash: string;
}

/** What stands before the first event. */
export const GENESIS = '0'.repeat(64);

/**
 * The hash of an event, given its predecessor's: SHA-256, 64 lower-case hex digits, over three lines: a JSON array of the
 * short fields, the data, the meta. JSON texts made by `JSON.stringify` hold no newline, so no two events give the same input;
 * and as `JSON.stringify(JSON.parse(text))` gives such a text back, an exported log can be checked too.
 */
export function link(previous: string, event: Link): string {
  const { position, stream, version, id, type, schema, at } = event;
  return hash('sha256', `${JSON.stringify([previous, position, stream, version, id, type, schema, at])}\n${event.data}\n${event.meta}`, 'hex');
}
