import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, report, seconds, table, when } from './words.js';

describe('words for people', () => {
  it.each([[0, '0ms'], [-5, '0ms'], [0.4, '0ms'], [999, '999ms'], [999.7, '1.0s'], [1000, '1.0s'], [12_340, '12.3s'], [59_949, '59.9s'], [59_960, '1m 00s'], [60_000, '1m 00s'], [185_000, '3m 05s'], [3_599_600, '1h 00m'], [3_600_000, '1h 00m'], [90_061_000, '25h 01m']])('%d ms are %s', (ms, text) => expect(seconds(ms)).toBe(text));
  it.each([[0, '0 B'], [999, '999 B'], [1500, '1.5 kB'], [212e6, '212 MB'], [3.2e9, '3.2 GB'], [999_999, '1.0 MB'], [9_990, '10 kB']])('%d bytes are %s', (n, text) => expect(bytes(n)).toBe(text));
  it('a moment is told in UTC', () => expect(when(Date.UTC(2026, 10, 22, 18, 4, 51, 999))).toBe('2026-11-22 18:04:51'));

  it('a longer time is never told as a shorter one', () => {
    const minutes = (text: string): number => text.replace(/(\d+)h/, (_, h) => `${Number(h) * 60}m`).split(' ').reduce((sum, part) => sum + (part.endsWith('ms') ? parseFloat(part) / 60_000 : part.endsWith('m') ? parseFloat(part) : parseFloat(part) / 60), 0);
    fc.assert(fc.property(fc.nat(1e8), fc.nat(1e6), (a, more) => { expect(minutes(seconds(a + more))).toBeGreaterThanOrEqual(minutes(seconds(a)) - 1e-9); }));
  });

  it('a table has its columns under each other', () => {
    expect(table(['A', 'LONG', 'C'], [['1', '2', '3'], ['1234', '', 'x']])).toEqual(['A     LONG  C', '1     2     3', '1234        x']);
    expect(table(['A', 'B'], [])).toEqual(['A  B']);
  });

  it('a report is Dokku\'s', () => {
    expect(report('blog app information', { 'app created-at': '1', x: '' })).toEqual(['=====> blog app information', '       App created at:                1', '       X:']);
  });
});
