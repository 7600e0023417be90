import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import Docker from 'dockerode';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { GitDriver } from '../../src/drivers/git/git.driver.js';
import { BuildpackFetch } from '../../src/drivers/stack/buildpack-fetch.js';
import { DockerSandbox } from '../../src/drivers/stack/sandbox.js';
import { StackImages } from '../../src/drivers/stack/stack-images.js';
import { stackImages, stackImagesIn } from '../../src/drivers/stack/stack.js';
import { classicBuilds } from '../../src/plugins/builders/classic/classic.runner.js';
import { buildStep } from '../../src/workers/build/build.step.js';
import { cloneStep } from '../../src/workers/clone/clone.step.js';
import { detectStep, stackFor } from '../../src/workers/detect/detect.step.js';
import { random, removeAll, stepContext, mark } from './engine.kit.js';

/** A pushed tree whose names are any bytes comes into the container as it was pushed, whoever builds it. */
const socket = process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock';
const engine = new DockerDriver(socket);
const instance = `t${random()}`;
const bundle = process.env['BERTH_BUILD_CA'] ?? '/etc/ssl/certs/ca-certificates.crt';
const folder = mkdtempSync(join(tmpdir(), 'berth-names-'));
const stack = new StackImages(engine, join(import.meta.dirname, '../../dist/stack-build.mjs'));
const git = new GitDriver({ root: join(folder, 'root'), gitUser: null });

/** latin1: one character a byte */
const FILES: Readonly<Record<string, string>> = {
  'two words/and three words': 'a', 'new\nline\n': 'b', 'latin1 \xe9\xff': 'c', '\xfe\xff/\x80': 'd', 'utf8 \xc3\xbc': 'e', 'utf8 u\xcc\x88': 'f', '-rf': 'g', ' ': 'h', '"q\' `x` $HOME * ? [a] \\': 'i', '#': 'j', '%s': 'k',
  ['x'.repeat(255)]: 'l', ['\xff'.repeat(255)]: 'm', [`${'y'.repeat(255)}/${'\xc3\xbc'.repeat(127)}/${'z'.repeat(255)}`]: 'n', 'tab\tbell\x07': 'o'.repeat(5000),
};
const LINKS: Readonly<Record<string, string>> = { out: '../../../etc/shadow', absolute: '/etc/hostname', gone: 'nowhere at all', folder: '/', 'to \xff': 'latin1 \xe9\xff', up: '..' };
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const hex = (text: string): string => bytes(text).toString('hex');
const wanted = Object.fromEntries([...Object.entries(FILES).map(([name, text]) => [hex(name), createHash('sha256').update(bytes(text)).digest('hex')]), ...Object.entries(LINKS).map(([name, to]) => [hex(name), `-> ${hex(to)}`])].toSorted());

const LIST = `import os, json, hashlib, binascii
found = {}
def visit(at):
    for e in os.scandir(at):
        name = binascii.hexlify(e.path[len(b'/app/'):]).decode()
        if e.is_symlink(): found[name] = '-> ' + binascii.hexlify(os.readlink(e.path)).decode()
        elif e.is_dir(): visit(e.path)
        else: found[name] = hashlib.sha256(open(e.path, 'rb').read()).hexdigest()
visit(b'/app')
print(json.dumps(found))`;

function repository(name: string, files: Readonly<Record<string, string>>): string {
  const path = join(folder, name);
  const run = (...args: string[]): string => execFileSync('git', ['-C', path, '-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { encoding: 'utf8' }).trim();
  mkdirSync(path);
  run('init', '-q', '-b', 'main');
  const at = (file: string): Buffer => Buffer.concat([Buffer.from(`${path}/`), bytes(file)]);
  for (const [file, text] of Object.entries({ ...FILES, ...files })) {
    if (file.includes('/')) mkdirSync(at(dirname(file)), { recursive: true });
    writeFileSync(at(file), bytes(text));
  }
  for (const [file, to] of Object.entries(LINKS)) symlinkSync(bytes(to), at(file));
  run('add', '-A');
  run('commit', '-q', '-m', 'x');
  return run('rev-parse', 'HEAD');
}

async function inContainer(name: string, files: Readonly<Record<string, string>>, settings: Readonly<Record<string, string>> = {}): Promise<Record<string, string>> {
  const sha = repository(name, files);
  const over = { app: `${instance}-${name}` };
  const repo = join(folder, name, '.git');
  const clone = stepContext('clone', { app: over.app, name, repo, sha, quarantine: null }, over);
  const { source } = await cloneStep({ git, config: { root: join(folder, 'root') } })(clone);
  const plan = await detectStep()(stepContext('detect', { app: over.app, name, source, configVersion: 1, settings }, over));
  const env = (): Record<string, string> => ({});
  const classic = classicBuilds({ engine, sandbox: new DockerSandbox(new Docker({ socketPath: socket })), fetcher: new BuildpackFetch(join(folder, 'cache'), {}), stack: stackFor(), instance, env, ca: async () => null, proxy: {} });
  const build = stepContext('build', { app: over.app, name, source, plan, configVersion: 1, limits: { memory: 0, cpus: 0, timeoutMs: 120_000 } }, over);
  await stack.ensure([stackImages().build, ...stackImagesIn(plan.dockerfile ?? '')], build.log, build.signal);
  const { imageId } = await buildStep({ engine, config: { instance, buildCa: existsSync(bundle) ? bundle : null, buildProxy: {} }, env, classic, mark })(build).catch((error: unknown) => { throw new Error(`${String(error)}\n${build.lines.slice(-30).join('\n')}`, { cause: error }); });
  const out: string[] = [];
  await engine.runContainer({ name: `${over.app}-look`, image: imageId, cmd: ['python3', '-c', LIST], env: {}, labels: { instance }, network: 'none', memory: 0, cpus: 0, pids: 0, restart: 'no' }, (line) => out.push(line), AbortSignal.timeout(60_000));
  const found = JSON.parse(out.at(-1)!) as Record<string, string>;
  return Object.fromEntries(Object.entries(found).filter(([file]) => wanted[file] !== undefined || !/^(?:\.|Procfile$|Dockerfile$|requirements\.txt$|node_modules|package)/.test(Buffer.from(file, 'hex').toString())).toSorted());
}

describe('names of any bytes come into the container as they were pushed', () => {
  let third: string;
  beforeAll(() => {
    third = join(folder, 'third');
    mkdirSync(join(third, 'bin'), { recursive: true });
    for (const part of ['detect', 'compile', 'release']) {
      writeFileSync(join(third, 'bin', part), `#!/bin/bash\n${part === 'release' ? 'echo "{}"' : 'echo third'}\n`);
      chmodSync(join(third, 'bin', part), 0o755);
    }
  });
  afterAll(async () => {
    await removeAll(engine, instance);
    // as repo:purge-cache does
    await engine.removeCaches((await engine.listCaches()).filter(({ mark }) => mark?.startsWith(`${instance}/`)).map(({ id }) => id));
    rmSync(folder, { recursive: true, force: true });
  });
  it('by a Dockerfile', async () => { expect(await inContainer('docker', { Dockerfile: `FROM ${stackImages().run}\nCOPY . /app\n` })).toEqual(wanted); });
  it('by one of our own buildpacks', async () => { expect(await inContainer('own', { Procfile: 'web: bash run' })).toEqual(wanted); });
  it('by one that sets the packages apart', async () => { expect(await inContainer('apart', { Procfile: 'web: node a', 'package.json': '{"scripts": {"build": "true"}}' })).toEqual(wanted); });
  it('by a third-party one', async () => { expect(await inContainer('third-party', { Procfile: 'web: bash run' }, { buildpacks: third })).toEqual(wanted); });
  it('by a third-party one in front of ours', async () => { expect(await inContainer('mixed', { Procfile: 'web: bash run', 'requirements.txt': '' }, { buildpacks: `${third}\npython` })).toEqual(wanted); });
});
