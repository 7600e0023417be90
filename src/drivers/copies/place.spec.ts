import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isKey } from './copy-store.port.js';
import { copyPlace, endpointOf } from './place.js';

const S3 = { endpoint: 'https://s3.example.com', region: 'eu-1' };

describe('where copies go', () => {
  it('takes folders, buckets and buckets with a prefix', () => {
    expect(copyPlace('/var/backups/db/', S3)).toEqual({ type: 'folder', path: '/var/backups/db' });
    expect(copyPlace('s3://blog-backups', S3)).toEqual({ type: 's3', bucket: 'blog-backups', prefix: '', ...S3 });
    expect(copyPlace('blog-backups/berth/db/', S3)).toEqual({ type: 's3', bucket: 'blog-backups', prefix: 'berth/db/', ...S3 });
  });

  it.each(['', '/', '/..', '/a/../..', 'x', 'UPPER', 's3://', 's3:///x', 's3://bucket/../x', 's3://bucket/a b', 'https://x.example/y'])('refuses %j', (text) => {
    expect(() => copyPlace(text, S3)).toThrow(/is neither|is no folder|has a prefix/);
  });

  it('no key leads out of its place', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (key) => !isKey(key) || (!key.split('/').some((part) => part.startsWith('.') || part === '') && !key.includes('\\'))));
    expect(isKey('postgres/blog/2026-11-23T03.00.00Z.dump.age')).toBe(true);
    expect([isKey('../x'), isKey('/x'), isKey('a//b'), isKey('a/./b'), isKey('')]).toEqual([false, false, false, false, false]);
  });

  it('an endpoint is an address of http or https without credentials', () => {
    expect(endpointOf('https://s3.example.com/')).toBe('https://s3.example.com');
    for (const text of ['s3.example.com', 'ftp://x', 'https://a:b@x', 'https://x/?y']) expect(() => endpointOf(text)).toThrow(/no address of an S3 server/);
  });
});
