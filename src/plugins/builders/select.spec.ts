import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack } from 'tar-stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StepFailure } from '../../events/step.js';
import { exposedPorts } from './dockerfile.builder.js';
import { namedPaths, type NothingFits } from './select.js';
import { choose, failure } from '../../../test/builders/kit.js';
import { readSourceTree } from './source-tree.js';

describe('which builder takes a repository', () => {
  const python = { 'requirements.txt': '', Procfile: 'web: x' };
  it('a Dockerfile', () => { expect(choose({ ...python, Dockerfile: 'FROM x' }).plan).toMatchObject({ builder: 'dockerfile', dockerfilePath: 'Dockerfile', dockerfile: null, processTypes: { web: 'x' } }); });
  it('before it, buildpacks that are named', () => { expect(choose({ ...python, Dockerfile: 'FROM x' }, { BUILDPACK_URL: 'https://x/y#v1' }).plan).toMatchObject({ builder: 'classic-buildpack', buildpack: 'https://x/y#v1' }); });
  it('then our own, and tells who was asked', () => { expect(choose(python).asked.filter(({ answer }) => answer !== 'no' && answer !== 'none')).toEqual([{ builder: 'python', answer: 'requirements.txt is there' }]); });
  it('a builder that is set, whatever there is', () => { expect(choose({ ...python, Dockerfile: 'FROM x' }, { builder: 'nixpacks' }).plan).toMatchObject({ builder: 'external', buildpack: 'nixpacks', processTypes: { web: 'x' } }); });
  it('a Dockerfile against what is named, or none although it is there, when that is set', () => {
    const files = { ...python, Dockerfile: 'FROM x', '.buildpacks': 'https://x/y' };
    expect(choose(files, { builder: 'dockerfile' }).plan.builder).toBe('dockerfile');
    expect(failure(python, { builder: 'dockerfile' }).code).toBe('detect.dockerfile');
    expect(choose({ ...python, Dockerfile: 'FROM x' }, { builder: 'buildpacks' }).plan.buildpack).toBe('python');
  });
  it('nothing fits: says what was looked for and found', () => {
    const error = failure({ 'notes.md': '', 'src/a.js': '', 'src/b.js': '' }) as NothingFits;
    expect(error.code).toBe('detect.nothing');
    expect(error.message).toMatchInlineSnapshot(`"there is no Dockerfile, and no buildpack fits: at the root there is notes.md, src/"`);
    expect(error.lookedFor).toContain('python: requirements.txt, pyproject.toml, Pipfile, Pipfile.lock, poetry.lock, uv.lock');
    expect(failure({ 'notes.md': '', 'backend/go.mod': '' }).hint).toContain('build-dir backend');
    expect(failure({}).message).toContain('the repository is empty');
    expect(failure({ 'manage.py': '' }).hint).toContain('requirements.txt');
    expect(failure({ 'a\u001b[2J\nb': '' }).message).toMatch(/^[^\p{Cc}]*$/u);
  });
  it('bad files of any builder end it', () => {
    expect(failure({ Dockerfile: 'FROM x', Procfile: 'web' }).code).toBe('detect.procfile');
    expect(failure({ Dockerfile: 'FROM x', 'app.json': '{' }).code).toBe('detect.app-json');
    expect(failure({ Dockerfile: '# nothing' }).code).toBe('detect.dockerfile');
    expect(failure({ Dockerfile: 'FROM x' }, { 'dockerfile-path': 'a/Dockerfile' }).code).toBe('detect.dockerfile');
    expect(failure({ Dockerfile: 'FROM x' }, { 'procfile-path': 'b/Procfile' }).message).toContain('b/Procfile');
  });
  it('settings name other paths', () => {
    const { plan } = choose({ 'deploy/Dockerfile.prod': 'FROM x', 'deploy/Procfile': 'web: y' }, { 'dockerfile-path': './deploy/Dockerfile.prod', 'procfile-path': 'deploy/Procfile', 'build-args': 'A, B' });
    expect(plan).toMatchObject({ dockerfilePath: 'deploy/Dockerfile.prod', processTypes: { web: 'y' }, buildArgs: ['A', 'B'] });
    expect(namedPaths({ 'dockerfile-path': './deploy/Dockerfile.prod' })).toEqual(['deploy/Dockerfile.prod']);
  });
  it('without a Procfile a Dockerfile has web with the image\'s command', () => { expect(choose({ Dockerfile: 'FROM x' }).plan.processTypes).toEqual({ web: null }); });
  it('EXPOSE of the last stage', () => { expect(exposedPorts('FROM a\nEXPOSE 1\nFROM b\nexpose 80/tcp 53/udp $P 8080 \\\n 9000 99999')).toEqual([80, 8080, 9000]); });
});

describe('source archive', () => {
  let folder: string;
  beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'berth-tree-')); });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const archive = async (name: string, fill: (tar: ReturnType<typeof pack>) => void): Promise<string> => {
    const tar = pack();
    fill(tar);
    tar.finalize();
    const path = join(folder, name);
    await writeFile(path, await buffer(tar));
    return path;
  };
  it('keeps telling texts, knows all paths, leaves out what leaves the tree', async () => {
    const path = await archive('a.tar', (tar) => {
      tar.entry({ name: './Procfile' }, 'web: x');
      tar.entry({ name: 'src', type: 'directory' });
      tar.entry({ name: 'src/long.js' }, 'x');
      tar.entry({ name: 'src/My Docker file' }, 'FROM x');
      tar.entry({ name: '../../etc/passwd' }, 'x');
      tar.entry({ name: 'binary' }, Buffer.from([0, 1]));
      tar.entry({ name: 'big.txt' }, 'x'.repeat(600 * 1024));
      tar.entry({ name: 'Dockerfile', type: 'symlink', linkname: '/etc/passwd' });
      tar.entry({ name: `a/${'ü\n'.repeat(70)}` }, 'x');
    });
    const tree = await readSourceTree(path, ['src/My Docker file']);
    expect(tree.paths).toHaveLength(7);
    expect(tree.text('Procfile')).toBe('web: x');
    expect(tree.text('src/My Docker file')).toBe('FROM x');
    for (const name of ['src/long.js', 'binary', 'big.txt', 'Dockerfile', '../../etc/passwd']) expect(tree.text(name)).toBeNull();
    expect(tree.has('Dockerfile')).toBe(true);
    expect(tree.bytes).toBeGreaterThan(600 * 1024);
  });
  it('an empty archive is an empty tree', async () => { expect((await readSourceTree(await archive('b.tar', () => undefined))).paths).toEqual([]); });
  it('has a limit of entries', async () => {
    const path = await archive('c.tar', (tar) => { for (let i = 0; i < 50; i++) tar.entry({ name: `f${i}` }, ''); });
    await expect(readSourceTree(path, [], undefined, { file: 1, lock: 1, texts: 1, entries: 40 })).rejects.toMatchObject({ code: 'detect.too-many-files' });
  });
  it('a damaged archive is not the app\'s fault', async () => {
    const path = join(folder, 'd.tar');
    await writeFile(path, 'x'.repeat(5000));
    await expect(readSourceTree(path)).rejects.not.toBeInstanceOf(StepFailure);
  });
});
