import type { ChainedEvent } from '../../events/chain.js';
import type { Recorded } from '../../events/event.js';
import { Conflict, EventStore, type ReadFilter, type Transaction, type WorkRow } from '../../events/store.port.js';

/** What a plan may not do; whoever sees this has found a command that cannot be planned. */
const refused = (): Promise<never> => Promise.reject(new Error('a plan writes nothing'));

/**
 * A store that takes transactions and writes none: later reads of their streams see them, the log never does. Everything else is read
 * from the real one.
 */
export class PlanningStore extends EventStore {
  readonly planned: Recorded[] = [];
  /** sealing keys that would be made, and those that would be destroyed */
  readonly keysMade = new Map<string, Uint8Array>();
  readonly keysDestroyed: string[] = [];

  constructor(private readonly real: EventStore) { super(); }

  override async transact(tx: Transaction): Promise<Recorded[]> {
    if (tx.claim || tx.finish || tx.giveBack) return refused();
    const recorded: Recorded[] = [];
    const head = (await this.real.head()) + this.planned.length;
    for (const { stream, expected, events } of tx.appends) {
      const [last] = await this.real.readBack(Number.MAX_SAFE_INTEGER, 1, { stream });
      const version = (last?.version ?? 0) + [...this.planned, ...recorded].filter((event) => event.stream === stream).length;
      if (version !== expected) throw new Conflict(stream, expected, version);
      for (const [i, event] of events.entries()) {
        const position = head + recorded.length + 1;
        recorded.push({ position, stream, version: version + i + 1, id: `planned-${position}`, type: event.type, data: JSON.parse(JSON.stringify(event.data)) as unknown, schema: event.schema ?? 1, meta: { ...tx.meta, ...event.meta }, at: tx.now });
      }
    }
    this.planned.push(...recorded);
    return recorded;
  }

  override async readStream(stream: string, after = 0, until = Number.MAX_SAFE_INTEGER): Promise<Recorded[]> {
    return [...await this.real.readStream(stream, after, until), ...this.planned.filter((event) => event.stream === stream && event.version > after && event.version <= until)];
  }

  override putKey(id: string, wrapped: Uint8Array): Promise<void> { this.keysMade.set(id, wrapped); return Promise.resolve(); }
  override async key(id: string): Promise<Uint8Array | null> { return this.keysMade.get(id) ?? this.real.key(id); }
  override async keyIds(): Promise<string[]> { return [...new Set([...await this.real.keyIds(), ...this.keysMade.keys()])].sort(); }
  override destroyKey(id: string): Promise<void> { if (!this.keysMade.delete(id)) this.keysDestroyed.push(id); return Promise.resolve(); }
  override saveSnapshot(): Promise<void> { return Promise.resolve(); }
  override forgetSnapshots(): Promise<void> { return Promise.resolve(); }

  override readAll(after: number, limit: number, filter?: ReadFilter): Promise<Recorded[]> { return this.real.readAll(after, limit, filter); }
  override readBack(before: number, limit: number, filter?: ReadFilter): Promise<Recorded[]> { return this.real.readBack(before, limit, filter); }
  override readChain(after: number, limit: number): Promise<ChainedEvent[]> { return this.real.readChain(after, limit); }
  override head(): Promise<number> { return this.real.head(); }
  override changes(): () => void { return () => {}; }
  override nextDue(now: number): Promise<number | null> { return this.real.nextDue(now); }
  override openWork(): Promise<WorkRow[]> { return this.real.openWork(); }
  override work(id: string): Promise<WorkRow | null> { return this.real.work(id); }
  override dispatchable(now: number, limit: number): Promise<WorkRow[]> { return this.real.dispatchable(now, limit); }
  override undelivered(now: number, olderThanMs: number): Promise<WorkRow[]> { return this.real.undelivered(now, olderThanMs); }
  override snapshot(name: string, version: string): Promise<{ position: number; state: string } | null> { return this.real.snapshot(name, version); }
  /** the real one stays open */
  override close(): Promise<void> { return Promise.resolve(); }

  override markDispatched(): Promise<number> { return refused(); }
  override redispatch(): Promise<boolean> { return refused(); }
  override heartbeat(): Promise<boolean> { return refused(); }
  override giveBack(): Promise<number> { return refused(); }
  override acquire(): Promise<boolean> { return refused(); }
  override release(): Promise<void> { return refused(); }
}
