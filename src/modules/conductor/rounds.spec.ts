import { describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '../../events/clock.js';
import type { EventStore } from '../../events/store.port.js';
import { Rounds } from './rounds.js';

/** A store that has one lease and wakes its listeners when told. */
function setUp(restore: () => Promise<void> = async () => {}, clock: Clock = systemClock, settle?: () => Promise<void>) {
  let holder: string | null = null;
  let wake = (): void => {};
  const did: string[] = [];
  const store = {
    acquire: async (_: string, owner: string) => (holder === null || holder === owner) && (holder = owner) !== null,
    release: async () => { holder = null; },
    changes: (listener: () => void) => { wake = listener; return () => {}; },
  } as unknown as EventStore;
  const rounds = new Rounds({
    store, clock, owner: 'me', report: () => {}, leads: () => {}, sweep: async () => { did.push('sweep'); }, restore, ...(settle && { settle }),
    relay: { pump: async () => { did.push('pump'); return 0; }, reconcile: async () => 0 },
  });
  return { rounds, did, wake: () => wake(), hold: (owner: string | null) => { holder = owner; } };
}
const soon = (): Promise<void> => new Promise((done) => { setTimeout(done, 30); });

describe('the conductor, when it begins to lead', () => {
  it('hands nothing out before what is live is brought back, and tries that again until it is known', async () => {
    let [asked, known] = [0, (): void => {}];
    const { rounds, did, wake } = setUp(() => {
      asked += 1;
      return asked === 1 ? Promise.reject(new Error('the engine does not answer')) : new Promise((done) => { known = done; });
    });
    rounds.start();
    for (let i = 0; i < 200 && asked < 2; i += 1) {
      wake();
      await soon();
    }
    expect([asked, did]).toEqual([2, []]);
    known();
    await soon();
    expect(did).toContain('pump');
    await rounds.stop();
  });

  it('settles before anything else, also after it was alone, until that works', async () => {
    let fails = 2;
    const tried: string[] = [];
    const { rounds, did, wake } = setUp(async () => { did.push('restore'); }, systemClock, async () => {
      tried.push(did.join());
      if ((fails -= 1) >= 0) throw new Error('not yet');
    });
    rounds.start();
    for (let i = 0; i < 200 && tried.length < 3; i += 1) {
      await rounds.sweepNow();
      wake();
      await soon();
    }
    expect(tried).toEqual(['', '', '']);
    await soon();
    expect(did.slice(0, 2)).toEqual(['restore', 'pump']);
    wake();
    await soon();
    expect(tried).toHaveLength(3);
    await rounds.alone(async () => {});
    await soon();
    expect(tried).toHaveLength(4);
    await rounds.stop();
  });

  it('does not wait for ever for an engine that is not there', async () => {
    let now = 1_000_000;
    const { rounds, did, wake } = setUp(() => Promise.reject(new Error('the engine does not answer')), { ...systemClock, now: () => now });
    rounds.start();
    await soon();
    expect(did).toEqual([]);
    now += 120_000;
    wake();
    await soon();
    expect(did).toContain('pump');
    await rounds.stop();
  });
});

describe('the conductor, asked to hold still', () => {
  it('relays and sweeps nothing until the work is done, and goes on by itself', async () => {
    const { rounds, did, wake } = setUp();
    rounds.start();
    await soon();
    expect(did).toContain('pump');
    await rounds.alone(async () => {
      did.length = 0;
      wake();
      await rounds.sweepNow();
      await soon();
      expect(did).toEqual([]);
    });
    await soon();
    expect(did).toContain('pump');
    await expect(rounds.alone(() => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    did.length = 0;
    wake();
    await soon();
    expect(did).toContain('pump');
    await rounds.stop();
  });

  it('refuses while another process leads, and while it does so already', async () => {
    const { rounds, hold } = setUp();
    hold('another');
    await expect(rounds.alone(async () => 1)).rejects.toThrow('Another process');
    hold(null);
    await rounds.alone(async () => { await expect(rounds.alone(async () => 1)).rejects.toThrow('Another process'); });
    expect(await rounds.alone(async () => 2)).toBe(2);
  });
});
