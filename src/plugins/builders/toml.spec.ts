import { describe, expect, it } from 'vitest';
import { treeOf } from './source-tree.js';
import { readToml } from './toml.js';

describe('TOML', () => {
  it('tells what is there, of the type that is asked for', () => {
    const toml = readToml(treeOf({ 'a.toml': '[a.b]\nc = "d"\nl = ["x", 1]\n[[bin]]\nname = "y"\n' }), 'a.toml');
    expect([toml.has('a', 'b'), toml.has('a', 'x'), toml.string('a', 'b', 'c'), toml.string('a'), toml.list('a', 'b', 'l'), toml.tables('bin').map((bin) => bin.string('name'))]).toEqual([true, false, 'd', null, ['x'], ['y']]);
  });
  it('a file that is not there is an empty one', () => { expect(readToml(treeOf({}), 'a.toml').has('a')).toBe(false); });
  it('names the line of an error', () => { expect(() => readToml(treeOf({ 'a.toml': 'x = 1\ny = =\n' }), 'a.toml')).toThrow('a.toml line 2'); });
});
