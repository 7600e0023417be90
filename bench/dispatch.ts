/** Event appended → the job starts in a worker, by the recorded waits and by a clock of our own. `bench/README.md` */
import { readdirSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { openStore } from '../src/events/open-store.js';
import { startBerth } from '../test/lib/berth-fixture.js';
import { lateness, machine, option, random, sleep, Table, verdict } from './lib.js';

const JOBS = option('jobs', 300);
const berth = await startBerth({ instance: `bench${random()}`, env: { NODE_ENV: 'production' } });
interface Row { type: string; at: number; data: { job?: string; waitedMs?: number; step?: string } }
const rows = (): Row[] => {
  const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
  try {
    return db.prepare("SELECT type, at, data FROM events WHERE type IN ('StepQueued', 'StepStarted') ORDER BY position").all().map((row) => ({ ...row, data: JSON.parse(String(row['data'])) }) as unknown as Row);
  } finally {
    db.close();
  }
};

try {
  // a push with nothing to detect: clone runs, detect runs and refuses; nothing is built, so that only dispatching is measured
  const dir = await berth.repo({ 'README.txt': 'nothing to detect here\n' });
  const token = (await berth.cli(['tokens:create', 'bench'])).out.trim();
  await berth.push(dir, 'empty');
  // the refused push left no commit behind: it goes in by hand, as a restored repository would
  const sha = (await berth.git(dir, 'rev-parse', 'HEAD')).trim();
  const [bare] = readdirSync(join(berth.root, 'repos')) as [string];
  await berth.git(dir, 'push', '-q', join(berth.root, 'repos', bare), 'HEAD:refs/heads/main');
  // the other clock: this process hears of both events through the store, whatever they say of themselves
  const store = await openStore(`sqlite:${join(berth.root, 'berth.db')}`);
  const heard = new Map<string, { queued?: number; started?: number }>();
  let position = await store.head();
  let reading: Promise<void> = Promise.resolve();
  const read = async (): Promise<void> => {
    const events = await store.readAll(position, 1000);
    const now = performance.now();
    position = events.at(-1)?.position ?? position;
    for (const { type, data } of events as { type: string; data: { job?: string } }[]) {
      if (data.job && type === 'StepQueued') heard.set(data.job, { ...heard.get(data.job), queued: now });
      if (data.job && type === 'StepStarted') heard.set(data.job, { ...heard.get(data.job), started: now });
    }
  };
  const deaf = store.changes(() => { reading = reading.then(read); });
  const noise = lateness();
  while (rows().filter((row) => row.type === 'StepStarted').length < JOBS) {
    const { status, body } = await berth.api('/v1/apps/empty/deploys', { method: 'POST', body: JSON.stringify({ commit: sha }), headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` } });
    if (status !== 202) throw new Error(`${status} ${body}`);
    await sleep(60 + Math.random() * 40);
  }
  await sleep(1000);
  noise.stop();
  deaf();
  await reading;
  await store.close();
  const all = rows();
  const queued = new Map(all.filter((row) => row.type === 'StepQueued').map((row) => [row.data.job, row.at]));
  const started = all.filter((row) => row.type === 'StepStarted').slice(-JOBS);
  const table = new Table(`dispatch, ${started.length} jobs`, 'ms', 1);
  const recorded = table.add('StepStarted.waitedMs', started.map((row) => row.data.waitedMs ?? NaN));
  table.add('StepQueued.at → StepStarted.at', started.map((row) => row.at - (queued.get(row.data.job) ?? NaN)));
  table.add('both as heard by a third process', [...heard.values()].flatMap(({ queued, started }) => (queued === undefined || started === undefined ? [] : [started - queued])));
  for (const step of ['clone', 'detect']) table.add(`    of them ${step}`, started.filter((row) => row.data.job?.endsWith(step)).map((row) => row.data.waitedMs ?? NaN));
  table.add('a timer of this process is late by', noise.values);
  table.print();
  if (process.argv.includes('--slow')) for (const row of started.filter(({ data }) => (data.waitedMs ?? 0) > 30)) console.log(new Date(row.at).toISOString(), row.data.job, row.data.waitedMs);
  verdict('dispatch p50', recorded.p50, 10, 'ms');
  verdict('dispatch p99', recorded.p99, 50, 'ms');
  console.log(machine());
} finally {
  await berth.stop();
}
