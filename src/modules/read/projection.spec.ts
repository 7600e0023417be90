import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { Recorded } from '../../events/event.js';
import type { ReadFilter } from '../../events/store.port.js';
import { canonical, differences } from './canonical.js';
import { packed, unpacked } from './packed.js';
import { Projection, type Shape } from './projection.js';

interface Sum { sum: number; seen: number[] }
const shape = (version: string, times = 1): Shape<Sum> => ({ version, initial: () => ({ sum: 0, seen: [] }), apply: (state, event) => { state.sum += (event.data as number) * times; if (event.position % 1000 === 0) state.seen.push(event.position); } });

function storeOf(n: number) {
  const log: Recorded[] = [];
  const append = (count: number): void => { for (let i = 0; i < count; i += 1) log.push({ position: log.length + 1, id: `e${log.length}`, type: 'N', data: 1, schema: 1 } as unknown as Recorded); };
  append(n);
  const snapshots = new Map<string, { position: number; state: string }>();
  return {
    log, append, snapshots, onRead: () => {}, read: [] as string[],
    async readAll(after: number, limit: number, { except }: ReadFilter = {}) {
      this.onRead();
      const events = log.slice(after).filter((event, i) => !except?.includes(event.type) || i === 0 || event === log.at(-1)).slice(0, limit);
      this.read.push(...events.map((event) => event.type));
      return events;
    },
    async snapshot(name: string, version: string) { return snapshots.get(`${name} ${version}`) ?? null; },
    async saveSnapshot(name: string, version: string, position: number, state: string) { snapshots.set(`${name} ${version}`, { position, state }); },
    async forgetSnapshots(name: string, but: string) { for (const key of snapshots.keys()) if (key.startsWith(`${name} `) && key !== `${name} ${but}`) snapshots.delete(key); },
  };
}
const made = (store: ReturnType<typeof storeOf>, of = shape('1')) => new Projection(store, 'sum', of);
const stated = (store: ReturnType<typeof storeOf>, version: string) => vi.waitFor(() => { expect(store.snapshots.get(`sum ${version}`)).toBeDefined(); return store.snapshots.get(`sum ${version}`)!; });

describe('a projection', () => {
  it('is rebuilt identical while it serves, and while the log grows', async () => {
    const store = storeOf(23_000);
    const projection = made(store);
    expect((await projection.now()).sum).toBe(23_000);
    let grow = 40;
    store.onRead = () => { if ((grow -= 1) > 0) store.append(7); };
    const rebuilding = projection.rebuild();
    const served: number[] = [];
    for (let i = 0; i < 5; i += 1) served.push((await projection.now()).sum);
    expect(served.every((sum) => sum >= 23_000)).toBe(true);
    const answer = await rebuilding;
    expect(answer).toMatchObject({ identical: true, differences: [], version: '1' });
    expect(store.snapshots.get('sum 1')).toMatchObject({ position: answer.position });
    expect((await projection.now()).sum).toBe(store.log.length);
  });

  it('says where it was wrong, and is right afterwards', async () => {
    const store = storeOf(100);
    store.snapshots.set('sum 1', { position: 50, state: '{"sum":49,"seen":[]}' }); // one was lost
    const projection = made(store);
    expect((await projection.now()).sum).toBe(99);
    expect(await projection.rebuild()).toMatchObject({ identical: false, differences: [{ path: 'sum', was: '99', is: '100' }] });
    expect((await projection.now()).sum).toBe(100);
    expect((await made(store).now()).sum).toBe(100);
    expect(await projection.rebuild()).toMatchObject({ identical: true });
  });

  it('of a new version is built beside the old one and swapped', async () => {
    const store = storeOf(12_000);
    const projection = made(store);
    await projection.now();
    const rebuilding = projection.rebuild(shape('2', 10));
    expect((await projection.now()).sum).toBe(12_000); // the old one serves
    expect(await rebuilding).toMatchObject({ version: '2', identical: null, position: 12_000 });
    store.append(1);
    expect((await projection.now()).sum).toBe(120_010);
    expect(store.snapshots.get('sum 2')).toMatchObject({ position: 12_000 });
  });

  it('keeps a snapshot beside its work, begins with it, and does without one that cannot be kept or read', async () => {
    const store = storeOf(25_000);
    expect((await made(store).now()).sum).toBe(25_000);
    const { position, state } = await stated(store, '1');
    expect([position, JSON.parse(await unpacked(state))]).toEqual([25_000, { sum: 25_000, seen: Array.from({ length: 25 }, (_, i) => (i + 1) * 1000) }]);
    store.snapshots.set('sum 1', { position: 20_000, state: await packed('{"sum":1,"seen":[]}') });
    expect((await made(store).now()).sum).toBe(5001); // it was read
    store.snapshots.set('sum 1', { position: 20_000, state: 'AAAA' });
    const unreadable = made(store);
    expect((await unreadable.now()).sum).toBe(25_000);
    expect(unreadable.standing.trouble).toContain('cannot be read');
    store.snapshots.clear();
    store.saveSnapshot = () => Promise.reject(new Error('disk full'));
    const full = made(store);
    expect((await full.now()).sum).toBe(25_000);
    await vi.waitFor(() => expect(full.standing.trouble).toContain('disk full'));
    expect((await full.now()).sum).toBe(25_000);
  });

  it('whose version is new serves the former one\'s state at a start, until it is folded; then the former one is forgotten', async () => {
    const store = storeOf(12_000);
    await made(store).rebuild();
    store.append(10);
    let gate: () => void = () => {};
    const shut = new Promise<void>((open) => { gate = open; });
    const next: Shape<Sum> = { ...shape('2', 10), former: { version: '1', adopt: (state) => ({ ...(state as Sum), sum: (state as Sum).sum * 10 }) } };
    const read = store.readAll.bind(store);
    store.readAll = async (after, limit, filter) => { if (after < 12_000 - 1) await shut; return read(after, limit, filter); };
    const projection = made(store, next);
    expect((await projection.now()).sum).toBe(120_100); // the former one's, and what came since
    expect(projection.standing).toMatchObject({ version: '2', serves: '1' });
    store.append(1);
    expect((await projection.now()).sum).toBe(120_110);
    expect(store.snapshots.has('sum 2')).toBe(false); // what was adopted is never kept as the new version's
    gate();
    await stated(store, '2');
    await vi.waitFor(() => expect(projection.standing).toEqual({ version: '2', serves: '2', position: 12_011, trouble: null }));
    expect((await projection.now()).seen).toHaveLength(12);
    await vi.waitFor(() => expect([...store.snapshots.keys()]).toEqual(['sum 2']));
    expect((await made(store, next).now()).sum).toBe(120_110);
  });

  it('whose new version cannot be built goes on with the former one, and says why', async () => {
    const store = storeOf(30);
    await made(store).rebuild();
    store.append(1);
    const projection = made(store, { ...shape('2'), apply: (state, event) => { if (event.position === 7) throw new Error('no 7'); shape('1').apply(state, event); }, former: { version: '1', adopt: (state) => state as Sum } });
    expect((await projection.now()).sum).toBe(31);
    await vi.waitFor(() => expect(projection.standing).toMatchObject({ serves: '1', trouble: expect.stringContaining('no 7') as string }));
    store.append(1);
    expect((await projection.now()).sum).toBe(32);
  });

  it('does not read what it skips, and knows all the same how far the log goes and whether it is the same', async () => {
    const skipping: Shape<Sum> = { ...shape('1'), apply: (state, event) => { if (event.type === 'N') shape('1').apply(state, event); }, skips: ['S'] };
    await fc.assert(fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 1200 }), fc.array(fc.nat(5), { maxLength: 4 }), async (skipped, grows) => {
      const store = storeOf(skipped.length);
      const mark = (): void => store.log.forEach((event, i) => { store.log[i] = { ...event, type: skipped[i % Math.max(1, skipped.length)] ? 'S' : 'N' }; });
      mark();
      const wanted = (): number => store.log.filter((event) => event.type === 'N').length;
      const projection = made(store, skipping);
      for (const grow of grows) {
        expect((await projection.now()).sum).toBe(wanted());
        expect(projection.at).toBe(store.log.length);
        store.append(grow);
        mark();
      }
      store.onRead = () => { if (store.log.length < skipped.length + 40) { store.append(3); mark(); } };
      expect(await projection.rebuild()).toMatchObject({ identical: true });
      store.onRead = () => {};
      expect((await projection.now()).sum).toBe(wanted());
      store.read = [];
      await projection.now();
      expect(store.read.length).toBeLessThanOrEqual(1);
      store.log.splice(0);
      store.append(2);
      expect((await projection.now()).sum).toBe(2);
    }), { numRuns: 60 });
  });

  it('is rebuilt once for all who ask at the same time, and goes on after a failure', async () => {
    const store = storeOf(10);
    const projection = made(store);
    const [a, b] = await Promise.all([projection.rebuild(), projection.rebuild()]);
    expect(a).toBe(b);
    store.onRead = () => { throw new Error('away'); };
    await expect(projection.rebuild()).rejects.toThrow('away');
    await expect(projection.now()).rejects.toThrow('away');
    store.onRead = () => {};
    expect(await projection.rebuild()).toMatchObject({ identical: true });
    expect((await projection.now()).sum).toBe(10);
  });

  it('begins anew when another log took the place of its own, also in the middle of a rebuild', async () => {
    const store = storeOf(30);
    const projection = made(store);
    await projection.now();
    store.log.splice(10);
    expect((await projection.now()).sum).toBe(10);
    store.append(20_000);
    let reads = 0;
    store.onRead = () => { if ((reads += 1) === 3) { store.log.splice(0); store.append(7); store.log[6] = { ...store.log[6]!, id: 'other' }; } };
    expect(await projection.rebuild()).toMatchObject({ identical: true, position: 7 });
    store.onRead = () => {};
    store.log.splice(0);
    expect(await projection.rebuild()).toMatchObject({ identical: true, position: 0 });
  });
});

describe('canonical JSON', () => {
  it('does not know the order of keys', () => {
    expect(canonical({ b: [{ d: 1, c: 2 }], a: null })).toBe(canonical({ a: null, b: [{ c: 2, d: 1 }] }));
    expect(canonical([1, 2])).not.toBe(canonical([2, 1]));
  });

  it('differences are named by their place', () => {
    expect(differences({ a: { b: [1, 2], c: 1 } }, { a: { b: [1, 3], d: 1 } })).toEqual([{ path: 'a.b.1', was: '2', is: '3' }, { path: 'a.c', was: '1', is: 'nothing' }, { path: 'a.d', was: 'nothing', is: '1' }]);
    expect(differences({ x: 1 }, { x: 1 })).toEqual([]);
  });
});
