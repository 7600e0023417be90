import { closeSync, openSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SqliteStore } from './sqlite.driver.js';
import { isBusy, translate } from './sqlite.errors.js';
import { migrate } from './sqlite.schema.js';
import { pause } from './sqlite.writer.js';
import { StoreUnavailable, type EventStore } from './store.port.js';

/** Opening waits longer than writing: another process may be migrating or recovering the file. */
const OPEN_PATIENCE_MS = 15_000;

/**
 * Opens the event store and brings its schema up to date; any number of processes may do so at once.
 *
 * @param url `sqlite:<file>` (made with mode 0600; its folder must exist) or `postgres://user@host/db` (`?host=/run/postgresql` for a unix socket)
 * @throws Error for an unusable URL, a missing folder, a file that is no database, a schema that is newer than this program
 * @throws StoreUnavailable when the disk is full, the file stays locked, or the server does not answer
 */
export async function openStore(url: string): Promise<EventStore> {
  if (url.startsWith('sqlite:')) return openSqlite(url.slice('sqlite:'.length));
  if (/^postgres(ql)?:\/\//.test(url)) {
    const { openPostgres } = await import('./postgres.driver.js');
    return openPostgres(url);
  }
  // the URL itself may hold a password
  throw new Error('the event store needs a URL like sqlite:/var/lib/berth/berth.db or postgres://berth@db.internal/berth');
}

async function openSqlite(path: string): Promise<EventStore> {
  if (path === '' || path.startsWith(':')) throw new Error(`sqlite:${path}: the event store needs a file, as several processes share it`);
  const file = resolve(path);
  const fail = (why: string, cause?: unknown) => new Error(`cannot open the event store ${file}: ${why}`, { cause });
  if (!statSync(dirname(file), { throwIfNoEntry: false })?.isDirectory()) throw fail(`there is no folder ${dirname(file)}`);

  let db: DatabaseSync | null = null;
  try {
    closeSync(openSync(file, 'a', 0o600)); // SQLite gives -wal and -shm the file's own mode
    db = new DatabaseSync(file, { timeout: 0 });
    await prepare(db);
    return new SqliteStore(db, file);
  } catch (error) {
    db?.close();
    const reason = translate(error, file);
    if (reason instanceof StoreUnavailable) throw reason;
    throw fail(error instanceof Error ? error.message : String(error), error);
  }
}

async function prepare(db: DatabaseSync): Promise<void> {
  const late = performance.now() + OPEN_PATIENCE_MS;
  for (;;) {
    try {
      db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 67108864');
      migrate(db);
      return;
    } catch (error) {
      if (!isBusy(error) || performance.now() > late) throw error;
      await pause();
    }
  }
}
