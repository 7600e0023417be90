import { execFileSync, execFile } from 'node:child_process';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import type { BuildInput, BuildPlan } from '../../src/events/types/deploy.events.js';
import { StepFailure } from '../../src/events/step.js';
import { composeBuilder } from '../../src/plugins/builders/compose.builder.js';
import { dockerfileBuilder } from '../../src/plugins/builders/dockerfile.builder.js';
import { projectOf } from '../../src/plugins/builders/select.js';
import { treeOf } from '../../src/plugins/builders/source-tree.js';
import { buildStep } from '../../src/workers/build/build.step.js';
import { stackFor } from '../../src/workers/detect/detect.step.js';
import { type Files, baseImages, mark, plan, random, removeAll, stepContext, tarFile } from './engine.kit.js';

/** Dockerfile builds as the settings want them, by the real engine. */
const instance = `t${random()}`;
const engine = new DockerDriver('/var/run/docker.sock');
const app = `app${random()}`;
const SECRET = `s3cret-${random()}-${random()}`;
const env = (): Record<string, string> => ({ NPM_TOKEN: SECRET, GREETING: 'hello', OTHER: 'never-given' });
const config = { instance, buildCa: null, buildProxy: {} };
const build = buildStep({ engine, config, env, mark });
let busybox: string;
let deploy = 0;

beforeAll(async () => { ({ busybox } = await baseImages(engine, instance)); });
afterAll(async () => {
  await removeAll(engine, instance);
  expect(await engine.listImages({ instance })).toEqual([]);
});

async function built(files: Files, over: Partial<BuildPlan> = {}, by = build): Promise<{ imageId: string; exposed: readonly number[]; lines: string[] }> {
  deploy += 1;
  const input: BuildInput = { app, name: `shop-${app}`, source: await tarFile(files), plan: plan(over), configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 60_000 } };
  const context = stepContext('build', input, { app, deploy });
  const made = await by(context);
  return { ...made, lines: context.lines };
}
const failure = async (work: Promise<unknown>): Promise<StepFailure> => {
  const error = await work.then(() => null, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StepFailure);
  return error as StepFailure;
};
const docker = (...args: string[]): string => execFileSync('/usr/bin/docker', args, { encoding: 'utf8', maxBuffer: 1 << 28 });
const planOf = (files: Record<string, string>, settings: Record<string, string>, builder = dockerfileBuilder): BuildPlan => builder.plan(projectOf(app, treeOf(files), settings, stackFor())).plan;

describe('a secret of the build', () => {
  it('is in the step that mounts it, and nowhere else', async () => {
    let seen = '';
    const watch = setInterval(() => { execFile('ps', ['axwwe', '-o', 'args'], { maxBuffer: 1 << 26 }, (_, out) => { seen += out.split('\n').filter((line) => line.includes(SECRET)).join('\n'); }); }, 50);
    const dockerfile = `FROM ${busybox}\nARG GREETING\nRUN --mount=type=secret,id=NPM_TOKEN test "$(wc -c < /run/secrets/NPM_TOKEN)" = ${SECRET.length} && echo "it is $(cat /run/secrets/NPM_TOKEN)" && sleep 1 && echo ${random()} $GREETING\nRUN test ! -e /run/secrets/NPM_TOKEN && env > /env\n`;
    const { imageId, lines } = await built({ Dockerfile: dockerfile }, { secrets: ['NPM_TOKEN'], buildArgs: ['GREETING'] }).finally(() => { clearInterval(watch); });
    const all = lines.join('\n');
    expect(all).toContain('it is ***');
    expect(all).toMatch(/#\d+ \[\d\/\d\] RUN --mount=type=secret,id=NPM_TOKEN/);
    expect(all).toMatch(/#\d+ DONE \d+\.\ds/);
    for (const text of [all, docker('history', '--no-trunc', imageId), docker('inspect', imageId), seen]) expect(text).not.toContain(SECRET);
    expect(docker('inspect', imageId)).not.toContain('never-given');
    const saved = execFileSync('/usr/bin/docker', ['save', imageId], { maxBuffer: 1 << 28 });
    expect(saved.includes(SECRET)).toBe(false);
    expect(saved.includes('never-given')).toBe(false);
  });

  it('named as a build argument is not in the image\'s history; where the Dockerfile writes it down, that is said', async () => {
    const { imageId, lines } = await built({ Dockerfile: `FROM ${busybox}\nARG NPM_TOKEN\nARG GREETING\nRUN echo "$NPM_TOKEN" | wc -c > /length # ${random()}\n` }, { buildArgs: ['NPM_TOKEN', 'GREETING'] });
    const history = docker('history', '--no-trunc', imageId);
    expect(history).toMatch(/RUN \|2 (?:NPM_TOKEN|GREETING)=\*\*\* (?:NPM_TOKEN|GREETING)=\*\*\* \/bin\/sh -c echo/);
    for (const text of [history, lines.join('\n'), execFileSync('/usr/bin/docker', ['save', imageId], { maxBuffer: 1 << 28 }).toString('latin1')]) expect(text).not.toContain(SECRET);
    expect(lines.join('\n')).not.toContain('writes');
    // under its tag, with our labels; what stood there before is gone
    expect(await engine.inspectImage(`${instance}/shop-${app}:${deploy}`)).toMatchObject({ id: imageId, labels: { 'berth.app': app } });
    expect((await engine.listImages({ instance, app, deploy })).map(({ id }) => id)).toEqual([imageId]);
    expect(docker('run', '--rm', imageId, 'cat', '/length').trim()).toBe(String(SECRET.length + 1));
    const kept = await built({ Dockerfile: `FROM ${busybox}\nARG NPM_TOKEN\nENV TOKEN=$NPM_TOKEN\n` }, { buildArgs: ['NPM_TOKEN'] });
    expect(kept.lines.join('\n')).toContain('the Dockerfile writes NPM_TOKEN into the image (ENV, LABEL, CMD)');
    expect(docker('history', '--no-trunc', kept.imageId)).not.toContain(SECRET);
  });

  it('named for one of our buildpacks is in its commands, and nowhere else; another value is built anew', async () => {
    const dockerfile = `# ours\nFROM ${busybox} AS build\nARG NPM_TOKEN\nRUN echo ${random()} && echo "got $NPM_TOKEN" && test -n "$NPM_TOKEN" && echo "$NPM_TOKEN" | wc -c > /length\nFROM ${busybox}\nCOPY --from=build /length /length\nRUN env\n`;
    const over = { builder: 'buildpack', buildpack: 'x', dockerfilePath: null, dockerfile, buildArgs: ['NPM_TOKEN'] } as const;
    const first = await built({ 'a.txt': 'a' }, over);
    expect(first.lines.join('\n')).toMatch(/got \*\*\*/);
    expect(first.lines.join('\n')).toMatch(/RUN echo \w+ && echo "got/);
    for (const text of [docker('history', '--no-trunc', first.imageId), first.lines.join('\n'), execFileSync('/usr/bin/docker', ['save', first.imageId], { maxBuffer: 1 << 28 }).toString('latin1')]) expect(text).not.toContain(SECRET);
    const same = await built({ 'a.txt': 'b' }, over);
    expect(same.lines.join('\n')).toMatch(/\(5 of 5 steps from cache\)|CACHED/);
    const other = await built({ 'a.txt': 'c' }, over, buildStep({ engine, config, env: () => ({ NPM_TOKEN: 'much-shorter' }), mark }));
    expect(docker('run', '--rm', other.imageId, 'cat', '/length').trim()).toBe('13');
  });

  it('that is not set is said, and the step that needs it fails by its own words', async () => {
    const files = { Dockerfile: `FROM ${busybox}\nRUN --mount=type=secret,id=MISSING,required=true cat /run/secrets/MISSING\n` };
    expect(await failure(built(files, { secrets: ['MISSING'] }))).toMatchObject({ fault: 'user', message: expect.stringMatching(/MISSING/) });
  });
});

describe('a Dockerfile', () => {
  const stages = (): Record<string, string> => ({ Dockerfile: `FROM ${busybox} AS base\nRUN echo base > /which\nFROM base AS test\nRUN echo test > /which\nEXPOSE 9000\nFROM base\nRUN echo last > /which\nEXPOSE 8000 7000\n` });

  it('is built to the stage that was set; one that is not there is named before anything is built', async () => {
    const files = stages();
    expect(planOf(files, { 'dockerfile-target': 'test' })).toMatchObject({ target: 'test' });
    expect(() => planOf(files, { 'dockerfile-target': 'prod' })).toThrow(/no stage of that name/);
    const test = await built(files, planOf(files, { 'dockerfile-target': 'test' }));
    expect(test.exposed).toEqual([9000]);
    expect(docker('run', '--rm', test.imageId, 'cat', '/which')).toBe('test\n');
    const last = await built(files, planOf(files, {}));
    expect([last.exposed, planOf(files, {}).port]).toEqual([[7000, 8000], 8000]);
    // also where the text could not be looked at before
    expect(await failure(built(files, { target: 'prod' }))).toMatchObject({ fault: 'user', message: expect.stringMatching(/prod/) });
  });

  it('in a folder that is the context, with that folder\'s .dockerignore', async () => {
    const files = { 'compose.yaml': 'services: { site: { build: { context: ./src/app, dockerfile: ../Dockerfile.site } } }', 'src/Dockerfile.site': `FROM ${busybox}\nCOPY . /here\nRUN cd /here && find . -type f | sort > /list\n`, 'src/app/a b.txt': '1', 'src/app/skip.log': '2', 'src/app/.dockerignore': '*.log\n', 'outside.txt': '3' };
    const made = planOf(files, {}, composeBuilder);
    expect(made).toMatchObject({ context: 'src/app', dockerfilePath: 'src/Dockerfile.site', processTypes: { web: null } });
    const { imageId } = await built(files, made);
    const list = docker('run', '--rm', imageId, 'cat', '/list');
    expect(list).toContain('./a b.txt');
    expect(list).not.toMatch(/skip\.log|outside/);
  });

  it('keeps a cache folder from one build to the next', async () => {
    const run = (): Promise<{ lines: string[] }> => built({ Dockerfile: `FROM ${busybox}\nRUN --mount=type=cache,target=/cache echo x >> /cache/n && echo "builds: $(wc -l < /cache/n)" ${random()}\n` });
    expect((await run()).lines.join('\n')).toContain('builds: 1');
    expect((await run()).lines.join('\n')).toContain('builds: 2');
  });

  it('for another platform says so where it cannot run', async () => {
    expect(planOf(stages(), { platform: 'linux/arm64' })).toMatchObject({ platform: 'linux/arm64' });
    expect(() => planOf(stages(), { platform: 'windows' })).toThrow(/setting platform/);
    const own = (await engine.inspectImage(busybox))!;
    const { imageId } = await built({ Dockerfile: `FROM scratch\nCOPY x /x\n`, x: 'x' }, { platform: 'linux/arm64' });
    expect(own.id).not.toBe(imageId);
    expect(docker('inspect', '--format', '{{.Os}}/{{.Architecture}}', imageId).trim()).toBe('linux/arm64');
  });

  it('that needs a registry which cannot be reached says which image', async () => {
    expect(await failure(built({ Dockerfile: 'FROM no-such-registry.invalid/base:1\nRUN true\n' }))).toMatchObject({ code: 'build.base-image', fault: 'user', message: expect.stringContaining('no-such-registry.invalid/base:1'), hint: expect.stringContaining('registry') });
  });

  it('that is not where the setting says', () => {
    expect(() => dockerfileBuilder.detect(projectOf(app, treeOf(stages()), { 'dockerfile-path': 'deploy/Dockerfile' }, stackFor()))).toThrow(/setting dockerfile-path says deploy\/Dockerfile, which is not in the repository/);
  });
});

describe('an engine without BuildKit', () => {
  let dir: string;
  let proxy: Server;
  let old: DockerDriver;
  /** The real engine behind a door that knows no sessions, as before 18.09. */
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'berth-old-engine-'));
    const refuse = (): string => JSON.stringify({ message: 'page not found' });
    proxy = createServer((request, reply) => {
      if (/\/session/.test(request.url!)) return void reply.writeHead(404, { 'content-type': 'application/json' }).end(refuse());
      const on = httpRequest({ socketPath: '/var/run/docker.sock', path: request.url!, method: request.method!, headers: request.headers }, (answer) => { reply.writeHead(answer.statusCode!, answer.headers); answer.pipe(reply); });
      on.on('error', () => { reply.destroy(); });
      request.pipe(on);
    });
    proxy.on('upgrade', (_, socket) => { const body = refuse(); socket.end(`HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`); });
    await new Promise<void>((resolve) => { proxy.listen(join(dir, 'docker.sock'), resolve); });
    old = new DockerDriver(join(dir, 'docker.sock'));
  });
  afterAll(() => {
    proxy.closeAllConnections();
    proxy.close();
    rmSync(dir, { recursive: true, force: true });
  });

  it('builds by its legacy builder, and says so; secrets it cannot keep are refused', async () => {
    const by = buildStep({ engine: old, config, env, mark });
    const { lines, imageId } = await built({ Dockerfile: `FROM ${busybox}\nARG GREETING\nRUN echo "$GREETING from the old one" ${random()}\nEXPOSE 5000\n` }, { buildArgs: ['GREETING'] }, by);
    expect(lines.join('\n')).toMatch(/The engine has no BuildKit[^]*hello from the old one/);
    expect((await engine.inspectImage(imageId))!.exposed).toEqual([5000]);
    expect(await failure(built({ Dockerfile: `FROM ${busybox}\n` }, { secrets: ['NPM_TOKEN'] }, by))).toMatchObject({ code: 'build.no-buildkit', hint: expect.stringContaining('build-secrets') });
  });
});
