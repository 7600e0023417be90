import type { OperationKind } from '../operations/operation.kind.js';

/** One event on its way to one plugin; `position` and `id` say which, what is in it stands in the log. */
export interface Delivery { readonly plugin: string; readonly position: number; readonly id: string; readonly type: string }

export const DELIVERY = 'plugin-event';

/** waits before a delivery is tried again, ms: a server that a plugin speaks to may be away for some minutes */
const BACKOFF = [1_000, 5_000, 30_000, 120_000, 600_000];

/** Hands one event to a plugin; those of one plugin in order, each at least once. */
export const deliveryKind: OperationKind = { queue: 'plugin', steps: ['deliver'], input: (_draft, _step, run) => Promise.resolve(run.input), backoff: BACKOFF, deadlines: { deliver: 15 * 60_000 } };
