import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import type { ServerResponse } from 'node:http';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encode, type GitOpenRequest, type GitPushRequest, type ServerFrame } from '../../src/cli/protocol.js';
import { GitDriver } from '../../src/drivers/git/git.driver.js';
import { FakeApi, type Talk } from './support/fake-api.js';
import { install } from './support/install.js';
import { Sshd } from './support/sshd.js';

const IDENTITY = { GIT_AUTHOR_NAME: 'Ada', GIT_AUTHOR_EMAIL: 'a@b.c', GIT_COMMITTER_NAME: 'Ada', GIT_COMMITTER_EMAIL: 'a@b.c', GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
let dir: string;
let node: string;
let dist: string;
let api: FakeApi;
let sshd: Sshd;
let git: GitDriver;
let repo: string;
let work: string;

interface Ran { readonly code: number | null; readonly out: string; readonly err: string }

function start(program: string, args: readonly string[], options: { input?: string; env?: NodeJS.ProcessEnv; cwd?: string } = {}): { child: ChildProcess; done: Promise<Ran> } {
  const child = spawn(program, args, { stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'], env: { ...process.env, ...IDENTITY, ...options.env }, cwd: options.cwd ?? dir });
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  const done = new Promise<Ran>((resolve) => {
    let out = '';
    let err = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => { out += text; });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { err += text; });
    child.on('close', (code) => { resolve({ code, out, err }); });
  });
  return { child, done };
}
const ssh = (command: string[], input?: string): Promise<Ran> => start('ssh', [...sshd.options, sshd.host, ...command], input === undefined ? {} : { input }).done;
const push = (...refs: string[]) => start('git', ['push', `ssh://${sshd.host}:${sshd.port}/blog`, ...refs], { cwd: work, env: { GIT_SSH_COMMAND: sshd.gitSsh } });
const frames = (reply: ServerResponse, ...given: ServerFrame[]): void => { for (const frame of given) reply.write(encode(frame)); };
const head = (): string => execFileSync('git', ['rev-parse', 'HEAD'], { cwd: work, encoding: 'utf8' }).trim();
const deployed = (): string => { try { return execFileSync('git', ['rev-parse', 'refs/heads/main'], { cwd: repo, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim(); } catch { return ''; } };
const pause = (ms: number): Promise<void> => new Promise((resolve) => { setTimeout(resolve, ms); });
let counter = 0;
function commit(): void {
  writeFileSync(join(work, 'app.py'), `print(${(counter += 1)})\n`);
  execFileSync('git', ['add', '-A'], { cwd: work });
  execFileSync('git', ['commit', '-q', '-m', `Change ${counter}`], { cwd: work, env: { ...process.env, ...IDENTITY } });
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-shell-'));
  ({ node, dist } = install(join(dir, 'install')));
  api = new FakeApi(join(dir, 'ssh.sock'));
  await api.listen();
  sshd = await Sshd.start(join(dir, 'sshd'), `exec env BERTH_RUN=${dir} ${node} ${join(dist, 'shell.cjs')} --key admin`);
  git = new GitDriver({ root: join(dir, 'root'), gitUser: null });
  repo = join(dir, 'repos', 'a1.git');
  await git.initBare(repo);
  work = join(dir, 'work');
  mkdirSync(work);
  execFileSync('git', ['init', '-q', '-b', 'main'], { cwd: work });
});
afterEach(() => { api.script = {}; });
afterAll(async () => {
  sshd?.stop();
  await api?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('a command over SSH', () => {
  it('reaches the API as words, with the key\'s name, and its outputs and code come back', async () => {
    let talk: Talk | null = null;
    api.script.cli = (given) => {
      talk = given;
      given.send({ o: 'blog\n' }, { e: 'careful\n' }, { exit: 20 });
    };
    expect(await ssh(['apps:list', "--x='a  b'", '"$(touch /tmp/berth-owned)"', '`id`;', '*'])).toEqual({ code: 20, out: 'blog\n', err: 'careful\n' });
    expect((talk as Talk | null)?.hello).toMatchObject({ argv: ['apps:list', '--x=a  b', '$(touch /tmp/berth-owned)', '`id`;', '*'], as: 'key:admin' });
    expect(() => readFileSync('/tmp/berth-owned')).toThrow();
  });

  it('gets stdin through, and no file of the server', async () => {
    const seen: unknown[] = [];
    api.script.cli = async (talk) => {
      talk.send({ need: 'stdin' });
      let text = '';
      seen.push(await talk.all((piece) => { text += piece.toString(); }), text.length);
      talk.send({ need: 'file', path: '/etc/shadow' });
      seen.push(await talk.all(() => { throw new Error('a file was read'); }));
      talk.send({ exit: 0 });
    };
    expect((await ssh(['config:import', 'blog'], 'k=v\n'.repeat(50_000))).code).toBe(0);
    expect(seen).toEqual([null, 200_000, 'files are read on your side: pipe it in']);
  });

  it.each([
    ['apps:list ; rm -rf /', 'do not go through a shell'], ['apps:list && reboot', 'do not go through a shell'], ["config:set blog A='x", 'without its partner'], ['apps:list\nreboot', 'line break'],
    ['git-upload-archive blog', 'git archive --remote is not offered'], ['git-receive-pack', 'takes one repository'],
  ])('%j is refused before it goes anywhere', async (command, message) => {
    const ran = await ssh([command]);
    expect(ran.code).toBe(1);
    expect(ran.err).toContain(` !     `);
    expect(ran.err).toContain(message);
  });

  it('of 120 kB arrives; one of 1 MB does not, and nothing else happens', async () => {
    let length = 0;
    api.script.cli = (talk) => {
      length = talk.hello.argv[1]?.length ?? 0;
      talk.send({ exit: 0 });
    };
    // by the environment, as sshd gives it: the ssh client itself cannot start with longer arguments
    const env = (size: number): NodeJS.ProcessEnv => ({ BERTH_RUN: dir, SSH_ORIGINAL_COMMAND: `x ${'y'.repeat(size)}` });
    expect((await start(node, [join(dist, 'shell.cjs'), '--key', 'admin'], { env: env(120_000) }).done).code).toBe(0);
    expect(length).toBe(120_000);
    length = 0;
    const client = start('ssh', [...sshd.options, sshd.host, ...Array.from({ length: 10 }, () => 'z'.repeat(100_000))]);
    expect((await client.done).code).not.toBe(0);
    expect(length).toBe(0);
  });

  it('whose API dies in the middle of what it writes, while nobody reads that, is no success and stays nowhere', async () => {
    let pid = 0;
    api.script.cli = async (talk) => {
      pid = Number(execFileSync('pgrep', ['-f', `${join(dist, 'shell.cjs')} --key admin`], { encoding: 'utf8' }).trim().split('\n').at(-1));
      let full = false;
      void talk.waits.then(() => { full = true; });
      while (!full && !talk.closed) if (!talk.bytes(Buffer.alloc(64 * 1024))) await Promise.race([new Promise((resolve) => talk.reply.once('drain', resolve)), talk.gone, talk.waits]);
      talk.reply.destroy();
    };
    const client = spawn('ssh', [...sshd.options, sshd.host, 'db:export'], { stdio: ['ignore', 'pipe', 'pipe'], cwd: dir });
    let err = '';
    client.stderr.on('data', (text: Buffer) => { err += text.toString(); });
    while (pid === 0 || existsSync(`/proc/${pid}`)) await pause(50);
    client.stdout.resume();
    expect([await new Promise((resolve) => { client.on('close', resolve); }), err]).toEqual([1, ' !     the connection to Berth ended before the command did\n']);
  });

  it('that is none says who you are and how to push', async () => {
    const ran = await ssh([]);
    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(/Hello, admin\./);
    expect(ran.out).toContain('git push berth main');
  });

  it('says that the API is not running', async () => {
    const ran = await start(node, [join(dist, 'shell.cjs'), '--key', 'admin'], { env: { BERTH_RUN: '/no/such', SSH_ORIGINAL_COMMAND: 'apps:list' } }).done;
    expect(ran).toMatchObject({ code: 1, err: expect.stringContaining('is not running (/no/such/ssh.sock)') });
  });

  it('that follows ends when its client is killed, also with stdin closed and nothing to write', async () => {
    let talk: Talk | null = null;
    const begun = new Promise<void>((resolve) => {
      api.script.cli = (given) => {
        talk = given;
        given.send({ o: 'first\n' });
        resolve();
      };
    });
    const { child, done } = start('ssh', [...sshd.options, sshd.host, 'logs', 'blog', '-t']);
    await begun;
    await pause(1500);
    expect((talk as Talk | null)?.closed).toBe(false); // stdin has ended long ago
    child.kill('SIGKILL');
    await done;
    await Promise.race([(talk as Talk | null)?.gone, pause(5000).then(() => { throw new Error('still following'); })]);
  });
});

describe('a push over SSH', () => {
  const open = (request: GitOpenRequest) => ({ repo, app: 'a1', name: request.repo, config: ['receive.denyDeletes=true'] });

  it('streams the deploy\'s lines and moves the ref when it is a success', async () => {
    commit();
    let opened: GitOpenRequest | null = null;
    let pushed: GitPushRequest | null = null;
    let subject = '';
    api.script.open = (request) => {
      opened = request;
      return open(request);
    };
    api.script.push = async (request, reply) => {
      pushed = request;
      subject = (await git.commitInfo({ repo, sha: request.updates[0]?.new ?? '', quarantine: request.quarantine })).subject;
      frames(reply, { o: '-----> Cloning blog\n' });
      reply.write('\n');
      frames(reply, { e: ' !     a warning\n' }, { o: '=====> Application deployed:\n' }, { exit: 0 });
      reply.end();
    };
    const ran = await push('main').done;
    expect(ran.code).toBe(0);
    expect(ran.err).toMatch(/remote: -----> Cloning blog *\n/);
    expect(ran.err).toMatch(/remote: {2}! {5}a warning/);
    expect(opened).toEqual({ service: 'git-receive-pack', repo: 'blog', actor: 'key:admin' });
    expect(pushed).toMatchObject({ app: 'a1', name: 'blog', actor: 'key:admin', after: 0, updates: [{ old: '0'.repeat(40), new: head(), ref: 'refs/heads/main' }], push: expect.stringMatching(/^[0-9a-f-]{36}$/) });
    expect(subject).toBe('Change 1');
    expect(deployed()).toBe(head());
  });

  it('is refused when the deploy fails, and the ref stays', async () => {
    const before = deployed();
    commit();
    api.script.open = open;
    api.script.push = (_request, reply) => {
      frames(reply, { e: ' !     build failed\n' }, { exit: 1 });
      reply.end();
    };
    const ran = await push('main').done;
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('pre-receive hook declined');
    expect(deployed()).toBe(before);
  });

  it('goes on where it was when the API restarts in the middle', async () => {
    api.script.open = open;
    const seen: [number, string][] = [];
    api.script.push = async (request, reply) => {
      seen.push([request.after, request.push]);
      if (seen.length === 1) {
        frames(reply, { o: 'one\n' }, { e: 'two\n' });
        reply.write('{"o":"cut');
        await pause(100);
        await api.close();
        await pause(700);
        await api.listen();
      } else {
        frames(reply, { o: 'three\n' }, { exit: 0 });
        reply.end();
      }
    };
    const ran = await push('main').done;
    expect(ran.code).toBe(0);
    expect(ran.err.split('\n').filter((line) => line.startsWith('remote: ')).map((line) => line.slice(8).trim())).toEqual(['one', 'two', 'three']);
    expect(seen.map(([after]) => after)).toEqual([0, 2]);
    expect(seen[0]?.[1]).toBe(seen[1]?.[1]);
    expect(deployed()).toBe(head());
  });

  it('goes to its end when the pusher is killed', async () => {
    commit();
    api.script.open = open;
    let stillThere = false;
    let kill = (): void => {};
    const finished = new Promise<void>((resolve) => {
      api.script.push = async (request, reply) => {
        let closed = false;
        reply.on('close', () => { closed = true; });
        frames(reply, { o: 'one\n' });
        await pause(200);
        kill();
        for (let line = 0; line < 30; line += 1) {
          await pause(50);
          frames(reply, { o: `line ${line} ${'x'.repeat(2000)}\n` });
        }
        stillThere = !closed && await git.exists({ repo, sha: request.updates[0]?.new ?? '', quarantine: request.quarantine });
        frames(reply, { exit: 0 });
        reply.end();
        resolve();
      };
    });
    const { child, done } = push('main');
    kill = () => { child.kill('SIGKILL'); };
    await finished;
    await done;
    expect(stillThere).toBe(true);
    for (let tries = 0; tries < 40 && deployed() !== head(); tries += 1) await pause(50);
    expect(deployed()).toBe(head());
  });

  it('gives up when the API stays away, and says how to follow', async () => {
    const env = { BERTH_RUN: '/no/such', BERTH_APP: 'a1', BERTH_NAME: 'blog', BERTH_ACTOR: 'key:admin', BERTH_HOOK_PATIENCE_MS: '700' };
    const ran = await start(join(dir, 'install', 'deploy', 'git-hooks', 'pre-receive'), [], { env, input: `${'0'.repeat(40)} ${'1'.repeat(40)} refs/heads/main\n` }).done;
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('berth deploys:follow blog');
  });

  it('to the repository by another way is refused', async () => {
    const ran = await start(join(dir, 'install', 'deploy', 'git-hooks', 'pre-receive'), [], { env: { BERTH_APP: '' }, input: '' }).done;
    expect(ran).toMatchObject({ code: 1, err: expect.stringContaining('only through Berth') });
  });

  it('shows the API\'s refusal of the app', async () => {
    api.script.open = () => ({ status: 404, body: { message: 'App blog does not exist', hint: 'berth apps:create blog' } });
    const ran = await push('main').done;
    expect(ran.code).toBe(128);
    expect(ran.err).toContain(' !     App blog does not exist\n       berth apps:create blog\n');
  });

  it('is under the settings that the API gives', async () => {
    api.script.open = open;
    api.script.push = (_request, reply) => { frames(reply, { exit: 0 }); reply.end(); };
    const ran = await push(':refs/heads/main').done;
    expect(ran.code).toBe(1);
    expect(ran.err).toContain('deletion prohibited');
  });

  it('has its counterpart: the app can be cloned', async () => {
    api.script.open = open;
    const ran = await start('git', ['clone', '-q', `${sshd.host}:blog.git`, join(dir, 'cloned')], { env: { GIT_SSH_COMMAND: sshd.gitSsh } }).done;
    expect(ran).toMatchObject({ code: 0 });
    expect(execFileSync('git', ['rev-parse', 'HEAD'], { cwd: join(dir, 'cloned'), encoding: 'utf8' }).trim()).toBe(deployed());
  });
});
