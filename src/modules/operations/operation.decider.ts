import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Failure } from '../../events/types/deploy.events.js';
import type { FollowingDeploy, OperationEvent, OperationQueue } from '../../events/types/operation.events.js';
import { BACKOFF, CLAIMS_MAX } from '../deploys/pipeline.decider.js';
import { lostClaims } from '../deploys/pipeline.state.js';
import { evolveOperations, initialOperations, operationJob, undecided, type OperationRun, type OperationsState } from './operation.state.js';

export type OperationCommand =
  | { type: 'Request'; group: string; kind: string; subject: string; queue: OperationQueue; steps: readonly string[]; input: unknown; by: string }
  /** the input of the step that is to be queued next */
  | { type: 'Queue'; input: unknown }
  /** all steps are done, and what follows from that was decided */
  | { type: 'Succeed'; deploys: readonly FollowingDeploy[] }
  /** what is to be decided next cannot be: the operation ends */
  | { type: 'Refuse'; failure: Failure }
  | { type: 'Claim'; job: string; worker: string; waitedMs: number; pid: number; host: string }
  | { type: 'Complete'; job: string; attempt: number; tookMs: number; output: unknown }
  /** `backoff`: waits before the next tries, ms; the deploys' unless said */
  | { type: 'Fail'; job: string; attempt: number; tookMs: number; failure: Failure; now: number; backoff?: readonly number[] }
  | { type: 'GiveBack'; job: string; attempt: number; tookMs: number }
  | { type: 'Cancel'; operation: number | null; by: string; reason: string }
  | { type: 'Retry'; job: string; by: string; edits?: Readonly<Record<string, string>> }
  | { type: 'Discard'; job: string; by: string; reason: string };

/** A late or second report changes nothing. */
function current(run: OperationRun | null, job: string, attempt: number): run is OperationRun & { job: string; step: string } {
  return run !== null && run.job === job && run.claimed && run.attempt === attempt;
}

/** The last step that there was, for what goes wrong behind it. */
const lastStep = (run: OperationRun): string => run.step ?? run.steps.at(-1)!;

function failed({ job, by }: { job: string; by?: string }, state: OperationsState): OperationRun & { step: string } {
  const run = state.failed[job];
  if (!run) throw new Rejected('job.missing', `There is no failed job ${job}`, 'see: berth jobs:failed');
  if (by !== undefined && state.running) throw new Rejected('job.busy', `Operation ${state.running.operation} of ${run.subject} is running`, `wait for it: berth operations:follow ${state.group}`);
  return { ...run, step: lastStep(run) };
}

/** One group's operations: one runs, the others wait in order, late reports change nothing, nothing follows an end. Stream `operations-<group>`. */
export const operations: Decider<OperationsState, OperationCommand, OperationEvent> = {
  initial: initialOperations,
  evolve: evolveOperations,
  decide(command, state) {
    const { group, running } = state;
    switch (command.type) {
      case 'Request': {
        const { type: _, ...request } = command;
        if (request.steps.length === 0) throw new Error(`operation ${request.kind} has no step`);
        return [{ type: 'OperationRequested', data: { ...request, operation: state.last + 1 } }];
      }
      case 'Queue': {
        const run = undecided(state);
        if (!run?.step) return [];
        return [{ type: 'OperationStepQueued', data: { group, operation: run.operation, job: operationJob(group, run, run.step), step: run.step, queue: run.queue, input: command.input, retryOf: run.retryOf } }];
      }
      case 'Succeed': return running && running.step === null ? [{ type: 'OperationSucceeded', data: { group, operation: running.operation, deploys: command.deploys } }] : [];
      case 'Refuse': {
        const run = undecided(state);
        if (!run) return [];
        const step = lastStep(run);
        return [{ type: 'OperationFailed', data: { group, operation: run.operation, job: operationJob(group, run, step), step, failure: command.failure } }];
      }
      case 'Claim': {
        const { job, worker, waitedMs, pid, host } = command;
        if (!running || running.job !== job) return [];
        const ref = { group, operation: running.operation, job, step: running.step! };
        const lost = lostClaims(running);
        if (lost >= CLAIMS_MAX) return [{ type: 'OperationFailed', data: { ...ref, failure: { code: 'step.worker-died', message: `${lost} workers died in this step`, hint: 'see the workers\' logs, then: berth jobs:retry', fault: 'machine' } } }];
        return [{ type: 'OperationStepStarted', data: { ...ref, attempt: running.attempt + 1, worker, waitedMs, pid, host } }];
      }
      case 'Complete': {
        const { job, attempt, tookMs, output } = command;
        return current(running, job, attempt) ? [{ type: 'OperationStepDone', data: { group, operation: running.operation, job, step: running.step, attempt, tookMs, output } }] : [];
      }
      case 'Fail': {
        const { job, attempt, tookMs, failure, now, backoff = BACKOFF } = command;
        if (!current(running, job, attempt)) return [];
        const ref = { group, operation: running.operation, job, step: running.step };
        const wait = failure.fault === 'machine' ? backoff[running.faults] : undefined;
        const event: OperationEvent = { type: 'OperationStepFailed', data: { ...ref, attempt, tookMs, failure, retryAt: wait === undefined ? null : now + wait } };
        return wait === undefined ? [event, { type: 'OperationFailed', data: { ...ref, failure } }] : [event];
      }
      case 'GiveBack': {
        const { job, attempt, tookMs } = command;
        return current(running, job, attempt) ? [{ type: 'OperationStepGivenBack', data: { group, operation: running.operation, job, step: running.step, attempt, tookMs } }] : [];
      }
      case 'Cancel': {
        const target = [running, ...state.waiting].find((run) => run && (command.operation === null || run.operation === command.operation));
        if (!target) throw new Rejected('operation.not-open', command.operation === null ? 'No operation is running' : `Operation ${command.operation} is not running`, `see: berth operations ${group}`);
        return [{ type: 'OperationCancelled', data: { group, operation: target.operation, by: command.by, reason: command.reason } }];
      }
      case 'Retry': {
        const { job, by, edits } = command;
        const run = failed({ job, by }, state);
        return [{ type: 'OperationRetried', data: { group, operation: run.operation, job, step: run.step, by, ...(edits && { edits }) } }];
      }
      case 'Discard': {
        const { job, by, reason } = command;
        const run = failed({ job }, state);
        return [{ type: 'OperationDiscarded', data: { group, operation: run.operation, job, step: run.step, by, reason } }];
      }
      default: return never(command);
    }
  },
};
