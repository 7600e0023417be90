import type { Recorded } from '../src/events/event.js';
import { plan } from '../src/events/plan.js';
import { EventStore, type ReadFilter, type Transaction, type WorkRow } from '../src/events/store.port.js';

const lets = ({ stream, type, meta: { actor } }: Recorded, only: ReadFilter = {}): boolean => (only.stream === undefined || only.stream === stream) && (only.types?.includes(type) ?? true) && (only.actor === undefined || only.actor === actor);

/** The store in memory, judged by the same `plan` as the real ones: for pure tests of what stands on it. */
export class WorkStore extends EventStore {
  readonly rows = new Map<string, WorkRow>();
  readonly log: Recorded[] = [];
  private head_ = { position: 0, hash: '' };
  private readonly versions = new Map<string, number>();
  private readonly keys = new Map<string, Uint8Array>();

  override async transact(tx: Transaction): Promise<Recorded[]> {
    const { recorded, head, versions, changed, added } = plan(tx, { head: this.head_, version: (s) => this.versions.get(s) ?? 0, work: (id) => this.rows.get(id) ?? null });
    this.head_ = head;
    for (const [stream, version] of versions) this.versions.set(stream, version);
    for (const row of [...changed, ...added]) this.rows.set(row.id, row);
    this.log.push(...recorded);
    return [...recorded];
  }
  override async readStream(stream: string, after = 0, until = Infinity) { return this.log.filter((e) => e.stream === stream && e.version > after && e.version <= until); }
  override async readAll(after: number, limit: number, filter?: ReadFilter) { return this.log.filter((e) => e.position > after && lets(e, filter)).slice(0, limit); }
  override async readBack(before: number, limit: number, filter?: ReadFilter) { return this.log.filter((e) => e.position < before && lets(e, filter)).reverse().slice(0, limit); }
  override async readChain(): Promise<never> { throw new Error('no chain here'); }
  override async head() { return this.head_.position; }
  override changes() { return () => {}; }

  private open(): WorkRow[] { return [...this.rows.values()].filter((r) => r.state === 'todo' || r.state === 'dispatched'); }
  private put(row: WorkRow, more: Partial<WorkRow>): void { this.rows.set(row.id, { ...row, ...more }); }
  override async dispatchable(now: number, limit: number) {
    const open = this.open();
    return open.filter((r) => r.state === 'todo' && r.notBefore <= now && open.find((o) => o.group === r.group) === r).slice(0, limit);
  }
  override async markDispatched(rows: readonly { id: string; dispatch: number }[], now: number) {
    const mine = rows.flatMap(({ id, dispatch }) => { const row = this.rows.get(id); return row?.state === 'todo' && row.dispatch === dispatch ? [row] : []; });
    for (const row of mine) this.put(row, { state: 'dispatched', dispatchedAt: now });
    return mine.length;
  }
  override async undelivered(now: number, olderThanMs: number) { return this.open().filter((r) => r.state === 'dispatched' && r.leaseUntil <= now && r.dispatchedAt < now - olderThanMs); }
  override async redispatch(id: string, dispatch: number, now: number) {
    const row = this.rows.get(id);
    if (row?.state !== 'dispatched' || row.dispatch !== dispatch || row.leaseUntil > now) return false;
    this.put(row, { state: 'todo', dispatch: dispatch + 1, owner: null, leaseUntil: 0 });
    return true;
  }
  override async heartbeat(id: string, owner: string, now: number, leaseMs: number) {
    const row = this.rows.get(id);
    if (row?.state !== 'dispatched' || row.owner !== owner) return false;
    this.put(row, { leaseUntil: now + leaseMs });
    return true;
  }
  override async giveBack(prefix: string) {
    const mine = this.open().filter((r) => r.owner?.startsWith(prefix));
    for (const row of mine) this.put(row, { state: 'todo', dispatch: row.dispatch + 1, owner: null, leaseUntil: 0 });
    return mine.length;
  }
  override async nextDue(now: number) { return Math.min(...this.open().filter((r) => r.state === 'todo' && r.notBefore > now).map((r) => r.notBefore)) || null; }
  override async openWork() { return this.open(); }
  override async work(id: string) { return this.rows.get(id) ?? null; }
  override async acquire() { return true; }
  override async release() {}
  override async putKey(id: string, wrapped: Uint8Array) { this.keys.set(id, wrapped); }
  override async key(id: string) { return this.keys.get(id) ?? null; }
  override async keyIds() { return [...this.keys.keys()].sort(); }
  override async destroyKey(id: string) { this.keys.delete(id); }
  override async forgetSnapshots() {}
  override async saveSnapshot() {}
  override async snapshot() { return null; }
  override async close() {}
}
