import { randomBytes } from 'node:crypto';
import { open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Puts a file in place whole and for good: written beside it, synced, renamed, the folder synced. Same content: nothing is done.
 * @param check runs on the file beside; when it throws, the one in place stays
 * @param mode permission bits
 */
export async function putFile(path: string, text: string, mode: number, check?: (path: string) => Promise<void>): Promise<void> {
  if (await readFile(path, 'utf8').catch(() => null) === text) return;
  const beside = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(beside, 'wx', mode);
    try { await file.writeFile(text); await file.sync(); } finally { await file.close(); }
    await check?.(beside);
    await rename(beside, path);
  } catch (error) {
    await unlink(beside).catch(() => undefined);
    throw error;
  }
  const folder = await open(dirname(path), 'r');
  try { await folder.sync(); } finally { await folder.close(); }
}
