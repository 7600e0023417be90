import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { BuildpackFetch } from '../../src/drivers/stack/buildpack-fetch.js';
import { DockerSandbox } from '../../src/drivers/stack/sandbox.js';
import type { BuildOutput, BuildPlan } from '../../src/events/types/deploy.events.js';
import { cacheVolume, classicBuilds } from '../../src/plugins/builders/classic/classic.runner.js';
import { buildStep } from '../../src/workers/build/build.step.js';
import { detectStep, stackFor } from '../../src/workers/detect/detect.step.js';
import type { StepContext, StepFailure } from '../../src/events/step.js';

const socket = process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock';
const docker = new Docker({ socketPath: socket });
const engine = new DockerDriver(socket);
const sandbox = new DockerSandbox(docker);
const instance = `t${randomBytes(4).toString('hex')}`;
const SHA = '0123456789abcdef0123456789abcdef01234567';
let folder: string;
let lines: string[];

/** A git repository out of texts; `bin/*` is executable. */
function repository(name: string, files: Readonly<Record<string, string>>): string {
  const path = join(folder, name);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(path, file, '..'), { recursive: true });
    writeFileSync(join(path, file), text);
    if (file.startsWith('bin/')) chmodSync(join(path, file), 0o755);
  }
  const git = (...args: string[]): void => void execFileSync('git', ['-C', path, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args]);
  git('init', '-q', '-b', 'main');
  git('add', '-A');
  git('commit', '-q', '-m', 'x');
  return path;
}
function source(name: string, files: Readonly<Record<string, string>>): string {
  const tar = join(folder, `${name}.tar`);
  execFileSync('git', ['-C', repository(name, files), 'archive', '-o', tar, 'HEAD']);
  return tar;
}

let deploys = 0;
function context<S extends 'detect' | 'build'>(step: S, input: StepContext<S>['input'], signal = new AbortController().signal): StepContext<S> {
  const log = { info: (text: string) => lines.push(`-----> ${text}`), section: (text: string) => lines.push(text), detail: (text: string) => lines.push(`       ${text}`), warn: (text: string) => lines.push(` !     ${text}`), output: (text: string) => lines.push(text), call: () => undefined };
  deploys += 1;
  return { step, app: 'a1', deploy: deploys, job: `a1.${deploys}.${step}`, attempt: 1, input, log, signal };
}
interface Options { readonly timeoutMs?: number; readonly memory?: number; readonly settings?: Record<string, string>; readonly env?: Record<string, string>; readonly signal?: AbortSignal }
async function build(tar: string, named: string | readonly string[], options: Options = {}): Promise<BuildOutput> {
  lines = [];
  const packs = typeof named === 'string' ? [named] : named;
  const plan: BuildPlan = await detectStep()(context('detect', { app: 'a1', name: 'demo', source: tar, configVersion: 1, settings: { buildpacks: packs.join('\n'), ...options.settings } }));
  const env = (): Record<string, string> => options.env ?? {};
  const classic = classicBuilds({ engine, sandbox, fetcher: new BuildpackFetch(join(folder, 'cache'), { timeoutMs: 10_000 }), stack: stackFor(), instance, env, ca: async () => null, proxy: {} });
  return buildStep({ engine, config: { instance, buildCa: null, buildProxy: {} }, env, classic })(
    context('build', { app: 'a1', name: 'demo', source: tar, plan, configVersion: 1, sha: SHA, limits: { memory: options.memory ?? 0, cpus: 0, timeoutMs: options.timeoutMs ?? 60_000 } }, options.signal));
}
const failing = async (...args: Parameters<typeof build>): Promise<StepFailure> => build(...args).then(() => { throw new Error('was built'); }, (error: unknown) => error as StepFailure);
async function output(image: string, ...cmd: string[]): Promise<string> {
  const out: string[] = [];
  await engine.runContainer({ name: `${instance}-${randomBytes(3).toString('hex')}`, image, cmd, env: { PORT: '5000' }, labels: { instance }, network: 'none', memory: 0, cpus: 0, pids: 0, restart: 'no' }, (line) => out.push(line), AbortSignal.timeout(30_000));
  return out.join('\n');
}
const leftovers = async (): Promise<number> => (await engine.listContainers({ instance })).length;

const GOOD = {
  'bin/detect': '#!/bin/bash\n[ -f "$1/hello.txt" ] || { echo "no hello.txt"; exit 1; }\necho Hello\n',
  'bin/compile': `#!/bin/bash
set -e
BP=$(cd "$(dirname "$0")/.." && pwd)
echo "-----> Compiling on $STACK, home $HOME"
echo "       greeting is $(cat "$3/GREETING")"
echo "       secret is $(cat "$3/SECRET")"
[ -z "$SECRET" ] || echo "leaked into the environment"
[ -f "$2/seen" ] && echo "       cache: $(cat "$2/seen")" || echo "       cache is empty"
echo kept > "$2/seen"
mkdir -p "$1/bin" "$1/.profile.d"
ln "$1/hello.txt" "$1/hard.txt"; ln -s hello.txt "$1/soft.txt"
printf '#!/bin/sh\\necho "$FROM_PROFILE $(cat hard.txt) $(cat soft.txt) $(id -u) $1"\\n' > "$1/bin/serve"; chmod +x "$1/bin/serve"
echo 'export FROM_PROFILE=profile-was-read' > "$1/.profile.d/hello.sh"
echo 'export EXPORTED=yes' > "$BP/export"
`,
  'bin/release': '#!/bin/bash\necho "---"\necho "default_process_types:"\necho "  web: bin/serve \\$PORT"\necho "  clock: tick $EXPORTED"\n',
};

describe('a third-party buildpack', () => {
  let app: string;
  let good: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-classic-'));
    app = source('app', { 'hello.txt': 'hi' });
    good = repository('good', GOOD);
  });
  afterAll(async () => {
    for (const image of await engine.listImages({ instance })) await engine.removeImage(image.id, true);
    await sandbox.removeCache(cacheVolume(instance, 'a1'));
    rmSync(folder, { recursive: true, force: true });
  });

  it('detects, compiles, releases; the image runs what it said', async () => {
    const env = { GREETING: 'moin', SECRET: 'correct horse battery' };
    const made = await build(app, `file://${good}`, { env });
    expect(lines).toContain('-----> Hello app detected');
    expect(lines).toContain('-----> Compiling on berth-13, home /app');
    expect(lines).toContain('       greeting is moin');
    expect(lines).toContain('       secret is ***');
    expect(lines).toContain('       cache is empty');
    expect(lines.join('\n')).not.toMatch(/correct horse|leaked/);
    expect(made.processTypes).toEqual({ web: 'bin/serve $PORT', clock: 'tick yes' });
    expect(await output(made.image, '/bin/sh', '-c', 'exec bin/serve $PORT')).toBe('profile-was-read hi hi 1000 5000');
    expect(await output(made.image, 'bin/serve $PORT')).toBe('profile-was-read hi hi 1000 5000');
    // nothing of the config is anywhere in the image
    expect(JSON.stringify([await docker.getImage(made.image).inspect(), await docker.getImage(made.image).history()])).not.toMatch(/correct horse|GREETING/);
    expect(await output(made.image, 'ls -A /app /tmp')).not.toMatch(/env|buildpack|\.git$/);

    await build(app, `file://${good}#main`, { env });
    expect(lines).toContain('       cache: kept');
    expect(await leftovers()).toBe(0);
  });

  it('a Procfile wins over its defaults, .env over the config', async () => {
    const own = source('own', { 'hello.txt': 'x', Procfile: 'web: echo mine\nrelease: echo rel\n' });
    const made = await build(own, `file://${good}`, { env: { GREETING: '', SECRET: '' } });
    expect(made.processTypes).toEqual({ web: 'echo mine', clock: 'tick yes' });
    expect(made.releaseCommand).toBe('echo rel');
  });

  it.each([
    ['refuses the app', { ...GOOD }, { 'readme.md': '' }, 'build.buildpack', 'no hello.txt'],
    ['fails in compile', { ...GOOD, 'bin/compile': '#!/bin/bash\necho boom >&2; exit 3' }, { 'hello.txt': '' }, 'build.failed', 'boom'],
    ['is killed by a signal', { ...GOOD, 'bin/compile': '#!/bin/bash\nkill -TERM $$' }, { 'hello.txt': '' }, 'build.failed', 'bin/compile'],
    ['fails in release', { ...GOOD, 'bin/release': '#!/bin/bash\nexit 1' }, { 'hello.txt': '' }, 'build.failed', 'bin/release'],
    ['names no process', { ...GOOD, 'bin/release': '#!/bin/bash\necho "--- {}"' }, { 'hello.txt': '' }, 'build.no-process', 'Procfile'],
    ['is none', { 'readme.md': '' }, { 'hello.txt': '' }, 'build.buildpack', 'no buildpack of the classic API'],
  ])('%s', async (name, pack, files, code, message) => {
    const key = name.replaceAll(/\W/g, '-');
    const error = await failing(source(`${key}-app`, files), `file://${repository(key, pack)}`, { env: { GREETING: '', SECRET: '' } });
    expect(error).toMatchObject({ code, fault: 'user' });
    expect(error.message).toContain(message);
    expect(await leftovers()).toBe(0);
  });

  it('never ends: the time limit ends it, and so does an abort', async () => {
    const url = `file://${repository('hangs', { ...GOOD, 'bin/compile': '#!/bin/bash\nsleep 600' })}`;
    expect((await failing(app, url, { timeoutMs: 2000 })).code).toBe('build.timeout');
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error('cancelled')), 2000);
    expect((await failing(app, url, { signal: abort.signal })).message).toBe('cancelled');
    expect(await leftovers()).toBe(0);
  });

  it('wants too much memory', async () => {
    const url = `file://${repository('eats', { ...GOOD, 'bin/compile': '#!/bin/bash\npython3 -c "x = bytearray(500 * 1024 * 1024)"; exit $?' })}`;
    expect((await failing(app, url, { memory: 64 * 1024 * 1024 })).code).toBe('build.out-of-memory');
  });

  it('prints 100 MB', async () => {
    const url = `file://${repository('prints', { ...GOOD, 'bin/compile': '#!/bin/bash\nhead -c 100000000 /dev/zero | tr "\\0" x; echo; exit 1' })}`;
    expect((await failing(app, url)).code).toBe('build.failed');
    expect(await leftovers()).toBe(0);
  }, 120_000);
});
