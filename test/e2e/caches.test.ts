import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { CACHE_VOLUME } from '../../src/drivers/engine/labels.js';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, baseImage } from './berth.kit.js';
import { random, request, tarOf } from './engine.kit.js';

/** What builds cache: counted, capped, purged, and never another's. Images of services that nobody uses. */
const MB = 1024 ** 2;
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let engine: DockerDriver;
const strange = `strange${random()}`;
/** images of services, as they are called; the last one is somebody's */
const planted = ['old', 'used', 'young', 'mine'].map((what) => `berth/service-${strange}${what}:1-${what === 'mine' ? 'of-my-own' : '0a1b2c3d'}`);
const docker = async (...args: string[]): Promise<string> => {
  const { code, out, err } = await run('/usr/bin/docker', args);
  if (code !== 0) throw new Error(err);
  return out.trim();
};

beforeAll(async () => {
  berth = await startBerth({ env: { BERTH_CACHE_APP: String(5 * MB) } });
  app = await baseImage(berth);
  engine = new DockerDriver(berth.env['BERTH_DOCKER']!);
});
afterAll(async () => {
  await run('/usr/bin/docker', ['volume', 'rm', '-f', strange]);
  await run('/usr/bin/docker', ['rm', '-f', strange]);
  await run('/usr/bin/docker', ['rmi', ...planted]);
  await engine?.removeCaches((await engine.listCaches()).filter(({ mark }) => mark.startsWith(`${strange}/`) || mark.startsWith(`${berth.instance}/`)).map(({ id }) => id));
  await berth.stop();
});

/** What `cleanup` says of build caches. */
const cleaned = async (...args: string[]): Promise<string[]> => (await berth.cli(['cleanup', ...args])).out.split('\n').filter((line) => line.includes('build cache'));
const cached = async (): Promise<number> => (await berth.json<{ cached: number }>(['images', 'hoard'])).cached;
const mount = (name: string): string => `RUN --mount=type=cache,id=${name},target=/c dd if=/dev/zero of=/c/x bs=1048576 count=4 2>/dev/null # ${random()}\n`;

it('are shown in bytes, capped by what was used longest ago, and purged; what is not this app\'s stays', async () => {
  // another Berth's on this engine, by both ways
  await engine.build(tarOf({ Dockerfile: `FROM ${berth.instance}-base:1\n${mount('s').replace(/ # \w+\n$/, ` # ${strange}/app1\n`)}` }), request({ tag: `${berth.instance}/stranger:1`, labels: { instance: berth.instance } }));
  await docker('volume', 'create', '--label', `berth.instance=${strange}`, '--label', 'berth.app=app1', '--label', `berth.type=${CACHE_VOLUME}`, strange);
  const strangers = async (): Promise<number> => (await engine.listCaches()).filter(({ mark }) => mark === `${strange}/app1`).length;
  expect(await strangers()).toBe(2);

  const files = (version: string, ...names: string[]): AppFiles => app({ version, dockerfile: `FROM BASE\n${names.map(mount).join('')}COPY version /version\nCMD ["/bin/server"]\n` });
  const dir = await berth.repo(files('1', 'first'));
  expect((await berth.push(dir, 'hoard')).code).toBe(0);
  const one = await cached();
  expect(one).toBeGreaterThanOrEqual(4 * MB);
  expect(await cleaned('--dry-run')).toEqual([]);
  await berth.commit(dir, files('2', 'second'));
  const pushed = await berth.push(dir, 'hoard');
  expect(pushed.code).toBe(0);
  expect(pushed.output).not.toContain(`${berth.instance}/`); // the mark is for the engine
  const two = await cached();
  expect(two).toBeGreaterThan(one);

  const [oldest] = (await engine.listCaches()).filter(({ mark }) => mark.startsWith(`${berth.instance}/`)).toSorted((a, b) => a.used! - b.used!);
  const what = new RegExp(`^(?:would remove|removed) build cache hoard ${oldest!.id} \\(4\\.\\d MB\\): over the limit of an app$`);
  expect(await cleaned('--dry-run')).toEqual([expect.stringMatching(what)]);
  expect(await cached()).toBe(two);
  expect(await cleaned()).toEqual([expect.stringMatching(what)]);
  expect(await cached()).toBe(two - oldest!.bytes);
  expect(await cleaned('--dry-run')).toEqual([]);

  const { id } = await berth.json<{ id: string }>(['apps:info', 'hoard']);
  const volume = `${berth.instance}-buildpack-cache-${id}`;
  await docker('volume', 'create', '--label', `berth.instance=${berth.instance}`, '--label', `berth.app=${id}`, '--label', `berth.type=${CACHE_VOLUME}`, volume);
  await docker('run', '--rm', '-v', `${volume}:/c`, `${berth.instance}-base:1`, 'dd', 'if=/dev/zero', 'of=/c/x', 'bs=1048576', 'count=3');
  expect(await cached()).toBeGreaterThanOrEqual(7 * MB);
  expect((await berth.cli(['repo:purge-cache', 'hoard'])).out).toMatch(/The build caches of hoard are gone, [78]\.\d MB are free again/);
  expect(await cached()).toBe(0);
  expect(await strangers()).toBe(2);
  expect((await berth.http('hoard')).body).toContain('v=2');
});

/** An image that was made so many days ago, in one layer of its own. */
async function plantedAt(name: string, days: number): Promise<string> {
  const layer = await buffer(tarOf({ name }));
  const config = JSON.stringify({ architecture: 'amd64', os: 'linux', created: new Date(Date.now() - days * 24 * 3_600_000).toISOString(), config: { Cmd: ['/nothing'] }, rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] } });
  await engine.loadImage(tarOf({ 'config.json': config, 'layer.tar': layer, 'manifest.json': JSON.stringify([{ Config: 'config.json', RepoTags: [name], Layers: ['layer.tar'] }]) }), new AbortController().signal);
  return name;
}

it('of services go when no container of the engine has them, and a week has passed', async () => {
  const [old, used, young, mine] = await Promise.all(planted.map((name) => plantedAt(name, name.includes('young') ? 6 : 8)));
  await docker('create', '--name', strange, used!);
  const said = async (...args: string[]): Promise<string[]> => (await berth.cli(['cleanup', ...args])).out.split('\n').filter((line) => line.includes(`service-${strange}`));
  expect(await said('--dry-run')).toEqual([expect.stringMatching(new RegExp(`^would remove image ${old} \\(.*B\\): of services, an earlier one that nobody uses$`))]);
  expect(await engine.inspectImage(old!)).not.toBe(null);
  expect(await said()).toEqual([expect.stringMatching(new RegExp(`^removed image ${old} `))]);
  expect(await engine.inspectImage(old!)).toBe(null);
  for (const kept of [used, young, mine]) expect(await engine.inspectImage(kept!), kept).not.toBe(null);
  await docker('rm', strange);
  expect(await said('--dry-run')).toEqual([expect.stringContaining(used!)]);
});
