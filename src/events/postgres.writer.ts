import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import { GENESIS, type ChainedEvent } from './chain.js';
import type { Recorded } from './event.js';
import { CHAIN_COLUMNS, STATES, WORK_COLUMNS, plan, toWork, type Head, type View, type WorkColumns } from './plan.js';
import { isAway, translate } from './postgres.errors.js';
import { LOCK } from './postgres.schema.js';
import { StoreUnavailable, type Transaction, type WorkRow } from './store.port.js';

const GROUP = 64;
/** How long the fate of a COMMIT is looked for whose connection broke. */
const FATE_MS = 5_000;

interface Item {
  readonly tx: Transaction;
  readonly done: (recorded: Recorded[]) => void;
  readonly failed: (error: unknown) => void;
}

/** The state under the lock, and what the group adds to it. */
class GroupView implements View {
  head: Head = { position: 0, hash: GENESIS };
  readonly versions = new Map<string, number>();
  readonly rows = new Map<string, WorkRow>();
  readonly events: ChainedEvent[] = [];
  readonly added = new Set<string>();
  readonly changed = new Set<string>();
  xid = '';

  version(stream: string): number {
    return this.versions.get(stream) ?? 0;
  }

  work(id: string): WorkRow | null {
    return this.rows.get(id) ?? null;
  }

  accept(tx: Transaction): Recorded[] {
    const accepted = plan(tx, this);
    this.head = accepted.head;
    this.events.push(...accepted.events);
    for (const [stream, version] of accepted.versions) this.versions.set(stream, version);
    for (const row of accepted.added) { this.rows.set(row.id, row); this.added.add(row.id); }
    for (const row of accepted.changed) { this.rows.set(row.id, row); if (!this.added.has(row.id)) this.changed.add(row.id); }
    return [...accepted.recorded];
  }
}

/** Appends through one queue; what waits together is judged one by one under the lock and written in one transaction. */
export class PostgresWriter {
  readonly #pool: Pool;
  readonly #queue: Item[] = [];
  #pumping: Promise<void> | null = null;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  transact(tx: Transaction): Promise<Recorded[]> {
    return new Promise((done, failed) => {
      this.#queue.push({ tx, done, failed });
      this.#pumping ??= this.#pump();
    });
  }

  async idle(): Promise<void> {
    while (this.#pumping) await this.#pumping;
  }

  async #pump(): Promise<void> {
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#group(this.#queue.splice(0, GROUP));
    this.#pumping = null;
  }

  async #group(items: readonly Item[]): Promise<void> {
    const settle: (() => void)[] = [];
    const view = new GroupView();
    let client: PoolClient | null = null;
    let committing = false;
    try {
      client = await this.#pool.connect();
      // the lock is a statement of its own: the next one's snapshot is taken after it
      await client.query(`BEGIN ISOLATION LEVEL READ COMMITTED; ${LOCK}`);
      await load(client, view, items.map((item) => item.tx));
      let accepted = 0;
      for (const { tx, done, failed } of items) {
        try {
          const recorded = view.accept(tx);
          accepted += 1;
          settle.push(() => done(recorded));
        } catch (error) {
          settle.push(() => failed(error));
        }
      }
      if (accepted > 0) await save(client, view);
      committing = true;
      await client.query(accepted > 0 ? "SELECT pg_notify('berth_changes', ''); COMMIT" : 'ROLLBACK');
      client.release();
    } catch (error) {
      const away = isAway(error);
      if (client && !away) await client.query('ROLLBACK').catch(() => undefined);
      client?.release(away);
      if (!away && items.length > 1 && !(translate(error) instanceof StoreUnavailable)) {
        for (const item of items) await this.#group([item]); // one of them cannot be stored: the others shall not suffer
        return;
      }
      const fate = committing && away && view.xid ? await this.#fate(view.xid) : 'aborted';
      if (fate !== 'committed') {
        const reason = fate === 'aborted' ? translate(error) : new StoreUnavailable('PostgreSQL went away during a commit: load the streams again to see whether it was written', 'away', { cause: error });
        for (const item of items) item.failed(reason);
        return;
      }
    }
    for (const tell of settle) tell();
  }

  /** Whether a transaction was committed whose answer was lost. */
  async #fate(xid: string): Promise<'committed' | 'aborted' | 'unknown'> {
    for (const late = performance.now() + FATE_MS; performance.now() < late; await sleep(100)) {
      try {
        const { rows } = await this.#pool.query<{ status: string | null }>('SELECT pg_xact_status($1::xid8) AS status', [xid]);
        const status = rows[0]?.status;
        if (status === 'committed' || status === 'aborted') return status;
      } catch { /* not back yet */ }
    }
    return 'unknown';
  }
}

async function load(client: PoolClient, view: GroupView, txs: readonly Transaction[]): Promise<void> {
  const streams = [...new Set(txs.flatMap((tx) => tx.appends.map((append) => append.stream)))].filter((stream) => !stream.includes('\0'));
  const { rows } = await client.query<{ xid: string; position: string | null; hash: string | null; versions: (number | null)[] | null }>({
    name: 'load',
    text: `SELECT pg_current_xact_id()::text AS xid, last.position, last.hash,
             (SELECT array_agg((SELECT version FROM events WHERE stream = s ORDER BY version DESC LIMIT 1) ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS u (s, n)) AS versions
           FROM (SELECT 1) AS one LEFT JOIN (SELECT position, hash FROM events ORDER BY position DESC LIMIT 1) AS last ON true`,
    values: [streams],
  });
  const first = rows[0];
  if (!first) throw new Error('PostgreSQL answered no row');
  view.xid = first.xid;
  if (first.position !== null && first.hash !== null) view.head = { position: Number(first.position), hash: first.hash };
  streams.forEach((stream, index) => view.versions.set(stream, first.versions?.[index] ?? 0));

  const ids = new Set(txs.flatMap((tx) => [tx.claim?.id, tx.finish?.id, tx.giveBack?.id, ...(tx.drop ?? []), ...(tx.work ?? []).map((item) => item.id)]));
  const wanted = [...ids].filter((id) => id !== undefined && !id.includes('\0'));
  if (wanted.length === 0) return;
  // everyone who locks several rows does so in the order of seq: no deadlocks
  const found = await client.query<WorkColumns>({ name: 'lock', text: `SELECT ${WORK_COLUMNS} FROM work WHERE id = ANY ($1) ORDER BY seq FOR UPDATE`, values: [wanted] });
  for (const row of found.rows) view.rows.set(row.id, toWork(row));
}

export async function insertEvents(client: PoolClient, events: readonly ChainedEvent[]): Promise<void> {
  await client.query({
    name: 'events',
    text: `INSERT INTO events (${CHAIN_COLUMNS})
           SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[])`,
    values: columns(events, ['position', 'stream', 'version', 'id', 'type', 'schema', 'data', 'meta', 'at', 'correlation', 'hash']),
  });
}

async function save(client: PoolClient, view: GroupView): Promise<void> {
  if (view.events.length > 0) await insertEvents(client, view.events);
  const rows = (ids: ReadonlySet<string>) => [...ids].flatMap((id) => view.rows.get(id) ?? []).map((row) => ({ ...row, json: JSON.stringify(row.payload), number: STATES.indexOf(row.state) }));
  if (view.changed.size > 0) {
    await client.query({
      name: 'change',
      text: `UPDATE work w SET state = u.state, dispatch = u.dispatch, attempt = u.attempt, owner = u.owner, lease_until = u.lease_until, dispatched_at = u.dispatched_at
             FROM unnest($1::text[], $2::int[], $3::int[], $4::int[], $5::text[], $6::bigint[], $7::bigint[]) AS u (id, state, dispatch, attempt, owner, lease_until, dispatched_at) WHERE w.id = u.id`,
      values: columns(rows(view.changed), ['id', 'number', 'dispatch', 'attempt', 'owner', 'leaseUntil', 'dispatchedAt']),
    });
  }
  if (view.added.size > 0) {
    await client.query({
      name: 'add',
      text: `INSERT INTO work (${WORK_COLUMNS})
             SELECT id, queue, grp, payload, state, dispatch, attempt, owner, lease_until, dispatched_at, not_before, added_at
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
               WITH ORDINALITY AS u (id, queue, grp, payload, state, dispatch, attempt, owner, lease_until, dispatched_at, not_before, added_at, n) ORDER BY n`,
      values: columns(rows(view.added), ['id', 'queue', 'group', 'json', 'number', 'dispatch', 'attempt', 'owner', 'leaseUntil', 'dispatchedAt', 'notBefore', 'addedAt']),
    });
  }
}

function columns<R, K extends keyof R>(rows: readonly R[], keys: readonly K[]): unknown[][] {
  return keys.map((key) => rows.map((row) => row[key]));
}
