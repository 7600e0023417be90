import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Min } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, type StreamItem } from '../commands/command.js';
import { seconds, table, when } from '../commands/words.js';
import type { Core } from '../core.js';
import { callsOf, stepIo } from '../trace/trace-parts.js';
import { waterfall, type Trace } from '../trace/waterfall.js';
import { followOperation, operationEvents, operationLog, operationRow, printOperation, type OperationItem } from './follow.js';
import type { OperationRow } from './works.projection.js';

const number = ({ value }: { value: unknown }): unknown => (typeof value === 'string' && /^#?\d{1,9}$/.test(value) ? Number(value.replace('#', '')) : value);
const GROUP = 'what is worked on: postgres:blog, or an id as operations lists it';

class ListInput {
  @IsOptional() @Transform(number) @IsInt() @Min(1) @Flag('how many at most, the newest (30)', { type: 'number', short: 'n', label: 'n' }) num?: number;
  @IsOptional() @IsString() @Arg(GROUP, { optional: true, label: 'group' }) group?: string;
}
class OneInput {
  @IsString() @Arg(GROUP, { label: 'group' }) group!: string;
  @IsOptional() @Transform(number) @IsInt({ message: 'operation: a number as operations lists it' }) @Min(1) @Arg('its number; the newest when there is none', { optional: true, label: 'operation' }) operation?: number;
}
class ShowInput extends OneInput {
  @IsOptional() @Flag('list every engine call, not only the slowest') all?: boolean;
}
class FollowInput extends OneInput {
  @IsOptional() @Transform(number) @IsInt() @Min(0) @Flag('go on behind this line', { type: 'number', label: 'line' }) after?: number;
}
class CancelInput extends OneInput {
  @IsOptional() @IsString() @Flag('why', { type: 'string', label: 'text' }) reason?: string;
}

/** A group by its id, or by what people call it: `postgres:blog`. @throws Rejected */
async function groupNamed(core: Core, text: string): Promise<string> {
  const { groups } = await core.works.now();
  if (Object.hasOwn(groups, text)) return text;
  const wanted = text.replace(':', ' ');
  const found = Object.entries(groups).findLast(([, { rows }]) => rows.at(-1)?.subject === wanted);
  if (!found) throw new Rejected('operation.missing', `There is no operation of ${shown(text)}`, 'see: berth operations');
  return found[0];
}

const infoOf = (row: OperationRow) => ({
  group: row.group, operation: row.operation, subject: row.subject, kind: row.kind, status: row.status, by: row.by,
  requestedAt: new Date(row.requestedAt).toISOString(), tookMs: row.endedAt === null ? null : row.endedAt - row.requestedAt, failure: row.failure, endedBy: row.endedBy, deploys: row.deploys, steps: row.steps,
});

const list = command({
  name: 'operations', summary: 'List what takes time and is no deploy: of services, plugins, backups; the newest first', example: 'berth operations postgres:blog', input: ListInput, http: { method: 'GET', path: '/operations' }, reads: true,
  run: async ({ core }, { group, num }) => {
    const only = group === undefined ? null : await groupNamed(core, group);
    const { groups } = await core.works.now();
    const rows = (only === null ? Object.values(groups) : [groups[only]!]).flatMap((each) => each.rows);
    return rows.toSorted((a, b) => b.requestedAt - a.requestedAt || b.operation - a.operation).slice(0, num ?? 30).map(infoOf);
  },
  render: (rows, out) => {
    if (rows.length === 0) return out.info('There was no operation yet');
    for (const line of table(['GROUP', 'OPERATION', 'SUBJECT', 'KIND', 'STATUS', 'TOOK', 'WHEN (UTC)', 'BY', 'WHY'], rows.map((r) => [
      r.group, String(r.operation), r.subject, r.kind, r.status, r.tookMs === null ? '-' : seconds(r.tookMs), when(Date.parse(r.requestedAt)), r.by, r.failure?.message ?? '',
    ]))) out.line(line);
  },
});

const show = command({
  name: 'operations:show', summary: 'Draw an operation as a waterfall: what waited, what worked, on which worker, which engine calls', example: 'berth operations:show postgres:blog', input: ShowInput, http: { method: 'GET', path: '/operations/:group/:operation' }, reads: true,
  run: async ({ core }, { group, operation }): Promise<Trace & { now: number }> => {
    const row = await operationRow(core, await groupNamed(core, group), operation);
    const io = stepIo(await operationEvents(core, row));
    const lines = await core.logs.read(operationLog(row.group, row.operation), 0, 500_000);
    return {
      now: core.now(), app: row.subject, what: 'operation', deploy: row.operation, status: row.status, kind: row.kind, by: row.by, trace: row.trace, commit: null, subject: null, release: null,
      requestedAt: row.requestedAt, startedAt: row.startedAt, endedAt: row.endedAt,
      steps: row.steps.map((s) => ({
        job: s.job, step: s.step, status: s.status, attempts: s.attempt, worker: s.worker, queuedAt: s.queuedAt, startedAt: s.startedAt, endedAt: s.endedAt, waitedMs: s.waitedMs, tookMs: s.tookMs,
        ...(io.get(s.job) ?? { input: null, output: null }), failure: s.status === 'failed' ? s.failure : null, calls: callsOf(lines, s),
      })),
    };
  },
  render: (answer, out, { all }) => waterfall(answer, answer.now, out.columns, all ?? false).forEach((line) => out.line(line)),
});

const follow = command({
  name: 'operations:follow', summary: 'Follow an operation\'s output from its first line (or behind a given one) to its end', example: 'berth operations:follow postgres:blog', input: FollowInput, http: { method: 'GET', path: '/operations/:group/:operation/output' }, reads: true,
  async *stream({ core, signal }, { group, operation, after }): AsyncGenerator<StreamItem> {
    const row = await operationRow(core, await groupNamed(core, group), operation);
    yield* followOperation(core, row.group, row.operation, after ?? 0, signal);
  },
  renderItem: (item, out) => printOperation(item as unknown as OperationItem, out),
});

const cancel = command({
  name: 'operations:cancel', summary: 'Cancel the running (or a waiting) operation of a group', example: 'berth operations:cancel postgres:blog', input: CancelInput, http: { method: 'POST', path: '/operations/:group/cancel' },
  run: async ({ core, actor }, { group, operation, reason }) => {
    const id = await groupNamed(core, group);
    const [event] = await core.operations.handle(id, { type: 'Cancel', operation: operation ?? null, by: actor, reason: reason ?? 'asked for' }, { actor, command: 'operations:cancel' });
    return { group: id, cancelled: (event!.data as { operation: number }).operation };
  },
  render: ({ group, cancelled }, out) => out.info(`Cancelled operation ${cancelled} of ${group}`),
});

export const operationCommands = [forget(list), forget(show), forget(follow), forget(cancel)];
