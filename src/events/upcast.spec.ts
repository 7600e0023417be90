import { describe, expect, it } from 'vitest';
import { upcast } from './upcast.js';

const table = { Renamed: { 1: (d: { name: string }) => ({ to: d.name }), 2: (d: { to: string }) => ({ to: d.to, from: null }) } };

describe('an event of an old shape', () => {
  it('is brought to the newest step by step', () => {
    expect(upcast({ type: 'Renamed', schema: 1, data: { name: 'x' }, id: 'e' }, table)).toEqual({ type: 'Renamed', schema: 3, data: { to: 'x', from: null }, id: 'e' });
    expect(upcast({ type: 'Renamed', schema: 2, data: { to: 'x' } }, table)).toEqual({ type: 'Renamed', schema: 3, data: { to: 'x', from: null } });
  });
  it('is left as it was in the log', () => {
    const old = Object.freeze({ type: 'Renamed', schema: 1, data: Object.freeze({ name: 'x' }) });
    upcast(old, table);
    expect(old).toEqual({ type: 'Renamed', schema: 1, data: { name: 'x' } });
  });
  it('is passed through when it is the newest, or of a type without old shapes', () => {
    for (const event of [{ type: 'Renamed', schema: 3, data: {} }, { type: 'Other', schema: 1, data: { a: 1 } }, { type: 'constructor', schema: 1, data: {} }]) expect(upcast(event, table)).toEqual(event);
  });
});
