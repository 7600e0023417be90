import type { OperationKind } from '../operations/operation.kind.js';

/** What a message is asked for with; `position` null: only a test. */
export interface NotifyInput { readonly notification: string; readonly position: number | null; readonly event: string; /** the same for every try of the same message */ readonly delivery: string }
export interface NotifyOutput { readonly said: string }

export const NOTIFY_KIND = 'notify';
/** One notification's messages are sent in order: one that is tried again holds those behind it up for a quarter of an hour at most. */
export const notifyKind: OperationKind = { queue: 'plugin', steps: ['send'], input: async (_, __, run) => run.input, deadlines: { send: 15 * 60_000 }, backoff: [5000, 30_000, 120_000, 600_000] };
