import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dueTime, interval, nextTime, timesOf } from './schedule.js';

const NOON = Date.UTC(2026, 10, 23, 12);
const HOUR = 3_600_000;

describe('when a backup is due', () => {
  it.each(['', '0 3 * *', '0 3 * * * *', '61 * * * *', '0 3 * * x', 'now'])('refuses the line %j', (line) => { expect(() => timesOf(line, 'UTC')).toThrow(/is no schedule/); });
  it('refuses a time zone that there is not', () => { expect(() => timesOf('0 3 * * *', 'Mars/North')).toThrow(/is no time zone/); });

  it('counts in its zone, also where clocks are changed', () => {
    expect(new Date(nextTime(timesOf('0 3 * * *', 'Europe/Berlin'), NOON)).toISOString()).toBe('2026-11-24T02:00:00.000Z');
    expect(new Date(nextTime(timesOf('30 2 * * *', 'Europe/Berlin'), Date.UTC(2027, 2, 27, 12))).toISOString().slice(0, 10)).toBe('2027-03-28');
    expect(interval(timesOf('0 3 * * *', 'UTC'), NOON)).toBe(24 * HOUR);
    expect(interval(timesOf('@hourly', 'UTC'), NOON)).toBe(HOUR);
  });

  it('is due once, however long nobody looked, and not for what was before it was said', () => {
    const times = timesOf('0 3 * * *', 'UTC');
    const since = NOON - 5 * 24 * HOUR;
    expect(dueTime(times, since, NOON)).toBe(Date.UTC(2026, 10, 23, 3));
    expect(dueTime(times, Date.UTC(2026, 10, 23, 3), NOON)).toBeNull();
    expect(dueTime(times, NOON - HOUR, NOON)).toBeNull();
    expect(dueTime(times, Date.UTC(2026, 10, 23, 2), Date.UTC(2026, 10, 23, 3))).toBe(Date.UTC(2026, 10, 23, 3));
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 3 * 24 * HOUR }), { maxLength: 30 }), (looks) => {
      let done = NOON;
      const fired: number[] = [];
      for (const look of looks.toSorted((a, b) => a - b)) {
        const due = dueTime(times, done, NOON + look);
        if (due === null) continue;
        expect(due).toBeLessThanOrEqual(NOON + look);
        fired.push(due);
        done = due;
      }
      expect(new Set(fired).size).toBe(fired.length);
      expect(fired.length).toBeLessThanOrEqual(3);
    }));
  });
});
