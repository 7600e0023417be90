import { parseArgs } from 'node:util';
import { hunt } from './hunt.js';
import { inMacrotask, simulate, tell, type Result, type Story } from './run.js';

/** told beside every so many lives */
const STORY_EVERY = 100;
const STORY: Story = 'ten deploys, Redis away for 60 s';

const { values } = parseArgs({ options: { seeds: { type: 'string', default: '1000' }, from: { type: 'string', default: '1' }, seed: { type: 'string' }, trace: { type: 'boolean' }, stop: { type: 'string', default: '5' }, coverage: { type: 'boolean' }, hunt: { type: 'string' }, story: { type: 'boolean' }, every: { type: 'string', default: '1' } } });

if (values.seed !== undefined) {
  const result = await inMacrotask(() => simulate(Number(values.seed), { keep: values.trace ? 1_000_000 : 60, ...(values.story && { story: STORY }) }));
  console.log(tell(result));
  process.exit(result.violation ? 1 : 0);
}

if (values.hunt !== undefined) {
  for (const { name, seeds, law } of await hunt(Number(values.hunt), Number(values.from))) console.log(`${seeds === null ? 'NOT FOUND' : String(seeds).padStart(9)}  ${law.padEnd(14)} ${name}`);
  process.exit(0);
}

const from = Number(values.from);
const count = Number(values.seeds);
const every = Number(values.every);
const coverage = new Map<string, number>();
const laws = new Map<string, number[]>();
const started = performance.now();
let [steps, deploys, virtual, slowest, done, broken] = [0, 0, 0, 0, 0, 0];
function account(result: Result, how = ''): void {
  const { seed } = result;
  done += 1;
  steps += result.steps;
  deploys += result.deploys;
  virtual += result.virtualMs;
  slowest = Math.max(slowest, result.recoveredMs);
  for (const [what, n] of result.coverage) coverage.set(what, (coverage.get(what) ?? 0) + n);
  if (result.violation) {
    const { law, message } = result.violation;
    laws.set(law, [...(laws.get(law) ?? []), seed]);
    if ((broken += 1) <= Number(values.stop)) console.log(`${every > 1 || Number(values.stop) > 20 ? `seed ${seed}: ${message}` : tell(result)}\n  npm run simulate -- --seed ${seed}${how} --trace\n`);
  }
}
for (let seed = from; seed < from + count; seed += every) {
  account(await inMacrotask(() => simulate(seed)));
  if ((seed - from) / every % STORY_EVERY === 0) account(await inMacrotask(() => simulate(seed, { story: STORY })), ' --story');
}
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ done, broken, seconds, steps, deploys, virtual, slowest, laws: [...laws], coverage: values.coverage ? [...coverage].sort() : undefined }));
process.exit(broken > 0 ? 1 : 0);
