import { IsArray, IsIn, IsOptional, IsString, Matches } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { STEPS, type PipelineEvent, type Step } from '../../events/types/deploy.events.js';
import type { Recorded } from '../../events/event.js';
import { pipelineStream } from '../apps/app-context.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { seconds, table, when } from '../commands/words.js';
import type { AppRow, FailedJob } from '../read/board.projection.js';
import { deployLog } from './follow.js';

const ID = /^[a-z0-9]{4,20}\.\d{1,9}\.(?:clone|detect|build|release|route)(?:\.r\d{1,6})?$/;

class JobInput {
  @Matches(ID, { message: 'job: an id as berth jobs:failed shows it, such as k3v9q2mzxa.7.build' }) @Arg('its id, as jobs:failed shows it', { label: 'job' }) job!: string;
}
class RetryInput {
  @IsOptional() @Flag('every failed job (of a step, of an app), the newest of each app') all?: boolean;
  @IsOptional() @IsIn(STEPS) @Flag(`with --all: only this step (${STEPS.join(', ')})`, { type: 'string', label: 'step' }) step?: Step;
  @IsOptional() @IsString() @Flag('with --all: only this app', { type: 'string', label: 'app' }) of?: string;
  @IsOptional() @Matches(ID, { message: 'job: an id as berth jobs:failed shows it, such as k3v9q2mzxa.7.build' }) @Arg('its id, as jobs:failed shows it', { label: 'job', optional: true }) job?: string;
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('values of the input to change, such as limits.memory=4g; see them with jobs:show', { label: 'path=value', optional: true }) edits?: string[];
}
class DiscardInput extends JobInput {
  @IsOptional() @IsString() @Flag('why', { type: 'string', label: 'text' }) reason?: string;
}
class FailedInput {
  @IsOptional() @IsString() @Arg('only of this app', { optional: true, label: 'app' }) app?: string;
}

async function failedJob(context: CommandContext, job: string): Promise<{ row: AppRow; failed: FailedJob }> {
  const board = await context.core.board.now();
  const failed = board.failed[job];
  const row = failed && board.apps[failed.app];
  if (!failed || !row) throw new Rejected('job.missing', `There is no failed job ${shown(job)}`, 'see: berth jobs:failed');
  return { row, failed };
}

const failedJobs = command({
  name: 'jobs:failed', summary: 'List the failed jobs that can be retried or discarded', example: 'berth jobs:failed', input: FailedInput, http: { method: 'GET', path: '/jobs/failed' }, reads: true,
  run: async ({ core }, { app }) => {
    const only = app === undefined ? null : (await core.app(app)).id;
    const board = await core.board.now();
    return Object.values(board.failed).filter((f) => only === null || f.app === only).map((f) => ({ job: f.job, app: board.apps[f.app]?.name ?? f.app, deploy: f.deploy, step: f.step, attempts: f.attempts, code: f.failure.code, message: f.failure.message, hint: f.failure.hint, at: new Date(f.at).toISOString() }));
  },
  render: (jobs, out) => {
    if (jobs.length === 0) return out.info('No job has failed');
    const fits = (text: string): string => (text.length > 90 ? `${text.slice(0, 90)}…` : text);
    for (const line of table(['JOB', 'APP', 'DEPLOY', 'STEP', 'TRIES', 'WHEN (UTC)', 'WHY'], jobs.map((j) => [j.job, j.app, String(j.deploy), j.step, String(j.attempts), when(Date.parse(j.at)), fits(`${j.code}: ${j.message}`)]))) out.line(line);
    out.line();
    out.line('look: berth jobs:show <job>   again: berth jobs:retry <job>   forget: berth jobs:discard <job>');
  },
});

interface Attempt { readonly attempt: number; readonly worker: string; readonly at: number; readonly waitedMs: number; readonly tookMs: number | null; readonly outcome: string }

/** A job's claims and how each ended; one that a dead worker left has no end of its own. */
function attemptsOf(events: readonly Recorded[], job: string): Attempt[] {
  const attempts: Attempt[] = [];
  for (const recorded of events) {
    const event = recorded as unknown as PipelineEvent;
    if (!('job' in event.data) || event.data.job !== job) continue;
    const last = attempts.at(-1);
    if (event.type === 'StepStarted') attempts.push({ attempt: event.data.attempt, worker: event.data.worker, at: recorded.at, waitedMs: event.data.waitedMs, tookMs: null, outcome: 'no outcome: the worker died, lost its lease or is at it' });
    else if (last && 'attempt' in event.data && event.data.attempt === last.attempt) {
      const outcome = event.type === 'StepFailed' ? `${event.data.failure.code}: ${event.data.failure.message}${event.data.retryAt ? ' (tried again)' : ''}` : event.type;
      attempts[attempts.length - 1] = { ...last, tookMs: event.data.tookMs, outcome };
    }
  }
  return attempts;
}

const show = command({
  name: 'jobs:show', summary: 'Show a job: its exact input, every attempt and who ran it, its output', example: 'berth jobs:show k3v9q2mzxa.7.build', input: JobInput, http: { method: 'GET', path: '/jobs/:job' }, reads: true,
  run: async ({ core }, { job }) => {
    const [app = '', deploy = '', step = ''] = job.split('.');
    const events = await core.store.readStream(pipelineStream(app));
    const of = events.filter((e) => (e.data as { job?: string }).job === job);
    const queued = of.find((e) => e.type === 'StepQueued') as unknown as Extract<PipelineEvent, { type: 'StepQueued' }> | undefined;
    if (!queued) throw new Rejected('job.missing', `There is no job ${job}`, 'see: berth jobs:failed, or berth trace <app> --format json');
    const attempts = attemptsOf(events, job);
    const first = attempts[0]?.at ?? 0;
    const lines = (await core.logs.read(deployLog(app, Number(deploy)), 0, 100_000)).filter((line) => line.s === step && line.k !== 'c' && line.t >= first).map((line) => line.m);
    const outcome = of.findLast((e) => 'output' in (e.data as object)) as { data: { output: unknown } } | undefined;
    const retried = of.filter((e) => e.type === 'JobRetried' || e.type === 'JobDiscarded').map((e) => ({ what: e.type, at: new Date(e.at).toISOString(), ...(e.data as { by: string; edits?: object; reason?: string }) }));
    return { job, app: (await core.board.now()).apps[app]?.name ?? app, deploy: Number(deploy), step, retryOf: queued.data.retryOf, input: queued.data.input, output: outcome?.data.output ?? null, attempts, followed: retried, lines: lines.slice(-200) };
  },
  render: (j, out) => {
    out.section(`${j.app} deploy ${j.deploy}, step ${j.step}${j.retryOf ? ` (retry of ${j.retryOf})` : ''}`);
    out.info('Input');
    for (const line of JSON.stringify(j.input, null, 2).split('\n')) out.detail(line);
    out.info('Attempts');
    for (const a of j.attempts) out.detail(`${a.attempt}  ${when(a.at)}  ${a.worker}  waited ${seconds(a.waitedMs)}${a.tookMs === null ? '' : `, took ${seconds(a.tookMs)}`}  ${a.outcome}`);
    for (const f of j.followed) out.detail(`${f.what} by ${f.by} at ${f.at}${f.edits ? `, changed ${JSON.stringify(f.edits)}` : ''}${f.reason ? `: ${f.reason}` : ''}`);
    if (j.output !== null) {
      out.info('Output');
      for (const line of JSON.stringify(j.output, null, 2).split('\n')) out.detail(line);
    }
    out.info(`Its last ${Math.min(40, j.lines.length)} lines`);
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

type Retried = Partial<DeployAnswer> & { readonly retried: readonly { readonly job: string; readonly app: string; readonly deploy: number; readonly step: string }[]; readonly left: readonly { readonly job: string; readonly why: string }[] };

const retry = command({
  name: 'jobs:retry', summary: 'Run a failed step again from exactly its input, or a changed one, then the rest of its deploy', example: 'berth jobs:retry k3v9q2mzxa.7.build limits.memory=4g', input: RetryInput, http: { method: 'POST', path: '/jobs/retry' },
  run: async (context, { job, all, step, of, edits = [] }): Promise<Retried> => {
    const { core, actor } = context;
    const again = (app: string, id: string): Promise<unknown> => core.pipelines.handle(app, { type: 'Retry', job: id, by: actor, ...(edits.length > 0 && { edits: editsOf(edits) }) }, { actor, command: 'jobs:retry' });
    if (job !== undefined && !all) {
      const { row, failed } = await failedJob(context, job);
      await again(row.id, job);
      return { app: row.id, name: row.name, deploy: failed.deploy, retried: [{ job, app: row.name, deploy: failed.deploy, step: failed.step }], left: [] };
    }
    if (job !== undefined || !all) throw new Rejected('job.which', 'Which job: its id, or --all', 'see: berth jobs:failed');
    const only = of === undefined ? null : (await core.app(of)).id;
    const board = await core.board.now();
    const wanted = Object.values(board.failed).filter((f) => (only === null || f.app === only) && (step === undefined || f.step === step)).toSorted((a, b) => b.deploy - a.deploy);
    const retried = [];
    const left = [];
    const busy = new Set<string>();
    for (const f of wanted) {
      const name = board.apps[f.app]?.name ?? f.app;
      if (busy.has(f.app)) {
        left.push({ job: f.job, why: `a newer deploy of ${name} is retried` });
        continue;
      }
      busy.add(f.app);
      try {
        await again(f.app, f.job);
        retried.push({ job: f.job, app: name, deploy: f.deploy, step: f.step });
      } catch (error) {
        if (!(error instanceof Rejected)) throw error;
        left.push({ job: f.job, why: error.message });
      }
    }
    return { retried, left };
  },
  render: ({ retried, left }, out) => {
    for (const r of retried) out.info(`Retrying deploy ${r.deploy} of ${r.app} from its step ${r.step}`);
    for (const l of left) out.warn(`${l.job} is left: ${l.why}`);
    if (retried.length + left.length === 0) out.info('No job has failed');
    return left.length > 0 && retried.length === 0 ? 1 : 0;
  },
});

const discard = command({
  name: 'jobs:discard', summary: 'Forget a failed job; the log keeps that it failed and who discarded it', example: 'berth jobs:discard k3v9q2mzxa.7.build --reason "fixed by the next push"', input: DiscardInput, http: { method: 'POST', path: '/jobs/:job/discard' },
  run: async (context, { job, reason }) => {
    const { row } = await failedJob(context, job);
    await context.core.pipelines.handle(row.id, { type: 'Discard', job, by: context.actor, reason: reason ?? '' }, { actor: context.actor, command: 'jobs:discard' });
    return { job };
  },
  render: ({ job }, out) => out.info(`Discarded ${job}`),
});

export const jobCommands = [forget(failedJobs), forget(show), forget(retry), forget(discard)];
