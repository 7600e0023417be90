import fc from 'fast-check';
import { satisfies } from 'semver';
import { describe, expect, it } from 'vitest';
import { choose, failure, type Files } from '../../../../test/builders/kit.js';
import { treeOf } from '../source-tree.js';
import { readManifest } from './manifest.js';
import { comparators, preferred, wantedNode } from './node-version.js';
import { packageManager } from './package-manager.js';

const json = (value: Readonly<Record<string, unknown>>): string => JSON.stringify(value);
const start = { scripts: { start: 'node x.js' } };
const deps = { ...start, dependencies: { ms: '2' } };
const app = (over: Readonly<Record<string, unknown>> = {}, files: Files = {}): Files => ({ 'package.json': json({ ...deps, ...over }), 'package-lock.json': '{}', ...files });
const dockerfile = (files: Files, settings: Files = {}): string => choose(files, settings).plan.dockerfile!;
const manager = (files: Files) => packageManager(treeOf(files), readManifest(treeOf(files)));

describe('Node.js buildpack: the generated Dockerfile', () => {
  it('npm without a build script', () => { expect(dockerfile(app())).toMatchSnapshot(); });
  it('npm with a build script, a prepare script and a private registry', () => {
    expect(dockerfile(app({ scripts: { start: 'x', build: 'tsc', prepare: 'husky' }, devDependencies: { typescript: '5' } }, { '.npmrc': '//r/:_authToken=${NPM_TOKEN}' }), { 'build-args': 'NPM_TOKEN,NPM_CONFIG_REGISTRY' })).toMatchSnapshot();
  });
  it('pnpm with workspaces', () => { expect(dockerfile({ 'package.json': json({ ...deps, scripts: { start: 'x', build: 'y' } }), 'pnpm-lock.yaml': "lockfileVersion: '9.0'\n", 'pnpm-workspace.yaml': 'packages:\n  - a/*\n', 'a/b/package.json': '{"name":"b","scripts":{"build":"x"}}', 'patches/x.patch': '' })).toMatchSnapshot(); });
  it('Yarn 1', () => { expect(dockerfile({ 'package.json': json({ ...deps, devDependencies: { x: '1' }, scripts: { start: 'x', build: 'y' } }), 'yarn.lock': '# yarn lockfile v1\n' })).toMatchSnapshot(); });
  it('Yarn with Plug\'n\'Play', () => { expect(dockerfile({ 'package.json': json({ ...deps, packageManager: 'yarn@4.9.4+sha224.00ff' }), 'yarn.lock': '__metadata:\n  version: 8\n' })).toMatchSnapshot(); });
  it('with everything copied first, as heroku-prebuild runs before', () => { expect(dockerfile(app({ scripts: { start: 'x', 'heroku-prebuild': 'a', 'heroku-postbuild': 'b', build: 'never', 'heroku-cleanup': 'c' } }))).toMatchSnapshot(); });
  it('no packages', () => { expect(dockerfile({ 'package.json': '{}', 'server.js': '' })).toMatchSnapshot(); });
  it('puts nothing of a repository\'s into commands but checked versions', () => {
    fc.assert(fc.property(fc.string(), fc.constantFrom('engines', 'nvmrc', 'npm', 'manager', 'cache'), (text, where) => {
      const files = app({
        engines: { ...(where === 'engines' ? { node: text } : {}), ...(where === 'npm' ? { npm: text } : {}) }, ...(where === 'manager' ? { packageManager: text } : {}), cacheDirectories: where === 'cache' ? [text] : [],
      }, where === 'nvmrc' ? { '.nvmrc': text } : {});
      let made: string;
      try { made = dockerfile(files); } catch { return; }
      for (const line of made.split('\n')) expect(line).toMatch(/^(#|$|(FROM|COPY|RUN|ENV|ARG|WORKDIR|USER|ENTRYPOINT) )/);
      for (const fetch of made.split('\n').filter((line) => line.includes('node-fetch.py \''))) expect(fetch).toMatch(/^RUN python3 \/tmp\/node-fetch\.py( '[ -&(-~]*')+$/);
    }));
  });
});

describe('Node.js buildpack: versions', () => {
  const asked = (engines: string | null, files: Files = {}) => { const tree = treeOf({ 'package.json': json(engines === null ? {} : { engines: { node: engines } }), ...files }); return wantedNode(tree, readManifest(tree)); };
  it.each([
    ['22', '>=22.0.0 <23.0.0-0'], ['v20.11', '>=20.11.0 <20.12.0-0'], ['lts/jod', '>=22.0.0 <23.0.0-0'], ['lts/*', '>=24.0.0 <25.0.0-0'], ['node', '*'], ['node-18.1.0', '18.1.0'], ['nodejs@18', '>=18.0.0 <19.0.0-0'],
  ])('.nvmrc %s', (text, range) => { expect(asked(null, { '.nvmrc': `\n# c\n${text}\n` }).wanted).toMatchObject({ range, from: '.nvmrc' }); });
  it('the first that says anything', () => {
    expect(asked(null, { '.node-version': '20', '.nvmrc': '18', '.tool-versions': 'nodejs 16' }).wanted?.from).toBe('.node-version');
    expect(asked(null, { '.nvmrc': '\n', '.tool-versions': 'python 3\nnodejs  16.20.2' }).wanted).toMatchObject({ from: '.tool-versions', range: '16.20.2' });
    expect(asked('^20 || ^22').wanted).toMatchObject({ range: '>=20.0.0 <21.0.0-0||>=22.0.0 <23.0.0-0' });
    expect(asked(null).wanted).toBeNull();
  });
  it('a file decides within engines, engines over a file that contradicts', () => {
    expect(asked('>=18', { '.nvmrc': '20' })).toMatchObject({ wanted: { from: '.nvmrc' }, warnings: [] });
    expect(asked('20.x', { '.nvmrc': '14' })).toMatchObject({ wanted: { from: 'package.json (engines)' }, warnings: ['.nvmrc asks for Node.js 14, package.json (engines) for 20.x: engines decides'] });
  });
  it('prefers the default line where it fits', () => { expect([preferred('>=18.0.0'), preferred('>=20.0.0 <21.0.0-0')]).toEqual(['>=24.0.0 <25.0.0-0', null]); });
  it('refuses what is no version', () => {
    for (const text of ['twenty', 'lts/unheard', '20; rm', '$(id)']) expect(failure(app({}, { '.nvmrc': text }))).toMatchObject({ code: 'detect.version' });
    expect(failure(app({ engines: { node: 'x y z' } })).message).toContain('"x y z"');
  });
  it('comparators mean what the range means', () => {
    fc.assert(fc.property(fc.nat(30), fc.nat(30), fc.constantFrom('^', '~', '>=', '<', '', '<='), fc.nat(30), fc.nat(30), (a, b, operator, c, d) => {
      const text = `${operator}${a}.${b} || ${c}.x`;
      expect(satisfies(`${c}.${d}.1`, comparators(text)!)).toBe(satisfies(`${c}.${d}.1`, text));
    }));
  });
});

describe('Node.js buildpack: package managers', () => {
  const lockOf = (file: string, text = ''): Files => ({ 'package.json': json(deps), [file]: text });
  it('by the lock file', () => {
    expect(manager(lockOf('package-lock.json'))).toMatchObject({ kind: 'npm', range: '*', prefer: 'own' });
    expect(manager(lockOf('npm-shrinkwrap.json'))).toMatchObject({ kind: 'npm', lock: 'npm-shrinkwrap.json' });
    expect(manager(lockOf('pnpm-lock.yaml', "lockfileVersion: '9.0'"))).toMatchObject({ kind: 'pnpm', title: 'pnpm 10.x' });
    expect(manager(lockOf('pnpm-lock.yaml', "lockfileVersion: '6.0'"))).toMatchObject({ title: 'pnpm 8.x' });
    expect(manager(lockOf('pnpm-lock.yaml', 'lockfileVersion: 5.4'))).toMatchObject({ title: 'pnpm 7.x' });
    expect(manager(lockOf('yarn.lock', '# yarn lockfile v1'))).toMatchObject({ kind: 'yarn', title: 'yarn 1.x', linker: 'node_modules' });
    expect(manager(lockOf('yarn.lock', '# x\n\n__metadata:\n  version: 6\n  cacheKey: 8\n'))).toMatchObject({ kind: 'berry', title: 'yarn >=3.2 <4', linker: 'pnp' });
    expect(manager({ ...lockOf('yarn.lock', '__metadata:\n  cacheKey: 8\n  version: 8\n'), '.yarnrc.yml': 'nodeLinker: node-modules\n' })).toMatchObject({ title: 'yarn >=4 <4.14', linker: 'node_modules' });
  });
  it('by packageManager, with its digest', () => {
    expect(manager({ 'package.json': json({ ...deps, packageManager: 'pnpm@9.12.0+sha512.ab' }), 'pnpm-lock.yaml': '', 'yarn.lock': '' })).toMatchObject({ kind: 'pnpm', range: '9.12.0', hash: 'sha512.ab', lock: 'pnpm-lock.yaml' });
    expect(manager({ 'package.json': json({ ...deps, packageManager: 'yarn@1.22.19' }), 'yarn.lock': '' }).kind).toBe('yarn');
    for (const odd of ['pnpm', 'pnpm@9', 'bun', 'deno@2.0.0', 'pnpm@9.0.0+md5.00', "npm@10.0.0' x"]) expect(failure(app({ packageManager: odd })).code).toBe('detect.package-manager');
  });
  it('a wide range takes the line that wrote the lock file', () => {
    expect(manager({ 'package.json': json({ ...deps, engines: { pnpm: '>=8' } }), 'pnpm-lock.yaml': "lockfileVersion: '9.0'" })).toMatchObject({ range: '>=8.0.0', prefer: '>=10.0.0 <11.0.0-0' });
    expect(failure({ 'package.json': json({ ...deps, engines: { yarn: '>=4' } }), 'yarn.lock': '' }).message).toBe('package.json asks for yarn >=4, and yarn.lock is of Yarn 1');
  });
  it('bun, by its lock file, in the version that was asked for', () => {
    const files = { 'package.json': json({ ...deps, scripts: { start: 'bun x.ts', build: 'y' }, devDependencies: { b: '1' } }), 'bun.lock': '' };
    const { plan, details } = choose(files);
    expect(plan).toMatchObject({ summary: 'Node.js 24.x, bun.lock', processTypes: { web: 'bun run start' } });
    expect(plan.dockerfile).toContain("'bun=>=1.0.0 <2.0.0-0'");
    expect(plan.dockerfile).toMatch(/\{ cp -a \. \/prod && \(cd \/prod && bun install --frozen-lockfile --production && mkdir -p node_modules\) && bun install --frozen-lockfile && mkdir[^]*bun run build[^]*rm -rf node_modules && mv \/prod\/node_modules node_modules/);
    expect(details).toContain('packages: bun.lock (bun 1.x)');
    expect(choose({ ...files, '.bun-version': '1.3.1' }).plan.dockerfile).toContain("'bun=1.3.1'");
    expect(choose({ ...files, 'package.json': json({ ...deps, packageManager: 'bun@1.2.9', scripts: { start: 'x' } }) }).plan.dockerfile).toContain("'bun=1.2.9'");
    expect(choose({ ...files, 'bun.lockb': 'x' }).details).toContain('packages: bun.lock (bun 1.x)');
    expect(failure({ ...files, 'yarn.lock': '' }).code).toBe('detect.locks');
    const workspaces = choose({ ...files, 'package.json': json({ scripts: { start: 'x' }, workspaces: ['a'], devDependencies: { b: '1' } }) });
    expect(workspaces.details).toContain('development packages stay: bun takes none away');
    expect(workspaces.plan.dockerfile).not.toContain('/prod');
  });
  it('insists on one lock file', () => {
    expect(failure({ 'package.json': json(deps) })).toMatchObject({ code: 'detect.no-lock', message: 'package.json names packages and there is no package-lock.json' });
    expect(failure({ 'package.json': json({ ...deps, packageManager: 'bun@1.3.0' }), 'package-lock.json': '' })).toMatchObject({ message: "package.json names packages and there is no bun.lock; package-lock.json is not bun's", hint: expect.stringContaining('bun install') });
    expect(failure({ 'package.json': json({ ...deps, packageManager: 'pnpm@9.0.0' }), 'yarn.lock': '' }).message).toContain("there is no pnpm-lock.yaml; yarn.lock is not pnpm's");
    expect(failure(app({}, { 'pnpm-lock.yaml': '' })).code).toBe('detect.locks');
    expect(manager({ 'package.json': '{}' })).toMatchObject({ kind: 'npm', lock: null });
  });
});

describe('Node.js buildpack: decisions', () => {
  it('what starts it', () => {
    expect(choose(app()).plan.processTypes).toEqual({ web: 'npm start' });
    expect(choose({ 'package.json': '{}', 'server.js': '' }).plan.processTypes).toEqual({ web: 'node server.js' });
    expect(choose(app({}, { Procfile: 'bot: node bot.js' })).plan.processTypes).toEqual({ bot: 'node bot.js' });
    expect(choose(app({}, { Procfile: 'release: x' })).plan).toMatchObject({ processTypes: { web: 'npm start' }, releaseCommand: 'x' });
    expect(failure({ 'package.json': '{"main":"x.js"}', 'x.js': '' })).toMatchObject({ code: 'detect.no-process', fault: 'user' });
  });
  it('a package.json that can\'t be read', () => {
    for (const text of ['{', '[]', '"x"', '{"a":1,}']) expect(failure({ 'package.json': text }).code).toBe('detect.package-json');
    expect(failure({ 'package.json': '{"scripts":{"start":1},"dependencies":[]}' }).code).toBe('detect.no-process');
  });
  it('copies everything first only where it must', () => {
    const first = (files: Files): boolean => { const text = dockerfile(files); return text.includes('COPY . .') && text.indexOf('COPY . .') < text.indexOf('npm ci'); };
    expect(first(app())).toBe(false);
    expect(first(app({ dependencies: { a: 'file:./a' } }))).toBe(true);
    expect(first(app({}, { 'node_modules/a/index.js': '' }))).toBe(true);
    expect(first(app({ workspaces: ['a'] }, { 'a/package.json': '{"scripts":{"postinstall":"x"}}' }))).toBe(true);
    expect(first(app({ workspaces: ['a'] }, { 'a/package.json': '{"scripts":{"build":"x"}}' }))).toBe(false);
    expect(first(app({ workspaces: ['a'] }, { 'a/package.json': json({ x: 'y'.repeat(70_000) }) }))).toBe(true);
  });
  it('a change of scripts alone changes no manifest', () => { expect(choose(app()).plan.files).toEqual(choose(app({ scripts: { start: 'other' } })).plan.files); });
  it('prunes, unless it is told not to', () => {
    const files = app({ devDependencies: { x: '1' }, scripts: { start: 'x', build: 'y' } });
    expect(dockerfile(files)).toContain('npm prune --omit=dev');
    for (const off of [{ NPM_CONFIG_PRODUCTION: 'false' }, { YARN_PRODUCTION: 'FALSE' }, { PNPM_SKIP_PRUNING: 'true' }] as Files[]) expect(dockerfile(files, off)).not.toContain('prune');
    expect(dockerfile(files, { NPM_CONFIG_PRODUCTION: 'true' })).toContain('prune');
    expect(dockerfile(app({ devDependencies: { x: '1' } }), { NPM_CONFIG_PRODUCTION: 'false' })).toContain('npm ci --include=dev');
    expect(choose({ 'package.json': json({ ...deps, devDependencies: { x: '1' }, scripts: { start: 'x', build: 'y' } }), 'yarn.lock': '__metadata:\n  version: 6\n' }).details).toContain('development packages stay: this Yarn needs its plugin workspace-tools to take them away');
  });
  it('caches what frameworks and cacheDirectories name, inside the app only', () => {
    const text = dockerfile(app({ dependencies: { next: '15' }, scripts: { build: 'x', start: 'y' }, cacheDirectories: ['node_modules', './.turbo/', '../x', '/etc', 'a b', 'a,source=/'] }));
    expect([...text.matchAll(/target=(\/app\S*)/g)].map((match) => match[1])).toEqual(['/app/node_modules/.cache', '/app/.next/cache', '/app/.turbo', '/app/etc']);
  });
  it('other languages that keep a package.json come first', () => { expect(choose({ ...app(), 'requirements.txt': '', Procfile: 'web: x' }).plan.buildpack).toBe('python'); });
});
