import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Copies } from '../../src/drivers/copies/s3.driver.js';
import { copiesAt } from '../../src/drivers/copies/place.js';

// the calls that go well run against a real S3 server: test/e2e/services.s3.test.ts
const { signal } = new AbortController();
async function* pieces(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}
async function text(content: AsyncIterable<Buffer>): Promise<string> {
  const all: Buffer[] = [];
  for await (const piece of content) all.push(piece);
  return Buffer.concat(all).toString();
}

describe('copies in a folder', () => {
  let root: string;
  beforeAll(async () => { root = await mkdtemp(join(tmpdir(), 'berth-copies-')); });
  afterAll(() => rm(root, { recursive: true, force: true }));
  const store = (path = join(root, 'copies')) => copiesAt({ type: 'folder', path }, null);

  it('keeps, lists, gives back, replaces and removes', async () => {
    const copies = await store();
    expect(await copies.list('', signal)).toEqual([]);
    expect(await copies.put('postgres/blog/1.dump', pieces('one ', 'and more'), signal)).toBe(12);
    expect(await copies.put('postgres/shop/1.dump', pieces(), signal)).toBe(0);
    expect(await text(copies.get('postgres/blog/1.dump', signal))).toBe('one and more');
    await copies.put('postgres/blog/1.dump', pieces('two'), signal);
    expect((await copies.list('postgres/blog/', signal)).map(({ key, bytes }) => [key, bytes])).toEqual([['postgres/blog/1.dump', 3]]);
    expect((await stat(join(root, 'copies', 'postgres/blog/1.dump'))).mode & 0o777).toBe(0o600);
    await copies.remove('postgres/blog/1.dump', signal);
    await copies.remove('postgres/blog/1.dump', signal);
    await expect(text(copies.get('postgres/blog/1.dump', signal))).rejects.toMatchObject({ code: 'copies.gone', fault: 'user' });
  });

  it('what breaks off leaves what was there before, and nothing of itself', async () => {
    const copies = await store();
    await copies.put('a/x', pieces('before'), signal);
    async function* broken(): AsyncGenerator<Buffer> {
      yield Buffer.from('half');
      throw new Error('the dump ended');
    }
    await expect(copies.put('a/x', broken(), signal)).rejects.toThrow('the dump ended');
    const stop = new AbortController();
    async function* stopped(): AsyncGenerator<Buffer> {
      yield Buffer.from('half');
      stop.abort(new Error('stopped'));
      yield Buffer.from('more');
    }
    await expect(copies.put('a/x', stopped(), stop.signal)).rejects.toThrow('stopped');
    expect(await readdir(join(root, 'copies', 'a'))).toEqual(['x']);
    expect(await text(copies.get('a/x', signal))).toBe('before');
  });

  it('takes away what a dead process began a day ago, and does not list what it began just now', async () => {
    const copies = await store();
    const part = (n: number): string => join(root, 'copies', 'a', `y.part-0000000${n}-0000-4000-8000-000000000000`);
    await Promise.all([1, 2].map((n) => writeFile(part(n), 'half')));
    await utimes(part(1), new Date(0), new Date(0));
    expect((await copies.list('a/y', signal))).toEqual([]);
    expect((await readdir(join(root, 'copies', 'a'))).filter((name) => name.startsWith('y'))).toEqual(['y.part-00000002-0000-4000-8000-000000000000']);
  });

  it('takes away what an attempt that died has of the same copy', async () => {
    const copies = await store();
    await copies.put('b/other', pieces('x'), signal);
    const part = (of: string): string => `${of}.part-00000001-0000-4000-8000-000000000000`;
    for (const of of ['z', 'other']) await writeFile(join(root, 'copies', 'b', part(of)), 'half');
    await copies.put('b/z', pieces('whole'), signal);
    expect((await readdir(join(root, 'copies', 'b'))).toSorted()).toEqual(['other', part('other'), 'z']);
  });

  it('says what is wrong with a place that is no folder, and a key that leads out', async () => {
    await writeFile(join(root, 'file'), '');
    await expect((await store(join(root, 'file'))).put('a', pieces('x'), signal)).rejects.toMatchObject({ code: 'copies.place', fault: 'user' });
    // where the system makes no folders
    await expect((await store('/proc/nope')).put('a/b', pieces('x'), signal)).rejects.toMatchObject({ code: 'copies.place', fault: 'user' });
    await expect((await store()).put('../out', pieces('x'), signal)).rejects.toThrow('no key of a copy');
  });
});

describe('an S3 server that refuses', () => {
  let server: Server;
  let answer: { status: number; code: string };
  let asked: string[] = [];
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => {
        response.writeHead(answer.status, { 'content-type': 'application/xml' });
        response.end(`<?xml version="1.0"?><Error><Code>${answer.code}</Code><Message>no</Message></Error>`);
      });
    });
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  });
  afterAll(() => { server.close(); });

  it.each([
    [403, 'InvalidAccessKeyId', 'copies.denied', 'user'], [403, 'SignatureDoesNotMatch', 'copies.denied', 'user'], [403, 'AccessDenied', 'copies.denied', 'user'],
    [404, 'NoSuchBucket', 'copies.missing', 'user'], [400, 'AuthorizationHeaderMalformed', 'copies.place', 'user'], [507, 'XMinioStorageFull', 'copies.full', 'machine'],
    [500, 'InternalError', 'copies.away', 'machine'], [503, 'SlowDown', 'copies.away', 'machine'], [429, 'TooManyRequests', 'copies.away', 'machine'],
  ])('%i %s is %s, a fault of the %s', async (status, code, told, fault) => {
    answer = { status, code };
    asked = [];
    const { port } = server.address() as AddressInfo;
    const copies = new S3Copies({ type: 's3', bucket: 'bucket', prefix: 'p/', endpoint: `http://127.0.0.1:${port}`, region: 'eu-1' }, { id: 'id', secret: 'a secret' });
    for (const work of [() => copies.put('x', pieces('one'), signal), () => copies.put('x', pieces('a'.repeat(17 << 20)), signal), () => text(copies.get('x', signal)), () => copies.list('', signal), () => copies.remove('x', signal)]) {
      const error = await work().then(() => null, (thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: told, fault });
      expect(String((error as Error).message)).not.toContain('a secret');
    }
    expect(asked).toHaveLength(5); // nothing is tried again behind the caller's back
  });

  it('one that does not answer is away', async () => {
    const copies = new S3Copies({ type: 's3', bucket: 'bucket', prefix: '', endpoint: 'http://127.0.0.1:1', region: 'eu-1' }, { id: 'id', secret: 's' });
    await expect(copies.list('', signal)).rejects.toMatchObject({ code: 'copies.away', fault: 'machine' });
  });
});
