import type { DatabaseSync } from 'node:sqlite';

/** As the index has it. */
export const ACTOR = "(meta ->> '$.actor')";
/** The actor of a filter, named three times more. */
export const IS_ACTOR = `(+${ACTOR} = ? OR substr(${ACTOR}, 1, length(?) + 1) IN (? || ':', ? || '@'))`;

/** Forward only; a step that was released is never changed. Number n of the list brings the file to schema version n + 1. */
const STEPS: readonly string[] = [
  `CREATE TABLE events (
     position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
     schema INTEGER NOT NULL, data TEXT NOT NULL, meta TEXT NOT NULL, correlation TEXT NOT NULL, at INTEGER NOT NULL, hash TEXT NOT NULL,
     UNIQUE (stream, version)
   ) STRICT;
   CREATE INDEX events_type ON events (type, position);
   CREATE INDEX events_correlation ON events (correlation, position);

   CREATE TABLE work (
     seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL, grp TEXT NOT NULL, payload TEXT NOT NULL,
     state INTEGER NOT NULL, dispatch INTEGER NOT NULL, attempt INTEGER NOT NULL, owner TEXT, lease_until INTEGER NOT NULL,
     dispatched_at INTEGER NOT NULL, not_before INTEGER NOT NULL, added_at INTEGER NOT NULL
   ) STRICT;
   -- partial: done rows stay for the trace and are in none of these
   CREATE INDEX work_todo ON work (seq) WHERE state = 0;
   CREATE INDEX work_due ON work (not_before) WHERE state = 0;
   CREATE INDEX work_dispatched ON work (dispatched_at) WHERE state = 1;
   CREATE INDEX work_open ON work (grp, seq) WHERE state < 2;

   CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
   -- rows are added at the end and destroyed in place: SQLite then never copies a key to another page
   CREATE TABLE keys (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL, gone INTEGER NOT NULL) STRICT;
   CREATE TABLE snapshots (name TEXT NOT NULL, version TEXT NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL, PRIMARY KEY (name, version)) STRICT;`,
  `CREATE INDEX events_actor ON events ((meta ->> '$.actor'), position);`,
];

/**
 * Brings the file to the newest schema; the caller retries on SQLITE_BUSY (another process may be doing it).
 * @throws Error when the file was written by a newer Berth
 */
export function migrate(db: DatabaseSync): void {
  db.exec('BEGIN EXCLUSIVE');
  try {
    db.exec('CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT');
    const { version } = db.prepare('SELECT coalesce(max(version), 0) AS version FROM schema_version').get() as { version: number };
    if (version > STEPS.length) throw new Error(`its schema ${version} is newer than this Berth's ${STEPS.length}: install the newer Berth again`);
    for (let next = version; next < STEPS.length; next++) {
      db.exec(STEPS[next] ?? '');
      db.prepare('INSERT INTO schema_version (version, at) VALUES (?, ?)').run(next + 1, Date.now());
    }
    db.exec('COMMIT');
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
