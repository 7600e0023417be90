import { operationsStream, type Draft } from '../draft.js';
import { operations } from './operation.decider.js';

/** Cancels what runs and waits of a group: nobody is there for it any more. */
export async function cancelAllOf(draft: Draft, group: string, by: string, reason: string): Promise<void> {
  for (;;) {
    const { state } = await draft.load(operations, operationsStream(group));
    if (!state.running && state.waiting.length === 0) return;
    await draft.operation(group, { type: 'Cancel', operation: null, by, reason });
  }
}
