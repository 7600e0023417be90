import { Rejected } from '../../events/decider.js';
import type { Failure } from '../../events/types/deploy.events.js';
import type { FollowingDeploy, OperationEvent } from '../../events/types/operation.events.js';
import type { Recorded } from '../../events/event.js';
import { upcast } from '../../events/upcast.js';
import { shown } from '../apps/app.decider.js';
import type { Out, StreamItem } from '../commands/command.js';
import { seconds } from '../commands/words.js';
import type { Core } from '../core.js';
import { operationsStream } from '../draft.js';
import { followWork, type WorkItem } from '../logs/follow-work.js';
import { isOverOperation, type OperationRow, type OperationStatus } from './works.projection.js';

export const operationLog = (group: string, operation: number): string => `operations/${group}/${operation}`;

export interface EndOfOperation {
  status: OperationStatus; group: string; subject: string; kind: string; operation: number; tookMs: number;
  failure: (Failure & { job: string | null }) | null; endedBy: string | null;
  /** asked for when it succeeded */
  deploys: readonly FollowingDeploy[];
}
export type OperationItem = WorkItem<EndOfOperation, OperationStatus>;

/** An operation of a group; the newest when there is no number. @throws Rejected */
export async function operationRow(core: Core, group: string, operation?: number): Promise<OperationRow> {
  const rows = (await core.works.now()).groups[group]?.rows ?? [];
  const row = operation === undefined ? rows.at(-1) : rows.findLast((one) => one.operation === operation);
  if (!row) throw new Rejected('operation.missing', operation === undefined ? `There is no operation of ${shown(group)}` : `${shown(group)} has no operation ${operation}, or it is too old to be listed`, 'see: berth operations');
  return row;
}

/** The events of one operation, in order. */
export async function operationEvents(core: Core, row: OperationRow): Promise<(Recorded & OperationEvent)[]> {
  const [first, last] = row.span;
  const events = (await core.store.readStream(operationsStream(row.group), first - 1, last)).map((event) => upcast(event)) as unknown as (Recorded & OperationEvent)[];
  return events.filter((event) => event.data.operation === row.operation);
}

function endOf(row: OperationRow): EndOfOperation {
  const { status, group, subject, kind, operation, failure, endedBy, deploys } = row;
  const job = row.steps.findLast((step) => step.failure !== null)?.job ?? null;
  return { status, group, subject, kind, operation, tookMs: (row.endedAt ?? row.requestedAt) - row.requestedAt, failure: failure && { ...failure, job }, endedBy, deploys };
}

/** An operation's output from line `after` + 1 to its end, as it comes; see `followWork`. */
export function followOperation(core: Core, group: string, operation: number, after: number, signal: AbortSignal): AsyncGenerator<OperationItem & StreamItem> {
  return followWork<EndOfOperation, OperationStatus>(core, 'the operation', operationLog(group, operation), async () => {
    const row = await operationRow(core, group, operation);
    return { status: row.status, behind: (await core.works.now()).groups[group]?.running ?? null, end: isOverOperation(row.status) ? endOf(row) : null };
  }, after, signal);
}

/** One item of a followed operation in words; its exit code with the last one. */
export function printOperation(item: OperationItem, out: Out): number | undefined {
  switch (item.event) {
    case 'line': {
      const { m, k, v } = item.data;
      if (out.verbose || !v) out.line(k === 'c' ? `       · ${m}` : m);
      return undefined;
    }
    case 'note': out.warn(item.data.text); return undefined;
    case 'state':
      if (item.data.status === 'waiting') out.info(item.data.behind === null ? 'Waiting' : `Waiting: operation ${item.data.behind} is running, this one comes next`);
      return undefined;
    case 'end': return printEnd(item.data, out);
  }
}

function printEnd(end: EndOfOperation, out: Out): number {
  const what = `Operation ${end.operation} (${end.kind}) of ${end.subject}`;
  if (end.status === 'succeeded') {
    out.detail(`done in ${seconds(end.tookMs)}`);
    return 0;
  }
  if (end.status === 'cancelled') out.warn(`${what} was cancelled by ${end.endedBy}`);
  else {
    out.warn(`${what} failed${end.failure ? ` (${end.failure.code})` : ''}${end.failure ? `: ${end.failure.message}` : ''}`);
    if (end.failure?.hint) out.warn(end.failure.hint);
    out.warn(`trace: berth operations:show ${end.group} ${end.operation}${end.failure?.job ? `   retry: berth jobs:retry ${end.failure.job}` : ''}`);
  }
  return 1;
}
