import { beforeEach, describe, expect, it } from 'vitest';
import type { Recorded } from '../../events/event.js';
import type { EventStore, ReadFilter } from '../../events/store.port.js';
import type { PluginManifest } from '../../events/types/plugin.events.js';
import { definePlugin, type Handlers } from '../../plugins/contract/define.js';
import type { ProjectCall } from '../../plugins/contract/protocol.js';
import type { Plugin } from './active.js';
import { ask } from './ask.js';
import { Folding } from './folding.js';
import type { Plugins } from './plugins.service.js';
import { forgetStandings, projected, standing } from './projected.js';

interface Sum { sum: number; seen: number }
const sum = (judge: (n: number) => void = () => {}): Handlers => definePlugin({ projections: { sum: { initial: { sum: 0, seen: 0 } as Sum, fold: (state, { data }) => { const { n } = data as { n: number }; judge(n); return { sum: state.sum + n, seen: state.seen + 1 }; } } } });

let [now, log, snapshots, pages]: [number, Recorded[], Map<string, { position: number; state: string }>, number[]] = [0, [], new Map(), []];
let plugin: Plugin;
const appended = (count: number, prefix = 'e'): void => { for (let i = 0; i < count; i += 1) log.push({ position: log.length + 1, id: `${prefix}${log.length + 1}`, type: log.length % 2 === 0 ? 'N' : 'M', data: { n: 1, secret: { ct: 'x', iv: 'y', tag: 'z' } }, meta: { actor: 'me' }, schema: 1 } as unknown as Recorded); };
const store = {
  readAll: async (after: number, limit: number, { types }: ReadFilter = {}) => log.slice(after).filter(({ type }) => !types || types.includes(type)).slice(0, limit),
  head: async () => log.length,
  snapshot: async (name: string, version: string) => snapshots.get(`${name} ${version}`) ?? null,
  saveSnapshot: async (name: string, version: string, position: number, state: string) => { snapshots.set(`${name} ${version}`, { position, state }); },
  forgetSnapshots: async (name: string, but: string) => { for (const key of snapshots.keys()) if (key.startsWith(`${name} `) && key !== `${name} ${but}`) snapshots.delete(key); },
} as unknown as EventStore;
const version = (number: string, handlers: Handlers): Plugin => ({ name: 'adder', code: null, uid: null, data: '/x', enabled: true, reason: null, handlers, manifest: { name: 'adder', version: number, projections: [{ name: 'sum', types: ['N'] }] } as unknown as PluginManifest });
function folding(): { round: () => Promise<void> } {
  const plugins = {
    enabled: async () => [plugin],
    ask: async (asked: Plugin, wanted: ProjectCall) => { pages.push(wanted.events.length); return ask(asked, { ...wanted, plugin: { name: 'adder' } } as unknown as ProjectCall, { programs: { run: () => Promise.reject(new Error('no program')) }, signal: new AbortController().signal, onLine: () => {} }); },
  } as unknown as Plugins;
  const made = new Folding({ store, now: () => now }, plugins, (what, error) => { throw new Error(what, { cause: error }); }, () => now);
  return { round: async () => { now += 1001; await made.look(); } };
}
const at = () => standing(store, plugin, 'sum');

beforeEach(() => {
  [now, log, snapshots, pages] = [0, [], new Map(), []];
  plugin = version('1.0.0', sum());
});

describe('a projection of a plugin', () => {
  it('is folded from the first event on, in pages, and goes on where it was after a restart', async () => {
    appended(2400);
    const first = folding();
    await first.round();
    expect(await at()).toMatchObject({ position: 2399, last: 'e2399', trouble: null, state: { sum: 1200, seen: 1200 } });
    expect(pages).toEqual([500, 500, 200]);
    appended(2);
    await first.round();
    await first.round();
    appended(2);
    await folding().round();
    expect(await projected(store, plugin)).toEqual({ sum: { position: 2403, state: { sum: 1202, seen: 1202 } } });
    expect(pages).toEqual([500, 500, 200, 1, 1]);
  });

  it('is folded anew with other code, in another log, and when what was kept is lost or cannot be read', async () => {
    appended(10);
    const one = folding();
    await one.round();
    plugin = version('2.0.0', sum());
    expect(await at()).toMatchObject({ position: 0, state: null });
    await one.round();
    expect((await at()).state).toEqual({ sum: 5, seen: 5 });
    expect([...snapshots.keys()]).toEqual(['plugin:adder/sum 2.0.0']);
    log.length = 0;
    appended(20, 'other');
    await one.round();
    expect(await at()).toMatchObject({ last: 'other19', state: { sum: 10, seen: 10 } });
    snapshots.set('plugin:adder/sum 2.0.0', { position: 19, state: 'torn' });
    await folding().round();
    expect((await at()).state).toEqual({ sum: 10, seen: 10 });
    await forgetStandings(store, 'adder', [{ name: 'sum' }]);
    appended(1);
    await one.round();
    appended(1);
    await one.round();
    expect((await at()).state).toEqual({ sum: 11, seen: 11 });
  });

  it('that fails stays right before the event that it does not take, says why, is tried ever more rarely, and goes on', async () => {
    appended(2000);
    log[1400] = { ...log[1400]!, data: { n: -1 } } as Recorded;
    let mended = false;
    plugin = version('1.0.0', sum((n) => { if (n < 0 && !mended) throw new Error('below zero'); }));
    const one = folding();
    await one.round();
    expect(await at()).toMatchObject({ position: 1399, state: { sum: 700, seen: 700 }, trouble: { why: 'N at 1401: below zero', position: 1401, type: 'N', tries: 1 } });
    const asked = pages.length;
    await one.round();
    expect([pages.length, (await at()).trouble?.tries]).toEqual([asked + 1, 2]);
    await one.round();
    expect(pages.length).toBe(asked + 1);
    mended = true;
    now += 5000;
    await one.round();
    expect(await at()).toMatchObject({ position: 1999, state: { sum: 998, seen: 1000 }, trouble: null });
  });

  it('is not shown sealed values', async () => {
    appended(1);
    const seen: unknown[] = [];
    plugin = version('1.0.0', definePlugin({ projections: { sum: { initial: 0, fold: (n, { data }) => { seen.push(data); return n; } } } }));
    await folding().round();
    expect(seen).toEqual([{ n: 1, secret: '(sealed)' }]);
  });
});
