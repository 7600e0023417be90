import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { appendFileSync, readFileSync, statSync, writeFileSync, readdirSync, existsSync } from 'node:fs';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LiveContainer, RouteInput, RouterSettings } from '../../src/events/types/deploy.events.js';
import type { RouterApp, RouterFixed, RouterRule, RouterServer, RuleTable } from '../../src/drivers/router/router.port.js';
import { certificatesOf } from '../../src/drivers/router/haproxy.certificates.js';
import { ask } from '../../src/drivers/router/haproxy.socket.js';
import { passwordHash } from '../../src/plugins/contract/password.js';
import { StepFailure, type StepContext } from '../../src/events/step.js';
import { routeStep, type RouteDeps } from '../../src/workers/route/route.step.js';
import { Bench, freePort, PORT, upstream, type Upstream } from './router.harness.js';

const server = (name: string, ip: string, over: Partial<RouterServer> = {}): RouterServer => ({ name, ip, port: PORT, state: 'ready', weight: 100, ...over });
const app = (id: string, hosts: readonly string[], servers: readonly RouterServer[] = []): RouterApp => ({ id, name: id, hosts, servers });
const live = (id: string, ip: string, index = 1, type = 'web'): LiveContainer => ({ id, name: id, type, index, ip, port: PORT });
const check = { path: null, timeoutMs: 2000, attempts: 1, waitMs: 0 };
const fillers = Array.from({ length: 99 }, (_, n) => app(`f${n}`, [`f${n}.localhost`, `*.f${n}.localhost`], [server(`f${n}.web.1`, '127.0.1.1')]));

let bench: Bench;
let home: Upstream;
const context = (input: RouteInput, lines: string[] = [], signal = new AbortController().signal): StepContext<'route'> => ({
  step: 'route', app: input.app, deploy: 1, job: 'j', attempt: 1, input, signal,
  log: { info: (t) => lines.push(`-----> ${t}`), section: (t) => lines.push(`=====> ${t}`), detail: (t) => lines.push(`       ${t}`), warn: (t) => lines.push(` !     ${t}`), output: () => undefined, call: (name, ms, detail) => lines.push(`[${name} ${ms.toFixed(1)} ms] ${detail ?? ''}`) },
});
const deps = (stop: (id: string) => Promise<void>): RouteDeps => ({ router: bench.driver, engine: { stop, remove: () => Promise.resolve() }, table: () => Promise.resolve({ apps: fillers }), lease: (fn) => fn() });
const input = (containers: readonly LiveContainer[], retire: readonly LiveContainer[], over: Partial<RouteInput> = {}): RouteInput => ({ app: 'blog', name: 'blog', number: 1, hosts: ['blog.localhost'], containers, retire, check, ...over });
const blog = async (): Promise<readonly RouterServer[]> => (await bench.driver.observe()).apps.find((entry) => entry.id === 'blog')?.servers ?? [];
const cfg = (): string => readFileSync(join(bench.options.dir, 'haproxy.cfg'), 'utf8');

beforeAll(async () => { bench = await Bench.make(); home = await upstream('127.0.1.1', 'filler'); });
afterAll(async () => {
  await bench.remove();
  await home.stop();
  expect(existsSync(bench.root)).toBe(false);
  expect(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })).not.toContain(bench.root);
  const warnings = bench.errors.split('\n').filter((line) => /config :|parsing|Segmentation|signal 11|BUG/.test(line));
  expect(warnings).toEqual([]);
});

describe('haproxy', () => {
  it('starts empty and answers a page of its own to unknown hosts', async () => {
    const page = await bench.get('nobody.localhost', '/', { accept: 'text/html' });
    expect([page.status, page.headers['content-type']]).toEqual([404, 'text/html; charset=utf-8']);
    expect(page.body).toMatch(/<title>No app lives here<\/title>/);
    const text = await bench.get('nobody.localhost');
    expect([text.status, text.headers['content-type'], text.body.split('\n')[0]]).toEqual([404, 'text/plain; charset=utf-8', '404 No app lives here']);
  });

  it('routes exact hosts, wildcards by the longest suffix, whatever the case, port and dot', async () => {
    const two = await upstream('127.0.1.2', 'two');
    await bench.set({ apps: [...fillers, app('a', ['a.test', '*.a.test', '*.x.y.test'], [server('a.1', '127.0.1.1')]), app('b', ['b.a.test', '*.y.test'], [server('b.1', '127.0.1.2')]), app('off', ['off.test'])] });
    const who = async (host: string): Promise<string> => (await bench.get(host)).body.split('\n')[0] ?? '';
    for (const [host, body] of [['a.test', 'filler'], ['A.Test.:8080', 'filler'], ['b.a.test', 'two'], ['c.a.test', 'filler'], ['d.c.a.test', 'filler'], ['q.y.test', 'two'], ['q.x.y.test', 'filler'], ['x.y.test', 'two'], ['y.test', '404 No app lives here'], ['f7.localhost', 'filler']] as const) expect(await who(host), host).toBe(body);
    expect((await bench.get('off.test')).status).toBe(503);
    const page = await bench.get('off.test', '/', { accept: 'text/html,*/*' });
    expect([page.status, page.headers['retry-after']]).toEqual([503, '5']);
    expect(page.body).toMatch(/The app is not running/);
    const again = bench.driver.plan({ apps: [...fillers, app('a', ['a.test', '*.a.test', '*.x.y.test'], [server('a.1', '127.0.1.1')]), app('b', ['b.a.test', '*.y.test'], [server('b.1', '127.0.1.2')]), app('off', ['off.test'])] }, await bench.driver.observe());
    expect(again.changes).toEqual([]);
    await two.stop();
    expect((await bench.get('q.y.test')).status).toBe(503);
  });

  describe('rules', () => {
    const rule = (table: RuleTable, key: string, value: string): RouterRule => ({ table, key, value });
    const salt = Buffer.from('0123456789abcdef');
    const user = (name: string, password: string): RouterRule => rule('users', name, `${salt.toString('base64')}|${createHmac('sha256', salt).update(password).digest('hex').toUpperCase()}`);
    const basic = (name: string, password: string): Record<string, string> => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` });
    const set = (rules: readonly RouterRule[], fixed?: RouterFixed): Promise<void> => bench.set({ apps: [...fillers, { ...app('a', ['a.test', 'www.a.test'], [server('a.1', '127.0.1.1')]), rules, ...(fixed && { fixed }) }, app('b', ['b.test'], [server('b.1', '127.0.1.1')])] });
    const pid = async (): Promise<string> => /^Pid: (\d+)$/m.exec(await ask(bench.options.socket, 'show info'))?.[1] ?? '';

    it('maintenance answers 503 for the app alone, without a reload, and lets probes pass', async () => {
      await set([]);
      const before = await pid();
      await set([rule('maintenance', '', 'on')]);
      const page = await bench.get('a.test', '/x', { accept: 'text/html' });
      expect([page.status, page.headers['retry-after'], page.headers['cache-control']]).toEqual([503, '60', 'no-store']);
      expect(page.body).toMatch(/Under maintenance/);
      expect((await bench.get('www.a.test')).body).toMatch(/^503 Under maintenance\n/);
      expect((await bench.get('b.test')).body).toBe('filler');
      expect(await bench.driver.probe({ host: 'a.test', path: '/', server: 'a.1', timeoutMs: 2000 })).toEqual({ status: 200, server: 'a.1' });
      await set([]);
      expect((await bench.get('a.test')).body).toBe('filler');
      expect(await pid()).toBe(before);
    });

    it('with a page of the app, which a reload, a restart and another page survive', async () => {
      const html = `<!doctype html><p>Gleich zurück — 100% "$HOME" {#}\n${'x'.repeat(14_000)}`;
      await set([rule('maintenance', '', 'on')], { page: html });
      const page = async (): Promise<[number, boolean]> => { const answer = await bench.get('a.test'); return [answer.status, answer.body === html]; };
      expect(await page()).toEqual([503, true]);
      await bench.stop('SIGKILL');
      await bench.driver.ensureFiles();
      await bench.start();
      expect(await page()).toEqual([503, true]);
      expect((await bench.driver.observe()).apps.find(({ id }) => id === 'a')).toMatchObject({ fixed: { page: html } });
      await set([rule('maintenance', '', 'on')], { page: 'other' });
      expect((await bench.get('a.test')).body).toBe('other');
      expect(readdirSync(join(bench.options.dir, 'pages'))).toHaveLength(1);
      // written, and then nobody had it loaded
      await ask(bench.options.socket, `clear map ${join(bench.options.dir, 'fixed.map')}`);
      expect((await bench.get('a.test')).body).toMatch(/^503 Under maintenance/);
      await set([rule('maintenance', '', 'on')], { page: 'other' });
      expect((await bench.get('a.test')).body).toBe('other');
      await set([]);
      expect(readdirSync(join(bench.options.dir, 'pages'))).toEqual([]);
    });

    it('redirects keep path and query, with each code', async () => {
      for (const code of [301, 302, 307, 308]) {
        await set([rule('redirects', 'www.a.test', `${code}|https://a.test:8443`)]);
        const answer = await bench.get('WWW.a.test:81', '/x/y?z=1%20%41&u=http://q/');
        expect([answer.status, answer.headers['location']]).toEqual([code, 'https://a.test:8443/x/y?z=1%20%41&u=http://q/']);
      }
      expect((await bench.get('a.test')).body).toBe('filler');
      expect(await bench.driver.probe({ host: 'www.a.test', path: '/', server: 'a.1', timeoutMs: 2000 })).toEqual({ status: 200, server: 'a.1' });
    });

    it('basic auth lets in who has a password, and addresses that need none', async () => {
      await set([rule('auth', '', 'on'), user('bob', 's3:cret ü'), user('eve', 'other')]);
      const status = async (headers: Record<string, string> = {}, host = 'a.test'): Promise<number> => (await bench.get(host, '/', headers)).status;
      const denied = await bench.get('a.test', '/', { accept: 'text/html' });
      expect([denied.status, denied.headers['www-authenticate']]).toEqual([401, 'Basic realm="Restricted", charset="UTF-8"']);
      expect(denied.body).toMatch(/A password is needed/);
      expect(await status(basic('bob', 's3:cret ü'))).toBe(200);
      expect(await status(basic('eve', 'other'))).toBe(200);
      for (const wrong of [basic('bob', 'other'), basic('bob', ''), basic('nobody', 'other'), basic('', ''), { authorization: 'Bearer x' }, { authorization: 'Basic !!' }]) expect(await status(wrong), JSON.stringify(wrong)).toBe(401);
      // a name that is the entry that it would like to be found
      expect(await status(basic(user('x', 'mine').value, 'mine'))).toBe(401);
      expect(await status({}, 'b.test')).toBe(200);
      expect(await bench.driver.probe({ host: 'a.test', path: '/', server: 'a.1', timeoutMs: 2000 })).toEqual({ status: 200, server: 'a.1' });
      await set([rule('auth', '', 'on'), rule('allow', '4/7F', '127.0.0.0/8')]);
      expect(await status()).toBe(200);
      await set([rule('auth', '', 'on'), rule('allow', '4/0A', '10.0.0.0/8'), rule('allow', '6/', '::/0')]);
      expect(await status()).toBe(401);
      await set([]);
      expect(await status()).toBe(200);
    });

    it('sets headers on every answer of the app', async () => {
      const headers = { 'X-Frame-Options': 'DENY', 'Content-Security-Policy': 'default-src \'self\' "x" 100% $HOME \\' };
      await set([rule('maintenance', '', 'on')], { headers });
      await set([], { headers });
      expect((await bench.get('a.test')).headers).toMatchObject({ 'x-frame-options': 'DENY', 'content-security-policy': headers['Content-Security-Policy'] });
      expect((await bench.get('b.test')).headers).not.toHaveProperty('x-frame-options');
    });

    it('survive a kill, and what somebody changed by hand is seen', async () => {
      const rules = [rule('auth', '', 'on'), user('bob', 'pw'), rule('redirects', 'www.a.test', '301|http://a.test')];
      await set(rules);
      await bench.stop('SIGKILL');
      await bench.driver.ensureFiles();
      await bench.start();
      expect((await bench.get('a.test')).status).toBe(401);
      const of = async (): Promise<unknown> => ((await bench.driver.observe()).rules ?? []).map(({ table, key, value }) => `${table} ${key} ${value}`).toSorted();
      expect(await of()).toEqual(rules.map(({ table, key, value }) => `${table} ${key} ${value}`).toSorted());
      for (const map of ['auth', 'users', 'redirects']) await ask(bench.options.socket, `clear map ${join(bench.options.dir, `${map}.map`)}`);
      await ask(bench.options.socket, `add map ${join(bench.options.dir, 'maintenance.map')} app_b on`);
      expect((await bench.get('a.test')).status).toBe(200);
      await set(rules);
      expect((await bench.get('a.test')).status).toBe(401);
      expect((await bench.get('a.test', '/', basic('bob', 'pw'))).status).toBe(200);
      expect((await bench.get('b.test')).status).toBe(200);
      expect(statSync(join(bench.options.dir, 'users.map')).mode & 0o777).toBe(0o600);
      expect(statSync(join(bench.options.dir, 'haproxy.cfg')).mode & 0o777).toBe(0o600);
      await bench.set({ apps: fillers });
      expect((await bench.driver.observe()).rules).toBeUndefined();
    });

    it('a router that runs with a configuration of before there were rules is brought up to date', async () => {
      const old = cfg().split('\n').filter((line) => !/(users|allow|auth|maintenance|redirects|fixed)\.map|txn\.(to|maintenance|fixed|auth|src|family|allowed|name|user|salt|must|is)\b/.test(line)).join('\n');
      await bench.stop('SIGTERM');
      writeFileSync(join(bench.options.dir, 'haproxy.cfg'), old);
      await bench.start();
      await bench.driver.ensureFiles(); // the new version's, while the old one's runs
      await bench.set({ apps: [...fillers, { ...app('f1', ['f1.localhost']), rules: [rule('maintenance', '', 'on')] }].filter((each, at) => each.id !== 'f1' || at === fillers.length) });
      expect((await bench.get('f1.localhost')).body).toMatch(/Under maintenance/);
      await bench.set({ apps: fillers });
    });
  });

  it('tells nobody that an app does not run while it reloads for another one', async () => {
    await bench.set({ apps: fillers });
    const answers = new Map<number, number>();
    let over = false;
    // connections that are kept meet the worker that is about to stop, whose backends count no server any more
    const clients = Array.from({ length: 16 }, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      while (!over) {
        const status = await bench.get('f1.localhost', '/', {}, agent).then((answer) => answer.status, () => 0); // an idle one was closed
        answers.set(status, (answers.get(status) ?? 0) + 1);
      }
      agent.destroy();
    });
    for (let n = 0; n < 12; n += 1) await bench.set({ apps: [...fillers, ...(n % 2 === 0 ? [app('new', ['new.localhost'])] : [])] });
    over = true;
    await Promise.all(clients);
    expect([...answers.keys()].filter((status) => status !== 200 && status !== 0)).toEqual([]);
    expect(answers.get(200)).toBeGreaterThan(100);
  });

  it('changes servers, weights, states, addresses and hosts without a reload, and file and runtime agree after each', async () => {
    const two = await upstream('127.0.1.2', 'two');
    await bench.set({ apps: [app('a', ['a.test']), app('b', [])] });
    const pid = /^Pid: \d+$/m.exec(await ask(bench.options.socket, 'show info'))?.[0];
    const tables: RouterApp[][] = [
      [app('a', ['a.test'], [server('w1', '127.0.1.1')]), app('b', [])],
      [app('a', ['a.test', '*.a.test'], [server('w1', '127.0.1.1', { state: 'drain' }), server('w2', '127.0.1.2', { weight: 7 })]), app('b', [])],
      [app('a', ['*.a.test'], [server('w1', '127.0.1.1', { state: 'maint' }), server('w2', '127.0.1.2')]), app('b', ['a.test'], [server('w1', '127.0.1.1')])],
      [app('a', ['*.a.test'], [server('w1', '127.0.1.1', { weight: 3 })]), app('b', ['a.test'], [server('w1', '127.0.1.2')])],
      [app('a', ['*.a.test'], [server('w1', '127.0.1.1')]), app('b', ['a.test'], [server('w1', '::1')])],
      [app('a', ['*.a.test'], []), app('b', [], [])],
    ];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (const [at, apps] of tables.entries()) {
      await bench.set({ apps });
      const running = await bench.driver.observe();
      expect(bench.driver.plan({ apps }, running).changes, `table ${at}`).toEqual([]);
      if (at === 3) expect((await bench.get('a.test', '/', {}, agent)).body).toBe('two');
    }
    expect(/^Pid: \d+$/m.exec(await ask(bench.options.socket, 'show info'))?.[0]).toBe(pid);
    agent.destroy();
    for (const apps of tables) {
      await bench.set({ apps });
      await bench.stop('SIGKILL');
      await bench.start();
      expect(bench.driver.plan({ apps }, await bench.driver.observe()).changes).toEqual([]);
      if (apps === tables[2]) break;
    }
    await two.stop();
  });

  it('shows who answered to the token only', async () => {
    await bench.set({ apps: [app('a', ['a.test'], [server('w1', '127.0.1.1'), server('w2', '127.0.1.1', { state: 'drain' })])] });
    const token = readFileSync(join(bench.options.dir, 'probe-token'), 'utf8').trim();
    expect(statSync(join(bench.options.dir, 'probe-token')).mode & 0o777).toBe(0o600);
    expect(await bench.driver.probe({ host: 'a.test', path: '/', timeoutMs: 1000 })).toEqual({ status: 200, server: 'w1' });
    expect(await bench.driver.probe({ host: 'a.test', path: '/boom', server: 'w2', timeoutMs: 1000 })).toEqual({ status: 500, server: 'w2' });
    for (const headers of [{}, { 'x-berth-probe': 'x' }, { 'x-berth-probe': '' }, { 'x-berth-probe': `${token}x` }, { 'x-berth-server': 'w2' }] as Record<string, string>[]) expect((await bench.get('a.test', '/', headers)).headers['x-berth-server']).toBeUndefined();
    const seen = JSON.parse((await bench.get('a.test', '/headers', { 'x-berth-probe': token, 'x-forwarded-for': '6.6.6.6', 'x-forwarded-proto': 'https', forwarded: 'for=6.6.6.6' })).body) as Record<string, string>;
    expect(seen).toMatchObject({ host: 'a.test', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'a.test' });
    expect(Object.keys(seen).filter((name) => name.startsWith('x-berth') || name === 'forwarded')).toEqual([]);
  });

  it('passes upgrades, and counts them as in flight', async () => {
    await bench.set({ apps: [app('a', ['a.test'], [server('w1', '127.0.1.1')])] });
    const socket = connect(bench.options.httpPort, '127.0.0.1');
    let text = '';
    socket.on('data', (data: Buffer) => { text += data.toString(); });
    socket.write('GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
    await expect.poll(() => text).toMatch(/^HTTP\/1.1 101 /);
    socket.write('hello');
    await expect.poll(() => text).toMatch(/filler:hello$/);
    expect((await bench.driver.stats('a'))[0]?.inFlight).toBe(1);
    await bench.set({ apps: [app('a', ['a.test'], [server('w1', '127.0.1.1', { state: 'drain' })]), app('new', [])] }); // reload: the old worker holds it
    expect((await bench.driver.stats('a'))[0]?.inFlight).toBe(1);
    expect(await bench.driver.stats('new')).toEqual([]); // unknown to the old worker
    socket.write('still');
    await expect.poll(() => text).toMatch(/filler:still$/);
    socket.destroy();
    await expect.poll(async () => (await bench.driver.stats('a'))[0]?.inFlight).toBe(0);
  });

  it('does not count an idle keep-alive connection', async () => {
    await bench.set({ apps: [app('idle', ['a.test'], [server('w1', '127.0.1.1')])] });
    const agent = new Agent({ keepAlive: true });
    await bench.get('a.test', '/', {}, agent);
    expect(Object.values(agent.freeSockets).flat().length).toBe(1);
    await expect.poll(async () => (await bench.driver.stats('idle'))[0]?.inFlight, { interval: 5, timeout: 100 }).toBe(0);
    agent.destroy();
  });

  it('refuses broken input and keeps the last good file; a spoiled file is made anew', async () => {
    await bench.set({ apps: [app('a', ['a.test'], [server('w1', '127.0.1.1')])] });
    const good = cfg();
    const state = await bench.driver.observe();
    expect(() => bench.driver.plan({ apps: [app('a', ['a.test\n  bad']) ] }, state)).toThrow(/is no host name/);
    await expect(bench.driver.apply({ desired: { apps: [app('a', ['x', 'x'])] }, changes: [] })).rejects.toThrow(/claimed twice/);
    const broken = new (bench.driver.constructor as typeof import('../../src/drivers/router/haproxy.driver.js').HaproxyDriver)({ ...bench.options, user: 'no-such-user' });
    await expect(broken.apply(bench.driver.plan({ apps: [app('z', [])] }, state))).rejects.toMatchObject({ code: 'route.config-invalid', fault: 'machine' });
    expect(cfg()).toBe(good);
    expect(readdirSync(bench.options.dir).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    expect((await bench.get('a.test')).body).toBe('filler');
    await bench.driver.ensureFiles();
    expect(cfg()).toBe(good); // routes are kept
    writeFileSync(join(bench.options.dir, 'haproxy.cfg'), 'rubbish\n');
    await bench.driver.ensureFiles();
    expect(cfg()).toMatch(/^# Written by Berth/);
  });

  it('takes everything that the table check lets through', async () => {
    const long = Array.from({ length: 4 }, () => 'a'.repeat(61)).join('.');
    const apps = [app('A_-9', [long, `*.${long.slice(2)}`, '_x.test', '1.2.3.4', 'xn--bcher-kva.test'], [server('-:._', '255.255.255.254', { port: 65_535, weight: 256 }), server('1', '::ffff:10.0.0.1', { weight: 1 }), server('disabled', 'fd00::1%1'.slice(0, 7), { state: 'maint' })])];
    await bench.set({ apps });
    expect(bench.driver.plan({ apps }, await bench.driver.observe()).changes).toEqual([]);
    const more = [app('A_-9', apps[0]?.hosts ?? [], [server('x'.repeat(200), '10.0.0.1'), server('weight', '10.0.0.2', { state: 'drain' }), server('check', 'fd00::2', { state: 'maint' })])];
    await bench.set({ apps: more });
    expect(bench.driver.plan({ apps: more }, await bench.driver.observe()).changes).toEqual([]);
    execFileSync(bench.options.program, ['-c', '-q', '-f', join(bench.options.dir, 'haproxy.cfg')]);
  });

  it('names the certificates that it serves TLS with, and none where it speaks plain HTTP', async () => {
    expect(await bench.driver.certificates()).toEqual([]);
    const [pem, config, socket] = ['shop.pem', 'tls.cfg', 'tls.sock'].map((name) => join(bench.root, name)) as [string, string, string];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${pem}.key`, '-out', pem, '-days', '10', '-subj', '/CN=shop.test', '-addext', 'subjectAltName=DNS:shop.test,DNS:www.shop.test'], { stdio: 'pipe' });
    appendFileSync(pem, readFileSync(`${pem}.key`));
    writeFileSync(config, `global\n  stats socket ${socket} level admin\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\nfrontend tls\n  bind 127.0.0.1:${await freePort()} ssl crt ${pem}\n  http-request return status 200\n`);
    const child = spawn(bench.options.program, ['-db', '-f', config], { stdio: 'ignore' });
    try {
      await expect.poll(() => certificatesOf((command) => ask(socket, command)).catch(() => []), { timeout: 10_000 }).toHaveLength(1);
      const [one] = await certificatesOf((command) => ask(socket, command));
      expect(one).toMatchObject({ file: pem, subject: '/CN=shop.test', names: ['shop.test', 'www.shop.test'], used: true });
      expect(Math.round((one!.notAfter - Date.now()) / 86_400_000)).toBe(10);
    } finally {
      const gone = new Promise((done) => child.once('exit', done));
      child.kill('SIGKILL');
      await gone;
    }
  });

  it('says so when it is down', async () => {
    await bench.stop('SIGKILL');
    await expect(bench.driver.observe()).rejects.toMatchObject({ code: 'route.router-down', fault: 'machine' });
    await bench.start();
  });
});

describe('the route step', () => {
  it('switches one app of 100, 20 times, and no request fails', async () => {
    await bench.set({ apps: fillers });
    const ups = [await upstream('127.0.2.0', 'v0')];
    const stopped: string[] = [];
    const stop = async (id: string): Promise<void> => { stopped.push(id); await ups[Number(id.slice(1))]?.stop(); };
    const step = routeStep(deps(stop));
    const lines: string[] = [];
    await step(context(input([live('v0', '127.0.2.0')], []), lines));
    const count = { ok: 0, failed: [] as string[] };
    const agents = [new Agent({ keepAlive: true, maxSockets: 1 }), new Agent({ keepAlive: true, maxSockets: 1 }), false, false] as const;
    let polling = true;
    const clients = agents.map(async (agent) => {
      while (polling) {
        await bench.get('blog.localhost', '/', {}, agent).then((a) => { if (a.status === 200 && /^v\d+$/.test(a.body)) count.ok++; else count.failed.push(`${a.status} ${a.body}`); }, (e: Error) => count.failed.push(e.message));
        await sleep(2);
      }
    });
    const times: number[] = [];
    let sample: string[] = [];
    for (let n = 1; n <= 20; n++) {
      ups[n] = await upstream(`127.0.2.${n}`, `v${n}`);
      sample = [];
      const start = performance.now();
      const out = await step(context(input([live(`v${n}`, `127.0.2.${n}`)], [live(`v${n - 1}`, `127.0.2.${n - 1}`)]), sample));
      times.push(performance.now() - start);
      expect(out).toEqual({ hosts: ['blog.localhost'], upstreams: [`127.0.2.${n}:${PORT}`], seen: 'web.1 answered 200 through the router at http://blog.localhost/', retired: 1 });
      expect((await bench.get('blog.localhost')).body).toBe(`v${n}`);
    }
    polling = false;
    await Promise.all(clients);
    for (const agent of agents) if (agent) agent.destroy();
    times.sort((a, b) => a - b);
    process.stdout.write(`${lines.join('\n')}\n${sample.join('\n')}\n20 switches: ${count.ok} requests answered, ${count.failed.length} failed; a switch p50 ${times[10]?.toFixed(0)} ms, max ${times[19]?.toFixed(0)} ms\n`);
    expect(count.failed).toEqual([]);
    expect(count.ok).toBeGreaterThan(500);
    expect(stopped.length).toBe(20);
    expect((await blog()).map((s) => s.name)).toEqual(['v20']);

    // the same input again changes nothing; kill -9 comes back the same
    const before = cfg();
    await step(context(input([live('v20', '127.0.2.20')], [live('v19', '127.0.2.19')])));
    expect(cfg()).toBe(before);
    const state = await bench.driver.observe();
    await bench.stop('SIGKILL');
    await bench.start();
    expect((await bench.get('blog.localhost')).body).toBe('v20');
    const back = await bench.driver.observe();
    expect(new Set(back.hosts.map((h) => JSON.stringify(h)))).toEqual(new Set(state.hosts.map((h) => JSON.stringify(h))));
    expect(back.apps.find((a) => a.id === 'blog')).toEqual(state.apps.find((a) => a.id === 'blog'));
    await ups[20]?.stop();
  });

  it('puts rules in place with the switch, sees the containers behind them, and puts the rules back with everything else', async () => {
    const settings: RouterSettings = { maintenance: { page: 'soon' }, auth: { users: [{ name: 'bob', hash: passwordHash('pw') }], allow: [] }, redirects: [{ from: 'www.blog.localhost', to: 'blog.localhost', code: 301 }, { from: 'else.where', to: 'x.y', code: 301 }] };
    const up = await upstream('127.0.2.40', 'ruled');
    const lines: string[] = [];
    const hosts = ['blog.localhost', 'www.blog.localhost'];
    const [now] = await blog();
    const with_ = (added: RouterSettings | undefined, containers: readonly LiveContainer[], retire: readonly LiveContainer[], signal?: AbortSignal): StepContext<'route'> => ({ ...context(input(containers, retire, { hosts }), lines, signal), ...(added && { added: { router: added } }) });
    const output = await routeStep(deps(() => Promise.resolve()))(with_(settings, [live('ruled', up.ip)], [live(now!.name, now!.ip)]));
    expect(output).toMatchObject({ router: settings, seen: expect.stringContaining('answered 200 through the router') });
    expect(lines.join('\n')).toMatch(/Maintenance: blog answers 503/);
    expect(lines.join('\n')).toMatch(/ ! {5}else\.where is not redirected: it is not a domain of blog\. Add it: berth domains:add blog else\.where/);
    expect((await bench.get('blog.localhost')).body).toBe('soon');
    expect((await bench.get('www.blog.localhost')).headers['location']).toBe('http://blog.localhost/');
    // one that is never seen
    await expect(routeStep({ ...deps(() => Promise.resolve()), seenMs: 200 })(with_(undefined, [live('dead', '127.0.2.41')], [live('ruled', up.ip)]))).rejects.toThrow(/was not seen/);
    expect((await bench.get('blog.localhost')).body).toBe('soon');
    await routeStep(deps(() => Promise.resolve()))(with_({ auth: settings.auth! }, [live('ruled', up.ip)], []));
    expect((await bench.get('blog.localhost')).status).toBe(401);
    await routeStep(deps(() => Promise.resolve()))(with_(undefined, [live('ruled', up.ip)], []));
    expect((await bench.get('www.blog.localhost')).body).toBe('ruled');
    await up.stop();
  });

  it('waits for a slow answer of the old one', async () => {
    const [a, b] = [await upstream('127.0.3.1', 'a'), await upstream('127.0.3.2', 'b')];
    let slowDone = false;
    let stoppedAfter: boolean | null = null;
    const step = routeStep(deps(async () => { stoppedAfter = slowDone; await a.stop(); }));
    await step(context(input([live('a', '127.0.3.1')], [])));
    const slow = bench.get('blog.localhost', '/slow').then((answer) => { slowDone = true; return answer; });
    await sleep(100);
    const lines: string[] = [];
    await step(context(input([live('b', '127.0.3.2')], [live('a', '127.0.3.1')]), lines));
    expect((await slow).body).toBe('a');
    expect(stoppedAfter).toBe(true);
    expect(lines.join('\n')).toMatch(/Waiting for 1 request in flight/);
    await b.stop();
  });

  it('puts everything back when the new one is never seen, and when it is aborted', async () => {
    const [a, b] = [await upstream('127.0.3.1', 'a'), await upstream('127.0.3.2', 'b')];
    const step = (over: Partial<RouteDeps> = {}): ReturnType<typeof routeStep> => routeStep({ ...deps(() => Promise.reject(new Error('must not stop'))), ...over });
    await step()(context(input([live('a', '127.0.3.1')], [])));
    const want = JSON.stringify(await blog());
    const dead = input([live('dead', '127.0.3.9')], [live('a', '127.0.3.1')], { hosts: ['new.localhost', 'blog.localhost'] });
    await expect(step({ seenMs: 300 })(context(dead))).rejects.toMatchObject({ code: 'route.not-seen', fault: 'user' });
    expect(JSON.stringify(await blog())).toBe(want);
    expect((await bench.get('new.localhost')).status).toBe(404);
    const sick = input([live('b', '127.0.3.2')], [live('a', '127.0.3.1')], { check: { ...check, path: '/boom' } });
    await expect(step({ seenMs: 300 })(context(sick))).rejects.toThrow(/it answered 500/);
    expect(JSON.stringify(await blog())).toBe(want);
    const abort = new AbortController();
    const slow = bench.get('blog.localhost', '/slow');
    await sleep(50);
    setTimeout(() => abort.abort(new Error('cancelled')), 500);
    await expect(step()(context(input([live('b', '127.0.3.2')], [live('a', '127.0.3.1')]), [], abort.signal))).rejects.toThrow();
    expect(JSON.stringify(await blog())).toBe(want);
    expect((await slow).status).toBe(200);
    expect((await bench.get('blog.localhost')).body).toBe('a');
    await Promise.all([a.stop(), b.stop()]);
  });

  it('goes on from where an earlier attempt died', async () => {
    const [a, b] = [await upstream('127.0.3.1', 'a'), await upstream('127.0.3.2', 'b')];
    const first = input([live('a', '127.0.3.1')], []);
    const second = input([live('b', '127.0.3.2')], [live('a', '127.0.3.1')]);
    await routeStep(deps(() => Promise.resolve()))(context(first));
    await expect(routeStep(deps(() => Promise.reject(new StepFailure('engine.down', 'engine', null, 'machine'))))(context(second))).rejects.toThrow('engine');
    expect((await blog()).map((s) => [s.name, s.state]).toSorted()).toEqual([['a', 'drain'], ['b', 'ready']]);
    const out = await routeStep(deps(() => a.stop()))(context(second));
    expect(out.retired).toBe(1);
    expect((await blog()).map((s) => [s.name, s.state])).toEqual([['b', 'ready']]);
    await b.stop();
  });

  it('no web process: the page, and the old one stopped; workers are only stopped', async () => {
    const a = await upstream('127.0.3.1', 'a');
    const stopped: string[] = [];
    const step = routeStep(deps(async (id) => { stopped.push(id); if (id === 'a') await a.stop(); }));
    await step(context(input([live('a', '127.0.3.1')], [])));
    const out = await step(context(input([], [live('a', '127.0.3.1'), live('w', '127.0.3.7', 1, 'worker')])));
    expect([out.seen, out.upstreams, stopped.toSorted()]).toEqual([null, [], ['a', 'w']]);
    expect((await bench.get('blog.localhost')).body).toMatch(/^503 The app is not running/);
  });

  /** What the runner calls once the outcome is recorded (`tidy`), or was refused (`late`). */
  const ended = async (deps: RouteDeps, wanted: RouteInput, holds: 'mine' | 'dropped'): Promise<{ tidy(): Promise<void>; late(): Promise<void> }> => {
    let then!: { tidy(): Promise<void>; late(): Promise<void> };
    let now: 'mine' | 'dropped' = 'mine';
    await routeStep(deps)({ ...context(wanted), holds: async () => now, after: (tidy, late) => { then = { tidy, late }; } });
    now = holds;
    return then;
  };

  it('a router that was lost and written anew from a log that did not know of the switch yet is switched again before the old one is stopped', async () => {
    const ups = await Promise.all([upstream('127.0.3.1', 'a'), upstream('127.0.3.2', 'b'), upstream('127.0.3.3', 'b')]);
    let answered = '';
    const where = new Map([['a', '127.0.3.1'], ['b', '127.0.3.2']]);
    const stop = async (): Promise<void> => {
      answered = (await bench.get('blog.localhost')).body;
      await ups[0]!.stop();
    };
    const all = { ...deps(stop), engine: { ...deps(stop).engine, address: async (id: string) => where.get(id) ?? null } };
    await routeStep(all)(context(input([live('a', '127.0.3.1')], [])));
    const { tidy } = await ended(all, input([live('b', '127.0.3.2')], [live('a', '127.0.3.1')]), 'mine');
    await bench.set({ apps: [...fillers, app('blog', ['blog.localhost'], [server('a', '127.0.3.1')])] });
    where.set('b', '127.0.3.3'); // and it was restarted meanwhile
    await tidy();
    expect(answered).toBe('b');
    expect((await blog()).map((s) => [s.name, s.ip, s.state])).toEqual([['b', '127.0.3.3', 'ready']]);

    // not when another deploy was switched to since
    await bench.set({ apps: [...fillers, app('blog', ['blog.localhost'], [server('c', '127.0.3.3')])] });
    const { tidy: late } = await ended({ ...all, overtaken: async () => true }, input([live('b', '127.0.3.3')], []), 'mine');
    await bench.set({ apps: [...fillers, app('blog', ['blog.localhost'], [server('d', '127.0.3.3')])] });
    await late();
    expect((await blog()).map((s) => s.name)).toEqual(['d']);
    await Promise.all([ups[1]!.stop(), ups[2]!.stop()]);
  });

  it('does not put back what a cancelled deploy left: its containers may be gone', async () => {
    const ups = await Promise.all([upstream('127.0.3.1', 'a'), upstream('127.0.3.3', 'c')]);
    await bench.set({ apps: [...fillers, app('blog', ['blog.localhost'], [server('a', '127.0.3.1', { state: 'drain' }), server('stray', '127.0.3.2')])] });
    const failing: RouteDeps = { ...deps(() => Promise.resolve()), seenMs: 200 };
    await expect(routeStep(failing)(context(input([live('c', '127.0.3.3')], [live('a', '127.0.3.1')], { check: { ...check, path: '/boom' } })))).rejects.toMatchObject({ code: 'route.not-seen' });
    expect((await blog()).map((s) => [s.name, s.state])).toEqual([['a', 'ready']]);
    await Promise.all(ups.map((up) => up.stop()));
  });

  it('cancelled at the last moment, it puts back what the log says serves, where that is now', async () => {
    const ups = await Promise.all([upstream('127.0.3.1', 'a'), upstream('127.0.3.2', 'b')]);
    const where = new Map([['a', '127.0.3.1'], ['b', '127.0.3.2']]);
    const logged = app('blog', ['blog.localhost'], [server('a', '127.0.3.9'), server('gone', '127.0.3.8')]);
    const all: RouteDeps = { ...deps(() => Promise.resolve()), engine: { stop: () => Promise.resolve(), remove: () => Promise.resolve(), address: async (id) => where.get(id) ?? null }, table: async () => ({ apps: [...fillers, logged] }), overtaken: async () => false };
    const switching = input([live('b', '127.0.3.2')], [live('a', '127.0.3.9'), live('gone', '127.0.3.8', 2)]);
    await bench.set({ apps: [...fillers, logged] });
    const { late } = await ended(all, switching, 'dropped');
    expect((await blog()).filter((s) => s.state === 'ready').map((s) => s.name)).toEqual(['b']);
    await late();
    expect((await blog()).map((s) => [s.name, s.ip, s.state])).toEqual([['a', '127.0.3.1', 'ready']]);
    expect((await bench.get('blog.localhost')).body).toBe('a');
    await Promise.all(ups.map((up) => up.stop()));
  });
});
