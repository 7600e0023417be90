import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerVolumeDriver } from '../../src/drivers/engine/docker.volume.driver.js';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { baseImage, eventsOf, noted, notes, settled, succeeds } from './berth.kit.js';

/** What apps keep in volumes outlives containers, releases and, by a backup, the machine's mistakes. */
let dir: string;
let berth: Fixture;
let volumes: DockerVolumeDriver;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-volumes-'));
  berth = await startBerth();
  volumes = new DockerVolumeDriver(berth.env['BERTH_DOCKER']!, berth.instance);
});
afterAll(async () => {
  await berth?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const ok = async (args: readonly string[], options: Parameters<Fixture['cli']>[1] = {}): Promise<string> => {
  const { out, err } = await succeeds(berth, args, { timeoutMs: 120_000, ...options });
  return out + err;
};
const said = (word?: string): Promise<string[]> => noted(berth, word);
const started = async (): Promise<number> => (await eventsOf(berth, '--type', 'RepairStarted')).length;

it('keeps an app\'s data through deploy, scale, restart and crash, and brings it back from a backup', async () => {
  const app = await baseImage(berth);
  const repo = await berth.repo(notes(app, 'one'));
  await ok(['apps:create', 'notes']);
  expect((await berth.cli(['storage:mount', 'notes', '/var/lib/x:/data'])).err).toContain('not folders of the server');
  expect((await berth.cli(['storage:mount', 'notes', 'data:/etc'])).err).toContain('the container\'s own');
  await ok(['storage:mount', 'notes', 'data:/www/data']);
  expect((await berth.push(repo, 'notes')).code).toBe(0);
  expect(await said('first')).toEqual(['first']);
  await ok(['ps:scale', 'notes', 'web=2', 'worker=1']);
  for (const word of ['second', 'third']) expect((await said(word)).at(-1)).toBe(word);
  await ok(['ps:restart', 'notes']);
  await berth.commit(repo, notes(app, 'two'));
  expect((await berth.push(repo, 'notes')).code).toBe(0);
  expect((await berth.http('notes', '/version.txt')).body.trim()).toBe('two');
  expect(await said()).toEqual(['first', 'second', 'third']);
  const [row] = await berth.json<{ app: string; volumes: { name: string; path: string; volume: string }[] }[]>(['storage:report', 'notes']);
  const { volume } = row!.volumes[0]!;
  expect(volume).toMatch(new RegExp(`^${berth.instance}\\.[a-z0-9]{10}\\.data$`));
  // the worker's containers have it, too, and the release says so
  await berth.until('the old containers to be gone', async () => (await volumes.users(volume)).length === 3);
  expect((await eventsOf(berth, '--type', 'ReleaseCreated')).at(-1)).toMatchObject({ data: { data: { spec: { mounts: [{ name: 'data', path: '/www/data' }] } } } });

  // a backup holds the app still, and nobody takes that for drift
  const file = join(dir, 'b.tar.gz');
  const repairs = await started();
  expect((await berth.cli(['backup', file, '--volumes', 'nobody'])).err).toContain('neither a volume');
  expect((await berth.cli(['backup', file, 'notes'])).err).toContain('one word too many');
  const made = await ok(['backup', file, '--volumes', 'notes']);
  expect(made).toContain(`Volume ${volume}`);
  expect(made).not.toContain('may have written');
  expect(await ok(['backup:verify', file], { env: { BERTH_RUN: '/nowhere' } })).toContain(volume);
  expect(await ok(['backup', `${file}.running`, '--volumes', '--volumes-while', 'running'])).toContain('may have written');
  expect(await said('later')).toEqual(['first', 'second', 'third', 'later']);
  expect(await ok(['backup', `${file}.stopped`, '--volumes', '--volumes-while', 'stopped'])).not.toContain('may have written');
  await berth.until('the app again', async () => (await said()).length === 4);
  expect(await started()).toBe(repairs);
  expect((await volumes.users(volume)).every((user) => user.labels['berth.app'])).toBe(true); // no throw-away container is left

  // the API died while it held an app still
  const [user] = await volumes.users(volume);
  berth.kill('api');
  await volumes.pause(user!.id);
  await berth.until('it to go on', async () => (await volumes.users(volume)).every((each) => each.state === 'running'), 60_000);
  expect(await started()).toBe(repairs);

  // never over data, unless told
  const refused = await berth.cli(['--force', 'restore', file]);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining(`There is data in ${volume} already`) as string });
  expect(await said()).toHaveLength(4);
  // the API dies as soon as the log is the backup's: the rest goes on by itself
  const restoring = berth.cli(['--force', 'restore', file, '--overwrite-volumes'], { timeoutMs: 120_000 });
  const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
  const begun = db.prepare("SELECT 1 FROM events WHERE type = 'RestoreBegun'");
  for (let i = 0; i < 60_000 && !begun.get(); i += 1) await sleep(1);
  berth.kill('api');
  db.close();
  const { code } = await restoring;
  expect(code).toBe(1);
  await berth.until('the restore\'s end', async () => (await eventsOf(berth, '--type', 'RestoreEnded')).length === 1, 90_000);
  expect((await eventsOf(berth, '--type', 'RestoreBegun')).length).toBe(1);
  await settled(berth, 'notes');
  await berth.until('what was backed up', async () => (await said()).join() === 'first,second,third', 60_000);
  expect(await said('again')).toEqual(['first', 'second', 'third', 'again']);
  expect((await berth.owned()).volumes).toEqual([volume]);
  expect(await ok(['backup:list'])).toMatch(/RestoreEnded[^]*AppRestored[^]*RestoreBegun/);

  // data goes only when somebody says so
  await ok(['storage:unmount', 'notes', 'data']);
  expect(await ok(['storage:list', 'notes'])).toContain('data (not mounted)');
  await ok(['storage:mount', 'notes', 'data:/www/data']);
  expect(await said()).toHaveLength(4);
  expect(await ok(['apps:destroy', 'notes', '--confirm', 'notes', '--storage'])).not.toContain('kept');
  await berth.until('the volume to be gone', async () => (await berth.owned()).volumes.length === 0);
});
