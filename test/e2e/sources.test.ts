import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, startBerth } from '../lib/berth-fixture.js';
import { startRegistry } from '../lib/registry.js';
import { zipOf } from '../lib/zip.js';
import { type AppFiles, type AppWishes, baseImage, deploysOf } from './berth.kit.js';
import { serverBinary, tarOf, type Files } from './engine.kit.js';

/** Code that nobody pushed: archives, images, other servers. Every way is a deploy like a push. */
let berth: Fixture;
let app: (wishes?: AppWishes) => AppFiles;
let dir: string;

async function bytesOf(files: AppFiles): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of tarOf(files as Files) as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}
const docker = (...args: string[]): string => execFileSync('/usr/bin/docker', args, { encoding: 'utf8', env: { ...process.env, DOCKER_HOST: `unix://${berth.env['BERTH_DOCKER']}` } }).trim();
/** The deploy branch as a git client sees it. */
const branch = async (name: string): Promise<string> => (await berth.git(dir, 'ls-remote', berth.url(name), 'refs/heads/main')).slice(0, 40);
const body = async (name: string, path = '/'): Promise<string> => (await berth.http(name, path)).body.trim();

beforeAll(async () => {
  berth = await startBerth();
  app = await baseImage(berth);
  dir = mkdtempSync(join(tmpdir(), 'berth-sources-'));
  for (const name of ['shop', 'img', 'synced']) expect((await berth.cli(['apps:create', name])).code).toBe(0);
});
afterAll(async () => {
  await berth.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe('git:from-archive', () => {
  it('takes a tar.gz, and the app can be cloned', async () => {
    const { code, out, err } = await berth.cli(['git:from-archive', 'shop', '-', 'Ada Lovelace', 'ada@example.com'], { stdin: gzipSync(await bytesOf(app({ version: 'one' }))) });
    expect(code, out + err).toBe(0);
    expect(out).toMatch(/Commit [0-9a-f]{7}: 2 files/);
    expect(await body('shop')).toBe('v=one release=v1 dyno=web.1');
    const clone = join(dir, 'clone');
    await berth.git(dir, 'clone', '-q', berth.url('shop'), clone);
    expect(await berth.git(clone, 'log', '--format=%an <%ae> %s')).toBe('Ada Lovelace <ada@example.com> tar.gz from standard input\n');
    expect(readFileSync(join(clone, 'version'), 'utf8')).toBe('one\n');
    expect((await berth.json<{ why: string }[]>(['releases', 'shop']))[0]!.why).toMatch(/^archive of [0-9a-f]{7}: tar\.gz from standard input$/);
  });

  it('takes a zip over SSH on top of that, and a push goes on from there', async () => {
    const files = app({ version: 'two' });
    const { code, out, err } = await berth.ssh('git:from-archive shop -', { stdin: zipOf(Object.entries(files).map(([name, data]) => ({ name: `shop-2/${name}`, data: data as string }))) });
    expect(code, out + err).toBe(0);
    expect(await body('shop')).toBe('v=two release=v2 dyno=web.1');
    const clone = join(dir, 'clone');
    await berth.git(clone, 'pull', '-q', '--ff-only');
    await berth.commit(clone, { version: 'three\n' });
    const pushed = await berth.push(clone, 'shop');
    expect(pushed.code, pushed.output).toBe(0);
    expect(await body('shop')).toBe('v=three release=v3 dyno=web.1');
    const back = await berth.cli(['rollback', 'shop', 'v1']);
    expect(back.code, back.err).toBe(0);
    expect(await body('shop')).toBe('v=one release=v4 dyno=web.1');
  });

  it('takes a tar over HTTP as the body', async () => {
    const token = (await berth.cli(['tokens:create', 'ci'])).out.trim();
    const send = async (data: Buffer, path = '/v1/apps/shop/archives?url=-&detach=true', type = 'application/octet-stream'): Promise<{ status: number; body: string }> => new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port: berth.apiPort, path, method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': type } }, (reply) => {
        let text = '';
        reply.setEncoding('utf8').on('data', (piece: string) => { text += piece; }).on('end', () => { resolve({ status: reply.statusCode!, body: text }); });
      });
      sent.on('error', reject);
      sent.end(data);
    });
    // more than any JSON body may be
    const answer = await send(await bytesOf({ ...app({ version: 'four' }), padding: Buffer.alloc(20 * 1024 * 1024) }));
    expect(answer).toMatchObject({ status: 202 });
    const { follow, deploy } = JSON.parse(answer.body) as { follow: string; deploy: number };
    expect(follow).toBe(`/v1/apps/shop/deploys/${deploy}/output`);
    await berth.until('it to be live', async () => (await body('shop')).startsWith('v=four'));
    expect(await send(Buffer.from('no archive'))).toMatchObject({ status: 409, body: expect.stringContaining('neither a tar') });
    expect(await send(Buffer.from('x'), '/v1/apps/shop/scale')).toMatchObject({ status: expect.not.stringMatching(/^2/) as unknown });
  });

  it('refuses what is hostile, large or none, and nothing is left', async () => {
    const deploys = (await deploysOf(berth, 'shop')).length;
    const live = await branch('shop');
    const hostile = await berth.cli(['git:from-archive', 'shop', '-'], { stdin: zipOf([{ name: '../x', data: 'x' }]) });
    expect(hostile).toMatchObject({ code: 1, err: expect.stringContaining('leads out of it, "../x"') });
    expect((await berth.cli(['git:set', 'shop', 'archive-max-size', '1k'])).code).toBe(0);
    const large = await berth.cli(['git:from-archive', 'shop', '-'], { stdin: Buffer.alloc(3 * 1024 * 1024) });
    expect(large).toMatchObject({ code: 1, err: expect.stringContaining('larger than') });
    expect((await berth.cli(['git:set', 'shop', 'archive-max-size'])).code).toBe(0);
    expect(await berth.cli(['git:from-archive', 'shop', 'http://example.com/x.tar'])).toMatchObject({ code: 1, err: expect.stringContaining('not an https address') });
    expect(await berth.cli(['git:from-archive', 'nowhere', '-'], { stdin: 'x' })).toMatchObject({ code: 20 });
    expect(await berth.cli(['git:from-archive', 'shop', '-', 'A <b>'], { stdin: 'x' })).toMatchObject({ code: 1, err: expect.stringContaining('author') });
    expect((await deploysOf(berth, 'shop')).length).toBe(deploys);
    expect(await branch('shop')).toBe(live);
    expect(readdirSync(join(berth.root, 'incoming'))).toEqual([]);
  });

  it('leaves the branch where it was when its deploy fails, and the next one does not build upon it', async () => {
    const live = await branch('shop');
    const failed = await berth.cli(['git:from-archive', 'shop', '-'], { stdin: await bytesOf({ 'README.md': 'nothing to run' }) });
    expect(failed.code).not.toBe(0);
    expect((await deploysOf(berth, 'shop'))[0]).toMatchObject({ status: 'failed', failure: { code: 'detect.nothing' } });
    expect(await branch('shop')).toBe(live);
    expect(await body('shop')).toMatch(/^v=four/);
  });
});

describe('git:from-image and git:load-image', () => {
  it('deploy an image of this machine as it is', async () => {
    const tag = `${berth.instance}-shop:7`;
    docker('tag', `${berth.instance}-base:1`, tag);
    const { code, out, err } = await berth.cli(['git:from-image', 'img', tag]);
    expect(code, out + err).toBe(0);
    expect(out).toContain('on this machine already');
    expect(await body('img')).toBe('v= release=v1 dyno=web.1');
    const [deploy] = await deploysOf(berth, 'img');
    expect(deploy!.steps.map((step) => step.step)).toEqual(['build', 'release', 'route']);
    expect((await berth.json<{ why: string }[]>(['releases', 'img']))[0]!.why).toBe(`image ${tag}`);
    const again = await berth.cli(['ps:rebuild', 'img']);
    expect(again.code, again.out + again.err).toBe(0);
    expect(await body('img')).toBe('v= release=v2 dyno=web.1');
    docker('rmi', tag);
  });

  it('take their process types and port from settings', async () => {
    const tag = `${berth.instance}-shop:8`;
    docker('tag', `${berth.instance}-base:1`, tag);
    for (const words of [['builder:set', 'img', 'process.web', 'server -port 4000'], ['builder:set', 'img', 'process.worker', 'sleep 1000'], ['ports:set', 'img', 'http:80:4000']]) expect(await berth.cli([...words])).toMatchObject({ code: 0 });
    const saved = join(dir, 'image.tar');
    docker('save', '-o', saved, tag);
    docker('rmi', tag);
    const { code, out, err } = await berth.cli(['git:load-image', 'img', tag], { stdin: readFileSync(saved) });
    expect(code, out + err).toBe(0);
    expect(await body('img', '/env/PORT')).toBe('4000');
    expect((await berth.cli(['ports:report', 'img'])).out).toMatch(/http:80:4000/);
    expect((await berth.cli(['ps:scale', 'img', 'worker=1'])).code).toBe(0);
    // what came for this deploy only is gone, under its own name
    await berth.until('the loaded image to go', async () => docker('images', '-q', tag) === '');
  });

  it('pull from a registry, record the digest, and leave no name behind', async () => {
    const registry = await startRegistry(await bytesOf({ 'server': serverBinary() }), { Cmd: ['/server'], ExposedPorts: { '5000/tcp': {} } });
    try {
      expect((await berth.cli(['apps:create', 'pulled'])).code).toBe(0);
      const { code, out, err } = await berth.cli(['git:from-image', 'pulled', `${registry.host}/team/shop:7`]);
      expect(code, out + err).toBe(0);
      expect(out).toContain(`Pulling ${registry.host}/team/shop:7`);
      expect(out).toContain(registry.digest);
      expect(await body('pulled')).toContain('BERTH_RELEASE=v1');
      expect((await berth.json<{ why: string }[]>(['releases', 'pulled']))[0]!.why).toBe(`image ${registry.host}/team/shop:7 (${registry.digest.slice(0, 19)})`);
      await berth.until('its name to go', async () => docker('images', '-q', `${registry.host}/team/shop`) === '');
      const pinned = await berth.cli(['git:from-image', 'pulled', `${registry.host}/team/shop@${registry.digest}`]);
      expect(pinned.code, pinned.out + pinned.err).toBe(0);
      expect(await berth.cli(['git:from-image', 'pulled', `${registry.host}/team/shop:8`])).toMatchObject({ code: 1, out: expect.stringMatching(/team\/shop:8 cannot be had: .*manifest unknown/) });
    } finally {
      registry.close();
    }
    expect(await body('pulled')).toContain('BERTH_RELEASE=v2');
  });

  it('say what is wrong', async () => {
    const wrong = await berth.cli(['git:load-image', 'img', 'shop:1'], { stdin: 'this is no image' });
    expect(wrong).toMatchObject({ code: 1, err: expect.stringMatching(/cannot load this image|holds no image/) });
    expect(await berth.cli(['git:from-image', 'img', 'no-such-host.invalid/x:1'])).toMatchObject({ code: 1, out: expect.stringMatching(/the image no-such-host\.invalid\/x:1 cannot be had: .*no such host/) });
    expect(await berth.cli(['git:from-image', 'img', '--help; rm -rf /'])).toMatchObject({ code: 1 });
    expect(await berth.cli(['git:from-image', 'img', 'Upper/Case:1'])).toMatchObject({ code: 1, err: expect.stringContaining('not the name of an image') });
    expect(await body('img', '/env/PORT')).toBe('4000');
  });
});

describe('git:sync', () => {
  let remote: string;
  const sha = (ref: string): Promise<string> => berth.git(remote, 'rev-parse', ref).then((text) => text.trim());

  /** Over ssh, at this server's own app: a real server that knows a deploy key. */
  beforeAll(async () => {
    remote = await berth.repo(app({ version: 'upstream' }));
    const pushed = await berth.push(remote, 'upstream');
    expect(pushed.code, pushed.output).toBe(0);
  });

  it('refuses what it may not read, and says how to be let in', async () => {
    const url = berth.url('upstream');
    const refused = await berth.cli(['git:sync', '--build', 'synced', url]);
    expect(refused).toMatchObject({ code: 1, err: expect.stringMatching(/Permission denied[^]*git:public-key/) });
    for (const [bad, says] of [['https://user:secret@git.example/x', /user or a password/], ['http://git.example/x', /not encrypted/], ['file:///etc', /only https and ssh/], ['--upload-pack=touch', /only https and ssh/], ['ext::sh -c id', /blanks|only https and ssh/]] as const) {
      const { code, err } = await berth.cli(['git:sync', 'synced', '--', bad]);
      expect(code, bad).toBe(1);
      expect(err).toMatch(says);
      expect(err).not.toContain('secret');
    }
  });

  it('fetches with the deploy key, builds a branch, a tag or a commit, and nothing when nothing changed', async () => {
    const url = berth.url('upstream');
    const made = await berth.cli(['git:generate-deploy-key']);
    expect(made.code, made.err).toBe(0);
    expect((await berth.cli(['git:public-key'])).out).toBe(made.out);
    expect((await berth.cli(['git:generate-deploy-key'])).code).toBe(1);
    expect((await berth.cli(['ssh-keys:add', 'deploy'], { stdin: made.out })).code).toBe(0);
    const fetched = await berth.cli(['git:sync', 'synced', url]);
    expect(fetched, fetched.err).toMatchObject({ code: 0, out: expect.stringMatching(/deploy it: berth deploys:create synced/) });
    const built = await berth.cli(['git:sync', '--build-if-changes', 'synced', url, 'main']);
    expect(built.code, built.out + built.err).toBe(0);
    expect(await body('synced')).toBe('v=upstream release=v1 dyno=web.1');
    expect(await branch('synced')).toBe(await sha('main'));
    expect(await berth.cli(['git:sync', '--build-if-changes', 'synced', url])).toMatchObject({ code: 0, out: expect.stringContaining('nothing is built') });
    await berth.commit(remote, { version: 'newer\n' });
    await berth.git(remote, 'tag', 'v2');
    expect((await berth.push(remote, 'upstream', 'v2')).code).toBe(0);
    const tag = await berth.cli(['git:sync', '--build', 'synced', url, 'v2']);
    expect(tag.code, tag.out + tag.err).toBe(0);
    expect(await body('synced')).toBe('v=newer release=v2 dyno=web.1');
    expect((await berth.json<{ why: string }[]>(['releases', 'synced']))[0]!.why).toMatch(/^sync of [0-9a-f]{7}: change$/);
    expect(await berth.cli(['git:sync', 'synced', url, 'no-such-branch'])).toMatchObject({ code: 1, err: expect.stringContaining('no branch and no tag no-such-branch') });
    expect(await berth.cli(['git:sync', '--build', 'synced', url, 'f'.repeat(40)])).toMatchObject({ code: 1, out: expect.stringMatching(/could not be fetched|no commit ffffff/) });
    expect(readdirSync(join(berth.root, 'git', 'run'))).toEqual([]);
  });

  it('keeps a token sealed, and it is in no file, event, log or process list', async () => {
    const token = 'glpat-TheSecretOfTheTest';
    expect(await berth.cli(['git:auth', 'git.example.invalid', 'ci'], { stdin: `${token}\n` })).toMatchObject({ code: 0, out: expect.stringContaining('token sealed') });
    expect((await berth.cli(['git:auth-report'])).out).toMatch(/git\.example\.invalid {2}ci/);
    const { code, err } = await berth.cli(['git:sync', 'synced', 'https://git.example.invalid/x.git']);
    expect(code).toBe(1);
    expect(err).toMatch(/could not be fetched/);
    const found = spawnSync('grep', ['-rlaF', '--', token, berth.root], { encoding: 'utf8' }).stdout.trim();
    expect(found).toBe('');
  });
});

describe('a folder of the repository', () => {
  it('is the app when build-dir says so', async () => {
    const files = Object.fromEntries(Object.entries(app({ version: 'folder' })).map(([name, text]) => [`apps/one/${name}`, text]));
    const mono = await berth.repo({ ...files, 'README.md': 'a monorepo' });
    expect((await berth.cli(['apps:create', 'mono'])).code).toBe(0);
    const without = await berth.push(mono, 'mono');
    expect(without.code).not.toBe(0);
    expect((await berth.cli(['builder:set', 'mono', 'build-dir', 'apps/two'])).code).toBe(0);
    const wrong = await berth.push(mono, 'mono');
    expect(wrong.output).toMatch(/the commit has no folder "apps\/two"/);
    expect((await berth.cli(['builder:set', 'mono', 'build-dir', 'apps/one/'])).code).toBe(0);
    const pushed = await berth.push(mono, 'mono');
    expect(pushed.code, pushed.output).toBe(0);
    expect(await body('mono')).toBe('v=folder release=v1 dyno=web.1');
    for (const bad of ['/etc', '../x', 'a/../../b', '.']) expect((await berth.cli(['builder:set', 'mono', 'build-dir', bad])).code, bad).toBe(1);
  });
});
