import { traceOf } from '../../events/event.js';
import type { Fact, NewWork } from '../../events/store.port.js';
import type { PipelineEvent } from '../../events/types/deploy.events.js';
import type { OperationEvent } from '../../events/types/operation.events.js';
import { workId, type PipelineState } from './pipeline.state.js';

export const correlationOf = (app: string, deploy: number): string => `${app}.${deploy}`;

/** Each event with the correlation and the trace of its own deploy or operation: one transaction may end one and start the next. */
export function correlated(events: readonly (PipelineEvent | OperationEvent)[]): Fact[] {
  return events.map((event) => {
    const correlation = 'app' in event.data ? correlationOf(event.data.app, event.data.deploy) : correlationOf(event.data.group, event.data.operation);
    return { ...event, meta: { correlation, trace: traceOf(correlation) } };
  });
}

export interface WorkPayload { readonly app: string; readonly job: string }

/**
 * The work rows that belong to `events`, for the same transaction: a row for each step that was queued or will be tried again,
 * and the rows that nobody shall do any more. `before` is the state the events were decided at.
 */
export function workFor(events: readonly PipelineEvent[], before: PipelineState): { work: NewWork[]; drop: string[] } {
  const work: NewWork[] = [];
  const drop: string[] = [];
  for (const event of events) {
    if (event.type === 'StepQueued') {
      const { app, job, step } = event.data;
      work.push({ id: workId(job, 0), queue: step, group: app, payload: { app, job } satisfies WorkPayload });
    }
    if (event.type === 'StepFailed' && event.data.retryAt !== null) {
      const { app, job, step, retryAt } = event.data;
      work.push({ id: workId(job, (before.running?.faults ?? 0) + 1), queue: step, group: app, payload: { app, job } satisfies WorkPayload, notBefore: retryAt });
    }
    if (event.type === 'DeployCancelled' && before.running?.deploy === event.data.deploy) drop.push(before.running.work);
  }
  return { work, drop };
}
