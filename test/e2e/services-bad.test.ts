import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { eventsOf, succeeds } from './berth.kit.js';
import { SmallDisk } from './small-disk.js';

/** `npm run test:services`: longer streams */
const ALL = process.env['BERTH_SERVICES'] === 'all';
const MIB = ALL ? 2048 : 150;

/** Services when things go wrong in the middle: large streams, containers and processes that die. */
let berth: Fixture;

beforeAll(async () => {
  berth = await startBerth();
  await ok(['postgres:create', 'db']);
  // 40 MB that do not compress, and one line that a broken import would change
  await ok(['postgres:connect', 'db'], "create table noise as select n, (select string_agg(md5(random()::text || n || m), '') from generate_series(1, 64) m) as text from generate_series(1, 20000) n; create table notes (text text); insert into notes values ('kept');");
  expect((await berth.sh('cd "$BERTH_ROOT/work" && "$BERTH" postgres:export db > dump')).code).toBe(0);
});
afterAll(async () => {
  await berth.stop();
  expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
});

async function ok(args: readonly string[], stdin?: string): Promise<string> {
  const { out } = await succeeds(berth, args, { timeoutMs: 280_000, ...(stdin !== undefined && { stdin }) });
  return out;
}
/** most memory that the API ever had, MB */
const peak = (): number => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${berth.program('api').pid}/status`, 'utf8'))![1]) / 1000;
const container = async (): Promise<string> => (await berth.json<{ container: string }>(['postgres:info', 'db'])).container;
const kept = async (): Promise<void> => { await berth.until('the data of before', async () => (await berth.cli(['postgres:connect', 'db', '-At'], { stdin: 'select text from notes; select count(*) from noise' })).out === 'kept\n20000\n', 90_000); };

describe('a stream of any length', () => {
  it('comes in and goes out with back-pressure: the API grows by no more than a little', async () => {
    const before = peak();
    const inward = await berth.sh(`head -c ${MIB}M /dev/zero | "$BERTH" postgres:enter db wc -c`, { timeoutMs: 900_000 });
    expect(inward.out.trim(), inward.err).toBe(String(MIB * 2 ** 20));
    const outward = await berth.sh(`"$BERTH" postgres:enter db head -c ${MIB}M /dev/zero | { sleep 3; wc -c; }`, { timeoutMs: 900_000 });
    expect(outward.out.trim(), outward.err).toBe(String(MIB * 2 ** 20));
    const grown = peak() - before;
    expect(grown, `${before} MB before`).toBeLessThan(100);
  }, 1_800_000);
});

describe('an import that is cut off', () => {
  const slow = '{ head -c 8M "$BERTH_ROOT/work/dump"; sleep 6; } | "$BERTH" postgres:import db';

  it('by its container\'s death leaves the old data', async () => {
    const importing = berth.sh(slow);
    await sleep(1500);
    await berth.engine('POST', `/containers/${await container()}/kill`);
    const { code, err } = await importing;
    expect(code).not.toBe(0);
    expect(err).toMatch(/pg_restore ended with|does not run/);
    await kept();
  });

  it('by the death of whoever sends it, or of the API, leaves the old data', async () => {
    const { code } = await berth.sh('head -c 8M "$BERTH_ROOT/work/dump" | timeout -s KILL 3 "$BERTH" postgres:import db; { head -c 8M "$BERTH_ROOT/work/dump"; sleep 4; } | timeout -s KILL 2 "$BERTH" postgres:import db');
    expect(code).not.toBe(0);
    const importing = berth.sh(slow);
    await sleep(1500);
    berth.kill('api');
    expect((await importing).code).not.toBe(0);
    await kept();
    expect(await eventsOf(berth, '--type', 'ServiceImported')).toEqual([]);
  });
});

describe('an export', () => {
  it('whose container dies is no success', async () => {
    const exporting = berth.sh('"$BERTH" postgres:export db | { sleep 4; wc -c; }; exit 0');
    await sleep(1500);
    await berth.engine('POST', `/containers/${await container()}/kill`);
    expect((await exporting).err).toMatch(/pg_dump ended with/);
    await kept();
  });
});

describe('a full disk', () => {
  it('of Berth, where dumps lie on their way: nothing half is left, and the backup goes on once there is room', async () => {
    // too small for the dump
    const disk = new SmallDisk(join(berth.root, 'spool'), 16, join(berth.root, 'work/spool.img'));
    try {
      const asked = berth.cli(['postgres:backup', 'db', join(berth.root, 'work/copies')], { timeoutMs: 180_000 });
      const failed = await berth.until('the disk to be full', async () => {
        const [first] = await eventsOf(berth, '--type', 'OperationStepFailed');
        return first !== undefined && JSON.stringify(first.data.data);
      }, 60_000);
      expect(failed).toMatch(/"step":"dump".*(no space left|no room|disk .* is full)/i);
      expect(readdirSync(disk.dir, { recursive: true }).filter((name) => String(name).includes('dump'))).toEqual([]);
      disk.remove();
      const { code, out, err } = await asked;
      expect([code, out + err]).toEqual([0, expect.stringContaining('Restored into a throw-away instance')]);
    } finally {
      disk.remove();
    }
  });

  it('of the server fails an import, with the reason; the data of before is there, and the server answers', async () => {
    const { Mounts: [mount] } = await berth.engine<{ Mounts: { Source: string }[] }>('GET', `/containers/${await container()}/json`);
    const aside = join(berth.root, 'work/aside');
    await ok(['postgres:stop', 'db']);
    const copy = (from: string, to: string): void => { expect(spawnSync('cp', ['-a', `${from}/.`, to]).status).toBe(0); };
    mkdirSync(aside);
    copy(mount!.Source, aside);
    const disk = new SmallDisk(mount!.Source, 600, join(berth.root, 'work/volume.img'));
    try {
      copy(aside, mount!.Source);
      await ok(['postgres:start', 'db']);
      disk.fill(20 * 2 ** 20);
      const { code, err } = await berth.sh('"$BERTH" postgres:import db < "$BERTH_ROOT/work/dump"');
      expect([code, err]).toEqual([1, expect.stringContaining('No space left on device')]);
      await kept();
      expect(await eventsOf(berth, '--type', 'ServiceImported')).toEqual([]);
      disk.empty();
      expect((await berth.sh('"$BERTH" postgres:import db < "$BERTH_ROOT/work/dump"')).code).toBe(0);
      await kept();
      await ok(['postgres:stop', 'db']);
    } finally {
      disk.remove();
    }
  });
});
