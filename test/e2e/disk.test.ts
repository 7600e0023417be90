import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, Live, Poller, baseImage, deploysOf, eventsOf, pushing } from './berth.kit.js';
import { SmallDisk } from './small-disk.js';

/** Disks that fill while Berth works: its own, and the engine's. Both are small and the test's alone. */
const MB = 1024 ** 2;
let berth: Fixture;
let data: SmallDisk;
let images: SmallDisk;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let token: string;
let root: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), `berth-t${process.env['BERTH_TEST_RUN'] ?? 'hand'}disk-`));
  data = new SmallDisk(join(root, 'd'), 1500, join(root, 'data.img'));
  images = new SmallDisk(join(root, 'd/engine'), 6000, join(root, 'images.img'));
  // what a user has is on no disk of the server's
  mkdirSync(join(root, 'work'));
  symlinkSync(join(root, 'work'), join(root, 'd/work'));
  berth = await startBerth({ root: join(root, 'd'), engine: { liveRestore: true } });
  app = await baseImage(berth);
  dir = await berth.repo(app({ version: '1' }));
  for (const what of ['core', 'pack']) await berth.git(dir, 'config', `${what}.compression`, '0');
  const pushed = await berth.push(dir, 'full');
  expect(pushed.code, pushed.output).toBe(0);
  token = (await berth.cli(['tokens:create', 'disk'])).out.match(/berth_\S+/)![0];
});
afterAll(async () => {
  data?.empty();
  images?.empty();
  await berth?.stop();
  images?.remove();
  data?.remove();
  rmSync(root, { recursive: true, force: true });
});

afterEach(() => {
  data.empty();
  images.empty();
});

/** The API listens in the engine's network namespace. */
async function post(path: string, body: object): Promise<{ status: number; body: { code: string; message: string; hint: string } }> {
  const words = ['-s', '--max-time', '20', '-w', '\n%{http_code}', '-X', 'POST', '-H', `authorization: Bearer ${token}`, '-H', 'content-type: application/json', '-d', JSON.stringify(body), `http://127.0.0.1:${berth.apiPort}/v1${path}`];
  const { file, args } = berth.ownEngine!.inside('curl', words);
  const { out } = await run(file, args);
  const [text = '', status = ''] = out.split('\n');
  return { status: Number(status), body: JSON.parse(text) as { code: string; message: string; hint: string } };
}
const line = async (check: string): Promise<string> => (await berth.cli(['doctor'])).out.split('\n').find((text) => text.includes(check)) ?? '';
const build = (run: string): AppFiles => ({ Dockerfile: (app()['Dockerfile'] as string).replace('COPY', `RUN ${run}\nCOPY`) });
const types = async (deploy: number): Promise<string[]> => (await eventsOf(berth, 'full')).filter((e) => e.data.data['deploy'] === deploy).map((e) => e.data.type);

describe('Berth\'s own disk', () => {
  it('fills during a build: nothing is lost, all is said, and it goes on by itself', async () => {
    const poller = new Poller(berth, 'full', false);
    await berth.commit(dir, { version: '2\n', ...build('sleep 4') });
    const push = pushing(berth, dir, 'full');
    await push.says(/\[2\/3\] RUN sleep/);
    const events = (await eventsOf(berth)).length;
    data.fill();
    await push.says(/ ! {5}The disk of .* on the server is full \(.* free\): the deploy goes on by itself when there is room/);

    const doctor = await berth.cli(['doctor']);
    expect([doctor.code, doctor.out]).toEqual([1, expect.stringMatching(/^✖ {2}disk \(log\) +\d.* free at .*\n +→ new deploys are refused/m)]);
    // changes are refused whole, in every door
    const set = await berth.cli(['config:set', 'full', 'A=1']);
    expect([set.code, set.err]).toEqual([1, expect.stringMatching(/The event log cannot be written: no room left for .*\n !     make room on the disk, then try again: nothing was changed/)]);
    const over = await post('/apps', { app: 'other' });
    expect([over.status, over.body.code]).toEqual([507, 'store.disk-full']);
    const more = await berth.push(await berth.repo(app()), 'other');
    expect([more.code !== 0, more.output]).toEqual([true, expect.stringMatching(/The server's disk is nearly full: .* Nothing new is deployed until there is room/)]);
    const created = await post('/apps/full/deploys', {});
    expect([created.status, created.body.code]).toEqual([507, 'disk.full']);
    // what only looks goes on
    expect((await berth.json<string[]>(['apps:list']))).toContain('full');
    expect(await eventsOf(berth)).toHaveLength(events);
    expect(await poller.stop().then(({ failures }) => failures)).toEqual([]);

    // parts that die meanwhile come back, and none of them dies again and again
    const names = ['api', 'build-1', 'release-1', 'redis', 'router'];
    const before = names.map((name) => berth.program(name).starts);
    for (const name of names) berth.kill(name);
    await berth.until('all of them', async () => names.every((name, i) => berth.program(name).starts > before[i]! && berth.program(name).alive), 20_000);
    await sleep(4000); // the time in which a loop would show
    expect(names.map((name, i) => [name, berth.program(name).starts - before[i]!])).toEqual(names.map((name) => [name, 1]));
    expect((await berth.http('full')).status).toBe(200);

    data.empty();
    expect(await push.ended, push.output).toBe(0);
    await berth.until('the new version', async () => (await berth.http('full')).body.includes('v=2'));
    const told = await types(2);
    for (const type of ['SourceCloned', 'ImageBuilt', 'ReleaseCreated', 'ContainersStarted', 'RouteSwitched', 'DeploySucceeded']) expect(told.filter((each) => each === type), type).toHaveLength(1);
    expect((await berth.cli(['audit:verify'])).code).toBe(0);
    expect(await line('disk (log)')).toMatch(/^[✔!]/);
    expect((await berth.cli(['config:set', '--no-restart', 'full', 'A=1'])).code).toBe(0);
  });

  it('fills during a clone: the step is tried again until there is room', async () => {
    await berth.commit(dir, { version: '3\n', big: randomBytes(12 * MB), '.dockerignore': 'big\n', ...build('true') });
    await berth.program('clone-1').down();
    const push = pushing(berth, dir, 'full');
    await push.says(/-----> Deploying full/);
    data.fill(8 * MB);
    berth.program('clone-1').start();
    await push.says(/ ! {5}no space for the source on the disk of/);
    data.empty();
    expect(await push.ended, push.output).toBe(0);
    expect((await deploysOf(berth, 'full'))[0]!.steps[0]).toMatchObject({ step: 'clone', attempt: 2, failure: null });
    expect((await berth.http('full')).body).toContain('v=3');
    expect(readdirSync(join(berth.root, 'sources')).filter((name) => name.includes('.part'))).toEqual([]);
  });

  it('fills while git receives a push: it is refused, and the repository is as it was', async () => {
    const held = join(root, 'held-ssh');
    const go = join(root, 'go');
    writeFileSync(held, `#!/bin/bash\nexec ssh "$@" < <(while [ ! -e ${go} ]; do sleep 0.05; done; exec cat)\n`);
    chmodSync(held, 0o755);
    await berth.commit(dir, { version: '4\n', big: randomBytes(12 * MB) });
    const env = berth.gitEnv();
    const push = new Live('git', ['-C', dir, 'push', berth.url('full'), 'main'], { ...env, GIT_TRACE: '1', GIT_SSH_COMMAND: env.GIT_SSH_COMMAND!.replace(/^'ssh'/, `'${held}'`) });
    await push.says(/pack-objects/); // the server has let it in
    data.fill(4 * MB);
    writeFileSync(go, '');
    expect(await push.ended).not.toBe(0);
    expect(push.output).toMatch(/No space left on device/);
    data.empty();
    const { id } = await berth.json<{ id: string }>(['apps:info', 'full']);
    const repo = join(berth.root, 'repos', `${id}.git`);
    expect(readdirSync(join(repo, 'objects')).filter((name) => /tmp|incoming/.test(name))).toEqual([]);
    await berth.git(repo, 'fsck', '--no-dangling');
    const again = await berth.push(dir, 'full');
    expect(again.code, again.output).toBe(0);
  });
});

describe('the engine\'s disk', () => {
  it('fills during a build: not the app\'s fault, tried again, and built when there is room', async () => {
    images.fill(2300 * MB);
    await berth.commit(dir, { version: '5\n', big: null, ...build('busybox fallocate -l 3221225472 /f && rm /f || { echo no; sleep 1; exit 1; }') });
    const push = pushing(berth, dir, 'full');
    await push.says(/ ! {5}the disk filled up while building/);
    images.empty();
    expect(await push.ended, push.output).toBe(0);
    expect((await deploysOf(berth, 'full'))[0]!.steps.find((step) => step.step === 'build')!.attempt).toBeGreaterThan(1);
    expect((await berth.http('full')).body).toContain('v=5');
  });

  it('is full when containers are to start: the same', async () => {
    images.fill();
    expect(await line('disk (images)')).toMatch(/^✖ .* free at .*engine/);
    const refused = await berth.push(dir, 'full', 'HEAD:refs/heads/main', { args: ['--force'] });
    expect([refused.code !== 0, refused.output]).toEqual([true, expect.stringMatching(/The server's disk is nearly full: .*engine/)]);
    const last = (await deploysOf(berth, 'full'))[0]!.deploy;
    const done = berth.cli(['ps:scale', 'full', 'web=2']);
    await berth.until('a failed try', async () => (await deploysOf(berth, 'full')).some((row) => row.deploy > last && row.steps.some((step) => step.failure !== null)), 20_000);
    images.empty();
    const { code, out, err } = await done;
    expect([code, out + err]).toEqual([0, expect.stringMatching(/no space left on device[^]*Application deployed/)]);
    expect((await berth.http('full')).status).toBe(200);
  });
});
