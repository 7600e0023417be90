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
  const slow = (version: string, seconds = 1): AppFiles => app({ version, dockerfile: `FROM BASE\nRUN echo ${version}; sleep ${seconds}\nCOPY version /version\nCMD ["/bin/server"]\n` });
  const greedy = await berth.repo(slow('1', 15)); // long enough for all the others to come
  const modest = await berth.repo(slow('m'));
  const third = await berth.repo(slow('t'));
  const pushes = [pushing(berth, greedy, 'greedy')];
  const steps = async (name: string): Promise<{ step: string; status: string }[]> => (await deploysOf(berth, name)).flatMap((deploy) => deploy.steps);
  const inBuild = async (): Promise<boolean> => (await steps('greedy')).some(({ step, status }) => step === 'build' && status === 'running');
  await berth.until('greedy to build', inBuild, 60_000);
  // more of the first app, in front of what the others want
  for (const version of ['2', '3', '4']) {
    await berth.commit(greedy, slow(version));
    pushes.push(pushing(berth, greedy, 'greedy'));
    await berth.until('the push to wait', async () => (await deploysOf(berth, 'greedy')).length === pushes.length, 30_000);
  }
  const others = [pushing(berth, modest, 'modest'), pushing(berth, third, 'third')];
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
