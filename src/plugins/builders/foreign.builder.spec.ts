import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { builderCall, pluginBuilders } from '../../modules/plugins/builders.js';
import type { Plugin } from '../../modules/plugins/active.js';
import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import { stackFor } from '../../drivers/stack/stack-for.js';
import type { BuilderAnswer } from '../contract/builder.answer.js';
import { BadAnswer, readAnswer, type BuilderCall } from '../contract/protocol.js';
import { fitsOne } from './glob.js';
import { BUILDPACKS } from './buildpacks.js';
import { type NothingFits, projectOf, select, type Selected } from './select.js';
import { treeOf } from './source-tree.js';

const COBOL: BuilderAnswer = { detect: { reason: 'main.cob is there' }, plan: { dockerfile: 'FROM x\nEXPOSE 4100\n\n', processTypes: { web: './main' }, summary: 'COBOL 3' } };
const plugin = (name: string, builder: string): Plugin => ({ name, enabled: true, manifest: { builders: [{ name: builder, title: 'COBOL app', looksFor: '*.cob', reads: ['*.cob'] }] } }) as unknown as Plugin;

/** A deploy's detection with two plugins, `a` and `b`; answers what was chosen, and which builders were asked. */
async function detected(files: Record<string, string>, answers: Record<string, BuilderAnswer | PluginFault>, settings: Record<string, string> = {}): Promise<{ chosen: Selected; asked: string[]; calls: BuilderCall[] }> {
  const asked: string[] = [];
  const calls: BuilderCall[] = [];
  const builders = await pluginBuilders({
    enabled: async () => [plugin('a', 'cobol'), plugin('b', 'fortran')],
    ask: (async ({ name }: Plugin, call: BuilderCall) => {
      asked.push(name);
      calls.push(call);
      const answer = answers[name] ?? {};
      if (answer instanceof PluginFault) throw answer;
      return { answer, exit: 0 };
    }) as never,
  });
  const project = projectOf('app', treeOf(files), settings, stackFor());
  const said = await builders.ask(project, null, new AbortController().signal, () => {});
  return { chosen: select(project, BUILDPACKS, said), asked, calls };
}
const hangs = new PluginFault('timeout', 'it did not end within 3 s');

describe('builders of plugins', () => {
  it('are asked one after another behind a Dockerfile and before our buildpacks, until one takes it', async () => {
    const { chosen, asked } = await detected({ 'requirements.txt': '', 'main.cob': 'MOVE' }, { b: COBOL });
    expect(asked).toEqual(['a', 'b']);
    expect(chosen).toMatchObject({ title: 'COBOL app', reason: 'main.cob is there', plan: { builder: 'buildpack', buildpack: 'plugin:b/fortran', summary: 'COBOL 3', dockerfile: 'FROM x\nEXPOSE 4100\n', dockerfilePath: null, processTypes: { web: './main' }, releaseCommand: null, port: 4100 } });
    expect(chosen.asked.slice(-3)).toEqual([{ builder: 'dockerfile', answer: 'no' }, { builder: 'plugin:a/cobol', answer: 'no' }, { builder: 'plugin:b/fortran', answer: 'main.cob is there' }]);
    expect((await detected({ 'main.cob': '' }, { a: COBOL, b: COBOL })).asked).toEqual(['a']);
  });

  it('are not asked where something in front of them decides', async () => {
    for (const [files, settings] of [[{ Dockerfile: 'FROM x' }, {}], [{}, { BUILDPACK_URL: 'https://x/y' }], [{}, { builder: 'nixpacks' }], [{ Dockerfile: 'FROM x' }, { builder: 'dockerfile' }]] as [Record<string, string>, Record<string, string>][]) expect((await detected(files, { a: COBOL }, settings)).asked).toEqual([]);
    expect((await detected({ Dockerfile: 'FROM x' }, { a: COBOL }, { builder: 'buildpacks' })).chosen.plan.buildpack).toBe('plugin:a/cobol');
  });

  it('that do not answer leave it to the others, and are told of', async () => {
    const { chosen } = await detected({ 'requirements.txt': '', Procfile: 'web: x' }, { a: hangs });
    expect(chosen.plan.buildpack).toBe('python');
    expect(chosen.asked).toContainEqual({ builder: 'plugin:a/cobol', answer: 'did not answer: it did not end within 3 s' });
    await expect(detected({ 'notes.md': '' }, { a: hangs })).rejects.toSatisfy((error: NothingFits) => error.code === 'detect.nothing' && error.lookedFor.includes('plugin:a/cobol: *.cob'));
  });

  it('that the app names decide alone', async () => {
    const settings = { builder: 'plugin:b/fortran' };
    const { chosen, asked } = await detected({ Dockerfile: 'FROM y' }, { a: COBOL, b: COBOL }, settings);
    expect([asked, chosen.plan.buildpack, chosen.reason]).toEqual([['b'], 'plugin:b/fortran', 'setting builder is plugin:b/fortran; main.cob is there']);
    await expect(detected({}, { b: hangs }, settings)).rejects.toThrow('plugin:b/fortran, which setting builder names, did not answer: it did not end within 3 s');
    await expect(detected({}, {}, settings)).rejects.toThrow('does not take this repository');
    await expect(detected({}, {}, { builder: 'plugin:c/x' })).rejects.toThrow('no plugin that is enabled brings it');
  });

  it('that refuse end it; Procfile and app.json count first', async () => {
    await expect(detected({}, { a: { detect: { reason: 'x' }, refuse: 'no\nmain' } })).rejects.toThrow('plugin:a/cobol cannot build it: no main');
    const answer = { detect: COBOL.detect!, plan: { ...COBOL.plan!, releaseCommand: './migrate', check: { path: '/up', attempts: 3 } } };
    expect((await detected({}, { a: answer })).chosen.plan).toMatchObject({ releaseCommand: './migrate', check: { path: '/up', attempts: 3 } });
    const { plan } = (await detected({ Procfile: 'web: mine\nrelease: first', 'app.json': '{"healthchecks":{"web":[{"type":"startup","path":"/mine"}]}}' }, { a: answer })).chosen;
    expect(plan).toMatchObject({ processTypes: { web: 'mine' }, releaseCommand: 'first', check: { path: '/mine' } });
  });

  it('see the files of a buildpack, the texts that they read, and no setting of theirs twice', async () => {
    const { calls: [call] } = await detected({ 'main.cob': 'MOVE', 'notes.md': 'n', 'big/x.cob': 'x', '.slugignore': 'notes.md\n' }, { a: COBOL }, { 'static-root': 'public', GOVERSION: '1.24' });
    expect(call).toMatchObject({ builder: 'cobol', paths: ['.slugignore', 'big/x.cob', 'main.cob'], files: { 'main.cob': 'MOVE' }, set: { 'static-root': 'public' }, config: { GOVERSION: '1.24' }, stack: { user: { uid: expect.any(Number) } } });
    expect(Object.keys(call!.files)).toEqual(['main.cob']);
  });

  it('are told at most so much', () => {
    const files = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}.cob`, 'x'.repeat(500_000)]));
    const call = builderCall('c', ['*.cob'], projectOf('app', treeOf(files), {}, stackFor()));
    expect([call.paths.length, Object.keys(call.files).length, call.more]).toEqual([20, 8, undefined]);
  });
});

describe('patterns of paths', () => {
  it.each([['*.cob', 'main.cob', true], ['*.cob', 'src/main.cob', false], ['**/*.cob', 'src/a/main.cob', true], ['**/*.cob', 'main.cob', true], ['src/**', 'src/a/b', true], ['src/**', 'srcs/a', false], ['a?c', 'abc', true], ['a?c', 'a/c', false], ['./a.b', 'a.b', true], ['a.b', 'axb', false], ['(a|b)[c]', '(a|b)[c]', true]] as const)('%s and %s: %s', (pattern, path, fits) => {
    expect(fitsOne([pattern])(path)).toBe(fits);
  });
  it('without a wildcard are the path itself', () => {
    fc.assert(fc.property(fc.stringMatching(/^[^*?/\0][^*?\0]{0,30}$/).filter((path) => !path.startsWith('./')), fc.string(), (path, other) => { expect([fitsOne([path])(path), fitsOne([path])(other)]).toEqual([true, other === path]); }));
  });
});

describe('the answer of a builder', () => {
  const given = (plan: object | undefined, more: object = {}): unknown => ({ detect: { reason: 'x' }, ...(plan && { plan: { dockerfile: 'FROM x', ...plan } }), ...more });
  it('is taken', () => {
    for (const value of [{}, { detect: null, say: ['no'] }, given({}), given({ processTypes: { web: null, 'a-b': 'x' }, port: 80, check: { path: '/' }, details: ['a'] }), given(undefined, { refuse: 'no' })]) expect(readAnswer('builder', value)).toMatchObject(value as object);
  });
  it.each([
    [given(undefined), 'plan is missing'], [{ plan: { dockerfile: 'FROM x' } }, 'plan is there without detect'], [{ refuse: 'x' }, 'refuse is there without detect'], [{ detect: true }, 'detect is a boolean'], [{ detect: {} }, 'detect.reason is missing'],
    [{ detect: { reason: 'a\u001b[2J' } }, 'detect.reason is not one line'], [given({ dockerfile: 'RUN x' }), 'plan.dockerfile has no FROM'], [given({ dockerfile: `FROM x${' '.repeat(70_000)}` }), 'plan.dockerfile has 70006 characters'], [given({ files: {} }), 'plan.files is not known'],
    [given({ processTypes: {} }), 'plan.processTypes has 0 entries'], [given({ processTypes: { Web: 'x' } }), 'plan.processTypes.Web is not a process type'], [given({ processTypes: { web: 1 } }), 'plan.processTypes.web is 1'], [given({ processTypes: { release: 'x' } }), 'release is releaseCommand'],
    [given({ port: 0 }), 'plan.port is 0'], [given({ check: { path: 'x' } }), 'plan.check.path is not a path'], [given({ summary: 'a\nb' }), 'plan.summary is not one line'], [given({ details: [1] }), 'plan.details[0] is 1'], [given({}, { refuse: ' ' }), 'refuse is empty'],
  ])('%j is refused', (value, said) => {
    expect(() => readAnswer('builder', value)).toThrow(BadAnswer);
    expect(() => readAnswer('builder', value)).toThrow(said);
  });
  it('never throws anything else', () => {
    fc.assert(fc.property(fc.jsonValue(), fc.constantFrom('dockerfile', 'processTypes', 'port', 'check', 'details'), (value, field) => {
      for (const answer of [value, given({ [field]: value })]) try { readAnswer('builder', answer); } catch (error) { expect(error).toBeInstanceOf(BadAnswer); }
    }));
  });
});
