import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packFolder } from '../../src/drivers/archive/folder-tar.js';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { HostTools } from '../../src/drivers/tool/tool.driver.js';
import { StepFailure } from '../../src/events/step.js';
import { externalBuild } from '../../src/plugins/builders/external/external.runner.js';
import { baseImages, plan, random, removeAll, stepContext, tarFile } from './engine.kit.js';

/** The tools and their images cannot be had on the test machines: programs that take their place write down how they were called, and make what the real ones make. */
const instance = `t${process.env['BERTH_TEST_RUN'] ?? ''}${random()}`;
const socket = process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock';
const engine = new DockerDriver(socket);
const folder = mkdtempSync(join(tmpdir(), 'berth-external-'));
const bin = join(folder, 'bin');
let busybox: string;

const tool = (name: string, text: string): void => writeFileSync(join(bin, name), `#!/bin/sh\necho "$0 $*" > ${folder}/called\necho "A=$A" >> ${folder}/called\n${text}\n`, { mode: 0o755 });
const build = externalBuild({ engine, tools: new HostTools(`${bin}:/usr/bin:/bin`), instance, dockerSocket: socket, folder: join(folder, 'work'), packFolder, env: () => ({ A: 'value of A', SECRET: 'x' }) });
async function make(name: string, over: Partial<Parameters<typeof plan>[0]> = {}) {
  const source = await tarFile({ 'hello.txt': 'hello', 'run me.sh': 'echo hi\n' });
  const context = stepContext('build', { app: 'app', name: 'shop', source, plan: plan({ builder: 'external', buildpack: name, dockerfilePath: null, buildArgs: ['A'], ...over }), configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 60_000 } }, { app: 'app' });
  return { context, made: await build(context) };
}

beforeAll(async () => { mkdirSync(bin); ({ busybox } = await baseImages(engine, instance)); });
afterAll(async () => {
  await removeAll(engine, instance);
  rmSync(folder, { recursive: true, force: true });
});

describe('builders that are programs of their own', () => {
  it('say what to do when they are not installed', async () => {
    const error = await make('railpack').then(() => null, (thrown: unknown) => thrown as StepFailure);
    expect(error).toMatchObject({ code: 'build.no-tool', fault: 'user' });
    expect(error!.hint).toContain('railpack.com');
  });
  it('pack: the image is taken over under our name, the launcher\'s processes become process types', async () => {
    writeFileSync(join(folder, 'Dockerfile'), `FROM ${busybox}\nLABEL io.buildpacks.build.metadata='{"processes":[{"type":"web","command":["x"]},{"type":"worker","command":["y"]}]}'\nENTRYPOINT ["/cnb/process/web"]\n`);
    tool('pack', `[ -f "$4/hello.txt" ] || exit 9\nexec /usr/bin/docker build -q -t "$2" ${folder}`);
    const { made } = await make('pack', { image: { reference: 'some/builder:1', pull: false, loaded: false } });
    const called = readFileSync(join(folder, 'called'), 'utf8');
    expect(called).toContain(`pack build ${instance}/shop:1-pack --path ${folder}/work/app.1.build/source --builder some/builder:1`);
    expect(called).toContain('A=value of A');
    expect(called.split('\n')[0]).not.toContain('value of A');
    expect(made.processTypes).toEqual({ web: '/cnb/process/web', worker: '/cnb/process/worker' });
    const image = (await engine.inspectImage(made.image))!;
    expect([image.entrypoint ?? [], image.cmd, image.labels['berth.app']]).toEqual([[], ['/cnb/process/web'], 'app']);
    expect(await engine.inspectImage(`${instance}/shop:1-pack`)).toBeNull();
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });
  it('nixpacks: its Dockerfile is built by the engine', async () => {
    tool('nixpacks', `mkdir -p "$4/.nixpacks" && cp -a "$2/." "$4/" && printf 'FROM ${busybox}\\nARG A\\nCOPY . /app\\nRUN test "$A" = "value of A"\\nCMD ["cat", "/app/hello.txt"]\\n' > "$4/.nixpacks/Dockerfile"`);
    const { made } = await make('nixpacks');
    const lines: string[] = [];
    await engine.runContainer({ name: `${instance}.look`, image: made.imageId, cmd: null, env: {}, labels: { instance }, network: 'none', memory: 0, cpus: 0, pids: 0, restart: 'no' }, (line) => lines.push(line), AbortSignal.timeout(30_000));
    expect(lines).toEqual(['hello']);
  });
  it('one that fails tells its last words, and leaves no folder', async () => {
    tool('nixpacks', 'echo "no start command could be found" >&2; exit 4');
    const error = await make('nixpacks').then(() => null, (thrown: unknown) => thrown as StepFailure);
    expect(error).toMatchObject({ code: 'build.failed', fault: 'user' });
    expect(error!.message).toContain('nixpacks ended with 4: no start command could be found');
    expect(readdirSync(join(folder, 'work'))).toEqual([]);
  });
});
