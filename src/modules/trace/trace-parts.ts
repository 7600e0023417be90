import type { NumberedLine } from '../../drivers/logs/log-store.js';
import type { TraceStep } from './waterfall.js';

/** Job → what it was given and what it learnt, from the events of a deploy or an operation. */
export function stepIo(events: readonly { readonly data: object }[]): Map<string, { input: unknown; output: unknown }> {
  const io = new Map<string, { input: unknown; output: unknown }>();
  for (const { data } of events as readonly { data: { job?: string; input?: unknown; output?: unknown } }[]) {
    if (data.job === undefined) continue;
    const seen = io.get(data.job) ?? { input: null, output: null };
    if ('input' in data) seen.input = data.input;
    if ('output' in data) seen.output = data.output;
    io.set(data.job, seen);
  }
  return io;
}

/** A step's engine calls, from its log. */
export const callsOf = (lines: readonly NumberedLine[], s: { step: string; queuedAt: number; endedAt: number | null }): TraceStep['calls'] =>
  lines.filter((l) => l.k === 'c' && l.s === s.step && l.t >= s.queuedAt && (s.endedAt === null || l.t <= s.endedAt + 50)).map((l) => callOf(l.m));

/** `container.start 241ms blog.web.1` as the step log writes it; a name may have a space in it: `git archive`. */
function callOf(text: string): { name: string; ms: number; detail: string } {
  const match = /^(.+?) (\d+(?:\.\d+)?)ms ?(.*)$/.exec(text);
  return match ? { name: match[1]!, ms: Number(match[2]), detail: match[3]! } : { name: text, ms: 0, detail: '' };
}
