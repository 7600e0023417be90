import { describe, expect, it } from 'vitest';
import { accessOf, dsnOf } from './types.js';
import { s3 } from './s3.service.js';

const access = (name: string) => accessOf(s3, name, 'secret');

describe('an S3 service', () => {
  it('has a bucket of its name, or one that S3 takes', () => {
    const bucket = (name: string): string => new URL(dsnOf(s3, name, 'secret', null)).pathname;
    expect(['files', 'my-db', 'abc', 'ab', 'x', 'xn--a', 'a--ol-s3'].map(bucket)).toEqual(['/files', '/my-db', '/abc', '/bucket-ab', '/bucket-x', '/bucket-xn--a', '/bucket-a--ol-s3']);
    expect(s3.hosts!(access('ab'))).toEqual(['bucket-ab.berth-s3-ab']);
  });

  it('tells its dumps from other files', () => {
    expect(s3.dumps!.refuse(Buffer.from('berth-s3/about\0\0'))).toBe(null);
    for (const other of ['berth-s3', './berth-s3/abou', 'PGDMP\x01\x0e\x00', '']) expect(s3.dumps!.refuse(Buffer.from(other))).toContain('not what berth s3:export writes');
  });

  it('keeps the server\'s data out of reach of its buckets', () => {
    // what is known of earlier versions is filed under their whole path, as if its first part were a bucket
    expect(s3.packaged!.volume).toMatch(/^\/[a-z0-9]*_/);
    expect(s3.registry.command(access('files'))!.join(' ')).toContain(`${s3.packaged!.volume}/store/versions`);
  });
});
