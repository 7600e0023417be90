/** What Berth costs when nothing happens: memory and CPU of its processes, each and together. `bench/README.md` */
import { startBerth } from '../test/lib/berth-fixture.js';
import { family, machine, memoryOf, option, random, sleep, ticksOf, verdict } from './lib.js';

const SECONDS = option('seconds', 30);
const APPS = option('apps', 0);
const berth = await startBerth({ instance: `bench${random()}`, env: { NODE_ENV: 'production' } });
try {
  for (let n = 0; n < APPS; n++) await berth.cli(['apps:create', `app-${n}`]);
  await sleep(option('settle', 15) * 1000);
  const own = [...berth.programs.values()].filter((program) => program.name !== 'sshd');
  const pids = new Map(own.map((program) => [program.name, family(program.pid!)]));
  const ticks = (name: string): number => pids.get(name)!.reduce((sum, pid) => sum + ticksOf(pid), 0);
  const before = new Map(own.map(({ name }) => [name, ticks(name)]));
  const began = performance.now();
  await sleep(SECONDS * 1000);
  const took = (performance.now() - began) / 1000;
  const sum = { rss: 0, pss: 0, own: 0, cpu: 0 };
  const line = (name: string, rss: number, pss: number, mine: number, cpu: number): void => {
    console.log(`${name.padEnd(12)} ${(rss / 1024).toFixed(1).padStart(8)} ${(pss / 1024).toFixed(1).padStart(8)} ${(mine / 1024).toFixed(1).padStart(8)} ${cpu.toFixed(2).padStart(8)}`);
  };
  console.log(`${'process'.padEnd(12)} ${'RSS MB'.padStart(8)} ${'PSS MB'.padStart(8)} ${'own MB'.padStart(8)} ${'CPU %'.padStart(8)}`);
  for (const { name } of own) {
    const memory = pids.get(name)!.map(memoryOf).reduce((a, b) => ({ rss: a.rss + b.rss, pss: a.pss + b.pss, own: a.own + b.own }));
    const cpu = (ticks(name) - before.get(name)!) / took;
    line(name, memory.rss, memory.pss, memory.own, cpu);
    sum.rss += memory.rss; sum.pss += memory.pss; sum.own += memory.own; sum.cpu += cpu;
  }
  line('together', sum.rss, sum.pss, sum.own, sum.cpu);
  verdict('memory, PSS together', sum.pss / 1024, 450, 'MB');
  verdict('memory, RSS together', sum.rss / 1024, 450, 'MB');
  verdict(`CPU over ${SECONDS} s`, sum.cpu, 1, '% of a core');
  console.log(machine());
} finally {
  await berth.stop();
}
