import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
import type { Plugin } from '../../src/modules/plugins/active.js';
import { withPluginBuildpacks } from '../../src/workers/build/plugin-buildpacks.js';
import type { StepContext, StepFailure } from '../../src/events/step.js';
import { mark } from './engine.kit.js';

const socket = process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock';
const docker = new Docker({ socketPath: socket });
const engine = new DockerDriver(socket);
const sandbox = new DockerSandbox(docker);
const instance = `t${randomBytes(4).toString('hex')}`;
const bundle = process.env['BERTH_BUILD_CA'] ?? '/etc/ssl/certs/ca-certificates.crt';
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
interface Options { readonly timeoutMs?: number; readonly memory?: number; readonly settings?: Record<string, string>; readonly env?: Record<string, string>; readonly signal?: AbortSignal; readonly buildCa?: boolean }
async function build(tar: string, named: string | readonly string[], options: Options = {}): Promise<BuildOutput> {
  lines = [];
  const packs = typeof named === 'string' ? [named] : named;
  const plan: BuildPlan = await detectStep()(context('detect', { app: 'a1', name: 'demo', source: tar, configVersion: 1, settings: { buildpacks: packs.join('\n'), ...options.settings } }));
  const env = (): Record<string, string> => options.env ?? {};
  const cache = join(folder, 'cache');
  const manifest = { buildpacks: { hello: './hello' } } as unknown as Plugin['manifest'];
  const plugins = { all: async () => [{ name: 'packs', manifest, enabled: true, reason: null, data: '', handlers: null, uid: null, code: join(folder, 'plugin') }] };
  const classic = classicBuilds({ engine, sandbox, fetcher: withPluginBuildpacks(new BuildpackFetch(cache, { timeoutMs: 10_000, forbidden: [join(folder, 'plugin')] }), new BuildpackFetch(cache), plugins), stack: stackFor(), instance, env, ca: async () => null, proxy: {} });
  return buildStep({ engine, config: { instance, buildCa: options.buildCa && existsSync(bundle) ? bundle : null, buildProxy: {} }, env, classic, mark })(
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
    // as repo:purge-cache does
    const caches = async (): Promise<string[]> => (await engine.listCaches()).filter(({ mark }) => mark === `${instance}/a1`).map(({ id }) => id);
    expect(await caches()).toContain(`volume:${cacheVolume(instance, 'a1')}`);
    await engine.removeCaches(await caches());
    expect(await caches()).toEqual([]);
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

  it('comes with a plugin, by its name', async () => {
    repository('plugin/hello', GOOD);
    const { processTypes } = await build(app, 'plugin:packs/hello', { env: { GREETING: 'salve', SECRET: 's3cret' } });
    expect(lines.join('\n')).toMatch(/Buildpack plugin:packs\/hello at [0-9a-f]{12}\n[^]*greeting is salve/);
    expect(processTypes['web']).toBe('bin/serve $PORT');
    expect((await failing(app, 'plugin:packs/other')).message).toBe('no plugin brings the buildpack plugin:packs/other');
    expect((await failing(app, 'plugin:none/other')).message).toBe('no plugin brings the buildpack plugin:none/other');
  });

  it('a Procfile wins over its defaults, .env over the config', async () => {
    const own = source('own', { 'hello.txt': 'x', Procfile: 'web: echo mine\nrelease: echo rel\n' });
    const made = await build(own, `file://${good}`, { env: { GREETING: '', SECRET: '' } });
    expect(made.processTypes).toEqual({ web: 'echo mine', clock: 'tick yes' });
    expect(made.releaseCommand).toBe('echo rel');
  });

  it('named by BUILDPACK_URL it is used whatever its bin/detect says', async () => {
    const other = source('other', { 'readme.md': '', Procfile: 'web: x' });
    const made = await build(other, [], { settings: { BUILDPACK_URL: repository('unwilling', { 'bin/detect': '#!/bin/bash\nexit 1', 'bin/compile': '#!/bin/bash\ntrue' }) } });
    expect(made.processTypes).toEqual({ web: 'x' });
    expect(lines.join('\n')).toContain('it is used because BUILDPACK_URL names it');
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

  it('several: each sees what those before exported, the last one\'s release wins, and strange files pass', async () => {
    const long = 'n'.repeat(255);
    const files = {
      'hello.txt': 'x', '.slugignore': '*.psd\n/docs\n!keep.psd\n', 'a.psd': '', 'keep.psd': '', 'docs/x': '', 'src/docs/x': '', 'a b\nc.txt': 'strange', [long]: 'long', '.profile': 'export OWN=own-profile\n',
    };
    const path = repository('several', files);
    execFileSync('bash', ['-c', 'cd "$1" && printf raw > $(printf "\\xff\\xfe.bin") && ln -s /etc/hostname out && ln -s ../../.. up && git add -A && git -c user.name=t -c user.email=t@t commit -qm y && git archive -o "$2" HEAD', '-', path, join(folder, 'several.tar')]);
    const first = repository('first', {
      'bin/detect': '#!/bin/bash\necho First', 'bin/release': '#!/bin/bash\necho "default_process_types: {web: first, clock: tick}"\necho "config_vars: {PATH: x, SECRET_THING: y}"',
      'bin/compile': '#!/bin/bash\nbp=$(cd "$(dirname "$0")/.." && pwd)\necho "commit $SOURCE_VERSION on $STACK"\nmkdir -p "$1/.tool/bin" "$1/.profile.d"\nprintf "#!/bin/sh\\necho tool-ran\\n" > "$1/.tool/bin/tool"; chmod +x "$1/.tool/bin/tool"\necho "export PATH=$1/.tool/bin:\\$PATH berth_n=9 FROM_FIRST=yes" > "$bp/export"\necho "export PATH=\\$HOME/.tool/bin:\\$PATH" > "$1/.profile.d/tool.sh"\n',
    });
    const second = repository('second', { 'bin/detect': '#!/bin/bash\n[ "$FROM_FIRST" = yes ] && echo Second', 'bin/compile': '#!/bin/bash\ntool && ls -A "$1" | grep -c . && [ -z "$berth_n" ] || echo "berth_n=$berth_n"\nrm -rf "$1/.git"', 'bin/release': '#!/bin/bash\necho "default_process_types: {web: \\"echo $FROM_FIRST\\"}"' });
    const made = await build(join(folder, 'several.tar'), [first, second], { settings: { 'buildpacks-stack': 'heroku-24' } });
    expect(lines).toContain(`commit ${SHA} on heroku-24`);
    expect(lines).toContain('tool-ran');
    expect(lines.filter((line) => line.endsWith('app detected'))).toEqual(['-----> First app detected', '-----> Second app detected']);
    expect(lines.join('\n')).toMatch(/names config vars \(PATH, SECRET_THING\): they are not set/);
    expect(made.processTypes).toEqual({ web: 'echo yes', clock: 'tick' });
    const seen = await output(made.image, 'tool; echo "$OWN"; readlink out up; cat "a b\nc.txt" n*; find . -type f -printf "%f\\n" | LC_ALL=C sed -n l; id -u; stat -c %U:%n .tool/bin/tool');
    for (const part of ['tool-ran', 'own-profile', '/etc/hostname\n../../..', 'strangelong', '\\377\\376.bin', 'app:.tool/bin/tool']) expect(seen).toContain(part);
    expect(seen).not.toMatch(/psd|^docs/m);
    expect(await output(made.image, 'ls src/docs')).toBe('x');
  });

  it('in front of one of ours: what it left is there for packages that are compiled, and when the app runs', async () => {
    const apt = repository('apt', {
      'bin/detect': '#!/bin/bash\n[ -f "$1/Aptfile" ] && echo Apt', 'bin/release': '#!/bin/bash\necho "default_process_types: {web: wrong, extra: echo extra}"',
      'bin/compile': `#!/bin/bash
set -e
bp=$(cd "$(dirname "$0")/.." && pwd); to="$1/.apt/usr"; mkdir -p "$to/include" "$to/lib" "$1/.profile.d"
echo 'int greet(void);' > "$to/include/greet.h"
echo 'int greet(void) { return 42; }' > /tmp/greet.c
cc -shared -fPIC -o "$to/lib/libgreet.so" /tmp/greet.c
echo "export CPATH=$to/include LIBRARY_PATH=$to/lib PATH=$to/bin:$PATH KEY_FILE='$(cat "$3/SECRET")'" > "$bp/export"
echo 'export LD_LIBRARY_PATH=$HOME/.apt/usr/lib' > "$1/.profile.d/000_apt.sh"
`,
    });
    const tar = source('mixed', {
      Aptfile: 'libgreet', Procfile: 'web: python -c "import probe; print(probe.greet())"\n', 'requirements.txt': './probe\n',
      // a backend of its own, so that nothing is fetched
      'probe/pyproject.toml': '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
      'probe/backend.py': `import os, subprocess, sysconfig, zipfile
def build_wheel(out, config_settings=None, metadata_directory=None):
    so = 'probe' + sysconfig.get_config_var('EXT_SUFFIX')
    subprocess.check_call(['cc', '-shared', '-fPIC', '-I' + sysconfig.get_path('include'), 'probe.c', '-lgreet', '-o', '/tmp/' + so])
    with zipfile.ZipFile(os.path.join(out, 'probe-1-py3-none-any.whl'), 'w') as wheel:
        wheel.write('/tmp/' + so, so)
        for name, text in {'METADATA': 'Metadata-Version: 2.1\\nName: probe\\nVersion: 1\\n', 'WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: py3-none-any\\n', 'RECORD': ''}.items():
            wheel.writestr('probe-1.dist-info/' + name, text)
    return 'probe-1-py3-none-any.whl'
`,
      'probe/probe.c': '#include <Python.h>\n#include <greet.h>\nstatic PyObject *g(PyObject *s, PyObject *a) { return PyLong_FromLong(greet()); }\nstatic PyMethodDef m[] = {{"greet", g, METH_NOARGS, 0}, {0}};\nstatic struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "probe", 0, -1, m};\nPyMODINIT_FUNC PyInit_probe(void) { return PyModule_Create(&d); }\n',
    });
    const made = await build(tar, [apt, 'heroku/python'], { env: { SECRET: 'correct horse battery' } });
    expect(lines.join('\n')).toMatch(/Added by the buildpacks: \.apt, \.profile\.d/);
    expect(lines.join('\n')).toMatch(/KEY_FILE can't be handed on/);
    expect(made.processTypes).toEqual({ web: 'python -c "import probe; print(probe.greet())"', extra: 'echo extra' });
    expect(await output(made.image, '/bin/sh', '-c', `exec ${made.processTypes['web']}`)).toBe('42');
    expect(JSON.stringify([await docker.getImage(made.image).inspect(), await docker.getImage(made.image).history(), lines])).not.toContain('correct horse');
    expect((await docker.getImage(made.image).inspect()).Config.Env.join(' ')).not.toContain('.apt');
    expect(await leftovers()).toBe(0);
  });

  it('in front of two of ours: writes their Procfile, and is a part of the source for both', async () => {
    const writes = repository('writes', { 'bin/detect': '#!/bin/bash\necho Writes', 'bin/compile': '#!/bin/bash\necho "echo fromthird" > "$1/third.sh"\necho "web: sh seen.sh" > "$1/Procfile"\n' });
    const files = {
      'package.json': '{"scripts": {"build": "node build.js"}}', 'build.js': "const fs = require('fs');\nfs.writeFileSync('seen.sh', fs.readFileSync('third.sh', 'utf8') + 'echo by node ' + 6 * 7);\n",
      'requirements.txt': '', 'manage.py': '# django\nopen("static.sh", "w").write(open("seen.sh").read())\n',
    };
    const made = await build(source('two', files), [writes, 'node', 'python'], { buildCa: true });
    expect(lines.join('\n')).toMatch(/Added by the buildpacks: Procfile, third\.sh/);
    expect(made.processTypes).toEqual({ web: 'sh seen.sh' });
    expect(await output(made.image, '/bin/sh', '-c', 'sh static.sh; which node python')).toBe('fromthird\nby node 42\n/opt/node/bin/node\n/opt/venv/bin/python');
    const silent = repository('silent', { 'bin/detect': '#!/bin/bash\necho Silent', 'bin/compile': '#!/bin/bash\n' });
    expect(await failing(source('none', { 'requirements.txt': '' }), [silent, 'python'])).toMatchObject({ code: 'build.no-process', message: expect.stringContaining('nor a buildpack') });
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
