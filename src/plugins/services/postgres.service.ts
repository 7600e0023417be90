import type { ServiceAccess, ServiceExec, ServiceLogin, ServiceType } from './service-type.js';

const BIN = '/usr/lib/postgresql/17/bin';
/** not `data`: the registry's image would put a volume of its own there */
const VOLUME = '/var/lib/postgresql';
const DATA = `${VOLUME}/cluster`;

/** A literal of SQL; standard_conforming_strings is on. */
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const identifier = (text: string): string => `"${text.replaceAll('"', '""')}"`;

const asAdmin = (argv: readonly string[], stdin?: string): ServiceExec => ({ argv, user: 'postgres', ...(stdin !== undefined && { stdin }) });
const psql = (database: string, ...words: string[]): string[] => ['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', database, ...words];

const createRole = (role: string): string => `SELECT 'CREATE ROLE ${identifier(role)} NOLOGIN SUPERUSER' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${literal(role)})\\gexec\n`;
/** Whoever logs in is the owner from then on: what is made belongs to that one, whose turn it ever is. */
const roles = ({ user, owner, password: secret }: ServiceAccess): string => `${createRole(owner)}${user === owner ? '' : `${createRole(user)}ALTER ROLE ${identifier(user)} SET role = ${literal(owner)};\n`}ALTER ROLE ${identifier(user)} LOGIN PASSWORD ${literal(secret)};\n`;

/** What was set by ALTER ROLE … SET for the one counts for the other, and nothing else does. */
const takeOver = (from: string, to: string): string => `DO $berth$
DECLARE each record;
BEGIN
  FOR each IN SELECT d.datname FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE s.setrole = ${literal(identifier(to))}::regrole LOOP
    EXECUTE format('ALTER ROLE ${identifier(to)} IN DATABASE %I RESET ALL', each.datname);
  END LOOP;
  ALTER ROLE ${identifier(to)} RESET ALL;
  FOR each IN SELECT d.datname, split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value
      FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) AS c WHERE s.setrole = ${literal(identifier(from))}::regrole AND c NOT LIKE 'role=%' LOOP
    PERFORM set_config(each.name, each.value, true);
    EXECUTE format('ALTER ROLE ${identifier(to)} %s SET %I FROM CURRENT', CASE WHEN each.datname IS NULL THEN '' ELSE format('IN DATABASE %I', each.datname) END, each.name);
  END LOOP;
END $berth$;
`;

/** By the network, where a password is wanted: on the loopback the registry's image wants none. */
const login = ({ database }: ServiceAccess, { user, password: secret }: ServiceLogin): ServiceExec => ({ argv: ['sh', '-c', 'exec psql -X -q -h "$(hostname)" -p 5432 -U "$1" -d "$2" -c "SELECT 1"', 'login', user, database], env: { PGPASSWORD: secret, PGCONNECT_TIMEOUT: '10' } });

/**
 * The server trusts the system user postgres on its socket inside the container (peer), and everybody else by password: the administrator
 * has none at all, and no secret stands in the container's environment.
 */
const SCRIPT = `#!/bin/sh
set -eu
umask 077
data=${DATA}
install -d -m 0755 -o postgres -g postgres "\${data%/*}"
install -d -m 2775 -o postgres -g postgres /var/run/postgresql
if [ ! -e "$data" ]; then
  # beside, and renamed when it is whole
  rm -rf "$data.new"
  setpriv --reuid=postgres --regid=postgres --init-groups ${BIN}/initdb -D "$data.new" -U postgres -E UTF8 --locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256 > /dev/null
  echo "listen_addresses = '*'" >> "$data.new/postgresql.conf"
  echo 'host all all all scram-sha-256' >> "$data.new/pg_hba.conf"
  mv "$data.new" "$data"
fi
# the registry's image has another number for this user
[ "$(stat -c %U "$data")" = postgres ] || chown -R postgres:postgres "$data"
exec setpriv --reuid=postgres --regid=postgres --init-groups ${BIN}/postgres -D "$data" "$@"
`;

/** Without waiting for the disk, and without a log of what one transaction loads. */
const TRIAL = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off', 'wal_level=minimal', 'max_wal_senders=0'].flatMap((setting) => ['-c', setting]);

/** Every table is read: an estimate would be another one after a restore. */
const COUNT = `WITH counted AS (
  SELECT (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I', schemaname, tablename), false, true, '')))[1]::text::bigint AS n
  FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
) SELECT 'tables', count(*) FROM counted UNION ALL SELECT 'rows', coalesce(sum(n), 0) FROM counted;
`;

export const postgres: ServiceType = {
  type: 'postgres', aliases: ['postgresql'], title: 'PostgreSQL', version: '17',
  registry: { reference: 'postgres:17', volume: VOLUME, env: ({ password: secret }) => ({ PGDATA: DATA, POSTGRES_PASSWORD: secret }), command: () => null, trial: ['postgres', ...TRIAL] },
  packaged: {
    packages: ['postgresql-17'],
    // the package's own cluster is not wanted
    before: { '/etc/postgresql-common/createcluster.conf': 'create_main_cluster = false' },
    lines: [`ENV PATH=${BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`, 'STOPSIGNAL SIGINT'],
    script: SCRIPT, volume: VOLUME, env: () => ({}), command: () => null, trial: TRIAL,
  },
  port: 5432, ports: [], stopSeconds: 60, variable: 'DATABASE_URL',
  // pg_ is the server's own
  user: (name) => (name.startsWith('pg_') ? `svc_${name}` : name),
  dsn: ({ user, password: secret, host, port, database }) => `postgres://${user}:${encodeURIComponent(secret)}@${host}:${port}/${database}`,
  health: () => ({ argv: ['pg_isready', '-q', '-h', '127.0.0.1', '-p', '5432'] }),
  setup: (access) => [
    asAdmin(psql('postgres'), `${roles(access)}SELECT 'CREATE DATABASE ${identifier(access.database)} OWNER ${identifier(access.owner)}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = ${literal(access.database)})\\gexec\n`),
  ],
  rotation: {
    how: 'beside', second: (name) => `${postgres.user(name)}_2`, login,
    admit: (access) => [asAdmin(psql('postgres'), `${createRole(access.user)}${access.former === null || access.former.user === access.user ? '' : takeOver(access.former.user, access.user)}${roles(access)}`)],
    // what a program made after it had given up its role is the owner's, too
    retire: ({ database, owner }, { user }) => [asAdmin(psql(database), `ALTER ROLE ${identifier(user)} NOLOGIN PASSWORD NULL;\nSELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${literal(user)};\n${user === owner ? '' : `REASSIGN OWNED BY ${identifier(user)} TO ${identifier(owner)};\n`}`)],
  },
  tellVersion: asAdmin(psql('postgres', '-At', '-c', 'SHOW server_version')),
  connect: ({ database }, words) => asAdmin(['psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', database, ...words]),
  dumps: {
    suffix: 'dump',
    out: ({ database }) => asAdmin(['pg_dump', '-Fc', '--no-owner', '--no-acl', '-d', database]),
    in: ({ database, owner }) => asAdmin(['pg_restore', '--clean', '--if-exists', '--no-owner', '--no-acl', `--role=${owner}`, '--single-transaction', '--exit-on-error', '-d', database]),
    count: ({ database }) => asAdmin(psql(database, '-At', '-F', ' '), COUNT),
    refuse: (head) => (head.subarray(0, 5).toString('latin1') === 'PGDMP' ? null : 'it is not what pg_dump -Fc writes'),
  },
};
