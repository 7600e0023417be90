import { isAbsolute, normalize } from 'node:path';
import { Rejected } from '../../events/decider.js';
import type { CopyPlace } from '../../events/types/copy.events.js';
import { type CopyKey, type CopyStore, isKey } from './copy-store.port.js';
import { FolderCopies } from './folder.driver.js';

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/**
 * `/var/backups/db`, `s3://bucket`, `s3://bucket/prefix`, or a bucket's bare name as Dokku takes it.
 * @param s3 where buckets are
 * @throws Rejected `copies.place`
 */
export function copyPlace(text: string, s3: { readonly endpoint: string | null; readonly region: string }): CopyPlace {
  const wrong = (why: string): Rejected => new Rejected('copies.place', `'${text.slice(0, 200)}' ${why}`, 'a folder (/var/backups/db) or a bucket (s3://bucket/prefix)');
  if (text.startsWith('/')) {
    if (!isAbsolute(text) || text.includes('\0') || normalize(text) === '/') throw wrong('is no folder for backups');
    return { type: 'folder', path: normalize(text).replace(/\/$/, '') };
  }
  const [, bucket = '', rest = ''] = /^(?:s3:\/\/)?([^/]+)(?:\/(.*))?$/.exec(text) ?? [];
  if (!BUCKET.test(bucket)) throw wrong('is neither a folder nor a bucket');
  const prefix = rest.replace(/\/+$/, '');
  if (prefix !== '' && !isKey(prefix)) throw wrong('has a prefix of other than letters, digits, `.`, `_`, `-` and `/`');
  return { type: 's3', bucket, prefix: prefix === '' ? '' : `${prefix}/`, ...s3 };
}

/** @throws Rejected `copies.endpoint` */
export function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '') throw new Rejected('copies.endpoint', `'${text.slice(0, 200)}' is no address of an S3 server`, 'https://s3.example.com');
  return url.href.replace(/\/$/, '');
}

/** The store at that place. @throws Rejected `copies.key` when a bucket has none */
export async function copiesAt(place: CopyPlace, key: CopyKey | null): Promise<CopyStore> {
  if (place.type === 'folder') return new FolderCopies(place.path);
  if (key === null) throw new Rejected('copies.key', `There is no key for s3://${place.bucket}`, 'give one first');
  // its client is large, and most servers never need it
  const { S3Copies } = await import('./s3.driver.js');
  return new S3Copies(place, key);
}
