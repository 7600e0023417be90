import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';

export interface PackFolder {
  /** names, anywhere in the tree, that stay out */
  readonly leave?: (name: string) => boolean;
  /** path → text, behind the folder's own */
  readonly extra?: Readonly<Record<string, string>>;
}

/** Files and links below a folder as a tar stream, in order of their names; it fails when one cannot be read. */
export function packFolder(folder: string, { leave = () => false, extra = {} }: PackFolder = {}): Readable {
  const made = pack();
  const visit = async (at: string): Promise<void> => {
    for (const item of (await readdir(join(folder, at))).toSorted()) {
      if (leave(item)) continue;
      const name = join(at, item);
      const file = join(folder, name);
      const stat = await lstat(file);
      const header = { name, mode: stat.mode & 0o111 ? 0o755 : 0o644, mtime: new Date(0) };
      if (stat.isDirectory()) await visit(name);
      else if (stat.isSymbolicLink()) made.entry({ ...header, type: 'symlink', linkname: await readlink(file) });
      else if (stat.isFile()) await pipeline(createReadStream(file), made.entry({ ...header, size: stat.size }));
    }
  };
  void (async () => {
    await visit('');
    for (const [name, text] of Object.entries(extra)) made.entry({ name, mtime: new Date(0) }, text);
    made.finalize();
  })().catch((error: unknown) => made.destroy(error instanceof Error ? error : new Error(String(error))));
  return made as unknown as Readable;
}
