import { readdir, readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, baseImage, deploysOf, eventsOf, pushing, settled } from './berth.kit.js';

let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
beforeAll(async () => {
  berth = await startBerth({ concurrency: 1 });
  app = await baseImage(berth);
});
afterAll(() => berth.stop());

it('as many builds at once as the setting says, and an app that pushes again and again does not hold up others', async () => {
  const slow = (version: string, work = 'sleep 1'): AppFiles => app({ version, dockerfile: `FROM BASE\nRUN echo ${version}; ${work}\nCOPY version /version\nCMD ["/bin/server"]\n` });
  const nap = ['sleep', String(100_000 + process.pid)];
  const greedy = await berth.repo(slow('1', `${nap.join(' ')} || true`)); // until all the others wait
  const modest = await berth.repo(slow('m'));
  const third = await berth.repo(slow('t'));
  const pushes = [pushing(berth, greedy, 'greedy')];
  const build = async (name: string, wanted: string): Promise<boolean> => (await deploysOf(berth, name)).flatMap((deploy) => deploy.steps).some(({ step, status }) => step === 'build' && status === wanted);
  await berth.until('greedy to build', () => build('greedy', 'running'), 60_000);
  // more of the first app, in front of what the others want
  for (const version of ['2', '3', '4']) {
    await berth.commit(greedy, slow(version));
    pushes.push(pushing(berth, greedy, 'greedy'));
    await berth.until('the push to wait', async () => (await deploysOf(berth, 'greedy')).length === pushes.length, 30_000);
  }
  const others = [pushing(berth, modest, 'modest'), pushing(berth, third, 'third')];
  for (const name of ['modest', 'third']) await berth.until(`the build of ${name} to wait`, () => build(name, 'queued'), 60_000);
  await berth.until('the first build to be let go', () => endProcess(nap), 10_000);
  // those in between are superseded
  for (const push of [pushes[0]!, pushes.at(-1)!, ...others]) expect(await push.ended, push.output).toBe(0);
  await settled(berth, 'greedy');

  const jobs = (await eventsOf(berth)).flatMap(({ data: { type, data, at } }) => ((data['step'] === 'build' || type === 'ImageBuilt') && ['StepStarted', 'ImageBuilt'].includes(type) ? [{ type, at, job: String(data['job']) }] : []));
  // begun and ended by turns: never two at once
  expect(jobs.map(({ type }) => type)).toEqual(Array.from({ length: jobs.length / 2 }, () => ['StepStarted', 'ImageBuilt']).flat());
  const ids = new Map(await Promise.all(['greedy', 'modest', 'third'].map(async (name) => [(await berth.json<{ id: string }>(['apps:info', name])).id, name] as const)));
  const order = jobs.filter(({ type }) => type === 'StepStarted').map(({ job }) => ids.get(job.split('.')[0]!));
  expect(order.slice(0, 3).toSorted()).toEqual(['greedy', 'modest', 'third']);
  expect(order.slice(3)).toEqual(['greedy']);
});

/** Ends the process with exactly this command line, wherever on the machine it runs. Returns whether there was one. */
async function endProcess(command: readonly string[]): Promise<boolean> {
  const line = command.map((part) => `${part}\0`).join('');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map(async (pid) => ({ pid, is: (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')) === line })));
  const found = lines.filter(({ is }) => is);
  for (const { pid } of found) process.kill(Number(pid), 'SIGTERM');
  return found.length > 0;
}
