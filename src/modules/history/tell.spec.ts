import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Recorded } from '../../events/event.js';
import { upcast } from '../../events/upcast.js';
import { tell } from './tell.js';

const folder = new URL('../../../test/events/', import.meta.url);
const samples = readdirSync(folder).map((file) => ({ file, event: JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Recorded }));

describe('an event in words', () => {
  it.each(samples)('$file: one line, no more than asked for, without a hole', ({ event }) => {
    const line = tell(upcast(event), 120);
    expect(line.length).toBeGreaterThan(0);
    expect(line.length).toBeLessThanOrEqual(120);
    expect(line).not.toMatch(/\n|undefined|\[object|NaN/);
  });

  it('shows nothing that is sealed', () => {
    expect(tell({ type: 'ConfigSet', data: { app: 'a', values: { KEY: { ct: 'aGk=', iv: 'x', tag: 'y' } } } })).toBe('KEY=(sealed)');
  });

  it('shows data of a type, or of a shape, that it does not know', () => {
    expect(tell({ type: 'SomethingNew', data: { app: 'a', n: 1 } })).toBe('{"app":"a","n":1}');
    expect(tell({ type: 'ImageBuilt', data: { app: 'a' } })).toBe('{"app":"a"}');
    expect(tell({ type: 'AppCreated', data: { name: 'x'.repeat(50) } }, 10)).toBe(`${'x'.repeat(9)}…`);
  });
});
