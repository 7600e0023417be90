import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { BY, outputOf } from '../../test/histories.js';
import { WorkStore } from '../../test/work-store.js';
import type { Config } from '../config.js';
import { metaOf, Repository } from '../events/repository.js';
import { StoreUnavailable } from '../events/store.port.js';
import type { CloneInput, PipelineEvent } from '../events/types/deploy.events.js';
import { NO_SOURCE, Pipelines } from '../modules/deploys/deploys.service.js';
import { DEADLINES, deployLine } from './deploy-line.js';
import { StepRunner } from './step-runner.js';
import { StepFailure, type StepContext, type StepLog, type StepWork } from '../events/step.js';

const LEASE = 5000;
const log: StepLog = new Proxy({} as StepLog, { get: () => () => {} });

/** One app with one push, and workers for its clone step. Time is vitest's. */
class Bench {
  readonly store = new WorkStore();
  readonly repository = new Repository(this.store);
  readonly pipelines = new Pipelines(this.repository, { domain: 'x', root: '/r', buildMemory: 0, buildCpus: 0, buildTimeoutMs: 0 } as unknown as Config, () => Date.now());
  readonly reports: string[] = [];
  closed = 0;
  logFails = false;

  async push(): Promise<string> {
    await this.store.transact({ appends: [{ stream: 'app-a', expected: 0, events: [{ type: 'AppCreated', data: { app: 'a', name: 'blog' } }] }], meta: metaOf(BY, 'c', 'a'), now: Date.now() });
    await this.pipelines.handle('a', { type: 'Request', kind: 'push', source: { ...NO_SOURCE, sha: 'c0ffee' }, by: BY }, { actor: BY, command: 'git push' });
    return 'a.1.clone.t0';
  }

  worker(work: StepWork<'clone'>, name = 'clone-1'): StepRunner {
    const openLog = (): { log: StepLog; close(): Promise<void> } => ({ log, close: async () => { this.closed += 1; if (this.logFails) throw new Error('ENOSPC'); } });
    return new StepRunner(deployLine('clone', work, this.pipelines, openLog), {
      store: this.store, now: () => Date.now(), where: { pid: 7, host: 'here' }, report: (message) => { this.reports.push(message); },
    }, name);
  }

  get told(): string[] { return this.store.log.filter((e) => e.stream === 'pipeline-a').map((e) => e.type).slice(3); }
  event<T extends PipelineEvent['type']>(type: T): Extract<PipelineEvent, { type: T }>['data'] { return this.store.log.find((e) => e.type === type)!.data as never; }
}

const clones: StepWork<'clone'> = async ({ input, deploy, attempt }) => outputOf('clone', input as CloneInput, deploy, attempt) as Awaited<ReturnType<StepWork<'clone'>>>;
/** Works until it is stopped. */
const hangs: StepWork<'clone'> = ({ signal }) => new Promise((_, reject) => { signal.addEventListener('abort', () => reject(signal.reason as Error)); });

describe('a ticket', () => {
  let bench: Bench;
  let row: string;
  beforeEach(async () => {
    vi.useFakeTimers();
    bench = new Bench();
    row = await bench.push();
  });
  afterEach(() => { vi.useRealTimers(); });
  const after = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

  it('becomes a recorded outcome and the next step, in the transaction that ends its row', async () => {
    let seen: StepContext<'clone'> | undefined;
    const worker = bench.worker(async (context) => { seen = context; return clones(context); });
    await worker.take(row, 't1');
    expect(seen).toMatchObject({ step: 'clone', app: 'a', deploy: 1, job: 'a.1.clone', attempt: 1, input: { sha: 'c0ffee', name: 'blog' } });
    expect(bench.told).toEqual(['StepStarted', 'SourceCloned', 'StepQueued']);
    expect((await bench.store.openWork()).map((r) => r.id)).toEqual(['a.1.detect.t0']);
    expect(worker).toMatchObject({ done: 1, doing: [] });
    expect(bench.closed).toBe(1);
  });

  it('for a row that is done is skipped, and so is one for a row that nobody knows', async () => {
    const work = vi.fn(clones);
    const worker = bench.worker(work);
    await worker.take(row, 't1');
    await worker.take(row, 't2');
    await worker.take('a.9.clone.t0', 't3');
    expect(work).toHaveBeenCalledTimes(1);
    expect(bench.told).toHaveLength(3);
  });

  it('that two workers take is carried out by one', async () => {
    const work = vi.fn(clones);
    await Promise.all([bench.worker(work, 'clone-1').take(row, 't1'), bench.worker(work, 'clone-2').take(row, 't2')]);
    expect(work).toHaveBeenCalledTimes(1);
    expect(bench.told).toEqual(['StepStarted', 'SourceCloned', 'StepQueued']);
  });

  it('for a deploy that was cancelled is skipped', async () => {
    await bench.pipelines.handle('a', { type: 'Cancel', deploy: 1, by: BY, reason: '' }, { actor: BY, command: 'c' });
    const work = vi.fn(clones);
    await bench.worker(work).take(row, 't1');
    expect(work).not.toHaveBeenCalled();
    expect(await bench.store.openWork()).toEqual([]);
  });

  it('that fails by the app\'s fault ends the deploy with the reason', async () => {
    await bench.worker(async () => { throw new StepFailure('clone.submodule', 'no access', 'give it a token'); }).take(row, 't1');
    expect(bench.told).toEqual(['StepStarted', 'StepFailed', 'DeployFailed']);
    expect(bench.event('StepFailed')).toMatchObject({ retryAt: null, failure: { code: 'clone.submodule', message: 'no access', hint: 'give it a token', fault: 'user' } });
    expect(await bench.store.openWork()).toEqual([]);
  });

  it.each([['anything else thrown', new TypeError('x is not a function')], ['a fault that says so', new StepFailure('engine.away', 'x', null, 'machine')], ['something that is no error', 'x']])('that fails by the machine\'s fault (%s) is tried again later', async (_, thrown) => {
    await bench.worker(async () => { throw thrown; }).take(row, 't1');
    expect(bench.told).toEqual(['StepStarted', 'StepFailed']);
    expect(bench.event('StepFailed').failure.fault).toBe('machine');
    expect(await bench.store.openWork()).toMatchObject([{ id: 'a.1.clone.t1', notBefore: Date.now() + 1000 }]);
  });

  it('keeps its lease for as long as it works', async () => {
    let end!: () => void;
    const worker = bench.worker(async (context) => { await new Promise<void>((resolve) => { end = resolve; }); return clones(context); });
    const taken = worker.take(row, 't1');
    await after(60_000);
    expect(worker.doing).toMatchObject([{ job: 'a.1.clone' }]);
    expect((await bench.store.work(row))!.leaseUntil).toBeGreaterThan(Date.now());
    end();
    await taken;
    expect(bench.told.at(-1)).toBe('StepQueued');
  });

  it('whose lease went to another is stopped, and nothing of it is recorded', async () => {
    let reason: unknown;
    const taken = bench.worker(async (context) => { await hangs(context).catch((error: unknown) => { reason = error; }); return clones(context); }).take(row, 't1');
    await after(0);
    bench.store.rows.set(row, { ...(await bench.store.work(row))!, owner: 'clone-2:t9', leaseUntil: Date.now() + LEASE });
    await after(1000);
    await taken;
    expect(String(reason)).toContain('lease-lost');
    expect(bench.told).toEqual(['StepStarted']);
    expect((await bench.store.work(row))!.state).toBe('dispatched');
  });

  it('whose lease is lost at the last moment records nothing either', async () => {
    const taken = bench.worker(async (context) => {
      bench.store.rows.set(row, { ...(await bench.store.work(row))!, owner: 'clone-2:t9', leaseUntil: Date.now() + LEASE });
      return clones(context);
    }).take(row, 't1');
    await taken;
    expect(bench.told).toEqual(['StepStarted']);
  });

  it('that comes to one worker twice is two claims: the late report of the first ends nothing of the second', async () => {
    const ends: (() => void)[] = [];
    const worker = bench.worker(async (context) => { await new Promise<void>((resolve) => { ends.push(resolve); }); return clones(context); });
    const first = worker.take(row, 't1');
    await after(0);
    bench.store.rows.set(row, { ...(await bench.store.work(row))!, leaseUntil: 0 }); // it stood still
    const second = worker.take(row, 't1');
    await after(0);
    ends[0]!();
    await first;
    expect((await bench.store.work(row))!.state).toBe('dispatched');
    ends[1]!();
    await second;
    expect(bench.told).toEqual(['StepStarted', 'StepStarted', 'SourceCloned', 'StepQueued']);
  });

  it('that comes to one worker twice is stopped in the first claim, which may change nothing any more', async () => {
    const claims: StepContext<'clone'>[] = [];
    const worker = bench.worker((context) => { claims.push(context); return hangs(context); });
    const first = worker.take(row, 't1');
    await after(0);
    bench.store.rows.set(row, { ...(await bench.store.work(row))!, leaseUntil: 0 }); // it stood still
    const second = worker.take(row, 't1');
    await after(0);
    expect(worker.doing).toHaveLength(2);
    expect([await claims[0]!.holds!(), await claims[1]!.holds!()]).toEqual(['taken', 'mine']);
    await after(1000);
    await first;
    expect(claims.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    expect(worker.doing).toHaveLength(1);
    await bench.pipelines.handle('a', { type: 'Cancel', deploy: 1, by: BY, reason: '' }, { actor: BY, command: 'c' });
    await after(1000);
    await second;
    expect(bench.told).toEqual(['StepStarted', 'StepStarted', 'DeployCancelled']);
  });

  it('tidies up once its outcome is recorded, and not at all when that came too late', async () => {
    const tidied: string[] = [];
    const tidies = (name: string, meanwhile: () => Promise<unknown>): StepWork<'clone'> => async (context) => {
      context.after!(async () => { tidied.push(`${name} after ${bench.told.at(-1)}`); }, async () => { tidied.push(`${name} put back after ${bench.told.at(-1)}`); });
      await meanwhile();
      expect(await context.holds!()).toBe(name === 'late' ? 'dropped' : 'mine');
      return clones(context);
    };
    const cancel = (): Promise<unknown> => bench.pipelines.handle('a', { type: 'Cancel', deploy: 1, by: BY, reason: '' }, { actor: BY, command: 'c' });
    await bench.worker(tidies('late', cancel)).take(row, 't1');
    expect(tidied).toEqual(['late put back after DeployCancelled']);
    await bench.pipelines.handle('a', { type: 'Request', kind: 'push', source: { ...NO_SOURCE, sha: 'a'.repeat(40) }, by: BY }, { actor: BY, command: 'c' });
    await bench.worker(tidies('well', async () => {})).take('a.2.clone.t0', 't2');
    expect(tidied).toEqual(['late put back after DeployCancelled', 'well after StepQueued']);
  });

  it('whose worker stood still past its lease does not blame the app', async () => {
    let fail!: () => void;
    const taken = bench.worker(async () => { await new Promise<void>((resolve) => { fail = resolve; }); throw new StepFailure('release.check-failed', 'no answer within 5 s'); }).take(row, 't1');
    await after(0);
    vi.setSystemTime(Date.now() + 60_000);
    fail();
    await taken;
    expect(bench.event('StepFailed').failure).toMatchObject({ code: 'step.stood-still', fault: 'machine' });
  });

  it('that is cancelled while it works is stopped within seconds', async () => {
    const taken = bench.worker(hangs).take(row, 't1');
    await after(0);
    await bench.pipelines.handle('a', { type: 'Cancel', deploy: 1, by: BY, reason: '' }, { actor: BY, command: 'c' });
    await after(1000);
    await taken;
    expect(bench.told).toEqual(['StepStarted', 'DeployCancelled']);
  });

  it('that takes longer than a step may fails for that reason', async () => {
    const taken = bench.worker(hangs).take(row, 't1');
    await after(DEADLINES.clone + 1000);
    await taken;
    expect(bench.event('StepFailed').failure).toMatchObject({ code: 'step.deadline' });
  });

  it('whose outcome the store does not take keeps it until it does', async () => {
    let full = 5;
    const transact = bench.store.transact.bind(bench.store);
    vi.spyOn(bench.store, 'transact').mockImplementation(async (tx) => {
      if (tx.finish && (full -= 1) >= 0) throw new StoreUnavailable('no room', 'disk-full');
      return transact(tx);
    });
    const work = vi.fn(clones);
    const taken = bench.worker(work).take(row, 't1');
    await after(10_000);
    await taken;
    expect(bench.told).toEqual(['StepStarted', 'SourceCloned', 'StepQueued']);
    expect(work).toHaveBeenCalledTimes(1);
    expect(bench.reports).toHaveLength(5);
  });

  it('whose log cannot be written has its outcome all the same', async () => {
    bench.logFails = true;
    await bench.worker(clones).take(row, 't1');
    expect(bench.told).toEqual(['StepStarted', 'SourceCloned', 'StepQueued']);
    expect(bench.reports).toEqual(['log of a.1.clone']);
  });

  it('is given back at once when its worker stops, for another to take', async () => {
    const first = bench.worker(hangs);
    const taken = first.take(row, 't1');
    await after(0);
    const stopped = first.stop(10_000);
    await after(9_000);
    expect(first.doing).toHaveLength(1);
    await after(1_000);
    await Promise.all([taken, stopped]);
    expect(bench.told).toEqual(['StepStarted', 'StepGivenBack']);
    expect(bench.event('StepGivenBack')).toMatchObject({ job: 'a.1.clone', attempt: 1, tookMs: 10_000 });
    await first.take(row, 't2'); // a stopped worker takes nothing
    expect(await bench.store.work(row)).toMatchObject({ state: 'todo', owner: null, dispatch: 1 });
    await bench.worker(clones, 'clone-2').take(row, 't3');
    expect(bench.told).toEqual(['StepStarted', 'StepGivenBack', 'StepStarted', 'SourceCloned', 'StepQueued']);
    expect(bench.event('StepStarted')).toMatchObject({ worker: 'clone-1', pid: 7, host: 'here' });
  });

  it('is given back without a word when its worker stops and the log takes none', async () => {
    const worker = bench.worker(hangs);
    const taken = worker.take(row, 't1');
    await after(0);
    vi.spyOn(bench.store, 'transact').mockRejectedValue(new StoreUnavailable('no room', 'disk-full'));
    const stopped = worker.stop(1000);
    await after(1000);
    await Promise.all([taken, stopped]);
    expect(bench.told).toEqual(['StepStarted']);
    expect(bench.reports).toEqual(['giving back a.1.clone']);
    expect(await bench.store.work(row)).toMatchObject({ state: 'todo', owner: null });
  });

  it('that ends within the grace of a stopping worker is recorded', async () => {
    const worker = bench.worker(async (context) => { await new Promise((resolve) => { setTimeout(resolve, 3000); }); return clones(context); });
    const taken = worker.take(row, 't1');
    await after(0);
    const stopped = worker.stop(10_000);
    await after(3000);
    await Promise.all([taken, stopped]);
    expect(bench.told.at(-1)).toBe('StepQueued');
  });

  it('that kills every worker that takes it is given up', async () => {
    // workers that are stopped in good order do not count
    for (let i = 0; i < 12; i += 1) {
      const worker = bench.worker(hangs, `good${i}`);
      const taken = worker.take(row, 't');
      await after(0);
      const stopped = worker.stop(1);
      await after(1);
      await Promise.all([taken, stopped]);
    }
    expect(bench.told.filter((type) => type === 'StepGivenBack')).toHaveLength(12);
    for (let i = 0; i < 9; i += 1) {
      void bench.worker(hangs, `w${i}`).take(row, 't');
      await after(0);
      bench.store.rows.set(row, { ...(await bench.store.work(row))!, ...((await bench.store.work(row))!.state === 'dispatched' && { owner: 'dead', leaseUntil: 0 }) });
    }
    expect(bench.told.filter((type) => type === 'StepStarted')).toHaveLength(12 + 8);
    expect(bench.told.at(-1)).toBe('DeployFailed');
    expect(bench.event('DeployFailed').failure.message).toBe('8 workers died in this step');
    expect(await bench.store.openWork()).toEqual([]);
  });
});
