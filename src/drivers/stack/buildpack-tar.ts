import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Transform, type Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { extract, pack, type Header } from 'tar-stream';
import { Rejected } from '../../events/decider.js';
import { StepFailure } from '../../events/step.js';
import { archiveFiles, inspectArchive } from '../archive/archive.js';

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
  onTop(what, names);
  return { digest: hash.digest('hex'), ...written };
}

/** Sees that the buildpack lies at the top. */
function onTop(what: string, names: ReadonlySet<string>): void {
  if (names.has('bin/detect') && names.has('bin/compile')) return;
  throw refusal(what, `this is no buildpack of the classic API: bin/detect or bin/compile is missing${names.has('bin/build') ? '; it is a Cloud Native Buildpack' : ''}`, 'correct its address');
}

/**
 * What is in a tar, tar.gz or zip file, as a tar stream; a folder that everything lies in (`name-1.2/`) is taken off.
 * @throws StepFailure `build.buildpack`: hostile members, too large, damaged
 */
export async function openArchive(what: string, file: string, signal: AbortSignal, limits: BuildpackLimits = LIMITS): Promise<Readable> {
  const told = (error: unknown): unknown => (error instanceof Rejected ? refusal(what, error.message.replace(/^The archive /, 'it ')) : error);
  const found = await inspectArchive(file, null, limits, signal).catch((error: unknown) => { throw told(error); });
  const utf8 = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8');
  const out = pack();
  void (async () => {
    // a buildpack may have nothing beside its bin/
    for await (const { path, mode, bytes, content } of archiveFiles(file, { ...found, root: found.root === 'bin/' ? '' : found.root }, limits, signal)) {
      if (mode === '120000') out.entry({ name: utf8(path), type: 'symlink', linkname: (await buffer(content)).toString('utf8') });
      else await pipeline(content, out.entry({ name: utf8(path), mode: mode === '100755' ? 0o755 : 0o644, size: bytes }));
    }
    out.finalize();
  })().catch((error: unknown) => out.destroy(told(error) as Error));
  return out as unknown as Readable;
}
