import { describe, expect, it } from 'vitest';
import type { Recorded } from '../../events/event.js';
import { canonical, differences } from './canonical.js';
import { Projection, type Shape } from './projection.js';

interface Sum { sum: number; seen: number[] }
const shape = (version: string, times = 1): Shape<Sum> => ({ version, initial: () => ({ sum: 0, seen: [] }), apply: (state, event) => { state.sum += (event.data as number) * times; if (event.position % 1000 === 0) state.seen.push(event.position); } });

function storeOf(n: number) {
  const log: Recorded[] = [];
  const append = (count: number): void => { for (let i = 0; i < count; i += 1) log.push({ position: log.length + 1, id: `e${log.length}`, type: 'N', data: 1, schema: 1 } as unknown as Recorded); };
  append(n);
  const snapshots = new Map<string, { position: number; state: string }>();
  return {
    log, append, snapshots, onRead: () => {},
    async readAll(after: number, limit: number) { this.onRead(); return log.slice(after, after + limit); },
    async snapshot(name: string, version: string) { return snapshots.get(`${name} ${version}`) ?? null; },
    async saveSnapshot(name: string, version: string, position: number, state: string) { snapshots.set(`${name} ${version}`, { position, state }); },
  };
}
const made = (store: ReturnType<typeof storeOf>, { version, initial, apply } = shape('1')) => new Projection(store, 'sum', version, initial, apply);

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
