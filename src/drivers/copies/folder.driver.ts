import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { StepFailure } from '../../events/step.js';
import { type Copy, CopyStore, isKey } from './copy-store.port.js';

/** what a process that died has begun, older than this, is taken away, ms */
const STALE = 24 * 3600_000;
const PART = /\.part-[0-9a-f-]{36}$/;

/** Copies in a folder of this machine, readable by root only. */
export class FolderCopies extends CopyStore {
  constructor(readonly place: string) {
    super();
  }

  private file(key: string): string {
    if (!isKey(key)) throw new Error(`${JSON.stringify(key)} is no key of a copy`);
    return join(this.place, key);
  }

  async put(key: string, content: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number> {
    const file = this.file(key);
    const part = `${file}.part-${randomUUID()}`;
    let bytes = 0;
    try {
      await makeFolder(dirname(file));
      // of an attempt that died: nobody else writes this key
      for (const name of await readdir(dirname(file))) if (PART.test(name)) await this.tidy(join(dirname(file), name), name.startsWith(`${basename(file)}.part-`));
      const handle = await open(part, 'wx', 0o600);
      try {
        for await (const piece of content) {
          signal.throwIfAborted();
          await handle.writeFile(piece);
          bytes += piece.length;
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
      signal.throwIfAborted();
      await rename(part, file);
      const folder = await open(dirname(file), 'r');
      await folder.sync().finally(() => folder.close());
      return bytes;
    } catch (error) {
      await rm(part, { force: true }).catch(() => undefined); // the error that brought us here says more
      throw this.told(error);
    }
  }

  async *get(key: string, signal: AbortSignal): AsyncGenerator<Buffer> {
    try {
      yield* createReadStream(this.file(key), { signal, highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new StepFailure('copies.gone', `There is no ${key} in ${this.place} any more`, 'choose another one', 'user', { cause: error });
      throw this.told(error);
    }
  }

  async list(prefix: string): Promise<readonly Copy[]> {
    const found: Copy[] = [];
    let names: string[];
    try {
      names = await readdir(this.place, { recursive: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw this.told(error);
    }
    for (const name of names) {
      const file = join(this.place, name);
      const info = await stat(file).catch(() => null); // gone since
      if (!info?.isFile()) continue;
      if (PART.test(name)) {
        await this.tidy(file, false);
        continue;
      }
      const key = relative(this.place, file).split(sep).join('/');
      if (key.startsWith(prefix) && isKey(key)) found.push({ key, bytes: info.size, at: info.mtimeMs });
    }
    return found.toSorted((a, b) => (a.key < b.key ? -1 : 1));
  }

  async remove(key: string): Promise<void> {
    await rm(this.file(key), { force: true }).catch((error: unknown) => { throw this.told(error); });
  }

  /** Takes a half file away. @param ours whatever its age */
  private async tidy(part: string, ours: boolean): Promise<void> {
    const info = await stat(part).catch(() => null); // gone since
    if (info?.isFile() && (ours || Date.now() - info.mtimeMs > STALE)) await rm(part, { force: true });
  }

  private told(error: unknown): unknown {
    const { code } = error as NodeJS.ErrnoException;
    const options = { cause: error };
    if (code === 'ENOSPC' || code === 'EDQUOT') return new StepFailure('copies.full', `The disk of ${this.place} is full`, 'make room there, or keep fewer copies', 'machine', options);
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return new StepFailure('copies.denied', `${this.place} cannot be written (${code})`, 'choose a folder that root can write', 'user', options);
    if (code === 'ENOENT') return new StepFailure('copies.place', `${this.place} cannot be made there`, 'choose another folder', 'user', options);
    if (code === 'ENOTDIR' || code === 'EEXIST' || code === 'ENAMETOOLONG' || code === 'ELOOP') return new StepFailure('copies.place', `${this.place} is no folder (${code})`, 'choose a folder', 'user', options);
    return error;
  }
}

/** Makes a folder and those above it. Node's own way never ends where the system refuses a folder with ENOENT, as below /proc. */
async function makeFolder(path: string): Promise<void> {
  const above: string[] = [];
  for (let at = path; (await stat(at).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; return null; })) === null; at = dirname(at)) above.unshift(at);
  for (const folder of above) await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'EEXIST') throw error; });
}
