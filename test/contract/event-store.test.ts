import { randomBytes } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { GENESIS, link, type Link } from '../../src/events/chain.js';
import type { Recorded } from '../../src/events/event.js';
import { openStore } from '../../src/events/open-store.js';
import { translate } from '../../src/events/postgres.errors.js';
import { Conflict, LeaseLost, StoreUnavailable, type Append, type EventStore, type NewWork, type Transaction } from '../../src/events/store.port.js';
import { Cluster, bundleChild, startChild } from './event-store.harness.js';

const T0 = 1_800_000_000_000;
const meta = (correlation = 'c') => ({ actor: 'test', command: 'test', correlation, causation: null, trace: 'f'.repeat(32) });
const tx = (parts: Partial<Transaction>): Transaction => ({ appends: [], meta: meta(), now: T0, ...parts });
const append = (stream: string, expected: number, ...types: string[]): Append => ({ stream, expected, events: types.map((type) => ({ type, data: { type } })) });
const item = (id: string, group = id, more: Partial<NewWork> = {}): NewWork => ({ id, queue: 'build', group, payload: { id }, ...more });
const ids = (rows: readonly { id: string }[]) => rows.map((row) => row.id);
const thrown = async (promise: Promise<unknown>): Promise<unknown> => promise.then(() => { throw new Error('it was not refused'); }, (error: unknown) => error);

let bundle: Awaited<ReturnType<typeof bundleChild>>;
let cluster: Cluster | null = null;
beforeAll(async () => {
  bundle = await bundleChild();
  if (Cluster.programs()) cluster = await Cluster.create('fsync=off', 'max_connections=120');
});
afterAll(async () => {
  await cluster?.remove();
  bundle?.remove();
});
const child = (...args: string[]) => {
  const started = startChild(bundle.file, ...args);
  onTestFinished(() => { started.process.kill('SIGKILL'); });
  return started;
};

interface Place { readonly url: string; /** events with their hashes, read past the driver */ raw(): Promise<(Link & { hash: string })[]>; remove(): void }

const kinds: { kind: 'sqlite' | 'postgres'; make: () => Promise<Place>; available: boolean }[] = [
  {
    kind: 'sqlite', available: true,
    make: async () => {
      const dir = mkdtempSync(join(tmpdir(), 'berth-store-'));
      const file = join(dir, 'berth.db');
      return {
        url: `sqlite:${file}`, remove: () => rmSync(dir, { recursive: true, force: true }),
        raw: async () => {
          const db = new DatabaseSync(file, { readOnly: true });
          expect(db.prepare('PRAGMA integrity_check').get()).toMatchObject({ integrity_check: 'ok' });
          const rows = db.prepare('SELECT * FROM events ORDER BY position').all() as unknown as (Link & { hash: string })[];
          db.close();
          return rows;
        },
      };
    },
  },
  {
    kind: 'postgres', available: Cluster.programs() !== null,
    make: async () => {
      const url = await cluster!.database();
      return {
        url, remove: () => undefined,
        raw: async () => {
          const client = new pg.Client(url);
          await client.connect();
          const { rows } = await client.query<Link & { hash: string }>('SELECT * FROM events ORDER BY position');
          await client.end();
          return rows.map((row) => ({ ...row, position: Number(row.position), at: Number(row.at) }));
        },
      };
    },
  },
];

describe.each(kinds.filter((kind) => kind.available))('event store on $kind', ({ kind, make }) => {
  let place: Place;
  let store: EventStore;
  beforeEach(async () => {
    place = await make();
    store = await openStore(place.url);
  });
  afterEach(async () => {
    await store.close();
    place.remove();
  });

  const all = async (filter = {}): Promise<Recorded[]> => store.readAll(0, 1e6, filter);
  /** Streams without gaps, positions rising, every hash right, every transaction of the child whole. */
  const sound = async (): Promise<Recorded[]> => {
    const versions = new Map<string, number>();
    let previous = GENESIS, position = 0;
    for (const row of await place.raw()) {
      expect(row.position).toBeGreaterThan(position);
      expect(row.version).toBe((versions.get(row.stream) ?? 0) + 1);
      expect(row.hash).toBe(link(previous, row));
      versions.set(row.stream, row.version);
      previous = row.hash;
      position = row.position;
    }
    return all();
  };

  describe('appending', () => {
    it('answers what will be read: order, versions, envelope', async () => {
      const at = await store.transact(tx({ appends: [append('a', 0, 'X', 'Y'), append('b', 0, 'Z')], meta: { ...meta('one'), causation: 'e-1' } }));
      expect(at.map((event) => [event.stream, event.version, event.type])).toEqual([['a', 1, 'X'], ['a', 2, 'Y'], ['b', 1, 'Z']]);
      expect(at.every((event) => event.at === T0 && event.schema === 1 && event.meta.causation === 'e-1')).toBe(true);
      expect(new Set(ids(at)).size).toBe(3);
      expect(await all()).toEqual(at.map((event) => ({ position: event.position, stream: event.stream, version: event.version, id: event.id, type: event.type, data: event.data, schema: event.schema, meta: event.meta, at: event.at })));
      expect(await store.readStream('a', 1)).toEqual([(await all())[1]]);
      expect(await store.head()).toBe(at[2]!.position);
      await sound();
    });

    it('refuses a wrong expected version with both numbers and writes nothing', async () => {
      await store.transact(tx({ appends: [append('a', 0, 'X', 'Y')] }));
      const error = await thrown(store.transact(tx({ appends: [append('b', 0, 'N'), append('a', 1, 'N')], work: [item('w')] })));
      expect(error).toBeInstanceOf(Conflict);
      expect(error).toMatchObject({ stream: 'a', expected: 1, actual: 2 });
      expect(await thrown(store.transact(tx({ appends: [append('new', 3, 'N')] })))).toMatchObject({ expected: 3, actual: 0 });
      expect(await thrown(store.transact(tx({ appends: [append('a', 0)] })))).toBeInstanceOf(Conflict);
      expect((await all()).map((event) => event.type)).toEqual(['X', 'Y']);
      expect(await store.work('w')).toBeNull();
      expect(await store.readStream('b')).toEqual([]);
    });

    it('takes two appends for one stream in order', async () => {
      await store.transact(tx({ appends: [append('a', 0, 'X'), append('a', 1, 'Y')] }));
      expect(await thrown(store.transact(tx({ appends: [append('a', 2, 'Z'), append('a', 2, 'Z')] })))).toMatchObject({ expected: 2, actual: 3 });
      expect((await sound()).map((event) => event.type)).toEqual(['X', 'Y']);
    });

    it('lets one of several callers of a process fail without the others', async () => {
      await store.transact(tx({ appends: [append('a', 0, 'X')], work: [item('taken')] }));
      const results = await Promise.allSettled(Array.from({ length: 40 }, (_, n) => store.transact(tx(
        n % 4 === 1 ? { appends: [append(`s${n}`, 0, 'N'), append('a', 9, 'N')] }
          : n % 4 === 2 ? { appends: [append(`s${n}`, 0, 'N')], finish: { id: 'taken', owner: 'nobody' } }
            : n % 4 === 3 ? { appends: [append(`s${n}`, 0, 'N')], work: [item('taken')] }
              : { appends: [append(`s${n}`, 0, 'Y')], work: [item(`w${n}`)] }))));
      results.forEach((result, n) => {
        if (n % 4 === 0) expect(result.status).toBe('fulfilled');
        else expect(result).toMatchObject({ reason: n % 4 === 1 ? { name: 'Conflict' } : n % 4 === 2 ? { name: 'LeaseLost' } : { message: 'work taken exists already' } });
      });
      // what the database itself refuses, after a part of it was written
      const half = await Promise.allSettled([0, 1, 2].map((n) => store.transact(tx({ appends: [{ stream: `half${n}`, expected: 0, events: [{ type: 'Y', data: n }, { type: 'Y', data: n, schema: n === 1 ? 1.5 : 1 }] }] }))));
      expect(half.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
      expect(await store.readStream('half1')).toEqual([]);
      expect((await sound()).map((event) => event.type)).toEqual(['X', ...Array<string>(14).fill('Y')]);
      expect(await store.openWork()).toHaveLength(11);
    });

    it('gives one winner when many decide on the same version', async () => {
      const other = await openStore(place.url);
      const results = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => (n % 2 ? store : other).transact(tx({ appends: [append('a', 0, `T${n}`)] }))));
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      expect(results.filter((result) => result.status === 'rejected' && result.reason instanceof Conflict)).toHaveLength(19);
      await other.close();
      expect(await sound()).toHaveLength(1);
    });

    it('keeps any JSON and any text', async () => {
      const big = 'ü'.repeat(1_500_000);
      const data = { emoji: '🚢 Liegeplatz', nul: 'a\0b', half: '\ud800', deep: { z: 1, a: [null, -0.5, 1e300] }, text: "'; DROP TABLE events; --", __proto: 1, big };
      const [written] = await store.transact(tx({ appends: [{ stream: 'app-häfen/🚢', expected: 0, events: [{ type: 'X', data, schema: 7 }, { type: 'N', data: undefined }] }] }));
      expect(written!.data).toEqual(data);
      const [first, second] = await store.readStream('app-häfen/🚢');
      expect(first).toMatchObject({ data, schema: 7 });
      expect(Object.keys((first!.data as typeof data).deep)).toEqual(['z', 'a']);
      expect(second!.data).toBeNull();
      for (const stream of ['', 'a\0b', '\ud800', 'x'.repeat(513)]) expect(await thrown(store.transact(tx({ appends: [append(stream, 0, 'X')] })))).toMatchObject({ message: expect.stringContaining('stream') as string });
      await sound();
    });

    it('property: any history of right and wrong guesses ends as a model says', async () => {
      let run = 0;
      await fc.assert(fc.asyncProperty(fc.array(fc.array(fc.record({ stream: fc.nat(2), guess: fc.integer({ min: -1, max: 1 }), count: fc.nat(3) }), { minLength: 1, maxLength: 3 }), { maxLength: 12 }), async (history) => {
        const prefix = `r${++run}-`;
        const model = new Map<string, number>();
        await Promise.all(history.map(async (parts) => {
          const after = new Map(model);
          let right = true;
          const appends = parts.map(({ stream, guess, count }) => {
            const name = prefix + stream, version = after.get(name) ?? 0, expected = Math.max(0, version + (guess === 0 || right ? guess : 0));
            right &&= expected === version;
            if (right) after.set(name, version + count);
            return append(name, expected, ...Array<string>(count).fill('T'));
          });
          if (right) for (const [name, version] of after) model.set(name, version);
          const result = await store.transact(tx({ appends })).then(() => true, (error: unknown) => { expect(error).toBeInstanceOf(Conflict); return false; });
          expect(result).toBe(right);
        }));
        for (const [name, version] of model) expect(await store.readStream(name)).toHaveLength(version);
      }), { numRuns: 25 });
      await sound();
    });
  });

  describe('reading', () => {
    it('an event may say otherwise than its transaction what it belongs to', async () => {
      const [first, second] = await store.transact(tx({ meta: meta('deploy-1'), appends: [{ stream: 's', expected: 0, events: [{ type: 'Ended', data: {} }, { type: 'Started', data: {}, meta: { correlation: 'deploy-2', trace: '2'.repeat(32) } }] }] }));
      expect(first!.meta).toEqual(meta('deploy-1'));
      expect(second!.meta).toEqual({ ...meta('deploy-2'), trace: '2'.repeat(32) });
      expect(await store.readStream('s')).toEqual([first, second]);
      expect(await store.readAll(0, 10, { correlation: 'deploy-2' })).toEqual([second]);
      expect(await thrown(store.transact(tx({ appends: [{ stream: 's', expected: 2, events: [{ type: 'X', data: {}, meta: { correlation: '' } }] }] })))).toMatchObject({ message: expect.stringContaining('correlation') as string });
    });

    it('pages and filters by type, stream, correlation and actor, forwards and backwards', async () => {
      for (let n = 0; n < 30; n++) await store.transact(tx({ appends: [append(`s${n % 3}`, Math.floor(n / 3), `T${n % 5}`)], meta: { ...meta(`c${n % 4}`), actor: ['key:0', 'key:1', 'key:1:7@host', 'key:1@x', 'key:10'][n % 5]! } }));
      const events = await all();
      const paged: Recorded[] = [];
      for (let after = 0; ;) {
        const page = await store.readAll(after, 7);
        if (page.length === 0) break;
        expect(page.length).toBeLessThanOrEqual(7);
        paged.push(...page);
        after = page.at(-1)!.position;
      }
      expect(paged).toEqual(events);
      const back: Recorded[] = [];
      for (let page = await store.readBack(Number.MAX_SAFE_INTEGER, 7); page.length > 0; page = await store.readBack(page.at(-1)!.position, 7)) back.push(...page);
      expect(back).toEqual(events.toReversed());

      const some = <T>(of: readonly T[]) => fc.option(fc.constantFrom(...of), { nil: undefined });
      const filters = fc.record({ types: some([[], ['T1', 'T3'], ['T4'], ['T0', 'none']]), stream: some(['s0', 's2', 'none']), correlation: some(['c0', 'c3', 'none']), actor: some(['key', 'key:0', 'key:1', 'KEY:1', 'key:', 'key:1:7']) });
      const is = (actor: string, wanted: string): boolean => actor === wanted || actor.startsWith(`${wanted}:`) || actor.startsWith(`${wanted}@`);
      await fc.assert(fc.asyncProperty(filters, fc.nat(31), fc.nat(12), async (all, from, limit) => {
        const filter = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
        const at = events[from]?.position ?? events.at(-1)!.position + 1;
        const wanted = events.filter((e) => (all.types?.includes(e.type) ?? true) && e.stream === (all.stream ?? e.stream) && e.meta.correlation === (all.correlation ?? e.meta.correlation) && is(e.meta.actor, all.actor ?? e.meta.actor));
        expect(await store.readAll(at, limit, filter)).toEqual(wanted.filter((e) => e.position > at).slice(0, limit));
        expect(await store.readBack(at, limit, filter)).toEqual(wanted.filter((e) => e.position < at).toReversed().slice(0, limit));
      }), { numRuns: 60 });
      expect((await store.readStream('s1', 3, 5)).map((event) => event.version)).toEqual([4, 5]);
      expect(await store.readStream('none')).toEqual([]);
    });

    it('answers the chain letter by letter, in pages', async () => {
      await store.transact(tx({ appends: [append('a', 0, 'X', 'Y'), append('b', 0, 'Z')] }));
      const chain = await store.readChain(0, 100);
      expect(chain).toEqual((await place.raw()).map((row) => ({ ...row })));
      expect(await store.readChain(chain[0]!.position, 1)).toEqual([chain[1]]);
      expect(chain.reduce((previous, row) => link(previous, row), GENESIS)).toBe(chain.at(-1)!.hash);
    });

    it('never misses an event while six processes write, and wakes for them', async () => {
      const reader = await openStore(place.url);
      const seen: Recorded[] = [];
      let wakes = 0;
      const stop = reader.changes(() => { wakes += 1; });
      const writers = Array.from({ length: 6 }, (_, n) => child('write', place.url, `p${n}`, '60'));
      let over = false;
      const ended = Promise.all(writers.map((writer) => writer.ended)).then((codes) => { over = true; return codes; });
      for (let last = false; ;) {
        const page = await reader.readAll(seen.at(-1)?.position ?? 0, 50);
        seen.push(...page);
        if (page.length === 0 && last) break;
        last = over;
        await sleep(0);
      }
      expect(await ended).toEqual([0, 0, 0, 0, 0, 0]);
      stop();
      await reader.close();
      const events = await sound();
      expect(events).toHaveLength(6 * 60 * 3);
      expect(ids(seen)).toEqual(ids(events));
      expect(await store.openWork()).toHaveLength(6 * 60);
      expect(wakes).toBeGreaterThan(10);
    });
  });

  describe('crashes', () => {
    it('kill -9 of writers leaves no gap and no half transaction', async () => {
      const writers = Array.from({ length: 4 }, (_, n) => child('write', place.url, `p${n}`, '1000000'));
      await Promise.all(writers.map((writer) => writer.line('open')));
      for (const writer of writers) {
        await sleep(60 + Math.random() * 120);
        writer.process.kill('SIGKILL');
        expect(await writer.ended).toBe('SIGKILL');
        await store.transact(tx({ appends: [append(`after-${writer.process.pid}`, 0, 'alive')] }));
      }
      const events = (await sound()).filter((event) => event.type !== 'alive');
      const whole = Map.groupBy(events, (event) => event.meta.correlation);
      expect(whole.size).toBeGreaterThan(8);
      for (const [correlation, parts] of whole) {
        expect(parts.map((event) => event.type)).toEqual(['A', 'B', 'C']);
        expect(await store.work(correlation)).not.toBeNull();
      }
      expect(await store.openWork()).toHaveLength(whole.size);
    });

    it('opens from six processes at the same time on an empty place', async () => {
      const fresh = await make();
      onTestFinished(() => fresh.remove());
      const openers = Array.from({ length: 6 }, () => child('open', fresh.url));
      expect(await Promise.all(openers.map((opener) => opener.ended))).toEqual([0, 0, 0, 0, 0, 0]);
    });
  });

  describe('changes', () => {
    it('wakes another process within a few ms, and not after stop', async () => {
      const watcher = child('watch', place.url);
      await watcher.line('ready');
      await sleep(200);
      const waits: number[] = [];
      for (let n = 0; n < 30; n++) {
        await store.transact(tx({ appends: [append('s', n, 'X')], meta: meta(`n${n}`) }));
        const start = performance.timeOrigin + performance.now();
        const line = await watcher.line(`event ${await store.head()} `);
        waits.push(Number(line.split(' ')[2]) - start);
        await sleep(15);
      }
      waits.sort((a, b) => a - b);
      expect(waits[15]).toBeLessThan(200); // a few ms on a quiet machine; the poll alone would give 250
      watcher.process.stdin.end();
      expect(await watcher.ended).toBe(0);

      let calls = 0, thirds = 0;
      const stop = store.changes(() => { calls += 1; });
      const stopThird = store.changes(() => { thirds += 1; });
      await expect.poll(async () => { await store.transact(tx({ appends: [append('t', (await store.readStream('t')).length, 'X')] })); return calls; }).toBeGreaterThan(0);
      stop();
      await sleep(100);
      const before = calls, others = thirds;
      await store.transact(tx({ appends: [append('u', 0, 'X')] }));
      await expect.poll(() => thirds).toBeGreaterThan(others);
      stopThird();
      expect(calls).toBe(before);
    });
  });

  describe('work', () => {
    const claim = (id: string, owner: string, now = T0, leaseMs = 5000) => store.transact(tx({ now, claim: { id, owner, leaseMs }, appends: [] }));
    const finish = (id: string, owner: string, now = T0, more: Partial<Transaction> = {}) => store.transact(tx({ now, finish: { id, owner }, ...more }));

    it('goes todo, dispatched, done; each only once', async () => {
      await store.transact(tx({ work: [item('w', 'g', { payload: { deep: ['ü'] } })] }));
      expect(await store.work('w')).toEqual({ id: 'w', queue: 'build', group: 'g', payload: { deep: ['ü'] }, notBefore: 0, state: 'todo', dispatch: 0, attempt: 0, owner: null, leaseUntil: 0, dispatchedAt: 0, addedAt: T0 });
      expect(await store.markDispatched([{ id: 'w', dispatch: 1 }, { id: 'none', dispatch: 0 }], T0 + 1)).toBe(0);
      expect(await store.markDispatched([{ id: 'w', dispatch: 0 }], T0 + 1)).toBe(1);
      expect(await store.markDispatched([{ id: 'w', dispatch: 0 }], T0 + 2)).toBe(0);
      expect(await store.dispatchable(T0, 10)).toEqual([]);
      await claim('w', 'me', T0 + 3);
      expect(await store.work('w')).toMatchObject({ state: 'dispatched', attempt: 1, owner: 'me', leaseUntil: T0 + 5003, dispatchedAt: T0 + 1 });
      await finish('w', 'me', T0 + 4, { appends: [append('s', 0, 'Done')], work: [item('next', 'g')] });
      expect(await store.work('w')).toMatchObject({ state: 'done', leaseUntil: 0, owner: 'me' });
      expect(ids(await store.openWork())).toEqual(['next']);
      for (const again of [claim('w', 'me', T0 + 99_999), finish('w', 'me'), claim('none', 'me'), finish('none', 'me')]) expect(await thrown(again)).toBeInstanceOf(LeaseLost);
      expect(await store.heartbeat('w', 'me', T0, 5000)).toBe(false);
      expect(await thrown(store.transact(tx({ work: [item('w')] })))).toMatchObject({ message: 'work w exists already' });
    });

    it('is claimed by one of many, even by the same name', async () => {
      await store.transact(tx({ work: [item('w')] }));
      const other = await openStore(place.url);
      const results = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => (n % 2 ? store : other).transact(tx({ claim: { id: 'w', owner: 'same', leaseMs: 1000 } }))));
      await other.close();
      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
      expect(await store.work('w')).toMatchObject({ attempt: 1, state: 'dispatched', dispatchedAt: T0 });
    });

    it('a lease that ran out may still finish; one that was taken over may not', async () => {
      await store.transact(tx({ work: [item('w'), item('v')] }));
      await claim('w', 'slow', T0, 1000);
      expect(await thrown(claim('w', 'eager', T0 + 999))).toBeInstanceOf(LeaseLost);
      await finish('w', 'slow', T0 + 60_000, { appends: [append('a', 0, 'Late')] });
      await claim('v', 'slow', T0, 1000);
      await claim('v', 'heir', T0 + 1000);
      const error = await thrown(finish('v', 'slow', T0 + 1001, { appends: [append('b', 0, 'TooLate')], work: [item('x')], drop: ['v'] }));
      expect(error).toBeInstanceOf(LeaseLost);
      expect(error).toMatchObject({ workId: 'v', owner: 'slow' });
      expect(await store.readStream('b')).toEqual([]);
      expect(await store.work('x')).toBeNull();
      expect(await store.work('v')).toMatchObject({ owner: 'heir', attempt: 2, state: 'dispatched' });
      // the lease is looked at before the versions
      expect(await thrown(finish('v', 'slow', T0, { appends: [append('a', 77, 'N')] }))).toBeInstanceOf(LeaseLost);
      expect(await thrown(finish('v', 'heir', T0, { appends: [append('a', 77, 'N')] }))).toBeInstanceOf(Conflict);
      expect(await store.work('v')).toMatchObject({ state: 'dispatched' });
    });

    it('heartbeats prolong one\'s own lease and say when it is lost', async () => {
      await store.transact(tx({ work: [item('w')] }));
      await claim('w', 'me', T0, 1000);
      expect(await store.heartbeat('w', 'me', T0 + 900, 1000)).toBe(true);
      expect(await thrown(claim('w', 'you', T0 + 1899))).toBeInstanceOf(LeaseLost);
      expect(await store.heartbeat('w', 'you', T0, 1000)).toBe(false);
      expect(await store.heartbeat('w', 'me', T0 + 5000, 1000)).toBe(true); // ran out, nobody took it
      await claim('w', 'you', T0 + 6000);
      expect(await store.heartbeat('w', 'me', T0 + 6001, 1000)).toBe(false);
      await store.transact(tx({ drop: ['w'] }));
      expect(await store.heartbeat('w', 'you', T0 + 6002, 1000)).toBe(false);
    });

    it('dropped rows are nobody\'s; done ones stay done', async () => {
      await store.transact(tx({ work: [item('a'), item('b'), item('c')] }));
      await claim('b', 'me');
      await claim('c', 'me');
      await finish('c', 'me');
      await store.transact(tx({ drop: ['a', 'b', 'c', 'none'] }));
      expect(await Promise.all(['a', 'b', 'c'].map(async (id) => (await store.work(id))?.state))).toEqual(['dropped', 'dropped', 'done']);
      expect(await thrown(finish('b', 'me'))).toBeInstanceOf(LeaseLost);
      expect(await thrown(claim('a', 'me'))).toBeInstanceOf(LeaseLost);
      expect(await store.openWork()).toEqual([]);
    });

    it('is dispatched one at a time for each group, in order, when due', async () => {
      await store.transact(tx({ work: [item('g1', 'g'), item('h1', 'h', { notBefore: T0 + 50 }), item('g2', 'g'), item('h2', 'h'), item('k1', 'k', { notBefore: T0 + 20 })] }));
      expect(ids(await store.dispatchable(T0, 10))).toEqual(['g1']);
      expect(await store.nextDue(T0)).toBe(T0 + 20);
      expect(await store.nextDue(T0 + 20)).toBe(T0 + 50);
      expect(await store.nextDue(T0 + 50)).toBeNull();
      expect(ids(await store.dispatchable(T0 + 50, 10))).toEqual(['g1', 'h1', 'k1']);
      expect(ids(await store.dispatchable(T0 + 50, 2))).toEqual(['g1', 'h1']);
      await store.markDispatched([{ id: 'g1', dispatch: 0 }], T0);
      expect(ids(await store.dispatchable(T0, 10))).toEqual([]);
      await claim('g1', 'me');
      await finish('g1', 'me');
      await store.transact(tx({ drop: ['h1'] }));
      expect(ids(await store.dispatchable(T0, 10))).toEqual(['g2', 'h2']);
      expect(ids(await store.openWork())).toEqual(['g2', 'h2', 'k1']);
    });

    it('comes back when the queue lost it, under a new dispatch number', async () => {
      await store.transact(tx({ work: [item('w'), item('v')] }));
      await store.markDispatched([{ id: 'w', dispatch: 0 }, { id: 'v', dispatch: 0 }], T0);
      expect(await store.undelivered(T0 + 1000, 1000)).toEqual([]);
      expect(ids(await store.undelivered(T0 + 1001, 1000))).toEqual(['w', 'v']);
      await claim('w', 'me', T0 + 1001, 5000);
      expect(ids(await store.undelivered(T0 + 1001, 1000))).toEqual(['v']);
      expect(await store.redispatch('w', 0, T0 + 1001)).toBe(false);
      expect(await store.redispatch('v', 1, T0 + 1001)).toBe(false);
      expect(await store.redispatch('v', 0, T0 + 1001)).toBe(true);
      expect(await store.redispatch('v', 0, T0 + 1001)).toBe(false);
      expect(await store.work('v')).toMatchObject({ state: 'todo', dispatch: 1, owner: null });
      expect(ids(await store.undelivered(T0 + 6001, 1000))).toEqual(['w']);
      expect(await store.redispatch('w', 0, T0 + 6001)).toBe(true);
      expect(await thrown(finish('w', 'me', T0 + 6002))).toBeInstanceOf(LeaseLost);
      expect(await store.heartbeat('w', 'me', T0 + 6002, 1000)).toBe(false);
      expect(await store.markDispatched([{ id: 'w', dispatch: 0 }, { id: 'v', dispatch: 1 }], T0)).toBe(1);
    });

    it('of a predecessor is given back at once', async () => {
      await store.transact(tx({ work: [item('a'), item('b'), item('c'), item('d')] }));
      await claim('a', 'build%1:old:1');
      await claim('b', 'build%10:old:2');
      await claim('c', 'build%1:old:3');
      await finish('c', 'build%1:old:3');
      expect(await store.giveBack('build%1:', T0)).toBe(1);
      expect(await store.giveBack('build%1:', T0)).toBe(0);
      expect(await store.work('a')).toMatchObject({ state: 'todo', owner: null, leaseUntil: 0, dispatch: 1, attempt: 1 });
      expect(await store.work('b')).toMatchObject({ state: 'dispatched', owner: 'build%10:old:2' });
      expect(await thrown(finish('a', 'build%1:old:1'))).toBeInstanceOf(LeaseLost);
      expect(ids(await store.dispatchable(T0, 10))).toEqual(['a', 'd']);
    });

    it('of one\'s own is given back together with what is to be said of it', async () => {
      const back = (id: string, owner: string, more: Partial<Transaction> = {}) => store.transact(tx({ giveBack: { id, owner }, ...more }));
      await store.transact(tx({ work: [item('w', 'g')] }));
      await claim('w', 'me', T0);
      expect(await thrown(back('w', 'you', { appends: [append('s', 0, 'Back')] }))).toBeInstanceOf(LeaseLost);
      expect(await thrown(back('w', 'me', { appends: [append('s', 7, 'Back')] }))).toBeInstanceOf(Conflict);
      expect(await store.work('w')).toMatchObject({ state: 'dispatched', owner: 'me' });
      await back('w', 'me', { appends: [append('s', 0, 'Back')] });
      expect(await store.work('w')).toMatchObject({ state: 'todo', owner: null, leaseUntil: 0, dispatch: 1, attempt: 1 });
      expect(await store.readStream('s')).toHaveLength(1);
      expect(ids(await store.dispatchable(T0, 10))).toEqual(['w']);
      for (const again of [back('w', 'me'), finish('w', 'me'), back('none', 'me')]) expect(await thrown(again)).toBeInstanceOf(LeaseLost);
      expect(await store.markDispatched([{ id: 'w', dispatch: 0 }], T0)).toBe(0);
      expect(await store.markDispatched([{ id: 'w', dispatch: 1 }], T0)).toBe(1);
    });

    it('property: at most one owner can finish, whatever the order of claims, clocks and losses', async () => {
      let run = 0;
      const step = fc.record({ who: fc.constantFrom('p', 'q', 'r'), what: fc.constantFrom('claim', 'finish', 'beat', 'redispatch', 'giveBack', 'drop'), later: fc.constantFrom(0, 1, 500, 1000, 3000) });
      await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const id = `job${++run}`, stream = `out-${id}`;
        await store.transact(tx({ work: [item(id)] }));
        let now = T0, owner: string | null = null, until = 0, open = true, held = false, finished = 0, dispatch = 0;
        for (const { who, what, later } of steps) {
          now += later;
          const me = `${who}:${id}`;
          if (what === 'claim') {
            const may = open && until <= now;
            expect(await claim(id, me, now, 1000).then(() => true, () => false)).toBe(may);
            if (may) { owner = me; until = now + 1000; held = true; }
          } else if (what === 'finish') {
            const may = open && owner === me;
            expect(await finish(id, me, now, { appends: [append(stream, finished, 'Out')] }).then(() => true, () => false)).toBe(may);
            if (may) { finished += 1; open = held = false; until = 0; }
          } else if (what === 'beat') {
            const may = open && owner === me;
            expect(await store.heartbeat(id, me, now, 1000)).toBe(may);
            if (may) until = now + 1000;
          } else if (what === 'redispatch') {
            const may = open && held && until <= now;
            expect(await store.redispatch(id, dispatch, now)).toBe(may);
            if (may) { owner = null; until = 0; held = false; dispatch += 1; }
          } else if (what === 'giveBack') {
            const may = open && owner === me;
            expect(await store.giveBack(me, now)).toBe(may ? 1 : 0);
            if (may) { owner = null; until = 0; held = false; dispatch += 1; }
          } else {
            await store.transact(tx({ now, drop: [id] }));
            open = held = false;
          }
        }
        expect(await store.readStream(stream)).toHaveLength(finished);
        expect(finished).toBeLessThanOrEqual(1);
      }), { numRuns: 40 });
    });

    it('200 000 done rows slow nothing', async () => {
      const sql = (n: string) => `'old' || ${n}, 'build', 'g' || (${n} % 500), '{}', 2, 0, 1, 'me', 0, 0, 0, 0`;
      const into = 'INSERT INTO work (id, queue, grp, payload, state, dispatch, attempt, owner, lease_until, dispatched_at, not_before, added_at)';
      if (kind === 'sqlite') {
        const db = new DatabaseSync(place.url.slice(7), { timeout: 5000 });
        db.exec(`WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 200000) ${into} SELECT ${sql('n')} FROM n`);
        db.close();
      } else {
        const client = new pg.Client(place.url);
        await client.connect();
        await client.query(`${into} SELECT ${sql('n')} FROM generate_series(1, 200000) n; ANALYZE work`);
        await client.end();
      }
      await store.transact(tx({ work: Array.from({ length: 1000 }, (_, n) => item(`w${n}`, `g${n % 500}`)) }));
      // the best of several, as other work on the machine only ever adds
      const best = async (read: () => Promise<unknown>) => {
        let least = Infinity;
        for (let n = 0; n < 12; n++) {
          const start = performance.now();
          await read();
          least = Math.min(least, performance.now() - start);
        }
        return least;
      };
      expect(await store.dispatchable(T0, 1000)).toHaveLength(500);
      expect(await store.openWork()).toHaveLength(1000);
      expect(await store.undelivered(T0, 0)).toEqual([]);
      expect(await best(() => store.dispatchable(T0, 1000))).toBeLessThan(150); // a bound for a busy machine: with an index it is 5
      expect(await best(() => store.undelivered(T0, 0))).toBeLessThan(100);
      expect(await best(() => store.nextDue(T0))).toBeLessThan(100);
    });
  });

  it('leases are held by one, prolonged by the holder, free when over or released', async () => {
    expect(await store.acquire('relay', 'a', T0, 1000)).toBe(true);
    expect(await store.acquire('relay', 'b', T0 + 999, 1000)).toBe(false);
    expect(await store.acquire('relay', 'a', T0 + 999, 1000)).toBe(true);
    expect(await store.acquire('relay', 'b', T0 + 1500, 1000)).toBe(false);
    expect(await store.acquire('other', 'b', T0, 1000)).toBe(true);
    await store.release('relay', 'b');
    expect(await store.acquire('relay', 'b', T0 + 1500, 1000)).toBe(false);
    expect(await store.acquire('relay', 'b', T0 + 1999, 1000)).toBe(true);
    await store.release('relay', 'b');
    expect(await store.acquire('relay', 'a', T0 + 2000, 1000)).toBe(true);
  });

  it('keys can be put, read, and are gone for good', async () => {
    const wrapped = Array.from({ length: 300 }, () => randomBytes(60));
    for (const [n, key] of wrapped.entries()) await store.putKey(`app-${n}`, key);
    await store.putKey('app-299', wrapped[299]!);
    expect(Buffer.from((await store.key('app-7'))!)).toEqual(wrapped[7]);
    expect(await store.key('none')).toBeNull();
    expect(await store.keyIds()).toEqual(wrapped.map((_, n) => `app-${n}`).sort());
    if (kind === 'sqlite') expect(holds(place.url, wrapped[7]!)).toBe(true);
    const doomed = wrapped.map((_, n) => n).filter((n) => n % 3 !== 0);
    for (const n of doomed) await store.destroyKey(`app-${n}`);
    for (const n of [1, 2, 298]) expect(await store.key(`app-${n}`)).toBeNull();
    expect(Buffer.from((await store.key('app-297'))!)).toEqual(wrapped[297]);
    expect(await store.keyIds()).not.toContain('app-298');
    if (kind === 'sqlite') {
      expect(doomed.filter((n) => holds(place.url, wrapped[n]!))).toEqual([]);
      expect(holds(place.url, wrapped[297]!)).toBe(true);
    }
    await store.putKey('app-1', wrapped[2]!);
    expect(Buffer.from((await store.key('app-1'))!)).toEqual(wrapped[2]);
  });

  it('snapshots are kept by name and version', async () => {
    expect(await store.snapshot('apps', '1')).toBeNull();
    await store.saveSnapshot('apps', '1', 10, '{"a":"ü"}');
    await store.saveSnapshot('apps', '1', 12, '{"a":2}');
    await store.saveSnapshot('apps', '2', 3, 'x'.repeat(2_000_000));
    expect(await store.snapshot('apps', '1')).toEqual({ position: 12, state: '{"a":2}' });
    expect((await store.snapshot('apps', '2'))?.state).toHaveLength(2_000_000);
    expect(await store.snapshot('apps', '3')).toBeNull();
    await store.saveSnapshot('other', '1', 1, '{}');
    await store.forgetSnapshots('apps', '2');
    expect(await store.snapshot('apps', '1')).toBeNull();
    expect((await store.snapshot('apps', '2'))?.position).toBe(3);
    expect((await store.snapshot('other', '1'))?.position).toBe(1);
  });

  it('says so when it was closed, and keeps everything for the next', async () => {
    const writing = store.transact(tx({ appends: [append('a', 0, 'X')] }));
    await store.close();
    await writing;
    expect(await thrown(store.head())).toMatchObject({ message: expect.stringContaining('closed') as string });
    expect(await thrown(store.transact(tx({})))).toMatchObject({ message: expect.stringContaining('closed') as string });
    store = await openStore(place.url);
    expect(await all()).toHaveLength(1);
  });

  it('refuses a schema from the future', async () => {
    const statement = 'INSERT INTO schema_version (version, at) VALUES (99, 0)';
    if (kind === 'sqlite') {
      const db = new DatabaseSync(place.url.slice(7), { timeout: 5000 });
      db.exec(statement);
      db.close();
    } else {
      const client = new pg.Client(place.url);
      await client.connect();
      await client.query(statement);
      await client.end();
    }
    expect(await thrown(openStore(place.url))).toMatchObject({ message: expect.stringMatching(/schema 99 is newer/) as string });
  });
});

/** Whether the bytes are in the database file or what SQLite keeps beside it. */
function holds(url: string, bytes: Buffer): boolean {
  const file = url.slice('sqlite:'.length);
  return [file, `${file}-wal`, `${file}-shm`].some((path) => existsSync(path) && readFileSync(path).includes(bytes));
}

describe('SQLite only', () => {
  const folder = () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-store-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    return dir;
  };

  it('files are the owner\'s alone', async () => {
    const file = join(folder(), 'berth.db');
    const store = await openStore(`sqlite:${file}`);
    await store.transact(tx({ appends: [append('a', 0, 'X')] }));
    for (const end of ['', '-wal', '-shm', '-signal']) expect(statSync(file + end).mode & 0o777, end).toBe(0o600);
    await store.close();
  });

  it('says what is wrong with a URL or file', async () => {
    const dir = folder();
    writeFileSync(join(dir, 'text'), 'this is no database, but long enough to be looked at '.repeat(100));
    mkdirSync(join(dir, 'dir'));
    for (const [url, why] of [['mysql://x', 'sqlite:/'], ['sqlite:', 'needs a file'], ['sqlite::memory:', 'needs a file'], [`sqlite:${dir}/no/berth.db`, `there is no folder ${dir}/no`], [`sqlite:${dir}/text`, 'not a database'], [`sqlite:${dir}/dir`, 'EISDIR']] as const) {
      expect(await thrown(openStore(url)), url).toMatchObject({ message: expect.stringContaining(why) as string });
    }
  });

  it('gives up with "busy" when another process keeps the file locked, and goes on afterwards', async () => {
    const file = join(folder(), 'berth.db');
    const store = await openStore(`sqlite:${file}`);
    const hog = new DatabaseSync(file);
    hog.exec('BEGIN IMMEDIATE');
    let turns = 0;
    const timer = setInterval(() => { turns += 1; }, 10);
    const start = performance.now();
    const error = await thrown(store.transact(tx({ appends: [append('a', 0, 'X')] })));
    clearInterval(timer);
    expect(error).toMatchObject({ name: 'StoreUnavailable', reason: 'busy' });
    expect(performance.now() - start).toBeGreaterThan(4_900);
    expect(turns).toBeGreaterThan(200); // the event loop ran all the time
    expect(await store.head()).toBe(0); // reading needs no lock
    hog.exec('COMMIT');
    hog.close();
    await store.transact(tx({ appends: [append('a', 0, 'X')] }));
    expect(await store.head()).toBe(1);
    await store.close();
  });

  it('a full disk refuses the write, keeps the log whole, and is over when there is room', async (context) => {
    const dir = folder();
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', dir]).status !== 0) return context.skip('mounting a small tmpfs needs root');
    onTestFinished(() => { spawnSync('umount', ['-l', dir]); });
    const store = await openStore(`sqlite:${dir}/berth.db`);
    await store.transact(tx({ appends: [append('a', 0, 'X')] }));
    writeFileSync(join(dir, 'ballast'), Buffer.alloc(1_500_000));
    const pad = 'x'.repeat(50_000);
    let written = 0;
    let error: unknown = null;
    while (!error && written < 1000) {
      const results = await Promise.allSettled([0, 1, 2].map((n) => store.transact(tx({ work: [item(`w${written}-${n}`)], appends: [{ stream: `b${written}-${n}`, expected: 0, events: [{ type: 'Big', data: { pad } }] }] }))));
      written += results.filter((result) => result.status === 'fulfilled').length;
      error = results.find((result) => result.status === 'rejected')?.reason;
    }
    expect(error).toBeInstanceOf(StoreUnavailable);
    expect(error).toMatchObject({ reason: 'disk-full' });
    expect(written).toBeGreaterThan(2);
    expect(await store.readAll(0, 1e6)).toHaveLength(written + 1);
    expect(await store.openWork()).toHaveLength(written);
    rmSync(join(dir, 'ballast'));
    for (let n = 0; n < 5; n++) await store.transact(tx({ appends: [{ stream: 'after', expected: n, events: [{ type: 'Big', data: { pad } }] }] }));
    expect(await store.readAll(0, 1e6)).toHaveLength(written + 6);
    await store.close();
    const db = new DatabaseSync(join(dir, 'berth.db'));
    expect(db.prepare('PRAGMA integrity_check').get()).toMatchObject({ integrity_check: 'ok' });
    db.close();
  });
});

describe.skipIf(!Cluster.programs())('PostgreSQL only', () => {
  it('is "away" while the server is, and comes back by itself; changes too', async () => {
    const url = await cluster!.database();
    const store = await openStore(url);
    onTestFinished(() => store.close());
    let wakes = 0;
    store.changes(() => { wakes += 1; });
    await store.transact(tx({ appends: [append('a', 0, 'X')] }));
    await cluster!.stop('SIGQUIT');
    expect(await thrown(store.transact(tx({ appends: [append('a', 1, 'Y')] })))).toMatchObject({ name: 'StoreUnavailable', reason: 'away' });
    expect(await thrown(store.head())).toMatchObject({ name: 'StoreUnavailable', reason: 'away' });
    expect(await thrown(openStore(url))).toMatchObject({ name: 'StoreUnavailable', reason: 'away' });
    await cluster!.start();
    await store.transact(tx({ appends: [append('a', 1, 'Y')] }));
    expect(await store.readStream('a')).toHaveLength(2);
    await sleep(1500);
    const before = wakes;
    await store.transact(tx({ appends: [append('a', 2, 'Z')] }));
    await expect.poll(() => wakes).toBeGreaterThan(before);
  });

  it('names a full disk and a lock that is not given', async () => {
    expect(translate(Object.assign(new Error('could not extend file'), { code: '53100' }))).toMatchObject({ name: 'StoreUnavailable', reason: 'disk-full' });
    const url = await cluster!.database();
    const store = await openStore(url);
    onTestFinished(() => store.close());
    const hog = new pg.Client(url);
    await hog.connect();
    await hog.query('BEGIN; SELECT pg_advisory_xact_lock(1113944660, hashtext(current_schema()))');
    expect(await thrown(store.transact(tx({ appends: [append('a', 0, 'X')] })))).toMatchObject({ name: 'StoreUnavailable', reason: 'busy' });
    await hog.end();
    await store.transact(tx({ appends: [append('a', 0, 'X')] }));
  });
});
