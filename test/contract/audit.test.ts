import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.js';
import { DailyAudit } from '../../src/modules/audit/checkpoint.js';
import { CliDoor } from '../../src/modules/commands/door.js';
import { Core } from '../../src/modules/core.js';

const DAY = 86_400_000;
let dir: string;
let core: Core;
let now = 1_800_000_000_000;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-audit-'));
  core = await open();
  for (const app of ['blog', 'shop', 'wiki']) expect((await berth('apps:create', app)).code).toBe(0);
});
afterEach(async () => {
  await core.close();
  rmSync(dir, { recursive: true, force: true });
});
const open = async (): Promise<Core> => {
  const { config, store } = await Core.open(readConfig({ BERTH_ROOT: dir }));
  return new Core(config, store, () => now);
};
async function berth(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await new CliDoor(core, (_, error) => { throw error; }).run({
    argv, origin: 'local', actor: 'root@host', columns: 0, color: false, hasStdin: false, signal: AbortSignal.timeout(20_000),
    write: (channel, text) => { if (channel === 'o') out += text; else err += text; }, drained: async () => {}, read: async () => Buffer.alloc(0), answer: async () => '', pieces: async function* () {},
  });
  return { code, out, err };
}

/** The command line on a machine where no Berth runs: no socket, no store, no Redis. */
function elsewhere(...args: string[]): { code: number; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(process.env['BERTH_TEST_DIST'] ?? 'dist', 'cli.cjs'), ...args], { encoding: 'utf8', env: { PATH: process.env['PATH'], BERTH_RUN: join(dir, 'nowhere'), BERTH_ROOT: join(dir, 'nowhere') } });
  return { code: status ?? -1, out: stdout, err: stderr };
}
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};

/** What somebody may do to a log of six events and more, and what is to be said of it. */
const CRIMES: readonly { what: string; sql: string; lines: (lines: string[]) => string[]; says: string }[] = [
  { what: 'altered', sql: "UPDATE events SET data = replace(data, 'shop', 'shot') WHERE position = 3", lines: (l) => l.map((line, i) => (i === 3 ? line.replace('shop', 'shot') : line)), says: 'altered at position 3 (AppCreated)' },
  { what: 'deleted', sql: 'DELETE FROM events WHERE position = 4', lines: (l) => l.filter((_, i) => i !== 4), says: 'removed at position 4' },
  {
    what: 'deleted, those behind it moved up', says: 'removed at position 2',
    sql: 'DELETE FROM events WHERE position = 2; UPDATE events SET position = -position; UPDATE events SET position = CASE WHEN position < -2 THEN -position - 1 ELSE -position END',
    lines: (l) => l.filter((_, i) => i !== 2).map((line, i) => (i >= 2 ? line.replace(/"position":\d+/, `"position":${i}`) : line)),
  },
  {
    what: 'inserted', says: 'inserted at position 3',
    sql: "UPDATE events SET position = -position; UPDATE events SET position = CASE WHEN position <= -3 THEN -position + 1 ELSE -position END; INSERT INTO events SELECT 3, 'put-in', 1, id || 'x', type, schema, data, meta, correlation, at, hash FROM events WHERE position = 1",
    lines: (l) => [...l.slice(0, 3), l[1]!.replace(/"position":1/, '"position":3').replace(/"stream":"[^"]*"/, '"stream":"put-in"'), ...l.slice(3).map((line, i) => line.replace(/"position":\d+/, `"position":${i + 4}`))],
  },
  {
    what: 'two that changed places', says: 'reordered at position 2',
    sql: 'UPDATE events SET position = -position WHERE position IN (2, 5); UPDATE events SET position = 7 + position WHERE position < 0',
    lines: (l) => l.map((line, i) => (i === 2 ? l[5]!.replace('"position":5', '"position":2') : i === 5 ? l[2]!.replace('"position":2', '"position":5') : line)),
  },
];

describe('a log that somebody changed', () => {
  it.each(CRIMES)('in the database: $what', async ({ sql, says }) => {
    const db = new DatabaseSync(join(dir, 'berth.db'));
    db.exec(sql);
    db.close();
    expect(await berth('audit:verify')).toMatchObject({ code: 1, err: expect.stringContaining(says) as string });
    const exported = file('log.jsonl', (await berth('audit:export')).out);
    expect(elsewhere('audit:verify', exported)).toMatchObject({ code: 1, err: expect.stringContaining(says) as string });
  });

  it.each(CRIMES)('in an export, looked at where no Berth runs: $what', async ({ lines, says }) => {
    const sound = (await berth('audit:export')).out.trimEnd().split('\n');
    expect(elsewhere('audit:verify', file('sound.jsonl', sound.join('\n')))).toMatchObject({ code: 0, err: '' });
    const found = elsewhere('audit:verify', file('log.jsonl', lines(sound).join('\n')));
    expect(found).toMatchObject({ code: 1, out: '', err: expect.stringContaining(says) as string });
  });
});

describe('offline', () => {
  it('finds a log that was written anew, with the checkpoint that was kept, and takes no other key for it', async () => {
    const kept = file('checkpoint.json', (await berth('audit:checkpoint', '--format', 'json')).out);
    const sound = file('log.jsonl', (await berth('audit:export')).out);
    expect(elsewhere('audit:verify', sound, '--key', kept)).toMatchObject({ code: 0, err: '', out: expect.stringContaining('1 checkpoint agrees') as string });
    expect(elsewhere('audit:verify', sound).err).toContain('whoever made the file chose it');
    expect(elsewhere('audit:verify', sound, '--key', join(dir, 'keys', 'audit.key'))).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(elsewhere('audit:verify', sound, '--key', kept, '--format', 'json').out)).toMatchObject({ signer: 'given', problem: null, covered: 6 });

    // another log, with a chain, a key and a checkpoint of its own
    const root = mkdtempSync(join(dir, 'other-'));
    const own = core;
    core = new Core({ ...own.config, root, store: `sqlite:${join(root, 'berth.db')}` }, (await Core.open(readConfig({ BERTH_ROOT: root }))).store, () => now);
    for (const app of ['blog', 'shop', 'evil']) await berth('apps:create', app);
    await berth('audit:checkpoint');
    const forged = file('forged.jsonl', (await berth('audit:export')).out);
    await core.close();
    core = own;
    expect(elsewhere('audit:verify', forged).code).toBe(0);
    expect(elsewhere('audit:verify', forged, '--key', kept)).toMatchObject({ code: 1, err: expect.stringContaining('another key') as string });
    expect(elsewhere('audit:verify', forged, '--key', kept, '--against', kept).code).toBe(1);
  });

  it('says what is wrong with a file that is none', () => {
    expect(elsewhere('audit:verify', join(dir, 'none.jsonl'))).toMatchObject({ code: 1, err: expect.stringContaining('cannot be read') as string });
    expect(elsewhere('audit:verify', file('x', 'hello'))).toMatchObject({ code: 1, err: expect.stringContaining('line 1: not a line of an export') as string });
    expect(elsewhere('audit:verify', file('x', 'hello'), '--key', file('k', 'abc')).err).toContain('no Ed25519 key');
    expect(elsewhere('backup:verify', file('x', 'hello'))).toMatchObject({ code: 1, err: expect.stringContaining('is not a backup of Berth') as string });
    expect(elsewhere('audit:verify', '--wrong').err).toContain('has no flag');
    // without a file it is this server's log, which only the server knows
    expect(elsewhere('audit:verify')).toMatchObject({ code: 1, err: expect.stringContaining('API is not running') as string });
  });
});

describe('once a day', () => {
  const audits = async (): Promise<string[]> => (await core.store.readStream('audit')).map(({ type, data, meta }) => `${type} ${(data as { position: number }).position} ${meta.actor}`);
  const look = (): Promise<void> => new DailyAudit(core, (_, error) => { throw error; }).run();

  it('the log is checked and signed, by whoever leads, and what is wrong is recorded once', async () => {
    await look();
    expect(await audits()).toEqual([]); // a log of a few minutes
    now += DAY;
    await look();
    await look();
    expect(await audits()).toEqual(['AuditCheckpointTaken 6 system:audit']);
    now += DAY - 1;
    await look();
    expect(await audits()).toHaveLength(1);
    now += 1;
    await look();
    expect(await audits()).toEqual(['AuditCheckpointTaken 6 system:audit', 'AuditCheckpointTaken 7 system:audit']);
    const db = new DatabaseSync(join(dir, 'berth.db'));
    db.exec("UPDATE events SET data = replace(data, 'shop', 'shot') WHERE position = 3");
    db.close();
    now += DAY;
    for (let i = 0; i < 3; i += 1) {
      now += DAY;
      await look();
    }
    expect((await audits()).slice(2)).toEqual(['AuditFailed 3 system:audit']);
    expect((await berth('doctor')).out).toMatch(/log integrity +.*event 3/);
  });
});
