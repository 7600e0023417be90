import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';
import type { Formation, Mount } from './app.events.js';
import type { HookReply, HookTime } from './plugin.events.js';

export const STEPS = ['clone', 'detect', 'build', 'release', 'route'] as const;
export type Step = (typeof STEPS)[number];

/**
 * Why a deploy exists. `push` and `rebuild` run every step; `rollback` and the rest run release and route; `domains` only route.
 * `link` is `config` with the release command: an app got another database. `repair` is the reconciler's: containers that should run and do not are started anew, the others stay.
 */
export type DeployKind = 'push' | 'rebuild' | 'rollback' | 'config' | 'link' | 'scale' | 'restart' | 'domains' | 'repair';

/** process type → command; null = the image's own command */
export type ProcessTypes = Readonly<Record<string, string | null>>;

/** HTTP check from app.json, or null when an answering port is enough. Times in milliseconds. */
export interface HealthCheck {
  readonly path: string | null;
  readonly timeoutMs: number;
  readonly attempts: number;
  readonly waitMs: number;
}

export interface Limits {
  /** bytes; 0 = none */
  readonly memory: number;
  /** CPUs, may be a fraction; 0 = none */
  readonly cpus: number;
}

/** The app as a deploy sees it, taken once when the step is queued. */
export interface AppContext {
  readonly app: string;
  readonly name: string;
  readonly configVersion: number;
  readonly formation: Formation;
  /** all hosts that route to the app, the default one included */
  readonly hosts: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
  /** path of the app's bare repository */
  readonly repo: string;
  readonly buildLimits: BuildLimits;
  readonly limits: Limits;
  readonly mounts: readonly Mount[];
  /** ids of the services that it is linked to */
  readonly services: readonly string[];
}

/** Where the code comes from when it was not pushed. */
export type Origin =
  /** an image of the engine or of a registry: there is no commit, and nothing to build. `loaded`: it was piped in, and its name goes once it was taken over */
  | { readonly type: 'image'; readonly image: string; readonly pull?: boolean; readonly loaded?: boolean }
  /** an archive that was made a commit of the app's repository; `from`: its URL, or what it was called, for people */
  | { readonly type: 'archive'; readonly from: string }
  /** another server's commit, fetched when the repository has not got it */
  | ({ readonly type: 'remote' } & Remote);
export interface Remote { readonly url: string; /** branch, tag or commit that was asked for, for people */ readonly ref: string }

/** What to make live. */
export interface DeploySource {
  /** full commit id; null for the kinds that do not build */
  readonly sha: string | null;
  readonly branch: string | null;
  /** directory of pushed objects that are not in the repository yet (git's quarantine) */
  readonly quarantine: string | null;
  /** the release to make live again (rollback) */
  readonly release: number | null;
  readonly origin?: Origin;
}

// ---- what the steps take and give: recorded, so that a step can be run again from exactly this

export interface CloneInput {
  readonly app: string; readonly name: string; readonly repo: string; readonly sha: string; readonly quarantine: string | null;
  /** whence the commit is fetched when the repository has not got it */
  readonly remote?: Remote;
  /** the folder of the commit that is the app; absent: all of it */
  readonly folder?: string;
}
export interface CloneOutput {
  /** path of a tar archive of the work tree */
  readonly source: string;
  readonly bytes: number; readonly files: number; readonly sha: string; readonly subject: string; readonly author: string;
  /** sha-256 of the archive, hex */
  readonly digest: string;
  readonly submodules: readonly string[];
}

export interface DetectInput { readonly app: string; readonly name: string; readonly source: string; readonly configVersion: number; readonly settings: Readonly<Record<string, string>> }
/** Buildpacks of the classic API (`bin/detect`, `bin/compile`, `bin/release`) that run in a container before the image is made. */
export interface ClassicPlan {
  /** in order: addresses with their `#ref`, folders as `file:///…` */
  readonly buildpacks: readonly string[];
  /** how many of them come before the one of ours that makes the image; null: none of ours is in the list */
  readonly ownAt: number | null;
  /** whether each `bin/detect` must say yes */
  readonly strict: boolean;
  /** what STACK says instead of the stack's name */
  readonly stack: string | null;
  /** `source`: the repository has one; `setting`: procfile-path names it, one that a buildpack writes does not count */
  readonly procfile: 'none' | 'source' | 'setting';
}
/** How to build: data, shown in the trace, carried out by the build step. */
export interface BuildPlan {
  readonly builder: 'dockerfile' | 'buildpack' | 'classic-buildpack' | 'external' | 'image';
  /** `python`, `nixpacks`, the addresses of classic ones, or null for a Dockerfile */
  readonly buildpack: string | null;
  /** absent: none */
  readonly classic?: ClassicPlan;
  /** one line for people: `Python 3.13 (.python-version), requirements.txt` */
  readonly summary: string;
  /** path of the Dockerfile in the source, or null when `dockerfile` holds a generated one */
  readonly dockerfilePath: string | null;
  readonly dockerfile: string | null;
  /** texts that the generated Dockerfile copies, put into the context: path below `.berth/` → text */
  readonly files?: Readonly<Record<string, string>>;
  /** names of config keys the build may see */
  readonly buildArgs: readonly string[];
  readonly processTypes: ProcessTypes;
  readonly releaseCommand: string | null;
  readonly check: HealthCheck;
  /** the container port that web listens on when the image does not say, or when it says this one among others */
  readonly port: number;
  /** folder of the source that is the build's context; absent: all of it */
  readonly context?: string;
  /** stage to build; absent: the last */
  readonly target?: string;
  /** `linux/arm64`; absent: the engine's own */
  readonly platform?: string;
  /** names of config keys that the build may mount as secrets */
  readonly secrets?: readonly string[];
  /** images that were set instead of Berth's own stack; absent: its own */
  readonly stack?: { readonly build: string; readonly run: string };
  /** the image that is taken as it is (builder `image`), or that an external builder stands on */
  readonly image?: { readonly reference: string; readonly pull: boolean; readonly loaded: boolean };
}

export interface BuildInput { readonly app: string; readonly name: string; readonly source: string; readonly plan: BuildPlan; readonly configVersion: number; readonly limits: BuildLimits; /** the commit; absent in what was recorded before builds were told */ readonly sha?: string;
  /** it is built although nothing may have changed: somebody asked for that */
  readonly fresh?: boolean;
  /** generation of the app's caches; raised to begin with empty ones */
  readonly caches?: string;
}
export interface BuildLimits extends Limits { readonly timeoutMs: number }
export interface BuildOutput {
  /** `berth/<name>:<deploy>` */
  readonly image: string;
  /** engine's image id, `sha256:…` */
  readonly imageId: string;
  readonly bytes: number;
  /** ports the image exposes, tcp only */
  readonly exposed: readonly number[];
  readonly processTypes: ProcessTypes;
  readonly releaseCommand: string | null;
  /** the image that it was taken from: name and the registry's digest, null for one that was never in a registry */
  readonly from?: { readonly reference: string; readonly digest: string | null };
  readonly stack?: StandsOn;
}
/** Images of a stack that an image was made on → the version that each had; empty for what stands on none, absent in what was recorded before it was asked. */
export type StandsOn = Readonly<Record<string, string>>;

export interface ReleaseSpec {
  readonly image: string; readonly imageId: string;
  readonly sha: string | null;
  readonly configVersion: number;
  readonly processTypes: ProcessTypes;
  readonly releaseCommand: string | null;
  readonly check: HealthCheck;
  readonly port: number;
  /** volumes; none in releases of before there were any */
  readonly mounts?: readonly Mount[];
  /** ids of services whose networks its containers join */
  readonly services?: readonly string[];
  readonly stack?: StandsOn;
}
export interface ReleaseInput extends ReleaseSpec {
  readonly app: string; readonly name: string;
  /** the number this release has (new ones) or keeps (scale, restart) */
  readonly number: number;
  readonly isNew: boolean;
  readonly runReleaseCommand: boolean;
  /** the container port that was set for web, whatever the image says */
  readonly listen?: number;
  readonly formation: Formation;
  readonly limits: Limits;
  readonly hosts: readonly string[];
  /** containers that are live and of this very release and may stay (scale); all others are replaced */
  readonly keep: readonly LiveContainer[];
}
export interface LiveContainer {
  readonly id: string; readonly name: string;
  readonly type: string; readonly index: number;
  readonly ip: string; readonly port: number;
}
export interface ReleaseOutput { readonly number: number; readonly formation: Formation; readonly containers: readonly LiveContainer[]; readonly releaseCommandExit: number | null }

/** What the router does before an app is asked. */
export interface RouterSettings {
  /** the app is not asked; `page`: HTML of the answer (503), null: a plain one */
  readonly maintenance?: { readonly page: string | null };
  /** `from`: a host of the app; `to`: a host, with `http://` or `https://` and a port where they matter; path and query are kept */
  readonly redirects?: readonly { readonly from: string; readonly to: string; readonly code: number }[];
  /** `hash`: as `passwordHash` of the contract makes it, sealed in events */
  readonly auth?: { readonly users: readonly { readonly name: string; readonly hash: string | Sealed }[]; /** CIDR that need no password */ readonly allow: readonly string[] };
  /** of every answer */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RouteInput {
  readonly app: string; readonly name: string;
  readonly number: number;
  readonly hosts: readonly string[];
  /** everything that shall run afterwards */
  readonly containers: readonly LiveContainer[];
  /** containers of the app that shall be drained, stopped and removed */
  readonly retire: readonly LiveContainer[];
  readonly check: HealthCheck;
}
export interface RouteOutput {
  readonly hosts: readonly string[];
  readonly upstreams: readonly string[];
  /** how it was seen: `web.1 answered 200 through the router at http://…` */
  readonly seen: string | null;
  readonly retired: number;
  readonly router?: RouterSettings;
}

export interface StepIo {
  clone: { input: CloneInput; output: CloneOutput };
  detect: { input: DetectInput; output: BuildPlan };
  build: { input: BuildInput; output: BuildOutput };
  release: { input: ReleaseInput; output: ReleaseOutput };
  route: { input: RouteInput; output: RouteOutput };
}
export type StepInput = StepIo[Step]['input'];
export type StepOutput = StepIo[Step]['output'];

/** `user`: the app or the push is at fault, not retried. `machine`: ours or the host's, retried with back-off. */
export type Fault = 'user' | 'machine';
export interface Failure { readonly code: string; readonly message: string; readonly hint: string | null; readonly fault: Fault }

type StepRef = { app: string; deploy: number; job: string; step: Step };

/** stream `pipeline-<app id>`: everything that happens to one app's deploys, in order */
export type PipelineEvent =
  | NewEvent<'BuildRequested', { app: string; deploy: number; kind: DeployKind; source: DeploySource; steps: readonly Step[]; by: string }>
  | NewEvent<'DeployRequested', { app: string; deploy: number; kind: DeployKind; source: DeploySource; steps: readonly Step[]; by: string }>
  | NewEvent<'DeployStarted', { app: string; deploy: number }>
  | NewEvent<'DeploySuperseded', { app: string; deploy: number; by: number }>
  | NewEvent<'StepQueued', StepRef & { input: StepInput; retryOf: string | null }>
  | NewEvent<'StepStarted', StepRef & { attempt: number; worker: string; waitedMs: number; pid?: number; host?: string }>
  /** its worker was stopped in good order: another takes the step */
  | NewEvent<'StepGivenBack', StepRef & { attempt: number; tookMs: number }>
  /** what plugins answered before or after the step's work: the step's attempts take it from here */
  | NewEvent<'StepExtended', StepRef & { attempt: number; when: HookTime; replies: readonly HookReply[] }>
  | NewEvent<'SourceCloned', StepRef & { attempt: number; tookMs: number; output: CloneOutput }>
  | NewEvent<'BuildpackDetected', StepRef & { attempt: number; tookMs: number; output: BuildPlan }>
  | NewEvent<'ImageBuilt', StepRef & { attempt: number; tookMs: number; output: BuildOutput }>
  | NewEvent<'ContainersStarted', StepRef & { attempt: number; tookMs: number; output: ReleaseOutput }>
  | NewEvent<'ReleaseCreated', { app: string; deploy: number; number: number; spec: ReleaseSpec; kind: DeployKind; by: string; why: string }>
  | NewEvent<'RouteSwitched', StepRef & { attempt: number; tookMs: number; output: RouteOutput }>
  | NewEvent<'StepFailed', StepRef & { attempt: number; tookMs: number; failure: Failure; retryAt: number | null }>
  | NewEvent<'DeploySucceeded', { app: string; deploy: number; release: number | null }>
  | NewEvent<'DeployFailed', { app: string; deploy: number; job: string; step: Step; failure: Failure }>
  | NewEvent<'DeployCancelled', { app: string; deploy: number; by: string; reason: string }>
  /** live containers that are no more and will not come back by themselves: their machine is gone */
  | NewEvent<'ContainersLost', { app: string; deploy: number; containers: readonly string[]; by: string; reason: string }>
  /** `as`: the new deploy that it is retried in; absent: its own, which goes on */
  | NewEvent<'JobRetried', { app: string; deploy: number; job: string; by: string; as?: number; edits?: Readonly<Record<string, string>> }>
  | NewEvent<'JobDiscarded', { app: string; deploy: number; job: string; by: string; reason: string }>;
