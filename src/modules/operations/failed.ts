import type { CommandContext, OperationAnswer } from '../commands/command.js';
import type { Core } from '../core.js';
import { operationEvents, operationLog, operationRow } from './follow.js';
import type { FailedOperationRow } from './works.projection.js';

/** Failed jobs of operations, the newest first. */
export async function failedOperations(core: Core): Promise<FailedOperationRow[]> {
  return Object.values((await core.works.now()).failed).toSorted((a, b) => b.at - a.at);
}

/** What is known of one job of an operation; null when it is no operation's. */
export async function operationJobEvents(core: Core, job: string) {
  const [group = '', operation = '', step = ''] = job.split('.');
  const rows = (await core.works.now()).groups[group]?.rows;
  if (!rows?.some((row) => row.operation === Number(operation))) return null;
  const row = await operationRow(core, group, Number(operation));
  const lines = await core.logs.read(operationLog(group, row.operation), 0, 100_000);
  return { row, step, events: await operationEvents(core, row), lines };
}

/** Runs a failed step again, with the input as it is now; then the rest. @throws Rejected */
export async function retryOperation({ core, actor }: CommandContext, failed: FailedOperationRow, edits: Readonly<Record<string, string>> | null): Promise<OperationAnswer> {
  await core.operations.handle(failed.group, { type: 'Retry', job: failed.job, by: actor, ...(edits && { edits }) }, { actor, command: 'jobs:retry' });
  return { group: failed.group, operation: failed.operation };
}
