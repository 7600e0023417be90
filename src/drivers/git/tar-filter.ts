import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { GitRefusal, type Archive } from './git.port.js';

const BLOCK = 512;
const LFS = Buffer.from('version https://git-lfs.github.com/spec/v1\n');
const PAX_LIMIT = 1024 * 1024;

export interface TarLimits { readonly bytes: number; readonly files: number }

/**
 * What has gone into one archive so far, over all its parts. `git archive` writes the tar; this only reads the headers that pass, so that
 * 200 MB cost what hashing them costs.
 */
export class TarTally {
  bytes = 0;
  files = 0;
  lfs = 0;
  private readonly hash = createHash('sha256');
  private readonly links = new Set<string>();

  constructor(private readonly limits: TarLimits) {}

  add(bytes: Buffer): void {
    this.bytes += bytes.length;
    if (this.bytes > this.limits.bytes) throw new GitRefusal('limit', `the source is larger than ${Math.floor(this.limits.bytes / 1024 / 1024)} MiB`, 'keep large files out of the repository');
    this.hash.update(bytes);
  }

  /** A header was read. Trees are data that was pushed: one may hold names that git itself would never write. */
  entry(name: string, type: string): void {
    const path = name.replace(/\/+$/, '');
    const names = path.split('/');
    const shown = JSON.stringify(Buffer.from(name, 'latin1').toString('utf8'));
    if (path.startsWith('/') || names.some((part) => part === '..' || part === '.' || part === '')) {
      throw new GitRefusal('path', `the commit holds a file with the path ${shown}`, 'git fsck shows which commit it came with');
    }
    if (this.links.size > 0) {
      for (let depth = 1; depth <= names.length - (type === '2' ? 1 : 0); depth += 1) {
        if (this.links.has(names.slice(0, depth).join('/'))) throw new GitRefusal('path', `the commit holds ${shown} behind or beside a symbolic link of that name`, 'git fsck shows which commit it came with');
      }
    }
    if (type === '2') this.links.add(path);
    if (type !== '5') this.files += 1;
    if (this.files > this.limits.files) throw new GitRefusal('limit', `the source has more than ${this.limits.files} files`, 'keep dependencies such as node_modules out of the repository');
  }

  /** The two empty blocks that end a tar. */
  finish(): Buffer {
    const end = Buffer.alloc(2 * BLOCK);
    this.add(end);
    return end;
  }

  result(): Archive {
    return { bytes: this.bytes, files: this.files, lfs: this.lfs, sha256: this.hash.digest('hex') };
  }
}

/** Lets a tar through without its end and its global header, so that several can stand one behind the other. */
export class TarFilter extends Transform {
  private header: Buffer = Buffer.alloc(0);
  /** bytes of the current entry's body still to come, its padding included */
  private left = 0;
  private pass = true;
  private ended = false;
  /** the first bytes of the body, as far as they are looked at */
  private body: Buffer[] | null = null;
  private wanted = 0;
  private onBody: ((body: Buffer) => void) | null = null;
  private pax: Record<string, string> = {};

  constructor(private readonly tally: TarTally) {
    super();
  }

  override _transform(piece: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.scan(piece);
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _flush(done: TransformCallback): void {
    done(this.ended && this.left === 0 ? null : new Error('git archive ended in the middle'));
  }

  private scan(piece: Buffer): void {
    let data = piece;
    while (data.length > 0 && !this.ended) {
      if (this.left > 0) {
        const part = data.subarray(0, this.left);
        this.left -= part.length;
        data = data.subarray(part.length);
        if (this.pass) this.give(part);
        if (this.body !== null) this.collect(part);
        continue;
      }
      const need = BLOCK - this.header.length;
      this.header = this.header.length === 0 ? data.subarray(0, need) : Buffer.concat([this.header, data.subarray(0, need)]);
      data = data.subarray(need);
      if (this.header.length < BLOCK) return;
      const header = this.header;
      this.header = Buffer.alloc(0);
      this.readHeader(header);
    }
  }

  private give(bytes: Buffer): void {
    this.tally.add(bytes);
    this.push(bytes);
  }

  private collect(part: Buffer): void {
    const body = this.body ?? [];
    body.push(part);
    const size = body.reduce((sum, { length }) => sum + length, 0);
    if (size < this.wanted) return;
    this.body = null;
    this.onBody?.(Buffer.concat(body).subarray(0, this.wanted));
  }

  private look(wanted: number, then: (body: Buffer) => void): void {
    this.body = [];
    this.wanted = wanted;
    this.onBody = then;
  }

  private readHeader(header: Buffer): void {
    if (header.every((byte) => byte === 0)) {
      this.ended = true;
      return;
    }
    const type = header.toString('latin1', 156, 157);
    const size = this.pax['size'] !== undefined && type !== 'x' ? Number(this.pax['size']) : octal(header.subarray(124, 136));
    this.left = Math.ceil(size / BLOCK) * BLOCK;
    this.pass = type !== 'g'; // only the commit's id, and it may stand at the beginning only
    if (this.pass) this.give(header);
    if (type === 'g') return;
    if (type === 'x') {
      if (size > PAX_LIMIT) throw new GitRefusal('path', 'the commit holds a file with a path longer than 1 MiB');
      this.look(size, (body) => { this.pax = records(body); });
      return;
    }
    const prefix = text(header.subarray(345, 500));
    const name = this.pax['path'] ?? (prefix === '' ? text(header.subarray(0, 100)) : `${prefix}/${text(header.subarray(0, 100))}`);
    this.pax = {};
    this.tally.entry(name, type);
    if (type === '0' && size >= 100 && size < 1024) {
      this.look(LFS.length, (body) => { if (body.equals(LFS)) this.tally.lfs += 1; });
    }
  }
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end === -1 ? field.length : end);
}

function octal(field: Buffer): number {
  const digits = text(field).trim();
  if (!/^[0-7]*$/.test(digits)) throw new GitRefusal('limit', 'the source holds a file of more than 8 GiB');
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

/** The records of a pax header: `<length> <key>=<value>\n`, the length counting the whole record. */
function records(body: Buffer): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at);
    const length = space === -1 ? 0 : Number(body.toString('latin1', at, space));
    if (!Number.isInteger(length) || length <= space - at) break;
    const [key, ...value] = body.toString('latin1', space + 1, at + length - 1).split('=');
    if (key === 'path' || key === 'size') found[key] = value.join('=');
    at += length;
  }
  return found;
}
