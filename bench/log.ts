/** A server with a long log: replay, start, reads, time travel, memory. `bench/README.md` */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../src/config.js';
import { openStore } from '../src/events/open-store.js';
import { masterKey, SecretBox } from '../src/events/seal.js';
import type { EventStore } from '../src/events/store.port.js';
import { BOARD, emptyBoard, type Board } from '../src/modules/read/board.projection.js';
import { Projection } from '../src/modules/read/projection.js';
import { startBerth, type Fixture } from '../test/lib/berth-fixture.js';
import { standIn, type Shown } from './lib.engine.js';
import { live } from './lib.life.js';
import { family, lateness, machine, memoryOf, option, random, ticksOf, sleep, spread, Table, timed, verdict, word } from './lib.js';

const LIFE = { apps: option('apps', 200), deploys: option('deploys', 20_000), events: option('events', 1_000_000) };
const RUNS = option('runs', 100);
const STARTS = option('starts', 5);
const only = word('only')?.split(',') ?? ['replay', 'start', 'reads', 'travel', 'rebuild', 'memory'];
/** made at the first run, and kept for the next ones, when it is named */
const kept = word('log');
const root = kept ?? mkdtempSync(join(tmpdir(), 'berth-bench-log-'));
const instance = 'benchlog';

const config = readConfig({ BERTH_ROOT: root, BERTH_INSTANCE: instance, BERTH_DOMAIN: 'test.localhost' });
const file = join(root, 'berth.db');

async function make(): Promise<void> {
  const done = join(root, 'life.json');
  if (existsSync(done)) return console.log(`log of ${readFileSync(done, 'utf8').trim()} in ${file}`);
  mkdirSync(root, { recursive: true });
  const store = await openStore(config.store);
  const now = Date.now();
  const { ms, value } = await timed(() => live(store, new SecretBox(store, masterKey(join(root, 'keys', 'master.key'))), config, { ...LIFE, from: now - 2 * 365 * 86_400_000, to: now - 3_600_000, seed: 7 }));
  await store.close();
  writeFileSync(done, `${value.apps.length} apps, ${value.deploys} deploys, ${value.written} events\n`);
  console.log(`wrote ${readFileSync(done, 'utf8').trim()} in ${(ms / 1000).toFixed(0)} s: ${(statSync(file).size / 2 ** 20).toFixed(0)} MB`);
}

/** The board from the log alone, without snapshots. */
const boardOf = (store: EventStore): Promise<Readonly<Board>> => new Projection({
  readAll: (...of) => store.readAll(...of), snapshot: async () => null, saveSnapshot: async () => {}, forgetSnapshots: async () => {},
}, 'board', BOARD).now();

async function replay(store: EventStore): Promise<void> {
  const [times, cpu]: [number[], number[]] = [[], []];
  for (let n = 0; n < 3; n += 1) {
    const before = process.cpuUsage();
    times.push((await timed(() => boardOf(store))).ms);
    const used = process.cpuUsage(before);
    cpu.push((used.user + used.system) / 1000);
  }
  console.log(`replay of ${await store.head()} events into the board: ${times.map((ms) => (ms / 1000).toFixed(2)).join(', ')} s; of which on a CPU: ${cpu.map((ms) => (ms / 1000).toFixed(2)).join(', ')} s`);
  verdict('replay of the log, best of 3', spread(times).min / 1000, 5, 's');
  verdict('replay of the log, CPU, best of 3', spread(cpu).min / 1000, 5, 's');
}

const agent = new Agent({ keepAlive: true, maxSockets: 4 });
function ask(where: { socketPath: string } | { host: string; port: number }, method: string, path: string, body?: object, token?: string): Promise<{ status: number; body: string }> {
  return new Promise((yes, no) => {
    const text = body && JSON.stringify(body);
    const sent = request({ ...where, agent, method, path, headers: { ...(text && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }), ...(token && { authorization: `Bearer ${token}` }) } }, (reply) => {
      let all = '';
      reply.setEncoding('utf8').on('data', (piece: string) => { all += piece; }).on('end', () => yes({ status: reply.statusCode ?? 0, body: all })).on('error', no);
    });
    sent.on('error', no);
    sent.end(text);
  });
}

const memory = (berth: Fixture, title: string): void => {
  console.log(`${title.padEnd(34)} ${'RSS MB'.padStart(8)} ${'PSS MB'.padStart(8)}`);
  const sum = { rss: 0, pss: 0 };
  for (const program of berth.programs.values()) {
    if (program.name === 'sshd' || !program.pid) continue;
    const m = family(program.pid).map(memoryOf).reduce((a, b) => ({ rss: a.rss + b.rss, pss: a.pss + b.pss, own: a.own + b.own }));
    sum.rss += m.rss; sum.pss += m.pss;
    console.log(`  ${program.name.padEnd(32)} ${(m.rss / 1024).toFixed(0).padStart(8)} ${(m.pss / 1024).toFixed(0).padStart(8)}`);
  }
  console.log(`  ${'together'.padEnd(32)} ${(sum.rss / 1024).toFixed(0).padStart(8)} ${(sum.pss / 1024).toFixed(0).padStart(8)}`);
};

async function started(berth: Fixture, name: string): Promise<{ ms: number; cpu: number }> {
  const program = berth.program(name);
  await program.down('SIGTERM');
  const began = performance.now();
  program.start();
  if (name === 'api') {
    const socket = { socketPath: join(berth.runDir, 'admin.sock') };
    while ((await ask(socket, 'GET', '/v1/apps').catch(() => null))?.status !== 200) await sleep(5);
  } else {
    const before = program.log(1000).split(' ready in ').length;
    while (program.log(1000).split(' ready in ').length === before) await sleep(5);
  }
  return { ms: performance.now() - began, cpu: ticksOf(program.pid!) * 10 };
}

async function starts(berth: Fixture, forget: () => Promise<void>): Promise<void> {
  const table = new Table('start → ready', 'ms');
  for (const [what, program] of [['api, board folded from the log', 'api'], ['api, board on disk', 'api'], ['worker', 'clone-1'], ['worker', 'route-1']] as const) {
    const all: { ms: number; cpu: number }[] = [];
    for (let n = 0; n < STARTS; n += 1) {
      if (what.includes('folded')) await forget();
      all.push(await started(berth, program));
      await sleep(3000); // its snapshot is kept beside the answers
    }
    const [wall, cpu] = [table.add(`${what} (${program})`, all.map((one) => one.ms)), table.add('    of which on a CPU', all.map((one) => one.cpu))];
    verdict(`start to ready, ${what} (${program})`, wall.min / 1000, 5, 's');
    verdict('    of which on a CPU', cpu.min / 1000, 5, 's');
  }
  table.print();
}

interface Samples { busiest: string; app: string; deploys: number; releases: number; middle: number; time: string; job: string; position: number }

function paths({ busiest, app, deploys, releases, job }: Samples): [string, string][] {
  const some = 1 + Math.floor(deploys / 2);
  return [
    ['apps:list', '/v1/apps'], ['apps:report', '/v1/reports/apps'], ['apps:info', `/v1/apps/${app}`], ['ps:report', '/v1/reports/ps'], ['domains:report', '/v1/reports/domains'], ['git:report', '/v1/reports/git'],
    ['deploys', `/v1/apps/${busiest}/deploys`], ['deploys -n 1000', `/v1/apps/${busiest}/deploys?num=1000`], ['deploys:show', `/v1/apps/${busiest}/deploys/${some}`], ['deploys:follow (over)', `/v1/apps/${busiest}/deploys/${some}/output`],
    ['trace, newest', `/v1/apps/${busiest}/deploys/${deploys}/trace`], ['trace, old', `/v1/apps/${busiest}/deploys/${some}/trace`], ['releases', `/v1/apps/${busiest}/releases`],
    ['events', '/v1/events'], ['events -n 1000', '/v1/events?num=1000'], ['events --app', `/v1/events?app=${busiest}`], ['events --type', '/v1/events?type=DeployFailed'], ['events --type, two, app', `/v1/events?type=DeployFailed,StepFailed&app=${busiest}`],
    ['events --actor', '/v1/events?actor=key:anna'], ['events --actor, rare', '/v1/events?actor=root@bench'], ['events --actor, none', '/v1/events?actor=key:nobody'], ['events --since 2h', '/v1/events?since=2h'], ['events --since 400d -n 50', '/v1/events?since=400d&num=50'], ['events --until 400d', '/v1/events?until=400d'],
    ['events --since 400d --until 399d --type', '/v1/events?since=400d&until=399d&type=ImageBuilt'], ['events --after', '/v1/events?after=500000&num=50'],
    ['jobs:list', '/v1/jobs'], ['jobs:list --all, an app', `/v1/jobs?app=${busiest}&all=true`], ['jobs:failed', '/v1/jobs/failed'], ['jobs:show', `/v1/jobs/${job}`], ['doctor', '/v1/doctor'], ['state', `/v1/apps/${app}/state`], ['state, busiest app', `/v1/apps/${busiest}/state`],
    ['diff', `/v1/apps/${busiest}/diff?from=v${Math.max(1, releases - 1)}&to=v${releases}`], ['config:keys', `/v1/apps/${app}/config-keys`], ['config:show', `/v1/apps/${app}/config`], ['workers', '/v1/workers'], ['version', '/v1/version'],
  ];
}

async function reads(berth: Fixture, samples: Samples, token: string): Promise<void> {
  const doors = [['unix socket', { socketPath: join(berth.runDir, 'admin.sock') }, undefined], ['HTTP', { host: '127.0.0.1', port: berth.apiPort }, token], ['HTTP, while 20/s are written', { host: '127.0.0.1', port: berth.apiPort }, token]] as const;
  for (const [door, where, bearer] of doors) {
    const writes = door.includes('written');
    const api = (): number => berth.program('api').pid!;
    const table = new Table(`${door}, ${RUNS} each`, 'ms', 1);
    const noise = lateness();
    const written: number[] = [];
    let writing = true;
    const writer = (async () => {
      for (let n = 0; writes && writing; n += 1) {
        const began = performance.now();
        const { status, body } = await ask(where, 'POST', `/v1/apps/app-${String(n % LIFE.apps).padStart(3, '0')}/config`, { pairs: [`BENCH=${n}`], noRestart: true }, bearer);
        if (status >= 300) throw new Error(`writing: ${status} ${body}`);
        written.push(performance.now() - began);
        await sleep(Math.max(0, 50 - (performance.now() - began)));
      }
    })();
    const everything: number[] = [];
    const costs: [string, number][] = [];
    const missed: string[] = [];
    try {
      for (const [name, path] of paths(samples)) {
        const get = async (): Promise<number> => {
          const { ms, value } = await timed(() => ask(where, 'GET', path, undefined, bearer));
          if (value.status !== 200) throw new Error(`${name}: ${value.status} ${value.body.slice(0, 300)}`);
          return ms;
        };
        for (let n = 0; n < 3; n += 1) await get();
        const before = ticksOf(api());
        const times: number[] = [];
        for (let n = 0; n < RUNS; n += 1) times.push(await get());
        everything.push(...times);
        costs.push([name, (ticksOf(api()) - before) * 10 / RUNS]);
        if (table.add(name, times).p95 > 20) missed.push(`${name} ${spread(times).p95.toFixed(1)}`);
      }
    } finally {
      writing = false;
      await writer;
      noise.stop();
    }
    table.add('all of them', everything);
    if (writes) table.add('the writes', written);
    table.add('(lateness of this machine)', noise.values);
    table.print();
    verdict(`reads over ${door}, p95 of all`, spread(everything).p95, 20, 'ms');
    if (!writes) console.log(`CPU of the API a request, the dearest: ${costs.sort((a, b) => b[1] - a[1]).slice(0, 12).map(([name, ms]) => `${name} ${ms.toFixed(1)} ms`).join(', ')}`);
    if (missed.length > 0) console.log(`MISSED of each: ${missed.join(', ')}`);
    console.log(machine());
  }
}

async function travel(berth: Fixture, { busiest, app, middle, time, releases, position }: Samples): Promise<void> {
  const where = { socketPath: join(berth.runDir, 'admin.sock') };
  const table = new Table(`time travel, ${RUNS} each`, 'ms', 1);
  const of = async (name: string, path: string, method = 'GET'): Promise<void> => {
    const times: number[] = [];
    for (let n = -2; n < RUNS; n += 1) {
      const { ms, value } = await timed(() => ask(where, method, path, method === 'GET' ? undefined : {}));
      if (value.status >= 500 || (method === 'GET' && value.status !== 200)) throw new Error(`${name}: ${value.status} ${value.body.slice(0, 300)}`);
      if (n >= 0) times.push(ms);
    }
    verdicts.push([name, table.add(name, times).p95]);
  };
  const verdicts: [string, number][] = [];
  await of('state --at position, an app', `/v1/apps/${app}/state?at=${middle}`);
  await of('state --at time, an app', `/v1/apps/${app}/state?at=${time}`);
  await of('state --at position, busiest app', `/v1/apps/${busiest}/state?at=${middle}`);
  await of('state --at time, busiest app', `/v1/apps/${busiest}/state?at=${time}`);
  await of('state --at 1h, busiest app', `/v1/apps/${busiest}/state?at=1h`);
  await of('diff of old releases, busiest app', `/v1/apps/${busiest}/diff?from=v${Math.max(1, Math.floor(releases / 2))}&to=v${releases}`);
  await of('events of the busiest app', `/v1/events?app=${busiest}&num=1000`);
  await of('events of the busiest app, old', `/v1/events?app=${busiest}&until=400d`);
  await of('undo that is refused (a deploy\'s event)', `/v1/events/${position}/undo`, 'POST');
  table.print();
  for (const [name, p95] of verdicts) verdict(`${name}, p95`, p95, 300, 'ms');
}

async function rebuilds(berth: Fixture): Promise<void> {
  const where = { socketPath: join(berth.runDir, 'admin.sock') };
  const waits: number[] = [];
  const outcome = timed(() => berth.cli(['projections:rebuild'], { timeoutMs: 120_000 }));
  let over = false;
  void outcome.finally(() => { over = true; });
  while (!over) {
    waits.push((await timed(() => ask(where, 'GET', '/v1/apps'))).ms);
    await sleep(5);
  }
  const { ms, value } = await outcome;
  const table = new Table('apps:list while the board is rebuilt', 'ms', 1);
  table.add('apps:list', waits);
  table.print();
  console.log(`${value.out.trim()} ${value.err.trim()} (${(ms / 1000).toFixed(1)} s, exit ${value.code})`);
}

await make();
const store = await openStore(config.store);
let berth: Fixture | null = null;
let engine: Awaited<ReturnType<typeof standIn>> | null = null;
try {
  if (only.includes('replay')) await replay(store);
  const board = await boardOf(store);
  const id = (app: string): string => board.names[app]!;
  const busiest = Object.keys(board.names).sort((a, b) => board.deploys[id(b)]!.length - board.deploys[id(a)]!.length)[0]!;
  const middling = Object.keys(board.names).sort()[LIFE.apps >> 1]!;
  const containers: Shown[] = Object.values(board.apps).flatMap((app) => (app.live?.containers ?? []).map((c) => ({ id: c.id, name: c.name, ip: c.ip, labels: { 'berth.instance': instance, 'berth.app': app.id, 'berth.deploy': String(app.live!.deploy), 'berth.release': String(app.live!.release), 'berth.type': c.type, 'berth.index': String(c.index) } })));
  const middle = Math.floor((await store.head()) / 2);
  const [at] = await store.readAll(middle - 1, 1);
  const samples: Samples = {
    busiest, app: middling, deploys: board.deploys[id(busiest)]!.length, releases: board.apps[id(busiest)]!.releases.at(-1)!.number, middle, time: encodeURIComponent(new Date(at!.at).toISOString()),
    job: board.deploys[id(busiest)]!.findLast((d) => d.steps.some((s) => s.step === 'build'))!.steps.find((s) => s.step === 'build')!.job,
    position: (await store.readStream(`pipeline-${id(busiest)}`)).at(-1)!.position,
  };
  console.log(`busiest app: ${busiest}, ${samples.deploys} deploys, ${(await store.readStream(`pipeline-${id(busiest)}`)).length} events of its pipeline; ${containers.length} containers run`);
  if (only.some((part) => part !== 'replay')) {
    const socket = join(tmpdir(), `bench-engine-${random()}.sock`);
    engine = await standIn(socket, () => containers);
    berth = await startBerth({ root, instance, env: { NODE_ENV: 'production', BERTH_DOCKER: socket }, readyMs: 120_000 });
    await sleep(5000);
    if (only.includes('memory')) memory(berth, 'memory, just started');
    if (only.includes('start')) await starts(berth, async () => { await store.saveSnapshot('board', BOARD.version, 0, JSON.stringify(emptyBoard())); });
    await berth.ready(60_000);
    const token = (await berth.cli(['tokens:create', `bench-${random()}`])).out.trim();
    if (only.includes('reads')) await reads(berth, samples, token);
    if (only.includes('travel')) await travel(berth, samples);
    if (only.includes('rebuild')) await rebuilds(berth);
    if (only.includes('memory')) {
      await sleep(10_000);
      memory(berth, 'memory, afterwards');
    }
  }
  console.log(machine());
} finally {
  await berth?.stop();
  engine?.close();
  engine?.closeAllConnections();
  await store.close();
  if (!kept) rmSync(root, { recursive: true, force: true });
}
