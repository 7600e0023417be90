import type { Recorded } from '../../events/event.js';
import { SCHEMAS, type EventType } from '../../events/types/all.events.js';
import type { DriftEvent } from '../../events/types/app.events.js';
import type { Shape } from '../read/projection.js';
import { drift, type DriftState } from './drift.decider.js';

/** App or service id → what of it is not as the log says: of every app at once, however often each has drifted. */
export type Drifts = Record<string, DriftState>;

const OWN: ReadonlySet<string> = new Set<DriftEvent['type']>(['DriftDetected', 'DriftEnded', 'RepairStarted', 'CrashLoopDetected']);

function applyToDrifts(drifts: Drifts, event: Recorded): void {
  if (event.type === 'AppDestroyed') delete drifts[(event.data as { app: string }).app];
  if (event.type === 'ServiceDestroyed') delete drifts[(event.data as { service: string }).service];
  if (!OWN.has(event.type)) return;
  const own = event as unknown as DriftEvent;
  drifts[own.data.app] = drift.evolve(drifts[own.data.app] ?? drift.initial, own);
}

export const DRIFTS: Shape<Drifts> = { version: '1', initial: () => ({}), apply: applyToDrifts, skips: (Object.keys(SCHEMAS) as EventType[]).filter((type) => !OWN.has(type) && type !== 'AppDestroyed' && type !== 'ServiceDestroyed') };
