import type { Recorded } from '../../events/event.js';
import { SCHEMAS, type EventType } from '../../events/types/all.events.js';
import type { Failure } from '../../events/types/deploy.events.js';
import { OPERATION_EVENTS, type FollowingDeploy, type OperationEvent } from '../../events/types/operation.events.js';
import type { Shape } from '../read/projection.js';
import { queuedStep, stepDone, stepEnds, stepFailed, stepGivenBack, stepStarted, type StepRow } from '../read/step-row.state.js';
import { KEEP_FAILED_OPERATIONS } from './operation.state.js';

export type OperationStatus = 'waiting' | 'running' | 'succeeded' | 'failed' | 'cancelled';
export type OperationStep = Omit<StepRow<string>, 'containers'>;
export interface OperationRow {
  group: string; operation: number; kind: string; subject: string; by: string; trace: string;
  status: OperationStatus; requestedAt: number; startedAt: number | null; endedAt: number | null;
  failure: Failure | null; endedBy: string | null; deploys: readonly FollowingDeploy[];
  steps: OperationStep[];
  /** versions of the first and the last event of it in the group's stream */
  span: [first: number, last: number];
}
export interface FailedOperationRow { job: string; group: string; operation: number; kind: string; subject: string; step: string; failure: Failure; at: number; attempts: number }

/** Operations of every group. Of those that are over a group keeps the newest. */
export interface Works {
  groups: Record<string, { running: number | null; rows: OperationRow[] }>;
  failed: Record<string, FailedOperationRow>;
}

/** operations of a group that are listed, open ones aside */
const KEEP_ROWS = 100;

const OWN: ReadonlySet<string> = new Set(OPERATION_EVENTS);
export const isOverOperation = (status: OperationStatus): boolean => status !== 'waiting' && status !== 'running';

function trim(works: Works, group: string): void {
  const all = works.groups[group]!;
  const over = all.rows.filter((row) => isOverOperation(row.status) && !Object.values(works.failed).some((f) => f.group === group && f.operation === row.operation));
  const gone = new Set(over.slice(0, Math.max(0, over.length - KEEP_ROWS)));
  if (gone.size > 0) all.rows = all.rows.filter((row) => !gone.has(row));
  const failed = Object.values(works.failed).filter((f) => f.group === group);
  for (const { job } of failed.slice(0, Math.max(0, failed.length - KEEP_FAILED_OPERATIONS))) delete works.failed[job];
}

function applyToWorks(works: Works, event: Recorded): void {
  if (!OWN.has(event.type)) return;
  const known = event as unknown as Recorded & OperationEvent;
  const { group, operation } = known.data;
  if (known.type === 'OperationRequested') {
    const { kind, subject, by } = known.data;
    (works.groups[group] ??= { running: null, rows: [] }).rows.push({ group, operation, kind, subject, by, trace: event.meta.trace, status: 'waiting', requestedAt: event.at, startedAt: null, endedAt: null, failure: null, endedBy: null, deploys: [], steps: [], span: [event.version, event.version] });
    return;
  }
  const all = works.groups[group];
  const row = all?.rows.findLast((one) => one.operation === operation);
  if (!all || !row) return;
  row.span[1] = event.version;
  const step = 'job' in known.data ? row.steps.findLast((s) => s.job === (known.data as { job: string }).job) : undefined;
  const end = (status: OperationStatus): void => {
    Object.assign(row, { status, endedAt: event.at });
    if (all.running === operation) all.running = null;
    trim(works, group);
  };
  switch (known.type) {
    case 'OperationStepQueued':
      row.steps.push(queuedStep(known.data, event.at));
      Object.assign(row, { status: 'running', startedAt: row.startedAt ?? event.at });
      all.running = operation;
      return;
    case 'OperationStepStarted':
      if (step) stepStarted(step, known.data, event.at);
      return;
    case 'OperationStepGivenBack':
      if (step) stepGivenBack(step);
      return;
    case 'OperationStepDone':
      if (step) stepDone(step, known.data, event.at);
      return;
    case 'OperationStepFailed':
      if (step) stepFailed(step, known.data, event.at);
      return;
    case 'OperationSucceeded':
      Object.assign(row, { failure: null, deploys: known.data.deploys });
      return end('succeeded');
    case 'OperationFailed': {
      const { job, failure } = known.data;
      row.failure = failure;
      stepEnds(step, 'failed', event.at, failure);
      works.failed[job] = { job, group, operation, kind: row.kind, subject: row.subject, step: known.data.step, failure, at: event.at, attempts: step?.attempt ?? 0 };
      return end('failed');
    }
    case 'OperationCancelled': {
      row.endedBy = known.data.by;
      stepEnds(row.steps.at(-1), 'cancelled', event.at);
      return end('cancelled');
    }
    case 'OperationRetried':
      delete works.failed[known.data.job];
      Object.assign(row, { status: 'running', endedAt: null });
      all.running = operation;
      return;
    case 'OperationDiscarded': delete works.failed[known.data.job]; return;
    default: return;
  }
}

export const WORKS: Shape<Works> = { version: '1', initial: () => ({ groups: {}, failed: {} }), apply: applyToWorks, skips: (Object.keys(SCHEMAS) as EventType[]).filter((type) => !OWN.has(type)) };
