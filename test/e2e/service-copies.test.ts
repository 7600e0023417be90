import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { eventsOf, succeeds } from './berth.kit.js';

/** Backups of services: good once they were brought into a throw-away instance; restored by one command, whatever dies meanwhile. */
let berth: Fixture;
let dir: string;

interface Listed { backup: number; kind: string; count: Record<string, number> | null; key: string; bytes: number; failure: { code: string } | null; encrypted: boolean }
const backups = async (type: string, name: string): Promise<Listed[]> => (await berth.json<{ backups: Listed[] }>([`${type}:backups`, name])).backups;
async function ok(args: readonly string[], stdin?: string): Promise<string> {
  const { out, err } = await succeeds(berth, args, { timeoutMs: 280_000, ...(stdin !== undefined && { stdin }) });
  return out + err;
}
const sql = (text: string): Promise<string> => ok(['postgres:connect', 'blog', '-At'], text);
const notes = async (): Promise<string> => (await sql('select string_agg(text, \',\' order by id) from notes')).trim();
const drills = async (): Promise<string[]> => {
  const { containers, volumes } = await berth.owned();
  const named = await Promise.all(containers.map(async (id) => (await berth.engine<{ Name: string }>('GET', `/containers/${id}/json`)).Name));
  return [...named, ...volumes].filter((name) => name.includes('-drill-'));
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-service-copies-'));
  berth = await startBerth();
  await ok(['postgres:create', 'blog']);
  await sql("create table notes (id serial primary key, text text); insert into notes (text) values ('one'), ('two')");
});
afterAll(async () => {
  await berth?.stop();
  rmSync(dir, { recursive: true, force: true });
  expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
});

it('PostgreSQL: dumped, read back, brought into a throw-away server, counted; restored, with a safety copy', async () => {
  const told = await ok(['postgresql:backup', 'blog', dir]);
  expect(told).toContain('Restored into a throw-away instance: 1 tables, 2 rows');
  const [plain] = await backups('postgres', 'blog');
  expect(plain).toMatchObject({ kind: 'backup', count: { tables: 1, rows: 2 }, failure: null, encrypted: false });
  expect(readFileSync(join(dir, plain!.key)).subarray(0, 5).toString()).toBe('PGDMP');
  expect(plain!.key).toMatch(/^postgres\/blog\/.*Z-\d+\.dump$/);
  await ok(['postgres:backup-set-encryption', 'blog'], 'a passphrase\n');
  await sql("insert into notes (text) values ('three')");
  await ok(['postgres:backup', 'blog', dir]);
  expect((await backups('postgres', 'blog'))[0]).toMatchObject({ encrypted: true, count: { rows: 3 } });
  await sql("insert into notes (text) values ('four'); create table more (x int)");
  await ok(['postgres:restore', 'blog']);
  expect(await notes()).toBe('one,two,three');
  const safety = (await backups('postgres', 'blog')).find((one) => one.kind === 'safety copy')!;
  await ok(['postgres:restore', 'blog', String(safety.backup)]);
  expect(await notes()).toBe('one,two,three,four');
  expect(await drills()).toEqual([]);
  const log = JSON.stringify(await eventsOf(berth));
  expect(log).not.toContain('a passphrase');
  expect((await berth.cli(['doctor'])).out).toMatch(/copies .*postgres blog/);
});

it('a dump that cannot be brought in touches nothing', async () => {
  const [newest] = (await backups('postgres', 'blog')).filter((one) => one.kind === 'backup');
  const file = join(dir, newest!.key);
  const sound = readFileSync(file);
  writeFileSync(file, sound.subarray(0, sound.length - 10));
  const { code, err, out } = await berth.cli(['postgres:restore', 'blog', String(newest!.backup)], { timeoutMs: 120_000 });
  expect(code).toBe(1);
  expect(out + err).toContain('is not what was written there');
  expect(await notes()).toBe('one,two,three,four');
  writeFileSync(file, sound);
});

it('Redis, too', async () => {
  await ok(['redis:create', 'cache']);
  await ok(['redis:connect', 'cache'], 'set a 1\nset b 2\nset c 3 ex 1000\n');
  expect(await ok(['redis:backup', 'cache', dir])).toContain('Restored into a throw-away instance: 2 keys');
  await ok(['redis:connect', 'cache', 'set', 'a', 'other']);
  await ok(['redis:restore', 'cache']);
  expect(await ok(['redis:connect', 'cache', 'get', 'a'])).toBe('1\n');
  expect(await drills()).toEqual([]);
});

describe('what dies meanwhile', () => {
  beforeAll(async () => {
    // takes long enough to be met
    await sql("insert into notes (text) select md5(i::text) || repeat(md5((i + 1)::text), 10) from generate_series(1, 60000) as i");
  });

  /** Does something as soon as the step of the newest operation has begun; answers how often it was begun. */
  async function meanwhile(step: string, what: () => Promise<void> | void, ask: readonly string[]): Promise<number> {
    const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
    try {
      const from = (db.prepare('SELECT max(position) AS p FROM events').get() as { p: number }).p;
      const begun = db.prepare("SELECT count(*) AS n FROM events WHERE position > ? AND type = 'OperationStepStarted' AND json_extract(data, '$.step') = ?");
      const asked = ok(ask);
      for (let i = 0; i < 30_000 && (begun.get(from, step) as { n: number }).n === 0; i += 1) await sleep(1);
      await sleep(150);
      await what();
      await asked;
      return (begun.get(from, step) as { n: number }).n;
    } finally {
      db.close();
    }
  }
  const counted = async (): Promise<string> => (await sql('select count(*) from notes')).trim();

  it.each(['dump', 'drill'])('the worker, in %s of a backup', async (step) => {
    expect(await meanwhile(step, () => berth.kill('service-1'), ['postgres:backup', 'blog', dir])).toBeGreaterThan(1);
    expect((await backups('postgres', 'blog'))[0]).toMatchObject({ kind: 'backup', failure: null, count: { rows: 60_004 } });
    expect(await drills()).toEqual([]);
  });

  it.each(['drill', 'safety', 'import'])('the worker, in %s of a restore', async (step) => {
    await sql("delete from notes where text = 'one'");
    expect(await meanwhile(step, () => berth.kill('service-1'), ['postgres:restore', 'blog'])).toBeGreaterThan(1);
    expect(await counted()).toBe('60004');
    expect(await drills()).toEqual([]);
  });

  it('the server that is dumped', async () => {
    const { container } = await berth.json<{ container: string }>(['postgres:info', 'blog']);
    const times = await meanwhile('dump', async () => { await berth.engine('POST', `/containers/${container}/kill?signal=KILL`); }, ['postgres:backup', 'blog', dir]);
    expect(times).toBeGreaterThan(1);
    expect((await backups('postgres', 'blog'))[0]).toMatchObject({ kind: 'backup', failure: null, count: { rows: 60_004 } });
  });
});
