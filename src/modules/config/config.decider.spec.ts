import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import { fold, Rejected } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { ConfigEvent } from '../../events/types/app.events.js';
import { checkKey, checkValue, config, VALUE_MAX } from './config.decider.js';

const sealed = (ct: string): Sealed => ({ k: 'a', iv: 'i', ct, tag: 't' });
const set: ConfigEvent = { type: 'ConfigSet', data: { app: 'a', values: { A: sealed('1'), B: sealed('2') } } };

function code(check: () => void): string | null {
  try {
    check();
    return null;
  } catch (error) {
    return (error as Rejected).code;
  }
}

describe('config', () => {
  it('is set key by key, later values over earlier ones', () => {
    given(config).when({ type: 'Set', app: 'a', values: { A: sealed('1'), B: sealed('2') } }).then(set);
    given(config, [set]).when({ type: 'Set', app: 'a', values: {} }).then();
    expect(fold(config, [set, { type: 'ConfigSet', data: { app: 'a', values: { B: sealed('3') } } }])).toEqual({ A: sealed('1'), B: sealed('3') });
  });

  it('loses the keys that are unset; those it never had are passed over, each is named once', () => {
    given(config, [set]).when({ type: 'Unset', app: 'a', keys: ['B', 'C', 'B', 'toString'] }).then({ type: 'ConfigUnset', data: { app: 'a', keys: ['B'] } });
    given(config, [set]).when({ type: 'Unset', app: 'a', keys: ['C'] }).then();
    expect(fold(config, [set, { type: 'ConfigUnset', data: { app: 'a', keys: ['B'] } }])).toEqual({ A: sealed('1') });
  });

  it.each(['', 'A=B', '=', '1A', 'A B', 'A-B', 'A.B', ' A', 'A\n', 'É', 'A\0', '$A', '../A', '__proto__', 'A'.repeat(257)])('%j is no key', (key) => {
    expect(code(() => checkKey(key))).toBe('config.key');
    given(config).when({ type: 'Set', app: 'a', values: { ...JSON.parse(`{${JSON.stringify(key)}:{}}`) } }).rejects('config.key');
    given(config).when({ type: 'Unset', app: 'a', keys: [key] }).rejects('config.key');
  });

  it.each(['A', '_', 'a1', 'constructor', 'A'.repeat(256)])('%j is a key', (key) => expect(code(() => checkKey(key))).toBeNull());

  it('takes any value an environment can hold: newlines, quotes, 100 kB; no NUL, and nothing larger', () => {
    for (const value of ['', 'a\nb\r\n', '\'"`$\\', 'x'.repeat(100_000), 'x'.repeat(VALUE_MAX), '😀'.repeat(VALUE_MAX / 4)]) expect(code(() => checkValue('A', value))).toBeNull();
    for (const value of ['\0', 'a\0b', 'x'.repeat(VALUE_MAX + 1), '😀'.repeat(VALUE_MAX / 4 + 1)]) expect(code(() => checkValue('A', value))).toBe('config.value');
  });

  it('never shows a value in a refusal', () => {
    expect(() => checkValue('TOKEN', 'hunter2\0')).toThrow(expect.not.objectContaining({ message: expect.stringContaining('hunter2') }));
  });
});
