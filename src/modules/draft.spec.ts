import { beforeEach, describe, expect, it } from 'vitest';
import { BY, outputOf } from '../../test/histories.js';
import { WorkStore } from '../../test/work-store.js';
import type { Config } from '../config.js';
import { Repository } from '../events/repository.js';
import type { StepInput } from '../events/types/deploy.events.js';
import { appStream } from './apps/app-context.js';
import { apps } from './apps/app.decider.js';
import type { Core } from './core.js';
import { NO_SOURCE, Pipelines } from './deploys/deploys.service.js';
import { change, type Draft } from './draft.js';

const config = { domain: 'x', root: '/r', buildMemory: 0, buildCpus: 0, buildTimeoutMs: 0 } as unknown as Config;
const WORKER = { actor: 'worker:w', command: 'step' };

describe('what an event belongs to', () => {
  let store: WorkStore;
  let pipelines: Pipelines;
  let serial = 0;
  beforeEach(async () => {
    store = new WorkStore();
    serial = 0;
    const repository = new Repository(store);
    pipelines = new Pipelines(repository, config, () => 1000);
    core = { repository, config, store, now: () => 1000 } as unknown as Core;
    await write('apps:create', async (draft) => { await draft.decide(apps, appStream('a'), { type: 'Create', app: 'a', name: 'blog' }); });
  });
  let core: Core;
  const write = (command: string, decide: (draft: Draft) => Promise<unknown>) => change({ core, actor: BY }, command, 'a', decide);
  const push = () => write('git push', async (draft) => {
    await draft.decide(apps, appStream('a'), { type: 'SetBranch', branch: `main${(serial += 1)}`, why: 'set' });
    return draft.deploy('a', 'push', BY, { ...NO_SOURCE, sha: 'c0ffee' });
  });
  const work = async (): Promise<void> => {
    const { job, step, input, deploy } = (await pipelines.state('a')).running!;
    await pipelines.handle('a', { type: 'Claim', job, worker: 'w', waitedMs: 0 }, WORKER);
    await pipelines.handle('a', { type: 'Complete', job, attempt: 1, tookMs: 1, output: outputOf(step, input as StepInput, deploy, 1) }, WORKER);
  };
  const filed = () => store.log.map(({ type, meta: { correlation } }) => `${type} ${/^a:[0-9a-f]{12}$/.test(correlation) ? 'command' : correlation}`);

  it('is its own deploy, also where one transaction ends a deploy and starts the next', async () => {
    await push();
    await push();
    for (let i = 0; i < 5; i += 1) await work();
    expect(filed().slice(-4)).toEqual(['RouteSwitched a.1', 'DeploySucceeded a.1', 'DeployStarted a.2', 'StepQueued a.2']);
    await write('apps:destroy', (draft) => draft.cancelAll('a', BY, 'destroyed').then(() => draft.decide(apps, appStream('a'), { type: 'Destroy' })));
    expect(filed().slice(-2)).toEqual(['DeployCancelled a.2', 'AppDestroyed command']);
    for (const { type, data, meta } of store.log) if (type !== 'AppCreated' && !type.startsWith('AppD') && !type.startsWith('DeployBranch')) expect(meta.correlation).toBe(`a.${(data as { deploy: number }).deploy}`);
  });

  it('is its own command for everything else: two commands about one app are two', async () => {
    await push();
    await push();
    const own = store.log.filter(({ type }) => type === 'AppCreated' || type === 'DeployBranchSet').map(({ meta }) => meta.correlation);
    expect(new Set(own).size).toBe(3);
    expect(own.every((correlation) => /^a:[0-9a-f]{12}$/.test(correlation))).toBe(true);
  });

  it('has one trace from the push, with what was written together with it, to the last step', async () => {
    await push();
    await push();
    for (let i = 0; i < 7; i += 1) await work();
    const traces = Map.groupBy(store.log.slice(1), ({ meta }) => meta.trace);
    expect([...traces.values()].map((events) => [events[0]!.type, new Set(events.slice(1).map(({ meta }) => meta.correlation))])).toEqual([
      ['DeployBranchSet', new Set(['a.1'])], ['DeployBranchSet', new Set(['a.2'])],
    ]);
    for (const trace of traces.keys()) expect(trace).toMatch(/^[0-9a-f]{32}$/);
  });
});
