import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import { WorkStore } from '../../../test/work-store.js';
import type { Config } from '../../config.js';
import { Core } from '../core.js';
import { bad, ok, warn, type Check } from './check.js';
import { troubles } from './trouble.decider.js';
import { Watch } from './watch.js';

const [well, low, full] = [ok('disk', '40 GB free'), warn('disk', '4 GB free', 'm', 't'), bad('disk', '0 GB free', 'M', 'T')];
const seen = (health: 'warn' | 'bad', detail: string, at: number, means = 'm', todo = 't') => ({ type: 'TroubleSeen', data: { check: 'disk', health, detail, means, todo, at } }) as const;

describe('what the doctor watches', () => {
  it('is said when it begins, when it gets worse and when it is over', () => {
    const look = (check: Check, now = 9) => ({ type: 'Look', checks: [check], now }) as const;
    given(troubles).when(look(well)).then();
    given(troubles).when(look(low)).then(seen('warn', '4 GB free', 9));
    given(troubles, [seen('warn', '4 GB free', 2)]).when(look(low)).then();
    given(troubles, [seen('warn', '4 GB free', 2)]).when(look(full)).then(seen('bad', '0 GB free', 9, 'M', 'T'));
    given(troubles, [seen('bad', '0 GB free', 2)]).when(look(low)).then();
    given(troubles, [seen('warn', '4 GB free', 2), seen('bad', '0 GB free', 5, 'M', 'T')]).when(look(well)).then({ type: 'TroubleEnded', data: { check: 'disk', detail: '40 GB free', lastedMs: 7 } });
    given(troubles, [seen('warn', '4 GB free', 2)]).when({ type: 'Look', checks: [], now: 9 }).then();
  });

  it('is looked at some time after the start, and then every few minutes, however often somebody asks', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'berth-watch-'));
    try {
      let [now, looks, is]: [number, number, Check] = [1_000_000, 0, low];
      const store = new WorkStore();
      const watch = new Watch(new Core({ root: dir, instance: 'x' } as unknown as Config, store, () => now), async () => { looks += 1; return [is]; }, (what, error) => { throw new Error(what, { cause: error }); });
      await watch.run();
      expect(looks).toBe(0);
      now += 61_000;
      for (let i = 0; i < 5; i += 1) await watch.run();
      expect([looks, store.log.map(({ type }) => type)]).toEqual([1, ['TroubleSeen']]);
      [now, is] = [now + 301_000, well];
      await Promise.all([watch.run(), watch.run()]);
      expect([looks, store.log.map(({ type }) => type)]).toEqual([2, ['TroubleSeen', 'TroubleEnded']]);
      await watch.stop();
      now += 301_000;
      await watch.run();
      expect(looks).toBe(2);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
