import { never, Rejected, type Decider } from '../../events/decider.js';
import type { AppContext, DeployKind, DeploySource, Failure, PipelineEvent, Step, StepInput, StepOutput } from '../../events/types/deploy.events.js';
import type { HookReply, HookTime } from '../../events/types/plugin.events.js';
import { evolvePipeline, initialPipeline, isKept, isSource, KEEP_FAILED, lostClaims, type FailedRun, type PipelineState, type Request, type Run } from './pipeline.state.js';
import { editInput } from './edit-input.js';
import { inputFor, nextRelease, stepsOf } from './step-input.js';

export type PipelineCommand =
  | { type: 'Request'; kind: DeployKind; source: DeploySource; by: string; context: AppContext }
  | { type: 'Claim'; job: string; worker: string; waitedMs: number; pid?: number; host?: string; context: AppContext }
  | { type: 'Complete'; job: string; attempt: number; tookMs: number; output: StepOutput; context: AppContext }
  | { type: 'Fail'; job: string; attempt: number; tookMs: number; failure: Failure; now: number; context: AppContext }
  | { type: 'Extend'; job: string; attempt: number; when: HookTime; replies: readonly HookReply[] }
  | { type: 'GiveBack'; job: string; attempt: number; tookMs: number }
  | { type: 'Cancel'; deploy: number | null; by: string; reason: string; context: AppContext }
  | { type: 'Lose'; containers: readonly string[]; by: string; reason: string }
  | { type: 'Retry'; job: string; by: string; edits?: Readonly<Record<string, string>>; context: AppContext }
  | { type: 'Discard'; job: string; by: string; reason: string };

/** waits before the second, third, … try after a machine's fault, ms; none so long that a deploy stands still for a minute after all is well again */
export const BACKOFF = [1_000, 5_000, 15_000, 30_000] as const;
/** workers that may die in one job, one after the other, until it is given up */
export const CLAIMS_MAX = 8;

const OUTCOME = { clone: 'SourceCloned', detect: 'BuildpackDetected', build: 'ImageBuilt', release: 'ContainersStarted', route: 'RouteSwitched' } as const;

/** `<app>.<deploy>.<step>`, and `.r<n>` for the nth retry by hand */
const jobId = (app: string, deploy: number, step: Step, retries: number): string => `${app}.${deploy}.${step}${retries ? `.r${retries}` : ''}`;

function queue(run: Run, step: Step, input: StepInput, app: string, retryOf: string | null = null): PipelineEvent {
  return { type: 'StepQueued', data: { app, deploy: run.deploy, job: jobId(app, run.deploy, step, run.retries), step, input, retryOf } };
}

/** Applies what was decided so far, so that the next decision sees it. */
const after = (state: PipelineState, events: readonly PipelineEvent[]): PipelineState => events.reduce(evolvePipeline, state);

/** Starts what waits, if nothing runs: other code first, then what was changed beside it. */
function startNext(state: PipelineState, context: AppContext): PipelineEvent[] {
  const request = state.running ? null : (state.waiting.source ?? state.waiting.converge);
  if (!request) return [];
  // it waited for the first release, which failed: whatever deploys first takes the change with it
  if (!isSource(request.kind) && !state.live) return [{ type: 'DeployCancelled', data: { app: context.app, deploy: request.deploy, by: 'berth', reason: 'no release is live yet: the first that is takes this change with it' } }];
  const started: PipelineEvent = { type: 'DeployStarted', data: { app: context.app, deploy: request.deploy } };
  const next = after(state, [started]);
  const run = next.running!;
  return [started, queue(run, run.step, inputFor(run.step, run, context, next), context.app)];
}

/** Ends the running deploy with `ending` and lets the next one start. */
function end(state: PipelineState, ending: PipelineEvent[], context: AppContext): PipelineEvent[] {
  return [...ending, ...startNext(after(state, ending), context)];
}

/** A change that was asked for before this deploy's release step was queued is part of it: nothing is left to do. */
function covered(run: Run, state: PipelineState, app: string): PipelineEvent[] {
  const waiting = state.waiting.converge;
  const covers = waiting && waiting.deploy <= run.coversUpTo;
  return covers ? [{ type: 'DeploySuperseded', data: { app, deploy: waiting.deploy, by: run.deploy } }] : [];
}

/** What changes more comes later: one of these does all that those before it do. */
const REACH: readonly DeployKind[] = ['domains', 'repair', 'scale', 'restart', 'config', 'link'];

/** The kind that does what both were asked for: of source kinds the newer one. */
const joined = (older: DeployKind, newer: DeployKind): DeployKind => (REACH.indexOf(older) > REACH.indexOf(newer) ? older : newer);

/** The running deploy's release step is still to be queued, and will see every change made until then. */
const releaseAhead = (run: Run | null): boolean => run === null || (run.step !== 'release' && run.step !== 'route');

function request(command: Extract<PipelineCommand, { type: 'Request' }>, state: PipelineState): PipelineEvent[] {
  const { kind, source, by, context } = command;
  const { app } = context;
  if (kind === 'rollback') {
    const target = state.releases.find((r) => r.number === source.release);
    if (!target) throw new Rejected('release.missing', `${context.name} has no release v${source.release}`, `see: berth releases ${context.name}`);
    if (!target.wasLive) throw new Rejected('release.never-live', `v${source.release} of ${context.name} was never live: its deploy ${target.deploy} failed`, `see: berth releases ${context.name}`);
    if (state.live?.release === source.release && !state.running) throw new Rejected('release.live', `v${source.release} of ${context.name} is what runs now`);
  }
  // before the first release there is nothing to bring in line: the first deploy will take the change with it
  if (!isSource(kind) && !state.live && releaseAhead(state.running)) return [];
  const deploy = state.last + 1;
  const older: Request | null = isSource(kind) ? state.waiting.source : state.waiting.converge;
  // only the newest waits, and it does what the one it takes the place of would have done: a scale does not swallow a config change
  const does = older && !isSource(kind) ? joined(older.kind, kind) : kind;
  const event: PipelineEvent = { type: kind === 'push' || kind === 'rebuild' ? 'BuildRequested' : 'DeployRequested', data: { app, deploy, kind: does, source, steps: stepsOf(does, source), by } };
  const events: PipelineEvent[] = older ? [{ type: 'DeploySuperseded', data: { app, deploy: older.deploy, by: deploy } }, event] : [event];
  return [...events, ...startNext(after(state, events), context)];
}

/** A late or second report changes nothing: neither one of a claim that was taken over nor one of a claim that ended already. */
function current(run: Run | null, job: string, attempt: number): run is Run {
  return run !== null && run.job === job && run.claimed && run.attempt === attempt;
}

function complete({ job, attempt, tookMs, output, context }: Extract<PipelineCommand, { type: 'Complete' }>, state: PipelineState): PipelineEvent[] {
  const run = state.running;
  if (!current(run, job, attempt)) return [];
  const { app } = context;
  const ref = { app, deploy: run.deploy, job, step: run.step };
  const events: PipelineEvent[] = [{ type: OUTCOME[run.step], data: { ...ref, attempt, tookMs, output } } as PipelineEvent];
  if (run.step === 'release') {
    const input = run.input as ReleaseStepInput;
    if (input.isNew && !state.releases.some((r) => r.number === input.number && r.deploy === run.deploy)) {
      const { image, imageId, sha, configVersion, processTypes, releaseCommand, check, port, mounts, services, stack } = input;
      const spec = { image, imageId, sha, configVersion, processTypes, releaseCommand, check, port, ...(mounts && { mounts }), ...(services && { services }), ...(stack && { stack }) };
      events.push({ type: 'ReleaseCreated', data: { app, deploy: run.deploy, number: input.number, spec, kind: run.kind, by: run.by, why: why(run) } });
    }
  }
  const next = after(state, events);
  const following = run.steps[run.steps.indexOf(run.step) + 1];
  if (following) return [...events, queue(next.running!, following, inputFor(following, next.running!, context, next), app)];
  events.push({ type: 'DeploySucceeded', data: { app, deploy: run.deploy, release: next.live?.release ?? null } });
  return end(state, [...events, ...covered(run, state, app)], context);
}

/** One line for people: why there is this release. */
function why(run: Run): string {
  return run.retryOf === null ? reason(run) : `retry of deploy ${run.retryOf}: ${reason(run)}`;
}

function reason(run: Run): string {
  const { clone: commit, build } = run.learnt;
  const verb = { push: 'push', archive: 'archive', remote: 'sync', image: 'image' }[run.source.origin?.type ?? 'push'];
  if (build?.from) return `image ${build.from.reference}${build.from.digest === null || build.from.reference.includes('@') ? '' : ` (${build.from.digest.slice(0, 19)})`}`;
  if (commit) return `${run.kind === 'push' ? verb : 'rebuild'} of ${commit.sha.slice(0, 7)}: ${commit.subject}`;
  return run.kind === 'rollback' ? `rollback to v${run.source.release}` : run.kind;
}

function fail({ job, attempt, tookMs, failure, now, context }: Extract<PipelineCommand, { type: 'Fail' }>, state: PipelineState): PipelineEvent[] {
  const run = state.running;
  if (!current(run, job, attempt)) return [];
  const ref = { app: context.app, deploy: run.deploy, job, step: run.step };
  const wait = failure.fault === 'machine' ? BACKOFF[run.faults] : undefined;
  const failed: PipelineEvent = { type: 'StepFailed', data: { ...ref, attempt, tookMs, failure, retryAt: wait === undefined ? null : now + wait } };
  if (wait !== undefined) return [failed];
  return end(state, [failed, { type: 'DeployFailed', data: { ...ref, failure } }], context);
}

function claim({ job, worker, waitedMs, pid, host, context }: Extract<PipelineCommand, { type: 'Claim' }>, state: PipelineState): PipelineEvent[] {
  const run = state.running;
  if (!run || run.job !== job) return [];
  const { app } = context;
  const ref = { app, deploy: run.deploy, job, step: run.step };
  const lost = lostClaims(run);
  if (lost >= CLAIMS_MAX) {
    const failure: Failure = { code: 'step.worker-died', message: `${lost} workers died in this step`, hint: 'see the workers\' logs, then: berth jobs:retry', fault: 'machine' };
    return end(state, [{ type: 'DeployFailed', data: { ...ref, failure } }], context);
  }
  return [{ type: 'StepStarted', data: { ...ref, attempt: run.attempt + 1, worker, waitedMs, ...(pid !== undefined && { pid }), ...(host !== undefined && { host }) } }];
}

function retry({ job, by, edits, context }: Extract<PipelineCommand, { type: 'Retry' }>, state: PipelineState): PipelineEvent[] {
  const failed = state.failed[job];
  if (!failed) throw new Rejected('job.missing', `There is no failed job ${job}`, 'see: berth jobs:failed');
  if (state.running) throw new Rejected('job.busy', `Deploy ${state.running.deploy} of ${context.name} is running`, `wait for it: berth deploys:follow ${context.name}`);
  if (!isKept(failed) && failed.step !== 'clone') throw new Rejected('job.not-kept', `What step ${failed.step} of deploy ${failed.deploy} worked on is not kept any more: ${failed.newer} deploys of ${context.name} failed since, and the last ${KEEP_FAILED} are kept`, failed.kind === 'rollback' ? `again: berth rollback ${context.name} v${failed.source.release}` : `push that commit again, and discard this: berth jobs:discard ${job}`);
  const retried: PipelineEvent = { type: 'JobRetried', data: { app: context.app, deploy: failed.deploy, job, by, ...(failed.superseded !== null && { as: state.last + 1 }), ...(edits && { edits }) } };
  const events = [...(failed.superseded === null ? [] : askedAgain(failed, by, state)), retried];
  const next = after(state, events);
  const run = next.running!;
  const { step, input } = failed.superseded === null ? inputAgain(run, context, next) : inputAnew(run, failed, context, next);
  return [...events, queue(run, step, edits ? editInput(input, edits) : input, context.app, job)];
}

/** Where a failed deploy goes on. The containers of a failed switch are gone by now: what made them is run again. */
const goesOnFrom = (failed: Run): Step => (failed.step === 'route' && failed.learnt.inputs?.release ? 'release' : failed.step);

/** What went well since shall not be undone under an old number: a deploy of its own, of the steps that are left. */
function askedAgain(failed: FailedRun, by: string, state: PipelineState): PipelineEvent[] {
  const { app, last } = state;
  const { kind, source } = failed;
  const deploy = last + 1;
  const steps = failed.steps.slice(failed.steps.indexOf(goesOnFrom(failed)));
  return [
    { type: kind === 'push' || kind === 'rebuild' ? 'BuildRequested' : 'DeployRequested', data: { app, deploy, kind, source, steps, by } },
    { type: 'DeployStarted', data: { app, deploy } },
  ];
}

/** Code is taken as it was; what was changed beside it since (config, scale, domains) stays. */
function inputAnew(run: Run, failed: FailedRun, context: AppContext, state: PipelineState): { step: Step; input: StepInput } {
  const step = goesOnFrom(failed);
  if (step !== 'release' && step !== 'route') return { step, input: failed.input };
  const input = inputFor(step, run, context, state);
  return { step, input: step === 'release' ? { ...(input as ReleaseStepInput), runReleaseCommand: (input as ReleaseStepInput).runReleaseCommand && failed.step === 'release' } : input };
}

type ReleaseStepInput = Extract<StepInput, { isNew: boolean }>;

/** What a failed step is run again with: exactly what it had, as far as that still exists. */
function inputAgain(run: Run, context: AppContext, state: PipelineState): { step: Step; input: StepInput } {
  // after a failed switch without the release command, which went well
  const step = goesOnFrom(run);
  // made from containers and a release that are not live any more: from those that are
  if (!isSource(run.kind) && run.base !== (state.live?.deploy ?? 0)) return { step, input: inputFor(step, run, context, state) };
  if (step !== 'release') return { step, input: run.input };
  const before = (run.step === 'route' ? run.learnt.inputs!.release : run.input) as ReleaseStepInput;
  const taken = before.isNew && state.releases.some((r) => r.number === before.number && r.deploy !== run.deploy);
  return { step, input: { ...before, number: taken ? nextRelease(state) : before.number, runReleaseCommand: before.runReleaseCommand && run.step === 'release' } };
}

function cancel({ deploy, by, reason, context }: Extract<PipelineCommand, { type: 'Cancel' }>, state: PipelineState): PipelineEvent[] {
  const open = [state.running, state.waiting.source, state.waiting.converge].filter((r) => r !== null);
  const target = deploy === null ? open[0] : open.find((r) => r.deploy === deploy);
  if (!target) throw new Rejected('deploy.not-open', deploy === null ? `No deploy of ${context.name} is running` : `Deploy ${deploy} of ${context.name} is not running`, `see: berth deploys ${context.name}`);
  return end(state, [{ type: 'DeployCancelled', data: { app: context.app, deploy: target.deploy, by, reason } }], context);
}

/** One app's deploys: one runs, only the newest waits, late reports change nothing, nothing follows an end. Stream `pipeline-<app id>`. */
export const pipeline: Decider<PipelineState, PipelineCommand, PipelineEvent> = {
  initial: initialPipeline,
  evolve: evolvePipeline,
  decide(command, state) {
    switch (command.type) {
      case 'Request': return request(command, state);
      case 'Claim': return claim(command, state);
      case 'Complete': return complete(command, state);
      case 'Fail': return fail(command, state);
      case 'GiveBack': {
        const { job, attempt, tookMs } = command;
        const run = state.running;
        return current(run, job, attempt) ? [{ type: 'StepGivenBack', data: { app: state.app, deploy: run.deploy, job, step: run.step, attempt, tookMs } }] : [];
      }
      case 'Extend': {
        const { job, attempt, when, replies } = command;
        const run = state.running;
        return current(run, job, attempt) ? [{ type: 'StepExtended', data: { app: state.app, deploy: run.deploy, job, step: run.step, attempt, when, replies } }] : [];
      }
      case 'Cancel': return cancel(command, state);
      case 'Retry': return retry(command, state);
      case 'Lose': {
        const { live, running, app } = state;
        if (running) throw new Rejected('deploy.running', `Deploy ${running.deploy} is running`, 'cancel it first');
        const containers = (live?.containers ?? []).map((c) => c.id).filter((id) => command.containers.includes(id));
        return live === null || containers.length === 0 ? [] : [{ type: 'ContainersLost', data: { app, deploy: live.deploy, containers, by: command.by, reason: command.reason } }];
      }
      case 'Discard': {
        const failed = state.failed[command.job];
        if (!failed) throw new Rejected('job.missing', `There is no failed job ${command.job}`, 'see: berth jobs:failed');
        return [{ type: 'JobDiscarded', data: { app: state.app, deploy: failed.deploy, job: command.job, by: command.by, reason: command.reason } }];
      }
      default: return never(command);
    }
  },
};
