import type {
  BuildOutput, BuildPlan, CloneOutput, DeployKind, DeploySource, Failure, LiveContainer, PipelineEvent, ReleaseOutput, ReleaseSpec, Step, StepInput,
} from '../../events/types/deploy.events.js';

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
  readonly learnt: Learnt;
  /** id of the work row that stands for this job now */
  readonly work: string;
  /** deploys asked for up to this number are carried out by this one, since its release step was queued after them */
  readonly coversUpTo: number;
  /** the deploy that was live when `input` was made; 0 = none */
  readonly base: number;
}

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
  /** failed jobs that can be retried or discarded, by job id */
  readonly failed: Readonly<Record<string, Run & { readonly failure: Failure }>>;
}

export const initialPipeline: PipelineState = { app: '', last: 0, running: null, waiting: { source: null, converge: null }, releases: [], live: null, failed: {} };

/** Kinds that decide which code is live; the others bring containers in line with what was changed beside it. */
export const isSource = (kind: DeployKind): boolean => kind === 'push' || kind === 'rebuild' || kind === 'rollback';

/** Workers that died in this job, one after the other, should nobody hear of the claim at hand any more. */
export const lostClaims = (run: Run): number => run.lost + Number(run.claimed);

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
      const running: Run = { ...request, job: '', step: request.steps[0]!, input: undefined as unknown as StepInput, attempt: 0, claimed: false, lost: 0, faults: 0, retries: 0, learnt: {}, work: '', coversUpTo: 0, base: 0 };
      return { ...state, running, waiting: { source: source === request ? null : source, converge: converge === request ? null : converge } };
    }
    case 'JobRetried': {
      const { [event.data.job]: run, ...failed } = state.failed;
      if (!run) return state;
      const { failure: _, ...rest } = run;
      return { ...state, failed, running: { ...rest, retries: run.retries + 1 } };
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
      // what failed before is history once something newer is live
      return { ...state, running: null, failed: Object.fromEntries(Object.entries(state.failed).filter(([, run]) => run.deploy > event.data.deploy)) };
    case 'DeployFailed': {
      const run = state.running;
      return run ? { ...state, running: null, failed: { ...state.failed, [event.data.job]: { ...run, failure: event.data.failure } } } : state;
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
