import type { Recorded } from '../events/event.js';
import type { StepAround, StepLog } from '../events/step.js';
import type { Transaction, WorkRow } from '../events/store.port.js';
import type { Failure } from '../events/types/deploy.events.js';

type Beside<K extends 'claim' | 'finish' | 'giveBack'> = NonNullable<Transaction[K]>;

/** One claimed step, of whichever line. What it reports is written together with its work row; nothing, when it comes too late. */
export interface Claimed {
  readonly job: string;
  readonly attempt: number;
  readonly deadlineMs: number;
  /** a log for the step's output; `close` when its lines are safe */
  openLog(): { log: StepLog; close(): Promise<void> };
  /** @param record writes and tries again while the store is away for a while */
  work(around: StepAround, record: (write: () => Promise<readonly Recorded[]>) => Promise<readonly Recorded[]>): Promise<unknown>;
  complete(output: unknown, tookMs: number, finish: Beside<'finish'>): Promise<readonly Recorded[]>;
  fail(failure: Failure, tookMs: number, now: number, finish: Beside<'finish'>): Promise<readonly Recorded[]>;
  giveBack(tookMs: number, giveBack: Beside<'giveBack'>): Promise<readonly Recorded[]>;
}

/** A line that workers take steps from: an app's deploys, or the operations of a group. */
export interface Line {
  /**
   * Claims the row's step, in one transaction with the row. `unwanted`: nobody waits for it any more, and the row may end; `overtaken`: it
   * went on meanwhile. @throws LeaseLost
   */
  claim(row: WorkRow, by: { worker: string; waitedMs: number; pid: number; host: string }, claim: Beside<'claim'>): Promise<Claimed | 'unwanted' | 'overtaken'>;
}
