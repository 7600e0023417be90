import type { NewWork } from '../../events/store.port.js';
import type { OperationEvent } from '../../events/types/operation.events.js';
import { workId } from '../deploys/pipeline.state.js';
import type { OperationsState } from './operation.state.js';

export interface OperationWorkPayload { readonly group: string; readonly job: string }

/** The work rows that belong to `events`, for the same transaction; `before` is the state they were decided at. */
export function operationWork(events: readonly OperationEvent[], before: OperationsState): { work: NewWork[]; drop: string[] } {
  const work: NewWork[] = [];
  const drop: string[] = [];
  for (const event of events) {
    if (event.type === 'OperationStepQueued') {
      const { group, job, queue } = event.data;
      work.push({ id: workId(job, 0), queue, group, payload: { group, job } satisfies OperationWorkPayload });
    }
    if (event.type === 'OperationStepFailed' && event.data.retryAt !== null && before.running) {
      const { group, job, retryAt } = event.data;
      work.push({ id: workId(job, before.running.faults + 1), queue: before.running.queue, group, payload: { group, job } satisfies OperationWorkPayload, notBefore: retryAt });
    }
    if (event.type === 'OperationCancelled' && before.running?.operation === event.data.operation && before.running.work !== '') drop.push(before.running.work);
  }
  return { work, drop };
}
