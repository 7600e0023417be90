import { IsOptional } from 'class-validator';
import { command, Flag, forget, type CommandContext } from '../commands/command.js';
import { deployRow, OneInput } from '../deploys/deploys.commands.js';
import { deployEvents, deployLog } from '../deploys/follow.js';
import { change } from '../draft.js';
import { server } from '../server/server.decider.js';
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
  const io = new Map<string, { input: unknown; output: unknown }>();
  for (const event of events) {
    if (!('job' in event.data)) continue;
    const seen = io.get(event.data.job) ?? { input: null, output: null };
    if ('input' in event.data) seen.input = event.data.input;
    if ('output' in event.data) seen.output = event.data.output;
    io.set(event.data.job, seen);
  }
  const lines = (await core.logs.read(deployLog(row.id, d.deploy), 0, 500_000)).filter((line) => line.k === 'c');
  const steps = d.steps.map((s): TraceStep => ({
    job: s.job, step: s.step, status: s.status, attempts: s.attempt, worker: s.worker, queuedAt: s.queuedAt, startedAt: s.startedAt, endedAt: s.endedAt,
    waitedMs: s.waitedMs, tookMs: s.tookMs, input: io.get(s.job)?.input ?? null, output: io.get(s.job)?.output ?? null, failure: s.status === 'failed' ? s.failure : null,
    calls: lines.filter((l) => l.s === s.step && l.t >= s.queuedAt && (s.endedAt === null || l.t <= s.endedAt + 50)).map((l) => callOf(l.m)),
  }));
  return {
    app, deploy: d.deploy, status: d.status, kind: d.kind, by: d.by, trace: d.trace, commit: d.source.sha, subject: d.subject, release: d.release,
    requestedAt: d.requestedAt, startedAt: d.startedAt, endedAt: d.endedAt, steps,
  };
}

/** `container.start 241ms blog.web.1` as the step log writes it; a name may have a space in it: `git archive`. */
function callOf(text: string): { name: string; ms: number; detail: string } {
  const match = /^(.+?) (\d+(?:\.\d+)?)ms ?(.*)$/.exec(text);
  return match ? { name: match[1]!, ms: Number(match[2]), detail: match[3]! } : { name: text, ms: 0, detail: '' };
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
