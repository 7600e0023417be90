import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WorkStore } from '../../../test/work-store.js';
import type { Dispatcher } from '../../drivers/queue/bull.js';
import { LeaseLost } from '../../events/store.port.js';
import { Relay } from './relay.js';

const meta = { actor: 'x', command: 'c', correlation: 'x', causation: null, trace: 't' };
const LEASE = 5000;

/** A queue that loses, repeats and refuses what it is told to. */
class Queue implements Dispatcher {
  readonly waiting = new Map<string, string>();
  readonly active = new Set<string>();
  readonly seen: string[] = [];
  away = false;
  async dispatch(tickets: readonly { jobId: string; id: string }[]): Promise<void> {
    if (this.away) throw new Error('Redis is away');
    for (const { jobId, id } of tickets) {
      this.seen.push(id);
      if (!this.active.has(jobId)) this.waiting.set(jobId, id);
    }
  }
  async state(_: string, jobId: string): Promise<'waiting' | 'active' | 'gone'> {
    if (this.away) throw new Error('Redis is away');
    return this.waiting.has(jobId) ? 'waiting' : this.active.has(jobId) ? 'active' : 'gone';
  }
  flushAll(): void { this.waiting.clear(); this.active.clear(); }
  async close(): Promise<void> {}
}

class Server {
  now = 1_000_000;
  readonly store = new WorkStore();
  readonly queue = new Queue();
  relay = new Relay(this.store, this.queue, () => this.now);
  readonly done: string[] = [];
  readonly order: string[] = [];
  private owners = 0;

  async add(id: string, group: string, notBefore = 0): Promise<void> { await this.store.transact({ appends: [], meta, now: this.now, work: [{ id, queue: 'build', group, payload: {}, notBefore }] }); }

  /** A worker takes the oldest ticket; `how` it ends. */
  async worker(how: 'well' | 'dies before the claim' | 'dies at work' | 'twice'): Promise<void> {
    const [ticket] = this.queue.waiting;
    if (!ticket) return;
    const [jobId, id] = ticket;
    this.queue.waiting.delete(jobId);
    this.queue.active.add(jobId);
    if (how === 'dies before the claim') return;
    const owner = `w:${this.owners += 1}`;
    try {
      await this.store.transact({ appends: [], meta, now: this.now, claim: { id, owner, leaseMs: LEASE } });
      if (how === 'dies at work') return;
      if (how === 'twice') await expect(this.store.transact({ appends: [], meta, now: this.now, claim: { id, owner: 'other', leaseMs: LEASE } })).rejects.toThrow(LeaseLost);
      await this.store.transact({ appends: [], meta, now: this.now, finish: { id, owner } });
      this.done.push(id);
    } catch (error) {
      if (!(error instanceof LeaseLost)) throw error;
    }
    this.queue.active.delete(jobId);
  }

  async tick(ms: number): Promise<void> {
    this.now += ms;
    try {
      await this.relay.pump();
      if ((await this.relay.reconcile()) > 0) await this.relay.pump();
    } catch (error) {
      expect((error as Error).message).toBe('Redis is away');
    }
  }
}

type Trouble = { do: 'add'; group: number; later: number } | { do: 'work'; how: 'well' | 'dies before the claim' | 'dies at work' | 'twice' } | { do: 'tick'; ms: number } | { do: 'flush' } | { do: 'away'; on: boolean } | { do: 'new relay' };
const troubles = fc.array(fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('add' as const), group: fc.nat(3), later: fc.constantFrom(0, 0, 1000, 60_000) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('work' as const), how: fc.constantFrom('well' as const, 'dies before the claim' as const, 'dies at work' as const, 'twice' as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.constantFrom(1, 100, 1500, 6000) }) },
  fc.constant({ do: 'flush' as const }), fc.record({ do: fc.constant('away' as const), on: fc.boolean() }), fc.constant({ do: 'new relay' as const }),
), { maxLength: 40, size: 'max' }) as fc.Arbitrary<Trouble[]>;

describe('the relay', () => {
  it('loses nothing and does nothing twice, whatever happens to Redis, workers and itself; one of a group at a time, in order', async () => {
    await fc.assert(fc.asyncProperty(troubles, async (history) => {
      const server = new Server();
      const added: { id: string; group: string }[] = [];
      const heads = async (): Promise<void> => {
        const byGroup = Map.groupBy((await server.store.openWork()).filter((r) => r.state === 'dispatched'), (r) => r.group);
        for (const rows of byGroup.values()) expect(rows).toHaveLength(1);
      };
      for (const one of history) {
        if (one.do === 'add') {
          const row = { id: `r${added.length}`, group: `g${one.group}` };
          added.push(row);
          await server.add(row.id, row.group, one.later ? server.now + one.later : 0);
        } else if (one.do === 'work') await server.worker(one.how);
        else if (one.do === 'tick') await server.tick(one.ms);
        else if (one.do === 'flush') server.queue.flushAll();
        else if (one.do === 'away') server.queue.away = one.on;
        else server.relay = new Relay(server.store, server.queue, () => server.now);
        await heads();
      }
      server.queue.away = false;
      for (let i = 0; i < 40 + added.length * 3 && server.done.length < added.length; i += 1) {
        await server.tick(6000);
        while (server.queue.waiting.size > 0) await server.worker('well');
      }
      expect([...server.done].sort()).toEqual(added.map((r) => r.id).sort());
      for (const group of new Set(added.map((r) => r.group))) expect(server.done.filter((id) => added.find((r) => r.id === id)!.group === group)).toEqual(added.filter((r) => r.group === group).map((r) => r.id));
    }), { numRuns: 200 });
  });

  it('hands out what is due, once', async () => {
    const server = new Server();
    await server.add('a', 'g');
    await server.add('b', 'h', server.now + 500);
    expect(await server.relay.pump()).toBe(1);
    expect(await server.relay.pump()).toBe(0);
    server.now += 500;
    expect(await server.relay.pump()).toBe(1);
    expect(server.queue.seen).toEqual(['a', 'b']);
  });

  it('hands out more than one page', async () => {
    const server = new Server();
    for (let i = 0; i < 450; i += 1) await server.add(`r${i}`, `g${i}`);
    expect(await server.relay.pump()).toBe(450);
  });

  it('says so when Redis is away, and goes on later', async () => {
    const server = new Server();
    await server.add('a', 'g');
    server.queue.away = true;
    await expect(server.relay.pump()).rejects.toThrow('Redis is away');
    server.queue.away = false;
    expect(await server.relay.pump()).toBe(1);
  });

  it('leaves a ticket alone that waits for a busy worker, and one that was just taken', async () => {
    const server = new Server();
    await server.add('a', 'g');
    await server.relay.pump();
    server.now += 60_000;
    expect(await server.relay.reconcile()).toBe(0);
    await server.add('b', 'h');
    server.queue.flushAll();
    server.now += 2000;
    expect(await server.relay.reconcile()).toBe(1);
  });

  it('hands a dead worker\'s step to another as soon as the lease is over, not before', async () => {
    const server = new Server();
    await server.add('a', 'g');
    await server.relay.pump();
    await server.worker('dies at work');
    server.now += LEASE - 1;
    expect(await server.relay.reconcile()).toBe(0);
    server.now += 1;
    expect(await server.relay.reconcile()).toBe(1);
    expect(await server.relay.pump()).toBe(1);
  });
});
