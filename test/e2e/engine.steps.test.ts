import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { DockerVolumeDriver } from '../../src/drivers/engine/docker.volume.driver.js';
import type { BuildInput, BuildPlan, LiveContainer, ReleaseInput } from '../../src/events/types/deploy.events.js';
import { type BuildDeps, buildStep } from '../../src/workers/build/build.step.js';
import { releaseStep } from '../../src/workers/release/release.step.js';
import { StepFailure } from '../../src/events/step.js';
import { type Files, baseImages, mark, plan, random, removeAll, stepContext, tarFile } from './engine.kit.js';

const instance = `t${random()}`;
const engine = new DockerDriver('/var/run/docker.sock');
const networkPool = `10.214.${Math.floor(Math.random() * 250)}.0/24`;
const app = `app${random()}`;
const name = `shop-${random()}`;
const config = { instance, buildCa: null, buildProxy: {}, goProxy: null, networkPool };
const env = () => ({ GREETING: 'hello', SECRET_KEY: 'k-42' });
const build = (over: Partial<BuildDeps> = {}) => buildStep({ engine, config, env, mark, ...over });
const release = releaseStep({ engine, config, env, volumes: new DockerVolumeDriver('/var/run/docker.sock', instance) });
let server: string;
let busybox: string;
let imageId: string;
let shellId: string;

beforeAll(async () => {
  ({ server, busybox } = await baseImages(engine, instance));
  imageId = (await engine.inspectImage(server))!.id;
  shellId = (await engine.inspectImage(busybox))!.id;
});
afterAll(async () => {
  await removeAll(engine, instance);
  expect([await engine.listContainers({ instance }), await engine.listNetworks({ instance }), await engine.listImages({ instance })]).toEqual([[], [], []]);
});

const failure = async (work: Promise<unknown>): Promise<StepFailure> => {
  const error = await work.then(() => null, (thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StepFailure);
  return error as StepFailure;
};

async function buildInput(files: Files, over: Partial<BuildPlan> = {}): Promise<BuildInput> {
  return { app, name, source: await tarFile(files), plan: plan(over), configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 60_000 } };
}

describe('the build step', () => {
  it('builds a Dockerfile with only the arguments of the plan', async () => {
    const input = await buildInput({ Dockerfile: `FROM ${busybox}\nARG GREETING\nARG SECRET_KEY\nRUN echo "<$GREETING|$SECRET_KEY>" ${random()}\nEXPOSE 7000\n` }, { buildArgs: ['GREETING', 'NOT_SET'] });
    const context = stepContext('build', input, { app, deploy: 7 });
    const made = await build()(context);
    expect(made).toMatchObject({ image: `${instance}/${name}:7`, exposed: [7000], processTypes: { web: null } });
    expect(made.imageId).toMatch(/^sha256:/);
    expect(context.lines).toContainEqual(expect.stringMatching(/<hello\|>/));
    expect(context.lines.at(-1)).toMatch(/^ {7}Built image \d+ MB in \d+\.\d s \(0 of 1 steps from cache\)$/);
    expect(context.calls).toEqual(expect.arrayContaining(['image.build', 'session.open']));
    expect((await engine.inspectImage(made.imageId))?.labels).toMatchObject({ 'berth.app': app, 'berth.deploy': '7', 'berth.job': `${app}.7.build`, 'berth.attempt': '1' });

    const again = stepContext('build', input, { app, deploy: 7, attempt: 2 });
    expect(await build()(again)).toEqual(made);
    expect(again.lines[0]).toContain('Reusing the image of an earlier attempt');
    const other = stepContext('build', await buildInput({ Dockerfile: `FROM ${busybox}\nRUN echo ${random()}\n` }), { app, deploy: 7, attempt: 3 });
    expect((await build()(other)).imageId).not.toBe(made.imageId);
  });

  it('takes the image of an earlier deploy when nothing has changed, unless a rebuild was asked for', async () => {
    const input = await buildInput({ Dockerfile: `FROM ${busybox}\nRUN echo ${random()}\n` });
    const made = await build()(stepContext('build', input, { app, deploy: 13 }));
    const again = stepContext('build', input, { app, deploy: 14 });
    expect(await build()(again)).toMatchObject({ image: `${instance}/${name}:14`, imageId: made.imageId });
    expect(again.lines).toEqual(['       Nothing was built: source, plan and config are those of deploy 13, its image is used again']);
    expect((await engine.inspectImage(`${instance}/${name}:14`))?.id).toBe(made.imageId);
    const other = stepContext('build', { ...input, configVersion: 2 }, { app, deploy: 15 });
    await build()(other);
    expect(other.calls).toContain('image.build');
    const fresh = stepContext('build', { ...input, fresh: true }, { app, deploy: 16 });
    await build()(fresh);
    expect(fresh.calls).toContain('image.build');
  });

  it('keeps what RUN caches apart by app, and forgets it when told to', async () => {
    const file = `FROM ${busybox}\nRUN --mount=type=cache,id=shared,target=/c ls /c; echo ${random()} > /c/left-by-$(date +%s%N)\n`;
    const seen = async (id: string, deploy: number, caches?: string): Promise<number> => {
      const context = stepContext('build', { ...await buildInput({ x: random() }, { builder: 'buildpack', dockerfilePath: null, dockerfile: `${file}RUN echo ${random()}\nCOPY x /\n` }), app: id, ...(caches && { caches }) }, { app: id, deploy });
      await build()(context);
      return context.lines.filter((line) => /^O\| #\d+ \d+\.\d+ left-by-/.test(line)).length;
    };
    const other = `${app}x`;
    expect([await seen(app, 17), await seen(other, 17)]).toEqual([0, 0]);
    const marks = (await engine.listCaches()).map(({ mark }) => mark);
    expect(marks).toEqual(expect.arrayContaining([`${instance}/${app}`, `${instance}/${other}`]));
    await engine.removeCaches((await engine.listCaches()).filter(({ mark }) => mark.startsWith(`${instance}/`)).map(({ id }) => id));
    expect((await engine.listCaches()).filter(({ mark }) => mark.startsWith(`${instance}/`))).toEqual([]);
  });

  it('puts a generated Dockerfile beside the source', async () => {
    const context = stepContext('build', await buildInput({ 'x.txt': 'x', '.dockerignore': '*', Dockerfile: 'FROM nothing' }, { builder: 'buildpack', dockerfilePath: null, dockerfile: `FROM ${busybox}\nCOPY x.txt /\nRUN cat /x.txt; echo ${random()}\n` }), { app, deploy: 8 });
    await build()(context);
    expect(context.lines.join('\n')).toMatch(/#\d+ \d\.\d+ x/);
  });

  it('honours .dockerignore and leaves a syntax line out that needs a registry', async () => {
    const files = { Dockerfile: `# syntax=berth.invalid/dockerfile:1\nFROM ${busybox}\nCOPY . /src\nRUN cd /src && find . -type f | sort && echo ${random()}\n`, '.dockerignore': '# no\nnode_modules\n**/*.log\n!keep.log\nDockerfile\n', 'node_modules/a/b.js': 'b', 'a.log': '', 'keep.log': '', 'src/x.log': '', 'src/x.js': '' };
    const context = stepContext('build', await buildInput(files), { app, deploy: 9 });
    await build()(context);
    const found = context.lines.flatMap((line) => /#\d+ \d\.\d+ (\.\/.*)/.exec(line)?.[1] ?? []);
    expect(found).toEqual(['./.dockerignore', './Dockerfile', './keep.log', './src/x.js']);
    expect(context.lines[0]).toContain('syntax=berth.invalid/dockerfile:1');
  });

  it('hands the host\'s certificates to RUN and to nothing else', async () => {
    const context = stepContext('build', await buildInput({ Dockerfile: `FROM ${busybox}\nUSER nobody\nRUN head -c 20 $SSL_CERT_FILE; ls -l /run/berth; echo proxy=$HTTPS_PROXY ${random()}\n` }), { app, deploy: 10 });
    const made = await build({ config: { ...config, buildCa: '/etc/ssl/certs/ca-certificates.crt', buildProxy: { HTTPS_PROXY: 'http://proxy.test' } } })(context);
    expect(context.lines.join('\n')).toMatch(/ca\.jks[\s\S]*proxy=http:\/\/proxy\.test/);
    expect(context.lines.join('\n')).not.toContain('--mount=type=secret');
    const raw = await engine['calls'].docker.getImage(made.imageId).inspect();
    expect(raw.Config.Env).toEqual(['PATH=/bin']);
  });

  it('fails as a step: instruction, exit code, no room, no Dockerfile', async () => {
    const bad = stepContext('build', await buildInput({ Dockerfile: `FROM ${busybox}\nRUN true\nRUN echo no; exit 2\n` }), { app, deploy: 11 });
    expect(await failure(build()(bad))).toMatchObject({ code: 'build.failed', message: 'the build failed in step 3/3: RUN echo no; exit 2: exit code 2', fault: 'user' });
    expect(await failure(build()(stepContext('build', await buildInput({ a: 'b' }), { app })))).toMatchObject({ code: 'build.dockerfile', message: 'there is no Dockerfile in the source' });
    const full = new (class extends DockerDriver {
      override observed() { return this; }
      override async space() { return { path: '/var/lib/docker', free: 1024 ** 3, total: 1024 ** 4 }; }
    })('/var/run/docker.sock');
    expect(await failure(build({ engine: full })(bad))).toMatchObject({ code: 'build.disk-full', fault: 'machine', message: 'there is not enough room to build: 1 GiB free on /var/lib/docker, 2 GiB needed' });
  });

  it('hands classic buildpacks on', async () => {
    const context = stepContext('build', await buildInput({ a: 'b' }, { builder: 'classic-buildpack' }), { app });
    const done = { image: 'x', imageId: 'y', bytes: 1, exposed: [], processTypes: {}, releaseCommand: null };
    expect(await build({ classic: { build: async () => done, before: () => Promise.reject(new Error('not asked')) } })(context)).toEqual({ ...done, stack: {} });
    expect(await failure(build()(context))).toMatchObject({ code: 'build.no-builder' });
  });

  it('streams a large source', async () => {
    const big = Buffer.alloc(64 * 1024 ** 2, 7);
    const input = await buildInput({ Dockerfile: `FROM ${busybox}\nCOPY big /big\n`, big, 'more/big': big });
    expect(statSync(input.source).size).toBeGreaterThan(128 * 1024 ** 2);
    const before = process.memoryUsage.rss();
    await build()(stepContext('build', input, { app, deploy: 12 }));
    expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 1024 ** 2);
    execFileSync('rm', [input.source]);
  });
});

function releaseInput(over: Partial<ReleaseInput> = {}): ReleaseInput {
  return {
    app, name, image: server, imageId, sha: 'a'.repeat(40), configVersion: 1, processTypes: { web: null }, releaseCommand: null, check: { path: '/', timeoutMs: 500, attempts: 2, waitMs: 100 }, port: 5000,
    number: 12, isNew: true, runReleaseCommand: true, formation: { web: 1 }, limits: { memory: 128 * 1024 ** 2, cpus: 1 }, hosts: ['shop.test'], keep: [], ...over,
  };
}
const ours = async () => (await engine.listContainers({ instance, app })).map((container) => container.name);
const clear = async () => { for (const container of await engine.listContainers({ instance, app })) await engine.removeContainer(container.id); };

describe('the release step', () => {
  it('starts the formation and answers when it is well', async () => {
    const context = stepContext('release', releaseInput({ imageId: shellId, formation: { web: 2, worker: 1 }, processTypes: { web: 'server -port $PORT', worker: 'sleep 1000', release: 'x' } }), { app, deploy: 3 });
    const made = await release(context);
    expect(made).toMatchObject({ number: 12, releaseCommandExit: null });
    expect(made.containers.map(({ name: at, port, type }) => [at, port, type])).toEqual([[`${name}.web.1.d3a1`, 5000, 'web'], [`${name}.web.2.d3a1`, 5000, 'web'], [`${name}.worker.1.d3a1`, 5000, 'worker']]);
    const first = made.containers[0] as LiveContainer;
    expect(first.ip).toMatch(/^10\.214\./);
    const seen = await (await fetch(`http://${first.ip}:${first.port}/`)).text();
    for (const line of ['GREETING=hello', 'PORT=5000', 'DYNO=web.1', `BERTH_APP=${name}`, 'BERTH_RELEASE=v12', `GIT_REV=${'a'.repeat(40)}`]) expect(seen.split('\n')).toContain(line);
    const raw = await engine['calls'].docker.getContainer(first.id).inspect();
    expect(raw.HostConfig).toMatchObject({ RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 10 }, Memory: 128 * 1024 ** 2, NanoCpus: 1e9, PidsLimit: 4096 });
    expect(raw.Config.Labels).toMatchObject({ 'berth.instance': instance, 'berth.app': app, 'berth.deploy': '3', 'berth.type': 'web', 'berth.index': '1', 'berth.release': '12', 'berth.job': `${app}.3.release` });

    const scaled = await release(stepContext('release', releaseInput({ imageId: shellId, isNew: false, runReleaseCommand: false, formation: { web: 2 }, processTypes: { web: 'server -port $PORT' }, keep: [first] }), { app, deploy: 4 }));
    expect(scaled.containers.map((container) => container.name)).toEqual([first.name, `${name}.web.2.d4a1`]);
    const again = await release(stepContext('release', releaseInput({ imageId: shellId, isNew: false, runReleaseCommand: false, formation: { web: 2 }, processTypes: { web: 'server -port $PORT' }, keep: [first] }), { app, deploy: 4, attempt: 2 }));
    expect(again.containers.map((container) => container.name)).toEqual([first.name, `${name}.web.2.d4a2`]);
    expect(await ours()).not.toContain(`${name}.web.2.d4a1`);
    await clear();
  });

  it('releases an app without a shell, on the port that its image exposes', async () => {
    const made = await release(stepContext('release', releaseInput(), { app, deploy: 5 }));
    expect(made.containers).toHaveLength(1);
    await clear();
  });

  it('runs the release command first, and shows all it says', async () => {
    const context = stepContext('release', releaseInput({ imageId: shellId, releaseCommand: 'echo "migrating $GREETING" && exit 0' }), { app, deploy: 13 });
    expect((await release(context)).releaseCommandExit).toBe(0);
    const at = context.lines.indexOf(`=====> Start of ${name} release task output`);
    expect(context.lines.slice(at, at + 3)).toEqual([`=====> Start of ${name} release task output`, 'A| migrating hello', `=====> End of ${name} release task output`]);
    await clear();
    const bad = stepContext('release', releaseInput({ imageId: shellId, releaseCommand: 'echo broken >&2; exit 4' }), { app, deploy: 14 });
    expect(await failure(release(bad))).toMatchObject({ code: 'release.command-failed', message: 'the release command ended with exit code 4: echo broken >&2; exit 4' });
    expect(bad.lines).toContain('A| broken');
    expect(await ours()).toEqual([]);
  });

  const fails = async (deploy: number, web: string, over: Partial<ReleaseInput> = {}) => {
    const context = stepContext('release', releaseInput({ imageId: shellId, processTypes: { web, worker: 'server -exit 3' }, ...over }), { app, deploy });
    const error = await failure(release(context));
    expect(await ours()).toEqual([]);
    return { error, lines: context.lines };
  };

  it('sees a crash at once, with its last words', async () => {
    const started = performance.now();
    const { error, lines } = await fails(20, 'server -delay 200 -exit 1', { check: { path: '/', timeoutMs: 5000, attempts: 5, waitMs: 1000 } });
    expect(performance.now() - started, 'it waited for the check to give up').toBeLessThan(20_000);
    expect(error).toMatchObject({ code: 'release.crashed', message: 'web.1 exited with code 1', fault: 'user' });
    expect(lines).toContain('A| web.1: going down');
    expect((await fails(21, 'no-such-thing')).error).toMatchObject({ message: 'web.1 exited with code 127' });
    expect((await fails(22, 'server -eat 300')).error).toMatchObject({ code: 'release.crashed', message: 'web.1 was killed: it used more memory than its limit of 128 MiB' });
    expect((await fails(23, 'server -port $PORT', { formation: { web: 1, worker: 1 } })).error).toMatchObject({ message: 'worker.1 exited with code 3' });
  });

  it('says which port the app took instead', async () => {
    expect((await fails(24, 'server -port 3000')).error).toMatchObject({ code: 'release.check-failed', message: expect.stringContaining('the app listens on port 3000, expected $PORT=5000') });
    expect((await fails(25, 'server -port 3000', { check: { path: null, timeoutMs: 300, attempts: 2, waitMs: 100 } })).error.message).toContain('listens on port 3000');
    expect((await fails(26, 'server -host 127.0.0.1 -port $PORT')).error.message).toContain('the app listens on 127.0.0.1:5000 only');
  });

  it('says what was tried when nothing answers, or something else', async () => {
    expect((await fails(27, 'server -silent')).error).toMatchObject({ code: 'release.check-failed', message: expect.stringContaining('the app listens on no port, expected $PORT=5000') });
    expect((await fails(28, 'server -port $PORT -status 500')).error.message).toMatch(/web\.1 did not pass its check: GET \/ answered 500 \(2 of 2 attempts/);
  });

  it('says what cannot be started at all', async () => {
    const context = stepContext('release', releaseInput({ processTypes: { web: 'server' } }), { app, deploy: 30 });
    expect(await failure(release(context))).toMatchObject({ code: 'release.cannot-start', hint: expect.stringContaining('no /bin/sh') });
    expect((await fails(31, 'server', { formation: { clock: 1 } })).error).toMatchObject({ code: 'release.no-process-type' });
    expect((await fails(32, 'server', { imageId: `sha256:${'0'.repeat(64)}` })).error).toMatchObject({ code: 'release.no-image' });
  });

  it('removes what it made when it is aborted', async () => {
    const stop = new AbortController();
    const context = stepContext('release', releaseInput({ imageId: shellId, processTypes: { web: 'server -silent' }, check: { path: '/', timeoutMs: 5000, attempts: 50, waitMs: 1000 } }), { app, deploy: 33, signal: stop.signal });
    setTimeout(() => stop.abort(new Error('superseded')), 800);
    await expect(release(context)).rejects.toThrow('superseded');
    expect(await ours()).toEqual([]);
  });
});
