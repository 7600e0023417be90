import { describe, expect, it } from 'vitest';
import { choose, failure, stack } from '../../../test/builders/kit.js';
import { foreignStack, pairText, setPair, stackOf, stackPair } from './foreign-stack.js';
import { projectOf, select, type Selected } from './select.js';
import { treeOf } from './source-tree.js';
import { StepFailure } from '../../events/step.js';

const PAIR = { build: 'heroku/heroku:24-build', run: 'heroku/heroku:24' };
const on = (files: Readonly<Record<string, string>>, settings: Readonly<Record<string, string>> = {}): Selected => select(projectOf('a1', treeOf(files), settings, foreignStack(PAIR, stack)));

describe('a stack that is set', () => {
  it('is two images, however it is written', () => {
    expect(stackPair('heroku-24')).toEqual(PAIR);
    expect(stackPair('heroku/heroku:24-build')).toEqual(PAIR);
    expect(stackPair('reg:5000/x:1')).toEqual({ build: 'reg:5000/x:1', run: 'reg:5000/x:1' });
    expect(stackPair('a-build', 'b')).toEqual({ build: 'a-build', run: 'b' });
    expect(setPair(pairText(PAIR))).toEqual(PAIR);
    for (const none of [undefined, '', 'own']) expect(setPair(none)).toBeNull();
    expect(stackOf({ stack: 'own' }, stack)).toBe(stack);
    expect(stackOf({ stack: pairText(PAIR) }, stack)).toMatchObject({ ...PAIR, name: null });
  });
  it('carries what can stand anywhere: as root, with a word for what is missing', () => {
    const { plan, details } = on({ 'requirements.txt': '', '.python-version': '3.9', Procfile: 'web: python x.py' });
    expect(plan.stack).toEqual(PAIR);
    expect(plan.dockerfile).toMatchSnapshot();
    expect(details.join('\n')).toMatch(/what the stack's image has; .python-version asks for 3.9[^]*stack: heroku/);
    expect(on({ Procfile: 'web: ./run', run: '' }).plan.dockerfile).toMatch(/^FROM heroku\/heroku:24\nUSER 0:0\nENTRYPOINT \[\]\nRUN command -v bash/m);
    expect(on({ 'package.json': '{"scripts":{"start":"node x"}}', 'package-lock.json': '{"lockfileVersion":3}', 'x.js': '' }).plan.stack).toEqual(PAIR);
  });
  it('classic buildpacks take it; a Dockerfile does not ask', () => {
    expect(on({ x: '' }, { buildpacks: 'https://example.com/pack.git' }).plan).toMatchObject({ builder: 'classic-buildpack', stack: PAIR, dockerfile: null });
    expect(on({ Dockerfile: 'FROM scratch\n' }).plan).not.toHaveProperty('stack');
  });
  it('what comes with Berth\'s own stack says so', () => {
    const why = (files: Readonly<Record<string, string>>, settings = {}): StepFailure => { try { on(files, settings); } catch (error) { if (error instanceof StepFailure) return error; throw error; } throw new Error('was accepted'); };
    for (const files of [{ 'go.mod': 'module x\n', 'main.go': '' }, { 'Cargo.toml': '' }, { 'composer.json': '{}' }, { 'pom.xml': '' }, { 'index.html': '' }, { 'mix.exs': '' }] as Readonly<Record<string, string>>[]) expect(why(files)).toMatchObject({ code: 'detect.stack', hint: expect.stringContaining('stack:set') });
    expect(why({ 'go.mod': 'module x\n', 'requirements.txt': '' }, { buildpacks: 'python\ngo' })).toMatchObject({ code: 'detect.stack' });
    expect(failure({ x: '' }).code).toBe('detect.nothing');
    expect(choose({ 'requirements.txt': '', Procfile: 'web: x' }).plan).not.toHaveProperty('stack');
  });
});
