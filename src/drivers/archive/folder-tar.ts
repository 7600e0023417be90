import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { END, padding, tarHead } from './raw-tar.js';

export interface PackFolder {
  /** names, anywhere in the tree, that stay out */
  readonly leave?: (name: string) => boolean;
  /** path → text, behind the folder's own */
  readonly extra?: Readonly<Record<string, string>>;
}

/** Files and links below a folder as a tar stream, in order of their names, which may be of any bytes; it fails when one cannot be read. */
export function packFolder(folder: string, { leave = () => false, extra = {} }: PackFolder = {}): Readable {
  const visit = async function* (at: string): AsyncGenerator<Buffer> {
    const place = (name: string): Buffer => Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, 'latin1')]);
    for (const item of (await readdir(place(at), { encoding: 'latin1' })).toSorted()) {
      if (leave(item)) continue;
      const name = at === '' ? item : `${at}/${item}`;
      const stat = await lstat(place(name));
      const head = { name, mode: stat.mode & 0o111 && stat.isFile() ? 0o755 : 0o644, mtime: 0, linkname: null };
      if (stat.isDirectory()) yield* visit(name);
      else if (stat.isSymbolicLink()) yield tarHead({ ...head, type: 'symlink', size: 0, linkname: await readlink(place(name), 'latin1') });
      else if (stat.isFile()) yield* file({ ...head, type: 'file', size: stat.size }, createReadStream(place(name)));
    }
  };
  return Readable.from((async function* () {
    // the engine takes a context that begins with a long name's header for a Dockerfile
    yield tarHead({ name: './', type: 'directory', mode: 0o755, size: 0, mtime: 0, linkname: null });
    yield* visit('');
    for (const [name, text] of Object.entries(extra)) yield* file({ name: Buffer.from(name).toString('latin1'), type: 'file', mode: 0o644, mtime: 0, linkname: null, size: Buffer.byteLength(text) }, [Buffer.from(text)]);
    yield Buffer.alloc(END);
  })(), { objectMode: false });
}

async function* file(head: Parameters<typeof tarHead>[0], content: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<Buffer> {
  yield tarHead(head);
  let bytes = 0;
  for await (const piece of content) { bytes += piece.length; yield piece; }
  if (bytes !== head.size) throw new Error(`${JSON.stringify(head.name)} changed while it was read`);
  yield padding(bytes);
}
