import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { pushing } from './berth.kit.js';

/** `berth doctor`: every fault is made, shown with what it means and what to do, and gone when it is mended. */
interface Check { check: string; health: 'ok' | 'warn' | 'bad'; detail: string; means: string | null; todo: string | null }

let berth: Fixture;
const engine = join(tmpdir(), `berth-doctor-${process.pid}.sock`);
const ca = join(tmpdir(), `berth-doctor-${process.pid}.pem`);
let good: Buffer;
let door: Server;
const connections = new Set<Socket>();

/** The engine's socket, behind one that can be taken away. */
async function openEngine(): Promise<void> {
  door = createServer((near) => {
    const far = connect(process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock');
    for (const [from, to] of [[near, far], [far, near]] as const) {
      connections.add(from);
      from.on('error', () => to.destroy()).on('close', () => { connections.delete(from); to.destroy(); }).pipe(to);
    }
  });
  await new Promise<void>((done) => { door.listen(engine, done); });
}
async function closeEngine(): Promise<void> {
  const closed = new Promise((done) => { door.close(done); });
  for (const each of connections) each.destroy();
  await closed;
}

/** A certificate of its own kind with its key, PEM, good for some days. */
function certificate(name: string, days: number): string {
  const [key, cert] = ['key', 'crt'].map((end) => join(tmpdir(), `berth-doctor-${process.pid}.${end}`)) as [string, string];
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', cert, '-days', String(days), '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`], { stdio: 'pipe' });
    return readFileSync(cert, 'utf8') + readFileSync(key, 'utf8');
  } finally {
    for (const file of [key, cert]) rmSync(file, { force: true });
  }
}

beforeAll(async () => {
  await openEngine();
  good = Buffer.from(certificate('ca.example', 100).split('-----BEGIN PRIVATE')[0]!);
  writeFileSync(ca, good);
  berth = await startBerth({ env: { BERTH_DOCKER: engine, BERTH_BUILD_CA: ca } });
});
afterAll(async () => {
  await berth?.stop();
  if (door?.listening) await closeEngine();
  rmSync(ca, { force: true });
});

const checks = async (): Promise<{ code: number; all: Check[] }> => {
  const { code, out, err } = await berth.cli(['doctor', '--json']);
  expect(err).toBe('');
  return { code, all: JSON.parse(out) as Check[] };
};
const one = async (name: string): Promise<Check & { code: number }> => {
  const { code, all } = await checks();
  const found = all.find((c) => c.check === name);
  if (!found) throw new Error(`no check ${name}: ${all.map((c) => c.check).join(', ')}`);
  return { ...found, code };
};
const until = (name: string, health: string): Promise<Check & { code: number }> => berth.until(`${name} to be ${health}`, async () => {
  const check = await one(name);
  return check.health === health && check;
}, 20_000);
const explained = (check: Check): void => expect([check.means, check.todo].map((text) => typeof text === 'string' && text.length > 10), check.check).toEqual([true, true]);

/** A command to the running router. */
const router = (text: string): Promise<string> => new Promise((yes, no) => {
  let said = '';
  const socket = connect(join(berth.runDir, 'haproxy.sock'), () => socket.end(`${text}\n`));
  socket.setEncoding('utf8').on('data', (piece: string) => { said += piece; }).on('error', no).on('close', () => yes(said));
});

it('is content with a new server, in words, in JSON and over HTTP', async () => {
  const words = await berth.cli(['doctor']);
  expect(words.code, words.out + words.err).toBe(0);
  for (const line of [/^✔ {2}engine +Docker /m, /^✔ {2}certificates +none loaded: the router serves plain HTTP only$/m, /^✔ {2}build CA +1 certificate in .*1 of them not public; the next to expire, /m, /^✔ {2}workers +6 running, all of version \d/m, /^✔ {2}queue +0 open, 0 worked on$/m, /^✔ {2}stuck /m, /^✔ {2}log integrity +sound up to event \d+; no checkpoint/m, /^✔ {2}clock +\d{4}-/m]) expect(words.out).toMatch(line);
  const { code, all } = await checks();
  expect([code, all.filter((c) => c.health !== 'ok')]).toEqual([0, []]);
  const token = (await berth.cli(['tokens:create', 'doctor'])).out.match(/berth_\S+/)![0];
  const { status, body } = await berth.api('/v1/doctor', { headers: { authorization: `Bearer ${token}` } });
  expect([status, (JSON.parse(body) as Check[]).map((c) => c.check)]).toEqual([200, all.map((c) => c.check)]);
});

describe('what is away', () => {
  it('engine', async () => {
    await closeEngine();
    const check = await one('engine');
    expect([check.code, check.health, check.detail]).toEqual([1, 'bad', expect.stringContaining(engine)]);
    explained(check);
    const words = await berth.cli(['doctor']);
    expect([words.code, words.out]).toEqual([1, expect.stringMatching(/^✖ {2}engine .*\n +→ .*\n +→ start it: /m)]);
    await openEngine();
    expect((await until('engine', 'ok')).code).toBe(0);
  });

  it.each(['redis', 'router'])('%s', async (name) => {
    await berth.program(name).down();
    const check = await until(name, 'bad');
    expect(check.code).toBe(1);
    explained(check);
    berth.program(name).start();
    await until(name, 'ok');
    await until('workers', 'ok');
  });
});

describe('workers', () => {
  it('one that was stopped, one that hangs, one of another version', async () => {
    await berth.program('route-1').down('SIGTERM');
    const missing = await one('workers');
    expect([missing.code, missing.health, missing.detail]).toEqual([1, 'bad', 'no route worker was heard of in the last 10 s']);
    explained(missing);
    berth.program('route-1').start();
    await until('workers', 'ok');

    berth.kill('build-1', 'SIGSTOP');
    const silent = await until('workers', 'warn');
    expect(silent.detail).toMatch(/^build-1 \(pid \d+\) was last heard of \d+ s ago$/);
    explained(silent);
    berth.kill('build-1', 'SIGCONT');
    await until('workers', 'ok');

    const redis = new Redis({ path: join(berth.runDir, 'redis.sock') });
    const status = JSON.parse((await redis.get(`${berth.instance}:worker:build-1`))!) as object;
    await redis.set(`${berth.instance}:worker:build-9`, JSON.stringify({ ...status, name: 'build-9', version: '0.0.1', seen: Date.now() + 60_000 }), 'EX', 60);
    const old = await until('workers', 'warn');
    expect(old.detail).toMatch(/^build-9 runs 0\.0\.1, the API \d/);
    await redis.del(`${berth.instance}:worker:build-9`);
    redis.disconnect();
    await until('workers', 'ok');
  });
});

describe('certificates', () => {
  it('are those that the router has loaded', async () => {
    expect(await router('new ssl cert /tls/shop.pem')).toContain('New empty certificate store');
    await router(`set ssl cert /tls/shop.pem <<\n${certificate('shop.example', 10)}\n`);
    expect(await router('commit ssl cert /tls/shop.pem')).toContain('Success');
    expect(await one('certificates')).toMatchObject({ health: 'ok', detail: expect.stringMatching(/^shop\.example: (?:9|10) days left \(not used\)$/) });
  });

  it('of builds: a bundle that is gone, that holds nothing, that runs out', async () => {
    rmSync(ca);
    const gone = await one('build CA');
    expect([gone.code, gone.health, gone.detail]).toEqual([1, 'bad', expect.stringContaining('no such file')]);
    explained(gone);
    writeFileSync(ca, 'nothing\n');
    expect(await one('build CA')).toMatchObject({ code: 1, health: 'bad', detail: `${ca} holds no certificate` });
    writeFileSync(ca, certificate('old.example', 5));
    const soon = await one('build CA');
    expect(soon).toMatchObject({ code: 0, health: 'warn', detail: expect.stringContaining('old.example') });
    explained(soon);
    writeFileSync(ca, good);
    await until('build CA', 'ok');
  });
});

describe('the log', () => {
  const file = (): string => join(berth.root, 'berth.db');
  const change = (sql: string, ...values: (string | number)[]): void => {
    const db = new DatabaseSync(file(), { timeout: 5000 });
    try { db.prepare(sql).run(...values); } finally { db.close(); }
  };

  it('names the event that somebody altered, and the checkpoint that still holds', async () => {
    expect((await berth.cli(['audit:checkpoint'])).code).toBe(0);
    expect((await one('log integrity')).detail).toMatch(/^sound up to event (\d+); the last verified checkpoint is \d+ s old and covers \d+ events$/);
    expect((await berth.cli(['apps:create', 'altered'])).code).toBe(0);
    const [{ position, data }] = new DatabaseSync(file(), { readOnly: true }).prepare("SELECT position, data FROM events WHERE type = 'AppCreated'").all() as [{ position: number; data: string }];
    change('UPDATE events SET data = ? WHERE position = ?', data.replace('altered', 'elsewise'), position);
    const check = await one('log integrity');
    expect([check.code, check.health]).toEqual([1, 'bad']);
    expect(check.detail).toContain(`at position ${position}`);
    explained(check);
    change('UPDATE events SET data = ? WHERE position = ?', data, position);
    expect((await one('log integrity')).health).toBe('ok');
  });

  it('sees a clock that was put back', async () => {
    const head = (await berth.json<Check[]>(['doctor'])).find((c) => c.check === 'event log')!.detail.match(/^\d+/)![0];
    change('UPDATE events SET at = at + 7200000 WHERE position = ?', Number(head));
    const check = await one('clock');
    expect([check.code, check.health, check.means]).toEqual([1, 'bad', expect.stringContaining('the clock was put back by')]);
    explained(check);
    change('UPDATE events SET at = at - 7200000 WHERE position = ?', Number(head));
    await until('clock', 'ok');
  });

  it('finds work that nobody is at, and what is stuck', async () => {
    await berth.program('clone-1').down();
    const push = pushing(berth, await berth.repo({ 'readme': 'nothing to detect\n' }), 'held');
    await push.says(/-----> Deploying held/);
    await berth.until('it to be handed out', async () => (new DatabaseSync(file(), { readOnly: true }).prepare('SELECT count(*) AS n FROM work WHERE state = 1').get() as { n: number }).n === 1);
    // two minutes go by
    change('UPDATE work SET added_at = added_at - 120000, dispatched_at = dispatched_at - 120000 WHERE state = 1');
    const queue = await one('queue');
    expect(queue).toMatchObject({ health: 'warn', detail: expect.stringMatching(/^1 open, 0 worked on, the oldest waits for (?:1[23]\d s|2 min)$/) });
    explained(queue);
    const stuck = await one('stuck');
    expect([stuck.code, stuck.health, stuck.detail]).toEqual([1, 'bad', expect.stringMatching(/^held: handed out 1\d\d s ago, and nobody has it$/)]);
    explained(stuck);
    expect(await berth.stuck(), 'this fails a test that ends so').toEqual([expect.stringContaining('held: handed out')]);
    berth.program('clone-1').start();
    expect(await push.ended).toBe(1); // no buildpack wants it
    expect((await until('stuck', 'ok')).health).toBe('ok');
    const failed = await one('failed jobs');
    expect([failed.code, failed.health, failed.detail]).toEqual([0, 'warn', '1 can be retried or discarded']);
    explained(failed);
  });
});
