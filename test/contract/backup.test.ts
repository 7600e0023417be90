import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { cpSync, createWriteStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { link, type ChainedEvent } from '../../src/events/chain.js';
import type { Step } from '../../src/events/types/deploy.events.js';
import { createApp } from '../../src/modules/apps/apps.commands.js';
import { decrypted, encrypting } from '../../src/modules/backup/age.js';
import { packFolder } from '../../src/drivers/archive/folder-tar.js';
import { packLive } from '../../src/drivers/archive/live-tar.js';
import { tarHead } from '../../src/drivers/archive/raw-tar.js';
import { settleFiles } from '../../src/drivers/plugin/plugin.files.js';
import { ArchiveWriter, partsOf, type Manifest, type PluginPart } from '../../src/modules/backup/archive.js';
import { check } from '../../src/modules/backup/check.js';
import { load } from '../../src/modules/backup/load.js';
import { lineOf } from '../../src/modules/backup/log-part.js';
import { stagePlugin } from '../../src/modules/backup/plugins.js';
import { isFull } from '../../src/modules/backup/stage.js';
import { CliDoor } from '../../src/modules/commands/door.js';
import { Core } from '../../src/modules/core.js';
import { NO_SOURCE } from '../../src/modules/deploys/deploys.service.js';
import { outputOf } from '../histories.js';
import { Cluster } from './event-store.harness.js';
import { openMachine } from './support/machine.js';

let dir: string;
let cluster: Cluster;
const open: Core[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-backup-'));
  cluster = await Cluster.create('fsync=off');
});
afterEach(async () => { for (const core of open.splice(0)) await core.close(); });
afterAll(async () => {
  await cluster.remove();
  rmSync(dir, { recursive: true, force: true });
});

/** A Berth without processes: the engine has the images and containers that are put into it. */
interface Machine { core: Core; images: Set<string>; containers: Map<string, string>; berth(argv: string[], stdin?: string): Promise<{ code: number; out: string; err: string; bytes: Buffer }> }
let machines = 0;
async function machine(store?: string): Promise<Machine> {
  machines += 1;
  const images = new Set<string>();
  const containers = new Map<string, string>();
  const core = await openMachine(join(dir, `host${machines}`), { images, containers, ...(store !== undefined && { store }) });
  open.push(core);
  const door = new CliDoor(core, (_, error) => { throw error; });
  return {
    core, images, containers,
    berth: async (argv, stdin) => {
      const [o, e]: string[][] = [[], []];
      const b: Buffer[] = [];
      const code = await door.run({
        argv, origin: 'local', actor: 'root@host', columns: 0, color: false, hasStdin: stdin !== undefined, signal: new AbortController().signal,
        write: (channel, content) => { if (typeof content !== 'string') b.push(content); else (channel === 'o' ? o : e)!.push(content); },
        drained: async () => {}, read: async () => Buffer.from(stdin ?? ''), answer: async () => '', pieces: async function* () {},
      });
      return { code, out: o!.join(''), err: e!.join(''), bytes: Buffer.concat(b) };
    },
  };
}

/** The workers' part of a deploy, all of it or up to a step. */
async function work({ core }: Machine, app: string, until: Step = 'route'): Promise<void> {
  for (;;) {
    const run = (await core.pipelines.state(app)).running;
    if (!run) return;
    const who = { actor: 'worker:w', command: `step:${run.step}` };
    await core.pipelines.handle(app, { type: 'Claim', job: run.job, worker: 'w', waitedMs: 1 }, who);
    if (run.step === until && until !== 'route') return;
    const output = outputOf(run.step, run.input, run.deploy, 1);
    await core.pipelines.handle(app, { type: 'Complete', job: run.job, attempt: 1, tookMs: 5, output: run.step === 'build' ? { ...output, imageId: `sha256:${app}.${run.deploy}` } as typeof output : output }, who);
  }
}

/** An app with a repository, a secret and a release that is live. */
async function app(at: Machine, name: string): Promise<{ id: string; sha: string; repo: string }> {
  const id = await createApp({ core: at.core, actor: 'root@host' }, name);
  const repo = await at.core.git!.init(id);
  const work_ = mkdtempSync(join(dir, 'work-'));
  const git = (...args: string[]): string => execFileSync('git', ['-C', work_, '-c', 'user.name=T', '-c', 'user.email=t@t', ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  git('init', '-q', '-b', 'main');
  writeFileSync(join(work_, 'Dockerfile'), 'FROM scratch\n');
  git('add', '-A');
  git('commit', '-q', '-m', `first of ${name}`);
  git('tag', '-a', 'v1', '-m', 'one');
  git('push', '-q', '--tags', repo, 'main');
  const sha = git('rev-parse', 'HEAD').trim();
  expect((await at.berth(['config:set', name, `SECRET=hush ${name}`])).code).toBe(0);
  await at.core.pipelines.handle(id, { type: 'Request', kind: 'push', by: 'key:me', source: { ...NO_SOURCE, sha, branch: 'main' } }, { actor: 'key:me', command: 'git push' });
  await work(at, id);
  expect((await at.core.pipelines.state(id)).live).not.toBeNull();
  return { id, sha, repo };
}

const chainOf = (core: Core): Promise<ChainedEvent[]> => core.store.readChain(0, 100_000);
const file = (): string => join(dir, `b${machines}-${readdirSync(dir).length}.tar.gz`);

describe('backup and restore', () => {
  it.each(['sqlite', 'postgres'] as const)('bring a Berth on SQLite back on an empty one on %s, and from there again', async (kind) => {
    const a = await machine();
    await a.berth(['domains:set-global', 'apps.example']);
    const blog = await app(a, 'blog');
    const shop = await app(a, 'shop');
    // a deploy under way, and one that waits behind it
    await a.core.pipelines.handle(blog.id, { type: 'Request', kind: 'push', by: 'key:me', source: { ...NO_SOURCE, sha: blog.sha, branch: 'main' } }, { actor: 'key:me', command: 'git push' });
    await work(a, blog.id, 'build');
    await a.core.pipelines.handle(blog.id, { type: 'Request', kind: 'scale', by: 'key:me', source: NO_SOURCE }, { actor: 'key:me', command: 'ps:scale' });
    const to = file();
    const made = await a.berth(['backup', to]);
    expect(made.code, made.err).toBe(0);
    expect(made.err).toContain('keys in the clear');
    expect(statSync(to).mode & 0o777).toBe(0o600);
    const was = (await chainOf(a.core)).slice(0, -1);
    expect((await chainOf(a.core)).at(-1)).toMatchObject({ type: 'BackupTaken', stream: 'backups' });

    const b = await machine(kind === 'sqlite' ? undefined : await cluster.database());
    await b.berth(['ssh-keys:add', 'mine'], execFileSync('bash', ['-c', 'd=$(mktemp -d); ssh-keygen -q -t ed25519 -N "" -f $d/k; cat $d/k.pub; rm -r $d'], { encoding: 'utf8' }));
    // states in memory of the log that goes away, in this process and in another
    await b.core.board.now();
    const other = await Core.open(b.core.config);
    open.push(other);
    await other.board.now();
    expect((await other.board.now()).keys).toHaveLength(1);

    const following = b.berth(['restore', to]);
    for (const { id } of [blog, shop]) {
      for (let i = 0; i < 200 && (await b.core.pipelines.state(id)).running?.by !== 'system:restore'; i += 1) await new Promise((done) => { setTimeout(done, 20); });
      await work(b, id);
    }
    const back = await following;
    expect(back.code, back.err + back.out).toBe(0);
    expect(back.out).toMatch(/blog v2 serves again[^]*Restored in/);

    const now = await chainOf(b.core);
    expect(now.slice(0, was.length)).toEqual(was);
    for (const [i, event] of now.entries()) expect(event.hash).toBe(link(now[i - 1]?.hash ?? '0'.repeat(64), event));
    for (const core of [b.core, other]) {
      const board = await core.board.now();
      expect(board.keys.map((key) => key.name)).toEqual(['mine']);
      expect(board.server.domains).toEqual(['apps.example']);
      expect(Object.keys(board.names).sort()).toEqual(['blog', 'shop']);
      expect(await core.env(blog.id)).toEqual({ SECRET: 'hush blog' });
    }
    const board = await b.core.board.now();
    expect(board.deploys[blog.id]!.map((d) => `${d.kind} ${d.status} ${d.by}`)).toEqual(['push succeeded key:me', 'push cancelled key:me', 'scale cancelled key:me', 'rebuild succeeded system:restore']);
    expect(board.deploys[blog.id]![3]!.source).toMatchObject({ sha: blog.sha });
    expect(now.filter((e) => e.type === 'ContainersLost').map((e) => (JSON.parse(e.meta) as { actor: string }).actor)).toEqual(['system:restore', 'system:restore']);
    // no row of the old machine came along
    expect(new Set((await b.core.store.openWork()).map((row) => row.id.split('.').slice(0, 2).join('.')))).toEqual(new Set([`${blog.id}.4`, `${shop.id}.2`]));
    const git = (...args: string[]): string => execFileSync('git', ['--git-dir', join(b.core.config.root, 'repos', `${blog.id}.git`), ...args], { encoding: 'utf8' }).trim();
    expect(git('rev-parse', 'main', 'v1^{commit}', 'HEAD')).toBe([blog.sha, blog.sha, blog.sha].join('\n'));
    git('fsck', '--strict');

    // what was restored can be backed up and restored again: from PostgreSQL into SQLite, too
    const again = file();
    expect((await b.berth(['backup', again])).code).toBe(0);
    const c = await machine();
    const detached = await c.berth(['restore', again, '--detach']);
    expect(detached.code, detached.err).toBe(0);
    expect(await c.core.env(shop.id)).toEqual({ SECRET: 'hush shop' });
    expect((await chainOf(c.core)).slice(0, now.length)).toEqual(now);
  });

  it('refuse a machine that has apps, and take their place when forced; what runs already is left alone', async () => {
    const a = await machine();
    const blog = await app(a, 'blog');
    for (const c of (await a.core.pipelines.state(blog.id)).live!.containers) a.containers.set(c.id, 'running');
    const to = file();
    expect((await a.berth(['backup', to])).code).toBe(0);
    expect(await a.berth(['backup', to])).toMatchObject({ code: 1, err: expect.stringContaining('is there already') as string });
    await app(a, 'later');
    const before = await chainOf(a.core);
    const refused = await a.berth(['restore', to]);
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('2 apps (blog, later)') as string });
    expect(await chainOf(a.core)).toEqual(before);
    expect((await a.berth(['--force', 'restore', to])).code).toBe(0);
    expect(Object.keys((await a.core.board.now()).names)).toEqual(['blog']);
    expect((await a.core.board.now()).deploys[blog.id]).toHaveLength(1);
    // on the same machine with the image, but without the containers: a repair is enough
    a.containers.clear();
    a.images.add((await a.core.board.now()).apps[blog.id]!.releases[0]!.spec.imageId);
    expect((await a.berth(['--force', 'restore', to, '--detach'])).code).toBe(0);
    expect((await a.core.board.now()).deploys[blog.id]!.map((d) => d.kind)).toEqual(['push', 'repair']);
  });

  it('say what could not be brought back, and how to go on', async () => {
    const a = await machine();
    const blog = await app(a, 'blog');
    const lost = await app(a, 'lost');
    const blind = await app(a, 'blind');
    rmSync(lost.repo, { recursive: true });
    await a.core.store.putKey(blind.id, Buffer.alloc(60, 7));
    const to = file();
    expect((await a.berth(['backup', to])).code).toBe(0);
    const b = await machine();
    const following = b.berth(['restore', to]);
    for (let i = 0; i < 200 && (await b.core.pipelines.state(blog.id)).running?.by !== 'system:restore'; i += 1) await new Promise((done) => { setTimeout(done, 20); });
    await b.core.pipelines.handle(blog.id, { type: 'Claim', job: `${blog.id}.2.clone`, worker: 'w', waitedMs: 1 }, { actor: 'w', command: 'c' });
    await b.core.pipelines.handle(blog.id, { type: 'Fail', job: `${blog.id}.2.clone`, attempt: 1, tookMs: 1, now: 1, failure: { code: 'clone.bad', message: 'it would not', hint: null, fault: 'user' } }, { actor: 'w', command: 'c' });
    const { code, err } = await following;
    expect(code).toBe(1);
    expect(err).toMatch(/blind does not come back by itself: its key cannot be read: its config vars SECRET are lost/);
    expect(err).toMatch(/lost does not come back by itself: its commit [0-9a-f]{12} is not in the backup/);
    expect(err).toMatch(/blog does not serve: it would not \(clone.bad\)/);
    expect(err).toMatch(new RegExp(`blog: look: berth trace blog 2; again: berth jobs:retry ${blog.id}.2.clone`));
    // nothing of the old machine is taken for drift, and the way out that was named works
    for (const row of Object.values((await b.core.board.now()).apps)) expect(row.live).toMatchObject({ release: 1, containers: [] });
    expect((await b.berth(['config:set', '--no-restart', 'blind', 'SECRET=new'])).code).toBe(0);
    expect((await b.berth(['ps:rebuild', 'blind', '--detach'])).code).toBe(0);
    expect(await b.core.env(blind.id)).toEqual({ SECRET: 'new' });
  });

  it('refuse a damaged archive with the name of what is broken, and change nothing', async () => {
    const a = await machine();
    const blog = await app(a, 'blog');
    const to = file();
    expect((await a.berth(['backup', to])).code).toBe(0);
    const b = await machine();
    const broken = async (bytes: Buffer): Promise<string> => {
      const path = file();
      writeFileSync(path, bytes);
      const before = readdirSync(b.core.config.root);
      const { code, err } = await b.berth(['restore', path]);
      expect(code).toBe(1);
      expect(await b.core.store.head()).toBe(0);
      expect(readdirSync(b.core.config.root)).toEqual(before);
      return err;
    };
    const whole = readFileSync(to);
    const tar = gunzipSync(whole);
    /** flips a byte of a file's content in the archive */
    const flipped = (name: string, offset: number): Buffer => {
      const changed = Buffer.from(tar);
      const at = changed.indexOf(name) + 512 + offset;
      changed[at] = changed[at]! ^ 1;
      return gzipSync(changed);
    };
    expect(await broken(flipped('log/events-000001.jsonl', 900))).toMatch(/log\/events-000001\.jsonl/);
    expect(await broken(flipped(`repositories/${blog.id}/pack-000001`, 20))).toContain(`repositories/${blog.id}/pack-000001 in the archive is not as it was written`);
    expect(await broken(flipped('keys/master.key', 5))).toContain('keys/master.key in the archive is not as it was written');
    expect(await broken(flipped('manifest.json', 12))).toMatch(/manifest\.json|not as it was written|newer Berth/);
    expect(await broken(whole.subarray(0, whole.length >> 1))).toMatch(/damaged or cut off in or behind (log|keys|repositories)\//);
    expect(await broken(gzipSync(tar.subarray(0, tar.indexOf('manifest.json'))))).toContain('ends before its manifest.json');
    expect(await broken(Buffer.from('hello'))).toContain('is not a backup of Berth');
    expect(await b.berth(['restore', '/nowhere/x'])).toMatchObject({ code: 1, err: expect.stringContaining('cannot be read') as string });
    expect((await b.berth(['restore', to, '--check'])).code).toBe(0);
    expect(await b.core.store.head()).toBe(0);
  });

  it('refuse what a newer Berth made, by its format or by its events, and what is another log than the manifest says', async () => {
    const a = await machine();
    await app(a, 'blog');
    const to = file();
    expect((await a.berth(['backup', to])).code).toBe(0);
    /** the archive again, sound in itself, with another log and manifest */
    const made = async (change: (manifest: Manifest) => object, more: { type: string; schema: number } | null = null): Promise<string> => {
      const path = file();
      const writer = await ArchiveWriter.open(createWriteStream(path), null, new AbortController().signal, 0);
      let head = { position: 0, hash: '' };
      for await (const { name, content } of partsOf(to, null)) {
        if (name === 'manifest.json') {
          const manifest = JSON.parse(content.toString()) as Manifest;
          await writer.end({ ...manifest, ...(more && { head }), ...change(manifest) });
        } else if (more && name.startsWith('log/')) {
          const last = JSON.parse(content.toString().trim().split('\n').at(-1)!) as ChainedEvent;
          const event = { position: last.position + 1, stream: 'future', version: 1, id: 'f', ...more, data: '{}', meta: '{}', at: 1, correlation: 'c' };
          const hash = link(last.hash, event);
          head = { position: event.position, hash };
          await writer.add(name, Buffer.concat([content, Buffer.from(lineOf({ ...event, hash }))]));
        } else await writer.add(name, content);
      }
      return path;
    };
    const b = await machine();
    const refused = async (path: string, why: RegExp): Promise<void> => {
      expect(await b.berth(['restore', path])).toMatchObject({ code: 1, err: expect.stringMatching(why) as string });
      expect(await b.core.store.head()).toBe(0);
      expect(readdirSync(b.core.config.root).filter((name) => name.startsWith('restoring-'))).toEqual([]);
    };
    expect((await b.berth(['restore', '--check', await made(() => ({}))])).code).toBe(0);
    await refused(await made(() => ({ version: 2, parts: undefined })), /newer Berth/);
    await refused(await made(() => ({}), { type: 'FromTheFuture', schema: 1 }), /newer Berth .*FromTheFuture/);
    await refused(await made(() => ({}), { type: 'AppCreated', schema: 99 }), /newer Berth .*AppCreated/);
    await refused(await made((manifest) => ({ head: { ...manifest.head, position: 3 } })), /The log in the archive ends at/);
    expect((await b.berth(['backup:list', '--format', 'json'])).out.trim()).toBe('[]');
    expect(JSON.parse((await a.berth(['backup:list', '--format', 'json'])).out)).toMatchObject([{ what: 'BackupTaken', by: 'root@host', data: { to, encrypted: false, sha256: createHash('sha256').update(readFileSync(to)).digest('hex') } }]);
  });

  it('encrypt the whole: a wrong passphrase, none, or a changed byte open nothing', async () => {
    const a = await machine();
    await app(a, 'blog');
    const to = file();
    const made = await a.berth(['backup', to, '--passphrase-stdin'], 'correct horse\n');
    expect(made.code, made.err).toBe(0);
    expect(made.err).not.toContain('clear');
    expect(readFileSync(to).subarray(0, 21).toString()).toBe('age-encryption.org/v1');
    const b = await machine();
    expect(await b.berth(['restore', to])).toMatchObject({ code: 1, err: expect.stringContaining('is encrypted') as string });
    expect(await b.berth(['restore', to, '--passphrase-stdin'], 'battery staple')).toMatchObject({ code: 1, err: expect.stringContaining('passphrase does not open') as string });
    const bytes = readFileSync(to);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(`${to}.bad`, bytes);
    expect(await b.berth(['restore', `${to}.bad`, '--passphrase-stdin'], 'correct horse')).toMatchObject({ code: 1, err: expect.stringContaining('altered') as string });
    expect(await b.core.store.head()).toBe(0);
    expect((await b.berth(['restore', to, '--passphrase-stdin', '--detach'], 'correct horse')).code).toBe(0);
  });

  it('leave no half file, and say when there is no room or no place', async () => {
    const a = await machine();
    const blog = await app(a, 'blog');
    const folder = mkdtempSync(join(dir, 'out-'));
    expect((await a.berth(['backup', 'here.tar.gz'])).err).toContain('absolute path');
    expect((await a.berth(['backup', join(folder, 'no/such/x')])).err).toContain('There is no folder');
    const [object] = readdirSync(join(blog.repo, 'objects')).filter((name) => name.length === 2);
    rmSync(join(blog.repo, 'objects', object!), { recursive: true });
    expect(await a.berth(['backup', join(folder, 'x.tar.gz')])).toMatchObject({ code: 1, err: expect.stringContaining('The repository of blog cannot be read') as string });
    expect(readdirSync(folder)).toEqual([]);
    expect((await a.berth(['backup', '/proc/x.tar.gz'])).code).toBe(1);
    expect((await a.berth(['backup', folder])).err).toContain('is a folder');
    // what began and failed is in the log, without the secrets of anybody
    const [failed] = (await a.core.store.readStream('backups')).filter((event) => event.type === 'BackupFailed');
    expect(failed).toMatchObject({ data: { to: join(folder, 'x.tar.gz'), code: 'backup.repository' } });
    expect((await a.berth(['doctor'])).out).toMatch(/backup/);
  });

  it('survive a disk that is full in the middle, on both sides', async (context) => {
    const small = (size: string): string => {
      const folder = mkdtempSync(join(dir, 'small-'));
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]).status !== 0) return context.skip('mounting a small tmpfs needs root');
      onTestFinished(() => { spawnSync('umount', ['-l', folder]); });
      return folder;
    };
    const part = randomBytes(1 << 20);
    for (const passphrase of [null, 'pass']) {
      const writer = await ArchiveWriter.open(createWriteStream(join(small('3m'), 'x')), passphrase, new AbortController().signal, 0);
      const fill = async (): Promise<void> => { for (let i = 0; i < 20; i += 1) await writer.add(`f${i}`, part); };
      await expect(fill()).rejects.toMatchObject({ code: 'ENOSPC' });
      writer.abort();
    }
    const a = await machine();
    const blog = await app(a, 'blog');
    const work_ = mkdtempSync(join(dir, 'work-'));
    execFileSync('git', ['clone', '-q', blog.repo, work_], { stdio: 'ignore' });
    writeFileSync(join(work_, 'big'), randomBytes(6 << 20));
    for (const args of [['add', '-A'], ['commit', '-q', '-m', 'big'], ['push', '-q', 'origin', 'main']]) execFileSync('git', ['-C', work_, '-c', 'user.name=T', '-c', 'user.email=t@t', ...args], { stdio: 'ignore' });
    const to = file();
    expect((await a.berth(['backup', to])).code).toBe(0);
    const root = small('4m');
    const core = await openMachine(root);
    open.push(core);
    const source = { path: to, passphrase: null, checked: await check(to, null), volumes: false };
    await expect(load(core, source, 'me', new AbortController().signal, { info: () => {}, detail: () => {}, warn: () => {} })).rejects.toSatisfy(isFull);
    expect(await core.store.head()).toBe(0);
    expect(readdirSync(root).filter((name) => name.startsWith('restoring-'))).toEqual([]);
    // the command does not even begin
    const door = new CliDoor(core, (_, error) => { throw error; });
    let err = '';
    expect(await door.run({ argv: ['restore', to], origin: 'local', actor: 'me', columns: 0, color: false, hasStdin: false, signal: new AbortController().signal, write: (channel, text) => { if (channel === 'e') err += text; }, drained: async () => {}, read: async () => Buffer.alloc(0), answer: async () => '', pieces: async function* () {} })).toBe(1);
    expect(err).toContain('There is not enough room');
  });

  it('hold plugins\' files, which must be the ones that the log names, and what they keep, without what leads out', async () => {
    const [from, stage] = [mkdtempSync(join(dir, 'plugin-')), mkdtempSync(join(dir, 'stage-'))];
    const { signal } = new AbortController();
    const collected = async (tar: AsyncIterable<Buffer>): Promise<Buffer> => Buffer.concat(await Readable.from(tar).toArray() as Buffer[]);
    const staged = (part: Partial<PluginPart>, file: string, tar: Buffer): Promise<void> => stagePlugin(stage, [{ name: 'hello', folder: `hello-${'0'.repeat(16)}`, code: true, data: true, ...part }], file, Readable.from([tar]), signal);
    mkdirSync(join(from, 'deep/er'), { recursive: true });
    mkdirSync(join(from, '.cache'));
    mkdirSync(join(from, '.git'));
    for (const [name, mode] of [['deep/er/run.sh', 0o755], ['größe', 0o600], ['.cache/x', 0o644], ['.git/HEAD', 0o644]] as const) writeFileSync(join(from, name), name, { mode });
    symlinkSync('../größe', join(from, 'deep/in'));
    symlinkSync('/etc/passwd', join(from, 'out'));
    symlinkSync('../../x', join(from, 'deep/over'));
    execFileSync('mkfifo', [join(from, 'pipe')]);
    const left: string[] = [];
    const data = await collected(packLive(from, 'data', ['.cache'], (name) => { left.push(name); }));
    expect(left).toEqual(['deep/over', 'out', 'pipe']);
    await staged({}, 'plugins/hello/data', data);
    const there = join(stage, 'plugins/data/hello');
    expect(readdirSync(there, { recursive: true }).toSorted()).toEqual(['.git', '.git/HEAD', 'deep', 'deep/er', 'deep/er/run.sh', 'deep/in', 'größe']);
    expect([readFileSync(join(there, 'deep/in'), 'utf8'), statSync(join(there, 'deep/er/run.sh')).mode & 0o777]).toEqual(['größe', 0o755]);
    expect(await collected(packLive(join(from, 'nothing'), 'data', [], () => {}))).toHaveLength(1024);
    await staged({ name: 'bare' }, 'plugins/bare/data', Buffer.alloc(1024));

    const code = mkdtempSync(join(dir, 'code-'));
    cpSync(new URL('../plugins/shell', import.meta.url).pathname, code, { recursive: true });
    const folder = `hello-${(await settleFiles(code)).slice(0, 16)}`;
    await staged({ folder }, 'plugins/hello/code', await collected(packFolder(code)));
    expect(readdirSync(join(stage, 'plugins/code', folder))).toContain('stamp.sh');
    writeFileSync(join(code, 'stamp.sh'), '#!/bin/sh\nrm -rf /\n');
    await expect(staged({ folder }, 'plugins/hello/code', await collected(packFolder(code)))).rejects.toThrow('does not hold the files that the log names');
    const evil = (name: string, linkname: string | null = null): Buffer => Buffer.concat([tarHead({ name, type: linkname === null ? 'file' : 'symlink', mode: 0o644, size: 0, mtime: 0, linkname }), Buffer.alloc(1024)]);
    for (const [tar, why] of [[evil('data/../../x'), 'leads out of it'], [evil('/etc/x'), 'absolute path'], [evil('data/x', '/etc/passwd'), 'leads out of it']] as const) await expect(staged({}, 'plugins/hello/data', tar)).rejects.toThrow(why);
    for (const [part, file] of [[{}, 'plugins/other/data'], [{}, 'plugins/hello/more'], [{}, 'plugins/hello/data/x'], [{ folder: '../../etc-0000000000000000' }, 'plugins/hello/code']] as const) await expect(staged(part, file, data)).rejects.toThrow('is not where it belongs');
  });

  it('write to standard output what restore takes', async () => {
    const a = await machine();
    const { id } = await app(a, 'blog');
    const { bytes, out, err, code } = await a.berth(['backup', '-']);
    expect({ code, out }).toEqual({ code: 0, out: '' });
    expect(err).toContain('can be checked');
    const path = file();
    writeFileSync(path, bytes);
    const names: string[] = [];
    for await (const part of partsOf(path, null)) names.push(part.name);
    expect(names).toEqual(['log/events-000001.jsonl', 'keys/apps.json', 'keys/master.key', 'keys/audit.key', `repositories/${id}/refs.json`, `repositories/${id}/pack-000001`, 'manifest.json']);
    expect((await a.berth(['restore', path, '--check'])).code).toBe(0);
  });

  it('have a log that audit:verify reads', async () => {
    const a = await machine();
    await app(a, 'blog');
    const to = file();
    expect((await a.berth(['backup', to])).code).toBe(0);
    for await (const part of partsOf(to, null)) {
      if (!part.name.startsWith('log/')) continue;
      const door = await machine();
      const { code, err, out } = await door.berth(['audit:verify', '--file', 'x'], part.content.toString());
      expect(code, err).toBe(0);
      expect(out).toContain('are as they were written');
    }
  });
});

describe('exchanging a log', () => {
  it.each(['sqlite', 'postgres'] as const)('on %s is all or nothing: somebody appended, or the new log breaks off', async (kind) => {
    const from = await machine();
    await app(from, 'blog');
    const log = await chainOf(from.core);
    const { core, berth } = await machine(kind === 'sqlite' ? undefined : await cluster.database());
    await berth(['trace:on']);
    await core.store.putKey('k', Buffer.from('kept'));
    const before = await chainOf(core);
    async function* pages(fails: boolean): AsyncGenerator<ChainedEvent[]> {
      yield log.slice(0, 5);
      if (fails) throw new Error('broke off');
      yield log.slice(5);
    }
    await expect(core.store.replace({ expectedHead: 0, pages: pages(false), keys: new Map() })).rejects.toThrow('is at version 1, expected 0');
    await expect(core.store.replace({ expectedHead: 1, pages: pages(true), keys: new Map() })).rejects.toThrow('broke off');
    expect(await chainOf(core)).toEqual(before);
    expect(Buffer.from((await core.store.key('k'))!).toString()).toBe('kept');
    await core.store.replace({ expectedHead: 1, pages: pages(false), keys: new Map([['new', Buffer.from('one')]]) });
    expect(await chainOf(core)).toEqual(log);
    expect(await core.store.key('k')).toBeNull();
    expect((await core.board.now()).server.trace).toBe(false);
    expect((await berth(['trace:on'])).code).toBe(0);
    expect((await chainOf(core)).at(-1)!.hash).toBe(link(log.at(-1)!.hash, (await chainOf(core)).at(-1)!));
  });
});

describe('age', () => {
  const through = async (plain: Buffer, passphrase: string): Promise<Buffer> => {
    const cipher = await encrypting(passphrase, 10);
    cipher.end(plain);
    const pieces: Buffer[] = [];
    for await (const piece of cipher as AsyncIterable<Buffer>) pieces.push(piece);
    return Buffer.concat(pieces);
  };
  const back = async (bytes: Buffer, passphrase: string, piece = 1000): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    const cut = Array.from({ length: Math.ceil(bytes.length / piece) }, (_, i) => bytes.subarray(i * piece, (i + 1) * piece));
    for await (const plain of decrypted(Readable.from(cut), passphrase)) pieces.push(plain);
    return Buffer.concat(pieces);
  };

  it.each([0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])('gives %s bytes back, however they come in', async (size) => {
    const plain = Buffer.alloc(size, 'berth');
    const sealed = await through(plain, 'pass');
    for (const piece of [7_777, 65_552, 1 << 20]) expect((await back(sealed, 'pass', piece)).equals(plain)).toBe(true);
  });

  it('notices a chunk that is missing at the end, and chunks that changed places', async () => {
    const sealed = await through(Buffer.alloc(196_608, 'x'), 'pass');
    const chunk = 65_552;
    const body = sealed.length - 3 * chunk;
    await expect(back(sealed.subarray(0, sealed.length - chunk), 'pass')).rejects.toThrow('cut off');
    const swapped = Buffer.concat([sealed.subarray(0, body), sealed.subarray(body + chunk, body + 2 * chunk), sealed.subarray(body, body + chunk), sealed.subarray(body + 2 * chunk)]);
    await expect(back(swapped, 'pass')).rejects.toThrow('altered');
    await expect(back(sealed, 'other')).rejects.toThrow('passphrase');
  });

  it('opens what age 1.1.1 made', async () => {
    const made = 'YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCAvYTBsUUl6WElpdEErdnErNWo1NG1BIDE4CitGQWtDS2M2bjBaVzJUTk4zSXVxSHl0cDRybVRlbmc1dTNmUmVvUGhhTlkKLS0tIGtwQytVY2FSMm53aGY3c3dMVzE4cytVcGZLZUVYMUNaN2RKK2xmN0FXR0EKk9aAmnSgJooaBSSUe3H7byoL5ErAUBxiZFAFQmAhVRsFeKq+E0GqKd2ZeHrMlA==';
    expect((await back(Buffer.from(made, 'base64'), 'pass')).toString()).toBe('hello from age');
  });

  it('has the header that the format says', async () => {
    const sealed = await through(Buffer.from('hello'), 'pass');
    expect(sealed.toString('latin1')).toMatch(/^age-encryption\.org\/v1\n-> scrypt [A-Za-z0-9+/]{22} 10\n[A-Za-z0-9+/]{43}\n--- [A-Za-z0-9+/]{43}\n/);
  });
});
