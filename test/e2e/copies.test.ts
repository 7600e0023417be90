import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerVolumeDriver } from '../../src/drivers/engine/docker.volume.driver.js';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { SmallS3 } from '../lib/small-s3.js';
import { baseImage, eventsOf, noted, notes, settled, succeeds } from './berth.kit.js';
import { SmallDisk } from './small-disk.js';

/** Backups of volumes: good once they were brought back, and brought back by one command; whatever dies meanwhile. */
let dir: string;
let berth: Fixture;
let volumes: DockerVolumeDriver;

interface Listed { backup: number; kind: string; bytes: number; sha256: string; drilledAt: string | null; key: string; encrypted: boolean; failure: { code: string } | null; count: Record<string, number> | null }
interface Listing { group: string; backups: Listed[]; failed: { step: string; failure: { code: string } } | null; schedule: { overdue: boolean } | null }
const listing = (): Promise<Listing> => berth.json<Listing>(['storage:backups', 'notes', 'data']);
const ok = async (args: readonly string[], options: Parameters<Fixture['cli']>[1] = {}): Promise<string> => {
  const { out, err } = await succeeds(berth, args, { timeoutMs: 120_000, ...options });
  return out + err;
};
const said = (word?: string): Promise<string[]> => noted(berth, word);
const folder = (): string => join(dir, 'copies');
const object = (one: Listed): string => join(folder(), one.key);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-copies-'));
  berth = await startBerth();
  volumes = new DockerVolumeDriver(berth.env['BERTH_DOCKER']!, berth.instance);
  const app = await baseImage(berth);
  const repo = await berth.repo(notes(app, 'one'));
  await ok(['apps:create', 'notes']);
  await ok(['storage:mount', 'notes', 'data:/www/data']);
  await ok(['storage:mount', 'notes', 'more:/www/more']);
  expect((await berth.push(repo, 'notes')).code).toBe(0);
  await said('first');
  // its time comes while the rest is looked at
  await ok(['storage:backup-schedule', 'notes', 'more', '* * * * *', join(dir, 'minutely'), '--tz', 'UTC']);
});
afterAll(async () => {
  await berth?.stop();
  rmSync(dir, { recursive: true, force: true });
});

it('is refused where it makes no sense, and leaves nothing', async () => {
  const refused = async (args: string[], text: string, stdin?: string): Promise<void> => {
    const { code, err } = await berth.cli(args, stdin === undefined ? {} : { stdin });
    expect(code, args.join(' ')).toBe(1);
    expect(err).toContain(text);
  };
  await refused(['storage:backup', 'notes', 'data'], 'Where to?');
  await refused(['storage:backup', 'notes', 'other', folder()], 'There is no volume other');
  await refused(['storage:backup', 'notes', 'data', 's3://some-bucket'], 'There is no key for s3://some-bucket');
  await refused(['storage:backup-schedule', 'notes', 'data', '61 * * * *', folder()], 'is no schedule');
  await refused(['storage:backup-schedule', 'notes', 'data', '0 3 * * *', folder(), '--tz', 'Mars/North'], 'is no time zone');
  await refused(['storage:backup-auth', 'notes', 'data', 'AKIA', 'secret-word'], 'A secret on a command line');
  await refused(['storage:backup-auth', 'notes', 'data', 'AKIA', '--endpoint', 's3.example.com'], 'no address of an S3 server', 'x\n');
  await refused(['storage:backup-set-encryption', 'notes', 'data', '--passphrase-stdin'], 'Nothing was given', '\n');
  await refused(['storage:backup-retention', 'notes', 'data', '--keep-last', '0', '--keep-daily', '0', '--keep-weekly', '0', '--keep-monthly', '0'], 'Nothing would be kept');
  await refused(['storage:restore', 'notes', 'data'], 'There is no backup');
  expect((await listing()).backups).toEqual([]);
  expect(await eventsOf(berth, '--type', 'CopyAuthSet,CopyEncryptionSet,CopyRetentionSet,CopyFailed')).toEqual([]);
});

it('a backup is good once it was read back, brought back and counted; a restore takes a safety copy and drops no request', async () => {
  const told = await ok(['storage:backup', 'notes', 'data', folder()]);
  expect(told).toMatch(/Read back from .*sha256/);
  expect(told).toMatch(/Restored into a throw-away volume: 1 files/);
  const [plain] = (await listing()).backups.filter((one) => one.key.endsWith('-1.tar'));
  expect(plain).toMatchObject({ backup: 1, kind: 'backup', encrypted: false, failure: null, count: { files: 1 } });
  expect(plain!.drilledAt).not.toBeNull();
  // anybody can open it without Berth
  expect(spawnSync('tar', ['xOf', object(plain!), 'volume/notes'], { encoding: 'utf8' }).stdout).toBe('first\n');

  await ok(['storage:backup-set-encryption', 'notes', 'data', '--passphrase-stdin'], { stdin: 'one passphrase\n' });
  await said('second');
  await ok(['storage:backup', 'notes', 'data', folder()]);
  const secret = (await listing()).backups.find((one) => one.encrypted)!;
  expect(readFileSync(object(secret)).subarray(0, 22).toString()).toBe('age-encryption.org/v1\n');
  const everything = JSON.stringify(await eventsOf(berth));
  expect(everything).not.toContain('one passphrase');

  await said('third');
  let failures = 0;
  let asking = true;
  const asked = (async () => { while (asking) { await said().catch(() => { failures += 1; }); await sleep(20); } })();
  const restored = await ok(['storage:restore', 'notes', 'data', String(secret.backup)]);
  asking = false;
  await asked;
  expect(failures).toBe(0);
  expect(restored).toContain('is as it was in that backup');
  await settled(berth, 'notes');
  expect(await said()).toEqual(['first', 'second']);
  const safety = (await listing()).backups.find((one) => one.kind === 'safety copy')!;
  expect(safety.encrypted).toBe(true);
  await ok(['storage:restore', 'notes', 'data', String(safety.backup)]);
  await settled(berth, 'notes');
  expect(await said()).toEqual(['first', 'second', 'third']);
  // what was replaced goes once nothing has it, and only the newest volume is left
  await berth.until('old volumes to be swept', async () => (await berth.owned()).volumes.length === 2, 90_000);
  expect(readdirSync(join(berth.root, 'spool')).filter((name) => name.includes('-data.'))).toEqual([]);
});

it('two volumes of an app are read one after the other, since the same containers hold still for both', async () => {
  const before = (await eventsOf(berth, '--type', 'OperationStepFailed')).length;
  const told = await Promise.all(['data', 'more'].map((name) => ok(['storage:backup', 'notes', name, folder()])));
  for (const text of told) expect(text).toMatch(/Restored into a throw-away volume/);
  expect((await eventsOf(berth, '--type', 'OperationStepFailed')).slice(before)).toEqual([]);
  expect(await said()).toEqual(['first', 'second', 'third']);
});

it('what was altered, cut off, or is opened with the wrong passphrase is refused before anything is touched', async () => {
  const { backups } = await listing();
  const secret = backups.find((one) => one.encrypted && one.kind === 'backup')!;
  const before = readFileSync(object(secret));
  const refused = async (why: string, args: readonly string[] = [], options: Parameters<Fixture['cli']>[1] = {}): Promise<void> => {
    const safeties = (await listing()).backups.filter((one) => one.kind === 'safety copy').length;
    const { code, err, out } = await berth.cli(['storage:restore', 'notes', 'data', String(secret.backup), ...args], options);
    expect(code).toBe(1);
    expect(err + out).toContain(why);
    expect((await listing()).backups.filter((one) => one.kind === 'safety copy')).toHaveLength(safeties);
    expect(await said()).toEqual(['first', 'second', 'third']);
  };
  await refused('The passphrase does not open this backup', ['--passphrase-stdin'], { stdin: 'another one\n' });
  const altered = Buffer.from(before);
  altered[altered.length - 5]! ^= 1;
  writeFileSync(object(secret), altered);
  await refused('its checksum is another one');
  expect((await berth.cli(['storage:backup-verify', 'notes', 'data', String(secret.backup)])).code).toBe(1);
  expect((await listing()).backups.find((one) => one.backup === secret.backup)!.failure!.code).toBe('copies.altered');
  const doctor = await berth.cli(['doctor']);
  expect(doctor.out).toMatch(/copies .*the trial of backup \d+ failed/);
  truncateSync(object(secret), before.length - 100);
  await refused('instead of');
  rmSync(object(secret));
  await refused('There is no');
  writeFileSync(object(secret), before);
  await ok(['storage:backup-verify', 'notes', 'data', String(secret.backup)]);
  expect((await listing()).failed).toBeNull();
  await ok(['storage:backup-unset-encryption', 'notes', 'data']);
  await refused('its passphrase is not known here any more');
});

describe('where copies go', () => {
  let s3: SmallS3;
  beforeAll(async () => { s3 = await SmallS3.start(); });
  afterAll(() => { s3.stop(); });

  it('a wrong key is the user\'s fault and is not tried again; an S3 that answers 500 for a while is', async () => {
    await said('small');
    const auth = (id: string): Promise<string> => ok(['storage:backup-auth', 'notes', 'data', id, '--endpoint', s3.endpoint, '--secret-stdin'], { stdin: 'the secret\n' });
    await auth('AKIAWRONG');
    const refused = await berth.cli(['storage:backup', 'notes', 'data', 's3://bucket/berth']);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err + refused.out).toContain('key or secret are wrong');
    expect((await listing()).failed).toMatchObject({ step: 'store', failure: { code: 'copies.denied' } });
    expect((await berth.cli(['doctor'])).out).toMatch(/copies .*the last one failed/);
    await auth('AKIATEST');
    // with the right key the same operation goes on where it ended
    s3.wrong = 1;
    const [job] = (await berth.json<{ job: string }[]>(['jobs:failed'])).map((one) => one.job).filter((one) => one.includes('.store'));
    await ok(['jobs:retry', job!]);
    const [newest] = (await listing()).backups;
    expect(s3.objects.get(`/bucket/berth/${newest!.key}`)!.length).toBe(newest!.bytes);
    expect((await eventsOf(berth, '--type', 'OperationStepFailed')).map((item) => (item.data.data['failure'] as { code: string }).code)).toContain('copies.away');
    expect((await listing()).failed).toBeNull();
    expect(JSON.stringify(await eventsOf(berth))).not.toContain('the secret');
  });
});

describe('SIGKILL of the worker in the middle of its step', () => {
  let words: string[];
  /** Kills the worker as soon as the step of the newest operation has begun. */
  async function killedIn(kind: string, step: string, ask: readonly string[]): Promise<void> {
    const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
    const from = (db.prepare('SELECT max(position) AS p FROM events').get() as { p: number }).p;
    const begun = db.prepare("SELECT 1 FROM events WHERE position > ? AND type = 'OperationStepStarted' AND json_extract(data, '$.step') = ? AND stream LIKE '%-data'");
    const asked = berth.cli(ask, { timeoutMs: 180_000 });
    for (let i = 0; i < 30_000 && !begun.get(from, step); i += 1) await sleep(1);
    db.close();
    berth.kill('service-1');
    const { code, out, err } = await asked;
    expect(code, `${kind} ${step}: ${err}${out}`).toBe(0);
    const attempts = (await eventsOf(berth, '--type', 'OperationStepStarted')).filter((item) => item.data.position > from && item.data.data['step'] === step && String(item.data.data['group']).endsWith('-data'));
    expect(attempts.length, 'it was killed while it worked').toBeGreaterThan(1);
  }

  beforeAll(async () => {
    // takes long enough to be met
    const { volume } = (await berth.json<{ volumes: { volume: string }[] }[]>(['storage:report', 'notes']))[0]!.volumes[0]!;
    const file = join(dir, 'large');
    writeFileSync(file, randomBytes(48 << 20));
    const tar = spawnSync('tar', ['cf', '-', '-C', dir, '--transform', 's,^,volume/,', 'large'], { maxBuffer: 1 << 30 }).stdout;
    await volumes.write(volume, (async function* () { yield tar; })(), new AbortController().signal);
    words = await said();
  });

  it.each(['dump', 'store', 'check', 'drill', 'prune'])('backup: %s', async (step) => {
    await killedIn('backup', step, ['storage:backup', 'notes', 'data', folder()]);
    const [newest] = (await listing()).backups;
    expect(newest).toMatchObject({ kind: 'backup', failure: null, count: { files: 2 } });
    expect(readFileSync(object(newest!)).length).toBe(newest!.bytes);
    expect(await said()).toEqual(words);
    // the other volume's schedule may be at work just now
    expect((await volumes.list({ instance: berth.instance })).filter(({ name }) => /-drill-.*-data\./.test(name))).toEqual([]);
  });

  it.each(['fetch', 'load', 'safety'])('restore: %s', async (step) => {
    const { backups } = await listing();
    await said(`lost-${step}`);
    await killedIn('restore', step, ['storage:restore', 'notes', 'data', String(backups.find((one) => one.kind === 'backup')!.backup)]);
    await settled(berth, 'notes');
    expect(await said()).toEqual(words);
  });
});

it('the schedule came without being asked, once a time, and outlives a wiped Redis', async () => {
  const due = await berth.until('the schedule', async () => {
    const all = (await eventsOf(berth, '--type', 'CopyDue')).map((item) => item.data.data as { group: string; due: number });
    return all.length > 0 && all;
  }, 90_000);
  expect(new Set(due.map((one) => one.due)).size).toBe(due.length);
  await berth.until('its backup', async () => (await berth.json<Listing>(['storage:backups', 'notes', 'more'])).backups.some((one) => one.drilledAt !== null), 60_000);
  await ok(['storage:backup-schedule', 'notes', 'more', '0 3 * * *', join(dir, 'nightly')]);
  const inRedis = async (): Promise<boolean> => (await run('redis-cli', ['-s', berth.env['BERTH_REDIS']!, 'zscore', `${berth.instance}:schedules:repeat`, due[0]!.group])).out.trim() !== '';
  await berth.until('the schedule to be in Redis', inRedis, 60_000);
  await run('redis-cli', ['-s', berth.env['BERTH_REDIS']!, 'flushall']);
  expect(await inRedis()).toBe(false);
  await berth.until('it to be there again', inRedis, 60_000);
  await ok(['storage:backup-unschedule', 'notes', 'more']);
  await berth.until('it to be gone', async () => !(await inRedis()), 60_000);
});

it('keeps what retention says, and no more', async () => {
  await ok(['storage:backup-retention', 'notes', 'data', '--keep-last', '2', '--keep-daily', '0', '--keep-weekly', '0', '--keep-monthly', '0']);
  const before = (await listing()).backups.filter((one) => one.kind === 'backup' && one.key.startsWith('volumes/') && readdirSync(join(folder(), 'volumes/notes/data')).includes(one.key.split('/').at(-1)!));
  expect(before.length).toBeGreaterThan(2);
  await ok(['storage:backup', 'notes', 'data', folder()]);
  expect(readdirSync(join(folder(), 'volumes/notes/data'))).toHaveLength(2);
  expect((await eventsOf(berth, '--type', 'CopyExpired')).length).toBeGreaterThanOrEqual(before.length - 1);
});

it('a full disk: nothing half is left, and it goes on once there is room', async () => {
  const disk = new SmallDisk(join(dir, 'small'), 128, join(dir, 'small.img'));
  try {
    disk.fill(1 << 20);
    const place = join(disk.dir, 'copies');
    const asked = berth.cli(['storage:backup', 'notes', 'data', place], { timeoutMs: 120_000 });
    await berth.until('the disk to be full', async () => (await eventsOf(berth, '--type', 'OperationStepFailed')).some((item) => JSON.stringify(item.data.data).includes('copies.full')), 60_000);
    expect(readdirSync(place, { recursive: true }).filter((name) => /\.(tar|part)/.test(String(name)))).toEqual([]);
    disk.empty();
    const { code, out, err } = await asked;
    expect(code, out + err).toBe(0);
    expect((await listing()).backups[0]).toMatchObject({ failure: null, kind: 'backup' });
  } finally {
    disk.remove();
  }
});
