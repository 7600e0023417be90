import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, type DeployInfo, Poller, baseImage, deployOf, deploysOf, eventsOf, left, pushing, refOf, remote, sshing } from './berth.kit.js';

/** Whatever dies, the deploy ends right by itself, and who asks the old version feels nothing. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let n = 0;

const check = { healthchecks: { web: [{ path: '/check', timeout: 5, attempts: 3, wait: 1 }] } };
/** Slow enough in a step to be met there. */
const held = (version: string, args = '-delay 1000'): AppFiles => app({ version, args, appJson: check });

beforeAll(async () => {
  berth = await startBerth();
  app = await baseImage(berth);
  dir = await berth.repo({});
  // 200 MB: what is under way takes long enough to be killed
  await berth.git(dir, 'config', 'core.compression', '0');
  await berth.git(dir, 'config', 'pack.compression', '0');
  const part = randomBytes(50 << 20);
  for (let i = 0; i < 4; i += 1) {
    part.writeUInt32BE(i);
    writeFileSync(join(dir, `part-${i}`), part);
  }
  await berth.commit(dir, { ...app({ version: 'v0' }), '.dockerignore': 'part-*\n' });
});
afterAll(async () => {
  await berth.stop();
  expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
});

async function ended(name: string, deploy: number): Promise<DeployInfo> {
  return berth.until(`deploy ${deploy} of ${name} to end`, async () => {
    const row = await deployOf(berth, name, deploy);
    return row.status !== 'running' && row.status !== 'waiting' && row;
  }, 60_000);
}

it('takes a repository of 200 MB', async () => {
  const pushed = await berth.push(dir, 'crash');
  expect(pushed.code, pushed.output).toBe(0);
  expect(pushed.output).toMatch(/\d files, 210 MB/);
  expect((await berth.http('crash')).body).toContain('v=v0');
});

describe('SIGKILL of a worker in the middle of its step', () => {
  it.each(['clone', 'detect', 'build', 'release', 'route'] as const)('%s', async (step) => {
    const poller = new Poller(berth, 'crash', true);
    const tail = sshing(berth, 'events -t -n 1 --type StepStarted --format json');
    let deploy: DeployInfo;
    let version: string;
    try {
      await tail.says(/\n/);
      // a step that was over before the signal came proves nothing: once more
      do {
        n += 1;
        version = `v${n}`;
        expect(n, 'too quick to be killed').toBeLessThan(20);
        const files: Record<string, AppFiles[string] | null> = step === 'route' ? held(version, '-seen 1000') : step === 'release' ? held(version) : app({ version });
        if (step === 'build') files['Dockerfile'] = (files['Dockerfile'] as string).replace('COPY', 'RUN sleep 2\nCOPY');
        if (n === 1) for (const part of [1, 2, 3]) files[`part-${part}`] = null; // a quarter is enough from here on
        if (step === 'build') files['part-0'] = null;
        await berth.commit(dir, files);
        const last = (await deploysOf(berth, 'crash'))[0]!.deploy;
        const before = berth.program(`${step}-1`).starts;
        const push = pushing(berth, dir, 'crash');
        await tail.says(new RegExp(`\\.${last + 1}\\.${step}"`));
        berth.kill(`${step}-1`);
        const killed = Date.now();
        expect(await push.ended, push.output).toBe(0);
        expect(Date.now() - killed, 'replaced within seconds').toBeLessThan(25_000);
        expect(berth.program(`${step}-1`).starts).toBe(before + 1);
        deploy = await deployOf(berth, 'crash', last + 1);
      } while (deploy.steps.every((one) => one.attempt === 1));
      await berth.until('the new version', async () => [...poller.seen.keys()].some((text) => text.startsWith(`v=${version} `)));
    } finally {
      tail.kill();
      await poller.stop();
    }
    expect(deploy.status).toBe('succeeded');
    expect(deploy.steps.map((one) => [one.step, one.attempt])).toEqual(['clone', 'detect', 'build', 'release', 'route'].map((one) => [one, one === step ? 2 : 1]));
    expect(poller.failures).toEqual([]);
    expect(await refOf(berth, 'crash')).toBe((await berth.git(dir, 'rev-parse', 'HEAD')).trim());
    // one outcome a step, whoever died
    const events = (await eventsOf(berth, '--of', 'crash')).filter((item) => item.data.data['deploy'] === deploy.deploy).map((item) => item.data.type);
    for (const type of ['SourceCloned', 'BuildpackDetected', 'ImageBuilt', 'ReleaseCreated', 'ContainersStarted', 'RouteSwitched', 'DeploySucceeded']) expect(events.filter((one) => one === type), type).toHaveLength(1);
    await berth.until('one container', async () => (await left(berth)).containers.length === 1, 20_000);
  });

  it('all of them at once', async () => {
    await berth.commit(dir, held('all'));
    const push = pushing(berth, dir, 'crash');
    await push.says(/-----> Releasing crash/);
    for (const kind of ['clone', 'detect', 'build', 'release', 'route']) berth.kill(`${kind}-1`);
    expect(await push.ended, push.output).toBe(0);
    expect((await berth.http('crash')).body).toContain('v=all');
  });

  it('by an orderly stop: the step is given back, or ended, at once', async () => {
    await berth.commit(dir, held('term'));
    const push = pushing(berth, dir, 'crash');
    await push.says(/-----> Releasing crash/);
    berth.kill('release-1', 'SIGTERM');
    expect(await push.ended, push.output).toBe(0);
    const [row] = await deploysOf(berth, 'crash');
    // it had ten seconds and needed two: no second attempt
    expect(row!.steps.map((one) => one.attempt)).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('the API', () => {
  it('is killed during a push: the hook comes back and shows the rest, each line once', async () => {
    await berth.commit(dir, held('api'));
    const poller = new Poller(berth, 'crash', false);
    const push = pushing(berth, dir, 'crash');
    await push.says(/-----> Building crash/);
    berth.kill('api');
    expect(await push.ended, push.output).toBe(0);
    await poller.stop();
    expect(poller.failures).toEqual([]);
    const lines = remote(push.output);
    for (const mark of [/^-----> Deploying crash/, /^-----> Cloning crash/, /^-----> .*detected/, /^-----> Building crash/, /^-----> Releasing crash/, /^-----> Routing crash/, /^=====> Application deployed/]) expect(lines.filter((line) => mark.test(line)), `${String(mark)}\n${push.output}`).toHaveLength(1);
    expect((await berth.http('crash')).body).toContain('v=api');
    expect(await refOf(berth, 'crash')).toBe((await berth.git(dir, 'rev-parse', 'HEAD')).trim());
  });

  it('is killed while the push waits for another deploy', async () => {
    const one = await berth.repo(app({ version: '1', args: '-delay 1200' }));
    expect((await berth.push(one, 'queue')).code).toBe(0);
    const two = `${one}-two`;
    await berth.git(one, 'clone', '-q', one, two);
    await berth.commit(one, { version: '2\n' });
    await berth.commit(two, { version: '3\n' });
    const first = pushing(berth, one, 'queue');
    await first.says(/-----> Releasing queue/);
    const second = pushing(berth, two, 'queue', '+HEAD:refs/heads/main');
    await second.says(/Waiting: deploy 2 is running/);
    berth.kill('api');
    expect([await first.ended, await second.ended], first.output + second.output).toEqual([0, 0]);
    expect(remote(second.output).filter((line) => line.includes('Cloning queue'))).toHaveLength(1);
    expect((await berth.http('queue')).body).toContain('v=3');
    expect((await deploysOf(berth, 'queue')).map((row) => row.status)).toEqual(['succeeded', 'succeeded', 'succeeded']);
  });
});

describe('Redis', () => {
  const redis = (...words: string[]): ReturnType<typeof run> => run('redis-cli', ['-s', join(berth.runDir, 'redis.sock'), ...words]);

  it('is emptied in the middle of a deploy', async () => {
    await berth.commit(dir, app({ version: 'flush' }));
    const push = pushing(berth, dir, 'crash');
    for (const mark of [/-----> Cloning crash/, /-----> Building crash/, /-----> Releasing crash/, /-----> Routing crash/]) {
      await push.says(mark);
      expect((await redis('FLUSHALL')).out.trim()).toBe('OK');
    }
    expect(await push.ended, push.output).toBe(0);
    expect((await berth.http('crash')).body).toContain('v=flush');
  });

  it('is away for ten seconds: what is asked for meanwhile is done when it is back', async () => {
    const poller = new Poller(berth, 'crash', true);
    await berth.program('redis').down();
    const workers = await berth.cli(['workers']);
    expect([workers.code, workers.err]).toEqual([1, expect.stringContaining('Redis does not answer')]);
    expect((await berth.json<string[]>(['apps:list']))).toContain('crash'); // what needs no queue goes on
    await berth.commit(dir, app({ version: 'redis' }));
    const push = pushing(berth, dir, 'crash');
    await push.says(/-----> Deploying crash/);
    await new Promise((done) => setTimeout(done, 9000)); // the outage itself
    const [row] = await deploysOf(berth, 'crash');
    expect([row!.status, row!.steps.map((one) => one.status)]).toEqual(['running', ['queued']]);
    berth.program('redis').start();
    expect(await push.ended, push.output).toBe(0);
    await poller.stop();
    expect(poller.failures).toEqual([]);
    expect((await berth.http('crash')).body).toContain('v=redis');
    await berth.until('all workers to show themselves', async () => (await berth.json<{ workers: unknown[] }>(['workers'])).workers.length === 6);
  });
});

describe('the router', () => {
  it('is killed and comes back with every route', async () => {
    const before = (await berth.http('crash')).body;
    const { starts } = berth.program('router');
    berth.kill('router');
    await berth.until('another router', async () => berth.program('router').starts > starts);
    await berth.until('both apps to answer again', async () => (await berth.http('crash')).body === before && (await berth.http('queue')).status === 200);
  });

  it('is killed while a deploy switches it', async () => {
    await berth.commit(dir, held('router', '-seen 800'));
    const push = pushing(berth, dir, 'crash');
    await push.says(/-----> Routing crash/);
    berth.kill('router');
    expect(await push.ended, push.output).toBe(0);
    await berth.until('the new version', async () => (await berth.http('crash')).body.includes('v=router'));
    expect((await ended('crash', (await deploysOf(berth, 'crash'))[0]!.deploy)).status).toBe('succeeded');
  });

  it('is down: a deploy says so, is tried again by itself, and succeeds when it is back', async () => {
    await berth.commit(dir, app({ version: 'down' }));
    await berth.program('router').down();
    const poller = new Poller(berth, 'crash', true);
    const push = pushing(berth, dir, 'crash');
    const said = await push.says(/ ! {5}.*(?:router|HAProxy).*/i);
    expect(said[0]).not.toMatch(/undefined|\[object/);
    berth.program('router').start();
    expect(await push.ended, push.output).toBe(0);
    await berth.until('the new version', async () => (await berth.http('crash')).body.includes('v=down'));
    // the one outage that a client must see; and the proof that a poller sees one
    expect((await poller.stop()).failures.length).toBeGreaterThan(0);
    expect(poller.ok).toBeGreaterThan(0);
  });
});

describe('everything', () => {
  it('dies at once and goes on where it was', async () => {
    await berth.commit(dir, held('power'));
    const push = pushing(berth, dir, 'crash');
    await push.says(/-----> Building crash/);
    for (const program of berth.programs.values()) if (program.name !== 'sshd') program.kill('SIGKILL');
    expect(await push.ended, push.output).toBe(0);
    await berth.until('the new version', async () => (await berth.http('crash')).body.includes('v=power'));
    expect(remote(push.output).filter((line) => line.startsWith('=====> Application deployed'))).toHaveLength(1);
    await berth.until('two apps, two containers', async () => (await left(berth)).containers.length === 2, 20_000);
  });

  it('takes an app\'s process: it is started again, and routed', async () => {
    const pidOf = async (): Promise<number> => {
      const [container] = (await berth.json<{ processes: { id: string }[] }[]>(['ps:report', 'crash']))[0]!.processes;
      return (await berth.engine<{ State: { Pid: number } }>('GET', `/containers/${container!.id}/json`)).State.Pid;
    };
    const before = await pidOf();
    expect(before).toBeGreaterThan(1);
    process.kill(before, 'SIGKILL');
    await berth.until('another process to answer', async () => ![0, before].includes(await pidOf()) && (await berth.http('crash')).body.includes('v=power'));
  });
});

describe('an engine that is not there', () => {
  it('fails the deploy with a word that says so, after it was tried again', async () => {
    const alone = await startBerth({ env: { BERTH_DOCKER: join(berth.root, 'no-such.sock') }, workers: { clone: 1, detect: 1, build: 1, release: 1, route: 1 } });
    try {
      const repo = await alone.repo(app());
      const push = pushing(alone, repo, 'lonely');
      const [said] = await push.says(/ ! {5}.*engine.*/i);
      expect(said).toContain('no-such.sock');
      const report = await alone.cli(['ps:report', 'lonely']);
      expect([report.code === 0, report.err + report.out]).toEqual([false, expect.stringMatching(/engine/i)]);
      const [row] = await deploysOf(alone, 'lonely');
      expect(row).toMatchObject({ status: 'running', steps: [{ status: 'succeeded' }, { status: 'succeeded' }, { step: 'build', failure: { fault: 'machine' } }] });
      expect((await alone.cli(['deploys:cancel', 'lonely'])).code).toBe(0);
      expect(await push.ended).not.toBe(0);
      expect((await alone.cli(['apps:list'])).code).toBe(0);
    } finally {
      await alone.stopProcesses();
      rmSync(alone.root, { recursive: true, force: true });
    }
  });
});
