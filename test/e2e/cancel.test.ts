import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, type Live, Poller, baseImage, deployOf, deploysOf, left, pushing, refOf } from './berth.kit.js';

/** `deploys:cancel` in every step: it ends soon, with its own work only, and the old version goes on serving. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let good: string;
let id: string;
let poller: Poller;
let other: Live | null = null;
let deaf: Server;
const open = new Set<Socket>();
const check = { healthchecks: { web: [{ path: '/check', timeout: 60, attempts: 2, wait: 1 }] } };

beforeAll(async () => {
  // takes connections and says nothing: whoever fetches from it waits
  deaf = createServer((socket) => { open.add(socket); socket.on('error', () => {}).on('close', () => open.delete(socket)); });
  await new Promise<void>((done) => { deaf.listen(0, '127.0.0.1', done); });
  berth = await startBerth();
  app = await baseImage(berth);
  dir = await berth.repo(app({ version: 'good' }));
  const pushed = await berth.push(dir, 'kept');
  expect(pushed.code, pushed.output).toBe(0);
  good = await refOf(berth, 'kept');
  ({ id } = await berth.json<{ id: string }>(['apps:info', 'kept']));
  poller = new Poller(berth, 'kept', false); // a router that reloads for another app closes idle connections
});
afterAll(async () => {
  for (const socket of open) socket.destroy();
  await new Promise((done) => { deaf.close(done); });
  await berth.stop();
});

interface Case { readonly step: string; readonly files: () => AppFiles; readonly says: RegExp; readonly before?: () => Promise<void>; readonly after?: () => Promise<void> }
const cases: Case[] = [
  {
    step: 'clone', says: /Deploying kept/, // and then until somebody waits at the door
    files: () => ({ ...app(), '.gitmodules': `[submodule "lib"]\n\tpath = lib\n\turl = https://127.0.0.1:${(deaf.address() as AddressInfo).port}/lib.git\n` }),
  },
  { step: 'detect', files: () => app(), says: /-----> Cloning kept/, before: () => berth.program('detect-1').down(), after: async () => berth.program('detect-1').start() },
  { step: 'build', files: () => ({ Dockerfile: (app()['Dockerfile'] as string).replace('COPY', `RUN sleep 120 && : ${berth.instance}\nCOPY`) }), says: /RUN sleep 120/ },
  { step: 'release command', files: () => app({ procfile: 'web: server\nrelease: sleep 120\n' }), says: /Start of kept release task output/ },
  { step: 'containers that are waited for', files: () => app({ args: '-delay 120000', appJson: check }), says: /-----> Releasing kept/ },
  { step: 'route', files: () => app({ args: '-seen 120000', appJson: check }), says: /-----> Routing kept/ },
];

it.each(cases)('$step', async ({ step, files, says, before, after }) => {
  await berth.git(dir, 'reset', '-q', '--hard', good);
  await berth.commit(dir, { ...files(), version: `${step}\n` });
  if (step === 'clone') {
    // a commit of another repository in the tree
    await berth.git(dir, 'update-index', '--add', '--cacheinfo', `160000,${good},lib`);
    await berth.git(dir, 'commit', '-q', '-m', 'with a submodule');
  }
  if (step === 'build') {
    const repo = await berth.repo({ ...app(), Dockerfile: (app()['Dockerfile'] as string).replace('COPY', `RUN sleep 5 && : ${berth.instance}\nCOPY`) });
    other = pushing(berth, repo, 'beside');
    await other.says(/RUN sleep 5/);
  }
  await before?.();
  const running = (await left(berth)).containers;
  const push = pushing(berth, dir, 'kept');
  await push.says(says);
  const { deploy } = (await deploysOf(berth, 'kept'))[0]!;
  if (step === 'clone') await berth.until('the fetch to hang', async () => open.size > 0);
  await berth.until('the step to be under way', async () => (await deployOf(berth, 'kept', deploy)).steps.at(-1)?.step === (/release|containers/.test(step) ? 'release' : step));
  if (step.startsWith('containers')) await berth.until('the new container', async () => (await left(berth)).containers.length > running.length);

  const asked = Date.now();
  const cancelled = await berth.cli(['deploys:cancel', 'kept', '--reason', 'changed my mind']);
  expect([cancelled.code, cancelled.out + cancelled.err]).toEqual([0, `-----> Cancelled deploy ${deploy} of kept\n`]);
  expect(await push.ended, push.output).toBe(1);
  expect(push.output).toMatch(new RegExp(`Deploy ${deploy} of kept was cancelled by root@`));
  await after?.();
  // its worker is free again: nothing of it goes on
  await berth.until('the worker to be told', async () => {
    const { workers } = await berth.json<{ workers: { doing: { job: string }[] }[] }>(['workers']);
    return workers.length === 6 && workers.flatMap((worker) => worker.doing).every(({ job }) => !job.startsWith(`${id}.`));
  });
  console.log(`${step}: ended and its worker free after ${Date.now() - asked} ms`);
  expect((await deployOf(berth, 'kept', deploy)).status).toBe('cancelled');
  expect((await berth.http('kept')).body).toContain('v=good');
  expect(await refOf(berth, 'kept')).toBe(good);
  if (other) expect(await other.ended, other.output).toBe(0);
  await berth.until('only what is to run', async () => (await left(berth)).containers.length === running.length + (other ? 1 : 0));
  other = null;
});

it('never took the old version away', async () => {
  const { failures, ok } = await poller.stop();
  expect(failures).toEqual([]);
  expect(ok).toBeGreaterThan(100);
  expect((await berth.cli(['deploys:cancel', 'kept'])).code).toBe(1); // there is none
});
