/**
 * The way from a source to the first answer through our driver: cached build, create, start, first 200.
 * `npx rolldown bench/engine.ts --platform node --format esm -o /tmp/bench-engine.mjs --external dockerode && node_modules/.bin/node /tmp/bench-engine.mjs`
 */
import { DockerDriver } from '../src/drivers/engine/docker.driver.js';
import { DockerVolumeDriver } from '../src/drivers/engine/docker.volume.driver.js';
import { releaseStep } from '../src/workers/release/release.step.js';
import { buildStep } from '../src/workers/build/build.step.js';
import { waitUntilHealthy, httpProbe } from '../src/workers/release/check.js';
import { baseImages, mark, plan, random, removeAll, request, stepContext, tarFile, tarOf } from '../test/e2e/engine.kit.js';

const RUNS = 10;
const instance = `bench${random()}`;
const engine = new DockerDriver('/var/run/docker.sock');
const signal = new AbortController().signal;
const check = { path: '/', timeoutMs: 1000, attempts: 10, waitMs: 100 };
const taken = new Map<string, number[]>();
async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  taken.set(name, [...(taken.get(name) ?? []), performance.now() - started]);
  return result;
}

try {
  const { busybox } = await baseImages(engine, instance);
  const files = { Dockerfile: `FROM ${busybox}\nCOPY a.txt /a.txt\nRUN echo hi > /b.txt\nCMD ["/bin/server", "-port", "5000"]\n`, 'a.txt': 'a' };
  const tag = `${instance}/app:1`;
  await engine.build(tarOf(files), request({ tag, labels: { instance } }));
  for (let run = 0; run < RUNS; run += 1) {
    await timed('driver total', async () => {
      const image = await timed('  build (cached)', () => engine.build(tarOf(files), request({ tag, labels: { instance, deploy: run } })));
      const id = await timed('  create', () => engine.createContainer({ name: `${instance}-${run}`, image: image.id, cmd: null, env: {}, labels: { instance }, network: null, memory: 0, cpus: 0, pids: 0, restart: 'no' }));
      await timed('  start', () => engine.startContainer(id));
      await timed('  first 200', async () => waitUntilHealthy({ ip: (await engine.inspectContainer(id))?.ip ?? '', port: 5000, host: 'x' }, check, httpProbe, signal));
    });
  }
  const config = { instance, buildCa: null, buildProxy: {}, networkPool: '10.213.0.0/16' };
  const source = await tarFile(files);
  const calls = new Map<string, number[]>();
  for (let run = 1; run <= RUNS; run += 1) {
    await timed('steps total', async () => {
      const over = { app: 'a', deploy: run };
      const built = await timed('  build step', () => buildStep({ engine, config, env: () => ({}), mark })(stepContext('build', { app: 'a', name: 'bench', source, plan: plan({ check }), configVersion: 1, limits: { memory: 1 << 30, cpus: 1, timeoutMs: 60_000 } }, over)));
      const context = stepContext('release', { ...built, app: 'a', name: 'bench', sha: null, configVersion: 1, check, port: 5000, number: run, isNew: true, runReleaseCommand: false, formation: { web: 1 }, limits: { memory: 0, cpus: 0 }, hosts: [], keep: [] }, over);
      Object.assign(context.log, { call: (name: string, ms: number) => void calls.set(name, [...(calls.get(name) ?? []), ms]) });
      await timed('  release step', () => releaseStep({ engine, config, env: () => ({}), volumes: new DockerVolumeDriver('/var/run/docker.sock', config.instance) })(context));
    });
  }
  const row = (name: string, all: readonly number[]): void => {
    const ms = all.toSorted((a, b) => a - b).map(Math.round);
    console.log(`${name.padEnd(24)} ${ms[0]}/${ms[Math.floor(ms.length / 2)]}/${ms.at(-1)} ms`);
  };
  console.log(`min/median/max of ${RUNS} runs`);
  for (const [name, all] of taken) row(name, all);
  console.log('calls of the release step');
  for (const [name, all] of calls) row(`  ${name}`, all);
} finally {
  await removeAll(engine, instance);
}
