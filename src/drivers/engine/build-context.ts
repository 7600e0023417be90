import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import dockerignore from '@balena/dockerignore';
import tar from 'tar-stream';

// CommonJS with types that promise a default export
const matcher = dockerignore as unknown as typeof dockerignore.default;

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
  const extract = tar.extract();
  const input = createReadStream(file, { highWaterMark: 1 << 20 });
  let bytes = 0;
  input.on('data', (chunk) => { bytes += chunk.length; });
  extract.on('entry', (header, stream, next) => {
    const name = contextPath(header.name);
    stream.on('end', next);
    hash.update(`${JSON.stringify([header.name, header.type, header.mode, header.size, header.linkname])}\n`);
    stream.on('data', (part) => hash.update(part as Buffer));
    if (header.type === 'file' && names.has(name) && (header.size ?? 0) <= LARGEST_TEXT) {
      const parts: Buffer[] = [];
      stream.on('data', (part) => void parts.push(part as Buffer));
      stream.on('end', () => texts.set(name, Buffer.concat(parts).toString('utf8')));
    }
    stream.resume();
  });
  await pipeline(input, extract, signal ? { signal } : {});
  return { digest: hash.digest('hex'), bytes, texts };
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
 * our files in it. The stream fails when the source cannot be read.
 */
export function packContext(file: string, options: PackOptions): Readable {
  const rules = options.ignore === null ? null : matcher({ ignorecase: false }).add(options.ignore);
  const put = new Map([...options.put].map(([name, text]) => [contextPath(name), text]));
  const root = options.root === undefined ? '' : `${contextPath(options.root)}/`;
  const pack = tar.pack();
  const extract = tar.extract();
  extract.on('entry', (header, stream, next) => {
    const whole = contextPath(header.name);
    const name = whole.startsWith(root) ? whole.slice(root.length) : '';
    if (name === '' || put.has(name) || (rules?.ignores(name) ?? false) || (options.leave?.(name) ?? false)) {
      stream.on('end', next);
      stream.resume();
      return;
    }
    // git's global header has the commit in it: repeated for each file it would make every context another one
    const entry = pack.entry({ ...header, name: root === '' ? header.name : name, pax: null } as tar.Header, (error) => next(error));
    stream.on('error', (error: Error) => entry.destroy(error));
    stream.pipe(entry);
  });
  void (async () => {
    for (const [name, text] of put) pack.entry({ name, mode: 0o644, mtime: new Date(0) }, text);
    await pipeline(createReadStream(file, { highWaterMark: 1 << 18 }), extract);
    pack.finalize();
  })().catch((error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))));
  pack.on('close', () => extract.destroy());
  return pack as unknown as Readable;
}
