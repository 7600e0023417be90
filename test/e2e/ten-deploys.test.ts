import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { leftovers, wrongInLog } from '../chaos/judge.js';
import { LogWatch } from '../chaos/log-watch.js';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, type Live, baseImage, baseOf, pushing } from './berth.kit.js';

/** A minute in `npm run chaos`. */
const AWAY_MS = process.env['CHAOS_KILLS'] === undefined ? 10_000 : 60_000;
const NAMES = Array.from({ length: 10 }, (_, i) => `ten-${i}`);

let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let log: LogWatch;
const dirs = new Map<string, string>();

beforeAll(async () => {
  berth = await startBerth({ concurrency: 10 });
  app = await baseImage(berth);
  for (const name of NAMES) dirs.set(name, await berth.repo(app({ version: '1' })));
  log = new LogWatch(berth);
});
afterAll(async () => {
  log.close();
  await berth.stop();
});

/** @param seconds that each build takes */
const pushAll = async (version: string, seconds: number): Promise<Live[]> => {
  for (const [, dir] of dirs) await berth.commit(dir, { ...app({ version, args: '-delay 300' }), Dockerfile: (app({ args: '-delay 300' })['Dockerfile'] as string).replace('COPY', `RUN sleep ${seconds}\nCOPY`) });
  return NAMES.map((name) => pushing(berth, dirs.get(name)!, name));
};

async function judge(pushes: readonly Live[], version: string): Promise<void> {
  for (const push of pushes) expect(await push.ended, push.output).toBe(0);
  for (const name of NAMES) expect((await berth.http(name)).body).toContain(`v=${version} `);
  expect(wrongInLog(log.events)).toEqual([]);
  await berth.until('nothing to be left over', async () => {
    const left = [...await leftovers(berth, log.events, baseOf(berth)), ...log.openWork()];
    if (left.length > 0) throw new Error(left.join('\n'));
    return true;
  }, 40_000);
}

it(`ten deploys run, and Redis is gone for ${AWAY_MS / 1000} s: all finish, nothing is done twice`, async () => {
  const pushes = await pushAll('away', 5);
  await berth.until('ten deploys to be in a step', async () => new Set(log.events.filter((event) => event.type === 'StepStarted').map((event) => event.data.app)).size === 10, 60_000);
  expect(log.events.filter((event) => event.type === 'DeploySucceeded')).toEqual([]);
  await berth.program('redis').down();
  await new Promise((done) => setTimeout(done, AWAY_MS)); // the outage itself
  expect(log.events.filter((event) => event.type === 'DeployFailed')).toEqual([]);
  expect(log.openWork().length).toBeGreaterThan(0);
  berth.program('redis').start();
  await judge(pushes, 'away');
});

it('ten deploys run, and Redis is emptied again and again: all finish, nothing is done twice', async () => {
  const pushes = await pushAll('flushed', 0.5);
  let over = false;
  const flushing = (async () => {
    for (let n = 0; !over; n += 1) {
      await new Promise((done) => setTimeout(done, 700));
      expect((await run('redis-cli', ['-s', join(berth.runDir, 'redis.sock'), 'FLUSHALL'])).out.trim()).toBe('OK');
    }
  })();
  for (const push of pushes) await push.ended;
  over = true;
  await flushing;
  await judge(pushes, 'flushed');
});
