import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WorkStore } from '../../../test/work-store.js';
import type { Config } from '../../config.js';
import { StepFailure, type OperationContext, type OperationWork, type StepLog } from '../../events/step.js';
import { OPERATION_QUEUES } from '../../events/types/operation.events.js';
import { operationLine } from '../../workers/operation-line.js';
import { StepRunner } from '../../workers/step-runner.js';
import type { CommandContext } from '../commands/command.js';
import { Core } from '../core.js';
import { change } from '../draft.js';
import { linkIn, passwordOf } from './link.js';
import { Retirements } from './retirements.js';
import { serviceCommands } from './commands.js';

const log: StepLog = new Proxy({} as StepLog, { get: () => () => {} });

/** Commands as they are called, their steps carried out by works of the test. */
describe('a service\'s life, whose steps fail', () => {
  let dir: string;
  let store: WorkStore;
  let core: Core;
  const broken = new Map<string, StepFailure>();
  const done: string[] = [];
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-services-'));
    store = new WorkStore();
    core = new Core({ root: dir, instance: 'x', domain: 'x.test' } as unknown as Config, store);
    broken.clear();
    done.length = 0;
  });
  afterEach(() => { rmSync(dir, { recursive: true }); });

  const call = async (name: string, input: object): Promise<unknown> => {
    const context = { core, actor: 'me', origin: 'local', force: true, json: false, hasStdin: false, signal: new AbortController().signal } as unknown as CommandContext;
    const answer = await serviceCommands.find((each) => each.name === name)!.run!(context, input);
    await work();
    return answer;
  };
  const outputs: Record<string, unknown> = { image: { imageId: 'sha256:1' }, start: { id: 'c1', name: 'n', imageId: 'sha256:1', version: '17.1' }, dump: { file: '/d' } };
  const one: OperationWork = async ({ step }: OperationContext<never>) => {
    const failure = broken.get(step);
    if (failure) throw failure;
    done.push(step);
    return outputs[step] ?? null;
  };
  /** Everything that waits, to its end. */
  async function work(): Promise<void> {
    const steps = Object.fromEntries(['image', 'start', 'stop', 'dump', 'remove', 'rotate', 'admit', 'retire', 'expose', 'copy'].map((step) => [step, one]));
    const works = new Proxy({}, { get: () => steps });
    const runner = new StepRunner(operationLine(works, core.operations, () => ({ log, close: async () => {} })), { store, now: () => Date.now(), where: { pid: 1, host: 'h' }, report: () => {} }, 'service-1');
    for (let row = open(); row; row = open()) await runner.take(row.id, 't');
  }
  const open = () => [...store.rows.values()].find((row) => row.state === 'todo' && OPERATION_QUEUES.includes(row.queue as never));
  const state = async () => Object.values((await core.services.now()).rows)[0];
  const gone = new StepFailure('disk.full', 'no space left', null);

  it('goes on from the failed step, or is destroyed as it is', async () => {
    broken.set('start', gone);
    await call('postgres:create', { service: 'blog' });
    expect(await state()).toMatchObject({ status: 'live', container: null });
    expect(Object.keys((await core.works.now()).failed)).toHaveLength(1);
    await expect(call('postgres:create', { service: 'blog' })).rejects.toThrow('exists already');
    broken.clear();
    const [job, { group }] = Object.entries((await core.works.now()).failed)[0]!;
    await core.operations.handle(group, { type: 'Retry', job, by: 'me' }, { actor: 'me', command: 'jobs:retry' });
    await work();
    expect(done).toEqual(['image', 'start']);
    expect(await state()).toMatchObject({ container: { id: 'c1' } });
    await call('postgres:destroy', { service: 'blog' });
    expect(done).toEqual(['image', 'start', 'dump', 'remove']);
    expect(await core.services.now()).toEqual({ rows: {}, names: {} });
    await call('postgres:create', { service: 'blog' });
    expect((await state())?.name).toBe('blog');
  });

  it('stays when its last dump cannot be taken, and is not removed when it was linked meanwhile', async () => {
    await call('postgres:create', { service: 'blog' });
    broken.set('dump', gone);
    await call('postgres:destroy', { service: 'blog' });
    expect((await state())?.status).toBe('live');
    expect(done).not.toContain('remove');
    const { id } = (await state())!;
    await core.box.createKey('app');
    await change({ core, actor: 'me' }, 'link', 'app', (draft) => linkIn(draft, id, { app: 'app', appName: 'app', alias: null, query: null }));
    broken.clear();
    const job = Object.keys((await core.works.now()).failed)[0]!;
    await expect(core.operations.handle(id, { type: 'Retry', job, by: 'me' }, { actor: 'me', command: 'jobs:retry' })).rejects.toThrow('was linked meanwhile');
    expect((await state())?.status).toBe('live');
  });

  it('keeps the old image and password when the new container does not answer', async () => {
    await call('redis:create', { service: 'cache' });
    const before = (await state())!;
    broken.set('start', gone);
    await call('redis:upgrade', { service: 'cache', image: 'redis', imageVersion: '8.2' });
    broken.set('admit', gone);
    await call('redis:rotate', { service: 'cache' });
    expect(await state()).toEqual(before);
    broken.clear();
    await call('redis:rotate', { service: 'cache' });
    expect((await state())!.secrets).not.toEqual(before.secrets);
  });

  it('lets the password before in until no container has it, and shuts it out once; what failed is not asked for again by itself', async () => {
    await call('postgres:create', { service: 'blog' });
    const first = (await state())!.secrets;
    await call('postgres:rotate', { service: 'blog' });
    expect(await state()).toMatchObject({ turn: 1, former: { turn: 0, secrets: first } });
    expect(done.slice(-1)).toEqual(['admit']);
    let env = [`DATABASE_URL=postgres://blog:${await passwordOf(core, first)}@berth-postgres-blog:5432/blog`];
    core.engine = { states: async () => new Map(), environments: async () => [{ name: 'shop.run.1', env }] } as unknown as typeof core.engine;
    const look = async (): Promise<string> => {
      await new Retirements(core).check();
      await Promise.all([new Retirements(core).check(), new Retirements(core).check()]);
      await work();
      return ((await call('postgres:info', { service: 'blog' })) as Record<string, string>)['old-password']!;
    };
    expect(await look()).toBe('still valid: container shop.run.1 runs with it');
    await expect(call('postgres:rotate', { service: 'blog' })).rejects.toThrow('still valid: container shop.run.1 runs with it');
    env = ['DATABASE_URL=another'];
    broken.set('retire', gone);
    expect(await look()).toBe('still valid: shutting it out failed: no space left');
    broken.clear();
    expect(await look()).toContain('failed');
    const [job, { group }] = Object.entries((await core.works.now()).failed)[0]!;
    await core.operations.handle(group, { type: 'Retry', job, by: 'me' }, { actor: 'me', command: 'jobs:retry' });
    expect(await look()).toBe('-');
    expect(done.filter((step) => step === 'retire')).toHaveLength(1);
    expect(await state()).toMatchObject({ turn: 1, former: null });
    await call('postgres:rotate', { service: 'blog', now: true });
    expect(await state()).toMatchObject({ turn: 0, former: null });
    expect(done.slice(-2)).toEqual(['admit', 'retire']);
  });
});
