import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, createReadStream, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { createServer as createTcp, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { extract, pack, type Header } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BuildpackFetch, type FetchOptions } from '../../src/drivers/stack/buildpack-fetch.js';
import { StepFailure } from '../../src/events/step.js';
import type { FetchedBuildpack } from '../../src/plugins/builders/classic/classic.port.js';
import { parseReference, SOURCES } from '../../src/plugins/builders/classic/reference.js';

let folder: string;
let caches = 0;
const signal = AbortSignal.timeout(120_000);
const BIN = { 'bin/detect': 'd', 'bin/compile': 'c' };

const fetcher = (options: FetchOptions = {}): BuildpackFetch => new BuildpackFetch(join(folder, `cache${(caches += 1)}`), { timeoutMs: 10_000, ...options });
const fetch = (text: string, by: BuildpackFetch = fetcher()): Promise<FetchedBuildpack> => {
  const reference = parseReference(text, SOURCES.settings, []);
  if (reference.kind === 'own' || reference.kind === 'plugin') throw new Error('ours');
  return by.fetch(reference, signal);
};
const failing = (text: string, by?: BuildpackFetch): Promise<StepFailure> => fetch(text, by).then(() => { throw new Error('was fetched'); }, (error: unknown) => { if (error instanceof StepFailure) return error; throw error; });

async function names({ file }: FetchedBuildpack): Promise<string[]> {
  const found: string[] = [];
  const parser = extract();
  parser.on('entry', (header, stream, next) => { found.push(`${header.name}${header.mode === 0o755 && header.type === 'file' ? '*' : ''}`); stream.on('end', next); stream.resume(); });
  createReadStream(file).pipe(parser);
  await once(parser, 'finish');
  return found.sort();
}

function write(path: string, files: Readonly<Record<string, string>>): string {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(path, file, '..'), { recursive: true });
    writeFileSync(join(path, file), text);
    if (file.startsWith('bin/')) chmodSync(join(path, file), 0o755);
  }
  return path;
}
const git = (path: string, ...args: string[]): string => execFileSync('git', ['-C', path, '-c', 'user.name=t', '-c', 'user.email=t@t', '-c', 'init.defaultBranch=main', ...args], { encoding: 'utf8' }).trim();
function repository(name: string, files: Readonly<Record<string, string>> = BIN): string {
  const path = write(join(folder, name), files);
  git(path, 'init', '-q');
  git(path, 'add', '-A');
  git(path, 'commit', '-qm', 'x');
  return path;
}
type Entry = readonly [Partial<Header> & { name: string }, string?];
async function archive(name: string, entries: readonly Entry[]): Promise<string> {
  const tar = pack();
  for (const [header, text] of entries) tar.entry(header as Header, text ?? '');
  tar.finalize();
  const bytes = await buffer(tar);
  writeFileSync(join(folder, name), name.endsWith('gz') ? gzipSync(bytes) : bytes);
  return join(folder, name);
}
const PLAIN: readonly Entry[] = [[{ name: 'bin/detect', mode: 0o755 }, 'd'], [{ name: 'bin/compile', mode: 0o755 }, 'c']];

beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'berth-packs-')); });
afterAll(() => { rmSync(folder, { recursive: true, force: true }); });

describe('a buildpack out of git', () => {
  it('by branch, tag and commit, fetched once; from the cache when its repository is gone', async () => {
    const path = repository('moves');
    const first = git(path, 'rev-parse', 'HEAD');
    git(path, 'tag', '-a', 'v1', '-m', 'v1');
    write(path, { more: '' });
    git(path, 'add', '-A');
    git(path, 'commit', '-qm', 'y');
    const second = git(path, 'rev-parse', 'HEAD');
    const by = fetcher();
    expect(await fetch(path, by)).toMatchObject({ id: second, fresh: true, cached: false });
    expect(await fetch(`file://${path}#main`, by)).toMatchObject({ id: second, cached: true });
    expect(await fetch(`${path}#v1`, by)).toMatchObject({ id: first, cached: false });
    expect(await fetch(`${path}#${first}`, by)).toMatchObject({ id: first, cached: true });
    expect(await fetch(`${path}#${second.slice(0, 8)}`, by)).toMatchObject({ id: second });
    expect(await names(await fetch(path, by))).toEqual(['bin', 'bin/compile*', 'bin/detect*', 'more']);
    rmSync(path, { recursive: true });
    expect(await fetch(`${path}#${first}`, by)).toMatchObject({ id: first, fresh: true });
    expect(await fetch(path, by)).toMatchObject({ id: second, fresh: false });
    expect(await failing(`${path}#nope`, by)).toMatchObject({ fault: 'user' });
  });

  it('by many workers at once', async () => {
    const path = repository('wanted');
    const shared = join(folder, 'shared');
    const all = await Promise.all(Array.from({ length: 8 }, () => fetch(path, new BuildpackFetch(shared))));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
    for (const pack of all) expect(await names(pack)).toContain('bin/compile*');
    expect(readdirSync(join(shared, readdirSync(shared)[0]!)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('is not there, has no such ref, is none, is too large, can\'t be reached, hangs', async () => {
    const path = repository('plain');
    expect(await failing(join(folder, 'nowhere'))).toMatchObject({ code: 'build.buildpack', fault: 'user' });
    expect((await failing(`${path}#nope`)).message).toContain('has no nope');
    expect((await failing(`${path}#0123456789012345678901234567890123456789`)).message).toContain('has no commit');
    expect((await failing(repository('none', { 'readme.md': '' }))).message).toContain('no buildpack of the classic API');
    expect((await failing(repository('native', { 'buildpack.toml': '', 'bin/build': '' }))).message).toContain('Cloud Native Buildpack');
    expect((await failing(repository('large', { ...BIN, big: 'x'.repeat(5000) }), fetcher({ limits: { bytes: 4000, files: 100 } }))).message).toContain('larger than');
    expect(await failing('https://127.0.0.1:1/x.git')).toMatchObject({ code: 'build.buildpack', fault: 'machine' });
    const held = new Set<Socket>();
    const silent = createTcp((connection) => { held.add(connection); }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    try {
      expect((await failing(`git://127.0.0.1:${(silent.address() as AddressInfo).port}/x`, fetcher({ timeoutMs: 500 }))).message).toContain('no answer within 0.5 s');
    } finally { for (const connection of held) connection.destroy(); silent.close(); }
  });
});

describe('a buildpack in an archive', () => {
  it('tar, tar.gz and zip, with or without a folder around it', async () => {
    expect(await names(await fetch(await archive('a.tar', PLAIN)))).toEqual(['bin/compile*', 'bin/detect*']);
    const inside: readonly Entry[] = [[{ name: 'pack-1.2/', type: 'directory' }], ...PLAIN.map(([header, text]) => [{ ...header, name: `pack-1.2/${header.name}` }, text] as Entry), [{ name: 'pack-1.2/link', type: 'symlink', linkname: 'bin/detect' }]];
    expect(await names(await fetch(await archive('b.tgz', inside)))).toEqual(['bin/compile*', 'bin/detect*', 'link']);
    execFileSync('python3', ['-c', 'import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED)\nfor n in ("p/bin/detect", "p/bin/compile", "p/doc"): z.writestr(n, n)\nz.close()', join(folder, 'c.zip')]);
    // such a zip has modes without an x: what is in bin/ is made a program in the container
    expect(await names(await fetch(join(folder, 'c.zip')))).toEqual(['bin/compile', 'bin/detect', 'doc']);
  });
  it('the same content has the same id, however it was packed', async () => {
    const one = await fetch(await archive('one.tar', PLAIN));
    const two = await fetch(await archive('two.tgz', PLAIN.map(([header, text]) => [{ ...header, mtime: new Date(1e12), uid: 7 }, text] as Entry)));
    expect(one.id).toMatch(/^sha256-[0-9a-f]{64}$/);
    expect(two.id).toBe(one.id);
  });

  const HOSTILE: readonly (readonly [string, readonly Entry[], string])[] = [
    ['a path that climbs', [[{ name: '../../etc/cron.d/x' }, 'x']], 'leads out of it'],
    ['an absolute path', [[{ name: '/etc/passwd' }, 'x']], 'an absolute path'],
    ['a climb in the middle', [[{ name: 'a/../../x' }, 'x']], 'leads out of it'],
    ['a file behind a link', [[{ name: 'a', type: 'symlink', linkname: 'bin' }], [{ name: 'a/passwd' }, 'x']], 'behind a symbolic link'],
    ['a hard link to outside', [[{ name: 'a', type: 'link', linkname: '/etc/shadow' }]], 'a hard link'],
    ['a hard link that climbs', [[{ name: 'a', type: 'link', linkname: '../x' }]], 'a hard link'],
    ['a link to outside', [[{ name: 'a', type: 'symlink', linkname: '../../etc' }]], 'leads out of it'],
    ['a device', [[{ name: 'sda', type: 'block-device', devmajor: 8 }]], 'a device'],
    ['a pipe', [[{ name: 'pipe', type: 'fifo' }]], 'a named pipe'],
  ];
  it.each(HOSTILE)('refuses %s', async (name, entries, says) => {
    const error = await failing(await archive(`${name.replaceAll(' ', '-')}.tar`, [...PLAIN, ...entries]));
    expect(error).toMatchObject({ code: 'build.buildpack', fault: 'user' });
    expect(error.message).toContain(says);
  });
  it('refuses bombs: many bytes, many files, many bytes in a zip', async () => {
    const limits = { bytes: 1_000_000, files: 500 };
    expect((await failing(await archive('bomb.tgz', [...PLAIN, [{ name: 'zeros' }, '\0'.repeat(5_000_000)]]), fetcher({ limits }))).message).toContain('more than 0 MiB');
    expect((await failing(await archive('many.tgz', [...PLAIN, ...Array.from({ length: 600 }, (_, i) => [{ name: `f${i}` }, ''] as Entry)]), fetcher({ limits }))).message).toContain('more than 500 members');
    execFileSync('python3', ['-c', 'import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED)\nz.writestr("zeros", b"\\0" * 5000000)\nz.writestr("bin/detect", "")\nz.close()', join(folder, 'bomb.zip')]);
    expect((await failing(join(folder, 'bomb.zip'), fetcher({ limits }))).message).toContain('more than 0 MiB');
    expect(readdirSync(join(folder, `cache${caches}`)).flatMap((place) => readdirSync(join(folder, `cache${caches}`, place)))).toEqual([]);
  });
  it('refuses what is damaged or no archive at all', async () => {
    writeFileSync(join(folder, 'text.tgz'), 'not an archive '.repeat(100));
    writeFileSync(join(folder, 'empty.tgz'), '');
    const whole = await archive('whole.tgz', PLAIN);
    const { readFileSync } = await import('node:fs');
    writeFileSync(join(folder, 'half.tgz'), readFileSync(whole).subarray(0, 60));
    writeFileSync(join(folder, 'half.zip'), 'PK\u0003\u0004 and then nothing');
    for (const name of ['text.tgz', 'empty.tgz', 'half.tgz', 'half.zip']) expect(await failing(join(folder, name)), name).toMatchObject({ code: 'build.buildpack', fault: 'user' });
  });
});

describe('a buildpack in a folder', () => {
  it('is taken as it is, links as links', async () => {
    const path = write(join(folder, 'here'), { ...BIN, 'a b\nc': '' });
    symlinkSync('/etc/passwd', join(path, 'link'));
    const by = fetcher();
    expect(await names(await fetch(path, by))).toEqual(['a b\nc', 'bin', 'bin/compile*', 'bin/detect*', 'link']);
    expect(await fetch(path, by)).toMatchObject({ fresh: true, cached: true });
    write(path, { 'bin/compile': 'other' });
    expect(await fetch(path, by)).toMatchObject({ cached: false });
  });
  it('is no other folder of the server: nothing but a buildpack leaves it', async () => {
    const data = write(join(folder, 'data'), { 'keys/master.key': 'x', 'packs/bin/detect': '', 'packs/bin/compile': '' });
    symlinkSync(data, join(folder, 'way'));
    expect((await failing(join(data, 'keys'))).message).toContain('no buildpack of the classic API');
    for (const path of [join(data, 'packs'), join(folder, 'way', 'packs'), folder, '/']) expect((await failing(path, fetcher({ forbidden: [data] }))).message, path).toContain('belongs to Berth itself');
    expect(await failing('/dev/null')).toMatchObject({ code: 'build.buildpack' });
  });
});

describe('a buildpack over https', () => {
  let server: Server;
  let ca: string;
  let at: string;
  const asked: string[] = [];
  const held = new Set<Socket>();
  beforeAll(async () => {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
    const { readFileSync } = await import('node:fs');
    ca = readFileSync(cert, 'utf8');
    const body = readFileSync(await archive('served.tgz', PLAIN));
    server = createServer({ key: readFileSync(key), cert: ca }, ({ url, headers }, answer) => {
      asked.push(`${url} ${headers['if-none-match'] ?? ''}`.trim());
      if (url === '/pack.tgz') {
        if (headers['if-none-match'] === '"e1"') { answer.writeHead(304).end(); return; }
        answer.writeHead(200, { etag: '"e1"' }).end(body);
      } else if (url === '/moved.tgz') answer.writeHead(302, { location: '/pack.tgz' }).end();
      else if (url === '/plain.tgz') answer.writeHead(302, { location: 'http://localhost/x.tgz' }).end();
      else if (url === '/round.tgz') answer.writeHead(302, { location: '/round.tgz' }).end();
      else if (url === '/endless.tgz') { answer.writeHead(200); const more = (): void => { if (!answer.destroyed) answer.write(Buffer.alloc(65_536), () => setImmediate(more)); }; more(); }
      else if (url === '/busy.tgz') answer.writeHead(503).end();
      else if (url === '/hangs.tgz') answer.writeHead(200).write('x');
      else answer.writeHead(404).end();
    });
    server.on('connection', (connection: Socket) => held.add(connection));
    server.listen(0, 'localhost');
    await once(server, 'listening');
    at = `https://localhost:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => { for (const connection of held) connection.destroy(); server.close(); });

  it('is fetched once, asked for again, and served from the cache when the server is away', async () => {
    const by = fetcher({ ca: [ca] });
    const first = await fetch(`${at}/pack.tgz`, by);
    expect(first).toMatchObject({ fresh: true, cached: false });
    expect(await fetch(`${at}/pack.tgz`, by)).toMatchObject({ id: first.id, fresh: true, cached: true });
    expect(asked.slice(-2)).toEqual(['/pack.tgz', '/pack.tgz "e1"']);
    expect(await names(await fetch(`${at}/moved.tgz`, by))).toEqual(['bin/compile*', 'bin/detect*']);
    const port = server.address() as AddressInfo;
    for (const connection of held) connection.destroy();
    await new Promise((done) => { server.close(done); });
    expect(await fetch(`${at}/pack.tgz`, by)).toMatchObject({ id: first.id, fresh: false });
    server.listen(port.port, 'localhost');
    await once(server, 'listening');
  });
  it('is not there, leads away, is endless, hangs, is not trusted', async () => {
    const by = fetcher({ ca: [ca], limits: { bytes: 1_000_000, files: 10 }, timeoutMs: 3000 });
    expect(await failing(`${at}/none.tgz`, by)).toMatchObject({ fault: 'user', message: expect.stringContaining('answers 404') });
    expect(await failing(`${at}/busy.tgz`, by)).toMatchObject({ fault: 'machine', message: expect.stringContaining('answers 503') });
    expect((await failing(`${at}/plain.tgz`, by)).message).toContain('not protected');
    expect((await failing(`${at}/round.tgz`, by)).message).toContain('more than 5 times');
    expect((await failing(`${at}/endless.tgz`, by)).message).toContain('larger than');
    expect(await failing(`${at}/hangs.tgz`, by)).toMatchObject({ fault: 'machine', message: expect.stringContaining('no answer within 3 s') });
    expect(await failing(`${at}/pack.tgz`, fetcher())).toMatchObject({ fault: 'machine', message: expect.stringMatching(/certificate/) });
  });
});

describe('the cache', () => {
  it('lets go of what was not used for longest, never of what is in use', async () => {
    const by = fetcher({ cache: 3000 });
    const place = join(folder, `cache${caches}`);
    const kept = (): string[] => readdirSync(place).flatMap((name) => readdirSync(join(place, name)).filter((file) => file.endsWith('.tar')).map((file) => join(place, name, file)));
    await fetch(await archive('old.tar', [...PLAIN, [{ name: 'old' }, 'x']]), by);
    const [old] = kept();
    await fetch(await archive('new.tar', [...PLAIN, [{ name: 'new' }, 'x']]), by);
    expect(kept()).toHaveLength(2);
    utimesSync(old!, new Date(0), new Date(0));
    await fetch(join(folder, 'new.tar'), by);
    expect(existsSync(old!)).toBe(false);
    expect(kept()).toHaveLength(1);
  });
});
