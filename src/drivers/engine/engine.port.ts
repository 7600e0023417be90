import type { Readable } from 'node:stream';
import type { Space } from '../disk/space.js';
import type { LabelValues } from './labels.js';

/** Told of every call: name (`container.start`), duration in ms, and what it was about. */
export type CallObserver = (name: string, ms: number, detail?: string) => void;

export interface EngineInfo {
  readonly version: string;
  readonly cgroupVersion: 1 | 2;
  readonly cgroupDriver: 'cgroupfs' | 'systemd' | 'none';
  /** where the engine keeps images and containers */
  readonly rootDir: string;
}

export interface BuildRequest {
  /** path of the Dockerfile in the context */
  readonly dockerfile: string;
  readonly tag: string;
  readonly labels: LabelValues;
  readonly buildArgs: Readonly<Record<string, string>>;
  /** stage to build; the last when it is not said */
  readonly target?: string;
  /** `linux/arm64`; the engine's own when it is not said */
  readonly platform?: string;
  /** id → content, for `RUN --mount=type=secret,id=…`; never kept in the image; at most 500 KB each */
  readonly secrets: Readonly<Record<string, string | Buffer>>;
  readonly signal: AbortSignal;
  /** `#5 [2/4] RUN make`, `#5 0.214 text`, `#5 CACHED`, `#5 DONE 0.3s` */
  onLine(line: string): void;
  /** something the user should know: a limit that works otherwise, a builder that was chosen */
  onNote?(text: string): void;
  readonly limits: {
    /** bytes; 0 = none */
    readonly memory: number;
    /** CPUs, may be a fraction; 0 = none */
    readonly cpus: number;
    /** ms; 0 = none */
    readonly timeoutMs: number;
  };
}

export interface Image {
  /** `sha256:…` */
  readonly id: string;
  readonly tags: readonly string[];
  readonly bytes: number;
  readonly labels: Readonly<Record<string, string>>;
  /** tcp ports, ascending */
  readonly exposed: readonly number[];
  /** paths that its Dockerfile calls VOLUME; not known of a list's images */
  readonly volumes: readonly string[];
  readonly cmd: readonly string[] | null;
  readonly entrypoint: readonly string[] | null;
  /** whom it runs as: `app`, `1000:1000`; empty for root */
  readonly user?: string;
  /** names with the digest under which a registry has it: `nginx@sha256:…` */
  readonly digests?: readonly string[];
  /** instructions for whoever builds upon it */
  readonly onBuild?: readonly string[];
  /** ms since the epoch */
  readonly created: number;
}

export interface BuildCache { readonly id: string; readonly bytes: number; /** `<instance>/<app>` */ readonly mark: string; /** when it was last used, ms since the epoch; null: not known */ readonly used: number | null }

export interface BuiltImage extends Image {
  /** instructions after FROM, and how many of them came from the cache */
  readonly steps: number;
  readonly cached: number;
  readonly builder: 'buildkit' | 'legacy';
}

export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  /** null = the image's own command */
  readonly cmd: readonly string[] | null;
  readonly env: Readonly<Record<string, string>>;
  readonly labels: LabelValues;
  /** others' labels beside ours */
  readonly more?: Readonly<Record<string, string>>;
  /** name or id of a network, `none`, or null for the engine's default */
  readonly network: string | null;
  /** bytes; 0 = none. Swap is not given beyond it */
  readonly memory: number;
  /** CPUs; 0 = none */
  readonly cpus: number;
  /** processes and threads; 0 = none */
  readonly pids: number;
  readonly restart: RestartPolicy;
  /** paths that get a volume each, labelled as the container is; they go with it */
  readonly volumes?: readonly string[];
  /** further networks that it is in before it starts */
  readonly networks?: readonly string[];
  /** its names in `network` */
  readonly aliases?: readonly string[];
  /** where the host listens for it */
  readonly ports?: readonly PublishedPort[];
  /** seconds between TERM and KILL when the engine stops it; the engine's own 10 unless said */
  readonly stopSeconds?: number;
  /** volumes that outlive it, by name, and where they are mounted */
  readonly mounts?: readonly { readonly name: string; readonly path: string }[];
}

/** `address`: of the host, 0.0.0.0 for all */
export interface PublishedPort { readonly address: string; readonly host: number; readonly container: number }

/** A program in a running container. */
export interface Exec {
  readonly argv: readonly string[];
  /** the image's own unless said */
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
}
export interface TerminalSize { readonly columns: number; readonly rows: number }
export interface ExecIo {
  /** read no faster than it is taken; absent: it has no input */
  readonly stdin?: AsyncIterable<Buffer>;
  /** instead of `stdin`: it has a terminal; its errors come with its output */
  readonly terminal?: TerminalSize & { readonly term: string; typed(): AsyncIterable<Buffer | TerminalSize> };
  /** the program waits until it resolves */
  readonly stdout?: (piece: Buffer) => Promise<void> | void;
  /** cuts its pipes: a program that reads or writes ends by that */
  readonly signal: AbortSignal;
}

/** One that no container has. */
export interface Volume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}
/** `unless-stopped` survives a reboot; `on-failure` restarts at most ten times. */
export type RestartPolicy = 'no' | 'unless-stopped' | 'on-failure';

export interface ContainerState {
  readonly id: string;
  readonly name: string;
  readonly imageId: string;
  readonly labels: Readonly<Record<string, string>>;
  /** address in its first network, null while it does not run */
  readonly ip: string | null;
  readonly running: boolean;
  readonly restarting: boolean;
  /** pid on the host, 0 while it does not run */
  readonly pid: number;
  /** null while it runs or before its first start */
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  /** ms since the epoch, null before the first start */
  readonly startedAt: number | null;
  readonly restartCount: number;
  /** why it could not be started, as the engine says it */
  readonly error: string | null;
}

export interface ContainerSummary {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
  /** `running`, `exited`, `created`, `restarting`, `paused`, `dead` */
  readonly state: string;
  readonly ip: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** ms since the epoch */
  readonly created: number;
}

export interface RunResult { readonly exitCode: number; readonly oomKilled: boolean }

export interface LogLine {
  readonly stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds, as the engine wrote it; hand it back as `since` */
  readonly at: string;
  readonly text: string;
}
export interface LogOptions {
  readonly follow: boolean;
  /** RFC 3339 or seconds since the epoch; that very moment is included */
  readonly since?: string | number;
  /** lines from the end */
  readonly tail?: number;
  readonly signal?: AbortSignal;
}

export interface EngineEvent {
  readonly type: 'container' | 'image' | 'network';
  /** `start`, `die`, `oom`, `destroy`, `health_status: healthy`, … */
  readonly action: string;
  readonly id: string;
  readonly labels: Readonly<Record<string, string>>;
  /** on `die` */
  readonly exitCode: number | null;
  /** ms since the epoch */
  readonly at: number;
}
export interface EventOptions {
  readonly labels: LabelValues;
  readonly actions?: readonly string[];
  /** ms since the epoch: what happened since then comes first */
  readonly since?: number;
  readonly signal?: AbortSignal;
}

export interface NetworkSpec {
  readonly name: string;
  readonly labels: LabelValues;
  /** CIDR out of which the first free /24 is taken */
  readonly pool: string;
}
export interface Network {
  readonly id: string;
  readonly name: string;
  /** CIDR, null when the engine chose none */
  readonly subnet: string | null;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * A container engine. Every method throws StepFailure `engine.down` (machine) when the engine does not answer; what the
 * engine refuses is thrown as an Error with `statusCode`. Looking for something that is not there answers null,
 * removing it is no error.
 */
export abstract class EnginePort {
  /** The same engine; its calls are reported. */
  abstract observed(observer: CallObserver): EnginePort;
  abstract ping(): Promise<void>;
  abstract info(): Promise<EngineInfo>;
  /** The disk that holds the engine's data. */
  abstract space(): Promise<Space>;
  /** Whether the engine can reach the registry that holds this image; answers false within 3 s. */
  abstract canPull(reference: string): Promise<boolean>;

  /**
   * Builds from a tar stream. A failed build is always thrown: StepFailure `build.failed`, `build.dockerfile`,
   * `build.base-image`, `build.out-of-memory`, `build.timeout`, `build.no-limits`; an abort throws the signal's reason,
   * and the running instruction is gone within a second.
   */
  abstract build(context: Readable, request: BuildRequest): Promise<BuiltImage>;
  abstract inspectImage(reference: string): Promise<Image | null>;
  /** Fetches an image from its registry. @throws StepFailure `image.*`: user when it is not there or not for us, machine when the registry does not answer */
  abstract pullImage(reference: string, signal: AbortSignal, onLine: (line: string) => void): Promise<void>;
  /** Takes what `docker save` writes; answers the names (or ids) of the images in it. @throws StepFailure `image.load` */
  abstract loadImage(archive: Readable, signal: AbortSignal): Promise<readonly string[]>;
  abstract listImages(labels: LabelValues): Promise<readonly Image[]>;
  /** @param force also when a stopped container uses it or it has several tags */
  abstract removeImage(reference: string, force?: boolean): Promise<void>;
  abstract tagImage(reference: string, tag: string): Promise<void>;
  /**
   * The image with another history under its tag; the old one goes. Layers are the same.
   * @param text what a line of the history shall be
   * @returns the image and its configuration as JSON; null when this engine keeps its images where we cannot read them
   */
  abstract rewriteHistory(id: string, tag: string, text: (line: string) => string): Promise<{ readonly image: Image; readonly config: string } | null>;
  /** Caches of builds: of RUN lines that end with `# <mark>` (see withOwnCaches), and volumes of buildpacks. */
  abstract listCaches(): Promise<readonly BuildCache[]>;
  /** @returns bytes that are free now; one that is in use stays */
  abstract removeCaches(ids: readonly string[]): Promise<number>;

  /** @returns the container's id */
  abstract createContainer(spec: ContainerSpec): Promise<string>;
  abstract startContainer(id: string): Promise<void>;
  abstract inspectContainer(id: string): Promise<ContainerState | null>;
  /** `NAME=value`, the image's own too; null: there is no such container */
  abstract environment(id: string): Promise<readonly string[] | null>;
  abstract setRestart(id: string, policy: RestartPolicy): Promise<void>;
  /** TERM, then KILL. @param timeoutS seconds in between */
  abstract stopContainer(id: string, timeoutS: number): Promise<void>;
  /** Kills it if it runs; its anonymous volumes go with it. */
  abstract removeContainer(id: string): Promise<void>;
  /** Stopped ones, too. */
  abstract listContainers(labels: LabelValues): Promise<readonly ContainerSummary[]>;
  /** Exit code, once it does not run. Never hangs on a dead engine; an abort throws the signal's reason. */
  abstract waitContainer(id: string, signal?: AbortSignal): Promise<number>;
  /** Runs to the end and removes; an abort kills it and throws the signal's reason. */
  abstract runContainer(spec: ContainerSpec, onLine: (line: string, stream: 'stdout' | 'stderr') => void, signal: AbortSignal): Promise<RunResult>;
  /** Runs a program in a running container to its end; `stderr`: its last 16 KB. What `stdin` or `stdout` throw cuts it off and is thrown. */
  abstract exec(id: string, exec: Exec, io: ExecIo): Promise<{ readonly exitCode: number; readonly stderr: string }>;
  /** Ends when the container does (follow) or with the last line; throws StepFailure `engine.stream-lost` when cut off. */
  abstract logs(id: string, options: LogOptions): AsyncIterable<LogLine>;
  /** Ends only by an abort (quietly) or by StepFailure `engine.stream-lost`: read again with `since`. */
  abstract events(options: EventOptions): AsyncIterable<EngineEvent>;

  /** Finds it by name or makes it. */
  abstract ensureNetwork(spec: NetworkSpec): Promise<Network>;
  abstract removeNetwork(name: string): Promise<void>;
  abstract listNetworks(labels: LabelValues): Promise<readonly Network[]>;

  /** those that no container has */
  abstract listIdleVolumes(labels: LabelValues): Promise<readonly Volume[]>;
  /** one that is gone is no error; one that a container has meanwhile is */
  abstract removeVolume(name: string): Promise<void>;
}
