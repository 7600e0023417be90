import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { StoreUnavailable } from './store.port.js';

const BUSY = 5, LOCKED = 6, READONLY = 8, IOERR = 10, FULL = 13, CANTOPEN = 14;

/** SQLite's primary result code, or 0 when the error is not SQLite's. */
function code(error: unknown): number {
  const number = error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0;
  return number & 0xff;
}

/** Another connection is at it: trying again soon will do. */
export function isBusy(error: unknown): boolean {
  return code(error) === BUSY || code(error) === LOCKED;
}

/** The error as the port names it; anything that is no matter of the machine is given back as it is. */
export function translate(error: unknown, file: string): unknown {
  switch (code(error)) {
    case BUSY: case LOCKED: return busy(file, error);
    case FULL: return new StoreUnavailable(`no room left for ${file}`, 'disk-full', { cause: error });
    case IOERR: case CANTOPEN: case READONLY:
      // the index of the WAL and its fsync say "I/O error" on a full disk, too
      return noRoom(file)
        ? new StoreUnavailable(`no room left for ${file}`, 'disk-full', { cause: error })
        : new StoreUnavailable(`cannot write ${file}: ${(error as Error).message}`, 'away', { cause: error });
    default: return error;
  }
}

export function busy(file: string, cause?: unknown): StoreUnavailable {
  return new StoreUnavailable(`${file} has been locked by other processes for too long`, 'busy', { cause });
}

function noRoom(file: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dirname(file));
    return bavail * bsize < 256 * 1024;
  } catch {
    return false;
  }
}
