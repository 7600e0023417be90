import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import yauzl from 'yauzl';
import { Rejected } from '../../events/decider.js';
import { MemberLedger, shownName, type ArchiveLimits, type MemberHead } from './members.js';

export const ARCHIVE_TYPES = ['tar', 'tar.gz', 'zip'] as const;
export type ArchiveType = (typeof ARCHIVE_TYPES)[number];

/** A file or a symbolic link (its content is where it leads to) of an archive that was found harmless. */
export interface ArchiveFile {
  /** bytes of the path, one character each */
  readonly path: string;
  readonly mode: '100644' | '100755' | '120000';
  readonly bytes: number;
  readonly content: AsyncIterable<Buffer>;
}
export interface Inspected { readonly type: ArchiveType; readonly files: number; readonly bytes: number; readonly left: number; /** folder that all of it lies in, with a slash, or '' */ readonly root: string }

type Member = MemberHead & { readonly content: () => Promise<Readable> };

/** What the first bytes say. */
async function sniff(file: string): Promise<ArchiveType | null> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(512), 0, 512, 0);
    if (buffer.readUInt16BE(0) === 0x1f8b) return 'tar.gz';
    if (['PK\x03\x04', 'PK\x05\x06'].includes(buffer.toString('latin1', 0, 4))) return 'zip';
    return bytesRead === 512 && (buffer.toString('latin1', 257, 262) === 'ustar' || buffer.every((byte) => byte === 0)) ? 'tar' : null;
  } finally {
    await handle.close();
  }
}

const broken = (why: string): Rejected => new Rejected('archive.broken', `The archive cannot be read: ${why}`, 'was it cut off on the way? tar, tar.gz and zip are taken');

/** The type that was said, which must be the one it is. @throws Rejected */
export async function archiveType(file: string, said: ArchiveType | null): Promise<ArchiveType> {
  const found = await sniff(file);
  if (found === null && said !== 'tar') throw broken('it is neither a tar nor a tar.gz nor a zip');
  if (found !== null && said !== null && found !== said) throw new Rejected('archive.type', `This is a ${found}, not a ${said}`, `leave --archive-type away, or say --archive-type ${found}`);
  return found ?? said!;
}

const OTHER: Readonly<Record<string, string>> = { link: 'a hard link', 'character-device': 'a device', 'block-device': 'a device', fifo: 'a named pipe' };

function tarHead({ name, type, mode, size, linkname, pax }: Header): MemberHead {
  const records = pax as Record<string, string> | null | undefined;
  // a pax record is UTF-8, the header's own field is bytes
  const bytesOf = (text: string, record: string): string => (records?.[record] === undefined ? text : Buffer.from(text, 'utf8').toString('latin1'));
  if (name.includes('\ufffd')) throw new Rejected('archive.member', `The archive holds a name that is not UTF-8 though it says so, ${JSON.stringify(name).slice(0, 100)}`, 'write it with tar --format=gnu');
  const kind = type === 'file' || type === 'contiguous-file' ? 'file' : type === 'directory' || type === 'symlink' ? type : { other: OTHER[String(type)] ?? 'something of an unknown kind' };
  return { name: bytesOf(name, 'path'), kind, executable: ((mode ?? 0) & 0o111) !== 0, bytes: size ?? 0, link: linkname ? bytesOf(linkname, 'linkpath') : null };
}

/** Every member in order; the next one comes when the content of the one before was read or is not wanted. */
async function* tarMembers(file: string, type: ArchiveType, limits: ArchiveLimits, signal: AbortSignal): AsyncGenerator<Member> {
  const parser = extract({ filenameEncoding: 'latin1' } as object);
  // headers count, too: a million empty members are a bomb as well
  let left = limits.bytes + limits.files * 4096 + 1024 * 1024;
  const counted = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of source) {
      left -= piece.length;
      if (left < 0) throw new Rejected('archive.member', `The archive holds more than ${Math.floor(limits.bytes / 1024 / 1024)} MiB once it is unpacked`, 'leave large files out, or raise it: berth git:set <app> archive-max-size <size>');
      yield piece;
    }
  };
  const input = createReadStream(file, { highWaterMark: 1 << 18 });
  const sink = parser as unknown as NodeJS.WritableStream;
  const reading: Promise<void> = type === 'tar.gz' ? pipeline(input, createGunzip(), counted, sink, { signal }) : pipeline(input, counted, sink, { signal });
  reading.catch((error: unknown) => { parser.destroy(error as Error); });
  try {
    for await (const entry of parser as unknown as AsyncIterable<Readable & { header: Header }>) {
      const head = tarHead(entry.header);
      let taken = false;
      yield { ...head, content: () => { taken = true; return Promise.resolve(entry); } };
      if (!taken) entry.resume();
    }
    await reading;
  } finally {
    input.destroy();
    parser.destroy();
  }
}

const S_IFMT = 0o170000;
const ZIP_KINDS: Readonly<Record<number, string>> = { 0o020000: 'a device', 0o060000: 'a device', 0o010000: 'a named pipe', 0o140000: 'a socket' };

function zipHead(entry: yauzl.Entry): MemberHead {
  const raw = (entry.fileName as unknown as Buffer).toString('latin1');
  const [madeBy, mode] = [entry.versionMadeBy >> 8, entry.externalFileAttributes >>> 16];
  const name = madeBy === 3 || madeBy === 19 ? raw : raw.replaceAll('\\', '/'); // others than Unix and macOS
  if ((entry.generalPurposeBitFlag & 1) !== 0) throw new Rejected('archive.member', `The archive holds an encrypted file, ${shownName(name)}`, 'make it anew without a password');
  const format = mode & S_IFMT;
  const other = ZIP_KINDS[format];
  const kind = other !== undefined ? { other } : format === 0o120000 ? 'symlink' : name.endsWith('/') ? 'directory' : 'file';
  return { name, kind, executable: (mode & 0o111) !== 0, bytes: entry.uncompressedSize, link: null };
}

async function* zipMembers(file: string, limits: ArchiveLimits): AsyncGenerator<Member> {
  const zip = await new Promise<yauzl.ZipFile>((resolve, reject) => {
    yauzl.open(file, { lazyEntries: true, autoClose: false, decodeStrings: false, validateEntrySizes: true }, (error, opened) => { if (error) reject(broken(error.message)); else resolve(opened); });
  });
  try {
    if (zip.entryCount > limits.files) throw new Rejected('archive.member', `The archive has more than ${limits.files} members`, 'leave dependencies out (node_modules and the like), or raise it: berth git:set <app> archive-max-files <n>');
    for (;;) {
      const entry = await new Promise<yauzl.Entry | null>((resolve, reject) => {
        const done = (then: () => void): void => { zip.removeAllListeners('entry').removeAllListeners('end').removeAllListeners('error'); then(); };
        zip.once('entry', (found: yauzl.Entry) => done(() => resolve(found)));
        zip.once('end', () => done(() => resolve(null)));
        zip.once('error', (error: Error) => done(() => reject(broken(error.message))));
        zip.readEntry();
      });
      if (entry === null) return;
      const content = (): Promise<Readable> => new Promise((resolve, reject) => {
        zip.openReadStream(entry, (error, stream) => { if (error) reject(broken(`${shownName((entry.fileName as unknown as Buffer).toString('latin1'))}: ${error.message}`)); else resolve(stream); });
      });
      const head = zipHead(entry);
      if (head.kind !== 'symlink') yield { ...head, content };
      else {
        if (head.bytes > 4096) throw broken(`${shownName(head.name)} is a symbolic link of ${head.bytes} bytes`);
        const pieces: Buffer[] = [];
        for await (const piece of (await content()) as AsyncIterable<Buffer>) pieces.push(piece);
        const target = Buffer.concat(pieces);
        yield { ...head, link: target.toString('latin1'), content: () => Promise.resolve(Readable.from([target])) };
      }
    }
  } finally {
    zip.close();
  }
}

const membersOf = (file: string, type: ArchiveType, limits: ArchiveLimits, signal: AbortSignal): AsyncGenerator<Member> => (type === 'zip' ? zipMembers(file, limits) : tarMembers(file, type, limits, signal));

/** What a library says of a damaged archive, as ours. */
async function sound<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, name, message } = error as NodeJS.ErrnoException;
    if (error instanceof Rejected || name === 'AbortError' || (code !== undefined && /^E[A-Z]+$/.test(code))) throw error;
    throw broken(message);
  }
}

/**
 * Reads an archive to its end and keeps nothing: whether every member is harmless and all of it within the limits.
 * @throws Rejected `archive.*`
 */
export function inspectArchive(file: string, said: ArchiveType | null, limits: ArchiveLimits, signal: AbortSignal): Promise<Inspected> {
  return sound(async () => {
    const type = await archiveType(file, said);
    const ledger = new MemberLedger(limits);
    for await (const member of membersOf(file, type, limits, signal)) {
      signal.throwIfAborted();
      ledger.add(member);
      if (member.kind !== 'file') continue;
      let read = 0;
      for await (const piece of (await member.content()) as AsyncIterable<Buffer>) {
        read += piece.length;
        if (read > member.bytes) ledger.weigh(piece.length);
      }
      if (read !== member.bytes) throw broken(`${shownName(member.name)} has ${read} bytes and not ${member.bytes}`);
    }
    return { type, root: ledger.root(), files: ledger.files, bytes: ledger.bytes, left: ledger.left };
  });
}

/** The files of an archive that was inspected, below its root. */
export async function* archiveFiles(file: string, { type, root }: Inspected, limits: ArchiveLimits, signal: AbortSignal): AsyncGenerator<ArchiveFile> {
  const ledger = new MemberLedger(limits);
  for await (const member of membersOf(file, type, limits, signal)) {
    const path = ledger.add(member);
    if (path === null || member.kind === 'directory' || !path.startsWith(root)) continue;
    if (member.kind === 'symlink') {
      const target = Buffer.from(member.link!, 'latin1');
      yield { path: path.slice(root.length), mode: '120000', bytes: target.length, content: Readable.from([target]) };
    } else yield { path: path.slice(root.length), mode: member.executable ? '100755' : '100644', bytes: member.bytes, content: await member.content() };
  }
}
