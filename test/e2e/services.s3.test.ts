import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Copies } from '../../src/drivers/copies/s3.driver.js';
import { startBerth } from '../lib/berth-fixture.js';
import { succeeds } from './berth.kit.js';
import { S3Server } from '../lib/s3-server.ts';

// the server is compiled from its source, which takes minutes where it was not yet: npm run test:services
describe.runIf(process.env['BERTH_SERVICES'] === 'all')('copies in a bucket of a real S3 server', () => {
  const { signal } = new AbortController();
  let root: string;
  let server: S3Server;
  const copies = (more: { bucket?: string; secret?: string } = {}): S3Copies => new S3Copies({ type: 's3', bucket: more.bucket ?? 'backups', prefix: 'berth/', endpoint: server.endpoint, region: 'us-east-1' }, { id: server.key.id, secret: more.secret ?? server.key.secret });
  async function* cut(content: Buffer, size = 100_000): AsyncGenerator<Buffer> {
    for (let from = 0; from < content.length; from += size) yield content.subarray(from, from + size);
  }
  const sha = async (content: AsyncIterable<Buffer>): Promise<string> => {
    const hash = createHash('sha256');
    for await (const piece of content) hash.update(piece);
    return hash.digest('hex');
  };

  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'berth-s3-'));
    await mkdir(join(root, 'backups'));
    server = await S3Server.start(root);
  }, 600_000);
  afterAll(async () => {
    await server?.stop();
    await rm(root, { recursive: true, force: true });
  });

  it('keeps small and large ones byte for byte, lists them by prefix, replaces and removes them', async () => {
    const large = randomBytes(40 << 20); // three parts
    const store = copies();
    expect(await store.put('postgres/blog/1.dump', cut(Buffer.from('small')), signal)).toBe(5);
    expect(await store.put('postgres/blog/2.dump', cut(large), signal)).toBe(large.length);
    expect(await store.put('redis/cache/1.rdb', cut(Buffer.alloc(0)), signal)).toBe(0);
    expect((await store.list('postgres/', signal)).map(({ key, bytes }) => [key, bytes])).toEqual([['postgres/blog/1.dump', 5], ['postgres/blog/2.dump', large.length]]);
    expect(await sha(store.get('postgres/blog/2.dump', signal))).toBe(createHash('sha256').update(large).digest('hex'));
    expect((await readFile(join(root, 'backups/berth/postgres/blog/1.dump'))).toString()).toBe('small');
    await store.put('postgres/blog/1.dump', cut(Buffer.from('another')), signal);
    expect(await sha(store.get('postgres/blog/1.dump', signal))).toBe(createHash('sha256').update('another').digest('hex'));
    await store.remove('postgres/blog/2.dump', signal);
    await store.remove('postgres/blog/2.dump', signal);
    expect(await store.list('postgres/blog/2', signal)).toEqual([]);
    await expect(sha(store.get('postgres/blog/2.dump', signal))).rejects.toMatchObject({ code: 'copies.gone', fault: 'user' });
  });

  it('a wrong secret and a bucket that is not there are the user\'s fault', async () => {
    await expect(copies({ secret: 'wrong' }).put('x', cut(Buffer.from('x')), signal)).rejects.toMatchObject({ code: 'copies.denied', fault: 'user' });
    await expect(copies({ bucket: 'nowhere' }).put('x', cut(Buffer.from('x')), signal)).rejects.toMatchObject({ code: 'copies.missing', fault: 'user' });
  });

  it('what breaks off in the middle of its parts leaves nothing', async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 30; i += 1) yield Buffer.alloc(1 << 20);
      throw new Error('the dump ended');
    }
    await expect(copies().put('half', broken(), signal)).rejects.toThrow('the dump ended');
    expect(await copies().list('half', signal)).toEqual([]);
    expect((await readdir(join(root, 'backups/berth'))).filter((name) => name.includes('half'))).toEqual([]);
  });

  it('has backups of a service, encrypted, which come back from there', async () => {
    const berth = await startBerth();
    try {
      const ok = async (args: readonly string[], stdin?: string): Promise<string> => {
        const { out, err } = await succeeds(berth, args, { timeoutMs: 280_000, ...(stdin !== undefined && { stdin }) });
        return out + err;
      };
      await ok(['redis:create', 'cache']);
      await ok(['redis:connect', 'cache'], 'set a 1\n');
      await ok(['redis:backup-auth', 'cache', server.key.id, '--endpoint', server.endpoint, '--secret-stdin'], `${server.key.secret}\n`);
      await ok(['redis:backup-set-encryption', 'cache'], 'a passphrase\n');
      expect(await ok(['redis:backup', 'cache', 's3://backups/berth'])).toContain('Restored into a throw-away instance: 1 keys');
      const name = (await readdir(join(root, 'backups/berth/redis/cache'))).find((each) => each.endsWith('.rdb.age'));
      expect((await readFile(join(root, 'backups/berth/redis/cache', name!))).subarray(0, 21).toString()).toBe('age-encryption.org/v1');
      await ok(['redis:connect', 'cache', 'set', 'a', '2']);
      await ok(['redis:restore', 'cache']);
      expect(await ok(['redis:connect', 'cache', 'get', 'a'])).toBe('1\n');
    } finally {
      await berth.stop();
    }
  }, 600_000);
});
