/** `berth apps:list` as a whole process on the server, and over SSH, with few and with 1,000 apps. `bench/README.md` */
import { join } from 'node:path';
import { run, startBerth } from '../test/lib/berth-fixture.js';
import { machine, option, random, Table, timed, verdict } from './lib.js';

const RUNS = option('runs', 40);
const APPS = option('apps', 1000);
const berth = await startBerth({ instance: `bench${random()}`, env: { NODE_ENV: 'production' } });
const root = join(import.meta.dirname, '../..');
const list = async (): Promise<void> => {
  const { code, err } = await run(join(root, 'bin/berth'), ['apps:list'], { env: berth.env });
  if (code !== 0) throw new Error(err);
};
const over = async (): Promise<void> => {
  const { code, err } = await berth.ssh('apps:list');
  if (code !== 0) throw new Error(err);
};
const bare = async (): Promise<void> => { await run(process.execPath, ['-e', '0']); };

async function measure(apps: number): Promise<[string, number[]][]> {
  const all: [string, (() => Promise<void>), number[]][] = [['node -e 0', bare, []], [`berth apps:list, ${apps} apps`, list, []], [`ssh apps:list, ${apps} apps`, over, []]];
  for (let n = -3; n < RUNS; n++) {
    for (const [, work, times] of all) {
      const { ms } = await timed(work);
      if (n >= 0) times.push(ms);
    }
  }
  return all.map(([name, , times]) => [name, times]);
}

try {
  for (let n = 0; n < 3; n++) await berth.cli(['apps:create', `app-${n}`]);
  const few = await measure(3);
  const token = (await berth.cli(['tokens:create', 'bench'])).out.trim();
  for (let n = 3; n < APPS; n += 20) {
    await Promise.all(Array.from({ length: Math.min(20, APPS - n) }, async (_, i) => {
      const { status, body } = await berth.api('/v1/apps', { method: 'POST', body: JSON.stringify({ app: `app-${n + i}` }), headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` } });
      if (status !== 201) throw new Error(`${status} ${body}`);
    }));
  }
  const many = await measure(APPS);
  const table = new Table(`${RUNS} runs interleaved`, 'ms', 1);
  const p50 = [...few, ...many].map(([name, times]) => table.add(name, times, few[0]![1]).p50);
  table.print();
  verdict('apps:list', p50[1]!, 60, 'ms');
  verdict(`apps:list with ${APPS} apps`, p50[4]!, 120, 'ms');
  console.log(machine());
} finally {
  await berth.stop();
}
