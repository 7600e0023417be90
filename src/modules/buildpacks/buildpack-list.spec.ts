import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rejected } from '../../events/decider.js';
import { added, removed, replaced, whole, type BuildpackList } from './buildpack-list.js';

const [A, B, C] = ['https://h/a', 'https://h/b#v1', 'git@h:c'] as const;

describe('an app\'s list of buildpacks', () => {
  it('grows at the end, or at a place', () => {
    expect(added([A], B)).toEqual([A, B]);
    expect(added([A, B], C, 1)).toEqual([C, A, B]);
    expect(added([], 'heroku/python')).toEqual(['python']);
    expect(added([], '/srv/pack')).toEqual(['file:///srv/pack']);
  });
  it('has its first one replaced, or another, or all', () => {
    expect(replaced([], A)).toEqual([A]);
    expect(replaced([A, B], C)).toEqual([C, B]);
    expect(replaced([A, B], C, 2)).toEqual([A, C]);
    expect(whole([B, 'python'])).toEqual([B, 'python']);
  });
  it('loses one by name or place', () => {
    expect(removed([A, B], B, undefined)).toEqual([A]);
    expect(removed(['python'], 'heroku/python', undefined)).toEqual([]);
    expect(removed([A, B], undefined, 1)).toEqual([B]);
  });
  it.each([
    ['a name that is none', () => added([], 'http://h/x'), 'buildpacks.bad'], ['a short name', () => added([], 'acme/x'), 'buildpacks.bad'], ['one twice', () => added([A], A), 'buildpacks.twice'], ['one twice, spelt otherwise', () => added(['python'], 'heroku/python'), 'buildpacks.twice'],
    ['place 0', () => added([A], B, 0), 'buildpacks.index'], ['a place far off', () => replaced([A], B, 3), 'buildpacks.index'], ['one that is not there', () => removed([A], B, undefined), 'buildpacks.missing'],
    ['neither name nor place', () => removed([A], undefined, undefined), 'buildpacks.which'], ['both', () => removed([A], A, 1), 'buildpacks.which'], ['of an empty list', () => removed([], A, undefined), 'buildpacks.none'], ['too many', () => whole(Array.from({ length: 21 }, (_, i) => `https://h/${i}`)), 'buildpacks.many'],
  ])('refuses %s', (_, change, code) => {
    let error: unknown;
    try { change(); } catch (thrown) { error = thrown; }
    expect(error).toBeInstanceOf(Rejected);
    expect((error as Rejected).code).toBe(code);
  });
  it('what was added is taken away again', () => {
    const name = fc.integer({ min: 0, max: 30 }).map((n) => `https://h/${n}`);
    fc.assert(fc.property(fc.uniqueArray(name, { maxLength: 10 }), name, fc.nat(), (list: BuildpackList, one, at) => {
      fc.pre(!list.includes(one));
      expect(removed(added(list, one, (at % (list.length + 1)) + 1), one, undefined)).toEqual(list);
    }));
  });
});
