import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, type DeployInfo, baseImage, deployOf, deploysOf, eventsOf, left, pushing, sshing } from './berth.kit.js';

/** The engine is killed, or stopped, in the middle of a step, and comes back after a few seconds. `npm run chaos` does every step, the test command some. */
const ALL = process.env['CHAOS_KILLS'] !== undefined;
const STEPS = ['clone', 'detect', 'build', 'release', 'route'] as const;

let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let n = 0;

const check = { healthchecks: { web: [{ path: '/check', timeout: 5, attempts: 3, wait: 1 }] } };

beforeAll(async () => {
  berth = await startBerth({ engine: { liveRestore: false } });
  app = await baseImage(berth);
  dir = await berth.repo(app({ version: 'v0' }));
  const pushed = await berth.push(dir, 'dies');
  expect(pushed.code, pushed.output).toBe(0);
});
afterAll(async () => { await berth.stop(); });

/** Slow enough in a step to be met there. */
function slowIn(step: string, version: string): AppFiles {
  const files = app({ version, args: step === 'route' ? '-seen 1500' : '-delay 1500', appJson: check });
  return step === 'build' ? { ...files, Dockerfile: (files['Dockerfile'] as string).replace('COPY', 'RUN sleep 3\nCOPY') } : files;
}

const MODES = [
  { signal: 'SIGKILL', liveRestore: false, what: 'containers die with it' },
  { signal: 'SIGKILL', liveRestore: true, what: 'containers outlive it' },
  { signal: 'SIGTERM', liveRestore: false, what: 'containers are stopped with it' },
] as const;
describe.each(ALL ? MODES : MODES.slice(0, 1))('$signal of dockerd, live-restore $liveRestore: $what', ({ signal, liveRestore }) => {
  beforeAll(async () => {
    berth.ownEngine!.setLiveRestore(liveRestore);
    await berth.program('dockerd').down('SIGTERM');
    berth.program('dockerd').start();
    await berth.ownEngine!.ready();
    await berth.until('the app to serve', async () => (await berth.http('dies')).status === 200);
  });

  it.each(ALL ? STEPS : STEPS.slice(2))('in the %s step', async (step) => {
    const version = `v${(n += 1)}`;
    await berth.commit(dir, slowIn(step, version));
    const last = (await deploysOf(berth, 'dies'))[0]!.deploy;
    const tail = sshing(berth, 'events -t -n 1 --type StepStarted --format json');
    try {
      await tail.says(/\n/);
      const push = pushing(berth, dir, 'dies');
      await tail.says(new RegExp(`\\.${last + 1}\\.${step}"`));
      if (step !== 'clone' && step !== 'detect') await new Promise((done) => setTimeout(done, 500)); // into the middle of it
      await berth.program('dockerd').down(signal);
      if (!liveRestore) await berth.program('containerd').down();
      await new Promise((done) => setTimeout(done, 3000)); // it is away for as long
      if (!liveRestore) berth.program('containerd').start();
      berth.program('dockerd').start();
      await berth.ownEngine!.ready();
      expect((await berth.until('the served version to serve again', async () => { const a = await berth.http('dies'); return a.status === 200 && a; })).body).toMatch(/v=v/);
      await berth.until('the deploy to end', async () => !['running', 'waiting'].includes((await deployOf(berth, 'dies', last + 1)).status), 60_000);
      expect(await push.ended, push.output).toBe(0);
    } finally {
      tail.kill();
    }
    const deploy: DeployInfo = await deployOf(berth, 'dies', last + 1);
    expect(deploy.status).toBe('succeeded');
    await berth.until('the new version', async () => (await berth.http('dies')).body.includes(`v=${version} `));
    const events = (await eventsOf(berth, '--of', 'dies')).filter((item) => item.data.data['deploy'] === deploy.deploy).map((item) => item.data.type);
    for (const type of ['SourceCloned', 'BuildpackDetected', 'ImageBuilt', 'ReleaseCreated', 'ContainersStarted', 'RouteSwitched', 'DeploySucceeded']) expect(events.filter((one) => one === type), type).toHaveLength(1);
    await berth.until('one container', async () => (await left(berth)).containers.length === 1, 30_000);
  });
});
