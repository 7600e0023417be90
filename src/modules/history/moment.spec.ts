import { describe, expect, it } from 'vitest';
import type { Recorded } from '../../events/event.js';
import { positionAt, until } from './app-log.js';
import { parseTypes } from './events.commands.js';
import { brief, masked } from './mask.js';
import { parseMoment, parseTime } from './moment.js';

const NOW = Date.parse('2026-11-22T18:00:00Z');

describe('a moment', () => {
  it.each([
    ['now', 0], ['2h', -7_200_000], ['30m', -1_800_000], ['3d', -259_200_000], ['1h30m', -5_400_000], ['45s', -45_000], ['1w', -604_800_000],
    ['2026-11-22', -18 * 3_600_000], ['2026-11-22T17:59', -60_000], ['2026-11-22 17:59:30', -30_000], ['2026-11-22T17:59:30.500Z', -29_500], ['2026-11-22T19:59:00+02:00', -60_000], ['2026-11-22T19:59:00+0200', -60_000],
  ])('%s', (text, offset) => expect(parseTime(text, NOW) - NOW).toBe(offset));

  it.each(['', '2', 'h', '2 h', '-2h', '2x', 'yesterday', '2026-13-01', '2026-02-31', '2026-11-22T25:00', '99999999999999999999d', '22.11.2026'])('%j is none', (text) => expect(() => parseTime(text, NOW)).toThrow(expect.objectContaining({ code: 'time.form' })));

  it('is a position when it is a number', () => {
    expect(parseMoment('1234', NOW)).toEqual({ position: 1234 });
    expect(parseMoment('#7', NOW)).toEqual({ position: 7 });
    expect(parseMoment('2h', NOW)).toEqual({ time: NOW - 7_200_000 });
  });
});

const at = (position: number, time: number): Recorded => ({ position, at: time }) as Recorded;

describe('the log until then', () => {
  const log = [at(3, 10), at(5, 30), at(8, 25), at(9, 40)]; // a clock that was set back

  it('has everything that was written before, in the order of the log', () => {
    expect(until(log, { position: 5 }).map((e) => e.position)).toEqual([3, 5]);
    expect(until(log, { time: 26 }).map((e) => e.position)).toEqual([3, 5, 8]);
    expect(until(log, { time: 9 })).toEqual([]);
    expect(until(log, { time: 99 })).toHaveLength(4);
  });

  it('is found by halving', async () => {
    const all = Array.from({ length: 1000 }, (_, i) => at(i + 1, i * 10));
    let reads = 0;
    const store = { head: async () => 1000, readStream: async () => [], readAll: async (after: number, limit: number) => { reads += 1; return all.slice(after, after + limit); } };
    expect(await positionAt(store, 5000)).toBe(501);
    expect(await positionAt(store, 5004)).toBe(501);
    expect(await positionAt(store, -1)).toBe(0);
    expect(await positionAt(store, 1e9)).toBe(1000);
    expect(reads).toBeLessThan(50);
  });
});

describe('events', () => {
  it('types are taken in any case, several at once; others are guessed', () => {
    expect(parseTypes('imagebuilt, StepFailed')).toEqual(['ImageBuilt', 'StepFailed']);
    expect(() => parseTypes('Deploy')).toThrow(expect.objectContaining({ code: 'events.type', hint: expect.stringContaining('DeployStarted') }));
    expect(() => parseTypes('x y')).toThrow(expect.objectContaining({ code: 'events.type' }));
  });

  it('show no secret', () => {
    const data = { app: 'a', values: { A: { k: 'a', iv: 'i', ct: 'secret', tag: 't' } }, list: [{ hash: 'secret' }] };
    expect(masked(data)).toEqual({ app: 'a', values: { A: '(sealed)' }, list: [{ hash: '(hidden)' }] });
    expect(brief({ text: 'x'.repeat(500) }).length).toBe(161);
  });
});
