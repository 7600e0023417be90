import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rejected } from '../../events/decider.js';
import { exportAs, parseEnvFile, parseJsonVars, type Format } from './env-file.js';

const key = fc.oneof(fc.string({ unit: fc.constantFrom(...'aZ_09'), minLength: 1, maxLength: 6 }), fc.constantFrom('constructor', 'toString', 'export')).filter((k) => /^[a-zA-Z_]/.test(k));
const value = fc.oneof(
  fc.string({ unit: fc.oneof(fc.constantFrom('\n', '\r', '\r\n', '\t', '"', "'", '\\', '$', '`', '#', ' #', '=', ' ', '\\n', "'\\''", '\u2028', '\uFEFF', '!'), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })), maxLength: 20 }),
  fc.constantFrom('', '-5', '007', '1.5', '-', 'true'),
).filter((v) => !v.includes('\0'));
const vars = fc.dictionary(key, value, { maxKeys: 5, noNullPrototype: true });
const text = (format: Format, of: Record<string, string>): string => exportAs(format, of).map((line) => `${line}\n`).join('');

describe('config vars', () => {
  it.each(['envfile', 'exports'] as const)('written as %s are read back as they were', (format) => {
    fc.assert(fc.property(vars, (given) => { expect(parseEnvFile(text(format, given))).toEqual(given); }), { numRuns: 3000 });
  });

  it('written as json are read back as they were', () => {
    fc.assert(fc.property(vars, (given) => { expect(parseJsonVars(text('json', given))).toEqual(given); }));
  });

  it('mean the same to a real shell', () => {
    const plain = fc.dictionary(key.map((k) => `K_${k}`), value.filter((v) => v.isWellFormed()), { minKeys: 1, maxKeys: 3, noNullPrototype: true });
    fc.assert(fc.property(plain, (given) => {
      const script = `${text('exports', given)}${Object.keys(given).map((k) => `printf '%s\\0' "$${k}"`).join('\n')}\n`;
      expect(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8', env: {} }).split('\0').slice(0, -1)).toEqual(Object.values(given));
    }), { numRuns: 40 });
  });

  it('come in every format that Dokku has, sorted', () => {
    const given = { B: "it's", A: '1 2' };
    expect(exportAs('exports', given)).toEqual(["export A='1 2'", "export B='it'\\''s'"]);
    expect(exportAs('envfile', { N: '5', S: 'a"b\n$x' })).toEqual(['N=5', 'S="a\\"b\\n\\$x"']);
    expect(exportAs('shell', given)).toEqual(["A='1 2' B='it'\\''s' "]);
    expect(exportAs('docker-args', given)).toEqual(["--env=A='1 2' --env=B='it'\\''s'"]);
    expect(exportAs('docker-args-keys', given)).toEqual(['--env=A --env=B']);
    expect(exportAs('json', given)).toEqual(['{"A":"1 2","B":"it\'s"}']);
    expect(exportAs('json-list', given)).toEqual(['[{"name":"A","value":"1 2"},{"name":"B","value":"it\'s"}]']);
    expect(exportAs('pretty', { A: '1', LONG: '2' })).toEqual(['A:     1', 'LONG:  2']);
    expect(exportAs('pretty', {})).toEqual([]);
  });
});

describe('an env file', () => {
  it.each<[string, Record<string, string>]>([
    ['', {}],
    ['\uFEFFA=1', { A: '1' }],
    ['# a comment\n\n  A = 1 # behind \nexport B=two words  \nC=\nD=#no\n', { A: '1', B: 'two words', C: '', D: '#no' }],
    ['A=1\r\n# c\r\nB="x"\r\nC=\'y\' # d\r\n', { A: '1', B: 'x', C: 'y' }],
    ['A="a\r\nb"\r\n', { A: 'a\nb' }],
    ['A="one\ntwo"\nB=3', { A: 'one\ntwo', B: '3' }],
    ["A='$HOME `id` \\n \"x\"'", { A: '$HOME `id` \\n "x"' }],
    ['A="\\t\\q"', { A: '\t\\q' }],
    ['A=x=y', { A: 'x=y' }],
    ['A=1\nA=2', { A: '2' }],
    ['export = 1', { export: '1' }],
  ])('%j is read', (file, expected) => expect(parseEnvFile(file)).toEqual(expected));

  it.each<[string, string, RegExp]>([
    ['A=1\nnonsense\n', 'config.file', /Line 2: 'nonsense'/],
    ['A="x\ny"\n\n=1', 'config.file', /Line 4/],
    ["A='open\n\n", 'config.file', /Line 1: the quote that opens the value of A is never closed/],
    ['A="x" y', 'config.file', /something follows the closing quote of A/],
    ['A-B=1', 'config.key', /A-B/],
    ['__proto__=1', 'config.key', /__proto__/],
  ])('%j is refused', (file, code, message) => {
    expect(() => parseEnvFile(file)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }) as Rejected);
  });

  it('never makes the reader fail otherwise', () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'AB=\'"\\\n\r #$x') , maxLength: 30 }), (file) => {
      try {
        parseEnvFile(file);
      } catch (error) {
        expect(error).toBeInstanceOf(Rejected);
      }
    }), { numRuns: 3000 });
  });
});

describe('config vars as JSON', () => {
  it('may be numbers and booleans', () => expect(parseJsonVars('{"A": 1, "B": true, "C": "x"}')).toEqual({ A: '1', B: 'true', C: 'x' }));
  it.each(['', '[]', 'null', '"x"', '{"A": {}}', '{"A": null}', '{"A": [1]}', '{A: 1}'])('%j is refused', (json) => {
    expect(() => parseJsonVars(json)).toThrow(expect.objectContaining({ code: 'config.json' }) as Rejected);
  });
  it('has keys that are checked', () => expect(() => parseJsonVars('{"A=B": 1}')).toThrow(expect.objectContaining({ code: 'config.key' }) as Rejected));
});
