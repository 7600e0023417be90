import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { baseImage, deployOf, deploysOf, eventsOf, left, pushing, settled } from './berth.kit.js';

/** A server is lost; its backup brings everything back on another one. */
let dir: string;
let old: Fixture | undefined;
let fresh: Fixture | null = null;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-backup-e2e-'));
  old = await startBerth();
});
afterAll(async () => {
  await old?.stop();
  await fresh?.stop();
  rmSync(dir, { recursive: true, force: true });
});

it('brings two apps back on an empty machine, from a backup taken while a deploy ran', async () => {
  if (!old) throw new Error('there is no fixture');
  const first = old;
  const app = await baseImage(first);
  const ok = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await first.cli(args);
    expect(code, `${args.join(' ')}: ${err}${out}`).toBe(0);
    return out;
  };
  await ok('apps:create', 'shop');
  await ok('config:set', 'shop', 'SECRET=planted-5a1e', 'GREETING=grüß dich');
  await ok('ps:scale', 'shop', 'web=2', 'worker=1');
  await ok('domains:add', 'shop', 'shop.example.test');
  await ok('plugin:install', join(import.meta.dirname, '../plugins/shell'));
  const shop = await first.repo(app({ version: 'shop', procfile: 'web: server\nworker: server -silent\n' }));
  const blog = await first.repo(app({ version: 'blog' }));
  for (const [name, repo] of [['shop', shop], ['blog', blog]] as const) {
    const { code, output } = await first.push(repo, name);
    expect(code, output).toBe(0);
  }

  // a release step that takes a while
  await first.commit(blog, app({ version: 'blog-2', args: '-delay 20000' }));
  const push = pushing(first, blog, 'blog');
  await push.says(/Releasing/);
  const plain = join(dir, 'plain.tar.gz');
  const file = join(dir, 'berth.tar.gz.age');
  const backing = performance.now();
  const made = await first.cli(['backup', file, '--logs', '--passphrase-stdin'], { stdin: 'correct horse\n' });
  expect(made.code, made.err).toBe(0);
  const backupMs = performance.now() - backing;
  expect((await deploysOf(first, 'blog'))[0]).toMatchObject({ status: 'running' });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(file).includes('planted-5a1e')).toBe(false);
  // the other way to take one: what the shell writes is what the server sent
  const piped = spawnSync(process.execPath, [join(process.env['BERTH_TEST_DIST'] ?? 'dist', 'cli.cjs'), 'backup', '-'], { env: first.env, maxBuffer: 64 << 20 });
  expect(piped.status, String(piped.stderr)).toBe(0);
  writeFileSync(plain, piped.stdout);
  expect((await first.cli(['restore', '--check', plain])).code).toBe(0);
  const refused = await first.cli(['restore', plain]);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('2 apps (blog, shop)') as string });
  expect((await first.http('shop')).status).toBe(200);
  push.kill();

  const stamps = await ok('stamp:show', 'shop');
  expect(stamps).toBe('deploy-1\n');

  // the machine is gone; base images come from a registry elsewhere
  const { instance } = first;
  await first.stopProcesses();
  const keep = await first.engine<{ Id: string }>('GET', `/images/${instance}-base:1/json`);
  await first.engine('POST', `/images/${instance}-base:1/tag?repo=${instance}-kept&tag=1`);
  const { containers, networks, images } = await first.owned();
  await Promise.all(containers.map((id) => first.engine('DELETE', `/containers/${id}?force=1&v=1`)));
  for (const id of networks) await first.engine('DELETE', `/networks/${id}`);
  for (const id of images) if (id !== keep.Id) await first.engine('DELETE', `/images/${id}?force=1`);
  expect((await left(first)).images).toEqual([]);

  fresh = await startBerth();
  const berth = fresh;
  const wrong = await berth.cli(['restore', file, '--passphrase-stdin'], { stdin: 'battery staple' });
  expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('passphrase does not open') as string });
  expect(await berth.json(['apps:list'])).toEqual([]);
  const restoring = performance.now();
  const { code, out, err } = await berth.cli(['restore', file, '--passphrase-stdin'], { stdin: 'correct horse', timeoutMs: 200_000 });
  const restoreMs = performance.now() - restoring;
  console.log(`${made.out}${out}${err}backup ${Math.round(backupMs)} ms, restore ${Math.round(restoreMs)} ms`);
  expect(code, err + out).toBe(0);

  const body = async (host: string, path = '/'): Promise<string> => (await berth.http(host, path)).body.trim();
  expect(await body('blog')).toMatch(/^v=blog release=v\d dyno=web.1$/);
  expect(await body('shop')).toMatch(/^v=shop release=v2 dyno=web.[12]$/);
  expect(await body('shop.example.test')).toMatch(/^v=shop/);
  expect(await body('shop', '/env/SECRET')).toBe('planted-5a1e');
  expect(await body('shop', '/env/GREETING')).toBe('grüß dich');
  const [report] = await berth.json<{ processes: { name: string; state: string }[] }[]>(['ps:report', 'shop']);
  expect(report!.processes.map(({ name, state }) => `${name} ${state}`)).toEqual(['web.1 running', 'web.2 running', 'worker.1 running']);
  // the plugin is enabled, with what it has kept, and took part in the deploys that brought the apps back
  const { enabled, data, user } = await berth.json<{ enabled: boolean; data: string; user: number }>(['plugin:info', 'stamp']);
  expect([enabled, statSync(data).uid, readdirSync(data).map((file) => statSync(join(data, file)).uid)]).toEqual([true, user, [user, user]]);
  expect((await berth.cli(['stamp:show', 'shop'])).out).toBe(`${stamps}deploy-2\n`);
  expect(await body('shop', '/env/STAMP')).toBe('deploy-2');
  const blogs = await settled(berth, 'blog');
  expect(blogs.map((d) => `${d.deploy} ${d.kind} ${d.status}`)).toEqual(['3 rebuild succeeded', '2 push cancelled', '1 push succeeded']);
  expect(await deployOf(berth, 'blog', 2)).toMatchObject({ status: 'cancelled' });
  expect((await eventsOf(berth, '--type', 'ContainersLost')).map((e) => e.data.meta.actor)).toEqual(['system:restore', 'system:restore']);
  expect((await berth.cli(['audit:verify'])).code).toBe(0);
  // the old machine's containers are not looked for, and its deploys' logs came along
  await berth.until('a sweep or two', async () => performance.now() - restoring > restoreMs + 20_000, 30_000);
  expect(await eventsOf(berth, '--type', 'RepairStarted')).toEqual([]);
  expect((await berth.cli(['doctor'])).out).toMatch(/drift +what runs is what the log says/);
  expect((await berth.cli(['deploys:follow', 'shop', '1'])).out).toContain('Application deployed');
  // and it goes on: whoever could push before can push, and whoever restored, too
  await berth.commit(shop, app({ version: 'shop-3', procfile: 'web: server\nworker: server -silent\n' }));
  const pushed = await berth.push(shop, 'shop');
  expect(pushed.code, pushed.output).toBe(0);
  expect(await body('shop')).toMatch(/^v=shop-3 release=v3/);
});
