import { STEPS } from '../../events/types/deploy.events.js';

/** One process each: a step of the deploys, or all operations. */
export const WORKER_KINDS = [...STEPS, 'service'] as const;
export type WorkerKind = (typeof WORKER_KINDS)[number];

/** How a worker shows itself; written by the worker every few seconds, gone a few seconds after it died. Times in ms since the epoch, memory in bytes. */
export interface WorkerStatus {
  readonly name: string; readonly kind: string; /** Berth's, of the program that runs */ readonly version: string; readonly pid: number; readonly host: string;
  readonly since: number; readonly seen: number; readonly done: number; readonly memory: number;
  readonly doing: readonly { readonly job: string; readonly since: number }[];
}
