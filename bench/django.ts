/** The sample blog: one-line change, `git push` → the new page through the router, beside the same Dockerfile built and started by hand. `bench/README.md` */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import Docker from 'dockerode';
import { openSession } from '../src/drivers/engine/buildkit/session.js';
import { CA_SECRETS, withHostCa } from '../src/drivers/engine/dockerfile-ca.js';
import { jks } from '../src/drivers/engine/jks.js';
import type { BuildPlan } from '../src/events/types/deploy.events.js';
import { startBerth } from '../test/lib/berth-fixture.js';
import { answering, contextOf, get, machine, option, random, rawRun, removeImages, sleep, spread, Table, timed, verdict, type RawRun } from './lib.js';

const RUNS = option('runs', 5);
const PAGE = 'blog/templates/blog/base.html';
const sample = join(import.meta.dirname, '../../deploy/samples/blog');
const files = Object.fromEntries(readdirSync(sample, { recursive: true }).map(String).filter((name) => statSync(join(sample, name)).isFile()).map((name) => [name, readFileSync(join(sample, name), 'utf8')]));
const changed = (mark: string): Record<string, string> => ({ ...files, [PAGE]: `${files[PAGE]}<!-- ${mark}. -->\n` });

const name = `bench${random()}`;
const berth = await startBerth({ instance: name });
const docker = new Docker({ socketPath: berth.env['BERTH_DOCKER'] });
const times = { answers: [] as number[], returns: [] as number[], raw: [] as RawRun[], steps: new Map<string, number[]>() };

function planOf(): BuildPlan {
  const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
  try {
    const row = db.prepare("SELECT data FROM events WHERE type = 'BuildpackDetected' ORDER BY position DESC LIMIT 1").get();
    return (JSON.parse(String(row?.['data'])) as { output: BuildPlan }).output;
  } finally {
    db.close();
  }
}

async function byHand(plan: BuildPlan, mark: string): Promise<RawRun> {
  const ca = berth.env['BERTH_BUILD_CA'] ? readFileSync(berth.env['BERTH_BUILD_CA'], 'utf8') : null;
  const dockerfile = ca === null ? plan.dockerfile! : withHostCa(plan.dockerfile!);
  const session = await openSession(docker, ca === null ? {} : { [CA_SECRETS.pem]: ca, [CA_SECRETS.jks]: jks(ca) }, () => Promise.resolve(undefined));
  try {
    return await rawRun({
      tag: `${name}/raw:1`, builder: 'buildkit', query: `&dockerfile=.berth/Dockerfile&session=${session.id}`, context: await contextOf({ ...changed(mark), '.berth/Dockerfile': dockerfile }),
      before: ['/bin/sh', '-c', plan.releaseCommand!], cmd: ['/bin/sh', '-c', `exec ${plan.processTypes['web']!}`], env: ['PORT=5000'], port: 5000, host: 'localhost', right: (body) => body.includes(`<!-- ${mark}.`),
    });
  } finally {
    session.close();
  }
}

try {
  const dir = await berth.repo(changed('version 0'));
  const first = await timed(() => berth.push(dir, 'blog'));
  if (first.value.code !== 0) throw new Error(first.value.output);
  console.log(`first push, with pip's downloads: ${(first.ms / 1000).toFixed(1)} s`);
  const plan = planOf();
  for (let run = 0; run <= RUNS; run++) {
    const raw = await byHand(plan, `raw ${run}`);
    const mark = `version ${run + 1}`;
    await berth.commit(dir, { [PAGE]: changed(mark)[PAGE]! });
    await sleep(300);
    const seen = timed(() => answering(() => get('127.0.0.1', berth.httpPort, '/', `blog.${berth.domain}`), (body) => body.includes(`<!-- ${mark}.`), 120_000, 100));
    const pushed = await timed(() => berth.push(dir, 'blog'));
    if (pushed.value.code !== 0) throw new Error(pushed.value.output);
    const answer = await seen;
    if (run === 0) continue; // caches fill
    times.raw.push(raw);
    times.answers.push(answer.ms);
    times.returns.push(pushed.ms);
    const { steps } = await berth.json<{ steps: { step: string; startedAt: number; endedAt: number }[] }>(['deploys:show', 'blog', String(run + 2)]);
    for (const row of steps) times.steps.set(row.step, [...(times.steps.get(row.step) ?? []), row.endedAt - row.startedAt]);
    if (process.argv.includes('--trace') && run === RUNS) console.log((await berth.cli(['trace', 'blog'])).out);
  }
  const table = new Table(`django, ${RUNS} runs interleaved`);
  const floor = times.raw.map((run) => run.total);
  table.add('by hand: build + migrate + create + start + 200', floor, floor);
  for (const part of ['build', 'before', 'create', 'start', 'answer'] as const) table.add(`    ${part === 'before' ? 'migrate' : part}`, times.raw.map((run) => run[part]));
  const answers = table.add('git push → new page through the router', times.answers, floor);
  table.add('git push → git push returns', times.returns, floor);
  for (const [step, all] of times.steps) table.add(`    ${step}: works`, all);
  table.print();
  const { p50 } = spread(floor);
  verdict(`push against by hand (1.25 × ${p50.toFixed(0)} + 500)`, answers.p50, 1.25 * p50 + 500, 'ms');
  console.log(machine());
} finally {
  await berth.stop();
  await removeImages(`${name}/`);
}
