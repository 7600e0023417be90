import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WorkStore } from '../../../test/work-store.js';
import type { Config } from '../../config.js';
import { Rejected } from '../../events/decider.js';
import { StepFailure, type OperationWork, type StepLog } from '../../events/step.js';
import { operationLine } from '../../workers/operation-line.js';
import { StepRunner } from '../../workers/step-runner.js';
import { Core } from '../core.js';
import { change } from '../draft.js';
import { server } from '../server/server.decider.js';
import type { OperationKind } from './operation.kind.js';
import { operate } from './operations.service.js';

const kinds = vi.hoisted(() => new Map<string, unknown>());
vi.mock('./kinds.js', () => ({ kindOf: (name: string) => kinds.get(name) }));
const log: StepLog = new Proxy({} as StepLog, { get: () => () => {} });

/** `one` and `two`; when both are done the server's trace is switched, in the same transaction. */
const kind: OperationKind = {
  queue: 'service', steps: ['one', 'two'],
  input: async (draft, step, run) => {
    if ((await draft.load(server, 'server')).state.settings['refuse'] === step) throw new Rejected('no.sense', `${step} makes no sense any more`);
    return { step, learnt: run.learnt };
  },
  ending: async (draft, run) => {
    await draft.decide(server, 'server', { type: 'Trace', on: true });
    if ((run.input as { refused?: boolean }).refused) throw new Rejected('ending.refused', 'not like this');
  },
};

describe('an operation on workers', () => {
  let dir: string;
  let store: WorkStore;
  let core: Core;
  beforeEach(() => {
    kinds.set('k', kind);
    dir = mkdtempSync(join(tmpdir(), 'berth-operations-'));
    store = new WorkStore();
    core = new Core({ root: dir, instance: 'x' } as unknown as Config, store);
  });
  afterEach(() => { rmSync(dir, { recursive: true }); });

  const ask = async (input: object = {}): Promise<number> => (await change({ core, actor: 'me' }, 'test', 'x', (draft) => operate(draft, 'g', { kind: 'k', subject: 'k g', input, by: 'me' }))).answer;
  const worker = (work: OperationWork): StepRunner => new StepRunner(operationLine({ k: { one: work, two: work } }, core.operations, () => ({ log, close: async () => {} })), { store, now: () => Date.now(), where: { pid: 1, host: 'h' }, report: () => {} }, 'service-1');
  const row = (): string => [...store.rows.values()].find((r) => r.state === 'todo')!.id;
  const types = (): string[] => store.log.filter((e) => e.stream === 'operations-g').map((e) => e.type.replace('Operation', ''));

  it('is carried out step by step, each with what was learnt, and what follows stands in the last one\'s transaction', async () => {
    const seen: unknown[] = [];
    const runner = worker(async ({ input, step }) => { seen.push(input); return { did: step }; });
    await ask();
    await runner.take(row(), 't');
    await runner.take(row(), 't');
    expect(seen).toEqual([{ step: 'one', learnt: {} }, { step: 'two', learnt: { one: { did: 'one' } } }]);
    expect(store.log.slice(-3).map((e) => e.type)).toEqual(['OperationStepDone', 'OperationSucceeded', 'TraceSwitched']);
    expect([...store.rows.values()].every((r) => r.state === 'done')).toBe(true);
    expect((await core.works.now()).groups['g']!.rows[0]).toMatchObject({ status: 'succeeded', steps: [{ status: 'succeeded' }, { status: 'succeeded' }] });
    expect(store.log[0]!.meta.correlation).toBe('g.1');
  });

  it('fails with the user\'s fault, and is retried from there', async () => {
    let broken = true;
    const runner = worker(async ({ step }) => { if (broken) throw new StepFailure('x.y', 'that cannot be', null); return step; });
    await ask();
    await runner.take(row(), 't');
    expect(types().slice(-2)).toEqual(['StepFailed', 'Failed']);
    expect(Object.keys((await core.works.now()).failed)).toEqual(['g.1.one']);
    broken = false;
    await core.operations.handle('g', { type: 'Retry', job: 'g.1.one', by: 'me' }, { actor: 'me', command: 'jobs:retry' });
    await runner.take(row(), 't');
    await runner.take(row(), 't');
    expect(types().at(-1)).toBe('Succeeded');
    expect((await core.works.now()).failed).toEqual({});
  });

  it('ends when its next step is refused; the first one\'s refusal is the caller\'s, and nothing is written', async () => {
    const refuse = (step: string): Promise<unknown> => change({ core, actor: 'me' }, 'test', 'x', (draft) => draft.decide(server, 'server', { type: 'Set', key: 'refuse', value: step }));
    await refuse('one');
    await expect(ask()).rejects.toThrow('one makes no sense any more');
    expect(types()).toEqual([]);
    await refuse('two');
    await ask();
    await worker(async () => null).take(row(), 't');
    expect(types().slice(-2)).toEqual(['StepDone', 'Failed']);
  });

  it('fails, and nothing follows, when its ending is refused', async () => {
    const runner = worker(async () => null);
    await ask({ refused: true });
    await runner.take(row(), 't');
    await runner.take(row(), 't');
    expect(types().at(-1)).toBe('Failed');
    expect(store.log.some((e) => e.type === 'TraceSwitched')).toBe(false);
  });

  it('that is cancelled has no work left, and the next one begins', async () => {
    await ask();
    await ask();
    await core.operations.handle('g', { type: 'Cancel', operation: 1, by: 'me', reason: '' }, { actor: 'me', command: 'x' });
    expect([...store.rows.values()].map((r) => [r.id, r.state])).toEqual([['g.1.one.t0', 'dropped'], ['g.2.one.t0', 'todo']]);
  });
});
