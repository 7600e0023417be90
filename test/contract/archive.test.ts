import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import tar from 'tar-stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archiveFiles, inspectArchive } from '../../src/drivers/archive/archive.js';
import { archiveUrl, download } from '../../src/drivers/archive/download.js';
import { GitDriver } from '../../src/drivers/git/git.driver.js';
import { GitImportDriver } from '../../src/drivers/git/git.import.js';
import { zipOf, type ZipMember } from '../lib/zip.js';

const never = new AbortController().signal;
const LIMITS = { bytes: 4 * 1024 * 1024, files: 200 };
const COMMIT = { parent: null, author: 'Ada <ada@example.com>', committer: 'Berth <berth@host>', message: 'From an archive\n', at: 1_700_000_000_000 };
let dir: string;
let repo: string;
let commits: GitImportDriver;
let n = 0;

const put = (data: Buffer): string => {
  const file = join(dir, `archive-${n += 1}`);
  writeFileSync(file, data);
  return file;
};
const git = (...args: string[]): string => execFileSync('git', ['-c', 'core.quotePath=false', '--git-dir', repo, ...args], { encoding: 'latin1' });

async function tarOf(members: readonly (Partial<tar.Header> & { name: string; data?: string | Buffer })[]): Promise<Buffer> {
  const pack = tar.pack();
  for (const { data = '', ...header } of members) pack.entry({ mtime: new Date(0), ...header } as tar.Header, data as string);
  pack.finalize();
  const parts: Buffer[] = [];
  for await (const part of pack as unknown as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

/** The paths (bytes as latin1) and contents of the commit that the archive becomes. */
async function committed(file: string, parent: string | null = null): Promise<{ sha: string; changed: boolean; files: Record<string, string> }> {
  const found = await inspectArchive(file, null, LIMITS, never);
  const made = await commits.commit(repo, archiveFiles(file, found, LIMITS, never), { ...COMMIT, parent }, never);
  const files: Record<string, string> = {};
  for (const line of git('ls-tree', '-r', '-z', made.sha).split('\0').filter(Boolean)) {
    const [, mode, sha, path] = /^(\d+) blob (\w+)\t([^]*)$/.exec(line)!;
    files[path!] = `${mode} ${git('cat-file', 'blob', sha!)}`;
  }
  return { ...made, files };
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-archive-'));
  repo = join(dir, 'app.git');
  await new GitDriver({ root: join(dir, 'root'), gitUser: null }).initBare(repo);
  commits = new GitImportDriver({ root: join(dir, 'root'), gitUser: null });
});
afterAll(() => { rmSync(dir, { recursive: true, force: true }); });

describe('an archive', () => {
  it('becomes a commit with every name as it was', async () => {
    const tree = join(dir, 'tree');
    mkdirSync(join(tree, 'sub'), { recursive: true });
    const names = ['a b', 'new\nline', 'quote"\\\'$(x)`', 'Ünï-日本', 'x'.repeat(255), '-dash', 'tab\there'];
    for (const name of names) writeFileSync(join(tree, name), name);
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/sub/`), Buffer.from([0xff, 0xfe, 0x41])]), 'bytes');
    writeFileSync(join(tree, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    symlinkSync('../a b', join(tree, 'sub', 'link'));
    const want: Record<string, string> = { ...Object.fromEntries(names.map((name) => [Buffer.from(name).toString('latin1'), `100644 ${Buffer.from(name).toString('latin1')}`])), 'sub/\xff\xfeA': '100644 bytes', 'run.sh': '100755 #!/bin/sh\n', 'sub/link': '120000 ../a b' };
    for (const format of ['gnu', 'ustar']) {
      if (format === 'ustar') rmSync(join(tree, 'x'.repeat(255))); // has no room for it
      const file = join(dir, `odd-${format}.tar.gz`);
      execFileSync('tar', ['-C', tree, `--format=${format}`, '-czf', file, '.']);
      const { files } = await committed(file);
      if (format === 'ustar') delete want['x'.repeat(255)];
      expect(files).toEqual(want);
    }
  });

  it('of one folder is that folder, whatever packed it', async () => {
    const files = { a: '100644 1', 'd/b': '100644 2' };
    expect((await committed(put(await tarOf([{ name: 'shop-1.2/', type: 'directory' }, { name: 'shop-1.2/a', data: '1' }, { name: 'shop-1.2/d/b', data: '2' }])))).files).toEqual(files);
    expect((await committed(put(zipOf([{ name: 'shop/', mode: 0o40755 }, { name: 'shop/a', data: '1' }, { name: 'shop/d/b', data: '2', deflate: true }])))).files).toEqual(files);
    expect((await committed(put(zipOf([{ name: 'l', data: 'a', mode: 0o120777 }, { name: 'a', data: 'x', mode: 0o100755 }])))).files).toEqual({ a: '100755 x', l: '120000 a' });
  });

  it('is a commit on top of the one before, unless nothing differs', async () => {
    const one = await committed(put(await tarOf([{ name: 'a', data: '1' }, { name: 'b', data: '2' }])));
    const same = await committed(put(gzipSync(await tarOf([{ name: './b', data: '2' }, { name: './a', data: '1' }]))), one.sha);
    expect(same).toMatchObject({ sha: one.sha, changed: false });
    const next = await committed(put(await tarOf([{ name: 'a', data: '3' }])), one.sha);
    expect(next.files).toEqual({ a: '100644 3' }); // what is not in it is gone
    expect(git('log', '--format=%an <%ae> %cn %s', next.sha)).toBe('Ada <ada@example.com> Berth From an archive\n'.repeat(2));
    await commits.moveBranch(repo, 'main', next.sha);
    expect(await commits.branch(repo, 'main')).toBe(next.sha);
    expect(await commits.branch(repo, 'none')).toBeNull();
    expect(git('for-each-ref', '--format=%(refname)')).toBe('refs/heads/main\n');
  });
});

const refused = (file: string): Promise<unknown> => inspectArchive(file, null, LIMITS, never).then(() => 'taken', (error: unknown) => error);

describe('a hostile archive is refused', () => {
  const zips: Record<string, [ZipMember[], RegExp]> = {
    'a zip with ../x': [[{ name: '../x', data: 'x' }], /leads out of it, "\.\.\/x"/],
    'a zip with a Windows way out': [[{ name: 'a/../../x', data: 'x' }], /leads out/],
    'a zip with an absolute path': [[{ name: '/etc/cron.d/x', data: 'x' }], /absolute path/],
    'a zip with a link out': [[{ name: 'l', data: '/etc/passwd', mode: 0o120777 }], /symbolic link that leads out/],
    'a zip with a device': [[{ name: 'd', mode: 0o020666 }], /a device/],
    'a zip with a file twice': [[{ name: 'a', data: '1' }, { name: 'a', data: '2' }], /"a" twice/],
    'a zip that claims less than it holds': [[{ name: 'a', data: 'x'.repeat(5000), deflate: true, claims: 10 }], /cannot be read/],
    'an encrypted zip': [[{ name: 'a', data: 'x', flags: 0x801, deflate: true }], /encrypted/],
    'a zip by an unknown method': [[{ name: 'a', data: 'x', method: 99 }], /cannot be read/],
    'a zip bomb by size': [Array.from({ length: 20 }, (_, i) => ({ name: `z${i}`, data: Buffer.alloc(1024 * 1024), deflate: true })), /more than 4 MiB once it is unpacked/],
    'a zip bomb by count': [Array.from({ length: 300 }, (_, i) => ({ name: `z${i}` })), /more than 200 members/],
  };
  it.each(Object.entries(zips))('%s', async (_, [members, says]) => {
    expect(String(await refused(put(zipOf(members))))).toMatch(says);
  });

  const tars: Record<string, [Parameters<typeof tarOf>[0], RegExp]> = {
    'a tar with ../x': [[{ name: '../x', data: 'x' }], /leads out/],
    'a tar with an absolute path': [[{ name: '/etc/x', data: 'x' }], /absolute path/],
    'a tar with a hard link': [[{ name: 'a', data: '1' }, { name: 'b', type: 'link', linkname: 'a' }], /a hard link, "b"/],
    'a tar with a hard link out': [[{ name: 'b', type: 'link', linkname: '/etc/shadow' }], /a hard link/],
    'a tar with a device': [[{ name: 'b', type: 'block-device', devmajor: 8, devminor: 0 }], /a device/],
    'a tar with a pipe': [[{ name: 'b', type: 'fifo' }], /a named pipe/],
    'a tar that writes behind its link': [[{ name: 'l', type: 'symlink', linkname: 'd' }, { name: 'l/x', data: '1' }], /behind a symbolic link/],
    'a tar with a link out': [[{ name: 'a/l', type: 'symlink', linkname: '../../etc' }], /symbolic link that leads out/],
    'an empty tar': [[], /holds no files/],
    'a tar of nothing but folders': [[{ name: 'a/', type: 'directory' }], /holds no files/],
  };
  it.each(Object.entries(tars))('%s', async (_, [members, says]) => {
    const file = await tarOf(members);
    for (const data of [file, gzipSync(file)]) expect(String(await refused(put(data)))).toMatch(says);
  });

  it('a gzip bomb, without unpacking it to its end', async () => {
    const huge = gzipSync(await tarOf([{ name: 'a', data: Buffer.alloc(40 * 1024 * 1024) }]));
    expect(huge.length).toBeLessThan(LIMITS.bytes);
    expect(String(await refused(put(huge)))).toMatch(/more than 4 MiB once it is unpacked/);
    const empty = gzipSync(await tarOf(Array.from({ length: 3000 }, (_, i) => ({ name: `f${i}` }))));
    expect(String(await refused(put(empty)))).toMatch(/more than 200 members/);
  });

  it('what is none, is cut off, or is another one than was said', async () => {
    const whole = gzipSync(await tarOf([{ name: 'a', data: Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * 7919) % 251)) }]));
    expect(String(await refused(put(Buffer.from('hello, I am no archive'))))).toMatch(/neither a tar nor a tar\.gz nor a zip/);
    expect(String(await refused(put(whole.subarray(0, whole.length / 2))))).toMatch(/cannot be read/);
    expect(String(await refused(put(zipOf([{ name: 'a', data: 'x'.repeat(500) }]).subarray(0, 300))))).toMatch(/cannot be read/);
    await expect(inspectArchive(put(whole), 'zip', LIMITS, never)).rejects.toThrow(/This is a tar\.gz, not a zip/);
    await expect(inspectArchive(put(Buffer.from('x'.repeat(600))), 'tar', LIMITS, never)).rejects.toThrow(/cannot be read/);
  });
});

it('leaves nothing in the repository when the files end early', async () => {
  const before = git('for-each-ref');
  const bad = async function* () { yield { path: 'a', mode: '100644' as const, bytes: 10, content: (async function* () { yield Buffer.from('12'); })() }; };
  await expect(commits.commit(repo, bad(), COMMIT, never)).rejects.toThrow(/10 bytes gave 2/);
  expect(git('for-each-ref')).toBe(before);
  expect(readdirSync(repo).filter((name) => name.startsWith('fast_import_crash'))).toEqual([]);
});

describe('an https address', () => {
  let server: Server;
  let base: string;
  let ca: Buffer;
  beforeAll(async () => {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '1', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'], { stdio: 'ignore' });
    ca = readFileSync(cert);
    server = createServer({ key: readFileSync(key), cert: ca }, (request, reply) => {
      if (request.url === '/a.tar?token=secret') reply.end('bytes');
      else if (request.url === '/moved') reply.writeHead(302, { location: '/a.tar?token=secret' }).end();
      else if (request.url === '/plain') reply.writeHead(302, { location: 'http://localhost/a' }).end();
      else if (request.url === '/round') reply.writeHead(302, { location: '/round' }).end();
      else if (request.url === '/cut') { reply.writeHead(200, { 'content-length': '100' }); reply.write('half'); setTimeout(() => reply.destroy(), 50); }
      else reply.writeHead(404).end();
    });
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    base = `https://localhost:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => { server.closeAllConnections(); server.close(); });

  const read = async (path: string, options: { ca?: Buffer } = { ca }): Promise<string> => {
    let text = '';
    for await (const piece of download(archiveUrl(base + path), never, options)) text += piece.toString();
    return text;
  };

  it('is read, redirects included, and what it says is told', async () => {
    expect(await read('/a.tar?token=secret')).toBe('bytes');
    expect(await read('/moved')).toBe('bytes');
    await expect(read('/nothing')).rejects.toThrow(/\/nothing answered 404/);
    await expect(read('/plain')).rejects.toThrow(/is not an https address/);
    await expect(read('/round')).rejects.toThrow(/leads from one address to the next/);
    await expect(read('/cut')).rejects.toThrow(/cannot be fetched/);
    await expect(read('/a.tar?token=secret', {})).rejects.toThrow(/a\.tar cannot be fetched: .*self-signed/);
    await expect(read('/a.tar?token=secret', {})).rejects.not.toThrow(/token|secret/);
  });

  it.each(['http://example.com/a.tar', 'file:///etc/passwd', 'ftp://x/a', 'a.tar', '', 'https://user:pass@example.com/a'])('is not %j', (url) => {
    expect(() => archiveUrl(url)).toThrow(/not an https address|user or a password/);
  });
});
