import { Transform } from 'class-transformer';
import { IsArray, IsIn, IsInt, IsOptional, IsString, Matches, Min } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { STEPS, type PipelineEvent, type Step } from '../../events/types/deploy.events.js';
import type { OperationEvent } from '../../events/types/operation.events.js';
import type { Recorded } from '../../events/event.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type DeployAnswer, type OperationAnswer } from '../commands/command.js';
import { seconds, table, when } from '../commands/words.js';
import type { Board, DeployRow, FailedJob } from '../read/board.projection.js';
import type { StepRow } from '../read/step-row.state.js';
import { failedOperations, operationJobEvents, retryOperation } from '../operations/failed.js';
import { deployEvents, deployLog } from './follow.js';
import { isKept } from './pipeline.state.js';

const ID = /^[a-z0-9][a-z0-9-]{0,80}\.\d{1,9}\.[a-z][a-z-]{0,30}(?:\.r\d{1,6})?$/;

class JobInput {
  @Matches(ID, { message: 'job: an id as berth jobs:failed shows it, such as k3v9q2mzxa.7.build' }) @Arg('its id, as jobs:failed shows it', { label: 'job' }) job!: string;
}
class RetryInput {
  @IsOptional() @Flag('every failed job (of a step, of an app), the newest of each app') all?: boolean;
  @IsOptional() @IsIn(STEPS) @Flag(`with --all: only this step (${STEPS.join(', ')})`, { type: 'string', label: 'step' }) step?: Step;
  @IsOptional() @IsString() @Flag('with --all: only this app', { type: 'string', label: 'app' }) of?: string;
  @IsOptional() @IsString() @Arg('its id, as jobs:failed shows it', { label: 'job', optional: true }) job?: string;
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('values of the input to change, such as limits.memory=4g; see them with jobs:show', { label: 'path=value', optional: true }) edits?: string[];
}
class DiscardInput {
  @IsOptional() @Flag('every failed job (of a step, of an app)') all?: boolean;
  @IsOptional() @IsIn(STEPS) @Flag(`with --all: only this step (${STEPS.join(', ')})`, { type: 'string', label: 'step' }) step?: Step;
  @IsOptional() @IsString() @Flag('with --all: only this app', { type: 'string', label: 'app' }) of?: string;
  @IsOptional() @IsString() @Flag('why', { type: 'string', label: 'text' }) reason?: string;
  @IsOptional() @Matches(ID, { message: 'job: an id as berth jobs:failed shows it, such as k3v9q2mzxa.7.build' }) @Arg('its id, as jobs:failed shows it', { label: 'job', optional: true }) job?: string;
}
class FailedInput {
  @IsOptional() @IsIn(STEPS) @Flag(`only this step (${STEPS.join(', ')})`, { type: 'string', label: 'step' }) step?: Step;
  @IsOptional() @IsString() @Arg('only of this app', { optional: true, label: 'app' }) app?: string;
}

/** Which jobs are meant: of a step, of an app; the newest first. */
async function failedOf({ core }: CommandContext, app: string | undefined, step: Step | undefined): Promise<{ board: Readonly<Board>; jobs: FailedJob[] }> {
  const only = app === undefined ? null : (await core.app(app)).id;
  const board = await core.board.now();
  return { board, jobs: Object.values(board.failed).filter((f) => (only === null || f.app === only) && (step === undefined || f.step === step)).toSorted((a, b) => b.at - a.at || b.deploy - a.deploy) };
}

/** `deploy 9 (v5)`, which went well since. */
function sinceOf(board: Readonly<Board>, { app, superseded }: FailedJob): { deploy: number; release: number | null } | null {
  return superseded === null ? null : { deploy: superseded, release: board.deploys[app]?.[superseded - 1]?.release ?? null };
}

const named = ({ deploy, release }: { deploy: number; release: number | null }): string => (release === null ? `deploy ${deploy}` : `v${release} (deploy ${deploy})`);

const failedJobs = command({
  name: 'jobs:failed', summary: 'List the failed jobs, also those that later deploys have superseded, until they are retried or discarded', example: 'berth jobs:failed blog --step build', input: FailedInput, http: { method: 'GET', path: '/jobs/failed' }, reads: true,
  run: async (context, { app, step }) => {
    const { board, jobs } = await failedOf(context, app, step);
    const operations = app === undefined && step === undefined ? await failedOperations(context.core) : [];
    const ofOperations = operations.map((f) => ({
      job: f.job, app: f.subject, deploy: f.operation, line: 'operation' as 'deploy' | 'operation', kind: f.kind as string, commit: null, subject: null, step: f.step as string, attempts: f.attempts,
      code: f.failure.code, message: f.failure.message, hint: f.failure.hint, at: new Date(f.at).toISOString(), superseded: null, kept: true,
    }));
    return [...ofOperations, ...jobs.map((f) => {
      const deploy = board.deploys[f.app]?.[f.deploy - 1];
      return {
        job: f.job, app: board.apps[f.app]?.name ?? f.app, deploy: f.deploy, line: 'deploy' as const, kind: f.kind, commit: deploy?.source.sha ?? null, subject: deploy?.subject ?? null, step: f.step, attempts: f.attempts,
        code: f.failure.code, message: f.failure.message, hint: f.failure.hint, at: new Date(f.at).toISOString(), superseded: sinceOf(board, f), kept: isKept(f) || f.step === 'clone',
      };
    })];
  },
  render: (jobs, out) => {
    if (jobs.length === 0) return out.info('No job has failed');
    const fits = (text: string): string => (text.length > 90 ? `${text.slice(0, 90)}…` : text);
    const state = (j: (typeof jobs)[number]): string => [j.superseded && `superseded by ${named(j.superseded)}`, !j.kept && 'source gone'].filter(Boolean).join(', ') || 'failed';
    for (const line of table(['JOB', 'OF', 'NUMBER', 'STEP', 'TRIES', 'WHEN (UTC)', 'STATE', 'WHY'], jobs.map((j) => [j.job, j.app, String(j.deploy), j.step, String(j.attempts), when(Date.parse(j.at)), state(j), fits(`${j.code}: ${j.message}`)]))) out.line(line);
    out.line();
    out.line('look: berth jobs:show <job>   again: berth jobs:retry <job>   forget: berth jobs:discard <job>');
    if (jobs.some((j) => j.superseded)) out.line('A superseded one is retried as a new deploy: its commit takes the place of what runs.');
  },
});

class ListInput {
  @IsOptional() @Flag('those that are over, too') all?: boolean;
  @IsOptional() @Transform(({ value }) => (typeof value === 'string' ? Number(value) : value)) @IsInt() @Min(1) @Flag('how many at most, the newest (50)', { type: 'number', short: 'n', label: 'n' }) num?: number;
  @IsOptional() @IsIn(STEPS) @Flag(`only this step (${STEPS.join(', ')})`, { type: 'string', label: 'step' }) step?: Step;
  @IsOptional() @IsString() @Arg('only of this app', { optional: true, label: 'app' }) app?: string;
}

const list = command({
  name: 'jobs:list', summary: 'List the jobs that wait, run or have failed', example: 'berth jobs:list blog --all', input: ListInput, http: { method: 'GET', path: '/jobs' }, reads: true,
  run: async ({ core }, { app, step, all, num }) => {
    const only = app === undefined ? null : (await core.app(app)).id;
    const board = await core.board.now();
    const isOver = ({ status, job }: StepRow): boolean => status === 'succeeded' || status === 'cancelled' || (status === 'failed' && !board.failed[job]);
    // there may be a hundred thousand of them: only those that are shown are made ready for it
    const found: { d: DeployRow; s: StepRow }[] = [];
    for (const deploys of only === null ? Object.values(board.deploys) : [board.deploys[only] ?? []]) {
      for (const d of deploys) for (const s of d.steps) if ((step === undefined || s.step === step) && (all || !isOver(s))) found.push({ d, s });
    }
    return found.sort((a, b) => a.s.queuedAt - b.s.queuedAt).slice(-(num ?? 50)).map(({ d, s }) => ({
      job: s.job, app: board.apps[d.app]?.name ?? d.app, deploy: d.deploy, step: s.step, status: s.status === 'failed' && isOver(s) ? 'over' as const : s.status,
      attempts: s.attempt, worker: s.worker, retryOf: s.retryOf, at: new Date(s.queuedAt).toISOString(), tookMs: s.startedAt === null ? null : (s.endedAt ?? core.now()) - s.startedAt, code: s.failure?.code ?? null, message: s.failure?.message ?? null,
    }));
  },
  render: (jobs, out) => {
    if (jobs.length === 0) return out.info('No job waits, runs or has failed');
    const fits = (text: string): string => (text.length > 70 ? `${text.slice(0, 69)}…` : text);
    for (const line of table(['JOB', 'APP', 'STATUS', 'TRIES', 'QUEUED (UTC)', 'TOOK', 'WORKER', 'WHY'], jobs.map((j) => [j.job, j.app, j.status, String(j.attempts), when(Date.parse(j.at)), j.tookMs === null ? '-' : seconds(j.tookMs), j.worker ?? '-', j.code ? fits(`${j.code}: ${j.message}`) : '']))) out.line(line);
  },
});

const AGAIN: ReadonlySet<string> = new Set(['JobRetried', 'OperationRetried']);
const DISCARDED: ReadonlySet<string> = new Set(['JobDiscarded', 'OperationDiscarded']);

interface Attempt { readonly attempt: number; readonly worker: string; readonly pid: number | null; readonly host: string | null; readonly at: number; readonly waitedMs: number; readonly tookMs: number | null; readonly outcome: string }

function outcomeOf(event: PipelineEvent | OperationEvent): string {
  if (event.type === 'StepGivenBack' || event.type === 'OperationStepGivenBack') return 'given back: its worker was stopped';
  if (event.type === 'StepFailed' || event.type === 'OperationStepFailed') return `${event.data.failure.code}: ${event.data.failure.message}${event.data.retryAt ? ' (tried again)' : ''}`;
  return event.type;
}

/** A job's claims and how each ended; one that a dead worker left has no end of its own. */
function attemptsOf(events: readonly Recorded[], job: string): Attempt[] {
  const attempts: Attempt[] = [];
  for (const recorded of events) {
    const event = recorded as unknown as PipelineEvent | OperationEvent;
    if (!('job' in event.data) || event.data.job !== job) continue;
    const last = attempts.at(-1);
    if (event.type === 'StepStarted' || event.type === 'OperationStepStarted') attempts.push({ attempt: event.data.attempt, worker: event.data.worker, pid: event.data.pid ?? null, host: event.data.host ?? null, at: recorded.at, waitedMs: event.data.waitedMs, tookMs: null, outcome: 'no outcome: the worker died, lost its lease or is at it' });
    else if (last && 'tookMs' in event.data && event.data.attempt === last.attempt) {
      attempts[attempts.length - 1] = { ...last, tookMs: event.data.tookMs, outcome: outcomeOf(event) };
    }
  }
  return attempts;
}

const show = command({
  name: 'jobs:show', summary: 'Show a job: its exact input, every attempt and who ran it, its output', example: 'berth jobs:show k3v9q2mzxa.7.build', input: JobInput, http: { method: 'GET', path: '/jobs/:job' }, reads: true,
  run: async ({ core }, { job }) => {
    const ofOperation = await operationJobEvents(core, job);
    const [app = '', deploy = '', step = ''] = job.split('.');
    const events: readonly Recorded[] = ofOperation?.events ?? await deployEvents(core, app, Number(deploy));
    const of = events.filter((e) => (e.data as { job?: string }).job === job);
    const queued = of.find((e) => e.type === 'StepQueued' || e.type === 'OperationStepQueued') as { data: { input: unknown; retryOf: string | null } } | undefined;
    if (!queued) throw new Rejected('job.missing', `There is no job ${job}`, 'see: berth jobs:failed, or berth trace <app> --format json');
    const attempts = attemptsOf(events, job);
    const first = attempts[0]?.at ?? 0;
    // a retry of the same step writes into the same log, after this one's end
    const last = attempts.at(-1)?.tookMs === null ? Number.POSITIVE_INFINITY : (of.findLast((e) => 'attempt' in (e.data as object))?.at ?? 0);
    const lines = (ofOperation?.lines ?? await core.logs.read(deployLog(app, Number(deploy)), 0, 100_000)).filter((line) => line.s === step && line.k !== 'c' && line.t >= first && line.t <= last).map((line) => line.m);
    const outcome = of.findLast((e) => 'output' in (e.data as object)) as { data: { output: unknown } } | undefined;
    const retried = of.filter((e) => AGAIN.has(e.type) || DISCARDED.has(e.type)).map((e) => ({ what: e.type, at: new Date(e.at).toISOString(), ...(e.data as { by: string; as?: number; edits?: object; reason?: string }) }));
    const cause = queued.data.retryOf === null ? undefined : (events.find((e) => AGAIN.has(e.type) && (e.data as { job: string }).job === queued.data.retryOf)?.data as { by: string; edits?: Record<string, string> } | undefined);
    return { job, app: ofOperation?.row.subject ?? (await core.board.now()).apps[app]?.name ?? app, line: ofOperation ? 'operation' as const : 'deploy' as const, deploy: Number(deploy), step, retryOf: queued.data.retryOf, retriedBy: cause?.by ?? null, edits: cause?.edits ?? null, input: queued.data.input, output: outcome?.data.output ?? null, attempts, followed: retried, lines: lines.slice(-200) };
  },
  render: (j, out) => {
    out.section(`${j.app} ${j.line} ${j.deploy}, step ${j.step}${j.retryOf ? ` (retry of ${j.retryOf})` : ''}`);
    if (j.retriedBy) out.detail(`retried by ${j.retriedBy}${j.edits ? ` with ${Object.entries(j.edits).map(([path, value]) => `${path}=${value}`).join(' ')}` : ', with the same input'}`);
    out.info('Input');
    for (const line of JSON.stringify(j.input, null, 2).split('\n')) out.detail(line);
    out.info('Attempts');
    for (const a of j.attempts) out.detail(`${a.attempt}  ${when(a.at)}  ${a.worker}${a.pid === null ? '' : ` (process ${a.pid} on ${a.host})`}  waited ${seconds(a.waitedMs)}${a.tookMs === null ? '' : `, took ${seconds(a.tookMs)}`}  ${a.outcome}`);
    for (const f of j.followed) out.detail(`${f.what} by ${f.by} at ${f.at}${f.as ? ` as deploy ${f.as}` : ''}${f.edits ? `, changed ${JSON.stringify(f.edits)}` : ''}${f.reason ? `: ${f.reason}` : ''}`);
    if (j.output !== null) {
      out.info('Output');
      for (const line of JSON.stringify(j.output, null, 2).split('\n')) out.detail(line);
    }
    out.info(j.lines.length > 40 ? 'Its last 40 lines' : 'What it said');
    for (const line of j.lines.slice(-40)) out.line(line);
  },
});

function editsOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(words.map((word) => {
    const equals = word.indexOf('=');
    if (equals < 1) throw new Rejected('job.edit', `'${shown(word)}' is not of the form path=value`, 'for example: limits.memory=4g');
    return [word.slice(0, equals), word.slice(equals + 1)];
  }));
}

interface Again { readonly job: string; readonly app: string; /** the one that runs now */ readonly deploy: number; readonly of: number; readonly step: string; readonly superseded: { deploy: number; release: number | null } | null }
interface Left { readonly job: string; readonly why: string }
type Retried = Partial<DeployAnswer & OperationAnswer> & { readonly retried: readonly Again[]; readonly left: readonly Left[] };

/** One job by its id, or all of a kind; never both, never neither. */
async function meant(context: CommandContext, { job, all, step, of }: { job?: string; all?: boolean; step?: Step; of?: string }): Promise<{ board: Readonly<Board>; jobs: FailedJob[] }> {
  if ((job === undefined) === !all) throw new Rejected('job.which', 'Which job: its id, or --all', 'see: berth jobs:failed');
  if (job === undefined) return failedOf(context, of, step);
  if (step !== undefined || of !== undefined) throw new Rejected('job.which', '--step and --of say which of --all, not which job', 'see: berth jobs:failed');
  const board = await context.core.board.now();
  const failed = board.failed[job];
  if (!failed || !board.apps[failed.app]) throw new Rejected('job.missing', `There is no failed job ${shown(job)}`, 'see: berth jobs:failed');
  return { board, jobs: [failed] };
}

const retry = command({
  name: 'jobs:retry', summary: 'Run a failed step again from its input or a changed one, then the rest; as a new deploy if superseded', example: 'berth jobs:retry k3v9q2mzxa.7.build limits.memory=4g', input: RetryInput, http: { method: 'POST', path: '/jobs/retry' },
  run: async (context, given): Promise<Retried> => {
    const { core, actor } = context;
    // with --all the first word is a change already
    const { job, edits = [], ...input } = given.all && given.job?.includes('=') ? { ...given, job: undefined, edits: [given.job, ...(given.edits ?? [])] } : given;
    if (job !== undefined && !ID.test(job)) throw new Rejected('input.job', `job: an id as berth jobs:failed shows it, such as k3v9q2mzxa.7.build, not '${shown(job)}'`, 'values of its input to change stand behind it: see berth help jobs:retry');
    const changes = edits.length > 0 ? editsOf(edits) : null;
    const operation = job === undefined ? undefined : (await core.works.now()).failed[job];
    if (operation) return { ...await retryOperation(context, operation, changes), retried: [{ job: operation.job, app: operation.subject, deploy: operation.operation, of: operation.operation, step: operation.step, superseded: null }], left: [] };
    const { board, jobs } = await meant(context, { ...input, ...(job !== undefined && { job }) });
    const again = async (f: FailedJob): Promise<Again> => {
      const events = await core.pipelines.handle(f.app, { type: 'Retry', job: f.job, by: actor, ...(changes && { edits: changes }) }, { actor, command: 'jobs:retry' });
      const { deploy, step } = events.find((event) => event.type === 'StepQueued')!.data as { deploy: number; step: Step };
      return { job: f.job, app: board.apps[f.app]!.name, deploy, of: f.deploy, step, superseded: deploy === f.deploy ? null : sinceOf(board, f) };
    };
    if (!input.all) {
      const one = await again(jobs[0]!);
      return { app: jobs[0]!.app, name: one.app, deploy: one.deploy, retried: [one], left: [] };
    }
    const retried: Again[] = [];
    const left: Left[] = [];
    const busy = new Set<string>();
    for (const f of jobs) {
      const since = sinceOf(board, f);
      const why = since ? `${named(since)} went well since; to bring it back all the same, name it` : busy.has(f.app) ? `a newer deploy of ${board.apps[f.app]!.name} is retried` : null;
      if (why !== null) {
        left.push({ job: f.job, why });
        continue;
      }
      try {
        retried.push(await again(f));
        busy.add(f.app);
      } catch (error) {
        if (!(error instanceof Rejected)) throw error;
        left.push({ job: f.job, why: error.message });
      }
    }
    return { retried, left };
  },
  render: (answer, out) => {
    const { retried, left } = answer;
    for (const r of retried) {
      if (r.deploy === r.of) out.info(`Retrying ${answer.operation === undefined ? 'deploy' : 'operation'} ${r.deploy} of ${r.app} from its step ${r.step}`);
      else out.info(`Retrying deploy ${r.of} of ${r.app} from its step ${r.step} as new deploy ${r.deploy}${r.superseded ? `: ${named(r.superseded)} went well since, and its code is replaced` : ''}`);
    }
    for (const l of left) out.warn(`${l.job} is left: ${l.why}`);
    if (retried.length > 1 || (retried.length > 0 && left.length > 0)) out.detail('watch: berth deploys:follow <app>, or berth events -t');
    if (retried.length + left.length === 0) out.info('No job has failed');
    return left.length > 0 && retried.length === 0 ? 1 : 0;
  },
});

const discard = command({
  name: 'jobs:discard', summary: 'Take a failed job, or all of a kind, off the list; the log keeps that it failed, who discarded it and why', example: 'berth jobs:discard k3v9q2mzxa.7.build --reason "fixed by the next push"', input: DiscardInput, http: { method: 'POST', path: '/jobs/discard' },
  run: async (context, input): Promise<{ discarded: readonly string[]; left: readonly Left[] }> => {
    const { core, actor } = context;
    const discarded: string[] = [];
    const left: Left[] = [];
    const operation = input.job === undefined ? undefined : (await core.works.now()).failed[input.job];
    if (operation) {
      await core.operations.handle(operation.group, { type: 'Discard', job: operation.job, by: actor, reason: input.reason ?? '' }, { actor, command: 'jobs:discard' });
      return { discarded: [operation.job], left };
    }
    for (const f of (await meant(context, input)).jobs) {
      try {
        await core.pipelines.handle(f.app, { type: 'Discard', job: f.job, by: actor, reason: input.reason ?? '' }, { actor, command: 'jobs:discard' });
        discarded.push(f.job);
      } catch (error) {
        if (!input.all || !(error instanceof Rejected)) throw error;
        left.push({ job: f.job, why: error.message });
      }
    }
    return { discarded, left };
  },
  render: ({ discarded, left }, out) => {
    for (const job of discarded) out.info(`Discarded ${job}`);
    for (const l of left) out.warn(`${l.job} is left: ${l.why}`);
    if (discarded.length + left.length === 0) out.info('No job has failed');
    return left.length > 0 && discarded.length === 0 ? 1 : 0;
  },
});

export const jobCommands = [forget(list), forget(failedJobs), forget(show), forget(retry), forget(discard)];
