import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Puts a file or folder in its place, instead of what is there. */
export async function moveTo(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rm(to, { recursive: true, force: true });
  await rename(from, to);
}

/** Names in a folder; none where there is no folder. */
export const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
