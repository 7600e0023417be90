/**
 * How fast six processes append (one event and one work row a transaction), and how soon another process hears of it.
 *
 *     npx rolldown bench/append.ts --platform node --external pg --external rolldown --format esm -o node_modules/.cache/append.mjs && npx node node_modules/.cache/append.mjs [seconds]
 *
 * (a bundle, as plain node resolves no `.js` import to a `.ts` file)
 *
 * Prints one line a run: `saturated` = 8 callers a process as fast as they can, `one caller` = 1, `paced` = 20/s a process;
 * `heard` = the event is in the hands of a listener of `changes` in another process.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster, bundleChild, startChild } from '../test/contract/event-store.harness.js';

const seconds = Number(process.argv[2] ?? '5');
const PROCESSES = 6;

const at = (sorted: readonly number[], part: number): string => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN).toFixed(2);
const spread = (values: number[]): string => {
  values.sort((a, b) => a - b);
  return `p50 ${at(values, 0.5)}  p99 ${at(values, 0.99)}  max ${at(values, 1)} ms`;
};

async function run(title: string, url: string, child: string, callers: number): Promise<void> {
  const watch = callers < 0 ? startChild(child, 'watch', url) : null;
  await watch?.line('ready');
  const writers = Array.from({ length: PROCESSES }, (_, n) => startChild(child, 'bench', url, `${title.replaceAll(' ', '-')}-${n}`, String(seconds * 1000), String(callers)));
  await Promise.all(writers.map((writer) => writer.line('open')));
  for (const writer of writers) writer.process.stdin.end('go\n');
  await Promise.all(writers.map((writer) => writer.ended));
  const waits = writers.map((writer) => JSON.parse(writer.lines.find((line) => line.startsWith('waits '))?.slice(6) ?? '[]') as number[]);
  const unavailable = writers.flatMap((writer) => writer.lines.filter((line) => line.startsWith('unavailable'))).length;
  const each = waits.map((own) => own.length);
  const cpu = writers.flatMap((writer) => writer.lines.filter((line) => line.startsWith('cpu '))).reduce((sum, line) => sum + Number(line.slice(4)), 0);
  console.log(`${title.padEnd(22)} ${Math.round(each.reduce((a, b) => a + b, 0) / seconds).toString().padStart(6)} appends/s  ${spread(waits.flat())}  least/most of a process ${Math.min(...each)}/${Math.max(...each)}  refused ${unavailable}  CPU ${(cpu / each.reduce((a, b) => a + b, 0)).toFixed(0)} µs each`);
  if (!watch) return;
  watch.process.stdin.end();
  await watch.ended;
  const times = new Map<string, readonly number[]>();
  for (const line of writers.flatMap((writer) => writer.lines)) {
    const [what, id = '', ...rest] = line.split(' ');
    if (what === 'wrote') times.set(id, rest.map(Number));
  }
  const heard = watch.lines.map((line) => line.split(' ')).filter(([what, , , id = '']) => what === 'event' && times.has(id));
  const since = (which: number) => heard.map(([, , time, id = '']) => Math.max(0, Number(time) - (times.get(id)?.[which] ?? 0)));
  console.log(`${''.padEnd(22)} heard by another process, from the call: ${spread(since(0))}; from its return: ${spread(since(1))}  (${heard.length} of ${times.size})`);
}

const bundle = await bundleChild();
const dir = mkdtempSync(join(tmpdir(), 'berth-bench-'));
const cluster = Cluster.programs() ? await Cluster.create() : null;
try {
  for (const [kind, url] of [['sqlite', `sqlite:${join(dir, 'berth.db')}`], ...cluster ? [['postgres', await cluster.database()]] : []] as [string, string][]) {
    await run(`${kind} saturated`, url, bundle.file, 8);
    await run(`${kind} one caller`, url, bundle.file, 1);
    await run(`${kind} paced`, url, bundle.file, -20);
  }
} finally {
  await cluster?.remove();
  rmSync(dir, { recursive: true, force: true });
  bundle.remove();
}
