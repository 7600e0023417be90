import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { posix } from 'node:path';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import dockerignore from '@balena/dockerignore';
import tar from 'tar-stream';
import { END, rawEntries, tarHead } from '../archive/raw-tar.js';

// CommonJS with types that promise a default export
const matcher = dockerignore as unknown as typeof dockerignore.default;

/** What rules, plans and people call a name whose bytes are known. */
const utf8 = (name: string): string => Buffer.from(name, 'latin1').toString('utf8');

/** texts larger than this are not read into memory */
const LARGEST_TEXT = 1 << 20;

export interface SourceScan {
  /** sha-256 of what is in the archive, hex: names, modes and contents. Two commits of the same files have the same */
  readonly digest: string;
  readonly bytes: number;
  /** the texts that were asked for and found */
  readonly texts: ReadonlyMap<string, string>;
}

export function contextPath(name: string): string {
  return posix.normalize(name).replace(/^(\.?\/)+/, '').replace(/\/$/, '');
}

/** Reads a tar file once: the digest of what is in it, and the texts of a few of its files. Does not hold it in memory. */
export async function scanSource(file: string, wanted: readonly string[], signal?: AbortSignal): Promise<SourceScan> {
  const texts = new Map<string, string>();
  const names = new Set(wanted.map(contextPath));
  const hash = createHash('sha256');
  const input = createReadStream(file, { highWaterMark: 1 << 20, ...(signal && { signal }) });
  for await (const entry of rawEntries(input)) {
    const name = contextPath(utf8(entry.name));
    hash.update(`${JSON.stringify([entry.name, entry.type, entry.mode, entry.size, entry.linkname])}\n`);
    const kept: Buffer[] | null = entry.type === 'file' && names.has(name) && entry.size <= LARGEST_TEXT ? [] : null;
    for await (const piece of entry.body(false)) {
      hash.update(piece);
      kept?.push(piece);
    }
    if (kept !== null) texts.set(name, Buffer.concat(kept).toString('utf8'));
  }
  return { digest: hash.digest('hex'), bytes: (await stat(file)).size, texts };
}

export interface PackOptions {
  /** text of `.dockerignore`, or null */
  readonly ignore: string | null;
  /** what else stays out: `.slugignore`'s answer to a path */
  readonly leave?: ((path: string) => boolean) | null;
  /** path → text: put in the place of the file of that name, or added in front; never ignored */
  readonly put: ReadonlyMap<string, string>;
  /** folder of the source that is the context; all of it when it is not said */
  readonly root?: string;
}

/**
 * The build's context as a tar stream: the source without what `.dockerignore` names (the engine applies it for the legacy builder only), with
 * our files in it. Names and links are handed on byte by byte, whatever they are; no link is followed. The stream fails when the source cannot be read.
 */
export function packContext(file: string, options: PackOptions): Readable {
  const rules = options.ignore === null ? null : matcher({ ignorecase: false }).add(options.ignore);
  const put = new Map([...options.put].map(([name, text]) => [contextPath(name), text]));
  const root = options.root === undefined ? '' : `${contextPath(options.root)}/`;
  return Readable.from((async function* () {
    const ours = tar.pack();
    for (const [name, text] of put) ours.entry({ name, mode: 0o644, mtime: new Date(0) }, text);
    ours.finalize();
    const front = await buffer(ours);
    yield front.subarray(0, front.length - END);
    for await (const entry of rawEntries(createReadStream(file, { highWaterMark: 1 << 18 }))) {
      const whole = contextPath(utf8(entry.name));
      const name = whole.startsWith(root) ? whole.slice(root.length) : '';
      if (name === '' || put.has(name) || (rules?.ignores(name) ?? false) || (options.leave?.(name) ?? false)) continue;
      yield root === '' ? entry.head : tarHead({ ...entry, name: contextPath(entry.name).slice(Buffer.from(root).length) });
      yield* entry.body(true);
    }
    yield Buffer.alloc(END);
  })(), { objectMode: false });
}
