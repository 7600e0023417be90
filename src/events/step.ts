import type { Fault, Step, StepIo } from './types/deploy.events.js';
import type { Additions, HookReply, HookTime } from './types/plugin.events.js';

/** A step ended for a known reason. `user` faults end the deploy; `machine` faults are retried with back-off. */
export class StepFailure extends Error {
  /**
   * @param code stable, dotted: `build.exit`, `release.check-failed`
   * @param message what was wrong, one line
   * @param hint what to do about it, one line
   */
  constructor(readonly code: string, message: string, readonly hint: string | null = null, readonly fault: Fault = 'user', options?: ErrorOptions) {
    super(message, options);
    this.name = 'StepFailure';
  }
}

/** Where a step's words go: every line is kept in the deploy's log. Lines carry no newline and no secret. */
export interface StepLog {
  /** `-----> text` */
  info(text: string): void;
  /** `=====> text` */
  section(text: string): void;
  /** seven spaces and the text: a detail */
  detail(text: string): void;
  /** ` !     text` */
  warn(text: string): void;
  /** output of a build or a release command, shown live only under trace mode or when `always` */
  output(text: string, always?: boolean): void;
  /** one call to an engine (Docker, git, router) with its duration in ms: shown under trace mode */
  call(name: string, ms: number, detail?: string): void;
}

/** What every step is given beside its input, of a deploy or of an operation. */
export interface StepAround {
  readonly log: StepLog;
  /** aborted when the lease is lost, the deploy was cancelled, the deadline passed, or the worker stops */
  readonly signal: AbortSignal;
  /**
   * Whether this attempt still has the work, asked of the store: to be asked before what others would see. `taken`: another attempt has it, or
   * had it and ended it; `dropped`: nobody shall do it any more. Absent: nobody else can have it.
   */
  readonly holds?: () => Promise<'mine' | 'taken' | 'dropped'>;
  /**
   * Tidying up once the outcome is recorded, or what to do when it comes too late (cancelled at the last moment). Neither may happen: the sweeper
   * does the same. Absent: tidy up at once.
   */
  readonly after?: (tidy: () => Promise<void>, late: () => Promise<void>) => void;
}

/** Answers of plugins as they stand in the log. */
export interface Replies {
  /** of all steps before this one and of this one, in order */
  readonly all: readonly HookReply[];
  /** what was answered to this very job; null: it was not asked yet */
  of(when: HookTime): readonly HookReply[] | null;
  /** writes down what was answered, before anything is done with it. @throws when the work went to another meanwhile */
  record(when: HookTime, replies: readonly HookReply[]): Promise<void>;
}

/** Which claim of which job this is. */
interface StepClaim {
  /** `<app id>.<deploy>.<step>` and a suffix for retries; unique for ever */
  readonly job: string;
  /** 1 for the first claim; a later attempt owns what earlier ones left and removes it */
  readonly attempt: number;
}

/** What a step is given. The input is recorded; nothing else about the app may be looked up. */
export interface StepContext<S extends Step> extends StepAround, StepClaim {
  readonly step: S;
  readonly app: string;
  readonly deploy: number;
  readonly input: StepIo[S]['input'];
  /** what plugins add, of this step and those before it; absent: nothing */
  readonly added?: Additions;
  /** what plugins answered in this deploy so far, this job's earlier attempts included, and how more of it is recorded. Absent where nobody asks plugins */
  readonly replies?: Replies;
}

/** The same for a step of an operation; its job is `<group>.<operation>.<step>`. */
export interface OperationContext<I = unknown> extends StepAround, StepClaim {
  readonly kind: string;
  readonly group: string;
  readonly operation: number;
  readonly step: string;
  readonly input: I;
}

/** A step's work: may be run twice; answers what it learnt or throws StepFailure. Anything else thrown is a machine fault. */
export type StepWork<S extends Step> = (context: StepContext<S>) => Promise<StepIo[S]['output']>;
export type OperationWork<I = never, O = unknown> = (context: OperationContext<I>) => Promise<O>;
