import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, lchown, lstat, mkdir, readdir, readlink, symlink } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Rejected } from '../../events/decider.js';
import type { ArchiveFile } from '../archive/archive.js';
import type { ArchiveLimits } from '../archive/members.js';

/** what a plugin may hold, its node_modules included */
export const PLUGIN_LIMITS: ArchiveLimits = { bytes: 256 * 1024 ** 2, files: 30_000 };

export async function saveStream(file: string, pieces: AsyncIterable<Buffer>, limit: number): Promise<void> {
  let size = 0;
  await pipeline(pieces, async function* (source: AsyncIterable<Buffer>) {
    for await (const piece of source) {
      size += piece.length;
      if (size > limit) throw new Rejected('plugin.size', `The archive is larger than ${limit / 1024 ** 2} MiB`, 'a plugin is small: leave large files out');
      yield piece;
    }
  }, createWriteStream(file, { mode: 0o600 }));
}

/** Writes the files of an archive that was inspected. */
export async function unpackFiles(into: string, files: AsyncIterable<ArchiveFile>): Promise<void> {
  for await (const { path, mode, content } of files) {
    const file = join(into, Buffer.from(path, 'latin1').toString('utf8'));
    await mkdir(dirname(file), { recursive: true });
    if (mode === '120000') {
      const pieces: Buffer[] = [];
      for await (const piece of content) pieces.push(piece);
      await symlink(Buffer.concat(pieces).toString('utf8'), file);
    } else await pipeline(content, createWriteStream(file, { mode: mode === '100755' ? 0o755 : 0o644, flags: 'wx' }));
  }
}

/**
 * Makes files that came from somewhere root's and readable for everybody, and answers their sha-256 (paths, modes, contents).
 * @throws Rejected for a link that leads out, a device, or too much
 */
export async function settleFiles(folder: string): Promise<string> {
  const hash = createHash('sha256');
  let [files, size] = [0, 0];
  const own = process.getuid?.() === 0;
  const refuse = (path: string, what: string): Rejected => new Rejected('plugin.files', `It holds ${JSON.stringify(relative(folder, path)).slice(0, 120)}, ${what}`, 'leave it out');
  const walk = async (at: string): Promise<void> => {
    if (own) await lchown(at, 0, 0);
    await chmod(at, 0o755);
    for (const entry of (await readdir(at, { withFileTypes: true })).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(at, entry.name);
      const name = relative(folder, path);
      files += 1;
      if (files > PLUGIN_LIMITS.files) throw new Rejected('plugin.size', `It has more than ${PLUGIN_LIMITS.files} files`, 'a plugin is small: leave out what it does not need');
      if (entry.isDirectory()) await walk(path);
      else if (entry.isSymbolicLink()) {
        const target = await readlink(path);
        const leads = resolve(at, target);
        if (target.startsWith('/') || (leads !== folder && !leads.startsWith(`${folder}/`))) throw refuse(path, 'a link that leads out of its folder');
        if (own) await lchown(path, 0, 0);
        hash.update(`l\0${name}\0${target}\0`);
      } else if (entry.isFile()) {
        const { mode, size: bytes, nlink } = await lstat(path);
        if (nlink > 1) throw refuse(path, 'a file with two names');
        size += bytes;
        if (size > PLUGIN_LIMITS.bytes) throw new Rejected('plugin.size', `It is larger than ${PLUGIN_LIMITS.bytes / 1024 ** 2} MiB`, 'a plugin is small: leave large files out');
        if (own) await lchown(path, 0, 0);
        await chmod(path, (mode & 0o100) !== 0 ? 0o755 : 0o644);
        hash.update(`f\0${name}\0${mode & 0o100 ? 'x' : '-'}\0${bytes}\0`);
        for await (const piece of createReadStream(path) as AsyncIterable<Buffer>) hash.update(piece);
      } else throw refuse(path, 'which is no file, folder or link');
    }
  };
  await walk(folder);
  return hash.digest('hex');
}
