import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Used { readonly bytes: number; readonly files: number }

/** What a folder takes on its disk, links not followed; counted no further than `most`; `leave`: names that are not counted. A folder that is not there takes nothing. */
export async function usedBy(folder: string, most: Used, leave: readonly string[] = []): Promise<Used> {
  let [bytes, files] = [0, 0];
  const visit = async (path: string): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
      if (bytes > most.bytes || files > most.files) return;
      if (leave.includes(entry.name)) continue;
      const at = join(path, entry.name);
      files += 1;
      bytes += ((await lstat(at).catch(() => null))?.blocks ?? 0) * 512; // gone meanwhile
      if (entry.isDirectory()) await visit(at);
    }
  };
  await visit(folder);
  return { bytes, files };
}
