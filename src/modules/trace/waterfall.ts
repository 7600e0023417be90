import { seconds } from '../commands/words.js';

export interface TraceStep {
  readonly job: string; readonly step: string; readonly status: string; readonly attempts: number; readonly worker: string | null;
  /** ms since the epoch */
  readonly queuedAt: number; readonly startedAt: number | null; readonly endedAt: number | null;
  readonly waitedMs: number; readonly tookMs: number;
  readonly calls: readonly { readonly name: string; readonly ms: number; readonly detail: string }[];
  readonly input: unknown; readonly output: unknown;
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
}
export interface Trace {
  readonly app: string; /** `operation`; a deploy unless said */ readonly what?: string; readonly deploy: number; readonly status: string; readonly kind: string; readonly by: string; readonly trace: string;
  readonly commit: string | null; readonly subject: string | null; readonly release: number | null;
  readonly requestedAt: number; readonly startedAt: number | null; readonly endedAt: number | null;
  readonly steps: readonly TraceStep[];
}

const MARK: Readonly<Record<string, string>> = { succeeded: '✔', failed: '✖', running: '▸', queued: '·', cancelled: '✖', 'waiting-for-retry': '↻' };

/**
 * A deploy as a waterfall: `░` waits in the queue, `█` works. Bars are at least one cell wide, so that what was too quick to draw is
 * still seen; the figures beside them are exact. `now` ends bars that are still growing. `all` lists every engine call.
 */
export function waterfall(trace: Trace, now: number, columns: number, all = false): string[] {
  const wide = Math.min(columns || 100, 140);
  const width = Math.max(8, wide - 58);
  // what a failure says is never cut
  const fit = (line: string): string => (line.length <= wide || line.startsWith(' !     ') ? line : `${line.slice(0, wide - 1)}…`);
  const from = trace.requestedAt;
  const to = Math.max(from + 1, trace.endedAt ?? now);
  const cell = (at: number): number => Math.max(0, Math.min(width, Math.round(((at - from) / (to - from)) * width)));
  const head = `${trace.app} ${trace.what ?? 'deploy'} ${trace.deploy}: ${trace.status}${trace.release === null ? '' : ` → v${trace.release}`} in ${seconds(to - from)}`;
  const lines = [
    `=====> ${head}`,
    `       ${[trace.kind, trace.commit?.slice(0, 7), trace.subject && `"${trace.subject}"`, `by ${trace.by}`].filter(Boolean).join(' ')}`,
    `       trace ${trace.trace}`,
    '',
    `       ${'STEP'.padEnd(9)}${'WAIT'.padStart(8)}${'WORK'.padStart(9)}  ${'0'.padEnd(width - 7)}${seconds(to - from).padStart(7)}  WORKER`,
  ];
  if (trace.startedAt !== null && trace.startedAt - from > 50) lines.push(bar('behind', trace.startedAt - from, 0, '░'.repeat(Math.max(1, cell(trace.startedAt))), width, '(behind another)'));
  for (const step of trace.steps) {
    const end = step.endedAt ?? now;
    const begin = step.startedAt ?? end;
    const a = Math.min(cell(step.queuedAt), width - 1);
    // what worked has a cell of its own, also at the right edge
    const b = Math.min(Math.max(a, cell(begin)), step.startedAt === null ? width : width - 1);
    const c = Math.max(step.startedAt === null ? b : b + 1, cell(end));
    const drawn = `${' '.repeat(a)}${'░'.repeat(b - a)}${'█'.repeat(c - b)}`;
    const tail = [step.worker ?? '', step.attempts > 1 ? `attempt ${step.attempts}` : ''].filter(Boolean).join('  ');
    lines.push(bar(`${MARK[step.status] ?? ' '} ${step.step}`, step.waitedMs, step.startedAt === null ? 0 : end - begin, drawn, width, tail));
    const calls = all ? step.calls : step.calls.toSorted((x, y) => y.ms - x.ms).slice(0, 3).filter((call) => call.ms >= 10);
    for (const call of calls) lines.push(`         · ${call.name.padEnd(24)} ${seconds(call.ms).padStart(8)}  ${call.detail}`.trimEnd());
    if (step.failure) {
      lines.push(` !     ${step.failure.code}: ${step.failure.message}`);
      if (step.failure.hint) lines.push(` !     ${step.failure.hint}`);
      lines.push(` !     again from here: berth jobs:retry ${step.job}`);
    }
  }
  return lines.map(fit);
}

function bar(name: string, waitMs: number, workMs: number, drawn: string, width: number, tail: string): string {
  return `       ${name.padEnd(9)}${seconds(waitMs).padStart(8)}${seconds(workMs).padStart(9)}  ${drawn.slice(0, width).padEnd(width)}  ${tail}`.trimEnd();
}
