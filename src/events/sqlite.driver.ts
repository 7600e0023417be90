import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { Recorded } from './event.js';
import { GENESIS, type ChainedEvent } from './chain.js';
import { ACTORS_MAX, CHAIN_COLUMNS, EVENT_COLUMNS, STATES, WORK_COLUMNS, plan, rangesOf, toChained, toRecordeds, toWork, type ChainColumns, type EventValues, type Head, type Plan, type WorkColumns } from './plan.js';
import { Signal } from './signal.js';
import { busy, isBusy, translate } from './sqlite.errors.js';
import { ACTOR, IS_ACTOR } from './sqlite.schema.js';
import { PATIENCE_MS, SqliteWriter, pause } from './sqlite.writer.js';
import { Conflict, EventStore, type ReadFilter, type Transaction, type WholeLog, type WorkRow } from './store.port.js';

type Values = readonly SQLInputValue[];

/** First of its group among the open rows; `w` is the row. */
const HEAD_OF_GROUP = 'NOT EXISTS (SELECT 1 FROM work x INDEXED BY work_open WHERE x.grp = w.grp AND x.state < 2 AND x.seq < w.seq)';

/** The log in one SQLite file, shared by any number of processes of one machine. Made by `openStore`. */
export class SqliteStore extends EventStore {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #writer: SqliteWriter;
  readonly #signal: Signal;
  readonly #statements = new Map<string, StatementSync>();
  #head: Head | null = null;
  #closed = false;

  /** @param db open, migrated, in WAL mode, without busy timeout */
  constructor(db: DatabaseSync, file: string) {
    super();
    this.#db = db;
    this.#file = file;
    this.#writer = new SqliteWriter(db, file, () => { this.#head = null; });
    this.#signal = new Signal(file, () => this.#get<{ data_version: number }>('PRAGMA data_version')?.data_version ?? 0);
  }

  override transact(tx: Transaction): Promise<Recorded[]> {
    return this.#write(() => this.#transact(tx), () => true);
  }

  #transact(tx: Transaction): Recorded[] {
    this.#head ??= this.#get<{ position: number; hash: string }>('SELECT position, hash FROM events ORDER BY position DESC LIMIT 1') ?? { position: 0, hash: GENESIS };
    const accepted = plan(tx, {
      head: this.#head,
      version: (stream) => this.#get<{ version: number }>('SELECT version FROM events WHERE stream = ? ORDER BY version DESC LIMIT 1', stream)?.version ?? 0,
      work: (id) => this.#work(id),
    });
    this.#apply(accepted);
    this.#head = accepted.head;
    return [...accepted.recorded];
  }

  #apply({ events, changed, added }: Plan): void {
    for (const event of events) this.#insert('events', event);
    for (const w of changed) {
      this.#run('UPDATE work SET state = ?, dispatch = ?, attempt = ?, owner = ?, lease_until = ?, dispatched_at = ? WHERE id = ?',
        STATES.indexOf(w.state), w.dispatch, w.attempt, w.owner, w.leaseUntil, w.dispatchedAt, w.id);
    }
    for (const w of added) {
      this.#run(`INSERT INTO work (${WORK_COLUMNS}) VALUES (?, ?, ?, ?, 0, 0, 0, NULL, 0, 0, ?, ?)`,
        w.id, w.queue, w.group, JSON.stringify(w.payload), w.notBefore, w.addedAt);
    }
  }

  #insert(table: 'events' | 'temp.incoming', e: ChainedEvent): void {
    this.#run(`INSERT INTO ${table} (${CHAIN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      e.position, e.stream, e.version, e.id, e.type, e.schema, e.data, e.meta, e.at, e.correlation, e.hash);
  }

  override readStream(stream: string, after = 0, until = Number.MAX_SAFE_INTEGER): Promise<Recorded[]> {
    return this.#read(() => this.#events(`SELECT ${EVENT_COLUMNS} FROM events WHERE stream = ? AND version > ? AND version <= ? ORDER BY version`, stream, after, until));
  }

  override readAll(after: number, limit: number, filter: ReadFilter = {}): Promise<Recorded[]> {
    return this.#range('>', after, limit, filter);
  }

  override readBack(before: number, limit: number, filter: ReadFilter = {}): Promise<Recorded[]> {
    return this.#range('<', before, limit, filter);
  }

  /** A plus before a column keeps SQLite from an index: which one is taken is said here, as it would guess. */
  #range(than: '>' | '<', position: number, limit: number, { types, stream, correlation, actor, except }: ReadFilter): Promise<Recorded[]> {
    if (types?.length === 0) return Promise.resolve([]);
    const select = `SELECT ${EVENT_COLUMNS} FROM events`;
    const order = (column: string): string => `ORDER BY ${column} ${than === '>' ? 'ASC' : 'DESC'} LIMIT ?`;
    const by = actor === undefined ? [] : [actor, actor, actor, actor];
    const few = stream !== undefined ? 'stream = ?' : correlation !== undefined ? 'correlation = ?' : null;
    if (few) {
      const more: [string, Values][] = [['+correlation = ?', stream === undefined || correlation === undefined ? [] : [correlation]], [IS_ACTOR, by], ['+type IN (SELECT value FROM json_each(?))', types ? [JSON.stringify(types)] : []]];
      const asked = more.filter(([, values]) => values.length > 0);
      const where = [few, `+position ${than} ?`, ...asked.map(([sql]) => sql)].join(' AND ');
      return this.#read(() => this.#events(`${select} WHERE ${where} ${order(stream === undefined ? 'position' : 'version')}`, stream ?? correlation!, position, ...asked.flatMap(([, values]) => values), limit));
    }
    if (types) {
      // a range of the index for each type: a rare type in a long log costs nothing
      const each = types.map(() => `SELECT * FROM (SELECT position FROM events WHERE type = ? AND position ${than} ? ${by.length > 0 ? `AND ${IS_ACTOR}` : ''} ${order('position')})`).join(' UNION ');
      return this.#read(() => this.#events(`${select} WHERE position IN (${each}) ${order('position')}`, ...types.flatMap((type) => [type, position, ...by, limit]), limit));
    }
    if (except) {
      return this.#read(() => this.#events(`${select} WHERE position > ?1 AND (type NOT IN (SELECT value FROM json_each(?2)) OR position = ?1 + 1 OR position = (SELECT max(position) FROM events)) ORDER BY position LIMIT ?3`, position, JSON.stringify(except), limit));
    }
    if (actor === undefined) return this.#read(() => this.#events(`${select} WHERE position ${than} ? ${order('position')}`, position, limit));
    return this.#read(() => {
      const actors = this.#actors(actor);
      if (actors.length > ACTORS_MAX) return this.#events(`${select} WHERE position ${than} ? AND ${IS_ACTOR} ${order('position')}`, position, ...by, limit);
      const each = actors.map(() => `SELECT * FROM (SELECT position FROM events WHERE ${ACTOR} = ? AND position ${than} ? ${order('position')})`).join(' UNION ');
      return this.#events(`${select} WHERE position IN (${each}) ${order('position')}`, ...actors.flatMap((one) => [one, position, limit]), limit);
    });
  }

  /** The actors of that name, from the index: one step each, however often each is in the log. */
  #actors(actor: string): string[] {
    const found = [actor];
    for (const [from, to] of rangesOf(actor)) {
      let last = from;
      for (let than = '>='; found.length <= ACTORS_MAX; than = '>') {
        const next = this.#get<{ actor: string }>(`SELECT ${ACTOR} AS actor FROM events WHERE ${ACTOR} ${than} ? AND ${ACTOR} < ? ORDER BY ${ACTOR} LIMIT 1`, last, to);
        if (!next) break;
        found.push(last = next.actor);
      }
    }
    return found;
  }

  override readChain(after: number, limit: number): Promise<ChainedEvent[]> {
    return this.#read(() => (this.#statement(`SELECT ${CHAIN_COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?`).all(after, limit) as unknown as ChainColumns[]).map(toChained));
  }

  override head(): Promise<number> {
    return this.#read(() => this.#get<{ head: number }>('SELECT coalesce(max(position), 0) AS head FROM events')?.head ?? 0);
  }

  override changes(listener: () => void): () => void {
    return this.#signal.listen(listener);
  }

  override dispatchable(now: number, limit: number): Promise<WorkRow[]> {
    return this.#read(() => this.#works(`INDEXED BY work_todo WHERE w.state = 0 AND w.not_before <= ? AND ${HEAD_OF_GROUP} ORDER BY w.seq LIMIT ?`, now, limit));
  }

  override markDispatched(rows: readonly { id: string; dispatch: number }[], now: number): Promise<number> {
    return this.#write(() => rows.reduce((sum, row) => sum
      + this.#run('UPDATE work SET state = 1, dispatched_at = ? WHERE id = ? AND dispatch = ? AND state = 0', now, row.id, row.dispatch), 0));
  }

  override undelivered(now: number, olderThanMs: number): Promise<WorkRow[]> {
    return this.#read(() => this.#works('INDEXED BY work_dispatched WHERE w.state = 1 AND w.lease_until <= ? AND w.dispatched_at < ? ORDER BY w.seq', now, now - olderThanMs));
  }

  override redispatch(id: string, dispatch: number, now: number): Promise<boolean> {
    return this.#write(() => this.#run(`UPDATE work SET state = 0, dispatch = dispatch + 1, owner = NULL, lease_until = 0
      WHERE id = ? AND dispatch = ? AND state = 1 AND lease_until <= ?`, id, dispatch, now) === 1, Boolean);
  }

  override heartbeat(id: string, owner: string, now: number, leaseMs: number): Promise<boolean> {
    return this.#write(() => this.#run('UPDATE work SET lease_until = ? WHERE id = ? AND owner = ? AND state = 1', now + leaseMs, id, owner) === 1);
  }

  override giveBack(ownerPrefix: string, _now: number): Promise<number> {
    return this.#write(() => this.#run(`UPDATE work SET state = 0, dispatch = dispatch + 1, owner = NULL, lease_until = 0
      WHERE state = 1 AND substr(owner, 1, length(?1)) = ?1`, ownerPrefix), Boolean);
  }

  override nextDue(now: number): Promise<number | null> {
    return this.#read(() => this.#get<{ due: number | null }>('SELECT min(not_before) AS due FROM work WHERE state = 0 AND not_before > ?', now)?.due ?? null);
  }

  override openWork(): Promise<WorkRow[]> {
    return this.#read(() => this.#works('INDEXED BY work_open WHERE w.state < 2 ORDER BY w.seq'));
  }

  override work(id: string): Promise<WorkRow | null> {
    return this.#read(() => this.#work(id));
  }

  override acquire(name: string, owner: string, now: number, ms: number): Promise<boolean> {
    return this.#write(() => this.#run(`INSERT INTO leases (name, owner, until) VALUES (?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE owner = excluded.owner OR until <= ?`, name, owner, now + ms, now) === 1);
  }

  override async release(name: string, owner: string): Promise<void> {
    await this.#write(() => this.#run('DELETE FROM leases WHERE name = ? AND owner = ?', name, owner));
  }

  override async putKey(id: string, wrapped: Uint8Array): Promise<void> {
    await this.#write(() => this.#run('INSERT INTO keys (id, wrapped, gone) VALUES (?, ?, 0) ON CONFLICT (id) DO UPDATE SET wrapped = excluded.wrapped, gone = 0', id, wrapped));
  }

  override async key(id: string): Promise<Uint8Array | null> {
    return this.#read(() => this.#get<{ wrapped: Uint8Array }>('SELECT wrapped FROM keys WHERE id = ? AND gone = 0', id)?.wrapped ?? null);
  }

  override async keyIds(): Promise<string[]> {
    return this.#read(() => (this.#statement('SELECT id FROM keys WHERE gone = 0 ORDER BY id').all() as unknown as { id: string }[]).map(({ id }) => id));
  }

  override async destroyKey(id: string): Promise<void> {
    await this.#write(() => this.#run('UPDATE keys SET wrapped = zeroblob(length(wrapped)), gone = 1 WHERE id = ?', id));
    // the WAL still holds the page as it was: empty it as soon as no reader of another process needs it
    for (const until = performance.now() + 1_000; performance.now() < until; await pause()) {
      try {
        await this.#writer.idle();
        if (this.#get<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)')?.busy === 0) return;
      } catch (error) {
        if (!isBusy(error)) return;
      }
    }
  }

  override async saveSnapshot(name: string, version: string, position: number, state: string): Promise<void> {
    await this.#write(() => this.#run(`INSERT INTO snapshots (name, version, position, state) VALUES (?, ?, ?, ?)
      ON CONFLICT (name, version) DO UPDATE SET position = excluded.position, state = excluded.state`, name, version, position, state));
  }

  override async snapshot(name: string, version: string): Promise<{ position: number; state: string } | null> {
    return this.#read(() => {
      const row = this.#get<{ position: number; state: string }>('SELECT position, state FROM snapshots WHERE name = ? AND version = ?', name, version);
      return row ? { position: row.position, state: row.state } : null;
    });
  }

  override async forgetSnapshots(name: string, but: string): Promise<void> {
    await this.#write(() => this.#run('DELETE FROM snapshots WHERE name = ? AND version <> ?', name, but));
  }

  /** The new log comes into a table of this connection alone, a page at a time; the change itself is one transaction. */
  override async replace({ expectedHead, pages, keys }: WholeLog): Promise<void> {
    this.#alive();
    this.#db.exec('DROP TABLE IF EXISTS temp.incoming; CREATE TEMP TABLE incoming AS SELECT * FROM events WHERE false');
    try {
      for await (const page of pages) {
        this.#alive();
        this.#db.exec('BEGIN');
        try {
          for (const event of page) this.#insert('temp.incoming', event);
          this.#db.exec('COMMIT');
        } catch (error) {
          if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
          throw translate(error, this.#file);
        }
      }
      await this.#write(() => {
        const { head } = this.#get<{ head: number }>('SELECT coalesce(max(position), 0) AS head FROM events')!;
        if (head !== expectedHead) throw new Conflict('the whole log', expectedHead, head);
        for (const table of ['events', 'work', 'snapshots', 'keys']) this.#run(`DELETE FROM ${table}`);
        this.#run(`INSERT INTO events (${CHAIN_COLUMNS}) SELECT ${CHAIN_COLUMNS} FROM temp.incoming ORDER BY position`);
        for (const [id, wrapped] of keys) this.#run('INSERT INTO keys (id, wrapped, gone) VALUES (?, ?, 0)', id, wrapped);
        this.#head = null;
      }, () => true);
    } finally {
      for (const sql of this.#statements.keys()) if (sql.includes('temp.incoming')) this.#statements.delete(sql); // they hold the table
      this.#db.exec('DROP TABLE IF EXISTS temp.incoming');
    }
  }

  override async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#writer.idle();
    this.#signal.close();
    this.#statements.clear();
    this.#db.close();
  }

  // ---- plumbing

  async #write<T>(work: () => T, wakes: (value: T) => boolean = () => false): Promise<T> {
    this.#alive();
    const value = await this.#writer.write(work);
    if (wakes(value)) this.#signal.touch();
    return value;
  }

  /** Reading hardly ever meets a lock: while another process recovers the WAL, or is the last to close it. */
  async #read<T>(work: () => T): Promise<T> {
    for (const late = performance.now() + PATIENCE_MS; ; await pause()) {
      this.#alive();
      try {
        return work();
      } catch (error) {
        if (!isBusy(error)) throw translate(error, this.#file);
        if (performance.now() > late) throw busy(this.#file, error);
      }
    }
  }

  #alive(): void {
    if (this.#closed) throw new Error(`the store ${this.#file} was closed`);
  }

  /** @param arrays rows as arrays, which are made in half the time */
  #statement(sql: string, arrays = false): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      this.#statements.set(sql, statement = this.#db.prepare(sql));
      statement.setReturnArrays(arrays);
    }
    return statement;
  }

  #run(sql: string, ...values: Values): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  #get<R>(sql: string, ...values: Values): R | undefined {
    return this.#statement(sql).get(...values) as R | undefined;
  }

  #events(sql: string, ...values: Values): Recorded[] {
    return toRecordeds(this.#statement(sql, true).all(...values) as unknown as EventValues[]);
  }

  /** Where an order is asked for, SQLite would rather go through all rows than sort a few: the index is named. */
  #works(where: string, ...values: Values): WorkRow[] {
    return (this.#statement(`SELECT ${WORK_COLUMNS} FROM work w ${where}`).all(...values) as unknown as WorkColumns[]).map(toWork);
  }

  #work(id: string): WorkRow | null {
    return this.#works('WHERE w.id = ?', id)[0] ?? null;
  }
}
