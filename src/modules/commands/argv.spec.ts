import { describe, expect, it } from 'vitest';
import { Rejected } from '../../events/decider.js';
import { checkSize, parse, splitGlobal, type GlobalFlags, type Parsed } from './argv.js';
import { Arg, command, Flag, forget, Rest } from './command.js';

class Input {
  @Flag('how many', { type: 'number', short: 'n' }) num?: number;
  @Flag('wait not') detach?: boolean;
  @Flag('why', { type: 'string' }) longReason?: string;
  @Arg('the app') app!: string;
  @Arg('the deploy', { optional: true }) deploy?: string;
}
class Many { @Arg('the app') app!: string; @Rest('what', { label: 'KEY=value' }) pairs!: string[] }
class Any { @Arg('the app') app!: string; @Rest('what', { label: 'word', optional: true }) words?: string[] }

const one = forget(command({ name: 'deploys:x', summary: 's', example: 'e', input: Input, http: { method: 'GET', path: '/x' }, reads: true }));
const many = forget(command({ name: 'config:x', summary: 's', example: 'e', input: Many, http: { method: 'POST', path: '/x' } }));
const any = forget(command({ name: 'ps:x', summary: 's', example: 'e', input: Any, http: { method: 'POST', path: '/x' } }));
const none: GlobalFlags = { quiet: false, force: false, json: false, app: null, help: false };
const read = (words: string[], given = none, of = one): Parsed => parse(of, words, given);
const refusal = (what: () => unknown): Rejected => {
  try {
    what();
  } catch (error) {
    if (error instanceof Rejected) return error;
    throw error;
  }
  throw new Error('nothing was refused');
};

describe('the words before a command', () => {
  it('may be global flags', () => {
    expect(splitGlobal(['--quiet', '--force', '--app', 'blog', 'ps:scale', 'web=1', '--quiet'])).toEqual({ name: 'ps:scale', rest: ['web=1', '--quiet'], global: { ...none, quiet: true, force: true, app: 'blog' } });
    expect(splitGlobal(['--app=blog', 'logs'])).toMatchObject({ name: 'logs', global: { app: 'blog' } });
  });
  it('may be none, or nothing at all', () => {
    expect(splitGlobal([])).toEqual({ name: null, rest: [], global: none });
    expect(splitGlobal(['--quiet'])).toMatchObject({ name: null });
    expect(splitGlobal(['--what', 'x'])).toMatchObject({ name: '--what', rest: ['x'] });
  });
});

describe('the words of a command', () => {
  it.each<[string[], object]>([
    [['blog'], { app: 'blog' }],
    [['blog', '7'], { app: 'blog', deploy: '7' }],
    [['blog', '-n', '5'], { app: 'blog', num: 5 }],
    [['--num=5', 'blog'], { app: 'blog', num: 5 }],
    [['--num', '5', 'blog', '--detach', '7'], { app: 'blog', deploy: '7', num: 5, detach: true }],
    [['-n', '-5', 'blog'], { app: 'blog', num: -5 }],
    [['blog', '--long-reason', '--detach'], { app: 'blog', longReason: '--detach' }],
    [['blog', '--long-reason='], { app: 'blog', longReason: '' }],
    [['blog', '--long-reason=a=b'], { app: 'blog', longReason: 'a=b' }],
    [['--', '--detach', '-n'], { app: '--detach', deploy: '-n' }],
    [['-', '-1'], { app: '-', deploy: '-1' }],
    [['', ''], { app: '', deploy: '' }],
  ])('%j are read as %j', (words, input) => expect(read(words).input).toEqual(input));

  it('may be global flags, too', () => {
    expect(read(['blog', '--quiet', '--force']).global).toEqual({ ...none, quiet: true, force: true });
    expect(read(['blog', '--format', 'json']).global.json).toBe(true);
    expect(read(['blog', '--format=stdout']).global.json).toBe(false);
    expect(read(['--app', 'blog', '7']).input).toEqual({ app: 'blog', deploy: '7' });
    expect(read(['7'], { ...none, app: 'blog' }).input).toEqual({ app: 'blog', deploy: '7' });
  });

  it('may ask for help instead of being complete', () => {
    for (const word of ['--help', '-h']) expect(read([word]).global.help).toBe(true);
    expect(read(['--help'], none, many).global.help).toBe(true);
  });

  it('that are left go to the rest', () => {
    expect(read(['blog', 'A=1', '--', '--B=2', '-c'], none, many).input).toEqual({ app: 'blog', pairs: ['A=1', '--B=2', '-c'] });
    expect(read(['blog'], none, any).input).toEqual({ app: 'blog', words: [] });
    expect(read(['blog', '-1', 'web=-1'], none, any).input).toEqual({ app: 'blog', words: ['-1', 'web=-1'] });
  });

  it.each<[string[], string, RegExp]>([
    [[], 'argv.missing', /<app> is missing/],
    [['--'], 'argv.missing', /<app>/],
    [['blog', '7', 'more'], 'argv.extra', /'more'/],
    [['blog', '--nmu', '5'], 'argv.flag', /no flag --nmu/],
    [['blog', '-x'], 'argv.flag', /-x/],
    [['blog', '-n5'], 'argv.flag', /-n5/],
    [['blog', '-n'], 'argv.value', /-n needs a value/],
    [['blog', '-n', 'five'], 'argv.number', /whole number/],
    [['blog', '--num='], 'argv.number', /whole number/],
    [['blog', '--num=1e9'], 'argv.number', /whole number/],
    [['blog', '--detach=1'], 'argv.value', /takes no value/],
    [['blog', '--format', 'yaml'], 'argv.format', /json or stdout/],
    [['blog', '--format'], 'argv.value', /needs a value/],
    [['blog', '--app'], 'argv.value', /needs a value/],
  ])('%j are refused', (words, code, message) => {
    const error = refusal(() => read(words));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    if (code !== 'argv.number') expect(error.hint).toBe('usage: berth deploys:x [-n|--num <value>] [--detach] [--long-reason <value>] <app> [<deploy>]');
  });

  it('that a command needs are named by its usage', () => {
    expect(refusal(() => read(['blog'], none, many))).toMatchObject({ code: 'argv.missing', hint: 'usage: berth config:x <app> <KEY=value>...' });
    expect(refusal(() => read(['blog', 'A=1', '--format', 'json'], none, many)).code).toBe('argv.format');
  });
});

describe('a command line', () => {
  it('has an end', () => {
    expect(() => checkSize(['config:set', 'blog', `A=${'x'.repeat(100_000)}`])).not.toThrow();
    expect(refusal(() => checkSize(['x'.repeat(1_300_000)])).code).toBe('argv.size');
    expect(refusal(() => checkSize(Array.from({ length: 2001 }, () => 'x'))).code).toBe('argv.size');
    expect(refusal(() => checkSize(['a\0b'])).code).toBe('argv.nul');
  });
});
