import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BuildCache } from '../../drivers/engine/engine.port.js';
import type { Board } from '../read/board.projection.js';
import { cacheLimits, planCaches } from './cache.plan.js';

const GB = 1024 ** 3;
const board = (apps: Readonly<Record<string, { running?: number; deployed?: number }>>): Board => ({
  apps: Object.fromEntries(Object.entries(apps).map(([id, { running }]) => [id, { name: `name-${id}`, running: running ?? null }])),
  deploys: Object.fromEntries(Object.entries(apps).map(([id, { deployed }]) => [id, deployed === undefined ? [] : [{ startedAt: deployed }]])),
} as unknown as Board);
const cache = (id: string, mark: string, bytes: number, used: number | null): BuildCache => ({ id, mark, bytes, used });
const ids = (plan: ReturnType<typeof planCaches>): string[] => plan.map((one) => one.cache.id);

describe('build caches', () => {
  it('of apps that are gone go, those of others are not looked at', () => {
    const all = [cache('1', 'me/gone', 1, 5), cache('2', 'me/a', 1, 5), cache('3', 'other/gone', 99, 1), cache('4', 'menot/gone', 99, 1)];
    expect(planCaches(board({ a: {} }), 'me', all, { app: 1, total: 1 })).toEqual([{ cache: all[0], app: 'gone', why: 'its app is gone' }]);
  });
  it('that were used longest ago go first, of an app and then of all', () => {
    const all = [cache('a1', 'me/a', 40, 10), cache('a2', 'me/a', 40, 30), cache('a3', 'me/a', 40, 20), cache('b1', 'me/b', 50, 5)];
    expect(planCaches(board({ a: {}, b: {} }), 'me', all, { app: 100, total: 110 }).map(({ cache: { id }, why }) => `${id} ${why}`)).toEqual(['a1 over the limit of an app', 'b1 over the limit of all']);
    expect(ids(planCaches(board({ a: {}, b: {} }), 'me', all, { app: 0, total: 0 }))).toEqual([]);
  });
  it('a volume is as old as its app\'s last deploy; an app that deploys keeps its own', () => {
    const all = [cache('volume:a', 'me/a', 60, null), cache('b', 'me/b', 60, 50)];
    expect(ids(planCaches(board({ a: { deployed: 40 }, b: {} }), 'me', all, { app: 0, total: 100 }))).toEqual(['volume:a']);
    expect(ids(planCaches(board({ a: { deployed: 60 }, b: {} }), 'me', all, { app: 0, total: 100 }))).toEqual(['b']);
    expect(ids(planCaches(board({ a: { deployed: 40, running: 1 }, b: {} }), 'me', all, { app: 0, total: 100 }))).toEqual(['b']);
  });
  it('are a tenth of the disk unless said', () => {
    expect(cacheLimits({ app: null, total: null }, 100 * GB)).toEqual({ total: 10 * GB, app: 2.5 * GB });
    expect(cacheLimits({ app: null, total: null }, 5 * GB)).toEqual({ total: 2 * GB, app: GB / 2 });
    expect(cacheLimits({ app: 7, total: 0 }, 5 * GB)).toEqual({ total: 0, app: 7 });
  });
  it('fit afterwards, where nobody deploys, and no more goes than must', () => {
    const one = fc.record({ id: fc.uuid(), mark: fc.constantFrom('me/a', 'me/b', 'you/a'), bytes: fc.nat(100), used: fc.option(fc.nat(100)) });
    fc.assert(fc.property(fc.uniqueArray(one, { selector: ({ id }) => id }), fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 300 }), (all, app, total) => {
      const plan = planCaches(board({ a: {}, b: { deployed: 50 } }), 'me', all, { app, total });
      const sum = (some: readonly BuildCache[]): number => some.reduce((all2, { bytes }) => all2 + bytes, 0);
      const left = all.filter((each) => each.mark.startsWith('me/') && !ids(plan).includes(each.id));
      expect(sum(left)).toBeLessThanOrEqual(total);
      for (const mark of ['me/a', 'me/b']) expect(sum(left.filter((each) => each.mark === mark))).toBeLessThanOrEqual(app);
      expect(plan.every(({ cache: { mark } }) => mark.startsWith('me/'))).toBe(true);
      const last = plan.at(-1);
      if (last) expect(sum(left) + last.cache.bytes > total || sum(left.filter((each) => each.mark === last.cache.mark)) + last.cache.bytes > app).toBe(true);
    }));
  });
});
