import { spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../../src/drivers/router/haproxy.socket.js';
import { signatures } from '../../src/modules/hooks/webhook.delivery.js';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, baseImage, deploysOf, eventsOf, succeeds } from './berth.kit.js';

/** What stands at the edge: rules of the router by the plugins that come with Berth, calls to elsewhere, calls from elsewhere. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;

const ok = async (args: string[], stdin?: string | Buffer): Promise<string> => {
  const { out } = await succeeds(berth, args, stdin === undefined ? {} : { stdin });
  return out;
};
const no = async (args: string[], stdin?: string): Promise<string> => {
  const { code, out, err } = await berth.cli(args, stdin === undefined ? {} : { stdin });
  expect(code, `${args.join(' ')}: ${out}`).not.toBe(0);
  return err + out;
};
/** What a command shows once. */
const shown = (out: string): { url: string; secret: string; webhook: string } => ({ url: /address: (\S+)/.exec(out)?.[1] ?? '', secret: /shown this once: (\S+)/.exec(out)?.[1] ?? '', webhook: /Added webhook (w\d+)/.exec(out)?.[1] ?? '' });
const basic = (name: string, password: string): Record<string, string> => ({ authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` });

beforeAll(async () => {
  berth = await startBerth();
  app = await baseImage(berth);
  dir = await berth.repo(app({ version: 'one' }));
  const pushed = await berth.push(dir, 'blog');
  expect(pushed.code, pushed.output).toBe(0);
});
afterAll(async () => { await berth.stop(); });

describe('at the router', () => {
  it('maintenance: 503 with a page while the containers run on, over a restart of the router and a deploy', async () => {
    const before = (await berth.owned()).containers;
    expect(await ok(['maintenance:enable', 'blog'])).toMatch(/Enabling maintenance mode for blog[^]*answers 503, its containers keep running/);
    expect(await berth.http('blog')).toMatchObject({ status: 503, headers: { 'retry-after': '60' } });
    expect((await berth.owned()).containers).toEqual(before);
    expect(await berth.json(['maintenance:status', 'blog'])).toMatchObject({ data: { enabled: true } });
    const page = '<!doctype html><p>Bin gleich zurück</p>\n';
    await ok(['maintenance:custom-page', 'blog'], page);
    expect((await berth.http('blog')).body).toBe(page);
    berth.kill('router');
    await berth.until('the router to be back', async () => (await berth.http('blog')).body === page);
    await berth.commit(dir, { version: 'two\n' });
    const pushed = await berth.push(dir, 'blog');
    expect(pushed.code, pushed.output).toBe(0);
    expect((await berth.http('blog')).status).toBe(503);
    await ok(['maintenance:disable', 'blog']);
    expect((await berth.http('blog')).body).toMatch(/^v=two/);
    expect(await no(['maintenance:custom-page', 'blog'], 'x'.repeat(16_000))).toMatch(/16000 bytes, and at most 15000/);
    expect(await no(['maintenance:enable', 'nobody'])).toMatch(/App nobody does not exist/);
  });

  it('redirect: from a host of the app, with path and query; not from another', async () => {
    const www = `www.blog.${berth.domain}`;
    expect(await ok(['redirect:set', 'blog', www, `blog.${berth.domain}`, '308'])).toMatch(new RegExp(`${www} is not redirected: it is not a domain of blog`));
    await ok(['domains:add', 'blog', www]);
    expect(await berth.http(www, '/a?b=c')).toMatchObject({ status: 308, headers: { location: `http://blog.${berth.domain}/a?b=c` } });
    expect(await ok(['redirect', 'blog'])).toContain(www);
    expect(await no(['redirect:set', 'blog', `blog.${berth.domain}`, www])).toMatch(/redirected to itself/);
    await ok(['redirect:unset', 'blog', www]);
    expect((await berth.http(www)).body).toMatch(/^v=two/);
  });

  it('http-auth: a password or an allowed address; what somebody changed is put back; no password and no hash in the log', async () => {
    const password = 'correct horse battery';
    expect(await ok(['http-auth:enable', 'blog', 'ada', password])).toMatch(/Only with a password: 1 user/);
    expect((await berth.http('blog')).status).toBe(401);
    expect((await berth.http('blog', '/', { headers: basic('ada', password) })).body).toMatch(/^v=two/);
    expect((await berth.http('blog', '/', { headers: basic('ada', 'wrong') })).status).toBe(401);
    await berth.commit(dir, { version: 'three\n' });
    const pushed = await berth.push(dir, 'blog');
    expect(pushed.code, pushed.output).toBe(0);
    expect((await berth.http('blog')).status).toBe(401);

    const router = join(berth.root, 'router');
    await ask(join(berth.runDir, 'haproxy.sock'), `clear map ${join(router, 'auth.map')}`);
    expect((await berth.http('blog')).status).toBe(200);
    await berth.until('the reconciler to shut it again', async () => (await berth.http('blog')).status === 401, 60_000);
    expect((await eventsOf(berth, '--type', 'DriftDetected')).some(({ data }) => data.data['what'] === 'route')).toBe(true);

    const hash = /\|([0-9A-F]{64})$/m.exec(readFileSync(join(router, 'users.map'), 'utf8'))![1]!;
    expect(spawnSync('grep', ['-rlaF', '--', password, berth.root], { encoding: 'utf8' }).stdout).toBe('');
    expect(spawnSync('grep', ['-rlaF', '--', hash, berth.root], { encoding: 'utf8' }).stdout.trim().split('\n').sort()).toEqual([join(router, 'haproxy.cfg'), join(router, 'users.map')]);

    await ok(['http-auth:add-allowed-ip', 'blog', '127.0.0.0/8']);
    expect((await berth.http('blog')).status).toBe(200);
    await ok(['http-auth:remove-allowed-ip', 'blog', '127.0.0.0/8']);
    expect((await berth.http('blog')).status).toBe(401);
    const made = /shown this once: (\S+)/.exec(await ok(['http-auth:add-user', 'blog', 'bob']))![1]!;
    expect((await berth.http('blog', '/', { headers: basic('bob', made) })).status).toBe(200);
    expect(await ok(['http-auth:report', 'blog'])).toMatch(/ada bob/);
    const token = (await berth.cli(['tokens:create', 'ci'])).out.trim();
    const again = (): ReturnType<Fixture['api']> => berth.api('/v1/plugins/http-auth/commands/add-user', { method: 'POST', body: JSON.stringify({ app: 'blog', user: 'eve' }), headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'eve-1' } });
    const { data: { password: shownOnce } } = JSON.parse((await again()).body) as { data: { password: string } };
    expect((await again()).body).not.toContain(shownOnce);
    await berth.until('eve to be let in', async () => (await berth.http('blog', '/', { headers: basic('eve', shownOnce) })).status === 200);
    expect(spawnSync('grep', ['-rlaF', '--', shownOnce, berth.root], { encoding: 'utf8' }).stdout).toBe('');
    await ok(['http-auth:disable', 'blog']);
    expect((await berth.http('blog')).status).toBe(200);
    expect(await no(['http-auth:add-allowed-ip', 'blog', '1.2.3.4/99'])).toMatch(/not an address/);
  });
});

interface Got { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string }
const got: Got[] = [];
let receiver: Server;
let base: string;
let status = 200;
beforeAll(async () => {
  receiver = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece)).on('end', () => {
      got.push({ path: request.url!, headers: request.headers, body: Buffer.concat(pieces).toString() });
      response.writeHead(request.url === '/moved' ? 302 : status, { location: '/' }).end();
    });
  });
  await new Promise<void>((resolve) => { receiver.listen(0, '127.0.0.1', resolve); });
  base = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
});
afterAll(() => { receiver.closeAllConnections(); receiver.close(); });

describe('webhook', () => {
  interface Row { number: number; event: string; id: string; state: string; status: number | null; attempts: number; why: string | null }
  const rows = async (id: string): Promise<Row[]> => (await berth.json<{ deliveries: Row[] }>(['webhook:deliveries', id])).deliveries;
  const settled = (id: string, number: number): Promise<Row> => berth.until(`delivery ${number} of ${id}`, async () => (await rows(id)).find((row) => row.number === number && row.state !== 'waiting'));

  it('tells of what happens, signed, once each; again with the same id while it fails, and over a kill', async () => {
    const { webhook: id, secret } = shown(await ok(['webhook:add', '--private', '--events', 'DeploySucceeded', `${base}/hook`, 'blog']));
    await ok(['domains:add', 'blog', 'more0.test']); // a deploy of the route alone
    expect(await settled(id, 1)).toMatchObject({ state: 'delivered', status: 200, attempts: 1, event: 'DeploySucceeded' });
    const [call] = got;
    expect(call).toMatchObject({ path: '/hook', headers: { 'x-berth-event': 'DeploySucceeded', 'content-type': 'application/json' } });
    expect(JSON.parse(call!.body)).toMatchObject({ type: 'DeploySucceeded', app: 'blog', data: { deploy: (await deploysOf(berth, 'blog'))[0]!.deploy } });
    expect(call!.headers).toMatchObject(signatures(secret, String(call!.headers['webhook-id']), Number(call!.headers['webhook-timestamp']), call!.body));

    status = 500;
    await ok(['domains:add', 'blog', 'more1.test']); // a deploy of the route alone
    await berth.until('it to fail once', async () => (await rows(id))[0]!.why !== null);
    berth.kill('service-1');
    status = 200;
    expect(await settled(id, 2)).toMatchObject({ state: 'delivered' });
    const ids = got.slice(1).map(({ headers }) => headers['webhook-id']);
    expect(ids.length).toBeGreaterThan(1);
    expect(new Set(ids).size).toBe(1);

    expect(await ok(['webhook:redeliver', id, '1'])).toMatch(/Delivery 3/);
    await settled(id, 3);
    expect(got.at(-1)!.headers['webhook-id']).toBe(call!.headers['webhook-id']);
    await ok(['webhook:test', id]);
    expect(await settled(id, 4)).toMatchObject({ event: 'Test', state: 'delivered' });
    expect(await ok(['webhook:list'])).toContain(`${base}/hook`);
    expect(spawnSync('grep', ['-rlaF', '--', secret, berth.root], { encoding: 'utf8' }).stdout).toBe('');
    await ok(['webhook:remove', id]);
    const calls = got.length;
    await ok(['domains:add', 'blog', 'more2.test']); // a deploy of the route alone
    expect(got).toHaveLength(calls);
  });

  it('follows no redirect, calls no private address unless root said so, and refuses what is no address', async () => {
    const { webhook: moved } = shown(await ok(['webhook:add', '--private', `${base}/moved`]));
    await ok(['webhook:test', moved]);
    expect(await settled(moved, 1)).toMatchObject({ state: 'failed', status: 302, attempts: 1 });
    const { webhook: inside } = shown(await ok(['webhook:add', `${base.replace('127.0.0.1', 'localhost')}/inside`]));
    await ok(['webhook:test', inside]);
    expect(await settled(inside, 1)).toMatchObject({ state: 'failed', why: expect.stringContaining('private address') });
    expect(got.some(({ path }) => path === '/inside')).toBe(false);
    for (const host of ['127.0.0.1', '[::1]', '169.254.169.254', '0x7f.1']) expect(await no(['webhook:add', `http://${host}/`])).toMatch(/is a private address, which webhooks do not call\n.*--private/);
    expect(await no(['github:enable', 'blog', 'nonsense'])).toMatch(/not a repository's address/);
    expect(await ok(['github:enable', 'blog', 'team/blog'])).toContain('https://github.com/team/blog.git is pushed to');
    await ok(['github:disable', 'blog']);
    expect(await berth.ssh(`webhook:add --private ${base}/x`)).toMatchObject({ code: 1, err: expect.stringContaining('Only on the server itself') });
    for (const bad of ['ftp://x/', 'nonsense', 'http://u:p@x/']) await no(['webhook:add', bad]);
    expect(await no(['webhook:add', '--events', 'Nonsense', 'https://x.example'])).toMatch(/not a type of event/);
    for (const id of [moved, inside]) await ok(['webhook:remove', id]);
  });
});

describe('notifications', () => {
  interface Row { number: number; event: string; state: string; attempts: number; said: string | null; why: string | null }
  const rows = async (name: string): Promise<Row[]> => (await berth.json<{ deliveries: Row[] }>(['notify:deliveries', name])).deliveries;
  const settled = (name: string, number: number): Promise<Row> => berth.until(`message ${number} of ${name}`, async () => (await rows(name)).find((row) => row.number === number && row.state !== 'waiting'));
  const at = (path: string): Got[] => got.filter((one) => one.path === path);
  const mails: string[] = [];
  let post: SMTPServer;
  beforeAll(async () => {
    post = new SMTPServer({ disabledCommands: ['AUTH', 'STARTTLS'], disableReverseLookup: true, closeTimeout: 100, onData: (stream, _, done) => {
      let text = '';
      stream.setEncoding('utf8').on('data', (piece: string) => { text += piece; }).on('end', () => { mails.push(text); done(); });
    } });
    await new Promise<void>((resolve) => { post.listen(0, '127.0.0.1', () => resolve()); });
  });
  afterAll(() => new Promise<void>((resolve) => { post.close(() => resolve()); }));

  it('tell people of a deploy that failed, by everything that was set up; once, though the other side was away', async () => {
    const [url, token] = [`${base}/slack/T0/S3CRETPART`, 'tk_S3CRETTOKEN'];
    expect(await ok(['notify:add', '--private', '--secret-stdin', 'ops', 'slack'], `${url}\n`)).toMatch(/ops is told by slack of failures, of all apps and the server/);
    await ok(['notify:add', '--private', '--app', 'blog', '--events', 'failures,DeploySucceeded', 'phone', 'ntfy', `url=${base}/my-topic`], token);
    await ok(['notify:add', '--private', 'mail', 'email', `server=127.0.0.1:${(post.server.address() as AddressInfo).port}`, 'security=none', 'from=berth@example.com', 'to=ada@example.com,bob@example.com']);
    expect(await ok(['notify:test', 'ops'])).toContain('ops was told');
    expect(JSON.parse(at('/slack/T0/S3CRETPART')[0]!.body)).toMatchObject({ text: '*Berth tells you by ops*' });

    status = 503;
    await berth.commit(dir, { 'app.json': '{ broken' });
    const { code } = await berth.push(dir, 'blog');
    expect(code).not.toBe(0);
    expect(await settled('mail', 1)).toMatchObject({ state: 'delivered', attempts: 1 });
    await berth.until('it to be away', async () => (await rows('ops'))[0]!.why !== null && (await rows('phone'))[0]?.why !== null);
    berth.kill('service-1');
    status = 200;
    expect(await settled('ops', 2)).toMatchObject({ event: 'DeployFailed', state: 'delivered', said: expect.stringContaining('it answered 200') });
    expect(await settled('phone', 1)).toMatchObject({ state: 'delivered' });
    const { deploy } = (await deploysOf(berth, 'blog'))[0]!;
    const said = at('/slack/T0/S3CRETPART').slice(1).map(({ body }) => JSON.parse(body) as { text: string; attachments: { text: string }[] });
    expect(said.length).toBeGreaterThan(1); // the first was refused
    for (const { text, attachments } of said) expect([text, attachments[0]!.text]).toEqual([`*blog: deploy ${deploy} failed in detect*`, expect.stringMatching(/app\.json[^]*Look: berth trace blog [^]*UTC/)]);
    const push = at('/').at(-1)!;
    expect(push.headers.authorization).toBe(`Bearer ${token}`);
    expect(JSON.parse(push.body)).toMatchObject({ topic: 'my-topic', title: `blog: deploy ${deploy} failed in detect`, priority: 5 });
    expect(mails).toEqual([expect.stringMatching(/^Subject: \[.*\] blog: deploy \d+ failed in detect$[^]*app\.json/m)]);

    await berth.commit(dir, { 'app.json': '{}' });
    expect((await berth.push(dir, 'blog')).code).toBe(0);
    expect(await settled('phone', 2)).toMatchObject({ event: 'DeploySucceeded', state: 'delivered' });
    expect((await rows('ops')).map(({ event }) => event)).toEqual(['DeployFailed', 'Test']);
    expect(await ok(['notify:list'])).toMatch(/ops +slack +\(all\) +failures +url=\(sealed\) \(may be private\)\nphone +ntfy +blog/);
    expect(spawnSync('grep', ['-rlaF', '-e', 'S3CRETPART', '-e', 'S3CRETTOKEN', '--', berth.root], { encoding: 'utf8' }).stdout).toBe('');
  });

  it('that do not arrive are seen by the doctor and tried again by hand, and say nothing about themselves', async () => {
    status = 503; // which is tried again, but for whoever tries it out and waits
    const { code, err } = await berth.cli(['notify:test', 'ops']);
    expect([code, err]).toEqual([1, expect.stringContaining('it answered 503')]);
    status = 200;
    expect((await berth.cli(['doctor'])).out).toMatch(/! +notifications +ops \(slack\): it answered 503[^\n]*\n.*people do not hear/);
    const job = /notify-ops\.3\.send\S*/.exec(await ok(['jobs:failed']))![0];
    const heard = got.length;
    await ok(['jobs:retry', job]);
    expect(await settled('ops', 3)).toMatchObject({ event: 'Test', state: 'delivered' });
    expect((await berth.cli(['doctor'])).out).toMatch(/notifications +3 set up, what was last told by each arrived/);
    expect(got.length - heard).toBe(1);
    await ok(['notify:remove', 'ops']);
    expect(await no(['notify:test', 'ops'])).toMatch(/There is no notification ops/);
  });

  it('are refused where they cannot work: secrets as words, addresses that nobody may call, what there is not', async () => {
    expect(await no(['notify:add', 'x', 'slack', 'url=https://hooks.slack.com/services/x'])).toMatch(/url of slack is a secret/);
    expect(await no(['notify:add', 'x', 'slack'], '')).toMatch(/slack wants url .*piped in or typed/);
    expect(await no(['notify:add', 'x', 'pigeon'])).toMatch(/no channel 'pigeon'[^]*email, ntfy, slack, telegram/);
    expect(await no(['notify:add', 'phone', 'ntfy', 'url=https://ntfy.sh/x'])).toMatch(/There is a notification phone already/);
    expect(await no(['notify:add', 'x', 'ntfy', 'url=https://ntfy.sh/x', '--events', 'Nonsense'])).toMatch(/nothing that people are told/);
    expect(await berth.ssh(`notify:add --private x ntfy url=${base}/x`)).toMatchObject({ code: 1, err: expect.stringContaining('Only on the server itself') });
    expect(await no(['notify:add', 'inside', 'ntfy', `url=${base}/inside`])).toMatch(/127\.0\.0\.1 is a private address[^]*--private/);
    await ok(['notify:add', 'inside', 'ntfy', `url=${base.replace('127.0.0.1', 'localhost')}/inside`]);
    expect(await no(['notify:test', 'inside'])).toMatch(/private address[^]*only root/);
    expect(got.some(({ body }) => body.includes('"inside"'))).toBe(false);
    // over HTTP
    const headers = { authorization: `Bearer ${(await berth.cli(['tokens:create', 'notify'])).out.trim()}`, 'content-type': 'application/json' };
    const asked = (body: object): ReturnType<Fixture['api']> => berth.api('/v1/notifications', { method: 'POST', body: JSON.stringify(body), headers });
    expect(await asked({ name: 'web', channel: 'slack' })).toMatchObject({ status: 409, body: expect.stringContaining('slack wants url') });
    expect((await asked({ name: 'web', channel: 'ntfy', options: ['url=https://ntfy.sh/x'], content: 'tk_web' })).status).toBe(200);
    expect(JSON.parse((await berth.api('/v1/notifications', { headers })).body)).toContainEqual({ name: 'web', channel: 'ntfy', app: null, events: ['failures'], options: { url: 'https://ntfy.sh/x', token: '(sealed)' }, private: false });
    for (const name of ['web', 'inside', 'phone', 'mail']) await ok(['notify:remove', name]);
  });
});

describe('a push elsewhere', () => {
  let remote: string;
  let url: string;
  let hook: { url: string; secret: string };
  const call = (payload: object, over: { headers?: Record<string, string>; secret?: string; path?: string } = {}): ReturnType<Fixture['http']> => {
    const body = JSON.stringify(payload);
    const { pathname, hostname } = new URL(hook.url);
    const signature = `sha256=${createHmac('sha256', over.secret ?? hook.secret).update(body).digest('hex')}`;
    return berth.http(hostname, over.path ?? pathname, { method: 'POST', body, headers: { 'content-type': 'application/json', 'x-github-event': 'push', 'x-hub-signature-256': signature, ...over.headers } });
  };
  const pushed = (more: object = {}): object => ({ ref: 'refs/heads/main', after: 'a'.repeat(40), deleted: false, repository: { full_name: 'Upstream' }, ...more });
  interface Call { delivery: string; deploy: number | null; outcome: string }
  const calls = async (): Promise<Call[]> => (await berth.json<{ deliveries: Call[] }>(['github:deliveries', 'mirror'])).deliveries;
  const came = (delivery: string): Promise<Call> => berth.until(`what came of ${delivery}`, async () => (await calls()).find((one) => one.delivery === delivery && !one.outcome.startsWith('operation')));

  beforeAll(async () => {
    remote = await berth.repo(app({ version: 'up-1' }));
    expect((await berth.push(remote, 'upstream')).code).toBe(0);
    url = berth.url('upstream');
    const key = await ok(['git:generate-deploy-key']);
    await ok(['ssh-keys:add', 'deploy'], key);
    await ok(['apps:create', 'mirror']);
    hook = shown(await ok(['github:enable', 'mirror', url, '--branch', 'main']));
  });

  it('deploys the branch through the public address, once, however often the call comes', async () => {
    const first = await call(pushed(), { headers: { 'x-github-delivery': 'd-1' } });
    expect(first.status, first.body).toBe(202);
    const { deploy } = await came('d-1');
    expect(deploy).toBe(1);
    await berth.until('it to serve', async () => (await berth.http('mirror')).body.startsWith('v=up-1'), 120_000);
    expect(await call(pushed(), { headers: { 'x-github-delivery': 'd-1' } })).toMatchObject({ status: 200, body: expect.stringContaining('"again":true') });
    await call(pushed(), { headers: { 'x-github-delivery': 'd-2' } });
    expect((await came('d-2')).outcome).toMatch(/is what is live/);
    await berth.commit(remote, { version: 'up-2\n' });
    expect((await berth.push(remote, 'upstream')).code).toBe(0);
    await call(pushed(), { headers: { 'x-github-delivery': 'd-3' } });
    expect((await came('d-3')).deploy).toBe(2);
    await berth.until('it to serve', async () => (await berth.http('mirror')).body.startsWith('v=up-2'), 120_000);
    expect((await deploysOf(berth, 'mirror')).map(({ deploy: n }) => n)).toEqual([2, 1]);
  });

  it('says of every other call why nothing was deployed', async () => {
    const reasons = [
      ['e-1', pushed({ ref: 'refs/heads/other' }), {}, /a push to other: this app deploys main/], ['e-2', pushed({ repository: { full_name: 'some/fork' } }), {}, /a push to some\/fork: this app deploys upstream/],
      ['e-3', pushed({ deleted: true }), {}, /main was deleted/], ['e-4', pushed({ ref: 'refs/tags/v1' }), {}, /only branches deploy/], ['e-5', {}, { 'x-github-event': 'ping' }, /the hook works/], ['e-6', {}, { 'x-github-event': 'issues' }, /only pushes deploy/],
    ] as const;
    for (const [delivery, payload, headers, why] of reasons) {
      expect(await call(payload, { headers: { ...headers, 'x-github-delivery': delivery } })).toMatchObject({ status: 200, body: expect.stringMatching(why) });
      expect((await came(delivery)).outcome).toMatch(why);
    }
    expect((await deploysOf(berth, 'mirror'))).toHaveLength(2);
    expect(await ok(['github:report', 'mirror'])).toContain(hook.url);
  });

  it('lets nobody in without the secret, nothing that is huge, and shows nothing else of the API', async () => {
    expect((await call(pushed(), { secret: 'wrong', headers: { 'x-github-delivery': 'f-1' } })).status).toBe(401);
    expect((await call(pushed(), { headers: { 'x-github-delivery': 'f-2', 'x-hub-signature-256': '' } })).status).toBe(401);
    const body = JSON.stringify(pushed());
    const sha1 = createHmac('sha256', hook.secret).update(`${body} `).digest('hex');
    expect((await call(pushed(), { headers: { 'x-hub-signature-256': `sha256=${sha1}` } })).status).toBe(401);
    expect((await call(pushed(), { path: '/hooks/github/nobody1234' })).status).toBe(404);
    expect((await call(pushed(), { path: new URL(hook.url).pathname.replace('github', 'gitlab') })).status).toBe(404);
    for (const path of ['/v1/apps', '/hooks/../v1/apps', '/hooks/', '/cli']) expect((await call(pushed(), { path })).status, path).toBe(404);
    // fifty megabytes: refused before they are sent
    const { pathname, hostname } = new URL(hook.url);
    const large = await new Promise<string>((resolve, reject) => {
      const socket = connect(berth.httpPort, berth.httpHost, () => socket.write(`POST ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-length: ${50 << 20}\r\n\r\nx`));
      socket.once('data', (data) => { resolve(data.toString()); socket.destroy(); }).on('error', reject);
    });
    expect(large).toMatch(/^HTTP\/1\.1 413 /);
    const chunked = await berth.http(hostname, pathname, { method: 'POST', body: 'x'.repeat(12 << 20) }).catch(() => null);
    expect(chunked?.status ?? 413).toBe(413);
    expect(await berth.json(['github:deliveries', 'mirror'])).toMatchObject({ refused: { count: expect.any(Number), why: expect.stringMatching(/larger than|not that of the secret/) } });
    expect((await calls()).some(({ delivery }) => delivery.startsWith('f-'))).toBe(false);
    expect(spawnSync('grep', ['-rlaF', '--', hook.secret, berth.root], { encoding: 'utf8' }).stdout).toBe('');
    await ok(['github:disable', 'mirror']);
    expect((await call(pushed())).status).toBe(404);
  });

  it('gitlab and gitea, each in its own way', async () => {
    const lab = shown(await ok(['gitlab:enable', 'mirror', url]));
    const tea = shown(await ok(['gitea:enable', 'mirror', url]));
    const post = (at: string, headers: Record<string, string>, payload: object): ReturnType<Fixture['http']> => berth.http(new URL(at).hostname, new URL(at).pathname, { method: 'POST', body: JSON.stringify(payload), headers });
    const labs = { ref: 'refs/heads/main', after: 'b'.repeat(40), project: { path_with_namespace: 'upstream' } };
    expect((await post(lab.url, { 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': 'wrong' }, labs)).status).toBe(401);
    expect((await post(lab.url, { 'x-gitlab-event': 'Push Hook', 'x-gitlab-token': lab.secret, 'x-gitlab-event-uuid': 'g-1' }, labs)).status).toBe(202);
    const teas = pushed();
    const signature = createHmac('sha256', tea.secret).update(JSON.stringify(teas)).digest('hex');
    expect((await post(tea.url, { 'x-gitea-event': 'push', 'x-gitea-signature': signature, 'x-gitea-delivery': 't-1' }, teas)).status).toBe(202);
    for (const [provider, delivery] of [['gitlab', 'g-1'], ['gitea', 't-1']] as const) {
      await berth.until(`what came of ${delivery}`, async () => (await berth.json<{ deliveries: Call[] }>([`${provider}:deliveries`, 'mirror'])).deliveries.find((one) => one.delivery === delivery && /is what is live/.test(one.outcome)));
    }
    expect(readdirSync(join(berth.root, 'git', 'run'))).toEqual([]);
  });
});
