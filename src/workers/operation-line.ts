import { StepFailure, type OperationContext, type OperationWork, type StepLog } from '../events/step.js';
import { kindOf } from '../modules/operations/kinds.js';
import type { OperationWorkPayload } from '../modules/operations/operation.work.js';
import type { Operations } from '../modules/operations/operations.service.js';
import type { Line } from './line.js';

const DEADLINE_MS = 3_600_000;

/** kind → step → its work */
export type OperationWorks = Readonly<Record<string, Readonly<Record<string, OperationWork>>>>;
type OpenLog = (group: string, operation: number, step: string, attempt: number) => { log: StepLog; close(): Promise<void> };

/** The steps of all operations. */
export function operationLine(works: OperationWorks, operations: Operations, openLog: OpenLog): Line {
  return {
    async claim(row, by, claim) {
      const { group, job } = row.payload as OperationWorkPayload;
      const actor = `worker:${by.worker}`;
      const started = (await operations.handle(group, { type: 'Claim', job, ...by }, { actor, command: 'step:operation' }, { claim })).find((event) => event.type === 'OperationStepStarted');
      if (!started) return 'unwanted';
      const { attempt } = started.data as { attempt: number };
      const run = (await operations.state(group)).running;
      if (!run || run.job !== job || run.step === null) return 'overtaken';
      const { operation, kind: name, step, stepInput: input } = run;
      const kind = kindOf(name);
      const who = { actor, command: `step:${name}.${step}` };
      return {
        job, attempt, deadlineMs: kind.deadlines?.[step] ?? DEADLINE_MS,
        openLog: () => openLog(group, operation, step, attempt),
        work: (around) => {
          const work = works[name]?.[step] as ((context: OperationContext) => Promise<unknown>) | undefined;
          if (!work) throw new StepFailure('operation.unknown', `this worker does not know step ${step} of ${name}`, 'an upgrade was not finished: start the workers anew', 'machine');
          return work({ kind: name, group, operation, step, job, attempt, input, ...around });
        },
        complete: (output, tookMs, finish) => operations.handle(group, { type: 'Complete', job, attempt, tookMs, output: output ?? null }, who, { finish }),
        fail: (failure, tookMs, now, finish) => operations.handle(group, { type: 'Fail', job, attempt, tookMs, failure, now, ...(kind.backoff && { backoff: kind.backoff }) }, who, { finish }),
        giveBack: (tookMs, giveBack) => operations.handle(group, { type: 'GiveBack', job, attempt, tookMs }, who, { giveBack }),
      };
    },
  };
}
