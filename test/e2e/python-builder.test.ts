import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import type { BuildOutput } from '../../src/events/types/deploy.events.js';
import { buildStep } from '../../src/workers/build/build.step.js';
import { detectStep } from '../../src/workers/detect/detect.step.js';
import type { StepContext, StepFailure } from '../../src/events/step.js';
import { mark } from './engine.kit.js';

const engine = new DockerDriver(process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock');
const instance = `t${randomBytes(4).toString('hex')}`;
const bundle = process.env['BERTH_BUILD_CA'] ?? '/etc/ssl/certs/ca-certificates.crt';
const build = buildStep({ engine, config: { instance, buildCa: existsSync(bundle) ? bundle : null, buildProxy: {} }, env: () => ({}), mark });

let folder: string;
let repo: string;
let lines: string[] = [];
let deploys = 0;

function context<S extends 'detect' | 'build'>(step: S, input: StepContext<S>['input']): StepContext<S> {
  const log = { info: (text: string) => lines.push(`-----> ${text}`), section: (text: string) => lines.push(text), detail: (text: string) => lines.push(`       ${text}`), warn: (text: string) => lines.push(` !     ${text}`), output: (text: string) => lines.push(text), call: () => undefined };
  deploys += 1;
  return { step, app: instance, deploy: deploys, job: `${instance}.${deploys}.${step}`, attempt: 1, input, log, signal: AbortSignal.timeout(280_000) };
}
/** Commits what is in the folder, then detects and builds that commit. */
async function make(name: string): Promise<BuildOutput & { ms: number }> {
  lines = [];
  const source = join(folder, `${name}.tar`);
  const git = (...args: string[]): void => void execFileSync('git', ['-C', repo, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args]);
  git('add', '-A');
  git('commit', '-q', '--allow-empty', '-m', name);
  git('archive', '-o', source, 'HEAD');
  const from = performance.now();
  const plan = await detectStep()(context('detect', { app: instance, name: 'blog', source, configVersion: 1, settings: {} }));
  const made = await build(context('build', { app: instance, name: 'blog', source, plan, configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 0 } }));
  return { ...made, ms: performance.now() - from };
}

/** Runs web of an image, answers what it says at some paths. */
async function serve(made: BuildOutput, paths: readonly string[]): Promise<string[]> {
  const id = await engine.createContainer({ name: `${instance}.web`, image: made.imageId, cmd: ['/bin/sh', '-c', `exec ${made.processTypes['web']}`], env: { PORT: '5000' }, labels: { instance }, network: null, memory: 0, cpus: 0, pids: 0, restart: 'no' });
  try {
    await engine.startContainer(id);
    const ip = (await engine.inspectContainer(id))?.ip;
    const get = async (path: string): Promise<string> => { const answer = await fetch(`http://${ip}:5000${path}`); return `${answer.status} ${await answer.text()}`; };
    for (let left = 100; left > 0; left -= 1) {
      try { if ((await get('/healthz')).startsWith('200')) break; } catch { /* it does not listen yet */ }
      await sleep(100);
    }
    const answers: string[] = [];
    for (const path of paths) answers.push(await get(path));
    return answers;
  } finally { await engine.removeContainer(id); }
}

describe('the sample blog', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-python-'));
    repo = join(folder, 'blog');
    cpSync(join(import.meta.dirname, '../../deploy/samples/blog'), repo, { recursive: true });
    execFileSync('git', ['-C', repo, 'init', '-q']);
  });
  afterAll(async () => {
    for (const image of await engine.listImages({ instance })) await engine.removeImage(image.id, true);
    rmSync(folder, { recursive: true, force: true });
  });

  it('builds, serves pages and static files; a code change keeps the packages', async () => {
    const cold = await make('cold');
    expect(lines).toContain('-----> Python app detected');
    const [page, feed, admin] = await serve(cold, ['/', '/feed.xml', '/admin/login/']);
    expect(page).toContain('Hello from a container');
    expect(feed).toContain('<rss');
    expect(admin).toContain('/static/admin/css/base.');
    const style = /\/static\/blog\/blog\.[0-9a-f]{12}\.css/.exec(page!)?.[0];
    expect(style).toBeDefined();

    appendFileSync(join(repo, 'blog/views.py'), '\n# a change\n');
    const warm = await make('warm');
    expect(lines.join('\n')).not.toMatch(/Collecting Django|Downloading/i);
    expect((await serve(warm, [style!]))[0]).toMatch(/^200 :root/);
    const same = await make('same');
    expect(same.imageId).not.toBe('');
    console.log(`blog: cold ${Math.round(cold.ms)} ms, one line changed ${Math.round(warm.ms)} ms, unchanged ${Math.round(same.ms)} ms, ${Math.round(cold.bytes / 1e6)} MB`);
  });

  it('a package that does not exist', async () => {
    appendFileSync(join(repo, 'requirements.txt'), 'no-such-package-of-berth==1.0\n');
    const error = await make('missing').then(() => null, (reason: unknown) => reason as StepFailure);
    expect(error).toMatchObject({ code: 'build.failed', fault: 'user' });
    expect(lines.join('\n')).toMatch(/No matching distribution found for no-such-package-of-berth|Could not find a version/);
  });

  it('settings that need the configuration: says how to leave collectstatic out', async () => {
    writeFileSync(join(repo, 'requirements.txt'), 'Django==5.2.19\n');
    writeFileSync(join(repo, 'blogsite/settings.py'), 'import os\nX = os.environ["SOMETHING_SECRET"]\nINSTALLED_APPS = ["django.contrib.staticfiles"]\nSTATIC_ROOT = "x"\n');
    const error = await make('settings').then(() => null, (reason: unknown) => reason as StepFailure);
    expect(error).toMatchObject({ code: 'build.failed', fault: 'user' });
    expect(lines.join('\n')).toContain('DISABLE_COLLECTSTATIC=1');
  });
});
