import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../contract/event-store.harness.js';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, baseImage, deploysOf, eventsOf, settled } from './berth.kit.js';

/** The HTTP door, on a Berth whose log lies in PostgreSQL. */
let cluster: Cluster;
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let token: string;

beforeAll(async () => {
  cluster = await Cluster.create('fsync=off');
  berth = await startBerth({ env: { BERTH_STORE: await cluster.database() } });
  app = await baseImage(berth);
  dir = await berth.repo(app({ version: '1', procfile: 'web: server\nworker: server -silent\n' }));
  token = (await berth.cli(['tokens:create', 'ci'])).out.trim();
});
afterAll(async () => {
  await berth?.stop();
  await cluster?.remove();
});

interface Reply { status: number; headers: Readonly<Record<string, string | string[] | undefined>>; body: string; json: any } // eslint-disable-line -- any JSON
async function api(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
  const reply = await berth.api(path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }), headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers } });
  let json: unknown = null;
  try { json = JSON.parse(reply.body); } catch { /* not JSON */ }
  return { ...reply, json };
}

interface SseItem { id: string; event: string; data: unknown }
/** Reads server-sent events until `enough` says so or the stream ends. */
function sse(path: string, enough: (items: SseItem[]) => boolean, after?: string): Promise<SseItem[]> {
  return new Promise((yes, no) => {
    const items: SseItem[] = [];
    const sent = request({ host: '127.0.0.1', port: berth.apiPort, path, agent: false, headers: { authorization: `Bearer ${token}`, accept: 'text/event-stream', ...(after === undefined ? {} : { 'last-event-id': after }) }, timeout: 60_000 }, (reply) => {
      if (reply.statusCode !== 200 || !String(reply.headers['content-type']).startsWith('text/event-stream')) { no(new Error(`${reply.statusCode} ${String(reply.headers['content-type'])}`)); return; }
      let text = '';
      let done = false;
      reply.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        for (let at = text.indexOf('\n\n'); at >= 0; at = text.indexOf('\n\n')) {
          const fields = Object.fromEntries(text.slice(0, at).split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
          text = text.slice(at + 2);
          if (fields['id'] === undefined) continue; // a heartbeat
          items.push({ id: fields['id'], event: fields['event'] ?? '', data: JSON.parse(fields['data'] ?? 'null') });
          if ((done = enough(items))) { reply.destroy(); yes(items); return; }
        }
      }).on('end', () => yes(items)).on('error', (error) => { if (!done) no(error); });
    });
    sent.on('timeout', () => sent.destroy(new Error('nothing came for a minute')));
    sent.on('error', no);
    sent.end();
  });
}

describe('on PostgreSQL', () => {
  it('takes a push live, scales, and goes back, as on SQLite', async () => {
    expect((await berth.push(dir, 'blog')).code).toBe(0);
    await berth.commit(dir, { version: '2\n' });
    const pushed = await berth.push(dir, 'blog');
    expect(pushed.code, pushed.output).toBe(0);
    expect((await berth.http('blog')).body).toContain('v=2 release=v2');
    expect((await berth.cli(['config:set', 'blog', 'A=one two'])).code).toBe(0);
    expect((await berth.http('blog', '/env/A')).body).toBe('one two');
    expect((await berth.ssh('ps:scale blog web=2')).code).toBe(0);
    const back = await berth.cli(['rollback', 'blog', 'v1']);
    expect(back.code, back.err).toBe(0);
    expect((await berth.http('blog')).body).toContain('v=1 release=v4');
    const positions = (await eventsOf(berth)).map((item) => item.data.position);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
    expect((await berth.cli(['trace', 'blog'])).out).toContain('blog deploy 5: succeeded');
  });

  it('ends the deploy right when a worker and the API die in it', async () => {
    await berth.commit(dir, { version: '3\n', Procfile: 'web: server -delay 1000\n' });
    const push = berth.push(dir, 'blog', 'main');
    await berth.until('the release to begin', async () => (await deploysOf(berth, 'blog'))[0]!.steps.some((step) => step.step === 'release' && step.status === 'running'));
    berth.kill('release-1');
    berth.kill('api');
    expect(await push).toMatchObject({ code: 0 });
    expect((await berth.http('blog')).body).toContain('v=3');
  });
});

describe('tokens', () => {
  it('are needed, and are not the other half of anything', async () => {
    for (const authorization of [undefined, '', 'Bearer', 'Bearer x', `Basic ${token}`, `Bearer ${token}x`, `Bearer ${token.slice(0, -1)}`]) {
      const reply = await berth.api('/v1/apps', { headers: authorization === undefined ? {} : { authorization } });
      expect(reply.status, String(authorization)).toBe(401);
      expect(reply.body).not.toContain('blog');
    }
    expect(await api('GET', '/v1/apps')).toMatchObject({ status: 200, json: ['blog'] });
  });

  it('are listed by name only, kept as a hash, and are dead the moment they are revoked', async () => {
    const other = (await berth.cli(['tokens:create', 'other'])).out.trim();
    const ask = async (): Promise<number> => (await berth.api('/v1/apps', { headers: { authorization: `Bearer ${other}` } })).status;
    expect(await ask()).toBe(200);
    expect(JSON.stringify(await berth.json(['tokens:list']))).not.toContain(other);
    expect(JSON.stringify(await eventsOf(berth))).not.toContain(other);
    expect((await berth.cli(['tokens:create', 'other'])).code).toBe(1);
    expect((await berth.cli(['tokens:revoke', 'other'])).code).toBe(0);
    expect(await ask()).toBe(401);
  });

  it('do not open what is only for the server itself', async () => {
    for (const [method, path] of [['POST', '/v1/tokens'], ['GET', '/v1/tokens'], ['DELETE', '/v1/tokens/ci'], ['POST', '/v1/ssh-keys'], ['DELETE', '/v1/ssh-keys/test'], ['POST', '/v1/cli'], ['POST', '/v1/git/push'], ['POST', '/v1/git/open']] as const) {
      const { status } = await api(method, path, method === 'GET' ? undefined : { name: 'x', argv: ['tokens:list'] });
      expect([403, 404, 409, 415], `${method} ${path}: ${status}`).toContain(status);
    }
    expect(await berth.json<object[]>(['ssh-keys:list'])).toHaveLength(1);
  });

  it('leaves the mark of who did it', async () => {
    expect((await api('POST', '/v1/apps', { app: 'made' })).status).toBe(201);
    expect((await eventsOf(berth, '--type', 'AppCreated')).at(-1)!.data.meta.actor).toBe('token:ci');
    expect(await api('DELETE', '/v1/apps/made')).toMatchObject({ status: 409, json: { code: 'app.confirm' } });
    expect((await api('DELETE', '/v1/apps/made', { confirm: 'made' })).status).toBe(200);
  });
});

describe('every path', () => {
  it('is in the OpenAPI document and answers something sane', async () => {
    const { status, json } = await api('GET', '/v1/openapi.json');
    expect(status).toBe(200);
    const paths = json.paths as Record<string, Record<string, { operationId: string; summary: string; parameters?: { name: string; in: string }[] }>>;
    const all = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })));
    expect(all.length).toBeGreaterThan(35);
    expect(new Set(all.map((one) => one.operationId)).size).toBe(all.length);
    for (const { path, method, operationId, summary } of all) {
      expect(summary, operationId).toMatch(/\S/);
      const url = path.replace('{app}', 'nobody').replace('{deploy}', '1').replace('{key}', 'K').replace('{job}', 'x').replace('{name}', 'x').replace('{position}', '999999').replaceAll(/\{\w+\}/g, 'x');
      expect(url).not.toContain('{');
      expect((await berth.api(url, { method, body: method === 'GET' ? undefined : '{}', headers: { 'content-type': 'application/json' } })).status, `${method} ${path} without a token`).toBe(401);
      const reply = await api(method, url, method === 'GET' ? undefined : {});
      // an app that is not there, an input that lacks something, or an answer; never a fault of ours
      const said = `${method} ${path}: ${reply.status} ${reply.body.slice(0, 200)}`;
      expect(reply.status, said).toBeLessThan(500);
      if (path.includes('{app}')) expect([400, 404], said).toContain(reply.status);
      if (reply.status >= 400) expect(reply.json, said).toMatchObject({ message: expect.any(String) as string });
    }
    // switched by the round above
    expect((await api('POST', '/v1/trace/off')).status).toBe(200);
  });

  it('refuses what is not of its form, naming it', async () => {
    for (const [path, body, says] of [
      ['/v1/apps', {}, /app/], ['/v1/apps', { app: 7 }, /app/], ['/v1/apps', { app: 'x', more: 1 }, /more/], ['/v1/apps', [], /./], ['/v1/apps/blog/scale', { scale: 'web=abc' }, /web=abc/],
      ['/v1/apps/blog/scale', { scale: [1] }, /scale/], ['/v1/apps/blog/config', { pairs: ['A-B=1'] }, /A-B/], ['/v1/apps', { __proto__: null, app: '../x' }, /will not do/], ['/v1/apps', { app: { $gt: '' } }, /app/],
    ] as const) {
      const reply = await api('POST', path, body);
      expect([400, 409], `${path} ${JSON.stringify(body)}: ${reply.status}`).toContain(reply.status);
      expect(reply.body).toMatch(says);
    }
    expect((await berth.api('/v1/apps', { method: 'POST', body: '{"app":', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' } })).status).toBe(400);
    expect((await api('GET', '/v1/nothing')).status).toBe(404);
    expect((await api('GET', '/v1/apps/..%2f..%2fetc')).status).toBe(404);
    expect((await api('GET', '/v1/apps/blog/deploys/abc')).status).toBe(400);
  });

  it('speaks only on the loopback', async () => {
    const listening = readFileSync('/proc/net/tcp', 'utf8').split('\n').map((line) => line.trim().split(/\s+/)).filter((row) => row[3] === '0A' && Number.parseInt(row[1]!.split(':')[1]!, 16) === berth.apiPort).map((row) => row[1]!.split(':')[0]);
    expect(listening).toEqual(['0100007F']);
  });
});

describe('deploys', () => {
  it('POST answers 202 at once with where to follow, and the stream tells all to the end', async () => {
    const sha = (await deploysOf(berth, 'blog')).at(-1)!.commit!;
    const started = await api('POST', '/v1/apps/blog/deploys', { commit: sha });
    expect(started.status).toBe(202);
    expect(started.headers['location']).toBe(started.json.follow);
    expect(started.json).toMatchObject({ name: 'blog', deploy: expect.any(Number) as number });
    const items = await sse(started.json.follow as string, () => false);
    expect(items.at(-1)).toMatchObject({ event: 'end', data: { status: 'succeeded', name: 'blog' } });
    expect(items.map((item) => (item.data as { m?: string }).m ?? '').join('\n')).toMatch(/Cloning blog[\s\S]*Building blog[\s\S]*Routing blog/);
    expect((await berth.http('blog')).body).toContain('v=1 ');
    expect(await api('POST', '/v1/apps/blog/deploys', { commit: 'f'.repeat(40) })).toMatchObject({ status: 409, json: { code: 'deploy.commit-missing' } });
  });

  it('the same request under one Idempotency-Key is carried out once, however often and at however many times it comes', async () => {
    const before = (await deploysOf(berth, 'blog')).length;
    const key = { 'idempotency-key': 'deploy-once-1' };
    const replies = await Promise.all(Array.from({ length: 5 }, () => api('POST', '/v1/apps/blog/restart', {}, key)));
    const later = await api('POST', '/v1/apps/blog/restart', {}, key);
    expect([...replies, later].map((reply) => reply.status)).toEqual(Array(6).fill(202));
    expect(new Set([...replies, later].map((reply) => reply.body)).size).toBe(1);
    expect(later.headers['idempotent-replayed']).toBe('true');
    expect((await deploysOf(berth, 'blog')).length).toBe(before + 1);
    expect(await api('POST', '/v1/apps/blog/rebuild', {}, key)).toMatchObject({ status: 409, json: { code: 'request.key-reused' } });
    await settled(berth, 'blog');
  });

  it('a stream that was cut goes on behind Last-Event-ID without a gap or a repeat', async () => {
    const { json } = await api('POST', '/v1/apps/blog/rebuild', {});
    const follow = json.follow as string;
    const lines: SseItem[] = [];
    // cut after every second line, again and again, while it is still being written
    for (let last: string | undefined, over = false; !over;) {
      const piece = await sse(follow, (items) => items.filter((item) => item.event === 'line').length >= 2, last);
      lines.push(...piece.filter((item) => item.event === 'line'));
      last = lines.at(-1)?.id ?? last;
      over = piece.some((item) => item.event === 'end');
    }
    const whole = (await sse(follow, () => false)).filter((item) => item.event === 'line');
    expect(whole.length).toBeGreaterThan(10);
    expect(lines).toEqual(whole.slice(0, lines.length));
    // behind the end stands only what tidying up called
    for (const { data } of whole.slice(lines.length)) expect(data).toMatchObject({ s: 'route', k: 'c' });
  });

  it('events likewise, across deaths of the API', async () => {
    const before = (await eventsOf(berth)).at(-1)!.data.position;
    const got: SseItem[] = [];
    const reading = (async () => {
      for (let over = false; !over;) {
        const last = got.at(-1)?.id ?? String(before);
        await sse('/v1/events?tail=true', (items) => { got.push(items.at(-1)!); return (over = items.at(-1)!.event === 'DeploySucceeded' && (items.at(-1)!.data as { data: { deploy: number } }).data.deploy === target); }, last).catch(() => new Promise((done) => { setTimeout(done, 100); }));
      }
    })();
    const target = (await deploysOf(berth, 'blog')).length + 1;
    expect((await api('POST', '/v1/apps/blog/restart', {})).status).toBe(202);
    berth.kill('api');
    await reading;
    const ids = got.map((item) => Number(item.id));
    const all = (await eventsOf(berth, '--after', String(before))).map((item) => item.data.position).filter((position) => position <= ids.at(-1)!);
    expect(ids).toEqual(all);
    await settled(berth, 'blog');
  });

  it('says 409 with a reason for what the rules refuse', async () => {
    expect(await api('POST', '/v1/apps/blog/rollback', { release: 'v99' })).toMatchObject({ status: 404, json: { code: 'release.missing' } });
    expect(await api('POST', '/v1/apps/blog/deploys/cancel', {})).toMatchObject({ status: 409, json: { code: 'deploy.not-open', hint: expect.any(String) as string } });
    expect(await api('POST', '/v1/jobs/abcdefghij.1.build/retry', {})).toMatchObject({ status: 404 });
  });

  it('takes and gives config as JSON', async () => {
    const set = await api('POST', '/v1/apps/blog/config', { pairs: ['HTTP=yes\nand "more"'], noRestart: true });
    expect(set.status).toBe(200);
    expect(set.json).toMatchObject({ set: ['HTTP'], deploy: null });
    expect((await api('GET', '/v1/apps/blog/config/HTTP')).json).toEqual({ key: 'HTTP', value: 'yes\nand "more"' });
    expect((await api('POST', '/v1/apps/blog/config-import', { file: '-', content: 'FILE=1\n', noRestart: true })).json).toMatchObject({ set: ['FILE'] });
    expect((await api('POST', '/v1/apps/blog/config-import', { file: '/etc/passwd' })).status).toBe(400);
  });

  it('names buildpacks, tells what would be detected and why, and forgets them again', async () => {
    const cli = async (...words: string[]): Promise<string> => (await berth.cli(words)).out;
    expect(await cli('buildpacks:detect', 'blog')).toMatch(/Dockerfile \(Dockerfile\), Dockerfile is there, at [0-9a-f]{7}\n[^]*asked buildpacks:set: none\n[^]*asked dockerfile: Dockerfile is there/);
    await cli('buildpacks:add', 'blog', 'heroku-community/apt');
    await cli('buildpacks:add', '--index', '1', 'blog', 'https://git.example.com/pack#v1');
    expect(await cli('buildpacks:list', 'blog')).toBe('-----> blog buildpack urls\n       https://git.example.com/pack#v1\n       https://github.com/heroku/heroku-buildpack-apt\n\n'.trimEnd() + '\n');
    expect((await api('GET', '/v1/apps/blog/buildpacks/detect')).json).toMatchObject({ title: 'Buildpacks', reason: 'named by buildpacks:set', plan: { builder: 'classic-buildpack', classic: { strict: true } }, warnings: ['the Dockerfile is not used: buildpacks:set decides'] });
    expect((await api('PUT', '/v1/apps/blog/buildpacks', { buildpacks: ['heroku/python'], replace: true })).json).toMatchObject({ buildpacks: ['python'] });
    expect(await berth.cli(['buildpacks:detect', 'blog'])).toMatchObject({ code: 1, err: expect.stringContaining('the python buildpack (buildpacks:set) does not fit: it looks for requirements.txt') as string });
    expect(await berth.cli(['buildpacks:add', 'blog', 'acme/thing'])).toMatchObject({ code: 1, err: expect.stringContaining('https://github.com/acme/heroku-buildpack-thing') as string });
    expect(await cli('buildpacks:report', 'blog')).toMatch(/Buildpacks list: +python\n/);
    await cli('buildpacks:remove', 'blog', 'heroku/python');
    expect((await api('GET', '/v1/apps/blog/buildpacks')).json).toMatchObject({ buildpacks: [] });
    expect((await eventsOf(berth, '--app', 'blog')).filter(({ data }) => data.type === 'AppSettingChanged')).toHaveLength(4);
  });
});
