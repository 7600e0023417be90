import { GENESIS } from '../../src/events/chain.js';
import { plan, type Head } from '../../src/events/plan.js';
import type { Recorded } from '../../src/events/event.js';
import { EventStore, StoreUnavailable, type ReadFilter, type Transaction, type WorkRow } from '../../src/events/store.port.js';
import type { Proc, World } from './world.js';

type Reason = StoreUnavailable['reason'];

/** The database that all processes share: the same rules as the drivers, by the same `plan`. */
export class Database {
  readonly events: Recorded[] = [];
  readonly streams = new Map<string, Recorded[]>();
  readonly rows = new Map<string, WorkRow>();
  /** not done or dropped, in the order they were added */
  readonly open = new Map<string, WorkRow>();
  readonly leases = new Map<string, { owner: string; until: number }>();
  private head: Head = { position: 0, hash: GENESIS };
  private readonly listeners = new Set<{ proc: Proc; listener: () => void }>();

  /** a time in which it fails; `share` of the calls do */
  trouble: { until: number; reason: Reason; share: number; reads: boolean } | null = null;
  troubledAt = 0;
  slowUntil = 0;
  /** reads are answered at once, as SQLite does */
  readonly fast: boolean;
  /** share of wake-ups that get lost */
  readonly deaf: number;
  /** planted bugs change what is asked for */
  tamper: (tx: Transaction, row: (id: string) => WorkRow | null) => Transaction = (tx) => tx;
  tamperHeartbeat: (leaseMs: number) => number = (leaseMs) => leaseMs;
  noGiveBack = false;
  /** sees every transaction that was committed */
  onCommit: (recorded: readonly Recorded[], tx: Transaction, before: WorkRow | null, by: string) => void = () => {};

  constructor(private readonly world: World) {
    this.fast = world.rng.chance(0.6);
    this.deaf = world.rng.pick([0, 0, 0.05, 1]);
  }

  fault(write: boolean): StoreUnavailable | null {
    const { trouble, world } = this;
    if (!trouble || world.now >= trouble.until) return null;
    if ((!write && !trouble.reads) || !world.rng.chance(trouble.share)) return null;
    this.troubledAt = world.now;
    return new StoreUnavailable(`simulated: ${trouble.reason}`, trouble.reason);
  }

  transact(asked: Transaction, by: string): Recorded[] {
    const tx = this.tamper(asked, (id) => this.rows.get(id) ?? null);
    const held = tx.claim ?? tx.finish;
    const before = held ? this.rows.get(held.id) ?? null : null;
    const accepted = plan(tx, { head: this.head, version: (stream) => this.streams.get(stream)?.length ?? 0, work: (id) => this.rows.get(id) ?? null });
    this.head = accepted.head;
    for (const event of accepted.recorded) {
      this.events.push(event);
      const stream = this.streams.get(event.stream);
      if (stream) stream.push(event);
      else this.streams.set(event.stream, [event]);
    }
    for (const row of [...accepted.changed, ...accepted.added]) this.put(row);
    this.wake();
    this.onCommit(accepted.recorded, tx, before, by);
    return [...accepted.recorded];
  }

  put(row: WorkRow): void {
    this.rows.set(row.id, row);
    if (row.state === 'todo' || row.state === 'dispatched') this.open.set(row.id, row);
    else this.open.delete(row.id);
  }

  wake(): void {
    for (const { proc, listener } of this.listeners) {
      if (!proc.alive) continue;
      if (this.world.rng.chance(this.deaf)) continue;
      this.world.after(this.world.rng.int(6), listener, proc);
    }
  }

  listen(proc: Proc, listener: () => void): () => void {
    const entry = { proc, listener };
    this.listeners.add(entry);
    return () => { this.listeners.delete(entry); };
  }

  dispatchable(now: number, limit: number): WorkRow[] {
    const seen = new Set<string>();
    const found: WorkRow[] = [];
    for (const row of this.open.values()) {
      if (seen.has(row.group)) continue;
      seen.add(row.group);
      if (row.state === 'todo' && row.notBefore <= now && found.length < limit) found.push(row);
    }
    return found;
  }
}

/** One process's hand on the database. */
export class SimStore extends EventStore {
  constructor(private readonly db: Database, private readonly proc: Proc) { super(); }

  private write<T>(what: string, effect: () => T, lies = false): Promise<T> {
    const { db, proc, proc: { world } } = this;
    const slow = world.now < db.slowUntil ? 1500 : 3;
    return proc.call(`store.${what}`, () => {
      const fault = db.fault(true);
      // a PostgreSQL server that goes away right after COMMIT was sent: written, and nobody knows
      if (fault && lies && fault.reason === 'away' && world.rng.chance(0.2)) effect();
      if (fault) throw fault;
      return effect();
    }, slow);
  }

  private read<T>(what: string, effect: () => T): Promise<T> {
    const { db, proc } = this;
    if (!proc.alive) return new Promise<T>(() => {});
    if (db.fast) {
      const fault = db.fault(false);
      return fault ? Promise.reject(fault) : Promise.resolve(effect());
    }
    return proc.call(`store.${what}`, () => {
      const fault = db.fault(false);
      if (fault) throw fault;
      return effect();
    }, 1);
  }

  override transact(tx: Transaction): Promise<Recorded[]> {
    const types = tx.appends.flatMap((a) => a.events.map((e) => e.type));
    return this.write(`transact ${tx.claim ? 'claim ' : ''}${tx.finish ? 'finish ' : ''}${types.join(' ')}`.trimEnd(), () => this.db.transact(tx, this.proc.name), true);
  }
  override readStream(stream: string, after = 0, until = Infinity): Promise<Recorded[]> {
    return this.read('readStream', () => (this.db.streams.get(stream) ?? []).slice(after, until));
  }
  override readAll(after: number, limit: number, _filter?: ReadFilter): Promise<Recorded[]> {
    return this.read('readAll', () => this.db.events.slice(after, after + limit));
  }
  override readBack(): never { throw new Error('not simulated'); }
  override readChain(): never { throw new Error('not simulated'); }
  override head(): Promise<number> { return this.read('head', () => this.db.events.length); }
  override changes(listener: () => void): () => void { return this.db.listen(this.proc, listener); }

  override dispatchable(now: number, limit: number): Promise<WorkRow[]> { return this.read('dispatchable', () => this.db.dispatchable(now, limit)); }
  override markDispatched(rows: readonly { id: string; dispatch: number }[], now: number): Promise<number> {
    return this.write('markDispatched', () => rows.filter(({ id, dispatch }) => {
      const row = this.db.rows.get(id);
      if (row?.state !== 'todo' || row.dispatch !== dispatch) return false;
      this.db.put({ ...row, state: 'dispatched', dispatchedAt: now });
      return true;
    }).length);
  }
  override undelivered(now: number, olderThanMs: number): Promise<WorkRow[]> {
    return this.read('undelivered', () => [...this.db.open.values()].filter((row) => row.state === 'dispatched' && row.leaseUntil <= now && row.dispatchedAt < now - olderThanMs));
  }
  override redispatch(id: string, dispatch: number, now: number): Promise<boolean> {
    return this.write('redispatch', () => {
      const row = this.db.rows.get(id);
      if (row?.state !== 'dispatched' || row.dispatch !== dispatch || row.leaseUntil > now) return false;
      this.db.put({ ...row, state: 'todo', dispatch: row.dispatch + 1, owner: null, leaseUntil: 0 });
      this.db.wake();
      return true;
    });
  }
  override heartbeat(id: string, owner: string, now: number, leaseMs: number): Promise<boolean> {
    return this.write('heartbeat', () => {
      const row = this.db.rows.get(id);
      if (row?.state !== 'dispatched' || row.owner !== owner) return false;
      this.db.put({ ...row, leaseUntil: now + this.db.tamperHeartbeat(leaseMs) });
      return true;
    });
  }
  override giveBack(ownerPrefix: string, _now: number): Promise<number> {
    return this.write('giveBack', () => {
      if (this.db.noGiveBack) return 0;
      const mine = [...this.db.open.values()].filter((row) => row.state === 'dispatched' && row.owner?.startsWith(ownerPrefix));
      for (const row of mine) this.db.put({ ...row, state: 'todo', dispatch: row.dispatch + 1, owner: null, leaseUntil: 0 });
      if (mine.length > 0) this.db.wake();
      return mine.length;
    });
  }
  override nextDue(now: number): Promise<number | null> {
    return this.read('nextDue', () => [...this.db.open.values()].reduce<number | null>((due, row) => (row.state === 'todo' && row.notBefore > now && (due === null || row.notBefore < due) ? row.notBefore : due), null));
  }
  override openWork(): Promise<WorkRow[]> { return this.read('openWork', () => [...this.db.open.values()]); }
  override work(id: string): Promise<WorkRow | null> { return this.read('work', () => this.db.rows.get(id) ?? null); }

  override acquire(name: string, owner: string, now: number, ms: number): Promise<boolean> {
    return this.write(`acquire ${name}`, () => {
      const lease = this.db.leases.get(name);
      if (lease && lease.owner !== owner && lease.until > now) return false;
      this.db.leases.set(name, { owner, until: now + ms });
      return true;
    });
  }
  override release(name: string, owner: string): Promise<void> {
    return this.write(`release ${name}`, () => {
      if (this.db.leases.get(name)?.owner === owner) this.db.leases.delete(name);
    });
  }

  override async putKey(): Promise<void> { /* no secrets here */ }
  override async key(): Promise<Uint8Array | null> { return null; }
  override async keyIds(): Promise<string[]> { return []; }
  override async destroyKey(): Promise<void> { /* no secrets here */ }
  override async saveSnapshot(): Promise<void> { /* logs are short here */ }
  override async snapshot(): Promise<null> { return null; }
  override async forgetSnapshots(): Promise<void> { /* none was kept */ }
  override async close(): Promise<void> { /* nothing is open */ }
}
