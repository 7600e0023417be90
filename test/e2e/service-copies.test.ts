import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { SmallS3 } from '../lib/small-s3.js';
import { eventsOf, refuses, succeeds } from './berth.kit.js';

/** Backups of services: good once they were brought into a throw-away instance; restored by one command, whatever dies meanwhile. */
let berth: Fixture;
let dir: string;

interface Listed { backup: number; kind: string; count: Record<string, number> | null; key: string; bytes: number; failure: { code: string } | null; encrypted: boolean }
const backups = async (type: string, name: string): Promise<Listed[]> => (await berth.json<{ backups: Listed[] }>([`${type}:backups`, name])).backups;
async function ok(args: readonly string[], stdin?: string): Promise<string> {
  const { out, err } = await succeeds(berth, args, { timeoutMs: 280_000, ...(stdin !== undefined && { stdin }) });
  return out + err;
}
const refused = (args: readonly string[], stdin?: string): Promise<string> => refuses(berth, args, { timeoutMs: 280_000, ...(stdin !== undefined && { stdin }) });
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

it('a destroyed service\'s are still listed, and come back into another one; so does what lies where no log knows of it', async () => {
  await ok(['redis:backup-set-encryption', 'cache'], 'their passphrase\n');
  await ok(['redis:backup', 'cache', dir]);
  const [sealed, safety, plain] = await backups('redis', 'cache');
  expect([sealed!.encrypted, safety!.kind, plain!.encrypted]).toEqual([true, 'safety copy', false]);
  await ok(['redis:destroy', 'cache', '--confirm', 'cache', '--no-dump']);
  expect(await refused(['redis:backups', 'cash'])).toContain('does not exist, and never did');
  expect(await refused(['redis:backup', 'cache', dir])).toContain('redis service cache does not exist');
  const told = await ok(['redis:backups', 'cache']);
  expect(told).toContain(plain!.key);
  expect(told).toMatch(new RegExp(`redis cache was destroyed 20.*redis:restore <new> --from cache/${sealed!.backup}`));

  await ok(['redis:create', 'cache']);
  expect(await backups('redis', 'cache')).toEqual([]);
  expect((await berth.json<{ backups: Listed[] }>(['redis:backups', 'cache', '--destroyed'])).backups).toHaveLength(3);
  // of its own name: of the one before it; the passphrase is still that one's
  await ok(['redis:restore', 'cache', '--from', 'cache']);
  expect(await ok(['redis:connect', 'cache', 'get', 'a'])).toBe('1\n');
  await ok(['redis:connect', 'cache', 'flushall']);
  await ok(['redis:restore', 'cache', '--from', `cache/${plain!.backup}`]);
  expect(await ok(['redis:connect', 'cache', 'get', 'b'])).toBe('2\n');
  expect(await refused(['redis:restore', 'cache', '--from', 'cache/99'])).toContain('There is no backup 99');

  await ok(['redis:connect', 'cache', 'flushall']);
  await ok(['redis:restore', 'cache', join(dir, plain!.key)]);
  expect(await ok(['redis:connect', 'cache', 'get', 'b'])).toBe('2\n');
  await ok(['redis:connect', 'cache', 'flushall']);
  expect(await refused(['redis:restore', 'cache', join(dir, sealed!.key)])).toContain('is encrypted, and its passphrase is not known here');
  expect(await refused(['redis:restore', 'cache', join(dir, sealed!.key), '--passphrase-stdin'], 'another\n')).toContain('does not open this backup');
  await ok(['redis:restore', 'cache', join(dir, sealed!.key), '--passphrase-stdin'], 'their passphrase\n');
  expect(await ok(['redis:connect', 'cache', 'get', 'a'])).toBe('1\n');
  expect(await refused(['redis:restore', 'cache', join(dir, 'no-such.rdb')])).toContain('There is no no-such.rdb');
  expect(await refused(['redis:restore', 'cache', 's3://backups/berth/x.rdb'])).toContain('There is no key for s3://backups');
  expect(await drills()).toEqual([]);
});

describe('what dies meanwhile', () => {
  let s3: SmallS3;
  let db: DatabaseSync;
  let container: string;

  beforeAll(async () => {
    s3 = await SmallS3.start();
    db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
    // takes long enough to be met
    await sql("insert into notes (text) select md5(i::text) || repeat(md5((i + 1)::text), 10) from generate_series(1, 60000) as i");
    await ok(['postgres:backup-auth', 'blog', 'AKIATEST', '--endpoint', s3.endpoint, '--secret-stdin'], 'the secret\n');
    await ok(['postgres:backup-retention', 'blog', '--keep-last', '1', '--keep-daily', '0', '--keep-weekly', '0', '--keep-monthly', '0']);
    ({ container } = await berth.json<{ container: string }>(['postgres:info', 'blog']));
  });
  afterAll(() => {
    s3?.stop();
    db?.close();
  });

  const last = (): number => (db.prepare('SELECT max(position) AS p FROM events').get() as { p: number }).p;
  /** how often the step was begun since */
  const begun = (step: string, from: number): number => (db.prepare("SELECT count(*) AS n FROM events WHERE position > ? AND type = 'OperationStepStarted' AND json_extract(data, '$.step') = ?").get(from, step) as { n: number }).n;
  /** behind Berth's back, which lets nobody in during an operation; waits for whoever changes it just now */
  const inside = async (text: string): Promise<string> => (await run('docker', ['exec', '-u', 'postgres', container, 'psql', '-X', '-At', '-d', 'blog', '-c', text])).out.trim();
  const counted = (): Promise<string> => inside('select count(*) from notes');
  /** of the operation that was asked for last; what others left is theirs */
  const spooled = async (): Promise<string[]> => {
    const { group } = db.prepare("SELECT json_extract(data, '$.group') AS \"group\" FROM events WHERE type = 'OperationRequested' ORDER BY position DESC LIMIT 1").get() as { group: string };
    return (await readdir(join(berth.root, 'spool'))).filter((name) => name.startsWith(`${group}.`));
  };
  const nothingLeft = async (): Promise<void> => {
    expect(await drills()).toEqual([]);
    expect(await spooled()).toEqual([]);
    expect((await readdir(join(berth.root, 'copies'), { recursive: true })).filter((name) => name.includes('.part-'))).toEqual([]);
  };

  /** Kills the worker once in each step, in the middle of it; answers what was in the server after each death. */
  async function dyingIn(steps: readonly string[], ask: readonly string[]): Promise<Record<string, string>> {
    const from = last();
    const seen: Record<string, string> = {};
    const asked = ok(ask);
    let over = false;
    const ended = asked.finally(() => { over = true; });
    const waiting = new Set(steps);
    const die = async (step: string): Promise<void> => {
      waiting.delete(step);
      berth.kill('service-1');
      seen[step] = await counted();
    };
    // what asks the store of copies dies while it waits for its answer
    const requests: Record<string, string> = { store: 'PUT', check: 'GET', prune: 'DELETE', fetch: 'GET' };
    s3.cut = async (method) => {
      const step = [...waiting].find((each) => requests[each] === method);
      if (step === undefined) return false;
      await die(step);
      return true;
    };
    const others = (async () => {
      for (const step of steps.filter((each) => !(each in requests))) {
        while (begun(step, from) === 0 && !over) await sleep(1);
        await sleep(150);
        if (!over) await die(step);
      }
    })();
    await ended;
    await others;
    for (const step of steps) expect([step, begun(step, from) > 1]).toEqual([step, true]);
    return seen;
  }

  it('the worker, in each step of a backup', async () => {
    await ok(['postgres:backup', 'blog', 's3://bucket/berth']);
    await dyingIn(['dump', 'store', 'check', 'drill', 'prune'], ['postgres:backup', 'blog', 's3://bucket/berth']);
    const [newest] = await backups('postgres', 'blog');
    expect(newest).toMatchObject({ kind: 'backup', failure: null, count: { rows: 60_004 } });
    expect([...s3.objects].map(([key, { length }]) => [key, length])).toEqual([[`/bucket/berth/${newest!.key}`, newest!.bytes]]);
    await nothingLeft();
  });

  it('the worker, in each step of a restore: the old data is there until all of the new is', async () => {
    const [newest] = await backups('postgres', 'blog');
    await sql("delete from notes where text = 'one'");
    const from = last();
    const restored = dyingIn(['fetch', 'drill', 'safety', 'import'], ['postgres:restore', 'blog', String(newest!.backup)]);
    // once more when it is in already, and nobody has written that down yet
    const again = (async () => {
      while (begun('import', from) < 2) await sleep(5);
      while ((await counted()) !== '60004') await sleep(5);
      berth.kill('service-1');
    })();
    const seen = await restored;
    await again;
    expect(seen).toMatchObject({ fetch: '60003', drill: '60003', safety: '60003', import: expect.stringMatching(/^6000[34]$/) });
    expect(await counted()).toBe('60004');
    expect((await backups('postgres', 'blog')).find((one) => one.kind === 'safety copy')).toMatchObject({ failure: null });
    expect((await eventsOf(berth, '--type', 'CopyRestored')).filter((item) => item.data.position > from)).toHaveLength(1);
    await nothingLeft();
  });

  it('the server that is dumped', async () => {
    const from = last();
    const asked = ok(['postgres:backup', 'blog', dir]);
    while (begun('dump', from) === 0) await sleep(1);
    await sleep(150);
    await berth.engine('POST', `/containers/${container}/kill?signal=KILL`);
    await asked;
    expect(begun('dump', from)).toBeGreaterThan(1);
    expect((await backups('postgres', 'blog'))[0]).toMatchObject({ kind: 'backup', failure: null, count: { rows: 60_004 } });
  });
});
