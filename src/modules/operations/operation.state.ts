import type { Failure } from '../../events/types/deploy.events.js';
import type { OperationEvent, OperationQueue } from '../../events/types/operation.events.js';
import { lostClaims, workId } from '../deploys/pipeline.state.js';

export interface OperationRequest {
  readonly operation: number;
  readonly kind: string;
  readonly subject: string;
  readonly queue: OperationQueue;
  readonly steps: readonly string[];
  readonly input: unknown;
  readonly by: string;
}

/** An operation under way: where it is, and what its steps have learnt. */
export interface OperationRun extends OperationRequest {
  /** what runs or is to be queued next; null: all are done, its ending is to be decided */
  readonly step: string | null;
  /** null: `step` is not queued yet */
  readonly job: string | null;
  readonly stepInput: unknown;
  readonly attempt: number;
  readonly claimed: boolean;
  readonly lost: number;
  readonly faults: number;
  readonly retries: number;
  /** the failed job that is run again next */
  readonly retryOf: string | null;
  readonly edits: Readonly<Record<string, string>> | null;
  /** outputs of the steps that are done */
  readonly learnt: Readonly<Record<string, unknown>>;
  /** id of the work row that stands for this job now */
  readonly work: string;
}
export interface FailedOperation extends OperationRun { readonly failure: Failure }

/** failed operations of a group that are kept for a retry, the newest */
export const KEEP_FAILED_OPERATIONS = 50;

/** Stream `operations-<group>`: one runs, the others wait in order. */
export interface OperationsState {
  readonly group: string;
  readonly last: number;
  readonly running: OperationRun | null;
  readonly waiting: readonly OperationRequest[];
  /** by job id */
  readonly failed: Readonly<Record<string, FailedOperation>>;
}

export const initialOperations: OperationsState = { group: '', last: 0, running: null, waiting: [], failed: {} };

export const operationJob = (group: string, { operation, retries }: Pick<OperationRun, 'operation' | 'retries'>, step: string): string => `${group}.${operation}.${step}${retries ? `.r${retries}` : ''}`;

const begun = (request: OperationRequest): OperationRun => ({ ...request, step: request.steps[0]!, job: null, stepInput: null, attempt: 0, claimed: false, lost: 0, faults: 0, retries: 0, retryOf: null, edits: null, learnt: {}, work: '' });

/** What has to be decided before anything else can happen: the input of the next step, or the ending of an operation. */
export function undecided(state: OperationsState): OperationRun | null {
  const { running, waiting } = state;
  if (running) return running.job === null ? running : null;
  return waiting[0] ? begun(waiting[0]) : null;
}

/** One that runs or waits; null: it is over. */
export const openRun = ({ running, waiting }: OperationsState, operation: number): OperationRun | null => {
  if (running?.operation === operation) return running;
  const request = waiting.find((one) => one.operation === operation);
  return request ? begun(request) : null;
};

function failedWith(state: OperationsState, job: string, failed: FailedOperation): OperationsState['failed'] {
  return Object.fromEntries([...Object.entries(state.failed), [job, failed] as const].slice(-KEEP_FAILED_OPERATIONS));
}

export function evolveOperations(state: OperationsState, event: OperationEvent): OperationsState {
  const { running } = state;
  switch (event.type) {
    case 'OperationRequested': {
      const { group, ...request } = event.data;
      return { ...state, group, last: request.operation, waiting: [...state.waiting, request] };
    }
    case 'OperationStepQueued': {
      const { job, step, input, operation } = event.data;
      const run = running ?? begun(state.waiting.find((request) => request.operation === operation)!);
      return {
        ...state, waiting: state.waiting.filter((request) => request.operation !== operation),
        running: { ...run, step, job, stepInput: input, attempt: 0, claimed: false, lost: 0, faults: 0, retryOf: null, edits: null, work: workId(job, 0) },
      };
    }
    case 'OperationStepStarted': return running ? { ...state, running: { ...running, attempt: event.data.attempt, claimed: true, lost: lostClaims(running) } } : state;
    case 'OperationStepGivenBack': return running ? { ...state, running: { ...running, claimed: false } } : state;
    case 'OperationStepDone': {
      if (!running) return state;
      const { step, output } = event.data;
      return { ...state, running: { ...running, claimed: false, job: null, work: '', stepInput: null, step: running.steps[running.steps.indexOf(step) + 1] ?? null, learnt: { ...running.learnt, [step]: output } } };
    }
    case 'OperationStepFailed':
      return running ? { ...state, running: { ...running, claimed: false, lost: 0, faults: running.faults + 1, work: workId(event.data.job, running.faults + 1) } } : state;
    case 'OperationSucceeded': return { ...state, running: null };
    case 'OperationFailed': {
      const { operation, job, failure, step } = event.data;
      const run = openRun(state, operation);
      if (!run) return state;
      return { ...state, running: null, waiting: state.waiting.filter((request) => request.operation !== operation), failed: failedWith(state, job, { ...run, step, job, failure }) };
    }
    case 'OperationCancelled': {
      const { operation } = event.data;
      if (running?.operation === operation) return { ...state, running: null };
      return { ...state, waiting: state.waiting.filter((request) => request.operation !== operation) };
    }
    case 'OperationRetried': {
      const { [event.data.job]: run, ...failed } = state.failed;
      if (!run) return state;
      const { failure: _, ...rest } = run;
      return { ...state, failed, running: { ...rest, job: null, work: '', claimed: false, retries: run.retries + 1, retryOf: event.data.job, edits: event.data.edits ?? null } };
    }
    case 'OperationDiscarded': {
      const { [event.data.job]: _, ...failed } = state.failed;
      return { ...state, failed };
    }
    default: {
      const unknown: never = event;
      throw new Error(`unknown event ${JSON.stringify(unknown)}`);
    }
  }
}
