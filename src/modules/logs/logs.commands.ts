import { Transform } from 'class-transformer';
import { IsInt, IsOptional, Matches, Max, Min } from 'class-validator';
import type { NumberedLine } from '../../drivers/logs/log-store.js';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { command, Flag, forget, type Out, type StreamItem } from '../commands/command.js';
import type { Core } from '../core.js';

/** Log of an app's processes; outlives its containers. */
export const appLog = (app: string): string => `apps/${app}`;

class LogsInput extends AppInput {
  @IsOptional() @Flag('go on as lines come', { short: 't' }) tail?: boolean;
  @IsOptional() @Transform(({ value }) => (typeof value === 'string' ? Number(value) : value)) @IsInt({ message: 'num: how many lines, a whole number' }) @Min(0) @Max(1_000_000) @Flag('how many lines (100)', { type: 'number', short: 'n', label: 'n' }) num?: number;
  @IsOptional() @Matches(/^[a-z0-9-]{1,63}(?:\.\d{1,4})?$/, { message: 'ps: a process type such as web, or one process such as web.1' }) @Flag('only of this process type or process', { type: 'string', short: 'p', label: 'type[.n]' }) ps?: string;
}

const COLORS = [36, 33, 32, 35, 34, 31];

export function printLine(line: NumberedLine, out: Out, of = 'app'): void {
  const at = new Date(line.t).toISOString();
  if (out.quiet) return out.line(line.m);
  const tag = `${of}[${line.s}]:`;
  const color = COLORS[[...line.s].reduce((sum, c) => sum + c.charCodeAt(0), 0) % COLORS.length];
  out.line(`${at} ${out.color ? `\u001b[${color}m${tag}\u001b[0m` : tag} ${line.m}`);
}

/** The newest lines of a log, and then those that come. */
export async function* followLog(core: Core, log: string, { tail, num, wanted }: { tail: boolean; num: number; wanted(line: { s: string }): boolean }, signal: AbortSignal): AsyncGenerator<StreamItem> {
  const last = await core.logs.last(log);
  const recent = (await core.logs.tail(log, num, wanted)).filter((line) => line.n <= last);
  for (const line of recent) yield { id: String(line.n), event: 'line', data: line };
  if (!tail) return;
  const queue: NumberedLine[] = [];
  let wake: () => void = () => {};
  let broken: unknown = null;
  const stop = new AbortController();
  const onAbort = (): void => { stop.abort(); wake(); };
  signal.addEventListener('abort', onAbort);
  const following = core.logs.follow(log, last, stop.signal, (lines) => { queue.push(...lines); wake(); });
  following.catch((error: unknown) => { broken = error; wake(); });
  try {
    while (!signal.aborted) {
      if (broken) throw broken;
      const woken = new Promise<void>((resolve) => { wake = resolve; });
      const lines = queue.splice(0).filter(wanted);
      if (lines.length === 0) await woken;
      for (const line of lines) yield { id: String(line.n), event: 'line', data: line };
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    stop.abort();
    await following.catch(() => {});
  }
}

const logs = command({
  name: 'logs', summary: 'Show what an app\'s processes print; -t follows, -p chooses a process', example: 'berth logs blog -t -p web', input: LogsInput, http: { method: 'GET', path: '/apps/:app/logs' }, reads: true,
  async *stream({ core, signal }, { app, tail, num, ps }): AsyncGenerator<StreamItem> {
    const row = await core.app(app);
    let any = false;
    for await (const item of followLog(core, appLog(row.id), { tail: tail ?? false, num: num ?? 100, wanted: (line) => ps === undefined || line.s === ps || line.s.startsWith(`${ps}.`) }, signal)) {
      any = true;
      yield item;
    }
    if (!tail && !any && row.live === null) throw new Rejected('app.not-deployed', `App ${app} has not been deployed yet`, 'git push berth main');
  },
  renderItem: (item, out) => printLine(item.data as NumberedLine, out),
});

export const logCommands = [forget(logs)];
