import { statfs } from 'node:fs/promises';

/** What is left on the disk of a folder. */
export interface Space {
  readonly path: string;
  /** bytes that anybody may still use, and all there are */
  readonly free: number;
  readonly total: number;
  /** files that can still be made, and all that could be; absent where the file system does not count them */
  readonly files?: { readonly free: number; readonly total: number };
}

export async function spaceOf(path: string): Promise<Space> {
  const disk = await statfs(path);
  return { path, free: disk.bavail * disk.bsize, total: disk.blocks * disk.bsize, ...(disk.files > 0 && { files: { free: disk.ffree, total: disk.files } }) };
}
