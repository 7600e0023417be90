const BLOCK = 512;
/** bytes of the headers that stand in front of one entry's own */
const MOST_EXTRA = 1 << 20;
const TYPES: Readonly<Record<string, string>> = { '\0': 'file', 7: 'contiguous-file', 0: 'file', 1: 'link', 2: 'symlink', 5: 'directory' };

/**
 * One entry as it stands in a tar. Libraries read names as text and lose the bytes of those that are none; here nothing is lost.
 * Texts are bytes, one character each (latin1).
 */
export interface RawEntry {
  readonly name: string;
  /** `file`, `symlink`, `link`, `directory`, or the header's own letter */
  readonly type: string;
  readonly mode: number;
  readonly size: number;
  readonly linkname: string | null;
  /** seconds */
  readonly mtime: number;
  /** the header's blocks, with those of a long name in front */
  readonly head: Buffer;
  /** what follows, in pieces; read to its end before the next entry is asked for. `padded`: to whole blocks, as it stands */
  body(padded: boolean): AsyncGenerator<Buffer>;
}

/** @throws Error the archive is damaged or cut off */
export async function* rawEntries(source: AsyncIterable<Buffer>): AsyncGenerator<RawEntry> {
  const input = new Pieces(source);
  try { yield* readAll(input); } finally { await input.close(); }
}

async function* readAll(input: Pieces): AsyncGenerator<RawEntry> {
  let extra: Buffer[] = [];
  let records = new Map<string, string>();
  for (;;) {
    const header = await input.block();
    if (header === null || header.every((byte) => byte === 0)) return;
    if (checksum(header) !== octal(header, 148, 8)) throw new Error('invalid tar header: the checksum differs');
    const letter = String.fromCharCode(header[156]!);
    const size = records.has('size') ? Number(records.get('size')) : octal(header, 124, 12);
    if ('xgLK'.includes(letter)) {
      if (size > MOST_EXTRA) throw new Error('invalid tar header: a name of more than 1 MiB');
      const content = await input.exactly(padded(size));
      // git's global header has the commit in it: in a context it would make each another one
      if (letter === 'g') continue;
      extra.push(header, content);
      const text = content.subarray(0, size);
      if (letter === 'x') records = new Map([...records, ...paxRecords(text)]);
      else records.set(letter === 'L' ? 'path' : 'linkpath', field(text, 0, text.length));
      continue;
    }
    const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? field(header, 345, 155) : '';
    const short = field(header, 0, 100);
    const name = records.get('path') ?? (prefix === '' ? short : `${prefix}/${short}`);
    let taken = false;
    yield {
      name, size, type: (letter === '0' || letter === '\0') && name.endsWith('/') ? 'directory' : TYPES[letter] ?? letter, mode: octal(header, 100, 8),
      linkname: records.get('linkpath') ?? (field(header, 157, 100) || null), mtime: octal(header, 136, 12), head: Buffer.concat([...extra, header]),
      body: (whole) => { taken = true; return input.take(size, padded(size), whole); },
    };
    // nobody wanted it
    if (!taken) for await (const _ of input.take(size, padded(size), true));
    extra = [];
    records = new Map();
  }
}

/** The header of an entry, whatever bytes its name is of. `mtime`: seconds. */
export function tarHead({ name, type, mode, size, linkname, mtime }: Pick<RawEntry, 'name' | 'type' | 'mode' | 'size' | 'linkname' | 'mtime'>): Buffer {
  const record = (key: string, value: string): string => {
    const text = ` ${key}=${value}\n`;
    let length = text.length + String(text.length).length;
    if (String(length).length > String(text.length).length) length = text.length + String(length).length;
    return `${length}${text}`;
  };
  const letter = Object.entries(TYPES).findLast(([, word]) => word === type)?.[0] ?? type;
  const records = Buffer.from(record('path', name) + (linkname === null ? '' : record('linkpath', linkname)) + (size > 0o77777777777 ? record('size', String(size)) : ''), 'latin1');
  const block = (called: string, kind: string, bytes: number, to: string): Buffer => {
    const header = Buffer.alloc(BLOCK);
    const number = (value: number, at: number, digits: number): void => void header.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
    header.write(called.slice(0, 100), 0, 'latin1');
    number(mode & 0o7777, 100, 7);
    number(0, 108, 7);
    number(0, 116, 7);
    number(Math.min(bytes, 0o77777777777), 124, 11);
    number(mtime, 136, 11);
    header.write(kind, 156, 'latin1');
    header.write(to.slice(0, 100), 157, 'latin1');
    header.write('ustar\x0000', 257, 'latin1');
    number(checksum(header), 148, 6);
    return header;
  };
  const own = block(name, letter, size, linkname ?? '');
  if (size <= 0o77777777777 && [name, linkname ?? ''].every((text) => text.length <= 100 && /^[\x20-\x7e]*$/.test(text))) return own;
  return Buffer.concat([block('PaxHeader', 'x', records.length, ''), records, padding(records.length), own]);
}

/** What fills the last block of so many bytes. */
export const padding = (size: number): Buffer => Buffer.alloc(padded(size) - size);

/** Two empty blocks end a tar. */
export const END = 1024;

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

function field(block: Buffer, from: number, length: number): string {
  const text = block.toString('latin1', from, from + length);
  const end = text.indexOf('\0');
  return end < 0 ? text : text.slice(0, end);
}

function octal(block: Buffer, from: number, length: number): number {
  // larger numbers are binary
  if ((block[from]! & 0x80) !== 0) return Number(BigInt(`0x${block.toString('hex', from, from + length)}`) & ((1n << BigInt(8 * length - 1)) - 1n));
  return Number.parseInt(block.toString('latin1', from, from + length).replace(/^[ \0]+/, ''), 8) || 0;
}

function checksum(block: Buffer): number {
  let sum = 8 * 32;
  for (let at = 0; at < BLOCK; at++) if (at < 148 || at >= 156) sum += block[at]!;
  return sum;
}

function paxRecords(content: Buffer): [string, string][] {
  const records: [string, string][] = [];
  for (let at = 0; at < content.length;) {
    const space = content.indexOf(32, at);
    const length = Number(content.toString('latin1', at, space));
    if (space < 0 || !(length > 0) || at + length > content.length) throw new Error('invalid tar header: a pax record');
    const text = content.toString('latin1', space + 1, at + length - 1);
    const equals = text.indexOf('=');
    records.push([text.slice(0, equals), text.slice(equals + 1)]);
    at += length;
  }
  return records;
}

/** Bytes of a stream, so many at a time. */
class Pieces {
  private readonly source: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) { this.source = source[Symbol.asyncIterator](); }

  async close(): Promise<void> { await this.source.return?.(); }

  private async more(): Promise<boolean> {
    const { done, value } = await this.source.next();
    if (done) return false;
    this.rest = this.rest.length === 0 ? value : Buffer.concat([this.rest, value]);
    return true;
  }

  /** The next header; null at the end of the stream. */
  async block(): Promise<Buffer | null> {
    while (this.rest.length === 0) if (!(await this.more())) return null;
    return this.exactly(BLOCK);
  }

  async exactly(bytes: number): Promise<Buffer> {
    while (this.rest.length < bytes) if (!(await this.more())) throw new Error('unexpected end of the tar');
    const taken = this.rest.subarray(0, bytes);
    this.rest = this.rest.subarray(bytes);
    return taken;
  }

  /** The first `size` of `all` bytes, or all of them. */
  async *take(size: number, all: number, whole: boolean): AsyncGenerator<Buffer> {
    let left = all;
    let wanted = whole ? all : size;
    while (left > 0) {
      while (this.rest.length === 0) if (!(await this.more())) throw new Error('unexpected end of the tar');
      const piece = await this.exactly(Math.min(left, this.rest.length));
      left -= piece.length;
      if (wanted > 0) yield piece.subarray(0, wanted);
      wanted -= Math.min(wanted, piece.length);
    }
  }
}
