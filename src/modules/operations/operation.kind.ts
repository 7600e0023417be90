import { Rejected } from '../../events/decider.js';
import type { FollowingDeploy, OperationQueue } from '../../events/types/operation.events.js';
import type { Draft } from '../draft.js';
import type { OperationRun } from './operation.state.js';

/** How one kind of operation is decided. Its steps' work is the worker's (`src/workers/service`). */
export interface OperationKind {
  readonly queue: OperationQueue;
  readonly steps: readonly string[] | ((input: never) => readonly string[]);
  /**
   * What `step` is given; recorded, no secret in clear. Decided when the step is queued, from the streams as they are then and `run.learnt`, the
   * outputs of the steps before it. @throws Rejected when there is no sense in it any more: the operation fails
   */
  input(draft: Draft, step: string, run: OperationRun): Promise<unknown>;
  /** What follows when all steps are done: decided in the transaction of the last step's outcome. Answers the deploys that it asked for. @throws Rejected: the operation fails, and nothing follows */
  ending?(draft: Draft, run: OperationRun): Promise<readonly FollowingDeploy[] | void>;
  /** What follows when it failed or was cancelled. Must not throw. */
  undone?(draft: Draft, run: OperationRun): Promise<void>;
  /** longest that a step may take, ms; an hour unless said */
  readonly deadlines?: Readonly<Record<string, number>>;
  /** waits before the next tries after a machine's fault, ms; the deploys' unless said */
  readonly backoff?: readonly number[];
}

export const stepsOfKind = (kind: OperationKind, input: unknown): readonly string[] => (typeof kind.steps === 'function' ? kind.steps(input as never) : kind.steps);

/** A refusal, as an operation that ends by it records it. */
export const failureOfRefusal = ({ code, message, hint }: Rejected) => ({ code, message, hint, fault: 'user' as const });
