import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { quote, split, WordsError } from './words.js';

const text = fc.string({ unit: fc.oneof(fc.constantFrom(...' \t\n\r\'"\\$`;|&<>*~#!{}()='), fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })), maxLength: 40 });
const words = fc.array(text.filter((word) => !word.includes('\0')), { maxLength: 8 });

describe('a command line', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['  \t ', []],
    ['apps:list', ['apps:list']],
    ['ps:scale  blog\tweb=3 ', ['ps:scale', 'blog', 'web=3']],
    [`config:set blog A='one two' B="x \\"y\\" \\$z \\n" C=a\\ b`, ['config:set', 'blog', 'A=one two', 'B=x "y" $z \\n', 'C=a b']],
    [`a '' "" b`, ['a', '', '', 'b']],
    [`'multi\nline'`, ['multi\nline']],
    [`"joined\\\nline"`, ['joinedline']],
    ['a$(reboot) `id` *.txt ~/x {a,b} $HOME # no comment', ['a$(reboot)', '`id`', '*.txt', '~/x', '{a,b}', '$HOME', '#', 'no', 'comment']],
    ['apps:list; rm', ['apps:list;', 'rm']],
    [`echo ';' \\| "&&"`, ['echo', ';', '|', '&&']],
    ["git-receive-pack 'my app.git'", ['git-receive-pack', 'my app.git']],
  ])('%j is taken apart as a shell would, and nothing is expanded', (line, expected) => {
    expect(split(line)).toEqual(expected);
  });

  it.each([
    ["it's", 'without its partner'], ['say "hi', 'without its partner'], ['end\\', 'backslash'], ['a\nb', 'line break'], ['a\\\nb', 'line break'], ['a\0b', 'NUL'], ["'a\0b'", 'NUL'], ['"a\0b"', 'NUL'], ['a\\\0', 'NUL'],
    ['a ; b', '";" means nothing here'], ['a && b', '"&&" means nothing'], ['a | b', 'do not go through a shell'], ['a > b', 'do not go'], ['a 2>&1', 'do not go'], ['a &', 'do not go'],
    ['x'.repeat(128 * 1024 + 1), 'longer than 128 KiB'], ['é'.repeat(70_000), 'longer than 128 KiB'],
  ])('%j is refused in plain words', (line, message) => {
    expect(() => split(line)).toThrow(WordsError);
    expect(() => split(line)).toThrow(message);
  });

  it('that was quoted comes back word for word', () => {
    fc.assert(fc.property(words, (given) => { expect(split(quote(given))).toEqual(given); }), { numRuns: 2000 });
  });

  it('only ever throws its own error, and its words are made of what was typed, in that order', () => {
    fc.assert(fc.property(text, (line) => {
      let result: string[];
      try {
        result = split(line);
      } catch (error) {
        expect(error).toBeInstanceOf(WordsError);
        return;
      }
      let at = 0;
      for (const char of result.join('')) {
        const found = line.indexOf(char, at);
        expect(found).toBeGreaterThanOrEqual(at);
        at = found + char.length;
      }
    }), { numRuns: 5000 });
  });

  it('means the same to a real shell', () => {
    const plain = fc.array(fc.string({ unit: fc.constantFrom(...'ab \t\'"\\$`;|&*~é'), minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 5 });
    fc.assert(fc.property(plain, (given) => {
      const seen = execFileSync('/bin/sh', ['-c', `for w in ${quote(given)}; do printf '%s\\0' "$w"; done`], { encoding: 'utf8' });
      expect(seen.split('\0').slice(0, -1)).toEqual(given);
    }), { numRuns: 40 });
  });
});
