import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import tar from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GitDriver } from '../../src/drivers/git/git.driver.js';
import type { CommitRef } from '../../src/drivers/git/git.port.js';
import { cloneStep } from '../../src/workers/clone/clone.step.js';
import type { StepContext } from '../../src/events/step.js';

const run = promisify(execFile);
const never = new AbortController().signal;
const IDENTITY = { GIT_AUTHOR_NAME: 'Ada', GIT_AUTHOR_EMAIL: 'ada@example.com', GIT_COMMITTER_NAME: 'Ada', GIT_COMMITTER_EMAIL: 'ada@example.com', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
let dir: string;
let git: GitDriver;

function sh(cwd: string, ...args: string[]): string {
  return execFileSync('git', ['-c', 'protocol.file.allow=always', ...args], { cwd, env: { ...process.env, ...IDENTITY }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}

/** A work tree with these files committed. */
function work(name: string, files: Record<string, string | Buffer>, message = 'First'): { path: string; sha: string } {
  const path = join(dir, name);
  mkdirSync(path, { recursive: true });
  sh(path, 'init', '-q', '-b', 'main');
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(join(path, file, '..'), { recursive: true });
    writeFileSync(join(path, file), content);
  }
  return { path, sha: commit(path, message) };
}

function commit(path: string, message: string): string {
  sh(path, 'add', '-A', '-f');
  sh(path, 'commit', '-q', '--allow-empty', '-m', message);
  return sh(path, 'rev-parse', 'HEAD');
}

/** The work tree's commit in a bare repository of Berth's making. */
async function bare(name: string, from: { path: string; sha: string }): Promise<CommitRef> {
  const repo = join(dir, `${name}.git`);
  await git.initBare(repo);
  sh(from.path, 'push', '-q', repo, 'HEAD:refs/heads/main');
  return { repo, sha: from.sha, quarantine: null };
}

interface Entry { readonly type: string; readonly content: string; readonly link: string | null }

async function unpack(path: string): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>();
  const extract = tar.extract();
  extract.on('entry', (header, stream, next) => {
    const pieces: Buffer[] = [];
    stream.on('data', (piece) => { pieces.push(piece as Buffer); });
    stream.on('end', () => {
      entries.set(header.name, { type: header.type ?? '', content: Buffer.concat(pieces).toString(), link: header.linkname ?? null });
      next();
    });
  });
  await pipeline(createReadStream(path), extract);
  return entries;
}

function context(input: Partial<StepContext<'clone'>['input']> & { repo: string; sha: string }, job = 'a1.1.clone'): { context: StepContext<'clone'>; lines: string[] } {
  const lines: string[] = [];
  const log = {
    info: (text: string) => { lines.push(`-----> ${text}`); }, section: (text: string) => { lines.push(`=====> ${text}`); }, detail: (text: string) => { lines.push(`       ${text}`); }, warn: (text: string) => { lines.push(` !     ${text}`); },
    output: () => {}, call: () => {},
  };
  return { lines, context: { step: 'clone', app: 'a1', deploy: 1, job, attempt: 1, input: { app: 'a1', name: 'blog', quarantine: null, ...input }, log, signal: never } };
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-git-'));
  git = new GitDriver({ root: join(dir, 'root'), gitUser: null, allowFile: true });
});
afterAll(() => { rmSync(dir, { recursive: true, force: true }); });

describe('a repository', () => {
  it('is made once and left as it is the second time', async () => {
    const ref = await bare('made', work('made', { 'a.txt': 'a' }));
    await git.initBare(ref.repo);
    expect(await git.exists(ref)).toBe(true);
    expect(readFileSync(join(ref.repo, 'HEAD'), 'utf8')).toBe('ref: refs/heads/main\n');
    expect(readdirSync(ref.repo)).not.toContain('hooks');
  });

  it('tells a commit\'s subject and author without control characters', async () => {
    const from = work('subject', { a: '1' }, 'Grüße \u001b[31mred\u001b[0m "quoted"\n\nbody');
    const ref = await bare('subject', from);
    expect(await git.commitInfo(ref)).toEqual({ sha: from.sha, subject: 'Grüße [31mred [0m "quoted"', author: 'Ada <ada@example.com>' });
  });

  it('says that a commit is gone, and takes no name in place of an id', async () => {
    const ref = await bare('gone', work('gone', { a: '1' }));
    await expect(git.commitInfo({ ...ref, sha: 'f'.repeat(40) })).rejects.toMatchObject({ problem: 'gone' });
    expect(await git.exists({ ...ref, sha: 'f'.repeat(40) })).toBe(false);
    for (const sha of ['main', '--output=/tmp/x', 'HEAD', '']) await expect(git.commitInfo({ ...ref, sha })).rejects.toMatchObject({ problem: 'gone' });
    await expect(git.archive({ ...ref, sha: 'f'.repeat(40) }, [], join(dir, 'none.tar'), never)).rejects.toMatchObject({ problem: 'gone' });
    await expect(git.submodules({ ...ref, sha: 'f'.repeat(40) })).rejects.toMatchObject({ problem: 'gone' });
  });

  it('does not follow refs/replace, which may be pushed', async () => {
    const from = work('replace', { a: 'true' });
    const other = commit(from.path, 'Other');
    const ref = await bare('replace', { path: from.path, sha: from.sha });
    sh(ref.repo, 'replace', from.sha, other);
    expect((await git.commitInfo(ref)).subject).toBe('First');
  });
});

describe('an archive', () => {
  it('holds odd names, long paths, modes and links as they were committed', async () => {
    const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(120)}.txt`;
    const files = { 'a b.txt': '1', 'Ünïcode-日本.txt': '2', 'new\nline': '3', '-dash': '4', 'quote"\'$(x)`': '5', [long]: '6', 'empty': '', 'back\\slash': '7', 'e\u0301': '8' };
    const from = work('odd', files);
    symlinkSync('/etc/passwd', join(from.path, 'link'));
    writeFileSync(join(from.path, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    const ref = await bare('odd', { path: from.path, sha: commit(from.path, 'Links') });
    const target = join(dir, 'odd.tar');
    const archive = await git.archive(ref, [], target, never);
    const entries = await unpack(target);
    for (const [name, content] of Object.entries(files)) expect(entries.get(name)?.content, name).toBe(content);
    expect(entries.get('link')).toMatchObject({ type: 'symlink', link: '/etc/passwd' });
    expect(archive).toEqual({ bytes: statSync(target).size, files: Object.keys(files).length + 2, lfs: 0, sha256: createHash('sha256').update(readFileSync(target)).digest('hex') });
    expect(archive.bytes % 512).toBe(0);
    expect(statSync(target).mode & 0o777).toBe(0o600);
    expect(await git.archive(ref, [], target, never)).toEqual(archive);
  });

  it('obeys export-ignore and export-subst, and runs no filter', async () => {
    const marker = join(dir, 'filter-ran');
    const from = work('attributes', { '.gitattributes': 'secret.txt export-ignore\nversion.txt export-subst\n*.bin filter=evil diff=evil\n', 'secret.txt': 's', 'version.txt': '$Format:%H$', 'a.bin': 'plain' });
    const ref = await bare('attributes', from);
    // even a filter that the machine's configuration would have
    const global = join(dir, 'gitconfig');
    writeFileSync(global, `[filter "evil"]\n\tsmudge = touch ${marker}\n\trequired = true\n[tar "tar"]\n\tcommand = touch ${marker}\n`);
    process.env['GIT_CONFIG_GLOBAL'] = global;
    try {
      await git.archive(ref, [], join(dir, 'attributes.tar'), never);
    } finally {
      delete process.env['GIT_CONFIG_GLOBAL'];
    }
    const entries = await unpack(join(dir, 'attributes.tar'));
    expect([...entries.keys()].sort()).toEqual(['.gitattributes', 'a.bin', 'version.txt']);
    expect(entries.get('version.txt')?.content).toBe(from.sha);
    expect(entries.get('a.bin')?.content).toBe('plain');
    expect(() => statSync(marker)).toThrow();
  });

  it('counts pointers into Git LFS', async () => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`;
    const ref = await bare('lfs', work('lfs', { 'big.psd': pointer, 'notes.txt': 'x'.repeat(200) }));
    expect((await git.archive(ref, [], join(dir, 'lfs.tar'), never)).lfs).toBe(1);
  });

  it('refuses trees that would be unpacked elsewhere', async () => {
    const from = work('hostile', { a: '1' });
    const ref = await bare('hostile', from);
    const mktree = (lines: string): string => execFileSync('git', ['mktree', '--missing'], { cwd: ref.repo, input: lines, encoding: 'utf8' }).trim();
    const hashTree = (entries: readonly [string, string, string][]): string => {
      const body = Buffer.concat(entries.flatMap(([mode, name, id]) => [Buffer.from(`${mode} ${name}\0`), Buffer.from(id, 'hex')]));
      return execFileSync('git', ['hash-object', '-t', 'tree', '-w', '--stdin', '--literally'], { cwd: ref.repo, input: body, encoding: 'utf8' }).trim();
    };
    const blob = execFileSync('git', ['hash-object', '-w', '--stdin'], { cwd: ref.repo, input: '/etc', encoding: 'utf8' }).trim();
    const inner = mktree(`100644 blob ${blob}\tpasswd\n`);
    const trees = {
      up: hashTree([['40000', '..', inner]]),
      link: hashTree([['120000', 'a', blob], ['40000', 'a', inner]]),
      twice: hashTree([['120000', 'a', blob], ['100644', 'a', blob]]),
    };
    for (const [name, tree] of Object.entries(trees)) {
      const sha = execFileSync('git', ['commit-tree', tree, '-m', name], { cwd: ref.repo, env: { ...process.env, ...IDENTITY }, encoding: 'utf8' }).trim();
      await expect(git.archive({ ...ref, sha }, [], join(dir, 'hostile.tar'), never), name).rejects.toMatchObject({ problem: 'path' });
    }
  });

  it('stops at the limits', async () => {
    const ref = await bare('limits', work('limits', { a: 'x'.repeat(5000), b: '2', c: '3' }));
    const small = new GitDriver({ root: join(dir, 'root'), gitUser: null, limits: { bytes: 4096, files: 100 } });
    await expect(small.archive(ref, [], join(dir, 'l.tar'), never)).rejects.toMatchObject({ problem: 'limit', message: expect.stringContaining('larger than') });
    const few = new GitDriver({ root: join(dir, 'root'), gitUser: null, limits: { bytes: 1e9, files: 2 } });
    await expect(few.archive(ref, [], join(dir, 'l.tar'), never)).rejects.toMatchObject({ problem: 'limit', message: expect.stringContaining('more than 2 files') });
  });

  it('streams 200 MB without holding them, and ends at once when aborted', async () => {
    const from = work('large', {});
    const content = Buffer.alloc(10 * 1024 * 1024);
    for (let file = 0; file < 20; file += 1) writeFileSync(join(from.path, `f${file}`), content.fill(createHash('sha512').update(String(file)).digest()));
    const ref = await bare('large', { path: from.path, sha: commit(from.path, 'Large') });
    let peak = 0;
    const before = process.memoryUsage().arrayBuffers;
    const watch = setInterval(() => { peak = Math.max(peak, process.memoryUsage().arrayBuffers); }, 10);
    const started = performance.now();
    const archive = await git.archive(ref, [], join(dir, 'large.tar'), never);
    const took = performance.now() - started;
    clearInterval(watch);
    console.log(`200 MB in ${took.toFixed(0)} ms, ${((peak - before) / 1e6).toFixed(0)} MB more in buffers at most`);
    expect(archive.files).toBe(20);
    expect(archive.bytes).toBeGreaterThan(200 * 1024 * 1024);
    expect(peak - before).toBeLessThan(64e6);
    const abort = new AbortController();
    const running = git.archive(ref, [], join(dir, 'aborted.tar'), abort.signal);
    setTimeout(() => { abort.abort(new Error('lease lost')); }, 30);
    await expect(running).rejects.toThrow();
    rmSync(join(dir, 'large.tar'));
  });

  it.runIf(process.getuid?.() === 0)('reads as git\'s user what that user owns', async () => {
    const root = mkdtempSync('/var/tmp/berth-git-');
    try {
      execFileSync('chmod', ['755', root]);
      const asNobody = new GitDriver({ root, gitUser: { uid: 65534, gid: 65534 } });
      const repo = join(root, 'repos', 'a1.git');
      await asNobody.initBare(repo);
      expect(statSync(repo).uid).toBe(65534);
      const from = work('nobody', { a: '1' });
      sh(from.path, '-c', `safe.directory=${repo}`, 'push', '-q', '--receive-pack', `git -c safe.directory=${repo} receive-pack`, repo, 'HEAD:refs/heads/main');
      execFileSync('chown', ['-R', '65534:65534', repo]);
      const ref = { repo, sha: from.sha, quarantine: null };
      expect((await asNobody.commitInfo(ref)).subject).toBe('First');
      expect((await asNobody.archive(ref, [], join(root, 'a.tar'), never)).files).toBe(1);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});

describe('a push in quarantine', () => {
  /** Pushes with a hook that holds the push until it is told to end, and gives the quarantine to `during`. */
  async function push(name: string, during: (ref: CommitRef) => Promise<void>): Promise<CommitRef> {
    const from = work(name, { 'app.py': 'print(1)' }, 'Quarantined');
    const repo = join(dir, `${name}.git`);
    await git.initBare(repo);
    const hooks = join(dir, `${name}-hooks`);
    mkdirSync(hooks);
    writeFileSync(join(hooks, 'pre-receive'), '#!/bin/sh\nprintf %s "$GIT_QUARANTINE_PATH" > "$OUT.tmp"; mv "$OUT.tmp" "$OUT"; while [ ! -e "$OUT.go" ]; do sleep 0.02; done\nexit 1\n', { mode: 0o755 });
    const out = join(dir, `${name}-out`);
    const pushing = run('git', ['push', '--receive-pack', `git -c core.hooksPath=${hooks} receive-pack`, repo, 'HEAD:refs/heads/main'], { cwd: from.path, env: { ...process.env, ...IDENTITY, OUT: out } }).catch(() => {});
    let quarantine = '';
    while (quarantine === '') {
      await new Promise((resolve) => { setTimeout(resolve, 20); });
      try { quarantine = readFileSync(out, 'utf8'); } catch { /* not yet */ }
    }
    const ref = { repo, sha: from.sha, quarantine };
    try {
      await during(ref);
    } finally {
      writeFileSync(`${out}.go`, '');
      await pushing;
    }
    return ref;
  }

  it('is seen through its folder only, and gone after it was refused', async () => {
    const ref = await push('quarantine', async (inside) => {
      expect(await git.exists({ ...inside, quarantine: null })).toBe(false);
      expect((await git.commitInfo(inside)).subject).toBe('Quarantined');
      expect(await git.submodules(inside)).toEqual([]);
      expect((await git.archive(inside, [], join(dir, 'q.tar'), never)).files).toBe(1);
    });
    expect(await git.exists(ref)).toBe(false);
    const { context: lost } = context(ref, 'a1.9.clone');
    await expect(cloneStep({ git, config: { root: join(dir, 'root') } })(lost)).rejects.toMatchObject({ code: 'clone.commit-gone', hint: 'push again', fault: 'user' });
    expect(() => statSync(join(dir, 'root', 'sources', 'a1.9.clone'))).toThrow();
  });

  it('of another repository is not looked into', async () => {
    const ref = await bare('innocent', work('innocent', { a: '1' }));
    await push('other', async (inside) => {
      await expect(git.commitInfo({ ...ref, sha: inside.sha, quarantine: inside.quarantine })).rejects.toMatchObject({ problem: 'gone' });
      const sneaky = join(ref.repo, 'objects', 'sneaky');
      symlinkSync(inside.quarantine ?? '', sneaky);
      await expect(git.commitInfo({ ...ref, sha: inside.sha, quarantine: sneaky })).rejects.toMatchObject({ problem: 'gone' });
    });
  });
});

describe('submodules', () => {
  it('are fetched, nested ones too, and lie at their place in the archive', async () => {
    const inner = work('inner', { 'inner.txt': 'inner' });
    const lib = work('lib', { 'lib.txt': 'lib' });
    sh(lib.path, 'submodule', '--quiet', 'add', `file://${inner.path}`, 'deep down');
    const libSha = commit(lib.path, 'With inner');
    const app = work('super', { 'app.txt': 'app', 'zz/last.txt': 'z' });
    sh(app.path, 'submodule', '--quiet', 'add', `file://${lib.path}`, 'vendor/lib');
    const ref = await bare('super', { path: app.path, sha: commit(app.path, 'With lib') });
    const { context: given, lines } = context(ref, 'a1.2.clone');
    const output = await cloneStep({ git, config: { root: join(dir, 'root') } })(given);
    expect(output.submodules).toEqual([`vendor/lib@${libSha.slice(0, 12)}`, `vendor/lib/deep down@${inner.sha.slice(0, 12)}`]);
    const entries = await unpack(output.source);
    expect(entries.get('vendor/lib/lib.txt')?.content).toBe('lib');
    expect(entries.get('vendor/lib/deep down/inner.txt')?.content).toBe('inner');
    expect(entries.get('zz/last.txt')?.content).toBe('z');
    expect(lines[0]).toBe(`-----> Cloning blog at ${ref.sha.slice(0, 7)} ("With lib")`);
    execFileSync('tar', ['-tf', output.source]);
    expect(await cloneStep({ git, config: { root: join(dir, 'root') } })(given)).toEqual(output);
  });

  it.each([
    'ext::sh -c touch% /tmp/berth-owned', '--upload-pack=touch /tmp/berth-owned', '-u./x', 'file:///etc', '/etc', './x', '../lib.git', 'http://example.com/x.git', 'git://example.com/x',
    'ssh://-oProxyCommand=touch/x', 'ssh://host/-x', '-oProxyCommand=x@host:path', 'git@-host:x', 'git@host:-x', 'https://', 'https://a b/c', 'https://example.com/x\n[core]', 'fd::3', 'https::ext::x',
  ])('from %j are refused by name', async (url) => {
    const strict = new GitDriver({ root: join(dir, 'root'), gitUser: null });
    const other = work(`bad-${createHash('md5').update(url).digest('hex')}`, { a: '1' });
    writeFileSync(join(other.path, '.gitmodules'), `[submodule "x"]\n\tpath = lib\n\turl = ${JSON.stringify(url).replaceAll('\\n', '\\n')}\n`);
    sh(other.path, 'update-index', '--add', '--cacheinfo', `160000,${other.sha},lib`);
    sh(other.path, 'add', '.gitmodules');
    sh(other.path, 'commit', '-q', '-m', 'Bad');
    const ref = await bare(`bad-${createHash('md5').update(url).digest('hex')}`, { path: other.path, sha: sh(other.path, 'rev-parse', 'HEAD') });
    const { context: given } = context(ref, 'a1.3.clone');
    await expect(cloneStep({ git: strict, config: { root: join(dir, 'root') } })(given)).rejects.toMatchObject({ code: 'clone.submodule', fault: 'user', message: expect.stringContaining('"lib"') });
    expect(() => statSync('/tmp/berth-owned')).toThrow();
  });

  it('that .gitmodules does not name leave an empty folder and a note', async () => {
    const from = work('stray', { a: '1' });
    sh(from.path, 'update-index', '--add', '--cacheinfo', `160000,${from.sha},nested`);
    sh(from.path, 'commit', '-q', '-m', 'Stray');
    const ref = await bare('stray', { path: from.path, sha: sh(from.path, 'rev-parse', 'HEAD') });
    const { context: given, lines } = context(ref, 'a1.4.clone');
    expect((await cloneStep({ git, config: { root: join(dir, 'root') } })(given)).files).toBe(1);
    expect(lines.join('\n')).toContain(' !     nested is a repository of its own');
  });

  it('whose commit nobody has, or that nobody serves, are named with their address but not its password', async () => {
    const lib = work('nocommit', { a: '1' });
    await expect(git.fetchSubmodule({ path: 'lib', sha: 'e'.repeat(40), url: `file://${lib.path}` }, never)).rejects.toMatchObject({ problem: 'submodule' });
    const refused = await git.fetchSubmodule({ path: 'lib', sha: 'e'.repeat(40), url: 'https://me:hunter2@127.0.0.1:9/x.git' }, never).catch((error: Error) => error);
    expect(refused).toMatchObject({ problem: 'network' });
    expect(JSON.stringify(refused) + (refused as Error).message).not.toContain('hunter2');
  });
});

describe('the clone step', () => {
  const step = () => cloneStep({ git, config: { root: join(dir, 'root') } });

  it('leaves one file, says what it found, and takes over what an earlier attempt left', async () => {
    const ref = await bare('plain', work('plain', { 'app.py': 'x', 'b.txt': 'y' }, 'Say "hello"'));
    const folder = join(dir, 'root', 'sources', 'a1.5.clone');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'source.tar.part'), 'half');
    const { context: given, lines } = context(ref, 'a1.5.clone');
    const output = await step()(given);
    expect(output).toMatchObject({ source: join(folder, 'source.tar'), files: 2, subject: 'Say "hello"', author: 'Ada <ada@example.com>', submodules: [] });
    expect(readdirSync(folder)).toEqual(['source.tar']);
    expect(lines).toEqual([`-----> Cloning blog at ${ref.sha.slice(0, 7)} ("Say "hello"")`, '       2 files, 3.1 kB']);
  });

  it('refuses a commit without files', async () => {
    const ref = await bare('empty', work('empty', {}));
    await expect(step()(context(ref, 'a1.6.clone').context)).rejects.toMatchObject({ code: 'clone.empty', fault: 'user' });
    expect(() => statSync(join(dir, 'root', 'sources', 'a1.6.clone'))).toThrow();
  });

  it('calls a full disk the machine\'s fault, with figures', async () => {
    const ref = await bare('full', work('full', { a: 'x' }));
    const full = Object.assign(Object.create(git) as GitDriver, { archive: () => Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })) });
    await expect(cloneStep({ git: full, config: { root: join(dir, 'root') } })(context(ref, 'a1.7.clone').context))
      .rejects.toMatchObject({ code: 'clone.disk-full', fault: 'machine', message: expect.stringMatching(/no space .*: [\d.]+ [kMGT]?B of [\d.]+ [kMGT]?B are left/) });
    await expect(git.archive(ref, [], '/dev/full', never)).rejects.toMatchObject({ code: 'ENOSPC' });
  });

  it('stops when it is aborted', async () => {
    const ref = await bare('stopped', work('stopped', { a: 'x' }));
    const given = context(ref, 'a1.8.clone').context;
    await expect(step()({ ...given, signal: AbortSignal.abort(new Error('lease lost')) })).rejects.toThrow('lease lost');
  });
});
