import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, Poller, baseImage, deployOf, deploysOf, eventsOf, left, refOf, remote, settled, sshing } from './berth.kit.js';

/** What a user does with one app from its first push to its end, as a user does it. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let shop: string;
const SECRET = 'planted-f3a9c1-secret';

beforeAll(async () => {
  berth = await startBerth();
  app = await baseImage(berth);
  shop = await berth.repo(app({ procfile: 'web: server\nworker: server -silent\n' }));
});
afterAll(async () => {
  await berth.stop();
  expect(await berth.owned()).toEqual({ containers: [], networks: [], volumes: [], images: [] });
  expect(existsSync(berth.root)).toBe(false);
});

/** The only container that is left: the old ones go once the switch is recorded. */
const one = (): Promise<string> => berth.until('one container', async () => {
  const { containers } = await left(berth);
  return containers.length === 1 && containers[0];
}, 20_000);
const body = async (host: string, path = '/'): Promise<string> => (await berth.http(host, path)).body.trim();
const env = async (key: string, host = 'shop'): Promise<string> => (await berth.http(host, `/env/${key}`)).body;

/** Every file below a folder, as one searchable text. */
function grep(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(text)).map((entry) => join(entry.parentPath, entry.name));
}

describe('deploying', () => {
  it('makes the app with the first push, says each step, and the app answers', async () => {
    expect((await berth.cli(['apps:exists', 'shop'])).code).toBe(20);
    const { code, output } = await berth.push(shop, 'shop');
    const lines = remote(output);
    expect(code, output).toBe(0);
    const marks = [/^-----> Set main as deploy-branch/, /^-----> Deploying shop at [0-9a-f]{7}, deploy 1/, /^-----> Cloning shop/, /^-----> .*Dockerfile.* detected|^-----> Dockerfile/, /^-----> Building/, /^-----> Releasing/, /^-----> Routing shop\./, /^=====> Application deployed: shop v1/, /^ {7}http:\/\/shop\.test\.localhost:\d+$/];
    const at = marks.map((mark) => lines.findIndex((line) => mark.test(line)));
    expect(at, lines.join('\n')).toEqual([...at].sort((a, b) => a - b));
    expect(at, lines.join('\n')).not.toContain(-1);
    expect(await body('shop')).toBe('v=1 release=v1 dyno=web.1');
    expect((await berth.cli(['apps:exists', 'shop'])).code).toBe(0);
    expect(await refOf(berth, 'shop')).toBe((await berth.git(shop, 'rev-parse', 'HEAD')).trim());
    expect((await berth.http('nobody')).status).toBe(404);
  });

  it('replaces the version without one failed request', async () => {
    const pollers = [new Poller(berth, 'shop', true), new Poller(berth, 'shop', false)];
    await berth.until('pollers under way', async () => pollers.every((poller) => poller.ok > 20));
    await berth.commit(shop, { version: '2\n' });
    const { code, output } = await berth.push(shop, 'shop');
    await berth.until('the new version', async () => pollers.every((poller) => poller.seen.has('v=2 release=v2 dyno=web.1')));
    for (const poller of pollers) await poller.stop();
    expect(code, output).toBe(0);
    for (const poller of pollers) {
      expect(poller.failures).toEqual([]);
      expect([...poller.seen.keys()]).toEqual(['v=1 release=v1 dyno=web.1', 'v=2 release=v2 dyno=web.1']);
    }
    await one();
  });

  it('says that everything is up to date when nothing is new', async () => {
    const { code, output } = await berth.push(shop, 'shop');
    expect([code, output]).toEqual([0, expect.stringContaining('Everything up-to-date')]);
    expect(await deploysOf(berth, 'shop')).toHaveLength(2);
  });

  it('scales up, beside and down without one failed request, and shows the formation', async () => {
    const poller = new Poller(berth, 'shop', true);
    const up = await berth.cli(['ps:scale', 'shop', 'web=3', 'worker=1']);
    expect(up.code, up.err).toBe(0);
    expect(up.out).toMatch(/^-----> Scaling shop processes: web=3 worker=1\n/);
    const dynos = new Set<string>();
    await berth.until('three to answer', async () => dynos.add(await body('shop')) && dynos.size === 3);
    expect([...dynos].sort()).toEqual([1, 2, 3].map((n) => `v=2 release=v2 dyno=web.${n}`));
    expect((await berth.cli(['ps:scale', 'shop'])).out).toMatch(/web: +3\nworker: 1\n/);
    const [report] = await berth.json<{ processes: { name: string; state: string }[] }[]>(['ps:report', 'shop']);
    expect(report!.processes.map(({ name, state }) => `${name} ${state}`)).toEqual(['web.1 running', 'web.2 running', 'web.3 running', 'worker.1 running']);
    expect((await berth.ssh('ps:scale shop web=1 worker=0')).code).toBe(0);
    await poller.stop();
    expect(poller.failures).toEqual([]);
    await one();
    expect((await berth.cli(['ps:scale', 'shop', 'web=1'])).out).toContain('that is how it runs already');
  });

  it('restarts with new containers of the same release', async () => {
    const poller = new Poller(berth, 'shop', false);
    const before = await one();
    const { code, out, err } = await berth.cli(['ps:restart', 'shop']);
    await poller.stop();
    expect(code, err).toBe(0);
    expect(out).toContain('-----> Restarting app shop');
    expect(poller.failures).toEqual([]);
    expect(await one()).not.toEqual(before);
    expect(await body('shop')).toBe('v=2 release=v2 dyno=web.1');
  });
});

describe('config', () => {
  const awkward = 'it\'s "so" $HOME `id` \\n;\nsecond line\n\ttab = end';

  it('sets, shows, gets and unsets, restarts the app, and nobody sees a secret in the clear', async () => {
    const watched = watchProcesses(SECRET);
    const set = await berth.cli(['config:import', 'shop', '-'], { stdin: `API_KEY=${SECRET}\nPLAIN=one\n` });
    expect(set.code, set.err).toBe(0);
    expect(set.out).not.toContain(SECRET);
    expect(set.out).toMatch(/API_KEY: +\(sealed\)/);
    expect(await env('API_KEY')).toBe(SECRET);
    await berth.commit(shop, { version: '3\n' });
    const pushed = await berth.push(shop, 'shop');
    expect(pushed.code, pushed.output).toBe(0);
    expect(await env('API_KEY')).toBe(SECRET);
    // the watcher finds what is there: one that cannot find is no proof
    const control = watchProcesses('planted-as-an-argument');
    await run(process.execPath, ['-e', 'setTimeout(() => {}, 500)', 'planted-as-an-argument']);
    expect(await control()).not.toEqual([]);
    expect(await watched()).toEqual([]);
    expect(pushed.output).not.toContain(SECRET);
    expect((await berth.cli(['config:get', 'shop', 'API_KEY'])).out).toBe(`${SECRET}\n`);
    expect(await berth.json(['config:keys', 'shop'])).toEqual(['API_KEY', 'PLAIN']);
    const unset = await berth.cli(['config:unset', 'shop', 'PLAIN', 'NEVER']);
    expect(unset.out).toMatch(/Unsetting PLAIN[\s\S]*Skipping NEVER/);
    expect((await berth.cli(['config:get', 'shop', 'PLAIN'])).code).toBe(1);
    expect(await env('PLAIN')).toBe('');
  });

  it('has no trace of a secret in the store, the logs, the events, the trace or the images', async () => {
    expect(grep(berth.root, SECRET)).toEqual([]);
    expect((await berth.cli(['events', '-n', '10000', '--format', 'json'])).out).not.toContain(SECRET);
    expect((await berth.cli(['trace', 'shop', '--format', 'json'])).out).not.toContain(SECRET);
    for (const id of (await left(berth)).images) {
      expect(JSON.stringify(await berth.engine('GET', `/images/${id}/json`)), id).not.toContain(SECRET);
      expect(JSON.stringify(await berth.engine('GET', `/images/${id}/history`)), id).not.toContain(SECRET);
    }
    // the same search finds what is there: one that cannot find is no proof
    expect(grep(berth.root, 'ConfigSet').length).toBeGreaterThan(0);
  });

  it('takes quotes, newlines and 100 kB to the app byte by byte, and out again', async () => {
    const big = `start ${'0123456789abcdef'.repeat(6400)} end`; // 102,410 characters
    const imported = await berth.cli(['config:import', 'shop', '-', '--as', 'json'], { stdin: JSON.stringify({ AWKWARD: awkward, BIG: big }) });
    expect(imported.code, imported.err).toBe(0);
    expect(await env('AWKWARD')).toBe(awkward);
    expect(await env('BIG')).toBe(big);
    expect((await berth.cli(['config:get', 'shop', 'BIG'])).out).toBe(`${big}\n`);
    const shell = await berth.cli(['config:export', 'shop']);
    const read = await run('sh', ['-c', `${shell.out}\nprintf %s "$AWKWARD"`]);
    expect(read.out).toBe(awkward);
    const file = await berth.cli(['config:export', 'shop', '--as', 'envfile']);
    const again = await berth.cli(['config:import', 'shop', '-'], { stdin: file.out });
    expect(again.out).toContain('Nothing differs');
    expect((await berth.json<{ vars: Record<string, string> }>(['config:show', 'shop'])).vars).toEqual({ API_KEY: SECRET, AWKWARD: awkward, BIG: big });
    expect((await berth.cli(['config:unset', 'shop', 'BIG', 'AWKWARD'])).code).toBe(0);
  });

  it('keeps what comes behind the first = and changes nothing without a restart until one', async () => {
    expect((await berth.ssh(`config:set --no-restart shop EQ=a=b==c`)).code).toBe(0);
    expect(await env('EQ')).toBe('');
    expect((await berth.cli(['ps:restart', 'shop'])).code).toBe(0);
    expect(await env('EQ')).toBe('a=b==c');
  });

  it.each([
    [['=x'], 'is not of the form KEY=value'], [['NOVALUE'], 'is not of the form KEY=value'], [['A B=x'], 'A B'], [['1X=y'], '1X'], [['A-B=y'], 'A-B'], [['Ä=y'], 'Ä'], [['PORT=nul\0']  , 'NUL'],
  ])('refuses the key of %j', async (pair, says) => {
    const before = (await deploysOf(berth, 'shop')).length;
    // a NUL cannot be a word of a command line: it goes by the door that can carry it
    const { code, err } = pair[0]!.includes('\0') ? await berth.cli(['config:import', 'shop', '-', '--as', 'json'], { stdin: JSON.stringify({ PORT: 'nul\0' }) }) : await berth.cli(['config:set', 'shop', ...pair]);
    expect(code).toBe(1);
    expect(err).toContain(says);
    expect(await deploysOf(berth, 'shop')).toHaveLength(before);
  });
});

/** Looks at every process's command line and environment, save those of containers' own processes, until asked what it saw. */
function watchProcesses(secret: string): () => Promise<string[]> {
  const found = new Set<string>();
  const timer = setInterval(() => {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        if (line.includes(secret)) found.add(line.replaceAll('\0', ' '));
      } catch { /* gone already */ }
    }
  }, 20);
  return async () => { clearInterval(timer); return [...found]; };
}

describe('releases', () => {
  it('lists them, and goes back to an image without building', async () => {
    const releases = await berth.json<{ release: number; live: boolean; commit: string; imageId: string }[]>(['releases', 'shop']);
    expect(releases[0]!.live).toBe(true);
    const clones = (await eventsOf(berth, '--type', 'SourceCloned')).length;
    const builds = (await eventsOf(berth, '--type', 'ImageBuilt')).length;
    const first = releases.find((r) => r.release === 1)!;
    const poller = new Poller(berth, 'shop', true);
    const { code, out, err } = await berth.cli(['rollback', 'shop', 'v1']);
    await poller.stop();
    expect(code, err).toBe(0);
    expect(out).toContain('-----> Rolling shop back to v1');
    expect(poller.failures).toEqual([]);
    expect(await body('shop')).toMatch(/^v=1 /);
    // today's config, not that of then
    expect(await env('API_KEY')).toBe(SECRET);
    expect((await eventsOf(berth, '--type', 'SourceCloned')).length).toBe(clones);
    expect((await eventsOf(berth, '--type', 'ImageBuilt')).length).toBe(builds);
    const [live] = await berth.json<{ release: number; imageId: string; why: string }[]>(['releases', 'shop']);
    expect(live).toMatchObject({ release: releases[0]!.release + 1, live: true, imageId: first.imageId, why: 'rollback to v1' });
    expect((await deploysOf(berth, 'shop'))[0]!.steps.map((step) => step.step)).toEqual(['release', 'route']);
  });

  it.each([['v999', 'has no release v999'], ['abc', 'release: a number such as v12'], ['v-1', 'release: a number']])('refuses to go back to %s', async (to, says) => {
    const { code, err } = await berth.cli(['rollback', 'shop', to]);
    expect([code, err]).toEqual([1, expect.stringContaining(says)]);
  });

  it('builds the live commit again when asked', async () => {
    const { code, out, err } = await berth.cli(['ps:rebuild', 'shop']);
    expect(code, err).toBe(0);
    expect(out).toContain('=====> Application deployed');
    const [last] = await deploysOf(berth, 'shop');
    expect(last).toMatchObject({ kind: 'rebuild', status: 'succeeded', commit: (await berth.git(shop, 'rev-list', '--max-parents=0', 'HEAD')).trim() });
  });

  it('shows deploys one by one', async () => {
    const all = await deploysOf(berth, 'shop');
    expect(all.map((d) => d.deploy)).toEqual(Array.from(all, (_, i) => all.length - i));
    const text = await berth.cli(['deploys:show', 'shop', '2']);
    expect(text.out).toMatch(/=====> shop deploy 2: succeeded\n/);
    for (const step of ['clone', 'detect', 'build', 'release', 'route']) expect(text.out).toMatch(new RegExp(`${step} +succeeded`));
    expect((await berth.cli(['deploys', 'shop', '-n', '3'])).out.trim().split('\n')).toHaveLength(4);
    expect((await berth.cli(['deploys:show', 'shop', '9999'])).err).toContain('has no deploy 9999');
  });

  it('follows a deploy of the past from its first line, or from behind a given one', async () => {
    const whole = await berth.cli(['deploys:follow', 'shop', '2']);
    expect(whole.code).toBe(0);
    expect(whole.out).toMatch(/^-----> Cloning shop[\s\S]*=====> Application deployed: shop v2/m);
    const lines = (await follow('2')).filter((item) => item.event === 'line').map((item) => item.data.n);
    expect(lines).toEqual(Array.from(lines, (_, i) => i + 1));
    const rest = (await follow('2', '--after', '5')).filter((item) => item.event === 'line').map((item) => item.data.n);
    expect(rest).toEqual(lines.slice(5));
  });
});

async function follow(deploy: string, ...args: string[]): Promise<{ event: string; data: { n: number } }[]> {
  const { code, out, err } = await berth.cli(['deploys:follow', 'shop', deploy, ...args, '--format', 'json']);
  expect(code, err).toBe(0);
  return out.split('\n').filter(Boolean).map((line) => JSON.parse(line) as { event: string; data: { n: number } });
}

describe('domains and names', () => {
  it('routes more hosts, and no longer when they are removed', async () => {
    expect((await berth.http('www.example.test')).status).toBe(404);
    const added = await berth.cli(['domains:add', 'shop', 'WWW.example.test', 'shop.example.test']);
    expect(added.code, added.err).toBe(0);
    expect(await body('www.example.test')).toMatch(/^v=1 /);
    const [report] = await berth.json<{ vhosts: string[]; live: string[] }[]>(['domains:report', 'shop']);
    expect(report!.live.toSorted()).toEqual(['shop.example.test', 'shop.test.localhost', 'www.example.test']);
    expect((await deploysOf(berth, 'shop'))[0]!.steps.map((step) => step.step)).toEqual(['route']);
    expect((await berth.cli(['apps:create', 'other'])).code).toBe(0);
    const taken = await berth.cli(['domains:add', 'other', 'www.example.test']);
    expect([taken.code, taken.err]).toEqual([1, expect.stringContaining('www.example.test belongs to app shop')]);
    expect((await berth.cli(['domains:remove', 'shop', 'www.example.test'])).code).toBe(0);
    expect((await berth.http('www.example.test')).status).toBe(404);
    expect((await berth.http('shop.example.test')).status).toBe(200);
  });

  it.each(['http://x.test', 'x..test', '-x.test', 'x_y.test', 'x.test:80', 'a b', '*', 'é.test', `${'a'.repeat(64)}.test`])('refuses the domain %s', async (domain) => {
    const { code, err } = await berth.cli(['domains:add', 'shop', '--', domain]);
    expect([code, err]).toEqual([1, expect.stringContaining('is not a domain name')]);
  });

  it('answers at the new name after a rename, at the old one no more', async () => {
    expect((await berth.cli(['apps:rename', 'shop', 'other'])).err).toContain('Name is already taken');
    const { code, err } = await berth.cli(['apps:rename', 'shop', 'market']);
    expect(code, err).toBe(0);
    expect((await berth.http('shop')).status).toBe(404);
    expect(await body('market')).toMatch(/^v=1 /);
    expect(await body('shop.example.test')).toMatch(/^v=1 /);
    expect(await berth.json(['apps:list'])).toEqual(['market', 'other']);
    expect((await berth.cli(['apps:info', 'shop'])).code).toBe(20);
    await berth.commit(shop, { version: '4\n' });
    const pushed = await berth.push(shop, 'market');
    expect(pushed.code, pushed.output).toBe(0);
    expect(await body('market')).toMatch(/^v=4 /);
  });
});

describe('looking', () => {
  it('shows what processes print, also of those that are gone', async () => {
    const word = `w${Date.now()}`;
    expect((await berth.http('market', `/log/${word}`)).body).toBe('said');
    const one = await berth.until('the line', async () => (await berth.cli(['logs', 'market', '-n', '50'])).out.includes(`said ${word}`) && (await berth.cli(['logs', 'market', '-n', '50'])).out);
    expect(one).toMatch(new RegExp(`^\\d{4}-\\d\\d-\\d\\dT\\S+Z app\\[web\\.1\\]: said ${word}$`, 'm'));
    expect((await berth.cli(['ps:restart', 'market'])).code).toBe(0);
    const all = await berth.until('the last word of the container before', async () => {
      const { out } = await berth.cli(['--quiet', 'logs', 'market', '-n', '10000']);
      return out.trimEnd().split('\n').filter((line) => /^stopped v=4/.test(line)).length > 0 && out;
    });
    expect(all).toContain(`said ${word}\n`);
    // the first release's words are there, three renames and a dozen containers later, in order and once
    expect(all.indexOf('starting v=1 release=v1 dyno=web.1')).toBeGreaterThanOrEqual(0);
    expect(all.indexOf('starting v=1 release=v1 dyno=web.1')).toBeLessThan(all.indexOf('starting v=2 release=v2 dyno=web.1'));
    expect(all.split(`said ${word}\n`)).toHaveLength(2);
    expect((await berth.cli(['--quiet', 'logs', 'market', '-n', '2'])).out.trimEnd().split('\n')).toHaveLength(2);
    const worker = (await berth.cli(['logs', 'market', '-p', 'worker'])).out;
    expect(worker).toContain('app[worker.1]:');
    expect(worker).not.toContain('app[web');
    expect((await berth.cli(['logs', 'market', '-n', 'many'])).code).toBe(1);
  });

  it('follows over SSH as lines come', async () => {
    const tail = sshing(berth, 'logs market -t -n 0 -p web.1');
    try {
      // nothing says that the tail is there but its first line
      await berth.until('the first line', async () => { await berth.http('market', '/log/first'); return tail.output.includes('said first'); });
      await berth.http('market', '/log/second');
      await tail.says(/app\[web\.1\]: said second/);
    } finally { tail.kill(); }
  });

  it('draws a trace as text and tells it as data', async () => {
    const [last] = (await deploysOf(berth, 'market')).filter((d) => d.kind === 'push');
    const text = (await berth.cli(['trace', 'market', String(last!.deploy)])).out;
    expect(text).toMatch(/^=====> market deploy \d+: succeeded → v\d+ in /);
    for (const step of ['clone', 'detect', 'build', 'release', 'route']) expect(text).toMatch(new RegExp(`✔ ${step} +\\S+ +\\S+ +[░█ ]*█+.*${step}-1`));
    const trace = await berth.json<{ steps: { step: string; attempts: number; waitedMs: number; tookMs: number; worker: string; input: object; output: object; calls: { name: string; ms: number }[] }[] }>(['trace', 'market', String(last!.deploy)]);
    expect(trace.steps.map((step) => step.step)).toEqual(['clone', 'detect', 'build', 'release', 'route']);
    for (const step of trace.steps) {
      expect(step).toMatchObject({ attempts: 1, worker: `${step.step}-1`, input: expect.any(Object) as object, output: expect.any(Object) as object });
      expect(step.waitedMs).toBeGreaterThanOrEqual(0);
      expect(step.tookMs).toBeGreaterThan(0);
    }
    const calls = (step: string): string[] => trace.steps.find((s) => s.step === step)!.calls.map((call) => call.name);
    expect(calls('clone')).toContain('git archive');
    expect(calls('route')).toContain('router.apply');
    expect(calls('release').join(' ')).toMatch(/container/);
    expect(calls('build').length).toBeGreaterThan(0);
  });

  it('shows engine calls and the whole build as they happen in trace mode', async () => {
    expect((await berth.cli(['trace:on'])).out).toContain('Trace mode is on');
    await berth.commit(shop, { version: '5\n' });
    const loud = remote((await berth.push(shop, 'market')).output).join('\n');
    expect((await berth.cli(['trace:off'])).out).toContain('Trace mode is off');
    await berth.commit(shop, { version: '6\n' });
    const brief = remote((await berth.push(shop, 'market')).output).join('\n');
    expect(loud).toMatch(/^ {7}· git archive \d/m);
    expect(loud).toMatch(/^ {7}· router\.apply/m);
    expect(loud).toMatch(/^ {7}#\d+ \[internal\] load metadata/m);
    expect(brief).not.toMatch(/ {7}· /);
    expect(brief).not.toContain('[internal]');
    expect(await body('market')).toMatch(/^v=6 /);
  });

  it('filters events by app, type, actor and position', async () => {
    const all = await eventsOf(berth);
    expect(all.map((item) => item.data.position)).toEqual(all.map((item) => item.data.position).toSorted((a, b) => a - b));
    const pushes = await eventsOf(berth, '--type', 'BuildRequested', '--of', 'market');
    expect(new Set(pushes.map((item) => item.data.type))).toEqual(new Set(['BuildRequested']));
    expect(pushes).toHaveLength(all.filter((item) => item.data.type === 'BuildRequested').length);
    const mine = await eventsOf(berth, '--actor', 'key:test');
    expect(mine.length).toBeGreaterThan(0);
    expect(new Set(mine.map((item) => item.data.meta.actor))).toEqual(new Set(['key:test']));
    const middle = all[10]!.data.position;
    expect((await eventsOf(berth, '--after', String(middle)))[0]!.data.position).toBe(all[11]!.data.position);
    expect((await berth.cli(['events', '-n', '5'])).out.trimEnd().split('\n')).toHaveLength(5);
    expect((await berth.cli(['events', '--of', 'nobody'])).code).toBe(20);
  });

  it('shows the workers and what they have done', async () => {
    const { workers } = await berth.json<{ workers: { name: string; kind: string; pid: number; host: string; since: number; done: number; memory: number; doing: unknown[] }[] }>(['workers']);
    expect(workers.map((worker) => worker.name)).toEqual(['build-1', 'clone-1', 'detect-1', 'release-1', 'route-1', 'service-1']);
    for (const worker of workers) {
      expect(worker.pid).toBe(berth.program(worker.name).pid);
      if (worker.kind !== 'service') expect(worker.done).toBeGreaterThan(3); // it has no steps of deploys
      expect(worker.memory).toBeGreaterThan(1e7);
    }
    expect((await berth.cli(['workers'])).out).toMatch(/^NAME +KIND +VERSION +PID +HOST +UP +DONE +MEMORY +DOING\n/);
  });
});

describe('failed jobs', () => {
  it('runs a failed step again from its input, and the rest, and nothing before', async () => {
    // the release command needs what is not there yet: the app's fault, mended outside of the code
    const dir = await berth.repo(app({ version: 'j', procfile: 'web: server\nrelease: test -n "$READY" || { echo not ready; exit 3; }\n' }));
    const pushed = await berth.push(dir, 'jobs');
    expect(pushed.code).toBe(1);
    expect(pushed.output).toContain('ended with exit code 3');
    expect(pushed.output).toContain('not ready');
    const [job] = await berth.json<{ job: string; step: string; code: string }[]>(['jobs:failed', 'jobs']);
    expect(job).toMatchObject({ step: 'release', code: 'release.command-failed' });
    // the same input fails the same way
    const again = await berth.cli(['jobs:retry', job!.job]);
    expect([again.code, again.out + again.err]).toEqual([1, expect.stringContaining('ended with exit code 3')]);
    expect((await berth.cli(['jobs:retry', job!.job])).err).toContain('There is no failed job');
    const [second] = await berth.json<{ job: string }[]>(['jobs:failed', 'jobs']);
    expect(second!.job).toBe(`${job!.job}.r1`);
    expect((await berth.cli(['jobs:discard', second!.job, '--reason', 'enough'])).code).toBe(0);
    expect(await berth.json(['jobs:failed', 'jobs'])).toEqual([]);
    expect((await berth.cli(['jobs:retry', second!.job])).code).toBe(1);
    const discarded = await eventsOf(berth, '--type', 'JobDiscarded');
    expect(discarded.map((item) => item.data.data['reason'])).toEqual(['enough']);
  });

  it('goes on to the end when what it lacked has come', async () => {
    const late = `localhost:1/${berth.instance}-late`; // a registry that refuses at once
    const dir = await berth.repo(app({ version: 'r', dockerfile: `FROM ${late}:1\nCOPY version /version\nCMD ["/bin/server"]\n` }));
    const pushed = await berth.push(dir, 'again');
    expect(pushed.code).toBe(1);
    const [job] = await berth.json<{ job: string; step: string; code: string }[]>(['jobs:failed', 'again']);
    expect(job, pushed.output).toMatchObject({ step: 'build', code: 'build.base-image' });
    expect(pushed.output).toContain(`retry: berth jobs:retry ${job!.job}`);
    const before = { clones: (await eventsOf(berth, '--type', 'SourceCloned')).length, plans: (await eventsOf(berth, '--type', 'BuildpackDetected')).length };
    await berth.engine('POST', `/images/${berth.instance}-base:1/tag?repo=${encodeURIComponent(late)}&tag=1`);
    const again = await berth.ssh(`jobs:retry ${job!.job}`);
    expect(again.code, again.out + again.err).toBe(0);
    expect(again.out).toMatch(/-----> Retrying deploy 1 of again from its step build[\s\S]*-----> Releasing[\s\S]*=====> Application deployed/);
    expect(again.out).not.toContain('Cloning');
    expect(await body('again')).toBe('v=r release=v1 dyno=web.1');
    expect(await berth.json(['jobs:failed', 'again'])).toEqual([]);
    expect((await eventsOf(berth, '--type', 'SourceCloned')).length).toBe(before.clones);
    expect((await eventsOf(berth, '--type', 'BuildpackDetected')).length).toBe(before.plans);
    const { steps } = await deployOf(berth, 'again', 1);
    expect(steps.map(({ step, status, retryOf }) => [step, status, retryOf])).toEqual([['clone', 'succeeded', null], ['detect', 'succeeded', null], ['build', 'failed', null], ['build', 'succeeded', job!.job], ['release', 'succeeded', null], ['route', 'succeeded', null]]);
    // git refused that push, so the next one carries the commit again: it is live already, and is deployed as any other
    const second = await berth.push(dir, 'again');
    expect(second.code, second.output).toBe(0);
    await berth.engine('DELETE', `/images/${encodeURIComponent(`${late}:1`)}`);
  });
});

describe('the end of an app', () => {
  it('asks first, and goes only when the name is typed', async () => {
    const asked = await berth.cli(['apps:destroy', 'market'], { stdin: 'shop\n' });
    expect([asked.code, asked.err]).toEqual([1, expect.stringContaining('Confirmation did not match market. Aborted.')]);
    expect(asked.err).toContain('WARNING: Potentially Destructive Action');
    const silent = await berth.cli(['apps:destroy', 'market']);
    expect(silent.code).toBe(1);
    expect((await berth.http('market')).status).toBe(200);
  });

  it('leaves nothing: containers, images, network, repository, logs, route, readable secrets', async () => {
    const { id } = await berth.json<{ id: string }>(['apps:info', 'market']);
    const sealed = (await eventsOf(berth, '--of', 'market', '--type', 'ConfigSet')).length;
    expect(sealed).toBeGreaterThan(0);
    const destroyed = await berth.cli(['apps:destroy', 'market'], { stdin: 'market\n' });
    expect(destroyed.code, destroyed.err).toBe(0);
    expect((await berth.cli(['apps:destroy', 'other', '--confirm', 'other'])).code).toBe(0);
    for (const name of ['jobs', 'again']) expect((await berth.cli(['--force', 'apps:destroy', name])).code).toBe(0);
    expect(await berth.json(['apps:list'])).toEqual([]);
    await berth.until('the engine to be clean', async () => Object.values(await left(berth)).every((list) => list.length === 0));
    expect((await berth.http('market')).status).toBe(404);
    expect((await berth.http('shop.example.test')).status).toBe(404);
    expect(readdirSync(join(berth.root, 'repos'))).toEqual([]);
    expect(readdirSync(join(berth.root, 'sources'))).toEqual([]);
    for (const folder of ['logs/apps', 'logs/deploys']) expect(existsSync(join(berth.root, folder)) ? readdirSync(join(berth.root, folder)) : []).toEqual([]);
    expect(grep(berth.root, SECRET)).toEqual([]);
    // the log keeps what happened, sealed with a key that is no more
    const db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true });
    try {
      const { wrapped } = db.prepare('SELECT wrapped FROM keys WHERE id = ?').get(id) as { wrapped: Uint8Array };
      expect(wrapped.every((byte) => byte === 0)).toBe(true);
      expect(db.prepare("SELECT count(*) AS n FROM events WHERE type = 'ConfigSet' AND data LIKE ?").get(`%${id}%`)).toEqual({ n: sealed });
    } finally { db.close(); }
    // a name is free again
    expect((await berth.cli(['apps:create', 'market'])).code).toBe(0);
    expect((await berth.cli(['config:keys', 'market'])).out).toBe('');
    await settled(berth, 'market');
  });
});
