import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.js';
import type { Recorded } from '../../src/events/event.js';
import type { Step } from '../../src/events/types/deploy.events.js';
import type { EventType } from '../../src/events/types/all.events.js';
import { CliDoor } from '../../src/modules/commands/door.js';
import { COMMANDS } from '../../src/modules/commands/registry.js';
import { Core } from '../../src/modules/core.js';
import { PLANNABLE, type Plan } from '../../src/modules/history/plan.commands.js';
import type { AppThen } from '../../src/modules/history/state.commands.js';
import { UNDO } from '../../src/modules/history/undo.plan.js';
import { outputOf } from '../histories.js';

/** The commands of the history on a real store, without engine, router and Redis: deploys are carried out by the test. */
let dir: string;
let core: Core;
let clock = 1_800_000_000_000;
const written: string[] = []; // what would have reached sshd and the sweeper

interface Ran { readonly code: number; readonly out: string; readonly err: string }
interface How { readonly stdin?: string; readonly origin?: 'local' | 'ssh'; readonly files?: Readonly<Record<string, string>> }

async function berth(line: string | readonly string[], how: How = {}): Promise<Ran> {
  const argv = typeof line === 'string' ? line.split(' ') : line;
  let out = '';
  let err = '';
  clock += 1000;
  const code = await new CliDoor(core, (_, error) => { throw error; }).run({
    argv, origin: how.origin ?? 'local', actor: how.origin === 'ssh' ? 'key:me' : 'root@host', columns: 120, color: false, hasStdin: how.stdin !== undefined, signal: AbortSignal.timeout(5),
    write: (channel, text) => { if (channel === 'o') out += text; else err += text; },
    drained: async () => {},
    read: async (what) => Buffer.from('path' in what ? (how.files?.[what.path] ?? '') : (how.stdin ?? '')),
    answer: async () => '', pieces: async function* () {},
  });
  return { code, out, err };
}
async function json<T>(line: string): Promise<T> {
  const ran = await berth(`${line} --format json`);
  expect(ran.err).toBe('');
  return JSON.parse(ran.out) as T;
}
const all = (): Promise<Recorded[]> => core.store.readAll(0, 1e6);
const head = (): Promise<number> => core.store.head();
const idOf = async (name: string): Promise<string> => (await core.app(name)).id;

/** Lets workers do whatever is queued for the app; `fail`: the first step, or this one, ends by the app's fault. */
async function work(name: string, fail: boolean | Step = false): Promise<void> {
  const app = await idOf(name);
  const who = { actor: 'worker:test', command: 'step' };
  for (let left = 50; left > 0; left -= 1) {
    const { running } = await core.pipelines.state(app);
    if (!running) return;
    clock += 1000;
    await core.pipelines.handle(app, { type: 'Claim', job: running.job, worker: 'w', waitedMs: 1, pid: 42, host: 'here' }, who);
    const run = (await core.pipelines.state(app)).running!;
    const report = { job: run.job, attempt: run.attempt, tookMs: 1 };
    if (fail === true || fail === run.step) await core.pipelines.handle(app, { type: 'Fail', ...report, now: clock, failure: { code: 'build.exit', message: 'it broke', hint: null, fault: 'user' } }, who);
    else await core.pipelines.handle(app, { type: 'Complete', ...report, output: outputOf(run.step, run.input, run.deploy, run.attempt) }, who);
  }
}
/** A commit that is pushed and goes live. */
async function push(name: string, sha = 'ab12'.repeat(10), fail: boolean | Step = false): Promise<void> {
  const app = await idOf(name);
  await core.pipelines.handle(app, { type: 'Request', kind: 'push', source: { sha, branch: 'main', quarantine: null, release: null }, by: 'key:me' }, { actor: 'key:me', command: 'git push' });
  await work(name, fail);
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-history-'));
  core = await openCore();
  written.length = 0;
  core.writeKeys = async () => { written.push('keys'); };
  core.sweep = async () => { written.push('sweep'); };
});
const openCore = (): Promise<Core> => Core.open({ ...readConfig({ BERTH_ROOT: dir, BERTH_DOMAIN: 'x.test' }) }).then((made) => Object.assign(new Core(made.config, made.store, () => clock), {}));
afterEach(async () => {
  await core.close();
  rmSync(dir, { recursive: true, force: true });
});

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5';

describe('state and events', () => {
  it('show the app as it was, by time and by position, also when it was destroyed since', async () => {
    await berth('apps:create blog');
    await berth('config:set blog A=hunter2');
    await push('blog');
    const position = await head();
    const time = new Date(clock).toISOString();
    await berth('config:set blog B=hunter3');
    await work('blog');
    await berth('domains:add blog www.y.test');
    await berth('ps:scale blog web=3');
    const now = await json<AppThen>('state blog');
    expect(now).toMatchObject({ app: 'blog', domains: ['www.y.test'], config: { version: 2, keys: ['A', 'B'] }, formation: { web: 3 }, live: { release: 2 }, running: { kind: 'domains' }, waiting: [{ kind: 'scale' }] });
    for (const at of [String(position), time]) {
      expect(await json<AppThen>(`state blog --at ${at}`)).toMatchObject({ position, domains: [], config: { version: 1, keys: ['A'] }, formation: { web: 1 }, live: { release: 1 }, running: null, waiting: [], containers: [{ name: 'web.1' }], hosts: ['blog.x.test'] });
    }
    const words = await berth(`state blog --at ${position}`);
    expect(words.out).toContain('A=(sealed)');
    await berth('apps:rename blog journal');
    expect((await berth('state blog')).code).toBe(20);
    expect((await json<AppThen>(`state blog --at ${position}`)).app).toBe('blog');
    await berth('apps:destroy journal --force');
    expect(await json<AppThen>(`state blog --at ${position}`)).toMatchObject({ app: 'blog', live: { release: 1 } });
    const gone = await berth('state journal');
    expect(gone.code).toBe(20);
    expect(gone.err).toMatch(/one was from .* to /);
    for (const said of [words, gone]) expect(said.out + said.err).not.toContain('hunter');
    expect((await berth('state blog --at 999999')).err).toContain('There is no event 999999 yet');
    expect((await berth('state blog --at 2099-01-01')).err).toContain('future');
    expect((await berth('state never')).code).toBe(20);
  });

  it('filters by app, time and several types', async () => {
    await berth('apps:create blog');
    await berth('apps:create shop');
    clock += 3_600_000;
    const since = new Date(clock).toISOString();
    await berth('config:set blog A=1');
    await berth('config:unset blog A');
    await berth('config:set shop A=1');
    const types = async (line: string): Promise<string[]> => (await berth(`${line} --format json`)).out.trim().split('\n').filter(Boolean).map((text) => (JSON.parse(text) as { event: string }).event);
    expect(await types('events blog')).toEqual(['AppCreated', 'NameClaimed', 'ConfigSet', 'ConfigUnset']);
    for (const way of ['events --app blog --type configset,ConfigUnset', '--app blog events --type ConfigSet,ConfigUnset', 'events --of blog --since 30m', `events blog --since ${since}`, 'events blog --since 30m -n 2']) expect(await types(way), way).toEqual(['ConfigSet', 'ConfigUnset']);
    expect(await types('events --since 30m')).toEqual(['ConfigSet', 'ConfigUnset', 'ConfigSet']);
    expect(await types('events --until 30m')).toEqual(['AppCreated', 'NameClaimed', 'AppCreated', 'NameClaimed']);
    expect(await types(`events --since 2h --until ${since}`)).toHaveLength(4);
    expect((await berth('events --type Nothing')).code).toBe(1);
    expect((await berth('events --since yesterday')).err).toContain('for example');
  });
});

describe('events in words', () => {
  it('name the app, say what happened, and find who did it', async () => {
    await berth('apps:create blog');
    await berth('config:set blog A=hunter1');
    await push('blog');
    const { out } = await berth('events blog');
    expect(out).toMatch(/^ +\d+ {2}2027-\S+ \S+ {2}AppCreated +root@host +blog +blog$/m);
    expect(out).toMatch(/ConfigSet +root@host +blog +A=\(sealed\)$/m);
    expect(out).toMatch(/SourceCloned +worker:test +blog +deploy 1 clone in \d+ms: ab12ab1 "change 1", 1 file, 10 B$/m);
    expect(out).toMatch(/DeploySucceeded +worker:test +blog +deploy 1, v1 serves$/m);
    expect(out).not.toMatch(/hunter|undefined|\{/);
    const by = async (actor: string): Promise<number> => (await berth(`events --actor ${actor}`)).out.split('\n').filter(Boolean).length;
    expect([await by('root'), await by('root@host'), await by('worker') > 5, await by('work'), await by('ro')]).toEqual([3, 3, true, 0, 0]);
    expect((await berth('events --type DeployStart')).err).toContain('did you mean DeployStarted');
  });
});

describe('jobs and plans', () => {
  it('list what is open or failed, and what a retry would go on with', async () => {
    await berth('apps:create blog');
    await push('blog');
    const app = await idOf('blog');
    await core.pipelines.handle(app, { type: 'Request', kind: 'push', source: { sha: 'cd34'.repeat(10), branch: 'main', quarantine: null, release: null }, by: 'key:me' }, { actor: 'key:me', command: 'git push' });
    expect((await json<{ status: string; step: string }[]>('jobs:list')).map((j) => [j.step, j.status])).toEqual([['clone', 'queued']]);
    await work('blog', true);
    const [job] = await json<{ job: string; status: string; code: string }[]>('jobs:list blog');
    expect(job).toMatchObject({ job: `${app}.2.clone`, status: 'failed', code: 'build.exit' });
    expect((await json<unknown[]>('jobs:list --all')).length).toBe(6);
    expect((await berth(`plan jobs:retry ${job!.job}`)).out).toContain('Deploy 2 of blog (push) would go on: clone, detect, build, release, route');
    for (const [words, said] of [['nope', /job: an id .*, not 'nope'/], ['--all limits.memory', /job: an id .*, not 'limits.memory'/], ['--all nothing.there=1', /left: The input has no nothing/]] as const) expect((await berth(`jobs:retry ${words}`)).err, words).toMatch(said);
    await berth(`jobs:retry ${job!.job} branch=x`);
    expect((await berth('undo 0')).err).toMatch(/^ !     position: a number from 1 on, as berth events shows it\n/);
  });
});

describe('diff', () => {
  it('compares two releases, and shows no value', async () => {
    await berth('apps:create blog');
    await berth('config:set blog A=hunter1 B=hunter2 C=hunter3');
    await push('blog');
    await berth('config:set --no-restart blog A=hunter9 D=hunter4');
    await berth('config:unset --no-restart blog C');
    await berth('ps:scale blog web=2');
    await work('blog');
    await push('blog', 'cd34'.repeat(10));
    const answer = await json<{ config: unknown; rows: { what: string; differs: boolean }[] }>('diff blog v1 v2');
    expect(answer.config).toEqual({ A: 'changed', C: 'removed', D: 'added' });
    expect(answer.rows.filter((r) => r.differs).map((r) => r.what)).toEqual(['commit', 'image', 'config version', 'containers web']);
    const words = await berth('diff blog 1');
    expect(words.out).toContain('(changed)');
    expect(words.out + JSON.stringify(answer)).not.toContain('hunter');
    expect((await berth('diff blog v2 v2')).out).toContain('They are the same');
    expect((await berth('diff blog v1 v9')).err).toContain('no release v9');
  });
});

describe('undo', () => {
  it('takes each kind of change back, as its own command would', async () => {
    await berth('apps:create blog');
    await push('blog');
    const last = async (type: EventType): Promise<number> => (await all()).findLast((e) => e.type === type)!.position;
    await berth('config:set blog A=1 B=2');
    await berth('config:set blog A=3 C=4');
    await work('blog');
    const ran = await berth(`undo ${await last('ConfigSet')}`);
    expect(ran.out).toContain('A back to its former value, C unset');
    expect(await core.env(await idOf('blog'))).toEqual({ A: '1', B: '2' });
    expect((await core.pipelines.state(await idOf('blog'))).running).toMatchObject({ kind: 'config' });
    const undone = await last('ConfigSet');
    expect((await all()).find((e) => e.position === undone)).toMatchObject({ meta: { command: 'undo', actor: 'root@host', causation: expect.any(String) as string } });
    await work('blog');
    await berth('ssh-keys:add me', { stdin: KEY });
    await berth('ssh-keys:remove me');
    written.length = 0;
    expect((await berth(`undo ${await last('SshKeyRemoved')}`, { origin: 'ssh' })).err).toContain('only be undone on the server itself');
    expect((await berth(`undo ${await last('SshKeyRemoved')}`)).code).toBe(0);
    expect((await core.board.now()).keys).toMatchObject([{ name: 'me', key: KEY }]);
    expect(written).toEqual(['keys']);
  });

  it('refuses what was changed again since, unless it is forced', async () => {
    await berth('apps:create blog');
    await berth('config:set blog A=1');
    await berth('config:set blog A=2 B=1');
    const at = await head();
    await berth('config:set blog B=2');
    const newer = await head();
    const refused = await berth(`undo ${at}`);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err).toContain(`ConfigSet changed the same at position ${newer}`);
    expect(await head()).toBe(newer);
    expect((await berth(`--force undo ${at}`)).code).toBe(0);
    expect(await core.env(await idOf('blog'))).toEqual({ A: '1' });
    expect((await berth(`--force undo ${at}`)).out).toContain('Nothing to undo');
    await berth('config:set blog Z=1');
    expect((await berth(`undo ${await head()}`)).code).toBe(0);
  });

  it('says why the rest cannot be undone, and writes nothing', async () => {
    await berth('apps:create blog');
    await push('blog');
    await berth('tokens:create ci');
    await berth('tokens:revoke ci');
    await berth('config:set blog A=1');
    const set = await head();
    await work('blog');
    await berth('apps:destroy blog --force');
    const before = await head();
    for (const event of await all()) {
      if (!('why' in UNDO[event.type as EventType])) continue;
      const ran = await berth(`undo ${event.position}`);
      expect(ran.code, event.type).toBe(1);
      expect(ran.err, event.type).toContain(`${event.type} cannot be undone`);
    }
    expect((await berth(`undo ${(await all()).find((e) => e.type === 'RouteSwitched')!.position}`)).err).toContain('berth rollback');
    expect((await berth(`undo ${(await all()).find((e) => e.type === 'ConfigSet' && e.position <= set)!.position}`))).toMatchObject({ code: 20 });
    expect((await berth('undo 99999')).code).toBe(1);
    expect(await head()).toBe(before);
  });

  const n = fc.integer({ min: 0, max: 3 });
  const word = fc.constantFrom('a', 'b', 'c');
  const act: fc.Arbitrary<string> = fc.oneof(
    fc.tuple(word, n, word, n).map(([a, x, b, y]) => `config:set --no-restart blog ${a}=${x} ${b}=${y}`), fc.tuple(word, word).map(([a, b]) => `config:unset blog ${a} ${b}`),
    fc.tuple(word, n).map(([type, count]) => `ps:scale blog ${type === 'a' ? 'web' : 'worker'}=${count}`),
    word.map((d) => `domains:add blog ${d}.test`), word.map((d) => `domains:remove blog ${d}.test`), word.map((d) => `apps:rename blog ${d}`),
    word.map((b) => `git:set blog deploy-branch ${b}`), fc.constant('git:set blog deploy-branch'),
    n.map((m) => `resource:limit blog --memory ${m}1m --build-cpu ${m + 1}`), fc.constant('resource:limit blog --memory clear'),
    word.map((d) => `domains:set-global ${d}.global`), fc.constantFrom('trace:on', 'trace:off'), fc.constantFrom('true', 'false').map((v) => `apps:set --global disable-autocreation ${v}`),
    fc.constant('ssh-keys:add me'), fc.constant('ssh-keys:remove me'),
  );

  it('property: whatever was done before, do and undo is as if nothing had been done', async () => {
    const seen = new Set<string>();
    let round = 0;
    await fc.assert(fc.asyncProperty(fc.array(act, { minLength: 1, maxLength: 10 }), async (acts) => {
      let name = `app${(round += 1)}`;
      await berth(`apps:create ${name}`);
      await berth(`config:set ${name} a=1 b=1`);
      await berth(`domains:add ${name} a${round}.test`);
      if (round % 2 === 0) await push(name);
      const told = (line: string): string => line.replace('blog', name).replace(/(domains:\w+ app\d+) (\w)/, `$1 $2${round}`).replace(/(apps:rename \S+) (\w)/, `$1 $2-${round}-${name}`);
      /** all that a user may change; zeros, orders and deploys aside */
      const state = async (): Promise<unknown> => {
        const { apps, server, keys } = await core.board.now();
        const row = apps[(await core.store.readStream(`name-${name}`)).at(-1) ? (await idOf(name)) : '']!;
        const { branch, domains, settings, formation, configKeys } = row;
        return structuredClone({ name: row.name, branch, domains: [...domains].sort(), settings, formation: Object.fromEntries(Object.entries(formation).filter(([, count]) => count > 0)), configKeys, env: await core.env(row.id), server, keys: keys.map((k) => [k.name, k.key]) });
      };
      for (const [i, line] of acts.entries()) {
        const before = await state();
        const from = await head();
        const was = name;
        await berth(told(line), { stdin: KEY }); // some are refused: then nothing was done
        if (line.startsWith('apps:rename')) name = (await core.store.readAll(from, 100)).map((e) => (e.data as { to?: string }).to).find(Boolean) ?? name;
        const done = (await core.store.readAll(from, 1000)).filter((e) => !('why' in UNDO[e.type as EventType]));
        // some stay, to make the history that the others are undone in
        if (i % 3 === 2) continue;
        for (const event of done.toReversed()) {
          const ran = await berth(`undo ${event.position}`);
          expect(ran.err, `${told(line)}: ${event.type}`).toBe('');
          seen.add(event.type);
        }
        name = was;
        expect(await state(), told(line)).toEqual(before);
      }
    }), { numRuns: Number(process.env['RUNS'] ?? 60), seed: 7 });
    expect([...seen].sort()).toEqual((Object.keys(UNDO) as EventType[]).filter((type) => !('why' in UNDO[type])).sort());
  });
});

describe('plan', () => {
  const LINES = [
    'apps:create shop', 'apps:rename blog journal', 'config:set blog A=hunter2', 'config:unset blog OLD', 'ps:scale blog web=2 worker=1', 'ps:scale blog web=0', 'ps:restart blog', 'resource:limit blog --memory 64m', 'git:set blog deploy-branch trunk',
    'rollback blog v1', 'domains:add blog www.y.test', 'domains:set-global z.test', 'trace:on', 'tokens:create ci', 'ssh-keys:remove me', 'apps:set --global disable-autocreation true', 'deploys:cancel blog', 'apps:destroy blog --force',
  ];

  it.each(LINES)('%s: nothing happens, and afterwards exactly what was said', async (line) => {
    await berth('apps:create blog');
    await berth('config:set blog OLD=1');
    await berth('ssh-keys:add me', { stdin: KEY });
    await push('blog');
    await push('blog', 'cd34'.repeat(10));
    if (line.startsWith('deploys:cancel')) await berth('ps:restart blog');
    const id = await idOf('blog');
    const before = await head();
    written.length = 0;
    const work = JSON.stringify(await core.store.openWork());
    const answer = await json<Plan>(`plan ${line}`.replace('plan', 'plan --format json')).catch(async () => JSON.parse((await berth(`plan --format json ${line}`)).out) as Plan);
    expect(answer.events.length).toBeGreaterThan(0);
    expect(await head()).toBe(before);
    expect(JSON.stringify(await core.store.openWork())).toBe(work);
    expect(written).toEqual([]);
    expect(await core.store.key(id)).not.toBeNull();
    expect(JSON.stringify(answer)).not.toContain('hunter');
    const words = await berth(`plan ${line}`);
    expect(words).toMatchObject({ code: 0, err: '' });

    await berth(line);
    const done = await core.store.readAll(before, 1000);
    const made = done.find((e) => e.type === 'AppCreated')?.data as { app: string } | undefined;
    // ids of new apps and texts of sealed values differ each time
    const plain = (events: readonly { stream: string; version: number; type: string; data: unknown }[], app?: string): unknown => JSON.parse(JSON.stringify(events.map(({ stream, version, type, data }) => ({ stream, version, type, data })), (key, value: unknown) => (key === 'hash' ? '(hidden)' : typeof value === 'object' && value !== null && 'ct' in value ? '(sealed)' : value)).replaceAll(app ?? '\0', 'NEW')) as unknown;
    expect(plain(answer.events, (answer.events.find((e) => e.type === 'AppCreated')?.data as { app: string } | undefined)?.app)).toEqual(plain(done, made?.app));
  });

  const plan = async (line: string): Promise<Plan> => JSON.parse((await berth(`plan --format json ${line}`)).out) as Plan;

  it('says what would start and stop, whether it would go on serving, and whether memory would do', async () => {
    await berth('apps:create blog');
    expect((await plan('ps:scale blog web=2')).deploys).toEqual([]); // the first deploy takes it along
    await push('blog');
    expect((await plan('ps:scale blog web=3')).deploys).toMatchObject([{ kind: 'scale', steps: ['release', 'route'], behind: null, starts: { web: 2 }, stops: {}, downtime: { expected: false }, memory: null }]);
    expect((await plan('ps:scale blog web=0')).deploys).toMatchObject([{ starts: {}, stops: { web: 1 }, downtime: { expected: true } }]);
    expect((await plan('config:set blog A=1')).deploys).toMatchObject([{ kind: 'config', starts: { web: 1 }, stops: { web: 1 }, downtime: { expected: false } }]);
    expect((await plan('resource:limit blog --memory 4000g')).deploys).toMatchObject([{ memory: { fits: false } }]);
    expect((await berth('plan resource:limit blog --memory 4000g')).err).toContain('may not fit');
    expect((await plan('apps:rename blog journal')).deploys).toMatchObject([{ kind: 'domains', starts: {}, stops: {}, hosts: { added: ['journal.x.test'], removed: ['blog.x.test'] }, downtime: { expected: true } }]);
    await berth('ps:restart blog');
    expect((await plan('config:set blog A=1')).deploys).toMatchObject([{ behind: 2 }]);
    expect((await plan('apps:destroy blog')).besides.join()).toMatch(/destroyed.*removed/);
    expect((await plan('config:set --no-restart blog A=1')).deploys).toEqual([]);
  });

  it('is refused where the command would be, or cannot be told', async () => {
    await berth('apps:create blog');
    expect(await berth('plan config:set nobody A=1')).toMatchObject({ code: 20 });
    expect(await berth('plan ps:scale blog web=-1')).toMatchObject({ code: 1 });
    expect((await berth('plan ps:scael blog')).err).toContain('did you mean ps:scale');
    expect((await berth('plan events')).err).toContain('changes nothing');
    expect((await berth('plan audit:checkpoint')).err).toContain('cannot be told beforehand');
    expect((await berth('plan plan trace:on')).code).toBe(1);
    expect((await berth('plan tokens:create ci', { origin: 'ssh' })).err).toContain('only be run on the server itself');
    expect((await berth('plan trace:off')).out).toContain('would change nothing');
  });

  it('knows each command that it may plan', () => {
    for (const name of PLANNABLE) expect(COMMANDS.find((c) => c.name === name)?.run, name).toBeTypeOf('function');
  });
});

describe('audit', () => {
  const altered = (sql: string): void => {
    const db = new DatabaseSync(join(dir, 'berth.db'));
    db.exec(sql);
    db.close();
  };

  it('finds what was done to the database, and what was written anew against a checkpoint kept elsewhere', async () => {
    await berth('apps:create blog');
    await berth('config:set blog A=hunter2');
    expect(await berth('audit:verify')).toMatchObject({ code: 0, err: '' });
    const checkpoint = (await berth('audit:checkpoint --format json')).out;
    expect((await berth('audit:checkpoint')).out).toContain('less than a day ago');
    await berth('config:set blog B=1');
    const file = (await berth('audit:export')).out;
    expect(file).not.toContain('hunter2');
    const files = { 'log.jsonl': file, 'c.json': checkpoint, 'cut.jsonl': file.split('\n').filter((_, i) => i !== 2).join('\n') };
    expect((await berth('audit:verify')).out).toContain('1 checkpoint agrees');
    expect(await berth('audit:verify --file log.jsonl', { files })).toMatchObject({ code: 0, err: '' });
    expect(await berth('audit:verify --against c.json', { files })).toMatchObject({ code: 0, err: '' });
    const cut = await berth('audit:verify --file cut.jsonl', { files });
    expect(cut.code).toBe(1);
    expect(cut.err).toContain('removed at position 2');
    expect(await berth('audit:verify --file cut.jsonl --format json', { files })).toMatchObject({ code: 1 });
    const tail = await berth('audit:export --after 2');
    expect(await berth('audit:verify --file t', { files: { t: tail.out } })).toMatchObject({ code: 0 });

    const keyFile = join(dir, 'keys', 'audit.key');
    renameSync(keyFile, `${keyFile}.away`);
    expect((await berth('audit:verify')).err).toContain('has lost its own'); // never silently whichever key is named
    renameSync(`${keyFile}.away`, keyFile);

    altered("UPDATE events SET data = replace(data, 'blog', 'blox') WHERE position = 1");
    const found = await berth('audit:verify');
    expect(found).toMatchObject({ code: 1 });
    expect(found.err).toContain('altered at position 1 (AppCreated)');
    clock += 2 * 86_400_000;
    expect((await berth('--force audit:checkpoint')).code).toBe(0); // from the last checkpoint on it is sound

    altered('DELETE FROM events WHERE position > 2');
    expect((await berth('audit:verify --against c.json', { files })).code).toBe(1);
    expect((await berth('audit:verify --against log.jsonl', { files })).code).toBe(1);
  });
});

interface Listed { job: string; app: string; deploy: number; step: string; superseded: { deploy: number; release: number } | null; kept: boolean; commit: string; code: string }

describe('rollback', () => {
  it('is refused at once when the image is gone, with what brings it back; not when the engine cannot tell', async () => {
    await berth('apps:create blog');
    await push('blog');
    await push('blog', 'c'.repeat(40));
    let has: () => Promise<boolean> = async () => false;
    core.engine = { hasImage: () => has(), states: async () => new Map(), images: async () => [], cached: () => Promise.resolve(0), environments: async () => [], purge: async () => 0 };
    expect(await berth('rollback blog v1')).toMatchObject({ code: 1, err: expect.stringMatching(/The image of v1 is not on this server any more[^]*berth deploys:create blog ab12ab12ab12/) as string });
    expect((await core.app('blog')).last).toBe(2);
    has = () => Promise.reject(new Error('no answer'));
    await berth('rollback blog v1 --detach');
    expect((await core.app('blog')).last).toBe(3);
  });
});

describe('failed jobs', () => {
  const sha = (digit: string): string => digit.repeat(40);
  beforeEach(async () => {
    for (const name of ['blog', 'shop']) {
      await berth(`apps:create ${name}`);
      await push(name); // v1
      await push(name, sha('b'), 'build');
    }
    await push('blog', sha('c')); // v2
  });
  const failed = (line = ''): Promise<Listed[]> => json(`jobs:failed${line}`);
  const jobs = async (line = ''): Promise<string[]> => (await failed(line)).map(({ job }) => job.slice(job.indexOf('.') + 1));

  it('are listed, of an app and of all, also when a later deploy went well: superseded by which', async () => {
    expect(await failed()).toMatchObject([
      { app: 'shop', deploy: 2, step: 'build', code: 'build.exit', commit: sha('b'), superseded: null, kept: true },
      { app: 'blog', deploy: 2, step: 'build', commit: sha('b'), superseded: { deploy: 3, release: 2 }, kept: true },
    ]);
    expect(await jobs(' blog')).toEqual(['2.build']);
    expect(await jobs(' --step clone')).toEqual([]);
    const { out } = await berth('jobs:failed');
    expect(out).toMatch(/shop +2 +build +1 .* failed +build\.exit: it broke\n/);
    expect(out).toMatch(/blog +2 +build +1 .* superseded by v2 \(deploy 3\) +build\.exit: it broke\n/);
    expect((await berth('doctor')).out).toMatch(/1 can be retried or discarded/);
  });

  it('show their exact input, every attempt and who ran it', async () => {
    const [{ job }] = await failed(' blog') as [Listed];
    const shown = await json<{ input: { limits: object; source: string }; attempts: object[] }>(`jobs:show ${job}`);
    expect(shown.input).toMatchObject({ source: expect.stringContaining('2.clone') as string, limits: {}, plan: {} });
    expect(shown.attempts).toMatchObject([{ attempt: 1, worker: 'w', pid: 42, host: 'here', tookMs: 1, outcome: 'build.exit: it broke' }]);
    expect((await berth(`jobs:show ${job}`)).out).toContain('w (process 42 on here)');
  });

  it('are retried under their own number while nothing newer is live, changed or not', async () => {
    const [{ job }] = await failed(' shop') as [Listed];
    expect((await berth(`jobs:retry ${job} limits.memory=2g`)).out).toContain('Retrying deploy 2 of shop from its step build\n');
    await work('shop');
    expect((await json<{ retryOf: number | null; status: string }>('deploys:show shop 2'))).toMatchObject({ status: 'succeeded', retryOf: null });
    expect(await jobs(' shop')).toEqual([]);
    expect((await json<{ input: object; retryOf: string }>(`jobs:show ${job}.r1`))).toMatchObject({ retryOf: job, input: { limits: { memory: 2 * 1024 ** 3 } } });
  });

  it('are retried as a new deploy that says so when something newer is live', async () => {
    const [{ job }] = await failed(' blog') as [Listed];
    const ran = await berth(`jobs:retry ${job}`);
    expect(ran.out).toContain('Retrying deploy 2 of blog from its step build as new deploy 4: v2 (deploy 3) went well since, and its code is replaced');
    await work('blog');
    expect(await json('deploys:show blog 4')).toMatchObject({ status: 'succeeded', retryOf: 2, commit: sha('b'), subject: 'change 2', release: 3, steps: [{ step: 'build', retryOf: job }, { step: 'release' }, { step: 'route' }] });
    expect(await json('deploys:show blog 2')).toMatchObject({ status: 'failed' });
    expect((await json<{ release: number; why: string }[]>('releases blog')).find(({ release }) => release === 3)).toMatchObject({ why: 'retry of deploy 2: push of bbbbbbb: change 2' });
    expect(await jobs(' blog')).toEqual([]);
    expect((await berth(`jobs:show ${job}`)).out).toMatch(/JobRetried by root@host at \S+ as deploy 4/);
    expect((await berth(`jobs:retry ${job}`)).err).toContain('There is no failed job');
  });

  it('are retried all at once, but for what a newer deploy has superseded or stands before', async () => {
    await push('shop', sha('d'), 'detect'); // 3
    const ran = await berth('jobs:retry --all');
    expect(ran).toMatchObject({ code: 0, err: expect.stringMatching(/shop|\.2\.build is left: a newer deploy of shop is retried/) as string });
    expect(ran.out).toContain('Retrying deploy 3 of shop from its step detect');
    expect(ran.err).toContain('v2 (deploy 3) went well since; to bring it back all the same, name it');
    await work('shop');
    expect(await json('deploys:show shop 3')).toMatchObject({ status: 'succeeded' });
    // now there is none that could be
    expect(await berth('jobs:retry --all')).toMatchObject({ code: 1 });
    expect(await jobs()).toEqual(['2.build', '2.build']);
  });

  it('are discarded with a reason, one, or all of a kind; who and why stays in the log', async () => {
    await push('shop', sha('d'), 'detect');
    const [{ job }] = await failed(' shop --step build') as [Listed];
    expect((await berth(['jobs:discard', job, '--reason', 'fixed by hand'])).out).toContain(`Discarded ${job}`);
    expect(await jobs()).toEqual(['3.detect', '2.build']);
    expect((await berth('jobs:discard --all --step build --reason old')).out).toMatch(/^-----> Discarded \S+\.2\.build\n$/);
    expect((await berth('jobs:discard --all --of shop')).out).toMatch(/^-----> Discarded \S+\.3\.detect\n$/);
    expect((await berth('jobs:discard --all')).out).toContain('No job has failed');
    expect((await all()).filter((e) => e.type === 'JobDiscarded').map(({ data, meta }) => [(data as { reason: string }).reason, (data as { by: string }).by, meta.command])).toEqual([
      ['fixed by hand', 'root@host', 'jobs:discard'], ['old', 'root@host', 'jobs:discard'], ['', 'root@host', 'jobs:discard'],
    ]);
  });

  it.each([
    ['jobs:retry', /Which job: its id, or --all/], ['jobs:discard', /Which job: its id, or --all/], ['jobs:retry k3v9q2mzxa.2.build --all', /Which job/], ['jobs:discard k3v9q2mzxa.2.build --of blog', /say which of --all/],
    ['jobs:discard k3v9q2mzxa.2.build', /There is no failed job/], ['jobs:failed nothing', /App nothing does not exist/],
  ])('%s is refused', async (line, why) => {
    const ran = await berth(line);
    expect(ran.code).not.toBe(0);
    expect(ran.err).toMatch(why);
    expect(await failed()).toHaveLength(2);
  });
});

describe('the board', () => {
  it('is rebuilt from the log, identical, and says so when it was not', async () => {
    await berth('apps:create blog');
    await push('blog');
    await berth('config:set blog A=1');
    const ran = await berth('projections:rebuild');
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('identical');
    ((await core.board.now()).apps[await idOf('blog')] as { branch: string }).branch = 'wrong';
    const differs = await berth('projections:rebuild');
    expect(differs.code).toBe(1);
    expect(differs.out).toContain('branch');
    expect((await core.app('blog')).branch).toBeNull();
  });
});

describe('a long log', () => {
  it('gives one app\'s past, whatever else is in it; how quickly is printed', async () => {
    await berth('apps:create blog');
    await push('blog');
    const position = await head();
    const meta = (await all())[0]!.meta;
    for (let page = 0; page < 20; page += 1) await core.store.transact({ appends: [{ stream: `drift-other${page}`, expected: 0, events: Array.from({ length: 5000 }, (_, i) => ({ type: 'DriftEnded', data: { app: 'other', what: 'route', subject: `h${i}`, lastedMs: 1 } })) }], meta, now: (clock += 1000) });
    await core.board.now();
    const started = performance.now();
    for (let i = 0; i < 10; i += 1) expect((await json<AppThen>(`state blog --at ${position}`)).live?.release).toBe(1);
    process.stdout.write(`state of one app in a log of 100000: ${Math.round((performance.now() - started) / 10)} ms\n`);
  });
});
