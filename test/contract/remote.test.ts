import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { createServer as createTcp, type AddressInfo, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GitAccess } from '../../src/drivers/git/git.access.js';
import { GitDriver } from '../../src/drivers/git/git.driver.js';
import { resolveSubmodule } from '../../src/drivers/git/submodule-url.js';
import type { StepContext } from '../../src/events/step.js';
import { cloneStep } from '../../src/workers/clone/clone.step.js';

/** Another git server, by https with a login: git's own http-backend. */
const never = new AbortController().signal;
const IDENTITY = { GIT_AUTHOR_NAME: 'Ada', GIT_AUTHOR_EMAIL: 'ada@example.com', GIT_COMMITTER_NAME: 'Ada', GIT_COMMITTER_EMAIL: 'ada@example.com', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
const TOKEN = 'tok-5ecret';
let dir: string;
let server: Server;
let silent: TcpServer;
let base: string;
let access: GitAccess;
let git: GitDriver;
/** what the server was asked, and the Authorization header it came with */
const asked: { url: string; login: string | null }[] = [];

function sh(cwd: string, ...args: string[]): string {
  return execFileSync('git', ['-c', 'protocol.file.allow=always', ...args], { cwd, env: { ...process.env, ...IDENTITY }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}
function commit(path: string, files: Record<string, string>, message: string): string {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(path, file, '..'), { recursive: true });
    writeFileSync(join(path, file), text);
  }
  sh(path, 'add', '-A');
  sh(path, 'commit', '-q', '-m', message);
  return sh(path, 'rev-parse', 'HEAD');
}
function repository(name: string, files: Record<string, string>): { path: string; sha: string } {
  const path = join(dir, 'srv', name);
  mkdirSync(path, { recursive: true });
  sh(path, 'init', '-q', '-b', 'main');
  return { path, sha: commit(path, files, `First of ${name}`) };
}

function clone(input: Partial<StepContext<'clone'>['input']> & { sha: string; remote: { url: string; ref: string } }, job: string): { done: Promise<{ source: string; sha: string; submodules: readonly string[] }>; lines: string[] } {
  const lines: string[] = [];
  const say = (text: string): void => { lines.push(text); };
  const repo = join(dir, 'root', 'repos', `${job}.git`);
  const done = git.initBare(repo).then(() => cloneStep({ git, config: { root: join(dir, 'root') } })({ step: 'clone', app: 'a1', deploy: 1, job, attempt: 1, input: { app: 'a1', name: 'blog', repo, quarantine: null, ...input }, log: { info: say, section: say, detail: say, warn: say, output: () => {}, call: () => {} }, signal: never }));
  return { done, lines };
}
const listed = (source: string): string[] => execFileSync('tar', ['-tf', source], { encoding: 'utf8' }).trim().split('\n').filter((name) => !name.endsWith('/'));

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-remote-'));
  mkdirSync(join(dir, 'srv'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '1', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], { stdio: 'ignore' });
  server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, reply) => {
    const login = request.headers.authorization ? Buffer.from(request.headers.authorization.replace('Basic ', ''), 'base64').toString() : null;
    const url = new URL(request.url!, 'https://localhost');
    asked.push({ url: url.pathname, login });
    if (login !== `ci:${TOKEN}` && !url.pathname.startsWith('/open')) return void reply.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    const cgi = spawn('git', ['http-backend'], { env: {
      ...process.env, GIT_PROJECT_ROOT: join(dir, 'srv'), GIT_HTTP_EXPORT_ALL: '1', PATH_INFO: url.pathname, QUERY_STRING: url.search.slice(1), REQUEST_METHOD: request.method!, CONTENT_TYPE: request.headers['content-type'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''), HTTP_CONTENT_ENCODING: String(request.headers['content-encoding'] ?? ''), GIT_CONFIG_COUNT: '2', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*', GIT_CONFIG_KEY_1: 'uploadpack.allowAnySHA1InWant', GIT_CONFIG_VALUE_1: 'true',
    } });
    request.pipe(cgi.stdin).on('error', () => {});
    const pieces: Buffer[] = [];
    cgi.stdout.on('data', (piece: Buffer) => { pieces.push(piece); });
    cgi.on('close', () => {
      const all = Buffer.concat(pieces);
      const at = all.indexOf('\r\n\r\n');
      const headers = Object.fromEntries(all.toString('latin1', 0, at).split('\r\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]));
      reply.writeHead(Number((headers['Status'] ?? '200').slice(0, 3)), headers).end(all.subarray(at + 4));
    });
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  silent = createTcp(() => {});
  await new Promise<void>((resolve) => { silent.listen(0, '127.0.0.1', resolve); });
  base = `https://localhost:${(server.address() as AddressInfo).port}`;
  process.env['GIT_SSL_CAINFO'] = cert;
  access = { logins: [], deployKey: null, knownHosts: [] };
  git = new GitDriver({ root: join(dir, 'root'), gitUser: null, access: async () => access });
});
afterAll(() => {
  delete process.env['GIT_SSL_CAINFO'];
  server.closeAllConnections();
  server.close();
  silent.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('another git server', () => {
  it('is asked with the login of its host, which stands nowhere else', async () => {
    const shop = repository('shop', { 'a.txt': 'a' });
    const url = `${base}/shop`;
    await expect(git.remoteRef(url, null, never)).rejects.toMatchObject({ problem: 'remote', hint: expect.stringContaining('berth git:auth localhost') });
    access = { ...access, logins: [{ host: 'elsewhere.example', user: 'x', token: 'other-token' }, { host: 'localhost', user: 'ci', token: TOKEN }] };
    let seen = '';
    const watch = setInterval(() => { execFile('ps', ['axww', '-o', 'args'], (_, out) => { seen += out; }); }, 20);
    try {
      expect(await git.remoteRef(url, null, never)).toEqual({ ref: 'HEAD', sha: shop.sha });
      const { done, lines } = clone({ sha: shop.sha, remote: { url, ref: 'HEAD' } }, 'a1.1.clone');
      const output = await done;
      expect(output.sha).toBe(shop.sha);
      expect(listed(output.source)).toEqual(['a.txt']);
      expect(lines[0]).toBe(`Fetching HEAD from ${url}`);
    } finally {
      clearInterval(watch);
    }
    expect(seen).toContain('git');
    expect(seen).not.toContain(TOKEN);
    expect(asked.map(({ login }) => login).filter((login) => login !== null && login !== `ci:${TOKEN}`)).toEqual([]);
    expect(readdirSync(join(dir, 'root', 'git', 'run'))).toEqual([]);
    expect(spawnSync('grep', ['-rlF', TOKEN, join(dir, 'root')], { encoding: 'utf8' }).stdout).toBe('');
  }, 30_000);

  it('gives branches, tags and commits, and a commit that was pushed over', async () => {
    const repo = repository('refs', { a: '1' });
    sh(repo.path, 'tag', '-a', '-m', 'one', 'v1');
    sh(repo.path, 'branch', 'feature/main');
    const second = commit(repo.path, { a: '2' }, 'Second');
    const url = `${base}/refs`;
    expect(await git.remoteRef(url, 'main', never)).toEqual({ ref: 'main', sha: second });
    expect(await git.remoteRef(url, 'v1', never)).toEqual({ ref: 'v1', sha: repo.sha });
    expect(await git.remoteRef(url, repo.sha, never)).toEqual({ ref: repo.sha, sha: repo.sha });
    for (const ref of ['nope', 'ain']) await expect(git.remoteRef(url, ref, never)).rejects.toMatchObject({ problem: 'remote', message: expect.stringContaining(`no branch and no tag ${ref}`) });
    for (const ref of ['-u', '--upload-pack=x', 'a..b', 'a b', 'x.lock', '']) await expect(git.remoteRef(url, ref, never), ref).rejects.toMatchObject({ problem: 'remote', message: expect.stringContaining('is not the name') });
    const { done } = clone({ sha: 'f'.repeat(40), remote: { url, ref: 'main' } }, 'a1.2.clone');
    await expect(done).rejects.toMatchObject({ code: 'clone.remote', fault: 'user', message: expect.stringMatching(/no commit ffffffffffff any more/) });
  });

  it('that is not there or says nothing is the machine\'s fault, in time', async () => {
    await expect(git.remoteRef('https://localhost:1/x', null, never)).rejects.toMatchObject({ problem: 'network' });
    const stop = AbortSignal.timeout(1500);
    await expect(git.remoteRef(`https://127.0.0.1:${(silent.address() as AddressInfo).port}/x`, null, stop)).rejects.toThrow();
    await expect(git.remoteRef(`${base}/missing`, null, never)).rejects.toMatchObject({ problem: 'remote' });
  });

  it('has submodules beside it, which get the same login; without one they are named', async () => {
    const lib = repository('team/lib', { 'lib.txt': 'lib' });
    const app = repository('team/app', { 'app.txt': 'app' });
    writeFileSync(join(app.path, '.gitmodules'), '[submodule "lib"]\n\tpath = vendor/lib\n\turl = ../lib\n');
    sh(app.path, 'add', '.gitmodules');
    sh(app.path, 'update-index', '--add', '--cacheinfo', `160000,${lib.sha},vendor/lib`);
    sh(app.path, 'commit', '-q', '-m', 'With lib');
    const sha = sh(app.path, 'rev-parse', 'HEAD');
    const url = `${base}/team/app`;
    const output = await clone({ sha, remote: { url, ref: 'main' } }, 'a1.3.clone').done;
    expect(listed(output.source)).toEqual(['.gitmodules', 'app.txt', 'vendor/lib/lib.txt']);
    access = { ...access, logins: [] };
    rmSync(join(dir, 'root', 'git', 'modules'), { recursive: true });
    const { done } = clone({ sha, remote: { url, ref: 'main' } }, 'a1.3.clone'); // the commit itself is here
    await expect(done).rejects.toMatchObject({ code: 'clone.submodule', fault: 'user', message: expect.stringMatching(/"vendor\/lib".*could not read Username|"vendor\/lib".*terminal prompts disabled/), hint: expect.stringContaining('git:auth localhost') });
    access = { ...access, logins: [{ host: 'localhost', user: 'ci', token: TOKEN }] };
  });

  it('has a folder that is the app, always the same archive of it', async () => {
    const mono = repository('mono', { 'apps/one/a.txt': '1', 'apps/two/b.txt': '2', 'README': 'x' });
    symlinkSync('apps/one', join(mono.path, 'link'));
    const sha = commit(mono.path, {}, 'Link');
    const remote = { url: `${base}/mono`, ref: 'main' };
    const one = await clone({ sha, remote, folder: './apps/one/' }, 'a1.4.clone').done;
    expect(listed(one.source)).toEqual(['a.txt']);
    expect(one.sha).toBe(sha);
    expect(await clone({ sha, remote, folder: 'apps/one' }, 'a1.4.clone').done).toEqual(one);
    for (const folder of ['nope', 'README', 'link', 'apps/one/../two', ':(top)apps']) await expect(clone({ sha, remote, folder }, 'a1.5.clone').done, folder).rejects.toMatchObject({ code: 'clone.folder', fault: 'user' });
  });

  it('keeps files with Git LFS: fetched where git-lfs is, a clear error where not', async () => {
    const content = 'a large file\n';
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:41f0ecbc5ad2f7a5ebc8f8fc2e0e9ea8b8bafe5ae4d5ee9cfa2fc3d86f4c5a11\nsize 13\n';
    const lfs = repository('lfs', { '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n', 'plain.txt': content, 'large.bin': pointer });
    const { done } = clone({ sha: lfs.sha, remote: { url: `${base}/lfs`, ref: 'main' } }, 'a1.6.clone');
    const error = await done.then(() => null, (thrown: unknown) => thrown as { code: string; message: string });
    const installed = (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, 'git-lfs')));
    // the server here has no LFS behind it: where git-lfs is, it says so
    expect(error).toMatchObject(installed ? { code: 'clone.remote', message: expect.stringContaining('what Git LFS keeps') } : { code: 'clone.lfs', message: expect.stringContaining('git-lfs is not installed') });
  });
});

it.each([
  ['../lib.git', 'https://h/team/app.git', 'https://h/team/lib.git'], ['../../o/lib', 'ssh://git@h:22/team/app', 'ssh://git@h:22/o/lib'], ['./sub', 'https://h/app', 'https://h/app/sub'], ['../lib', 'git@h:team/app.git', 'git@h:team/lib'],
  ['../../../x', 'https://h/app', '../../../x'], ['../lib', null, '../lib'], ['https://o/x', 'https://h/app', 'https://o/x'],
])('%s beside %s is %s', (url, from, is) => { expect(resolveSubmodule(url, from)).toBe(is); });
