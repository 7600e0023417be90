import { constants } from 'node:fs';
import { lstat, open, readdir, readlink, type FileHandle } from 'node:fs/promises';
import { stepsUp } from './members.js';
import { END, padding, tarHead } from './raw-tar.js';

const PIECE = 1 << 18;

/**
 * Files and links below a folder that somebody else may be writing into, as a tar stream below `root/`. Nothing is followed out of it, whatever
 * is put in a name's place meanwhile: each folder is opened first, and looked into through what was opened. A file is as long as it was when its turn
 * came. @param leave names at the top that stay out @param left told of what is no file, folder or link that stays inside
 */
export async function* packLive(folder: string, root: string, leave: readonly string[], left: (name: string) => void): AsyncGenerator<Buffer> {
  async function* visit(path: string, at: readonly string[]): AsyncGenerator<Buffer> {
    const opened = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW).catch(gone);
    if (opened === null) return;
    try {
      const inside = `/proc/self/fd/${opened.fd}`;
      for (const item of (await readdir(inside)).toSorted()) {
        if (at.length === 0 && leave.includes(item)) continue;
        yield* one(`${inside}/${item}`, [...at, item]);
      }
    } finally {
      await opened.close();
    }
  }
  async function* one(path: string, at: readonly string[]): AsyncGenerator<Buffer> {
    const stat = await lstat(path).catch(gone);
    if (stat === null) return;
    const shown = at.join('/');
    const head = { name: Buffer.from(`${root}/${shown}`).toString('latin1'), mode: stat.mode & 0o100 ? 0o755 : 0o644, mtime: Math.floor(stat.mtimeMs / 1000), linkname: null };
    if (stat.isDirectory()) yield* visit(path, at);
    else if (stat.isSymbolicLink()) {
      const target = await readlink(path).catch(gone);
      if (target === null) return;
      if (staysInside(target, at.length - 1)) yield tarHead({ ...head, type: 'symlink', size: 0, linkname: Buffer.from(target).toString('latin1') });
      else left(shown);
    } else if (stat.isFile()) {
      const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(gone);
      if (file === null) return;
      try {
        const now = await file.stat();
        if (now.isFile()) yield* content(file, { ...head, type: 'file', size: now.size });
      } finally {
        await file.close();
      }
    } else left(shown);
  }
  yield* visit(folder, []);
  yield Buffer.alloc(END);
}

/** What is missing at the end, since the file was cut meanwhile, is zeros. */
async function* content(file: FileHandle, head: Parameters<typeof tarHead>[0]): AsyncGenerator<Buffer> {
  yield tarHead(head);
  for (let at = 0; at < head.size;) {
    const most = Math.min(PIECE, head.size - at);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(most), 0, most, at);
    yield bytesRead > 0 ? buffer.subarray(0, bytesRead) : buffer;
    at += bytesRead > 0 ? bytesRead : most;
  }
  yield padding(head.size);
}

/** As archives are judged when they are unpacked. */
const staysInside = (target: string, depth: number): boolean => (stepsUp(target) ?? Infinity) <= depth;

/** It went away meanwhile, or became a link. */
function gone(error: NodeJS.ErrnoException): null {
  if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ENXIO', 'EINVAL'].includes(error.code ?? '')) return null;
  throw error;
}
