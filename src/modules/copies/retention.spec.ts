import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expired, KEEP } from './retention.plan.js';

const DAY = 86_400_000;
const NIGHT = Date.UTC(2026, 10, 23, 3);
const nightly = (nights: number) => Array.from({ length: nights }, (_, i) => ({ copy: i + 1, at: NIGHT - (nights - 1 - i) * DAY }));
const kept = (all: readonly { copy: number; at: number }[], keep: Parameters<typeof expired>[1]): string[] => {
  const gone = new Set(expired(all, keep).map(({ copy }) => copy));
  return all.filter(({ copy }) => !gone.has(copy)).map(({ at }) => new Date(at).toISOString().slice(0, 10));
};
const some = fc.uniqueArray(fc.record({ copy: fc.nat(500), at: fc.integer({ min: NIGHT - 400 * DAY, max: NIGHT }) }), { selector: ({ copy }) => copy, maxLength: 60 });
const rules = fc.record({ last: fc.nat(5), daily: fc.nat(9), weekly: fc.nat(6), monthly: fc.nat(9) });

describe('which backups go', () => {
  it('of a year of nights a week of days, a month of weeks and half a year of months stay', () => {
    expect(kept(nightly(365), KEEP)).toEqual(['2026-06-30', '2026-07-31', '2026-08-31', '2026-09-30', '2026-10-31', '2026-11-08', '2026-11-15', '2026-11-17', '2026-11-18', '2026-11-19', '2026-11-20', '2026-11-21', '2026-11-22', '2026-11-23']);
  });

  it('of a day of hours the last three and the newest of that day', () => {
    const hours = Array.from({ length: 20 }, (_, i) => ({ copy: i, at: NIGHT - i * 3_600_000 }));
    expect(expired(hours, { last: 3, daily: 0, weekly: 0, monthly: 0 })).toHaveLength(17);
    expect(expired(hours, { last: 0, daily: 2, weekly: 0, monthly: 0 }).map(({ copy }) => copy)).not.toContain(4); // 23:00 of the day before
  });

  it('the newest always stays; whoever stays under rules stays under more of them; what went is not missed by the next look', () => {
    fc.assert(fc.property(some, rules, rules, (all, keep, more) => {
      const gone = expired(all, keep);
      const newest = all.toSorted((a, b) => b.at - a.at || b.copy - a.copy)[0];
      if (newest) expect(gone).not.toContain(newest);
      const wider = { last: keep.last + more.last, daily: keep.daily + more.daily, weekly: keep.weekly + more.weekly, monthly: keep.monthly + more.monthly };
      for (const one of expired(all, wider)) expect(gone).toContain(one);
      expect(expired(all.filter((one) => !gone.includes(one)), keep)).toEqual([]);
      expect(all.length - gone.length).toBeLessThanOrEqual(Math.max(1, keep.last) + keep.daily + keep.weekly + keep.monthly);
    }));
  });
});
