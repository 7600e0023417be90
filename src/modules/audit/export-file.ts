import { Rejected } from '../../events/decider.js';
import { GENESIS, type ChainedEvent } from '../../events/chain.js';
import type { Checkpoint } from '../../events/types/audit.events.js';
import type { Known, Place } from './verify.js';

/** First line of an export. */
export interface ExportHead { readonly berth: 'audit-export'; readonly version: 1; readonly after: number; readonly previous: string; /** the server's public audit key */ readonly key: string | null }

/**
 * A line of an export. Data and meta are objects, to be read by other programs; they give their texts back exactly, and where they
 * would not (a text that no `JSON.stringify` made), the texts themselves stand there.
 */
export function exportLine(event: ChainedEvent): Record<string, unknown> {
  const { data, meta, ...rest } = event;
  const plain = { data: parsed(data), meta: parsed(meta) };
  const exact = JSON.stringify(plain.data) === data && JSON.stringify(plain.meta) === meta;
  return { ...rest, ...(exact ? plain : { text: { data, meta } }) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export interface Exported {
  readonly from: Place;
  readonly key: string | null;
  /** how many events there are; a large export is not held in memory as objects */
  readonly count: number;
  pages(): AsyncGenerator<ChainedEvent[]>;
  /** those that stand in the export as events, and those that were given alone, as `audit:checkpoint --format json` prints them */
  readonly checkpoints: readonly Known[];
}

const PAGE = 2000;

const isCheckpoint = (value: unknown): value is Checkpoint => {
  const { position, chain, takenAt, signature, key } = (value ?? {}) as Record<string, unknown>;
  return Number.isSafeInteger(position) && Number.isSafeInteger(takenAt) && [chain, signature, key].every((part) => typeof part === 'string');
};

/** An event's checkpoint, if it is one. */
export const checkpointIn = (event: { stream: string; type: string; position: number; data: unknown }): Known[] => {
  if (event.type !== 'AuditCheckpointTaken' || event.stream !== 'audit') return [];
  const data = typeof event.data === 'string' ? parsed(event.data) : event.data;
  // one whose fields are gone: no signature fits it
  const checkpoint = isCheckpoint(data) ? data : { position: event.position, chain: '', takenAt: 0, signature: '', key: '' };
  return [{ checkpoint, where: `event ${event.position}`, at: event.position }];
};

function* linesOf(file: Buffer): Generator<{ text: string; number: number }> {
  let number = 0;
  for (let at = 0; at < file.length;) {
    const end = file.indexOf(0x0a, at);
    const stop = end < 0 ? file.length : end;
    const text = file.toString('utf8', at, stop).trim();
    at = stop + 1;
    number += 1;
    if (text !== '') yield { text, number };
  }
}

/** Reads an export, whole or cut, or single checkpoints. @throws Rejected with the line that is neither, also while its pages are read */
export function readExport(file: Buffer, name: string): Exported {
  let from: Place = { position: 0, hash: GENESIS };
  let key: string | null = null;
  let count = 0;
  const checkpoints: Known[] = [];
  const bad = (number: number): Rejected => new Rejected('audit.file', `${name}, line ${number}: not a line of an export`, 'made by: berth audit:export > file');
  /** null: a line that is no event */
  const read = (text: string, number: number): ChainedEvent | null => {
    const line = unwrapped(parsed(text));
    if (line?.['berth'] === 'audit-export') {
      const head = line as unknown as ExportHead;
      if (!Number.isSafeInteger(head.after) || typeof head.previous !== 'string') throw bad(number);
      from = { position: head.after, hash: head.previous };
      key = head.key;
      return null;
    }
    if (isCheckpoint(line?.['checkpoint'] ?? line)) {
      checkpoints.push({ checkpoint: (line?.['checkpoint'] ?? line) as Checkpoint, where: name, at: null });
      return null;
    }
    const event = line && eventOf(line);
    if (!event) throw bad(number);
    return event;
  };
  const plain: number[] = []; // lines that are no events
  for (const { text, number } of linesOf(file)) {
    // only these are looked into now
    const event = number === 1 || text.includes('"signature"') || text.includes('audit-export') ? read(text, number) : undefined;
    if (event === null) plain.push(number);
    else count += 1;
    if (event) checkpoints.push(...checkpointIn(event));
  }
  if (count === 0 && checkpoints.length === 0) throw new Rejected('audit.file', `${name} has neither events nor checkpoints in it`, 'made by: berth audit:export > file');
  const skip = new Set(plain);
  return {
    from, key, count, checkpoints,
    async *pages() {
      let page: ChainedEvent[] = [];
      for (const { text, number } of linesOf(file)) {
        if (skip.has(number)) continue;
        page.push(read(text, number)!);
        if (page.length < PAGE) continue;
        yield page;
        page = [];
      }
      if (page.length > 0) yield page;
    },
  };
}

/** `--format json` puts a line into the envelope that every streamed item has. */
function unwrapped(value: unknown): Record<string, unknown> | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const line = value as Record<string, unknown>;
  return typeof line['event'] === 'string' && !('position' in line) ? (line['data'] as Record<string, unknown>) : line;
}

function eventOf(line: Record<string, unknown>): ChainedEvent | null {
  const { position, version, schema, at, stream, id, type, correlation, hash, text } = line;
  if (![position, version, schema, at].every(Number.isSafeInteger) || ![stream, id, type, correlation, hash].every((part) => typeof part === 'string')) return null;
  const { data, meta } = (text ?? { data: JSON.stringify(line['data']), meta: JSON.stringify(line['meta']) }) as { data: string; meta: string };
  return { position, stream, version, id, type, schema, data, meta, at, correlation, hash } as ChainedEvent;
}
