import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DockerDriver } from '../../src/drivers/engine/docker.driver.js';
import { stackImages } from '../../src/drivers/stack/stack.js';
import { type DockerRegistry, startDockerRegistry } from '../lib/docker-registry.js';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { baseImage, deploysOf } from './berth.kit.js';
import { baseImages, random, request, tarOf } from './engine.kit.js';

/** A private registry, as it is in Debian: what wants a login gets it, and nobody else sees it. */
let berth: Fixture;
let registry: DockerRegistry;
let image: string;
const pack = mkdtempSync(join(tmpdir(), 'berth-pack-'));
const docker = async (...args: string[]): Promise<string> => (await run('docker', args)).out.trim();
const login = (password: string | null, ...more: string[]): Promise<{ code: number; out: string; err: string }> =>
  berth.cli([...more, 'registry:login', ...(password === null ? [] : ['--password-stdin']), registry.host, registry.user], { ...(password !== null && { stdin: `${password}\n` }) });

beforeAll(async () => {
  [berth, registry] = await Promise.all([startBerth(), startDockerRegistry()]);
  const engine = new DockerDriver('/var/run/docker.sock');
  const { server } = await baseImages(engine, berth.instance);
  image = await registry.push(server, 'team/base:1');
  await baseImage(berth);
  for (const app of ['taken', 'built']) expect((await berth.cli(['apps:create', app])).code).toBe(0);
});
afterAll(async () => {
  await berth.stop();
  for (const name of (await docker('images', '--format', '{{.Repository}}:{{.Tag}}', `${registry.host}/*/*`)).split('\n').filter(Boolean)) await docker('rmi', '-f', name);
  await registry.stop();
  rmSync(pack, { recursive: true });
});

const pushed = async (message: string): Promise<{ code: number; output: string }> => berth.push(await berth.repo({ Dockerfile: `FROM ${image}\nENV MESSAGE=${message}\n` }), 'built', '+main');

describe('a private registry', () => {
  it('refuses who has no login, and the error says how to give one', async () => {
    const taken = await berth.cli(['git:from-image', 'taken', image]);
    expect(taken.code).toBe(1);
    expect(taken.out + taken.err).toMatch(new RegExp(`cannot be had: .*berth registry:login ${registry.host} <username>`, 's'));
    const built = await pushed('none');
    expect(built.code).not.toBe(0);
    expect(built.output).toMatch(new RegExp(`base image ${image} cannot be had: .*berth registry:login ${registry.host} <username>`, 's'));
  });

  it('a login that it refuses is not kept', async () => {
    const wrong = await login('wr0ng-passw0rd');
    expect(wrong.code).not.toBe(0);
    expect(wrong.err).toMatch(new RegExp(`${registry.host} refuses this login: .*berth registry:login ${registry.host} ci`, 's'));
    expect(wrong.err).not.toContain('wr0ng-passw0rd');
    for (const [args, stdin, says] of [
      [['registry:login', '--password-stdin', 'a b', 'ci'], 'x', /not the name of a registry/], [['registry:login', '--password-stdin', registry.host, 'c:i'], 'x', /not the name of a user/],
      [['registry:login', registry.host, 'ci'], '\n', /password/], [['registry:logout', registry.host], '', /There is no login/], [['registry:login', '--password-stdin', '127.0.0.1:9', 'ci'], 'x', /could not be asked[^]*--force/],
    ] as const) {
      const bad = await berth.cli(args, { stdin });
      expect(bad.code, args.join(' ')).not.toBe(0);
      expect(bad.err).toMatch(says);
    }
    expect(await berth.json(['registry:list'])).toEqual([]);
  });

  it('with its login images are pulled: as they are, under a Dockerfile, by either builder', async () => {
    const { code, out, err } = await login(registry.password);
    expect(code, err).toBe(0);
    expect(out).toContain('the registry takes it');
    expect(await berth.json(['registry:list'])).toMatchObject([{ server: registry.host, username: registry.user }]);
    const taken = await berth.cli(['git:from-image', 'taken', image]);
    expect(taken.code, taken.out + taken.err).toBe(0);
    expect((await berth.http('taken')).status).toBe(200);
    await berth.until('its name to go', async () => (await docker('images', '-q', image)) === '');
    const built = await pushed('bk');
    expect(built.code, built.output).toBe(0);
    expect(built.output).not.toContain('legacy builder');
    const logins = (): Promise<{ server: string; user: string; password: string }[]> => Promise.resolve([{ server: registry.host, user: registry.user, password: registry.password }]);
    const limits = { memory: 256 * 1024 ** 2, cpus: 1, timeoutMs: 120_000 };
    const old = await new DockerDriver('/var/run/docker.sock', { cgroupRoot: '/proc/nowhere', logins }).build(tarOf({ Dockerfile: `FROM ${image}\nENV X=${random()}\n` }), request({ tag: `${berth.instance}-old:1`, limits, labels: { instance: berth.instance } }));
    expect(old.builder).toBe('legacy');
    expect(registry.log()).toMatch(/team\/base\/manifests\/1/);
  });

  it('a stack of two of its images, for one app and for the whole server', async () => {
    const mark = async (text: string): Promise<void> => {
      const name = `${berth.instance}-stack:1`;
      expect((await run('docker', ['build', '-q', '-t', name, '-'], { stdin: `FROM ${stackImages().run}\nLABEL berth.instance=${berth.instance}\nENV STACK=team-7\nRUN echo ${text} > /etc/mark\nUSER 1000\nENTRYPOINT ["/bin/false"]\n` })).code).toBe(0);
      for (const tag of ['7', '7-build']) await registry.push(name, `team/stack:${tag}`);
    };
    await mark('one');
    const images = `${registry.host}/team/stack:7`;
    mkdirSync(join(pack, 'bin'));
    writeFileSync(join(pack, 'bin/detect'), '#!/bin/sh\necho page\n');
    writeFileSync(join(pack, 'bin/compile'), '#!/bin/sh\necho "$STACK $(cat /etc/mark)" > "$1/page"\n');
    await berth.cli(['apps:create', 'classic']);
    expect((await berth.cli(['buildpacks:set', 'classic', pack])).code).toBe(0);
    const set = await berth.cli(['stack:set', 'classic', `${images}-build`]);
    expect(set.code, set.err).toBe(0);
    expect(set.out).toContain(`to ${images}-build, ${images}`);
    const classic = await berth.push(await berth.repo({ Procfile: 'web: python3 -m http.server $PORT\n' }), 'classic');
    expect(classic.code, classic.output).toBe(0);
    expect((await berth.http('classic', '/page')).body).toBe('team-7 one\n');

    expect((await berth.cli(['stack:set', '--global', `${images}-build`, images])).code).toBe(0);
    const files = await berth.push(await berth.repo({ Procfile: 'web: cd /etc && python3 -m http.server $PORT\n' }), 'files');
    expect(files.code, files.output).toBe(0);
    expect(files.output).toContain(`stack: ${images}-build, ${images} (set)`);
    expect((await berth.http('files', '/mark')).body).toBe('one\n');
    const lacking = await berth.push(await berth.repo({ 'requirements.txt': '', Procfile: 'web: python x.py\n' }), 'lacking');
    expect(lacking.code).not.toBe(0);
    expect(lacking.output).toMatch(/the stack image .*team\/stack:7-build has no pip, which this buildpack needs/);
    const go = await berth.push(await berth.repo({ 'go.mod': 'module x\n', 'main.go': 'package main\n' }), 'go');
    expect(go.code).not.toBe(0);
    expect(go.output).toMatch(/the go buildpack comes with Berth's own stack, and the stack is set to [^]*stack:set <app> own/);

    await mark('two');
    const upgraded = await berth.cli(['stack:upgrade', '--all'], { timeoutMs: 250_000 });
    expect(upgraded.code, upgraded.out + upgraded.err).toBe(0);
    expect(upgraded.out).toMatch(/Pulling .*team\/stack:7-build[^]*classic: deploy 2 is live[^]*files: deploy 2 is live/);
    expect(upgraded.out).not.toContain('Debian');
    expect([(await berth.http('classic', '/page')).body, (await berth.http('files', '/mark')).body]).toEqual(['team-7 two\n', 'two\n']);

    expect((await berth.cli(['stack:set', 'files', 'own'])).code).toBe(0);
    const report = await berth.json<{ app: string; behind: boolean; set: object | null }[]>(['stack:report']);
    expect(report.map(({ app, behind, set: pair }) => [app, behind, pair])).toEqual([['classic', false, { build: `${images}-build`, run: images }], ['files', true, null]]);
    const typo = await berth.cli(['stack:set', 'files', 'No Image']);
    expect(typo.code).not.toBe(0);
    expect(typo.err).toMatch(/is not the name of an image/);
  });

  it('the password is nowhere in the clear', async () => {
    const secrets = [registry.password, Buffer.from(`${registry.user}:${registry.password}`).toString('base64')];
    const files = readdirSync(berth.root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(20);
    for (const { parentPath, name } of files) {
      const text = readFileSync(join(parentPath, name), 'latin1');
      for (const secret of secrets) expect(text.includes(secret), join(parentPath, name)).toBe(false);
    }
    const live = (await deploysOf(berth, 'built'))[0]!.deploy;
    const seen = [await docker('history', '--no-trunc', `${berth.instance}/built:${live}`), await docker('inspect', `${berth.instance}/built:${live}`), (await berth.cli(['events', '-n', '1000', '--format', 'json'])).out, (await berth.cli(['trace', 'built'])).out].join('\n');
    expect(seen).toContain('RegistryLoginSet');
    for (const secret of secrets) expect(seen).not.toContain(secret);
  });

  it('after the logout it is refused again', async () => {
    expect((await berth.cli(['registry:logout', registry.host])).code).toBe(0);
    expect(await berth.json(['registry:list'])).toEqual([]);
    const taken = await berth.cli(['git:from-image', '--pull', 'taken', image]);
    expect(taken.code).toBe(1);
    expect((await berth.http('taken')).status).toBe(200);
  });
});
