import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold, Rejected } from '../../events/decider.js';
import type { OperationEvent } from '../../events/types/operation.events.js';
import { BACKOFF, CLAIMS_MAX } from '../deploys/pipeline.decider.js';
import { operations, type OperationCommand } from './operation.decider.js';
import { initialOperations, KEEP_FAILED_OPERATIONS, openRun, undecided, type OperationsState } from './operation.state.js';
import { operationWork } from './operation.work.js';

const STEPS = ['image', 'start', 'ready'] as const;
const request = { type: 'Request', group: 'g', kind: 'k', subject: 'k g', queue: 'service', steps: STEPS, input: { n: 1 }, by: 'root@h' } as const;
const machine = { code: 'engine.down', message: 'no answer', hint: null, fault: 'machine' } as const;
const user = { ...machine, code: 'image.missing', fault: 'user' } as const;

/** One group's log, and the work rows that stand beside it. */
class Group {
  readonly log: OperationEvent[] = [];
  readonly rows = new Map<string, 'open' | 'dropped'>();
  get state(): OperationsState { return fold(operations, this.log, initialOperations); }
  /** Decides and settles, as the service does. */
  do(command: OperationCommand): readonly OperationEvent[] {
    const events = this.write(command);
    for (let run = undecided(this.state); run; run = undecided(this.state)) this.write(run.step === null ? { type: 'Succeed', deploys: [] } : { type: 'Queue', input: { step: run.step, learnt: run.learnt } });
    return events;
  }
  private write(command: OperationCommand): readonly OperationEvent[] {
    const before = this.state;
    const events = operations.decide(command, before);
    const { work, drop } = operationWork(events, before);
    for (const { id } of work) {
      expect(this.rows.has(id), `row ${id} twice`).toBe(false);
      this.rows.set(id, 'open');
    }
    for (const id of drop) this.rows.set(id, 'dropped');
    this.log.push(...events);
    return events;
  }
  get types(): string[] { return this.log.map((event) => event.type.replace('Operation', '')); }
  claim(): number {
    const { job } = this.state.running!;
    const [event] = this.do({ type: 'Claim', job: job!, worker: 'service-1', waitedMs: 0, pid: 1, host: 'h' });
    return (event!.data as { attempt: number }).attempt;
  }
  complete(output: unknown = null): void { this.do({ type: 'Complete', job: this.state.running!.job!, attempt: this.claim(), tookMs: 1, output }); }
  fail(failure: typeof machine | typeof user): void { this.do({ type: 'Fail', job: this.state.running!.job!, attempt: this.claim(), tookMs: 1, failure, now: 1000 }); }
}

describe('operations of a group', () => {
  it('run one after the other, in the order they were asked for; each step is given what those before learnt', () => {
    const group = new Group();
    group.do(request);
    group.do({ ...request, kind: 'k2' });
    group.complete({ image: 'x' });
    expect(group.state.running!.stepInput).toEqual({ step: 'start', learnt: { image: { image: 'x' } } });
    group.complete();
    expect(group.state.waiting).toHaveLength(1);
    group.complete();
    expect(group.state.running).toMatchObject({ operation: 2, kind: 'k2', step: 'image', learnt: {} });
    expect(group.types.filter((type) => type === 'Succeeded')).toHaveLength(1);
  });

  it('are tried again after a machine\'s fault, with back-off, until they fail; a user\'s fault ends them, and the next begins', () => {
    const group = new Group();
    group.do(request);
    for (const wait of BACKOFF) {
      group.fail(machine);
      expect(group.log.at(-1)).toMatchObject({ type: 'OperationStepFailed', data: { retryAt: 1000 + wait } });
    }
    group.fail(machine);
    expect(group.log.at(-1)!.type).toBe('OperationFailed');
    group.do(request);
    group.do(request);
    group.fail(user);
    expect(group.types.slice(-3)).toEqual(['StepFailed', 'Failed', 'StepQueued']);
  });

  it('go on from the failed step when they are retried, as a job of its own', () => {
    const group = new Group();
    group.do(request);
    group.complete({ image: 'x' });
    group.fail(user);
    const job = Object.keys(group.state.failed)[0]!;
    expect(job).toBe('g.1.start');
    group.do({ type: 'Retry', job, by: 'me' });
    expect(group.state.running).toMatchObject({ job: 'g.1.start.r1', step: 'start', stepInput: { learnt: { image: { image: 'x' } } } });
    expect(() => group.do({ type: 'Retry', job, by: 'me' })).toThrow(Rejected);
    group.complete();
    group.complete();
    expect(group.state).toMatchObject({ running: null, failed: {} });
  });

  it('are given up when worker after worker dies in a step', () => {
    const group = new Group();
    group.do(request);
    for (let i = 1; i <= CLAIMS_MAX; i += 1) expect(group.claim()).toBe(i);
    group.do({ type: 'Claim', job: 'g.1.image', worker: 'w', waitedMs: 0, pid: 1, host: 'h' });
    expect(group.log.at(-1)).toMatchObject({ type: 'OperationFailed', data: { failure: { code: 'step.worker-died' } } });
  });

  it('fail when the next step is refused, before it is queued, and are retried from there', () => {
    const group = new Group();
    group.log.push(...operations.decide(request, group.state));
    group.log.push(...operations.decide({ type: 'Refuse', failure: user }, group.state));
    expect(group.state).toMatchObject({ running: null, waiting: [], failed: { 'g.1.image': { step: 'image' } } });
    group.do({ type: 'Retry', job: 'g.1.image', by: 'me' });
    expect(group.state.running).toMatchObject({ job: 'g.1.image.r1' });
  });

  const commands = fc.array(fc.oneof(
    fc.constant('request' as const), fc.constant('claim' as const), fc.constant('complete' as const), fc.constant('late' as const), fc.constant('machine' as const), fc.constant('user' as const),
    fc.constant('back' as const), fc.constant('cancel' as const), fc.constant('retry' as const), fc.constant('discard' as const),
  ), { maxLength: 120 });

  it('always have something that will bring them to an end, and end once', () => {
    fc.assert(fc.property(commands, (list) => {
      const group = new Group();
      let claimed: { job: string; attempt: number } | null = null;
      for (const what of list) {
        const { running, failed } = group.state;
        const job = Object.keys(failed)[0];
        try {
          if (what === 'request') group.do(request);
          else if (what === 'claim' && running) claimed = { job: running.job!, attempt: group.claim() };
          else if (what === 'cancel') group.do({ type: 'Cancel', operation: null, by: 'me', reason: '' });
          else if (what === 'retry' && job) group.do({ type: 'Retry', job, by: 'me' });
          else if (what === 'discard' && job) group.do({ type: 'Discard', job, by: 'me', reason: '' });
          else if (claimed && (what === 'complete' || what === 'late')) group.do({ type: 'Complete', ...claimed, attempt: claimed.attempt - Number(what === 'late'), tookMs: 1, output: what });
          else if (claimed && what === 'back') group.do({ type: 'GiveBack', ...claimed, tookMs: 1 });
          else if (claimed && (what === 'machine' || what === 'user')) group.do({ type: 'Fail', ...claimed, tookMs: 1, failure: what === 'machine' ? machine : user, now: 0 });
        } catch (error) {
          if (!(error instanceof Rejected)) throw error;
        }
        const { state } = group;
        // somebody is always at it, or has a row to take
        if (state.running) expect(group.rows.get(state.running.work), `${what}: ${state.running.work}`).toBe('open');
        else expect(state.waiting).toEqual([]);
      }
      const ends = group.log.filter((event) => ['OperationSucceeded', 'OperationFailed', 'OperationCancelled'].includes(event.type)).length;
      const begun = group.log.filter((event) => ['OperationRequested', 'OperationRetried'].includes(event.type)).length;
      const { state } = group;
      expect(ends + Number(state.running !== null) + state.waiting.length).toBe(begun);
      expect(group.log.some((event) => event.type === 'OperationStepDone' && event.data.output === 'late')).toBe(false);
      expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    }), { numRuns: 300 });
  });

  it('keep the newest that failed', () => {
    const group = new Group();
    for (let i = 0; i < KEEP_FAILED_OPERATIONS + 5; i += 1) {
      group.do(request);
      group.fail(user);
    }
    expect(Object.keys(group.state.failed)).toHaveLength(KEEP_FAILED_OPERATIONS);
    expect(group.state.failed['g.1.image']).toBeUndefined();
    expect(openRun(group.state, 3)).toBeNull();
  });
});
