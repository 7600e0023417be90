import type { StepContext, StepLog, StepWork } from '../events/step.js';
import { LeaseLost } from '../events/store.port.js';
import type { Step, StepOutput } from '../events/types/deploy.events.js';
import type { Pipelines } from '../modules/deploys/deploys.service.js';
import type { WorkPayload } from '../modules/deploys/pipeline.work.js';
import type { Line } from './line.js';

/** Longest a step may take, ms; the build's own limit comes with its input. */
export const DEADLINES: Readonly<Record<Step, number>> = { clone: 15 * 60_000, detect: 3 * 60_000, build: 6 * 3_600_000, release: 3_600_000, route: 10 * 60_000 };

type OpenLog = (app: string, deploy: number, step: Step, attempt: number) => { log: StepLog; close(): Promise<void> };

/** One step of the apps' deploys. */
export function deployLine<S extends Step>(step: S, work: StepWork<S>, pipelines: Pipelines, openLog: OpenLog): Line {
  return {
    async claim(row, by, claim) {
      const { app, job } = row.payload as WorkPayload;
      const who = { actor: `worker:${by.worker}`, command: `step:${step}` };
      const started = (await pipelines.handle(app, { type: 'Claim', job, ...by }, who, { claim })).find((event) => event.type === 'StepStarted');
      if (!started) return 'unwanted';
      const { attempt } = started.data as { attempt: number };
      const run = (await pipelines.state(app)).running;
      if (!run || run.job !== job) return 'overtaken';
      const { deploy, extended = [] } = run;
      return {
        job, attempt, deadlineMs: DEADLINES[step],
        openLog: () => openLog(app, deploy, step, attempt),
        work: (around, record) => work({ step, app, deploy, job, attempt, input: run.input as StepContext<S>['input'], ...around, replies: {
          // of the same step only what this job was answered: one that is retried by hand is asked anew
          all: extended.filter((each) => each.step !== step || each.job === job).flatMap((each) => each.replies),
          of: (when) => extended.find((each) => each.job === job && each.when === when)?.replies ?? null,
          record: async (when, replies) => {
            const written = await record(() => pipelines.handle(app, { type: 'Extend', job, attempt, when, replies }, who));
            if (written.length === 0) throw new LeaseLost(job, 'another attempt');
          },
        } }),
        complete: (output, tookMs, finish) => pipelines.handle(app, { type: 'Complete', job, attempt, tookMs, output: output as StepOutput }, who, { finish }),
        fail: (failure, tookMs, now, finish) => pipelines.handle(app, { type: 'Fail', job, attempt, tookMs, failure, now }, who, { finish }),
        giveBack: (tookMs, giveBack) => pipelines.handle(app, { type: 'GiveBack', job, attempt, tookMs }, who, { giveBack }),
      };
    },
  };
}
