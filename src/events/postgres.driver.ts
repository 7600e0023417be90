import pg from 'pg';
import type { ChainedEvent } from './chain.js';
import type { Recorded } from './event.js';
import { ACTORS_MAX, CHAIN_COLUMNS, EVENT_COLUMNS, WORK_COLUMNS, rangesOf, toChained, toRecordeds, toWork, type ChainColumns, type EventValues, type WorkColumns } from './plan.js';
import { translate } from './postgres.errors.js';
import { Notices } from './postgres.notices.js';
import { ACTOR, LOCK, migrate } from './postgres.schema.js';
import { PostgresWriter, insertEvents } from './postgres.writer.js';
import { Conflict, EventStore, type ReadFilter, type Transaction, type WholeLog, type WorkRow } from './store.port.js';

/** How long a caller waits for a connection or a lock. */
const PATIENCE_MS = 5_000;
const NOTIFY = "pg_notify('berth_changes', '')";
/** bigint's largest: a limit or time beyond it is none */
const bigint = (value: number): number => Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER);

/**
 * Connects and brings the schema up to date.
 * @throws Error for an unusable URL or a newer schema; StoreUnavailable ('away') when the server does not answer
 */
export async function openPostgres(url: string): Promise<EventStore> {
  const config: pg.PoolConfig = {
    connectionString: url, application_name: 'berth', keepAlive: true, connectionTimeoutMillis: PATIENCE_MS, lock_timeout: PATIENCE_MS,
    // a process that was stopped with the lock in its hand must not stop the others
    idle_in_transaction_session_timeout: 2 * PATIENCE_MS, query_timeout: 6 * PATIENCE_MS,
  };
  const pool = new pg.Pool({ ...config, max: 6, idleTimeoutMillis: 60_000, allowExitOnIdle: true });
  pool.on('error', () => undefined); // an idle connection broke: the next query makes a new one
  pool.on('connect', (client) => client.on('error', () => undefined)); // a busy one: its query says so
  try {
    const client = await pool.connect();
    try {
      await migrate(client);
    } finally {
      client.release();
    }
  } catch (error) {
    await pool.end().catch(() => undefined);
    throw translate(error);
  }
  return new PostgresStore(pool, config);
}

/** The log in a PostgreSQL database (13 or later), for several machines. */
export class PostgresStore extends EventStore {
  readonly #pool: pg.Pool;
  readonly #writer: PostgresWriter;
  readonly #notices: Notices;
  #closed = false;

  constructor(pool: pg.Pool, config: pg.ClientConfig) {
    super();
    this.#pool = pool;
    this.#writer = new PostgresWriter(pool);
    this.#notices = new Notices(config, async () => {
      const [row] = await this.#all<{ mark: string }>('SELECT concat((SELECT max(position) FROM events), $$/$$, (SELECT max(seq) FROM work)) AS mark');
      return row?.mark ?? '';
    });
  }

  override async transact(tx: Transaction): Promise<Recorded[]> {
    this.#alive();
    return this.#writer.transact(tx);
  }

  override readStream(stream: string, after = 0, until = Number.MAX_SAFE_INTEGER): Promise<Recorded[]> {
    return this.#events('WHERE stream = $1 AND version > $2 AND version <= $3 ORDER BY version', stream, after, Math.min(until, 2 ** 31 - 1));
  }

  override readAll(after: number, limit: number, filter: ReadFilter = {}): Promise<Recorded[]> {
    return this.#range('>', after, limit, filter);
  }

  override readBack(before: number, limit: number, filter: ReadFilter = {}): Promise<Recorded[]> {
    return this.#range('<', before, limit, filter);
  }

  async #range(than: '>' | '<', position: number, limit: number, { types, stream, correlation, actor, except }: ReadFilter): Promise<Recorded[]> {
    const order = than === '>' ? 'ASC' : 'DESC';
    const values: unknown[] = [bigint(position), bigint(limit)];
    const equals = (sql: string, value: unknown): string => (value === undefined ? '' : ` AND ${sql.replaceAll('?', `$${values.push(value)}::text`)}`);
    // concat: not by the index, which would be taken for what it is not good for
    const by = (): string => equals(`(concat(${ACTOR}) = ? OR left(${ACTOR}, length(?) + 1) IN (? || ':', ? || '@'))`, actor);
    if (stream !== undefined || correlation !== undefined) {
      const where = equals('stream = ?', stream) + equals('correlation = ?', correlation) + by() + (types ? ` AND type = ANY ($${values.push(types)}::text[])` : '');
      return this.#events(`WHERE position + 0 ${than} $1${where} ORDER BY ${stream === undefined ? 'position' : 'version'} ${order} LIMIT $2`, ...values);
    }
    if (types) {
      // a range of the index for each type: a rare type in a long log costs nothing
      const who = by();
      return this.#events(`WHERE position IN (SELECT p.position FROM unnest($${values.push(types)}::text[]) AS t (type), LATERAL
          (SELECT position FROM events e WHERE e.type = t.type AND e.position ${than} $1${who} ORDER BY e.position ${order} LIMIT $2) AS p)
        ORDER BY position ${order} LIMIT $2`, ...values);
    }
    if (except) return this.#events(`WHERE position > $1 AND (type <> ALL ($3) OR position = $1 + 1 OR position = (SELECT max(position) FROM events)) ORDER BY position LIMIT $2`, ...values, except);
    const actors = actor === undefined ? [] : await this.#actors(actor);
    if (actor === undefined || actors.length > ACTORS_MAX) return this.#events(`WHERE position ${than} $1${by()} ORDER BY position ${order} LIMIT $2`, ...values);
    return this.#events(`WHERE position IN (SELECT p.position FROM unnest($3::text[]) AS t (actor), LATERAL
        (SELECT position FROM events e WHERE ${ACTOR} = t.actor AND e.position ${than} $1 ORDER BY e.position ${order} LIMIT $2) AS p)
      ORDER BY position ${order} LIMIT $2`, ...values, actors);
  }

  /** The actors of that name, from the index: one step each, however often each is in the log. */
  async #actors(actor: string): Promise<string[]> {
    const found = [actor];
    for (const [from, to] of rangesOf(actor)) {
      let last = from;
      for (let than = '>='; found.length <= ACTORS_MAX; than = '>') {
        const [next] = await this.#all<{ actor: string }>(`SELECT ${ACTOR} AS actor FROM events WHERE ${ACTOR} ${than} $1 AND ${ACTOR} < $2 ORDER BY ${ACTOR} LIMIT 1`, last, to);
        if (!next) break;
        found.push(last = next.actor);
      }
    }
    return found;
  }

  override async readChain(after: number, limit: number): Promise<ChainedEvent[]> {
    return (await this.#all<ChainColumns & pg.QueryResultRow>(`SELECT ${CHAIN_COLUMNS} FROM events WHERE position > $1 ORDER BY position LIMIT $2`, after, bigint(limit))).map(toChained);
  }

  override async head(): Promise<number> {
    const [row] = await this.#all<{ head: string }>('SELECT coalesce(max(position), 0) AS head FROM events');
    return Number(row?.head ?? 0);
  }

  override changes(listener: () => void): () => void {
    return this.#notices.listen(listener);
  }

  override dispatchable(now: number, limit: number): Promise<WorkRow[]> {
    // a scalar subquery, as the planner makes a join of NOT EXISTS that compares every open row with every other
    return this.#works(`WHERE w.state = 0 AND w.not_before <= $1
      AND w.seq = (SELECT x.seq FROM work x WHERE x.grp = w.grp AND x.state < 2 ORDER BY x.seq LIMIT 1) ORDER BY w.seq LIMIT $2`, now, bigint(limit));
  }

  override async markDispatched(rows: readonly { id: string; dispatch: number }[], now: number): Promise<number> {
    if (rows.length === 0) return 0;
    return this.#run(`WITH locked AS (SELECT w.seq, u.dispatch FROM work w JOIN unnest($1::text[], $2::int[]) AS u (id, dispatch) ON w.id = u.id ORDER BY w.seq FOR UPDATE OF w)
      UPDATE work w SET state = 1, dispatched_at = $3 FROM locked l WHERE w.seq = l.seq AND w.dispatch = l.dispatch AND w.state = 0`,
      rows.map((row) => row.id), rows.map((row) => row.dispatch), now);
  }

  override undelivered(now: number, olderThanMs: number): Promise<WorkRow[]> {
    return this.#works('WHERE w.state = 1 AND w.lease_until <= $1 AND w.dispatched_at < $2 ORDER BY w.seq', now, now - olderThanMs);
  }

  override async redispatch(id: string, dispatch: number, now: number): Promise<boolean> {
    return await this.#run(`WITH changed AS (UPDATE work SET state = 0, dispatch = dispatch + 1, owner = NULL, lease_until = 0
      WHERE id = $1 AND dispatch = $2 AND state = 1 AND lease_until <= $3 RETURNING 1) SELECT ${NOTIFY} FROM changed`, id, dispatch, now) === 1;
  }

  override async heartbeat(id: string, owner: string, now: number, leaseMs: number): Promise<boolean> {
    return await this.#run('UPDATE work SET lease_until = $1 WHERE id = $2 AND owner = $3 AND state = 1', now + leaseMs, id, owner) === 1;
  }

  override giveBack(ownerPrefix: string, _now: number): Promise<number> {
    return this.#run(`WITH locked AS (SELECT seq FROM work WHERE state = 1 AND starts_with(owner, $1) ORDER BY seq FOR UPDATE),
      changed AS (UPDATE work w SET state = 0, dispatch = dispatch + 1, owner = NULL, lease_until = 0 FROM locked l
        WHERE w.seq = l.seq AND w.state = 1 AND starts_with(w.owner, $1) RETURNING 1)
      SELECT ${NOTIFY} FROM changed`, ownerPrefix);
  }

  override async nextDue(now: number): Promise<number | null> {
    const [row] = await this.#all<{ due: string | null }>('SELECT min(not_before) AS due FROM work WHERE state = 0 AND not_before > $1', now);
    return row?.due == null ? null : Number(row.due);
  }

  override openWork(): Promise<WorkRow[]> {
    return this.#works('WHERE w.state < 2 ORDER BY w.seq');
  }

  override async work(id: string): Promise<WorkRow | null> {
    return (await this.#works('WHERE w.id = $1', id))[0] ?? null;
  }

  override async acquire(name: string, owner: string, now: number, ms: number): Promise<boolean> {
    return await this.#run(`INSERT INTO leases AS l (name, owner, until) VALUES ($1, $2, $3)
      ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE l.owner = excluded.owner OR l.until <= $4`, name, owner, now + ms, now) === 1;
  }

  override async release(name: string, owner: string): Promise<void> {
    await this.#run('DELETE FROM leases WHERE name = $1 AND owner = $2', name, owner);
  }

  override async putKey(id: string, wrapped: Uint8Array): Promise<void> {
    await this.#run('INSERT INTO keys (id, wrapped) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET wrapped = excluded.wrapped', id, Buffer.from(wrapped));
  }

  override async key(id: string): Promise<Uint8Array | null> {
    const [row] = await this.#all<{ wrapped: Buffer }>('SELECT wrapped FROM keys WHERE id = $1', id);
    return row ? new Uint8Array(row.wrapped) : null;
  }

  override async keyIds(): Promise<string[]> {
    return (await this.#all<{ id: string }>('SELECT id FROM keys ORDER BY id COLLATE "C"')).map(({ id }) => id);
  }

  override async destroyKey(id: string): Promise<void> {
    await this.#run('DELETE FROM keys WHERE id = $1', id);
    // the dead row goes with the table's old file; the server's own WAL keeps it until its segments are recycled
    await this.#run('VACUUM (FULL) keys').catch(() => undefined);
  }

  override async saveSnapshot(name: string, version: string, position: number, state: string): Promise<void> {
    await this.#run(`INSERT INTO snapshots (name, version, position, state) VALUES ($1, $2, $3, $4)
      ON CONFLICT (name, version) DO UPDATE SET position = excluded.position, state = excluded.state`, name, version, position, state);
  }

  override async snapshot(name: string, version: string): Promise<{ position: number; state: string } | null> {
    const [row] = await this.#all<{ position: string; state: string }>('SELECT position, state FROM snapshots WHERE name = $1 AND version = $2', name, version);
    return row ? { position: Number(row.position), state: row.state } : null;
  }

  override async forgetSnapshots(name: string, but: string): Promise<void> {
    await this.#run('DELETE FROM snapshots WHERE name = $1 AND version <> $2', name, but);
  }

  override async replace({ expectedHead, pages, keys }: WholeLog): Promise<void> {
    this.#alive();
    const client = await this.#pool.connect().catch((error: unknown) => { throw translate(error); });
    try {
      // a page may be a while in coming
      await client.query('BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0');
      await client.query(LOCK);
      const { rows } = await client.query<{ head: string }>('SELECT coalesce(max(position), 0) AS head FROM events');
      const head = Number(rows[0]?.head ?? 0);
      if (head !== expectedHead) throw new Conflict('the whole log', expectedHead, head);
      for (const table of ['events', 'work', 'snapshots', 'keys']) await client.query(`DELETE FROM ${table}`);
      for await (const page of pages) await insertEvents(client, page);
      for (const [id, wrapped] of keys) await client.query('INSERT INTO keys (id, wrapped) VALUES ($1, $2)', [id, Buffer.from(wrapped)]);
      await client.query(`SELECT ${NOTIFY}; COMMIT`);
      client.release();
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      client.release(true);
      throw error instanceof Conflict ? error : translate(error);
    }
  }

  override async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer.idle();
    await this.#notices.close();
    await this.#pool.end();
  }

  // ---- plumbing

  #alive(): void {
    if (this.#closed) throw new Error('the store was closed');
  }

  async #query<R extends pg.QueryResultRow>(text: string, values: readonly unknown[]): Promise<pg.QueryResult<R>> {
    this.#alive();
    try {
      return await this.#pool.query<R>(text, [...values]);
    } catch (error) {
      throw translate(error);
    }
  }

  async #all<R extends pg.QueryResultRow>(text: string, ...values: readonly unknown[]): Promise<R[]> {
    return (await this.#query<R>(text, values)).rows;
  }

  /** Answers how many rows were changed (or answered). */
  async #run(text: string, ...values: readonly unknown[]): Promise<number> {
    return (await this.#query(text, values)).rowCount ?? 0;
  }

  async #events(where: string, ...values: readonly unknown[]): Promise<Recorded[]> {
    this.#alive();
    try {
      const { rows } = await this.#pool.query<EventValues & unknown[]>({ text: `SELECT ${EVENT_COLUMNS} FROM events ${where}`, values: [...values], rowMode: 'array' });
      return toRecordeds(rows);
    } catch (error) {
      throw translate(error);
    }
  }

  async #works(where: string, ...values: readonly unknown[]): Promise<WorkRow[]> {
    return (await this.#all<WorkColumns & pg.QueryResultRow>(`SELECT ${WORK_COLUMNS} FROM work w ${where}`, ...values)).map(toWork);
  }
}
