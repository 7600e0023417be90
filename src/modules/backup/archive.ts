import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { PassThrough, Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { extract, pack, type Pack } from 'tar-stream';
import { Rejected } from '../../events/decider.js';
import { BrokenCipher, decrypted, encrypting, isAge, WrongPassphrase } from './age.js';

/** A file in the archive: small enough to be held in memory, so that it can be checked before it is used. */
export interface Part { readonly name: string; readonly size: number; readonly sha256: string }

/** A volume in the archive. */
export interface VolumePart {
  readonly name: string;
  /** of the tar that the files make together */
  readonly bytes: number;
  readonly labels: Readonly<Record<string, string>>;
  /** app id, and what the app calls it; null for a volume that is no app's storage */
  readonly storage: { readonly app: string; readonly name: string; readonly generation?: number } | null;
  /** nothing wrote into it while it was read */
  readonly still: boolean;
}

/** A plugin in the archive: its files, and what it keeps. */
export interface PluginPart { readonly name: string; /** below `plugins/.code`, called after the digest of its files */ readonly folder: string; readonly code: boolean; readonly data: boolean }

/** What a backup says of itself: the archive's last file. */
export interface Manifest {
  readonly berth: 'backup';
  readonly version: 1;
  readonly takenAt: string;
  readonly from: { readonly berth: string; readonly host: string; readonly domain: string; readonly store: 'sqlite' | 'postgres' };
  /** where the log was cut: nothing in the archive is later */
  readonly head: { readonly position: number; readonly hash: string };
  readonly events: number;
  readonly apps: readonly { readonly id: string; readonly name: string; readonly release: number | null; readonly commit: string | null }[];
  readonly logs: boolean;
  /** in the order of their numbers: the files `volumes/<number from 1>/data-…` are one tar each */
  readonly volumes: readonly VolumePart[];
  readonly plugins: readonly PluginPart[];
  readonly parts: readonly Part[];
}

export const MANIFEST = 'manifest.json';
/** what is cut into parts is cut here, bytes */
export const PART = 4 << 20;
/** a file of an archive is never larger */
const PART_MAX = 512 << 20;

const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** Writes tar, gzip and, with a passphrase, age into one stream. */
export class ArchiveWriter {
  readonly parts: Part[] = [];
  private failure: unknown = null;

  private constructor(private readonly tar: Pack, private readonly written: Promise<void>, private readonly mtime: Date) {
    written.catch((error: unknown) => { this.failure = error; });
  }

  /** @param sink its failure is every later call's */
  static async open(sink: Writable, passphrase: string | null, signal: AbortSignal, now: number): Promise<ArchiveWriter> {
    const cipher = passphrase === null ? new PassThrough() : await encrypting(passphrase);
    const tar = pack();
    return new ArchiveWriter(tar, pipeline(tar, createGzip({ level: 5 }), cipher, sink, { signal }), new Date(now));
  }

  async add(name: string, content: Buffer): Promise<void> {
    await this.put(name, content);
    this.parts.push({ name, size: content.length, sha256: sha256(content) });
  }

  /** The manifest, and the end. Resolves when the sink has everything. */
  async end(manifest: Omit<Manifest, 'parts'>): Promise<Manifest> {
    const whole: Manifest = { ...manifest, parts: this.parts };
    await this.put(MANIFEST, Buffer.from(`${JSON.stringify(whole, null, 1)}\n`));
    this.tar.finalize();
    await this.written;
    return whole;
  }

  abort(): void {
    this.tar.destroy();
  }

  private put(name: string, content: Buffer): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    const added = new Promise<void>((resolve, reject) => {
      const entry = this.tar.entry({ name, size: content.length, mode: 0o600, mtime: this.mtime, uname: 'root', gname: 'root' }, (error) => (error ? reject(error) : resolve()));
      // it is destroyed with the stream, and an error that nobody listens to ends the process
      entry.on('error', reject);
      entry.end(content);
    });
    // a sink that fails takes the stream with it, and nobody would tell the entry
    return Promise.race([added, this.written]);
  }
}

const damaged = (what: string, cause?: unknown): Rejected => Object.assign(new Rejected('backup.damaged', what, 'nothing was changed; use another backup, or a new copy of this one'), { cause });

/** An archive's files, one after the other. @param seen every piece of the file itself @throws Rejected naming the file that cannot be read */
export async function* partsOf(path: string, passphrase: string | null, seen: (piece: Buffer) => void = () => {}): AsyncGenerator<{ readonly name: string; readonly content: Buffer }> {
  const start = await head(path);
  const file = createReadStream(path, { highWaterMark: 256 * 1024 });
  const source = told(file, seen);
  let at = 'its beginning';
  try {
    let plain: AsyncIterable<Buffer> = source;
    if (isAge(start)) {
      if (passphrase === null) throw new Rejected('backup.encrypted', `${path} is encrypted`, 'give its passphrase: … --passphrase-stdin < passphrase.txt');
      plain = decrypted(source, passphrase);
    } else if (start[0] !== 0x1f || start[1] !== 0x8b) throw new Rejected('backup.format', `${path} is not a backup of Berth`, 'made by: berth backup /var/backups/berth.tar.gz');
    const tar = extract();
    let failure: unknown = null;
    const flow = pipeline(Readable.from(plain), createGunzip(), tar).catch((error: unknown) => {
      failure = error;
      tar.destroy(error as Error);
    });
    for await (const entry of tar) {
      at = entry.header.name;
      const size = entry.header.size ?? 0;
      if (size > PART_MAX) throw damaged(`${at} in the archive says it has ${size} bytes`);
      const pieces: Buffer[] = [];
      for await (const piece of entry as AsyncIterable<Buffer>) pieces.push(piece);
      yield { name: at, content: Buffer.concat(pieces) };
    }
    await flow;
    if (failure) throw failure;
  } catch (error) {
    if (error instanceof Rejected) throw error;
    if (error instanceof WrongPassphrase) throw new Rejected('backup.passphrase', `The passphrase does not open ${path}`, 'nothing was changed');
    if (error instanceof BrokenCipher) throw damaged(`The archive ${error.message}, in or behind ${at}`, error);
    if ((error as NodeJS.ErrnoException).code === 'EIO') throw error;
    throw damaged(`The archive is damaged or cut off in or behind ${at}: ${(error as Error).message}`, error);
  } finally {
    file.destroy();
  }
}

async function* told(file: AsyncIterable<Buffer>, seen: (piece: Buffer) => void): AsyncGenerator<Buffer> {
  for await (const piece of file) {
    seen(piece);
    yield piece;
  }
}

async function head(path: string): Promise<Buffer> {
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(64), 0, 64, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new Rejected('backup.file', `${path} cannot be read: ${(error as Error).message}`, 'a path on the server');
  }
}

/** Compares what was read with what the manifest says. @throws Rejected naming the first file that is not as it was written */
export function compare(manifest: Manifest, found: ReadonlyMap<string, { size: number; sha256: string }>): void {
  for (const part of manifest.parts) {
    const seen = found.get(part.name);
    if (!seen) throw damaged(`${part.name} is missing in the archive`);
    if (seen.size !== part.size || seen.sha256 !== part.sha256) throw damaged(`${part.name} in the archive is not as it was written`);
  }
  const extra = [...found.keys()].find((name) => !manifest.parts.some((part) => part.name === name));
  if (extra !== undefined) throw damaged(`${extra} was put into the archive by somebody else`);
}

/** @throws Rejected */
export function readManifest(content: Buffer): Manifest {
  let manifest: Manifest;
  try {
    manifest = JSON.parse(content.toString('utf8')) as Manifest;
  } catch (error) {
    throw damaged(`${MANIFEST} in the archive is damaged`, error);
  }
  if (manifest?.berth !== 'backup') throw damaged(`${MANIFEST} in the archive is not one of Berth's`);
  if (Number(manifest.version) > 1) throw new Rejected('backup.version', `This backup was made by a newer Berth (${String(manifest.from?.berth)}, format ${String(manifest.version)})`, 'install that version or a newer one first');
  if (!Array.isArray(manifest.parts) || !Array.isArray(manifest.apps) || typeof manifest.head?.hash !== 'string') throw damaged(`${MANIFEST} in the archive is not one of Berth's`);
  return { ...manifest, volumes: manifest.volumes ?? [], plugins: manifest.plugins ?? [] }; // backups had none at first
}

export { damaged, sha256 };
