import type {
  BuildOutput, BuildPlan, CloneOutput, DeployKind, DeploySource, Failure, LiveContainer, PipelineEvent, ReleaseOutput, ReleaseSpec, Step, StepInput,
} from '../../events/types/deploy.events.js';
import type { HookReply, HookTime } from '../../events/types/plugin.events.js';

export interface Request {
  readonly deploy: number;
  readonly kind: DeployKind;
  readonly source: DeploySource;
  readonly steps: readonly Step[];
  readonly by: string;
}

/** A deploy under way (or one that failed and may be retried): where it is, and what its steps have learnt. */
export interface Run extends Request {
  readonly job: string;
  readonly step: Step;
  readonly input: StepInput;
  /** claims of this job so far; 0 = nobody has it yet */
  readonly attempt: number;
  /** somebody has it now: only then, and only by the newest claim, its end may be reported */
  readonly claimed: boolean;
  /** claims in a row before this one whose workers died: neither reported nor given back */
  readonly lost: number;
  /** machine faults of this job so far */
  readonly faults: number;
  /** retries by hand so far, part of the next job's id */
  readonly retries: number;
  /** the deploy whose failed step this one runs again; null: none */
  readonly retryOf: number | null;
  readonly learnt: Learnt;
  /** id of the work row that stands for this job now */
  readonly work: string;
  /** deploys asked for up to this number are carried out by this one, since its release step was queued after them */
  readonly coversUpTo: number;
  /** the deploy that was live when `input` was made; 0 = none */
  readonly base: number;
  /** what plugins answered, the newest of each step and time; absent: none was asked */
  readonly extended?: readonly Extended[];
}

export interface Extended { readonly job: string; readonly step: Step; readonly when: HookTime; readonly replies: readonly HookReply[] }

/** A deploy that failed, as its failed step may be run again. */
export interface FailedRun extends Run {
  readonly failure: Failure;
  /** deploys of other code that failed since */
  readonly newer: number;
  /** the first deploy that went well since; null: none did */
  readonly superseded: number | null;
}

/** failed deploys of an app, the newest, whose source and image are kept for a retry */
export const KEEP_FAILED = 5;

/** Whether what its failed step needs is still there. */
export const isKept = ({ kind, newer }: { readonly kind: DeployKind; readonly newer: number }): boolean => !isSource(kind) || newer < KEEP_FAILED;

/** Id of a job's work row: a new row after every fault that is tried again. */
export const workId = (job: string, faults: number): string => `${job}.t${faults}`;

export interface Learnt {
  readonly clone?: CloneOutput;
  readonly plan?: BuildPlan;
  readonly build?: BuildOutput;
  readonly release?: ReleaseOutput;
  /** the inputs that steps ran with, for a retry that has to go one step back */
  readonly inputs?: Partial<Record<Step, StepInput>>;
}

export interface Release {
  readonly number: number;
  readonly deploy: number;
  readonly kind: DeployKind;
  readonly by: string;
  readonly why: string;
  readonly spec: ReleaseSpec;
  /** it was seen live at least once */
  readonly wasLive: boolean;
}

/** Everything about one app's deploys. Stream `pipeline-<app id>`. */
export interface PipelineState {
  readonly app: string;
  /** number of the last deploy asked for */
  readonly last: number;
  readonly running: Run | null;
  /** one place for what brings other code, one for what only brings containers in line with the settings */
  readonly waiting: { readonly source: Request | null; readonly converge: Request | null };
  readonly releases: readonly Release[];
  /** what serves: seen through the router */
  readonly live: { readonly release: number; readonly deploy: number; readonly containers: readonly LiveContainer[]; readonly hosts: readonly string[] } | null;
  /** failed jobs that were neither retried nor discarded, by job id */
  readonly failed: Readonly<Record<string, FailedRun>>;
}

export const initialPipeline: PipelineState = { app: '', last: 0, running: null, waiting: { source: null, converge: null }, releases: [], live: null, failed: {} };

/** Kinds that decide which code is live; the others bring containers in line with what was changed beside it. */
export const isSource = (kind: DeployKind): boolean => kind === 'push' || kind === 'rebuild' || kind === 'rollback';

/** Workers that died in this job, one after the other, should nobody hear of the claim at hand any more. */
export const lostClaims = (run: Pick<Run, 'lost' | 'claimed'>): number => run.lost + Number(run.claimed);

/** Failed jobs once `deploy` went well: they stay listed, but for repairs, which nobody asked for. */
export function supersede<F extends { readonly kind: DeployKind; readonly deploy: number; readonly superseded: number | null }>(failed: Readonly<Record<string, F>>, deploy: number): Record<string, F> {
  return Object.fromEntries(Object.entries(failed).flatMap(([job, run]) => {
    if (run.kind === 'repair') return [];
    return [[job, run.deploy < deploy && run.superseded === null ? { ...run, superseded: deploy } : run]];
  }));
}

/** Failed jobs when one more fails: of repairs, which are tried again by themselves, only the last. */
export function older<F extends { readonly kind: DeployKind; readonly newer: number }>(failed: Readonly<Record<string, F>>, kind: DeployKind): Record<string, F> {
  return Object.fromEntries(Object.entries(failed).flatMap(([job, run]) => {
    if (kind === 'repair' && run.kind === 'repair') return [];
    return [[job, isSource(kind) ? { ...run, newer: run.newer + 1 } : run]];
  }));
}

function learn(run: Run, more: Learnt): Run {
  return { ...run, learnt: { ...run.learnt, ...more, inputs: { ...run.learnt.inputs, [run.step]: run.input } } };
}

/** What the state is after one more event. */
export function evolvePipeline(state: PipelineState, event: PipelineEvent): PipelineState {
  switch (event.type) {
    case 'BuildRequested':
    case 'DeployRequested': {
      const { app, ...request } = event.data;
      const place = isSource(request.kind) ? 'source' : 'converge';
      return { ...state, app, last: request.deploy, waiting: { ...state.waiting, [place]: request } };
    }
    case 'DeploySuperseded': {
      const { source, converge } = state.waiting;
      const gone = event.data.deploy;
      return { ...state, waiting: { source: source?.deploy === gone ? null : source, converge: converge?.deploy === gone ? null : converge } };
    }
    case 'DeployStarted': {
      const { source, converge } = state.waiting;
      const request = source?.deploy === event.data.deploy ? source : converge;
      if (!request) return state;
      const running: Run = { ...request, job: '', step: request.steps[0]!, input: undefined as unknown as StepInput, attempt: 0, claimed: false, lost: 0, faults: 0, retries: 0, retryOf: null, learnt: {}, work: '', coversUpTo: 0, base: 0 };
      return { ...state, running, waiting: { source: source === request ? null : source, converge: converge === request ? null : converge } };
    }
    case 'JobRetried': {
      const { [event.data.job]: run, ...failed } = state.failed;
      if (!run) return state;
      const { failure: _, newer: __, superseded: ___, ...rest } = run;
      if (event.data.as === undefined) return { ...state, failed, running: { ...rest, retries: run.retries + 1 } };
      // the containers that it made are gone
      const { step, input, learnt: { release: ____, ...learnt } } = rest;
      return { ...state, failed, running: state.running && { ...state.running, step, input, learnt, retryOf: run.deploy } };
    }
    case 'StepQueued': {
      const { running } = state;
      if (!running) return state;
      const { job, step, input } = event.data;
      const coversUpTo = step === 'release' ? state.last : running.coversUpTo;
      return { ...state, running: { ...running, job, step, input, attempt: 0, claimed: false, lost: 0, faults: 0, work: workId(job, 0), coversUpTo, base: state.live?.deploy ?? 0 } };
    }
    case 'StepStarted':
      return state.running ? { ...state, running: { ...state.running, attempt: event.data.attempt, claimed: true, lost: lostClaims(state.running) } } : state;
    case 'StepGivenBack':
      return state.running ? { ...state, running: { ...state.running, claimed: false } } : state;
    case 'StepExtended': {
      const { running } = state;
      if (!running) return state;
      const { job, step, when, replies } = event.data;
      return { ...state, running: { ...running, extended: [...(running.extended ?? []).filter((each) => each.step !== step || each.when !== when), { job, step, when, replies }] } };
    }
    case 'SourceCloned': return { ...state, running: state.running && learn(state.running, { clone: event.data.output }) };
    case 'BuildpackDetected': return { ...state, running: state.running && learn(state.running, { plan: event.data.output }) };
    case 'ImageBuilt': return { ...state, running: state.running && learn(state.running, { build: event.data.output }) };
    case 'ContainersStarted': return { ...state, running: state.running && learn(state.running, { release: event.data.output }) };
    case 'ReleaseCreated': {
      const { app: _, ...release } = event.data;
      return { ...state, releases: [...state.releases, { ...release, wasLive: false }] };
    }
    case 'RouteSwitched': {
      const run = state.running;
      if (!run) return state;
      const input = run.input as { number: number; containers: readonly LiveContainer[] };
      return {
        ...state,
        live: { release: input.number, deploy: run.deploy, containers: input.containers, hosts: event.data.output.hosts },
        releases: state.releases.map((release) => (release.number === input.number ? { ...release, wasLive: true } : release)),
      };
    }
    case 'StepFailed': {
      const { running } = state;
      return running ? { ...state, running: { ...running, claimed: false, lost: 0, faults: running.faults + 1, work: workId(running.job, running.faults + 1) } } : state;
    }
    case 'DeploySucceeded':
      return { ...state, running: null, failed: supersede(state.failed, event.data.deploy) };
    case 'DeployFailed': {
      const run = state.running;
      return run ? { ...state, running: null, failed: { ...older(state.failed, run.kind), [event.data.job]: { ...run, failure: event.data.failure, newer: 0, superseded: null } } } : state;
    }
    case 'DeployCancelled': {
      const { source, converge } = state.waiting;
      const gone = event.data.deploy;
      if (state.running?.deploy === gone) return { ...state, running: null };
      return { ...state, waiting: { source: source?.deploy === gone ? null : source, converge: converge?.deploy === gone ? null : converge } };
    }
    case 'ContainersLost': {
      const { live } = state;
      return live ? { ...state, live: { ...live, containers: live.containers.filter((c) => !event.data.containers.includes(c.id)) } } : state;
    }
    case 'JobDiscarded': {
      const { [event.data.job]: _, ...failed } = state.failed;
      return { ...state, failed };
    }
    default: {
      const unknown: never = event;
      throw new Error(`unknown event ${JSON.stringify(unknown)}`);
    }
  }
}
