import { IsOptional } from 'class-validator';
import { command, Flag, forget, type CommandContext } from '../commands/command.js';
import { deployRow, OneInput } from '../deploys/deploys.commands.js';
import { deployEvents, deployLog } from '../deploys/follow.js';
import { change } from '../draft.js';
import { server } from '../server/server.decider.js';
import { callsOf, stepIo } from './trace-parts.js';
import { waterfall, type Trace, type TraceStep } from './waterfall.js';

class TraceInput extends OneInput {
  @IsOptional() @Flag('list every engine call, not only the slowest') all?: boolean;
}
class NoInput {}

/** Everything that is known of a deploy: from its events, and the engine calls from its log. */
async function traceOf(context: CommandContext, app: string, deploy?: string): Promise<Trace> {
  const { core } = context;
  const { row, deploy: d } = await deployRow(context, app, deploy);
  const events = await deployEvents(core, row.id, d.deploy);
  const io = stepIo(events);
  const lines = await core.logs.read(deployLog(row.id, d.deploy), 0, 500_000);
  const steps = d.steps.map((s): TraceStep => ({
    job: s.job, step: s.step, status: s.status, attempts: s.attempt, worker: s.worker, queuedAt: s.queuedAt, startedAt: s.startedAt, endedAt: s.endedAt,
    waitedMs: s.waitedMs, tookMs: s.tookMs, input: io.get(s.job)?.input ?? null, output: io.get(s.job)?.output ?? null, failure: s.status === 'failed' ? s.failure : null,
    calls: callsOf(lines, s),
  }));
  return {
    app, deploy: d.deploy, status: d.status, kind: d.kind, by: d.by, trace: d.trace, commit: d.source.sha, subject: d.subject, release: d.release,
    requestedAt: d.requestedAt, startedAt: d.startedAt, endedAt: d.endedAt, steps,
  };
}

const trace = command({
  name: 'trace', summary: 'Draw a deploy as a waterfall: what waited, what worked, on which worker, which engine calls', example: 'berth trace blog 7', input: TraceInput, http: { method: 'GET', path: '/apps/:app/deploys/:deploy/trace' }, reads: true,
  run: async (context, { app, deploy }) => ({ now: context.core.now(), ...(await traceOf(context, app, deploy)) }),
  render: (answer, out, { all }) => waterfall(answer, answer.now, out.columns, all ?? false).forEach((line) => out.line(line)),
});

const switchTrace = (on: boolean) => command({
  name: on ? 'trace:on' : 'trace:off', summary: on ? 'Show full build output and every engine call in live output' : 'Show live output in brief again', example: `berth trace:${on ? 'on' : 'off'}`, input: NoInput,
  http: { method: 'POST', path: `/trace/${on ? 'on' : 'off'}` },
  run: async (context) => {
    await change(context, on ? 'trace:on' : 'trace:off', 'server', (draft) => draft.decide(server, 'server', { type: 'Trace', on }));
    return { trace: on };
  },
  render: (_, out) => out.info(`Trace mode is ${on ? 'on' : 'off'}`),
});

export const traceCommands = [forget(trace), forget(switchTrace(true)), forget(switchTrace(false))];
