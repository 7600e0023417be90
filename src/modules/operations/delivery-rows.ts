import type { Recorded } from '../../events/event.js';
import type { OperationEvent } from '../../events/types/operation.events.js';
import { table, when } from '../commands/words.js';
import type { OfEvent } from './delivery.state.js';

/** What a delivery of whatever kind is asked for with. */
export interface DeliveryWish extends OfEvent { readonly event: string; readonly delivery: string }
export interface DeliveryRow {
  readonly number: number; readonly event: string; readonly position: number | null; readonly id: string; readonly at: string;
  readonly state: 'waiting' | 'delivered' | 'failed' | 'cancelled'; readonly attempts: number;
  /** of the step's last attempt */
  readonly tookMs: number | null; readonly output: unknown; readonly heard: string | null;
  readonly why: string | null; readonly again: string | null;
}

/** Deliveries from the stream of their operations, the newest first. Pure. */
export function deliveryRows(events: readonly Recorded[]): DeliveryRow[] {
  const rows = new Map<number, DeliveryRow>();
  for (const recorded of events) {
    const { type, data } = recorded as unknown as OperationEvent;
    const { operation } = data;
    const put = (more: Partial<DeliveryRow>): void => { const row = rows.get(operation); if (row) rows.set(operation, { ...row, ...more }); };
    switch (type) {
      case 'OperationRequested': {
        const { event, position, delivery } = data.input as DeliveryWish;
        rows.set(operation, { number: operation, event, position, id: delivery, at: new Date(recorded.at).toISOString(), state: 'waiting', attempts: 0, tookMs: null, output: null, heard: null, why: null, again: null });
        break;
      }
      case 'OperationStepStarted': put({ attempts: (rows.get(operation)?.attempts ?? 0) + 1 }); break;
      case 'OperationStepDone': put({ output: data.output, tookMs: data.tookMs, why: null, again: null }); break;
      case 'OperationStepFailed': put({ why: data.failure.message, heard: data.failure.message, again: data.retryAt === null ? null : new Date(data.retryAt).toISOString(), tookMs: data.tookMs }); break;
      case 'OperationSucceeded': put({ state: 'delivered' }); break;
      case 'OperationFailed': put({ state: 'failed', why: data.failure.message, again: null }); break;
      case 'OperationCancelled': put({ state: 'cancelled', why: data.reason, again: null }); break;
      case 'OperationRetried': put({ state: 'waiting' }); break;
      default: break;
    }
  }
  return [...rows.values()].reverse();
}

type Shown = Omit<DeliveryRow, 'output' | 'heard'>;
/** Deliveries as a table; `column`: one more, and what stands in it. */
export const deliveryTable = <R extends Shown>(rows: readonly R[], [column, cell]: readonly [string, (row: R) => string]): string[] => table(['DELIVERY', 'EVENT', 'AT (UTC)', 'STATE', column, 'TOOK', 'ATTEMPTS', 'WHY'], rows.map((r) => [
  String(r.number), r.position === null ? r.event : `${r.event} #${r.position}`, when(Date.parse(r.at)), r.state, cell(r), r.tookMs === null ? '-' : `${r.tookMs} ms`, String(r.attempts), `${r.why ?? ''}${r.again === null ? '' : `; again at ${when(Date.parse(r.again)).slice(11)}`}`,
]));
