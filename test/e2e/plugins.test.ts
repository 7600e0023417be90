import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { type AppFiles, type AppWishes, baseImage, succeeds } from './berth.kit.js';

/** Three foreign plugins, in shell, Python and TypeScript, installed from git and used; and those that are not as they should be. */
const PLUGINS = new URL('../plugins/', import.meta.url).pathname;
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;
let clone: string;
let token: string;

const git = (folder: string, ...args: string[]): string => execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', '-C', folder, ...args], { encoding: 'utf8', env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' } }).trim();
/** A bare repository of a plugin's files; answers its path. */
function repository(name: string, files: (folder: string) => void): string {
  const [work, bare] = [join(dir, `${name}-work`), join(dir, `${name}.git`)];
  mkdirSync(work, { recursive: true });
  files(work);
  if (!existsSync(bare)) {
    git(work, 'init', '-q', '-b', 'main');
    git(dir, 'init', '-q', '--bare', '-b', 'main', bare);
  }
  git(work, 'add', '-A');
  git(work, 'commit', '-qm', 'change');
  git(work, 'push', '-q', bare, 'main');
  git(bare, 'update-server-info');
  return bare;
}
const from = (name: string) => (work: string): void => cpSync(join(PLUGINS, name), work, { recursive: true });
/** A plugin of one shell script. */
const scripted = (name: string, script: string, more: object) => (work: string): void => {
  writeFileSync(join(work, 'run.sh'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  writeFileSync(join(work, 'berth-plugin.json'), JSON.stringify({ name, version: '1.0.0', description: name, berth: '>=0.1.0', protocol: 1, ...more }));
};
const installed = async (...args: string[]): Promise<string> => {
  const { code, out, err } = await berth.cli(['plugin:install', ...args]);
  expect(code, out + err).toBe(0);
  return out;
};
const refused = async (...args: string[]): Promise<string> => {
  const { code, out, err } = await berth.cli(args);
  expect(code, out).not.toBe(0);
  return err;
};
const env = async (name: string): Promise<string> => (await berth.http('shop', `/env/${name}`)).body;
/** No process of the plugin goes on. */
async function noneLeft(plugin: string): Promise<void> {
  const uid = (await berth.json<{ user: number }>(['plugin:info', plugin])).user;
  await berth.until('no process of it is left', async () => execFileSync('ps', ['-eo', 'uid=']).toString().split('\n').every((line) => Number(line) !== uid), 60_000);
}
/** Those that do not come with Berth. */
const listed = async (): Promise<Record<string, { enabled: boolean; reason: string | null; version: string }>> => Object.fromEntries((await berth.json<{ name: string; enabled: boolean; reason: string | null; version: string; bundled: boolean }[]>(['plugin:list'])).filter(({ bundled }) => !bundled).map((each) => [each.name, each]));
const push = async (version: string): Promise<{ code: number; output: string }> => {
  await berth.commit(clone, { version: `${version}\n` });
  return berth.push(clone, 'shop');
};
const pids = (): number[] => [...berth.programs.values()].map((program) => program.pid ?? 0);

beforeAll(async () => {
  berth = await startBerth();
  app = await baseImage(berth);
  dir = mkdtempSync(join(tmpdir(), 'berth-plugins-'));
  clone = await berth.repo(app({ version: 'one', dockerfile: 'FROM BASE\nARG STAMP_ARG\nENV STAMP_ARG=$STAMP_ARG\nCOPY version /version\nCMD ["/bin/server"]\n' }));
  expect((await berth.cli(['apps:create', 'shop'])).code).toBe(0);
  token = (await berth.cli(['tokens:create', 'ci'])).out.trim();
});
afterAll(async () => {
  await berth?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** What a notification was to say, the newest first. */
const told = async (name: string): Promise<{ event: string; state: string; why: string | null; said: string | null }[]> => (await berth.json<{ deliveries: { event: string; state: string; why: string | null; said: string | null }[] }>(['notify:deliveries', name])).deliveries;
describe('three plugins in three languages', () => {
  let server: Server;
  beforeAll(async () => {
    // what `git update-server-info` makes of a repository, over plain HTTP
    server = createServer((request, response) => {
      const file = join(dir, new URL(request.url!, 'http://x').pathname);
      if (existsSync(file) && !file.endsWith('/')) response.end(readFileSync(file));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  });
  afterAll(() => { server.close(); });

  it('are installed from git URLs, without a restart', async () => {
    expect(await berth.json(['plugin:list'])).toEqual(expect.not.arrayContaining([expect.objectContaining({ name: 'stamp' })]));
    const before = pids();
    const http = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    repository('stamp', from('shell'));
    const guard = repository('guard', from('python'));
    const diary = repository('diary', from('typescript'));
    git(join(dir, 'stamp-work'), 'tag', 'v1.0.0');
    git(join(dir, 'stamp-work'), 'push', '-q', join(dir, 'stamp.git'), 'v1.0.0');
    git(join(dir, 'stamp.git'), 'update-server-info');
    expect(await installed(`${http}/stamp.git`, '--committish', 'v1.0.0')).toMatch(/Installed stamp 1\.0\.0 \([0-9a-f]{19}\)\n.*stamp:show/);
    await installed(`file://${guard}`);
    await installed(`file://${diary}`);
    expect(await listed()).toMatchObject({ stamp: { enabled: true, version: '1.0.0' }, guard: { enabled: true, version: '2.1.0' }, diary: { enabled: true, version: '0.3.0' } });
    expect(await berth.json(['plugin:info', 'stamp'])).toMatchObject({ pin: git(join(dir, 'stamp-work'), 'rev-parse', 'HEAD'), source: { type: 'git', committish: 'v1.0.0' } });
    expect(pids()).toEqual(before);
    const { out } = await berth.cli(['plugin:install', `file://${guard}`]);
    expect(out).toContain('guard 2.1.0 is installed already');
  });

  it('a hook of each adds environment, build arguments and labels; the trace shows what they said', async () => {
    const { code, output } = await push('one');
    expect(code, output).toBe(0);
    expect(output).toContain('stamp: deploy-1');
    expect(output).toContain('diary: there is an image');
    expect(await env('STAMP')).toBe('deploy-1');
    expect(await env('STAMP_ARG')).toBe('built');
    const [container] = await berth.engine<{ Labels: Record<string, string> }[]>('GET', `/containers/json?filters=${encodeURIComponent(JSON.stringify({ label: ['stamp=deploy-1', `berth.instance=${berth.instance}`] }))}`);
    expect(container?.Labels['berth.type']).toBe('web');
    const events = (await berth.cli(['events', 'shop', '--type', 'StepExtended', '--json'])).out.trim().split('\n');
    expect(events.length).toBe(4);
    expect(events.join('')).toContain('STAMP_ARG');
    // values are sealed in the log
    expect(events.join('')).not.toContain('"built"');
  });

  it('their commands stand beside ours, with help, over SSH and HTTP', async () => {
    expect((await berth.cli(['stamp:show', 'shop'])).out).toBe('deploy-1\n');
    expect((await berth.ssh('stamp:show -l shop')).out).toBe('deploy-1\n');
    expect((await berth.cli(['help'])).out).toContain('guard:freeze <app> <why>...');
    expect((await berth.cli(['guard'])).out).toContain('Refuses to deploy while an app is frozen');
    expect((await berth.cli(['help', 'stamp:show'])).out).toMatch(/-l, --last +only the last one/);
    expect(await refused('stamp:show')).toContain('<app> is missing');
    expect(await refused('stamp:show', 'nothing')).toContain('App nothing does not exist');
    expect((await berth.cli(['stamp:shw', 'shop'])).err).toContain('did you mean stamp:show?');
    await berth.cli(['apps:create', 'bare']);
    const never = await berth.cli(['stamp:show', 'bare']);
    expect([never.code, never.err]).toEqual([3, expect.stringContaining('bare was never stamped')]);
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const shown = await berth.api('/v1/plugins/stamp/commands/show?app=shop', { headers });
    expect([shown.status, JSON.parse(shown.body)]).toEqual([200, expect.objectContaining({ say: ['deploy-1'], exit: 0 })]);
    const frozen = await berth.api('/v1/plugins/guard/commands/freeze', { method: 'POST', headers, body: JSON.stringify({ app: 'shop', why: ['release', 'week'] }) });
    expect([frozen.status, JSON.parse(frozen.body)]).toEqual([200, expect.objectContaining({ data: { frozen: true } })]);
    expect((await berth.api('/v1/plugins/guard/commands/freeze', { headers })).status).toBe(405);
    expect((await berth.api('/v1/plugins/guard/commands/melt', { method: 'POST', headers, body: '{}' })).status).toBe(404);
    expect((await berth.api('/v1/plugins/guard/commands/freeze', { method: 'POST', headers, body: '{"app":"shop"}' })).status).toBe(400);
  });

  it('one that may refuse ends a deploy with its reason, and lets it through again', async () => {
    const { code, output } = await push('two');
    expect(code).not.toBe(0);
    expect(output).toContain('plugin guard refuses: shop is frozen: release week');
    expect((await berth.http('shop')).body).toContain('v=one');
    expect((await berth.cli(['guard:thaw', 'shop'])).out).toContain('shop deploys again');
    expect(await refused('guard:thaw', 'shop')).toMatch(/shop is not frozen\n.*guard:freeze shop/);
    const again = await push('three');
    expect(again.code, again.output).toBe(0);
    expect(await env('STAMP')).toMatch(/^deploy-\d+$/);
  });

  it('what one remembers as a secret is sealed, and given back to it', async () => {
    expect((await berth.cli(['guard:token', 'abc123'])).out).toContain('the token before was none');
    expect((await berth.cli(['guard:token', 'def456'])).out).toContain('the token before was abc123');
    const { out } = await berth.cli(['events', '--type', 'PluginSettingChanged', '--json']);
    expect(out).not.toContain('abc123');
    expect((await berth.cli(['plugin:info', 'guard'])).out).toContain('token=(sealed)');
  });

  it('one that subscribed to events is told each, in order, once it happened; a fault is tried again', async () => {
    await berth.until('the diary has them', async () => (await berth.json<{ data: string[] }>(['diary'])).data.length >= 3);
    expect((await berth.json<{ data: string[] }>(['diary'])).data.slice(0, 3)).toEqual(['DeploySucceeded 1', 'DeployFailed 2', 'DeploySucceeded 3']);
    expect((await berth.json<{ kind: string; status: string }[]>(['operations', 'plugin-diary'])).map(({ kind, status }) => `${kind} ${status}`)).toContain('plugin-event succeeded');
    await installed(`file://${repository('flaky', scripted('flaky', 'cd "$BERTH_PLUGIN_DATA"; echo "$BERTH_EVENT $BERTH_APP" >> told; [ "$(wc -l < told)" -gt 1 ] || { echo "not now" >&2; exit 1; }; cp told done', { events: { types: ['ConfigSet'], run: ['./run.sh'] } }))}`);
    expect((await berth.cli(['config:set', '--no-restart', 'shop', 'A=1'])).code).toBe(0);
    const done = join(berth.root, 'plugins/.data/flaky/done');
    await berth.until('it took it', async () => existsSync(done));
    expect(readFileSync(done, 'utf8')).toBe('ConfigSet shop\nConfigSet shop\n');
    await berth.cli(['--force', 'plugin:uninstall', 'flaky']);
  });

  it('a projection is folded from the whole history, shown, and known to the plugin\'s own commands', async () => {
    type Shown = { state: Record<string, { name: string; lives: number }>; position: number; behind: number };
    const lives = async (): Promise<Shown> => berth.json<Shown>(['plugin:projection', 'diary', 'lives']);
    // shop was made before the plugin was there
    await berth.until('both are folded', async () => Object.keys((await lives()).state ?? {}).length === 2 && (await lives()).behind === 0);
    const { position, state } = await lives();
    expect(Object.values(state)).toEqual([{ name: 'shop', lives: 2 }, { name: 'bare', lives: 0 }]);
    expect((await berth.cli(['diary:totals'])).out).toBe('shop 2\nbare 0\n');
    expect((await berth.json<{ data: unknown }>(['diary:totals'])).data).toEqual({ apps: Object.values(state), position });
    const { body } = await berth.api('/v1/plugins/diary/projections/lives', { headers: { authorization: `Bearer ${token}` } });
    expect(JSON.parse(body)).toMatchObject({ position, behind: 0, trouble: null });
    await berth.until('guard has counted its freezes', async () => (await berth.cli(['plugin:projection', 'guard', 'freezes'])).out === '1\n');
    expect(await refused('plugin:projection', 'guard', 'lives')).toMatch(/guard has no projection lives\n.*it has: freezes/);
    expect((await berth.cli(['plugin:info', 'diary'])).out).toMatch(new RegExp(`projections: +lives at ${position}\\n`, 'i'));
  });

  it('a projection that fails stays where it was, with the reason, and is folded anew by code that is mended', async () => {
    const script = 'import json, sys\ncall = json.load(sys.stdin)\nfor event in call["events"]:\n  LINE\nprint(json.dumps({"state": (call["state"] or 0) + len(call["events"])}))\n';
    const written = (line: string) => (work: string): void => {
      scripted('count', '', { projections: [{ name: 'apps', types: ['AppCreated'], run: ['python3', 'fold.py'] }] })(work);
      writeFileSync(join(work, 'fold.py'), script.replace('LINE', line));
    };
    await installed(`file://${repository('count', written('if event["data"]["name"] == "bare": sys.exit("no room for bare")'))}`);
    const shown = async (): Promise<{ state: unknown; trouble: { why: string; type: string } | null }> => berth.json(['plugin:projection', 'count', 'apps']);
    await berth.until('it has failed', async () => (await shown()).trouble !== null);
    expect(await shown()).toMatchObject({ state: 1, trouble: { why: 'it ended with exit code 1: no room for bare', type: 'AppCreated' } });
    expect((await berth.cli(['doctor'])).out).toMatch(/plugin projections +count\/apps: AppCreated at \d+ is not folded, after \d+ tr.*no room for bare/);
    expect((await berth.cli(['plugin:info', 'count'])).out).toContain('no room for bare');
    repository('count', written('pass'));
    expect((await berth.cli(['plugin:update', 'count'])).code).toBe(0);
    await berth.until('it is folded anew', async () => (await shown()).state === 2);
    expect((await berth.cli(['doctor'])).out).toMatch(/plugin projections +\d, none in trouble/);
    await berth.cli(['--force', 'plugin:uninstall', 'count']);
  });

  it('one that brings a channel tells people by it, with its secret; it stays while it is used', async () => {
    expect((await berth.cli(['notify:channels'])).out).toMatch(/plugin:diary\/page: A page of the diary\n +heading .*\n +key .*\(secret: piped in or typed\)/);
    expect((await berth.cli(['notify:add', '--events', 'ConfigSet', 'paper', 'plugin:diary/page', 'heading=Dear'], { stdin: 'k3y-of-it' })).code).toBe(0);
    expect((await berth.cli(['config:set', '--no-restart', 'shop', 'B=1'])).code).toBe(0);
    await berth.until('it was written', async () => (await told('paper'))[0]?.state === 'delivered');
    expect((await berth.json<{ data: string[] }>(['diary'])).data.at(-1)).toBe('Dear info ConfigSet shop: config set');
    expect(execFileSync('grep', ['-rlaF', '-e', 'k3y-of-it', '--', berth.root, '/dev/null', import.meta.filename], { encoding: 'utf8' }).trim()).toBe(import.meta.filename);
    expect(await refused('--force', 'plugin:uninstall', 'diary')).toMatch(/People are told by a channel of diary: paper\n.*berth notify:remove paper/);
    expect((await berth.cli(['plugin:disable', 'diary'])).err).toContain('What paper is to be told fails until it is enabled again');
    expect(await refused('notify:test', 'paper')).toContain('plugin diary is not there, or disabled');
    expect((await berth.cli(['plugin:enable', 'diary'])).code).toBe(0);
    expect((await berth.cli(['notify:remove', 'paper'])).code).toBe(0);
    expect((await berth.cli(['notify:add', 'paper', 'plugin:diary/page', 'heading=Dear'], { stdin: 'wrong' })).code).toBe(0);
    const { err } = await berth.cli(['notify:test', 'paper']);
    expect(err).toContain('plugin diary: the key *** does not fit');
    expect((await told('paper')).map(({ event, state }) => `${event} ${state}`)).toEqual(['Test failed']);
    await berth.cli(['notify:remove', 'paper']);
  });

  it('a channel that is a program may ask for another try; its message comes in words that a shell reads', async () => {
    const script = 'cd "$BERTH_PLUGIN_DATA"; cat > asked; echo "$BERTH_CHANNEL $BERTH_OPTION_TO $BERTH_LEVEL $BERTH_TITLE" >> told; env | grep -c pa55word >> told; [ "$(wc -l < told)" -gt 2 ] || echo \'{ "error": "not now", "retry": true }\'';
    await installed(`file://${repository('pager', scripted('pager', script, { channels: [{ name: 'beep', title: 'A beep', options: [{ name: 'to', about: 'whom' }, { name: 'code', about: 'the code', secret: true }], run: ['./run.sh'], timeout: 5 }] }))}`);
    expect((await berth.cli(['notify:add', '--events', 'ConfigSet', 'beep', 'plugin:pager/beep', 'to=ada'], { stdin: 'pa55word' })).code).toBe(0);
    expect((await berth.cli(['config:set', '--no-restart', 'shop', 'BEEP=1'])).code).toBe(0);
    await berth.until('the beep', async () => (await told('beep')).some(({ event, state }) => event === 'ConfigSet' && state === 'delivered'), 60_000);
    const folder = join(berth.root, 'plugins/.data/pager');
    expect(readFileSync(join(folder, 'told'), 'utf8')).toBe('beep ada info shop: config set\n0\n'.repeat(2));
    expect(JSON.parse(readFileSync(join(folder, 'asked'), 'utf8'))).toMatchObject({ call: 'notify', channel: { name: 'beep', options: { to: 'ada', code: 'pa55word' } }, message: { level: 'info' }, event: { type: 'ConfigSet' } });
    await berth.cli(['notify:remove', 'beep']);
    await berth.cli(['--force', 'plugin:uninstall', 'pager']);
  });

  it('trigger asks one by hand, and nothing follows', async () => {
    expect((await berth.cli(['plugin:trigger', 'stamp', 'before-release', 'shop'])).out).toContain('"STAMP": "deploy-0"');
    expect(await refused('plugin:trigger', 'stamp', 'after-route', 'shop')).toContain('has no hook after-route');
  });

  it('an update stays with the old one when the new one does not load', async () => {
    repository('stamp', (work) => { writeFileSync(join(work, 'berth-plugin.json'), readFileSync(join(work, 'berth-plugin.json'), 'utf8').replace('1.0.0', '1.1.0').replace('./stamp.sh', './gone.sh')); });
    expect(await refused('plugin:update', 'stamp', 'main')).toMatch(/stamp stays at 1\.0\.0: .*hooks\[1\]\.run\[0\] is "\.\/gone\.sh", which is not in the plugin/);
    repository('diary', (work) => { writeFileSync(join(work, 'src/entry.ts'), 'export const entry = ;\n'); });
    expect(await refused('plugin:update', 'diary')).toMatch(/diary stays at 0\.3\.0: It does not load: .*SyntaxError/);
    expect((await berth.cli(['stamp:show', '--last', 'shop'])).code).toBe(0);
    repository('stamp', (work) => { writeFileSync(join(work, 'berth-plugin.json'), readFileSync(join(work, 'berth-plugin.json'), 'utf8').replace('./gone.sh', './stamp.sh')); });
    expect((await berth.cli(['plugin:update', 'stamp', 'main'])).out).toContain('Updated stamp from 1.0.0 to 1.1.0');
    expect((await listed())['stamp']!.version).toBe('1.1.0');
  });

  it('is disabled, enabled and uninstalled', async () => {
    await berth.cli(['plugin:disable', 'stamp']);
    expect(await refused('stamp:show', 'shop')).toContain('is not a berth command');
    const { code, output } = await push('four');
    expect(code, output).toBe(0);
    expect(await env('STAMP')).toBe('');
    await berth.cli(['plugin:enable', 'stamp']);
    expect((await berth.cli(['stamp:show', 'shop'])).code).toBe(0);
    expect(await refused('plugin:uninstall', 'stamp', '--confirm', 'stump')).toContain('Confirmation did not match stamp');
    expect((await berth.cli(['plugin:uninstall', 'stamp', '--confirm', 'stamp'])).code).toBe(0);
    expect(existsSync(join(berth.root, 'plugins/.data/stamp'))).toBe(false);
    expect(Object.keys(await listed())).not.toContain('stamp');
    expect(await refused('plugin:info', 'stamp')).toContain('There is no plugin stamp');
  });
});

describe('folders, tarballs, npm', () => {
  it('takes over what was cloned into the plugins folder by hand; the old spelling answers', async () => {
    git(dir, 'clone', '-q', join(dir, 'stamp.git'), join(berth.root, 'plugins/stamp'));
    mkdirSync(join(berth.root, 'plugins/broken'));
    writeFileSync(join(berth.root, 'plugins/broken/berth-plugin.json'), '{');
    const { code, out, err } = await berth.cli(['plugins-install']);
    expect(code).toBe(1);
    expect(out).toContain('Installed stamp 1.1.0 (sha256:');
    expect(err).toMatch(/plugins\/broken: .*is not JSON/);
    rmSync(join(berth.root, 'plugins/broken'), { recursive: true });
    writeFileSync(join(berth.root, 'plugins/stamp/show.sh'), '#!/bin/sh\necho shown\n', { mode: 0o755 });
    expect((await berth.cli(['plugin:install'])).out).toContain('Updated stamp from 1.1.0');
    expect((await berth.cli(['stamp:show', 'shop'])).out).toBe('shown\n');
    await berth.cli(['--force', 'plugin:uninstall', 'stamp']);
    expect(existsSync(join(berth.root, 'plugins/stamp'))).toBe(false);
  });

  it('takes a tarball', async () => {
    const file = join(dir, 'stamp.tar.gz');
    execFileSync('tar', ['-czf', file, '-C', join(dir, 'stamp-work'), '--exclude=.git', '.']);
    await installed(file);
    expect((await listed())['stamp']!.enabled).toBe(true);
    await berth.cli(['--force', 'plugin:uninstall', 'stamp']);
  });

  it('a buildpack of one is named by its name, and must be there', async () => {
    const folder = join(dir, 'packs');
    mkdirSync(join(folder, 'cobol/bin'), { recursive: true });
    scripted('packs', '', { buildpacks: { cobol: './cobol' } })(folder);
    expect(await refused('plugin:install', folder)).toContain('buildpacks.cobol is "./cobol/bin/detect", which is not in the plugin');
    for (const part of ['detect', 'compile']) writeFileSync(join(folder, 'cobol/bin', part), '#!/bin/sh\n', { mode: 0o755 });
    await installed(folder);
    expect((await berth.cli(['buildpacks:set', 'bare', 'plugin:packs/cobol'])).out).toContain('plugin:packs/cobol');
    expect(await refused('buildpacks:add', 'bare', 'plugin:packs/fortran')).toContain('it brings: plugin:packs/cobol');
    expect(await refused('buildpacks:add', 'bare', 'plugin:none/x')).toContain('There is no plugin none');
    await berth.cli(['--force', 'plugin:uninstall', 'packs']);
  });

  it('says what cannot be a source', async () => {
    for (const [source, why] of [['http://git.example/x.git', 'would come unencrypted'], ['/nowhere', 'is not there'], ['Über', 'is not a source of a plugin'], ['./work', 'which the server does not know'], ['/usr', 'There is no berth-plugin.json in /usr'], [`file://${dir}/none.git`, 'could not be fetched'], ['npm:left-pad', 'berth-plugin.json is not there']] as const) expect(await refused('plugin:install', source)).toContain(why);
    expect(await refused('plugin:install', `file://${dir}/guard.git`, '--committish', 'v9')).toContain('at v9 could not be fetched');
    expect(readdirSync(join(berth.root, 'plugins/.incoming'))).toEqual([]);
  });
});

describe('a type of service that a plugin brings', () => {
  const ok = async (args: readonly string[], stdin?: string): Promise<string> => (await succeeds(berth, args, stdin === undefined ? {} : { stdin })).out;
  const dsn = async (name: string): Promise<string> => (await ok(['depot:info', name, '--dsn'])).trim();
  const said = (name: string): Promise<string> => ok(['depot:connect', name, 'get']);
  /** another version of its manifest */
  const manifest = (change: (service: Record<string, unknown>) => object | null, version = '1.0.1'): string => repository('depot', (work) => {
    from('depot')(work);
    const { services, ...rest } = JSON.parse(readFileSync(join(PLUGINS, 'depot/berth-plugin.json'), 'utf8')) as { services: Record<string, unknown>[] };
    writeFileSync(join(work, 'berth-plugin.json'), JSON.stringify({ ...rest, version, services: services.flatMap((service) => change(service) ?? []) }));
  });

  it('has its commands at once, and makes services that apps are linked to', async () => {
    expect(await refused('depot:list')).toContain('is not a berth command');
    expect(await installed(`file://${repository('depot', from('depot'))}`)).toContain('depot:create');
    expect((await berth.cli(['help'])).out).toMatch(/depot:<command> +Manage Depot services/);
    expect((await berth.cli(['depot'])).out).toMatch(/Manage Depot services \(plugin depot\)[^]*depot:create <service>/);
    await ok(['depot:create', 'my-words', '--app', 'shop']);
    expect(await dsn('my-words')).toMatch(/^depot:\/\/my_words:[0-9a-f]{32}@berth-depot-my-words:7070\/my_words$/);
    expect(await env('DEPOT_URL')).toBe(await dsn('my-words'));
    expect((await berth.ssh('depots:info my-words --version')).out).toMatch(/^1\.8/);
    expect(await refused('depot:info', 'none')).toContain('depot service none does not exist');
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const [all, one, none, wrong, unknown, closed] = await Promise.all([['/v1/services/depot', headers], ['/v1/services/depot/my-words', headers], ['/v1/services/depot/none', headers], ['/v1/services/depot/my-words/rotate', headers], ['/v1/services/nothing', headers], ['/v1/services/depot', {}]].map(([path, given]) => berth.api(path as string, { headers: given as Record<string, string> })));
    expect([all!.status, JSON.parse(all!.body)]).toEqual([200, [expect.objectContaining({ service: 'my-words', status: 'running', links: [{ app: expect.any(String), key: 'DEPOT_URL' }] })]]);
    expect([one!.status, none!.status, wrong!.status, unknown!.status, closed!.status]).toEqual([200, 404, 405, 404, 401]);
    expect(await berth.json(['depot:app-links', 'shop'])).toEqual([{ service: 'my-words', key: 'DEPOT_URL' }]);
  });

  it('data goes out and in, into a backup that was tried, and into a clone; another password comes to the app', async () => {
    expect(await ok(['depot:connect', 'my-words'], 'set one\nset two\n')).toBe('ok\nok\n');
    const dump = await ok(['depot:export', 'my-words']);
    expect(dump).toBe('DEPOT\none\ntwo\n');
    const folder = join(berth.root, 'work/copies');
    mkdirSync(folder);
    await ok(['depot:backup', 'my-words', folder]);
    expect((await berth.json<{ backups: object[] }>(['depot:backups', 'my-words'])).backups).toEqual([expect.objectContaining({ kind: 'backup', count: { values: 2 }, failure: null, key: expect.stringMatching(/\.words$/) })]);
    expect((await berth.cli(['depot:import', 'my-words'], { stdin: 'garbage that is no dump' })).err).toContain('This is no dump of Depot: it does not begin with "DEPOT"');
    await ok(['depot:import', 'my-words'], 'DEPOT\nthree\n');
    expect(await said('my-words')).toBe('three\n');
    await ok(['depot:clone', 'my-words', 'copy']);
    expect(await said('copy')).toBe('three\n');
    const before = await dsn('my-words');
    await ok(['depot:rotate', 'my-words']);
    expect(await dsn('my-words')).not.toBe(before);
    expect(await env('DEPOT_URL')).toBe(await dsn('my-words'));
    expect(await said('my-words')).toBe('three\n');
  });

  it('one that is there goes on, and is repaired, while the plugin is disabled; the plugin does not go before it', async () => {
    const container = async (): Promise<string | undefined> => (await berth.engine<{ Id: string; Names: string[] }[]>('GET', '/containers/json')).find(({ Names }) => Names[0]!.startsWith(`/${berth.instance}.depot.my-words.o`))?.Id;
    expect(await refused('plugin:uninstall', 'depot', '--confirm', 'depot')).toMatch(/Services of the types of depot are there: depot:copy, depot:my-words\n.*berth depot:destroy/);
    await ok(['plugin:disable', 'depot']);
    for (const words of [['depot:info', 'my-words'], ['depots:create', 'x'], ['depot']]) expect(await refused(...words)).toMatch(/Plugin depot is disabled: by .*\n.*berth plugin:enable depot/);
    expect((await berth.cli(['help'])).out).not.toContain('depot:');
    const first = await container();
    await berth.engine('DELETE', `/containers/${first}?force=1`);
    const second = await berth.until('it is made anew', async () => { const id = await container(); return id !== first && id; }, 60_000);
    expect((await berth.cli(['config:set', 'shop', 'OTHER=1'])).code).toBe(0);
    expect(await env('DEPOT_URL')).toMatch(/^depot:/);
    expect(await refused('plugin:uninstall', 'depot', '--confirm', 'depot')).toContain('depot:copy, depot:my-words');
    await ok(['plugin:enable', 'depot']);
    expect([await said('my-words'), await container()]).toEqual(['three\n', second]);
  });

  it('an update that would lose its services is refused, another is taken', async () => {
    manifest(() => null);
    expect(await refused('plugin:update', 'depot')).toMatch(/depot stays at 1\.0\.0: There is a depot service \S+, and its type is not among its types any more/);
    manifest((service) => ({ ...service, packaged: { ...service['packaged'] as object, volume: '/elsewhere' } }));
    expect(await refused('plugin:update', 'depot')).toContain('has its data at /elsewhere, not at /data');
    manifest((service) => ({ ...service, dsn: 'depot://:{password:url}@{host}:{port}' }));
    expect(await refused('plugin:update', 'depot')).toContain('has another DSN, which linked apps would not know');
    manifest((service) => ({ ...service, type: 'postgres', aliases: [] }));
    expect(await refused('plugin:update', 'depot')).toContain('services[0].type is "postgres", which Berth itself has commands of');
    expect((await listed())['depot']).toMatchObject({ enabled: true, version: '1.0.0' });
    manifest((service) => ({ ...service, title: 'Big depot' }));
    expect(await ok(['plugin:update', 'depot'])).toContain('Updated depot from 1.0.0 to 1.0.1');
    expect(await ok(['depot:restart', 'my-words'])).toContain('Restarting Big depot service my-words');
    expect(await said('my-words')).toBe('three\n');
  });

  it('goes with the plugin when none is left', async () => {
    expect(await refused('depot:destroy', 'my-words', '--confirm', 'my-words')).toContain('is linked to shop');
    await ok(['depot:unlink', 'my-words', 'shop']);
    expect(await env('DEPOT_URL')).toBe('');
    expect(await ok(['depot:destroy', 'my-words', '--confirm', 'my-words'])).toContain('Took a last dump');
    await ok(['depot:destroy', 'copy', '--confirm', 'copy', '--no-dump']);
    await ok(['plugin:uninstall', 'depot', '--confirm', 'depot']);
    expect(await refused('depot:list')).toContain('is not a berth command');
    expect((await berth.api('/v1/services/depot', { headers: { authorization: `Bearer ${token}` } })).status).toBe(404);
  });
});

describe('a builder that a plugin brings', () => {
  let greeter: string;
  const conf = (mood: string, branch = 'main'): Promise<{ code: number; output: string }> => berth.commit(greeter, { 'greet.conf': `base=${berth.instance}-base:1\ngreeting=hi\nmood=${mood}\n` }).then(() => berth.push(greeter, 'greeter', `HEAD:${branch}`));
  beforeAll(async () => {
    greeter = await berth.repo({ version: 'one\n', 'greet.conf': `base=${berth.instance}-base:1\ngreeting=hello\n` });
    await installed(`file://${repository('depot', from('depot'))}`);
    expect((await berth.cli(['apps:create', 'greeter'])).code).toBe(0);
  });

  it('takes a repository that is pushed, and says how it is built', async () => {
    const { code, output } = await berth.push(greeter, 'greeter');
    expect(code, output).toBe(0);
    for (const line of ['Greeting detected', 'greet.conf is there', `from ${berth.instance}-base:1`]) expect(output).toContain(line);
    expect((await berth.http('greeter', '/env/GREETING')).body).toBe('hello');
    const plan = await berth.json<{ plan: object; asked: object[] }>(['builder:plan', 'greeter']);
    expect(plan).toMatchObject({ plan: { builder: 'buildpack', buildpack: 'plugin:depot/greet', processTypes: { web: null, worker: 'sleep 100000' } } });
    expect(plan.asked).toEqual(expect.arrayContaining([{ builder: 'dockerfile', answer: 'no' }, { builder: 'plugin:depot/greet', answer: 'greet.conf is there' }]));
    expect((await berth.cli(['buildpacks:detect', 'greeter'])).out).toContain('asked plugin:depot/greet: greet.conf is there');
    expect((await berth.cli(['trace', 'greeter', '1'])).code).toBe(0);
  });

  it('that is broken is a warning, and the others are asked; named by the app, it fails', async () => {
    const nothing = await conf('garbled');
    expect(nothing.code).not.toBe(0);
    expect(nothing.output).toMatch(/plugin:depot\/greet, a plugin's builder, did not answer: what it printed is not JSON/);
    expect(nothing.output).toContain('plugin:depot/greet: greet.conf');
    expect(nothing.output).toContain('no buildpack fits');
    await berth.commit(greeter, { Procfile: 'web: ./run\n', run: '#!/bin/sh\n' });
    expect((await berth.push(greeter, 'greeter', 'HEAD:odd')).code).toBe(0);
    const { asked, plan } = await berth.json<{ plan: { buildpack: string }; asked: { builder: string; answer: string }[] }>(['builder:plan', 'greeter', '--branch', 'odd']);
    expect([plan.buildpack, asked.find(({ builder }) => builder === 'plugin:depot/greet')?.answer]).toEqual(['procfile', expect.stringMatching(/^did not answer: what it printed is not JSON/)]);
    expect(await refused('builder:set', 'greeter', 'selected', 'plugin:depot/grete')).toContain('it brings: plugin:depot/greet');
    expect((await berth.cli(['builder:set', 'greeter', 'selected', 'plugin:depot/greet'])).code).toBe(0);
    for (const [mood, why] of [
      ['slow', 'plugin:depot/greet, which setting builder names, did not answer: it did not end within 3 s'],
      ['rude', 'plugin:depot/greet cannot build it: greet.conf is rude'],
      ['sly', 'RUN --security=insecure is not allowed'],
    ] as const) {
      const { code, output } = await conf(mood);
      expect(code).not.toBe(0);
      expect(output).toContain(why);
    }
    expect((await berth.http('greeter', '/env/GREETING')).body).toBe('hello');
    await berth.commit(greeter, { Procfile: null });
    const { code, output } = await conf('fine');
    expect(code, output).toBe(0);
    expect((await berth.http('greeter', '/env/GREETING')).body).toBe('hi');
    await noneLeft('depot');
  });

  it('in TypeScript answers likewise; one that is disabled is not there', async () => {
    await berth.commit(greeter, { 'greet.conf': null, Procfile: null, 'diary.page': 'dear diary\n' });
    expect((await berth.push(greeter, 'greeter', 'HEAD:page')).code).toBe(0);
    await berth.cli(['builder:set', 'greeter', 'selected']);
    expect((await berth.cli(['builder:plan', 'greeter', '--branch', 'page'])).out).toMatch(/Page of a diary \(Page of a diary\): diary.page is there[^]*dear diary[^]*asked plugin:depot\/greet: no\n[^]*asked plugin:diary\/page: diary.page is there[^]*web: cat \/page/);
    await berth.cli(['builder:set', 'greeter', 'selected', 'plugin:diary/page']);
    await berth.cli(['plugin:disable', 'diary']);
    expect(await refused('builder:plan', 'greeter', '--branch', 'page')).toContain('setting builder says plugin:diary/page, and no plugin that is enabled brings it');
    await berth.cli(['plugin:enable', 'diary']);
    await berth.cli(['--force', 'plugin:uninstall', 'depot']);
    await berth.cli(['--force', 'apps:destroy', 'greeter']);
  });
});

describe('plugins that are not as they should be', () => {
  const hook = { hooks: [{ step: 'clone', when: 'before', run: ['./run.sh'], timeout: 2 }] };

  it('are refused, each with the field and what to do', async () => {
    const install = async (name: string, script: string, more: object): Promise<string> => {
      const folder = join(dir, `bad-${name}`);
      mkdirSync(folder);
      scripted(name, script, more)(folder);
      if (name === 'linked') symlinkSync('/etc/passwd', join(folder, 'passwd'));
      return refused('plugin:install', folder);
    };
    expect(await install('future', '', { ...hook, berth: '>=9' })).toMatch(/berth wants Berth >=9: this is Berth 0\.1\.0/);
    expect(await install('ps', '', hook)).toContain('name is "ps", which Berth itself has commands of');
    expect(await install('thief', '', { commands: [{ name: 'ps:scale', summary: 'x', run: ['./run.sh'] }] })).toContain('commands[0].name is "ps:scale", which is a command of Berth');
    expect(await install('lost', '', { hooks: [{ step: 'clone', when: 'before', run: ['../run.sh'] }] })).toContain('hooks[0].run[0] is "../run.sh"');
    expect(await install('late', '', { hooks: [{ step: 'route', when: 'after', mayRefuse: true, run: ['./run.sh'] }] })).toContain('where a refusal comes too late');
    expect(await install('needy', '', { ...hook, needs: ['no-such-program'] })).toContain('needs[0] is "no-such-program", which is not on this server');
    expect(await install('typo', '', { hook: [] })).toContain('hook is not known');
    expect(await install('linked', '', hook)).toContain('a link that leads out of its folder');
    expect(Object.keys(await listed()).sort()).toEqual(['diary', 'guard']);
    expect(readdirSync(join(berth.root, 'plugins/.incoming'))).toEqual([]);
  });

  it('do not stop a deploy: hooks that hang, print garbage, fail, flood, write elsewhere', async () => {
    const bad: readonly [string, string, string][] = [
      ['before clone', 'sleep 1000 & setsid sleep 1000 & sleep 1000', 'it did not end within 2 s, and was killed'],
      ['after clone', 'echo this is no JSON', 'what it printed is not JSON: "this is no JSON"'],
      ['before detect', 'echo it went wrong >&2; exit 7', 'it ended with exit code 7: it went wrong'],
      ['after detect', 'exec cat /dev/zero', 'it wrote more than 1024 KiB to standard output, and was killed'],
      ['before build', 'exec yes >&2', 'it wrote more than 256 KiB to standard error, and was killed'],
      ['after build', `for file in "${berth.root}/berth.db" "$PWD/more" "${berth.root}/plugins/.data/guard/more" /etc/berth-was-here; do echo x > "$file" && exit 0; done; exit 2`, 'it ended with exit code 2'],
      ['before release', 'echo \'{"add":{"env":{"A B":"x"},"networks":["host"]}}\'', 'its answer is not what the protocol says: add.env.A B is not a name that can stand there'],
      ['after release', 'echo \'{"refuse":"no"}\'', 'it refuses (no), which its manifest does not declare: mayRefuse'],
      ['before route', 'kill -9 $$', 'it was killed by SIGKILL'],
    ];
    const script = `case "$1" in\n${bad.map(([when, what]) => `"${when}") ${what} ;;`).join('\n')}\nesac`;
    const hooks = bad.map(([what]) => ({ when: what.split(' ')[0], step: what.split(' ')[1], run: ['./run.sh', what], timeout: what === 'before clone' ? 2 : 20 }));
    await installed(`file://${repository('sick', scripted('sick', script, { hooks }))}`);
    const before = pids();
    const { code, output } = await push('five');
    expect(code, output).toBe(0);
    for (const [, , why] of bad) expect(output).toContain(`Plugin sick: ${why}`);
    expect((await berth.http('shop')).body).toContain('v=five');
    expect(pids()).toEqual(before);
    expect(existsSync('/etc/berth-was-here')).toBe(false);
    // nothing of theirs goes on
    await noneLeft('sick');
    await berth.cli(['--force', 'plugin:uninstall', 'sick']);
  });

  it('mounts, checks, networks and labels of a hook are the container\'s; its volume goes with the app; a network that is not there is said', async () => {
    const network = `${berth.instance}-elsewhere`;
    await berth.engine('POST', '/networks/create', { Name: network });
    const add = (networks: string[]) => JSON.stringify({ add: { mounts: [{ name: 'kept', path: '/kept' }], networks, labels: { 'team.name': 'blue' }, checks: { path: '/env/NONE', attempts: 2 } } });
    try {
      expect((await berth.cli(['apps:create', 'moored'])).code).toBe(0);
      const from = await berth.repo(app({ version: 'moored' }));
      const written = (networks: string[]) => scripted('mooring', `[ "$BERTH_APP" != moored ] || cat <<'END'\n${add(networks)}\nEND`, { hooks: [{ when: 'before', step: 'release', run: ['./run.sh'] }] });
      await installed(`file://${repository('mooring', written([network]))}`);
      const first = await berth.push(from, 'moored');
      expect(first.code, first.output).toBe(0);
      const [found] = await berth.engine<{ Id: string }[]>('GET', `/containers/json?filters=${encodeURIComponent(JSON.stringify({ label: ['team.name=blue', `berth.instance=${berth.instance}`] }))}`);
      const { Mounts, NetworkSettings, Config } = await berth.engine<{ Mounts: { Type: string; Name: string; Destination: string }[]; NetworkSettings: { Networks: object }; Config: { Labels: Record<string, string> } }>('GET', `/containers/${found!.Id}/json`);
      const [kept] = Mounts.filter(({ Destination }) => Destination === '/kept');
      expect(kept).toMatchObject({ Type: 'volume', Name: expect.stringContaining(Config.Labels['berth.app']!) });
      expect(Object.keys(NetworkSettings.Networks)).toEqual(expect.arrayContaining([network]));
      expect(first.output).toContain('web.1 is up: GET /env/NONE answered 200');
      expect((await berth.http('moored')).body).toContain('v=moored');

      repository('mooring', written(['no-such-network']));
      expect((await berth.cli(['plugin:update', 'mooring'])).code).toBe(0);
      const second = await berth.cli(['ps:rebuild', 'moored']);
      expect(second.code, second.err).toBe(0);
      expect(second.out + second.err).toContain('A plugin adds the network no-such-network, which is not there: it is left out');
      expect((await berth.http('moored')).body).toContain('v=moored');

      expect((await berth.cli(['--force', 'apps:destroy', 'moored', '--storage'])).code).toBe(0);
      await berth.until('its volume goes with it', async () => (await berth.engine<{ Volumes: { Name: string }[] | null }>('GET', '/volumes')).Volumes?.every(({ Name }) => Name !== kept!.Name) ?? true);
    } finally {
      await berth.cli(['--force', 'plugin:uninstall', 'mooring']);
      await berth.until('the network is free', async () => Object.keys((await berth.engine<{ Containers?: object }>('GET', `/networks/${network}`)).Containers ?? {}).length === 0);
      await berth.engine('DELETE', `/networks/${network}`);
    }
  });

  it('a worker that dies while a plugin is asked: what was answered before holds, the rest is asked anew', async () => {
    const script = 'cd "$BERTH_PLUGIN_DATA"; echo x >> "$1"; n=$(wc -l < "$1"); [ "$1$n" != after1 ] || sleep 1000; echo "{\\"add\\":{\\"env\\":{\\"ASKED\\":\\"$n\\"}}}"';
    await installed(`file://${repository('slow', scripted('slow', script, { hooks: [{ when: 'before', step: 'release', run: ['./run.sh', 'before'] }, { when: 'after', step: 'release', run: ['./run.sh', 'after'], timeout: 60 }] }))}`);
    const data = join(berth.root, 'plugins/.data/slow');
    const pushed = push('six');
    await berth.until('it is asked afterwards', async () => existsSync(join(data, 'after')), 60_000);
    await berth.program('release-1').down();
    berth.program('release-1').start();
    const { code, output } = await pushed;
    expect(code, output).toBe(0);
    expect(await env('ASKED')).toBe('1');
    expect([readFileSync(join(data, 'before'), 'utf8'), readFileSync(join(data, 'after'), 'utf8')]).toEqual(['x\n', 'x\nx\n']);
    await noneLeft('slow');
    await berth.cli(['--force', 'plugin:uninstall', 'slow']);
  });

  it('a command that hangs or prints garbage ends with what was wrong', async () => {
    await installed(`file://${repository('odd', scripted('odd', '[ "$BERTH_COMMAND" = odd:hang ] && sleep 1000; echo "<html>"', { commands: ['hang', 'talk'].map((word) => ({ name: `odd:${word}`, summary: word, run: ['./run.sh'], timeout: 1 })) }))}`);
    expect(await refused('odd:hang')).toContain('Plugin odd: it did not end within 1 s, and was killed');
    expect(await refused('odd:talk')).toContain('Plugin odd: what it printed is not JSON: "<html>"');
    await berth.cli(['--force', 'plugin:uninstall', 'odd']);
  });

  it('an installation that is killed in the middle leaves nothing; one that does not load any more is disabled at the start, the rest goes on', async () => {
    const stalled = createServer(() => {});
    await new Promise<void>((resolve) => { stalled.listen(0, '127.0.0.1', resolve); });
    const installing = berth.cli(['plugin:install', `http://127.0.0.1:${(stalled.address() as AddressInfo).port}/slow.git`]).catch(() => undefined);
    await berth.until('it has begun', async () => readdirSync(join(berth.root, 'plugins/.incoming')).length > 0);
    await berth.program('api').down();
    stalled.closeAllConnections();
    stalled.close();
    await installing;
    rmSync(join(berth.root, 'plugins/.code', readdirSync(join(berth.root, 'plugins/.code')).find((name) => name.startsWith('diary-'))!), { recursive: true });
    berth.program('api').start();
    await berth.ready(60_000);
    await berth.until('diary is disabled', async () => (await listed())['diary']?.enabled === false);
    expect((await listed())['diary']!.reason).toContain('its files are not on this server: berth plugin:update diary');
    expect((await listed())['guard']!.enabled).toBe(true);
    expect((await berth.cli(['doctor'])).out).toMatch(/plugins.*diary: it does not load: its files are not on this server/);
    expect(Object.keys(await listed()).sort()).toEqual(['diary', 'guard']);
    await berth.until('nothing is left of it', async () => readdirSync(join(berth.root, 'plugins/.incoming')).length === 0);
    repository('diary', from('typescript'));
    expect((await berth.cli(['plugin:update', 'diary'])).code).toBe(0);
    expect((await listed())['diary']!.enabled).toBe(true);
    expect((await berth.cli(['guard:freeze', 'shop', 'again'])).code).toBe(0);
    await berth.until('guard counts on from before the restart', async () => (await berth.cli(['plugin:projection', 'guard', 'freezes'])).out === '2\n');
  });
});
