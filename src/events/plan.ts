import { randomUUID } from 'node:crypto';
import { link, type ChainedEvent } from './chain.js';
import type { Meta, Recorded } from './event.js';
import { Conflict, LeaseLost, type Fact, type NewWork, type Transaction, type WorkRow, type WorkState } from './store.port.js';

/** The end of the log. */
export interface Head {
  readonly position: number;
  readonly hash: string;
}

/** What a transaction is judged against: the state under the write lock. */
export interface View {
  readonly head: Head;
  /** 0 = no such stream */
  version(stream: string): number;
  work(id: string): WorkRow | null;
}

/** What an accepted transaction writes. */
export interface Plan {
  readonly events: readonly ChainedEvent[];
  readonly recorded: readonly Recorded[];
  readonly head: Head;
  /** stream → version afterwards */
  readonly versions: ReadonlyMap<string, number>;
  /** existing work rows, as they are afterwards */
  readonly changed: readonly WorkRow[];
  readonly added: readonly WorkRow[];
}

/**
 * Judges one transaction, the same for every driver; writes nothing.
 * @throws LeaseLost, Conflict, in this order; Error for what no driver could store
 */
export function plan(tx: Transaction, view: View): Plan {
  if (!Number.isSafeInteger(tx.now)) throw new Error(`now=${tx.now}: whole milliseconds are needed`);
  const changed = new Map<string, WorkRow>();
  const work = (id: string): WorkRow | null => changed.get(id) ?? view.work(id);

  if (tx.claim) {
    const { id, owner, leaseMs } = tx.claim;
    const row = work(id);
    if (!row || !open(row) || row.leaseUntil > tx.now) throw new LeaseLost(id, owner);
    const dispatchedAt = row.state === 'todo' ? tx.now : row.dispatchedAt;
    changed.set(id, { ...row, state: 'dispatched', owner, leaseUntil: tx.now + leaseMs, attempt: row.attempt + 1, dispatchedAt });
  }
  if (tx.finish) changed.set(tx.finish.id, { ...owned(tx.finish, work), state: 'done', leaseUntil: 0 });

  if (tx.giveBack) {
    const row = owned(tx.giveBack, work);
    changed.set(row.id, { ...row, state: 'todo', dispatch: row.dispatch + 1, owner: null, leaseUntil: 0 });
  }

  const written = append(tx, view);

  for (const id of tx.drop ?? []) {
    const row = work(id);
    if (row && open(row)) changed.set(id, { ...row, state: 'dropped', leaseUntil: 0 });
  }
  const added = new Map<string, WorkRow>();
  for (const item of tx.work ?? []) {
    if (added.has(item.id) || view.work(item.id)) throw new Error(`work ${item.id} exists already`);
    added.set(item.id, newRow(item, tx.now));
  }
  return { ...written, changed: [...changed.values()], added: [...added.values()] };
}

function owned({ id, owner }: { readonly id: string; readonly owner: string }, work: (id: string) => WorkRow | null): WorkRow {
  const row = work(id);
  if (!row || row.state !== 'dispatched' || row.owner !== owner) throw new LeaseLost(id, owner);
  return row;
}

function append(tx: Transaction, view: View): Pick<Plan, 'events' | 'recorded' | 'head' | 'versions'> {
  const shared = written(tx.meta);
  const metaOf = (fact: Fact): Written => (fact.meta ? written({ ...tx.meta, ...fact.meta }) : shared);
  const versions = new Map<string, number>();
  const events: ChainedEvent[] = [];
  const recorded: Recorded[] = [];
  let { position, hash } = view.head;
  for (const { stream, expected, events: facts } of tx.appends) {
    let version = versions.get(stream) ?? view.version(name(stream, 'stream'));
    if (version !== expected) throw new Conflict(stream, expected, version);
    for (const fact of facts) {
      position += 1;
      version += 1;
      const data = text(fact.data);
      const { meta, kept, correlation } = metaOf(fact);
      const row = { position, stream, version, id: randomUUID(), type: name(fact.type, 'type'), schema: fact.schema ?? 1, data, meta, at: tx.now };
      hash = link(hash, row);
      events.push({ ...row, correlation, hash });
      recorded.push({ ...row, data: JSON.parse(data) as unknown, meta: kept });
    }
    versions.set(stream, version);
  }
  return { events, recorded, head: { position, hash }, versions };
}

interface Written { readonly meta: string; readonly kept: Meta; readonly correlation: string }

function written(value: Meta): Written {
  const meta = text(value);
  return { meta, kept: JSON.parse(meta) as Meta, correlation: name(value.correlation, 'correlation') };
}

function newRow(item: NewWork, now: number): WorkRow {
  const { id, queue, group } = item;
  for (const part of [id, queue, group]) name(part, 'work id, queue and group');
  return {
    id, queue, group, payload: JSON.parse(text(item.payload)) as unknown, notBefore: item.notBefore ?? 0,
    state: 'todo', dispatch: 0, attempt: 0, owner: null, leaseUntil: 0, dispatchedAt: 0, addedAt: now,
  };
}

const open = (row: WorkRow): boolean => row.state === 'todo' || row.state === 'dispatched';

/** JSON without what JSON cannot say: what is answered is what will be read. */
function text(value: unknown): string {
  return JSON.stringify(value) ?? 'null';
}

/** An indexed text: PostgreSQL takes neither NUL nor more than some 2 700 bytes in an index, and no encoding takes half a surrogate pair. */
function name(value: string, what: string): string {
  if (value === '' || value.length > 512 || value.includes('\0') || !value.isWellFormed()) {
    throw new Error(`${what} ${JSON.stringify(value.slice(0, 80))}: 1 to 512 characters of well-formed text are needed`);
  }
  return value;
}

// ---- rows as the databases give them; PostgreSQL answers bigint as text

export interface EventColumns {
  position: number | string; stream: string; version: number; id: string; type: string; schema: number;
  data: string; meta: string; at: number | string;
}

export interface WorkColumns {
  id: string; queue: string; grp: string; payload: string; state: number; dispatch: number; attempt: number; owner: string | null;
  lease_until: number | string; dispatched_at: number | string; not_before: number | string; added_at: number | string;
}

export const EVENT_COLUMNS = 'position, stream, version, id, type, schema, data, meta, at';
export const WORK_COLUMNS = 'id, queue, grp, payload, state, dispatch, attempt, owner, lease_until, dispatched_at, not_before, added_at';

/** Index = the number in the database. */
export const STATES: readonly WorkState[] = ['todo', 'dispatched', 'done', 'dropped'];

/** The columns of `EVENT_COLUMNS`, in that order. */
export type EventValues = readonly [position: number | string, stream: string, version: number, id: string, type: string, schema: number, data: string, meta: string, at: number | string];

/** Events of one transaction have the same meta, letter by letter: it is parsed once for those that stand together. */
export function toRecordeds(rows: readonly EventValues[]): Recorded[] {
  let text = '';
  let parsed: Meta | null = null;
  return rows.map(([position, stream, version, id, type, schema, data, meta, at]) => {
    if (parsed === null || meta !== text) [text, parsed] = [meta, JSON.parse(meta) as Meta];
    return { position: Number(position), stream, version, id, type, schema, data: JSON.parse(data) as unknown, meta: parsed, at: Number(at) };
  });
}

/** What an actor's filter finds besides the actor itself, as ranges of names in the order of their bytes: from, and up to (not included). */
export const rangesOf = (actor: string): readonly (readonly [string, string])[] => [[`${actor}:`, `${actor};`], [`${actor}@`, `${actor}A`]];
/** more names than this are as well looked for one event after the other */
export const ACTORS_MAX = 200;

export interface ChainColumns extends EventColumns { correlation: string; hash: string }

export const CHAIN_COLUMNS = `${EVENT_COLUMNS}, correlation, hash`;

export const toChained = (row: ChainColumns): ChainedEvent => ({ ...row, position: Number(row.position), at: Number(row.at) });

export function toWork(row: WorkColumns): WorkRow {
  return {
    id: row.id, queue: row.queue, group: row.grp, payload: JSON.parse(row.payload) as unknown, state: STATES[row.state] ?? 'dropped',
    dispatch: row.dispatch, attempt: row.attempt, owner: row.owner, leaseUntil: Number(row.lease_until),
    dispatchedAt: Number(row.dispatched_at), notBefore: Number(row.not_before), addedAt: Number(row.added_at),
  };
}
