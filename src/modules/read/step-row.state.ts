import type { Failure, LiveContainer, Step } from '../../events/types/deploy.events.js';

/** A step as screens show it, of a deploy or of an operation. */
export interface StepRow<S extends string = Step> {
  job: string; step: S; queuedAt: number; startedAt: number | null; endedAt: number | null;
  attempt: number; worker: string | null; waitedMs: number; tookMs: number;
  status: 'queued' | 'running' | 'waiting-for-retry' | 'succeeded' | 'failed' | 'cancelled'; failure: Failure | null; retryOf: string | null;
  /** what a release step started */
  containers?: readonly LiveContainer[];
}
type Row = StepRow<string>;

export const queuedStep = <S extends string>({ job, step, retryOf }: { readonly job: string; readonly step: S; readonly retryOf: string | null }, at: number): StepRow<S> => (
  { job, step, queuedAt: at, startedAt: null, endedAt: null, attempt: 0, worker: null, waitedMs: 0, tookMs: 0, status: 'queued', failure: null, retryOf });

export const isOpenStep = ({ status }: Row): boolean => status === 'queued' || status === 'running' || status === 'waiting-for-retry';

export function stepStarted(row: Row, { attempt, worker, waitedMs }: Pick<Row, 'attempt' | 'waitedMs'> & { readonly worker: string }, at: number): void {
  Object.assign(row, { status: 'running', startedAt: row.startedAt ?? at, endedAt: null, attempt, worker, waitedMs: row.waitedMs + waitedMs });
}

export function stepGivenBack(row: Row): void {
  Object.assign(row, { status: 'queued', worker: null });
}

export function stepDone(row: Row, { tookMs }: Pick<Row, 'tookMs'>, at: number): void {
  Object.assign(row, { status: 'succeeded', endedAt: at, tookMs, failure: null });
}

export function stepFailed(row: Row, { tookMs, failure, retryAt }: Pick<Row, 'tookMs' | 'failure'> & { readonly retryAt: number | null }, at: number): void {
  Object.assign(row, { status: retryAt === null ? 'failed' : 'waiting-for-retry', endedAt: at, tookMs, failure });
}

/** What it belongs to ends; a step that is over stays as it is. */
export function stepEnds(row: Row | undefined, status: 'failed' | 'cancelled', at: number, failure?: Failure): void {
  if (row && isOpenStep(row)) Object.assign(row, { status, endedAt: at, ...(failure && { failure }) });
}
