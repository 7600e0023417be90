import { createHash } from 'node:crypto';
import type { Manifest } from './archive.js';
import { compare, damaged, MANIFEST, partsOf, readManifest, sha256 } from './archive.js';
import { LogReader } from './log-part.js';

/** A backup that was read to its end and is as it was written. */
export interface Checked {
  readonly manifest: Manifest;
  /** the small files that a restore needs first: everything under `keys/` */
  readonly keys: ReadonlyMap<string, Buffer>;
  /** of the file as it lies there, encrypted or not */
  readonly sha256: string;
  readonly size: number;
  /** kinds of events that only a newer Berth can read */
  readonly unknown: ReadonlySet<string>;
}

/** Reads a whole archive: every file against its checksum, every event against the chain. @throws Rejected naming what is broken */
export async function check(path: string, passphrase: string | null): Promise<Checked> {
  const found = new Map<string, { size: number; sha256: string }>();
  const keys = new Map<string, Buffer>();
  const log = new LogReader();
  let manifest: Manifest | null = null;
  const whole = createHash('sha256');
  let size = 0;
  let broken: unknown = null;
  try {
    for await (const { name, content } of partsOf(path, passphrase, (piece) => { whole.update(piece); size += piece.length; })) {
      if (name === MANIFEST) {
        manifest = readManifest(content);
        continue;
      }
      if (found.has(name)) throw damaged(`${name} is in the archive twice`);
      found.set(name, { size: content.length, sha256: sha256(content) });
      if (name.startsWith('keys/')) keys.set(name, content);
      if (name.startsWith('log/')) await log.page(name, content);
    }
  } catch (error) {
    broken = error;
  }
  // gzip says that something is wrong at its end only; the checksums say what
  if (manifest) compare(manifest, found);
  if (broken) throw broken;
  if (!manifest) throw damaged(`The archive ends before its ${MANIFEST}: it was cut off`);
  if (log.head.position !== manifest.head.position || log.head.hash !== manifest.head.hash) throw damaged(`The log in the archive ends at ${log.head.position}, but ${MANIFEST} says ${manifest.head.position}`);
  return { manifest, keys, sha256: whole.digest('hex'), size, unknown: log.unknown };
}
