import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, pack, type Header } from 'tar-stream';
import yauzl from 'yauzl';
import { StepFailure } from '../../events/step.js';

export interface BuildpackLimits {
  /** bytes of all files, unpacked */
  readonly bytes: number;
  readonly files: number;
}
/** The largest of Heroku's own has 40 MB and 3000 files. */
export const LIMITS: BuildpackLimits = Object.freeze({ bytes: 256 * 1024 * 1024, files: 20_000 });

export interface Written {
  /** sha-256 of names, modes and contents, hex */
  readonly digest: string;
  readonly files: number;
  readonly bytes: number;
}

const refusal = (what: string, why: string, hint: string | null = 'this archive can\'t be used as a buildpack'): StepFailure => new StepFailure('build.buildpack', `${what}: ${why}`, hint);
const show = (name: string): string => JSON.stringify(name).slice(0, 120);

/** `./a/b/` → `a/b`, '' for the top; null for what leaves it. */
function clean(name: string): string | null {
  if (name.startsWith('/') || name.includes('\0')) return null;
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') ? null : parts.join('/');
}

/**
 * Writes a tar of plain files, folders and links out of one that anybody may have made. What is in it is only ever unpacked in a container.
 * A folder that everything lies in (`name-1.2/`) is taken off when the buildpack lies there.
 * @param what the buildpack, for messages
 * @throws StepFailure `build.buildpack`: hostile members, too large, damaged, no buildpack
 */
export async function writeTar(what: string, source: Readable, file: string, signal: AbortSignal, limits: BuildpackLimits = LIMITS): Promise<Written> {
  const out = pack();
  const parser = extract();
  const names = new Set<string>();
  const links = new Set<string>();
  const written = { files: 0, bytes: 0 };
  let refused: StepFailure | null = null;
  const refuse = (why: string): void => { refused ??= refusal(what, why); parser.destroy(refused); };
  parser.on('entry', (header, stream, next) => {
    const name = clean(header.name);
    const type = header.type === 'contiguous-file' ? 'file' : header.type;
    stream.on('error', () => undefined); // told by the parser
    if (name === null) return refuse(`it holds ${show(header.name)}, which would leave its folder`);
    if (type !== 'file' && type !== 'directory' && type !== 'symlink' && type !== 'link') return refuse(`it holds ${show(header.name)}, which is no file, folder or link (${String(type)})`);
    if (name === '') { stream.on('end', next); stream.resume(); return; }
    const parts = name.split('/');
    if (parts.some((_, depth) => depth < parts.length - 1 && links.has(parts.slice(0, depth + 1).join('/')))) return refuse(`it holds ${show(name)} behind a symbolic link`);
    const linkname = type === 'link' ? clean(header.linkname ?? '') : header.linkname ?? null;
    if (type === 'link' && (linkname === null || !names.has(linkname) || links.has(linkname))) return refuse(`it holds ${show(name)}, a link to ${show(header.linkname ?? '')}, which is none of its files`);
    written.files += 1;
    written.bytes += type === 'file' ? header.size ?? 0 : 0;
    if (written.files > limits.files) return refuse(`it holds more than ${limits.files} files`);
    if (written.bytes > limits.bytes) return refuse(`unpacked it is larger than ${Math.floor(limits.bytes / 1024 / 1024)} MiB`);
    if (type === 'symlink') links.add(name); else links.delete(name);
    names.add(name);
    const mode = type === 'directory' ? 0o755 : (header.mode ?? 0) & 0o100 ? 0o755 : 0o644;
    const entry = out.entry({ name, type, mode, mtime: new Date(0), size: type === 'file' ? header.size ?? 0 : 0, ...(linkname === null ? {} : { linkname }) } as Header, (error) => next(error ?? undefined));
    stream.pipe(entry);
  });
  const hash = createHash('sha256');
  const digest = new Transform({ transform(chunk: Buffer, _encoding, done) { hash.update(chunk); done(null, chunk); } });
  const writing = pipeline(out, digest, createWriteStream(file, { mode: 0o600 }), { signal });
  writing.catch(() => undefined);
  try {
    await pipeline(source, parser, { signal });
    out.finalize();
    await writing;
  } catch (error) {
    out.destroy();
    await writing.catch(() => undefined);
    if (refused !== null) throw refused as StepFailure;
    signal.throwIfAborted();
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof StepFailure || code === 'ENOSPC' || code === 'EIO') throw error;
    throw refusal(what, `it is damaged (${message.split('\n')[0]})`);
  }
  return { ...await onTop(what, file, names, hash.digest('hex'), signal), ...written };
}

/** Sees that the buildpack lies at the top, taking off one folder when it lies there. */
async function onTop(what: string, file: string, names: ReadonlySet<string>, digest: string, signal: AbortSignal): Promise<{ digest: string }> {
  const here = (folder: string): boolean => names.has(`${folder}bin/detect`) && names.has(`${folder}bin/compile`);
  if (here('')) return { digest };
  const tops = new Set([...names].map((name) => name.split('/')[0]!));
  const top = tops.size === 1 ? `${[...tops][0]!}/` : null;
  if (top === null || !here(top)) {
    const native = names.has('buildpack.toml') && names.has('bin/build') || top !== null && names.has(`${top}bin/build`);
    throw refusal(what, `this is no buildpack of the classic API: bin/detect or bin/compile is missing${native ? '; it is a Cloud Native Buildpack' : ''}`, 'correct its address');
  }
  const off = (name: string): string => (name.startsWith(top) ? name.slice(top.length) : name);
  const out = pack();
  const parser = extract();
  parser.on('entry', (header, stream, next) => {
    const name = off(`${header.name}${header.type === 'directory' && !header.name.endsWith('/') ? '/' : ''}`);
    if (name === '') { stream.on('end', next); stream.resume(); return; }
    const entry = out.entry({ ...header, name, ...(header.type === 'link' && header.linkname ? { linkname: off(header.linkname) } : {}) }, (error) => next(error ?? undefined));
    stream.pipe(entry);
  });
  const writing = pipeline(out, createWriteStream(`${file}.top`, { mode: 0o600 }), { signal });
  try {
    await pipeline(createReadStream(file), parser, { signal });
    out.finalize();
    await writing;
    await rename(`${file}.top`, file);
  } catch (error) {
    out.destroy();
    await writing.catch(() => undefined);
    await rm(`${file}.top`, { force: true });
    throw error;
  }
  return { digest };
}

/** What is in a tar, tar.gz or zip file, as a tar stream; told apart by its first bytes. */
export async function openArchive(what: string, file: string, limits: BuildpackLimits = LIMITS): Promise<Readable> {
  const handle = await open(file);
  let head: Buffer;
  try { head = (await handle.read(Buffer.alloc(4), 0, 4, 0)).buffer; } finally { await handle.close(); }
  if (head.readUInt16BE(0) === 0x1f8b) {
    const plain = createGunzip();
    createReadStream(file).on('error', (error) => plain.destroy(error)).pipe(plain);
    return plain;
  }
  if (head.toString('latin1') === 'PK\u0003\u0004') return zipAsTar(what, file, limits);
  return createReadStream(file);
}

async function zipAsTar(what: string, file: string, limits: BuildpackLimits): Promise<Readable> {
  // member names are checked where the tar is read
  const zip = await yauzl.openPromise(file, { decodeStrings: true, strictFileNames: false, validateEntrySizes: true, autoClose: false }).catch((error: Error) => { throw refusal(what, `it is damaged (${error.message})`); });
  const out = pack();
  void (async () => {
    let bytes = 0;
    for await (const entry of zip.eachEntry()) {
      const mode = entry.externalFileAttributes >>> 16;
      const kind = mode & 0o170000;
      const name = entry.fileName;
      bytes += entry.uncompressedSize;
      if (bytes > limits.bytes) throw refusal(what, `unpacked it is larger than ${Math.floor(limits.bytes / 1024 / 1024)} MiB`);
      if (entry.isEncrypted()) throw refusal(what, 'it is encrypted');
      if (name.endsWith('/')) { out.entry({ name, type: 'directory' }); continue; }
      if (kind !== 0 && kind !== 0o100000 && kind !== 0o120000) throw refusal(what, `it holds ${show(name)}, which is no file, folder or link`);
      const content = await zip.openReadStreamPromise(entry);
      // zips made where nothing is executable have no modes: what lies in bin/ is a program
      const executable = mode === 0 ? /(^|\/)bin\/[^/]+$/.test(name) : (mode & 0o100) !== 0;
      if (kind === 0o120000) {
        if (entry.uncompressedSize > 4096) throw refusal(what, `it holds ${show(name)}, a link that is too long`);
        const parts: Buffer[] = [];
        for await (const part of content) parts.push(part as Buffer);
        out.entry({ name, type: 'symlink', linkname: Buffer.concat(parts).toString('utf8') });
        continue;
      }
      await pipeline(content, out.entry({ name, mode: executable ? 0o755 : 0o644, size: entry.uncompressedSize }));
    }
    out.finalize();
  })().catch((error: unknown) => out.destroy(error instanceof StepFailure ? error : refusal(what, `it is damaged (${(error as Error).message})`))).finally(() => zip.close());
  return out as unknown as Readable;
}
