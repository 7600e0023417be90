import { Rejected } from '../../events/decider.js';
import { metaOf } from '../../events/repository.js';
import type { Recorded } from '../../events/event.js';
import type { Core } from '../core.js';
import { editInput } from '../deploys/edit-input.js';
import type { Beside } from '../deploys/deploys.service.js';
import { Draft, operationsStream } from '../draft.js';
import { kindOf } from './kinds.js';
import { operations, type OperationCommand } from './operation.decider.js';
import { failureOfRefusal, stepsOfKind } from './operation.kind.js';
import { openRun, undecided, type OperationsState } from './operation.state.js';

/** Asks for an operation in a draft, and begins it when nothing of its group runs; answers its number. @throws Rejected when its first step is refused */
export async function operate(draft: Draft, group: string, wish: { readonly kind: string; readonly subject: string; readonly input: unknown; readonly by: string }): Promise<number> {
  const kind = kindOf(wish.kind);
  const events = await draft.operation(group, { type: 'Request', group, ...wish, queue: kind.queue, steps: stepsOfKind(kind, wish.input) });
  const { operation } = events[0]!.data;
  await settle(draft, group, operation);
  return operation;
}

/** Queues what is to be queued and decides endings, until only workers can go on. @param fresh one that was asked for just now: its refusal is the caller's */
async function settle(draft: Draft, group: string, fresh: number | null = null): Promise<void> {
  for (;;) {
    const { state } = await draft.load(operations, operationsStream(group));
    const run = undecided(state);
    if (!run) return;
    const kind = kindOf(run.kind);
    try {
      await draft.attempt(async () => {
        if (run.step === null) return void await draft.operation(group, { type: 'Succeed', deploys: (await kind.ending?.(draft, run)) ?? [] });
        const input = await kind.input(draft, run.step, run);
        await draft.operation(group, { type: 'Queue', input: run.edits ? editInput(input as object, run.edits) : input });
      });
    } catch (error) {
      if (!(error instanceof Rejected) || run.operation === fresh) throw error;
      await draft.operation(group, { type: 'Refuse', failure: failureOfRefusal(error) });
      await kind.undone?.(draft, run);
    }
  }
}

/** The impure rim of the operations decider: loads, decides, and writes events, what follows from them and work rows in one transaction. */
export class Operations {
  constructor(private readonly core: Core) {}

  async state(group: string): Promise<OperationsState> {
    return (await this.core.repository.load(operations, operationsStream(group))).state;
  }

  /**
   * Nothing is written when nothing follows, but for a claim.
   * @throws Rejected, LeaseLost, StoreUnavailable
   */
  async handle(group: string, wish: OperationCommand, who: { actor: string; command: string }, beside: Beside = {}): Promise<Recorded[]> {
    const { core } = this;
    return core.repository.transact(async () => {
      const draft = new Draft(core);
      const { state: before } = await draft.load(operations, operationsStream(group));
      const events = await draft.operation(group, wish);
      if (events.length === 0 && !beside.claim) return null;
      const over = events.find((event) => event.type === 'OperationFailed' || event.type === 'OperationCancelled');
      const ended = over && openRun(before, over.data.operation);
      if (ended) await kindOf(ended.kind).undone?.(draft, ended);
      await settle(draft, group, wish.type === 'Retry' ? (events[0]?.data.operation ?? null) : null);
      const operation = events[0]?.data.operation ?? before.running?.operation ?? 0;
      return { ...draft.transaction(), meta: metaOf(who.actor, who.command, `${group}.${operation}`), now: core.now(), ...beside };
    });
  }
}
