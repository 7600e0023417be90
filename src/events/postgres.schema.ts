import type { ClientBase } from 'pg';

/** Every appending transaction holds this lock until it is visible: so positions become visible in order. One for each schema of a database. */
export const LOCK = `SELECT pg_advisory_xact_lock(1113944660, hashtext(current_schema()))`;
const MIGRATION_LOCK = `SELECT pg_advisory_xact_lock(1113944661, hashtext(current_schema()))`;

/** As the index has it. */
export const ACTOR = `((meta::json ->> 'actor') COLLATE "C")`;

/** Forward only; a step that was released is never changed. JSON is kept as text: the hash chain covers it letter by letter. */
const STEPS: readonly string[] = [
  `CREATE TABLE events (
     position bigint PRIMARY KEY, stream text NOT NULL, version integer NOT NULL, id text NOT NULL, type text NOT NULL,
     schema integer NOT NULL, data text NOT NULL, meta text NOT NULL, correlation text NOT NULL, at bigint NOT NULL, hash text NOT NULL,
     UNIQUE (stream, version)
   );
   CREATE INDEX events_type ON events (type, position);
   CREATE INDEX events_correlation ON events (correlation, position);

   CREATE TABLE work (
     seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, queue text NOT NULL, grp text NOT NULL, payload text NOT NULL,
     state integer NOT NULL, dispatch integer NOT NULL, attempt integer NOT NULL, owner text, lease_until bigint NOT NULL,
     dispatched_at bigint NOT NULL, not_before bigint NOT NULL, added_at bigint NOT NULL
   );
   CREATE INDEX work_todo ON work (seq) WHERE state = 0;
   CREATE INDEX work_due ON work (not_before) WHERE state = 0;
   CREATE INDEX work_dispatched ON work (dispatched_at) WHERE state = 1;
   CREATE INDEX work_open ON work (grp, seq) WHERE state < 2;

   CREATE TABLE leases (name text PRIMARY KEY, owner text NOT NULL, until bigint NOT NULL);
   CREATE TABLE keys (id text PRIMARY KEY, wrapped bytea NOT NULL);
   CREATE TABLE snapshots (name text NOT NULL, version text NOT NULL, position bigint NOT NULL, state text NOT NULL, PRIMARY KEY (name, version));`,
  `CREATE INDEX events_actor ON events (((meta::json ->> 'actor') COLLATE "C"), position);`,
];

/**
 * Brings the schema up to date under an exclusive lock.
 * @throws Error when it was written by a newer Berth
 */
export async function migrate(client: ClientBase): Promise<void> {
  await client.query(`BEGIN; SET LOCAL lock_timeout = '15s'; ${MIGRATION_LOCK}`);
  try {
    await client.query('CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, at bigint NOT NULL)');
    const { rows } = await client.query<{ version: number }>('SELECT coalesce(max(version), 0)::int AS version FROM schema_version');
    const version = rows[0]?.version ?? 0;
    if (version > STEPS.length) throw new Error(`the event store's schema ${version} is newer than this Berth's ${STEPS.length}: install the newer Berth again`);
    for (let next = version; next < STEPS.length; next++) {
      await client.query(STEPS[next] ?? '');
      await client.query('INSERT INTO schema_version (version, at) VALUES ($1, $2)', [next + 1, Date.now()]);
    }
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
