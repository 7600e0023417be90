import type { NewEvent } from '../event.js';
import type { Failure } from './deploy.events.js';

/** Queues of operations; one worker process takes from all of them. */
export const OPERATION_QUEUES = ['service', 'plugin'] as const;
export type OperationQueue = (typeof OPERATION_QUEUES)[number];

/** `group`: what is worked on, one operation at a time: a service's id, `plugin-<name>`, … */
type OperationRef = { group: string; operation: number; job: string; step: string };

/** A deploy that an operation asked for when it succeeded. */
export interface FollowingDeploy { readonly app: string; readonly deploy: number }

/** stream `operations-<group>`: everything that takes time and is no deploy, in order. Secrets stand in it only sealed. */
export type OperationEvent =
  /** `kind`: key of the table of kinds, such as `service-create`; `subject`: what it is about, for people: `postgres blog` */
  | NewEvent<'OperationRequested', { group: string; operation: number; kind: string; subject: string; queue: OperationQueue; steps: readonly string[]; input: unknown; by: string }>
  | NewEvent<'OperationStepQueued', OperationRef & { queue: OperationQueue; input: unknown; retryOf: string | null }>
  | NewEvent<'OperationStepStarted', OperationRef & { attempt: number; worker: string; waitedMs: number; pid: number; host: string }>
  /** its worker was stopped in good order: another takes the step */
  | NewEvent<'OperationStepGivenBack', OperationRef & { attempt: number; tookMs: number }>
  | NewEvent<'OperationStepDone', OperationRef & { attempt: number; tookMs: number; output: unknown }>
  | NewEvent<'OperationStepFailed', OperationRef & { attempt: number; tookMs: number; failure: Failure; retryAt: number | null }>
  | NewEvent<'OperationSucceeded', { group: string; operation: number; deploys: readonly FollowingDeploy[] }>
  | NewEvent<'OperationFailed', OperationRef & { failure: Failure }>
  | NewEvent<'OperationCancelled', { group: string; operation: number; by: string; reason: string }>
  | NewEvent<'OperationRetried', OperationRef & { by: string; edits?: Readonly<Record<string, string>> }>
  | NewEvent<'OperationDiscarded', OperationRef & { by: string; reason: string }>;

export const OPERATION_EVENTS: readonly OperationEvent['type'][] = ['OperationRequested', 'OperationStepQueued', 'OperationStepStarted', 'OperationStepGivenBack', 'OperationStepDone', 'OperationStepFailed', 'OperationSucceeded', 'OperationFailed', 'OperationCancelled', 'OperationRetried', 'OperationDiscarded'];
