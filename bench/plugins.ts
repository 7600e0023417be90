/** What ten installed executable plugins cost a deploy: the same push with none, with ten that have a hook each over the five steps, and with ten that are all asked at one. `bench/README.md` */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startBerth } from '../test/lib/berth-fixture.js';
import { machine, option, random, removeImages, sleep, Table, tinyImage, verdict } from './lib.js';

const RUNS = option('runs', 10);
const COUNT = option('plugins', 10);
const STEPS = ['clone', 'detect', 'build', 'release', 'route'] as const;
const SETS = { none: null, spread: (i: number) => STEPS[i % STEPS.length]!, together: () => 'release' } as const;
type Set = keyof typeof SETS;

const name = `bench${random()}`;
const base = await tinyImage(`${name}/base:1`);
const files = (text: string): Record<string, string> => ({ Dockerfile: `FROM ${base}\nEXPOSE 5000\nCOPY index.html /www/index.html\nCMD ["httpd", "-f", "-p", "5000", "-h", "/www"]\n`, 'index.html': `${text}\n` });
const berth = await startBerth({ instance: name });
const members = (set: Set): string[] => (SETS[set] === null ? [] : Array.from({ length: COUNT }, (_, i) => `${set}-${i}`));
const must = async (...args: string[]): Promise<void> => {
  const { code, out, err } = await berth.cli(args);
  if (code !== 0) throw new Error(`berth ${args.join(' ')}: ${out}${err}`);
};

interface Event { type: string; at: number; data: { deploy: number; replies?: { tookMs: number }[] } }
/** Of the newest deploy: from its start to its end, and the slowest hook of each time that plugins were asked, added up. */
async function deployed(): Promise<{ took: number; asked: number; hooks: number }> {
  const { out } = await berth.cli(['events', 'tiny', '--json', '--type', 'DeployStarted,StepExtended,DeploySucceeded']);
  const all = out.trim().split('\n').map((line) => (JSON.parse(line) as { data: Event }).data);
  const deploy = Math.max(...all.map((each) => each.data.deploy));
  const of = all.filter((each) => each.data.deploy === deploy);
  const replies = of.flatMap((each) => (each.data.replies ? [each.data.replies.map(({ tookMs }) => tookMs)] : []));
  return { took: of.find((each) => each.type === 'DeploySucceeded')!.at - of.find((each) => each.type === 'DeployStarted')!.at, asked: replies.reduce((sum, each) => sum + Math.max(...each), 0), hooks: replies.flat().length };
}

try {
  for (const set of ['spread', 'together'] as const) {
    for (const [i, plugin] of members(set).entries()) {
      const folder = join(berth.root, 'work', plugin);
      mkdirSync(folder);
      writeFileSync(join(folder, 'hook.sh'), `#!/bin/sh\necho '{ "add": { "env": { "FROM_${i}": "x" }, "labels": { "from": "${i}" } } }'\n`, { mode: 0o755 });
      writeFileSync(join(folder, 'berth-plugin.json'), JSON.stringify({ name: plugin, version: '1.0.0', description: 'bench', berth: '*', protocol: 1, hooks: [{ step: SETS[set](i), when: 'before', run: ['./hook.sh'] }] }));
      await must('plugin:install', folder);
      await must('plugin:disable', plugin);
    }
  }
  const dir = await berth.repo(files('version 0'));
  const first = await berth.push(dir, 'tiny');
  if (first.code !== 0) throw new Error(first.output);
  const took: Record<Set, number[]> = { none: [], spread: [], together: [] };
  const asked: Record<Set, number[]> = { none: [], spread: [], together: [] };
  for (let run = 0; run <= RUNS; run++) {
    for (const set of Object.keys(SETS) as Set[]) {
      for (const plugin of members(set)) await must('plugin:enable', plugin);
      await berth.commit(dir, files(`version ${run} ${set}`));
      await sleep(300);
      const { code, output } = await berth.push(dir, 'tiny');
      if (code !== 0) throw new Error(output);
      const deploy = await deployed();
      if (deploy.hooks !== members(set).length) throw new Error(`${deploy.hooks} hooks were asked, not ${members(set).length}`);
      for (const plugin of members(set)) await must('plugin:disable', plugin);
      if (run === 0) continue; // caches fill
      took[set].push(deploy.took);
      asked[set].push(deploy.asked);
    }
  }
  const table = new Table('a deploy, from its start to its end');
  const none = table.add('no plugin', took.none);
  const spread = table.add(`${COUNT} plugins, a hook each, over five steps`, took.spread, took.none);
  const together = table.add(`${COUNT} plugins, all before release`, took.together, took.none);
  table.add('  of that asking, over five steps', asked.spread);
  table.add('  of that asking, all before release', asked.together);
  table.print();
  verdict(`${COUNT} plugins over five steps, p50`, spread.p50 - none.p50, 100, 'ms');
  verdict(`${COUNT} plugins before release, p50`, together.p50 - none.p50, 100, 'ms');
  console.log(`minima: ${spread.min - none.min} ms and ${together.min - none.min} ms more than without`);
  console.log(machine());
} finally {
  await berth.stop();
  await removeImages(`${name}/`);
}
