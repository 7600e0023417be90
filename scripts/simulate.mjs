// npm run simulate -- [--seeds N] [--from N] [--jobs N] [--coverage] | --seed N [--story] [--trace] | --hunt N (planted bugs, at most N seeds each)
// Bundles the simulation (decorators, .js imports) and runs it, in as many processes as asked for.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { rolldown } from 'rolldown';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '2000' }, from: { type: 'string', default: '1' }, seed: { type: 'string' }, trace: { type: 'boolean' }, jobs: { type: 'string', default: '1' }, stop: { type: 'string', default: '5' }, story: { type: 'boolean' }, hunt: { type: 'string' } },
});
// beside node_modules, so that what is not bundled is found
const out = mkdtempSync(join(root, 'node_modules', '.simulate-'));
process.on('exit', () => rmSync(out, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

const build = await rolldown({ input: join(root, 'test/simulation/simulate.ts'), cwd: root, platform: 'node', tsconfig: join(root, 'tsconfig.json'), external: (id) => /^[^./\0]/.test(id) && !id.startsWith('@oxc-project/'), logLevel: 'silent' });
await build.write({ dir: out, format: 'esm', entryFileNames: '[name].mjs' });
await build.close();

const run = (args) => new Promise((done) => {
  const child = spawn(process.execPath, [join(out, 'simulate.mjs'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => { text += chunk; });
  child.on('exit', (code) => done({ text, code: code ?? 1 }));
});

if (values.hunt !== undefined) {
  const { text, code } = await run(['--hunt', values.hunt, '--from', values.from]);
  process.stdout.write(text);
  process.exit(code);
}
if (values.seed !== undefined) {
  const { text, code } = await run(['--seed', values.seed, ...(values.trace ? ['--trace'] : []), ...(values.story ? ['--story'] : [])]);
  process.stdout.write(text);
  process.exit(code);
}

const jobs = Number(values.jobs);
const started = performance.now();
const answers = await Promise.all(Array.from({ length: jobs }, (_, i) => run(['--seeds', String(Number(values.seeds) - i), '--from', String(Number(values.from) + i), '--every', String(jobs), '--stop', values.stop, '--coverage'])));
const total = { done: 0, broken: 0, steps: 0, deploys: 0, virtual: 0, slowest: 0 };
const coverage = new Map();
const laws = new Map();
let bad = false;
for (const { text, code } of answers) {
  const lines = text.trimEnd().split('\n');
  const last = lines.pop() ?? '';
  if (lines.length > 0) console.log(lines.join('\n'));
  if (!last.startsWith('{')) {
    console.log(last);
    bad = true;
    continue;
  }
  bad ||= code !== 0;
  const answer = JSON.parse(last);
  for (const key of ['done', 'broken', 'steps', 'deploys', 'virtual']) total[key] += answer[key];
  total.slowest = Math.max(total.slowest, answer.slowest);
  for (const [law, seeds] of answer.laws) laws.set(law, [...(laws.get(law) ?? []), ...seeds]);
  for (const [what, n] of answer.coverage) coverage.set(what, (coverage.get(what) ?? 0) + n);
}
const seconds = (performance.now() - started) / 1000;
const grouped = Map.groupBy([...coverage].sort(([a], [b]) => (a < b ? -1 : 1)), ([what]) => what.split(/[ :,]/)[0]);
for (const [group, entries] of grouped) {
  if (group === 'interrupted') {
    const where = Map.groupBy(entries, ([what]) => what.replace('interrupted ', '').split(/ (?=before|after)/)[0]);
    console.log(`\ninterrupted (killed or stopped) at ${entries.length} different awaits:`);
    for (const [doing, at] of where) console.log(`  ${doing.padEnd(20)} ${String(at.length).padStart(4)} awaits, ${at.reduce((sum, [, n]) => sum + n, 0)} times`);
  } else {
    console.log('');
    for (const [what, n] of entries) console.log(`  ${String(n).padStart(8)}  ${what}`);
  }
}
console.log(`\n${total.done} seeds in ${seconds.toFixed(1)} s (${(total.done / seconds).toFixed(0)}/s): ${total.deploys} deploys, ${(total.virtual / 3_600_000).toFixed(1)} virtual hours, ${total.steps} steps; slowest recovery ${(total.slowest / 1000).toFixed(1)} s after the last fault`);
for (const [law, seeds] of laws) console.log(`BROKEN ${law}: ${seeds.length} seeds, such as ${seeds.slice(0, 8).join(', ')}`);
console.log(total.broken === 0 && !bad ? 'Every law held.' : `${total.broken} seeds broke a law.`);
process.exit(bad || total.broken > 0 ? 1 : 0);
