import type { ServiceAccess, ServiceExec, ServiceType } from './service-type.js';

const BIN = '/usr/lib/postgresql/17/bin';
/** not `data`: the registry's image would put a volume of its own there */
const VOLUME = '/var/lib/postgresql';
const DATA = `${VOLUME}/cluster`;

/** A literal of SQL; standard_conforming_strings is on. */
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const identifier = (text: string): string => `"${text.replaceAll('"', '""')}"`;

const asAdmin = (argv: readonly string[], stdin?: string): ServiceExec => ({ argv, user: 'postgres', ...(stdin !== undefined && { stdin }) });
const psql = (database: string, ...words: string[]): string[] => ['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', database, ...words];

const password = ({ user, password: secret }: ServiceAccess): string => `ALTER ROLE ${identifier(user)} PASSWORD ${literal(secret)};`;

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

/** Every table is read: an estimate would be another one after a restore. */
const COUNT = `WITH counted AS (
  SELECT (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I', schemaname, tablename), false, true, '')))[1]::text::bigint AS n
  FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
) SELECT 'tables', count(*) FROM counted UNION ALL SELECT 'rows', coalesce(sum(n), 0) FROM counted;
`;

export const postgres: ServiceType = {
  type: 'postgres', aliases: ['postgresql'], title: 'PostgreSQL', version: '17',
  registry: { reference: 'postgres:17', volume: VOLUME, env: ({ password: secret }) => ({ PGDATA: DATA, POSTGRES_PASSWORD: secret }), command: () => null },
  packaged: {
    packages: ['postgresql-17'],
    // the package's own cluster is not wanted
    before: { '/etc/postgresql-common/createcluster.conf': 'create_main_cluster = false' },
    lines: [`ENV PATH=${BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`, 'STOPSIGNAL SIGINT'],
    script: SCRIPT, volume: VOLUME, env: () => ({}), command: () => null,
  },
  port: 5432, ports: [], stopSeconds: 60, variable: 'DATABASE_URL',
  // pg_ is the server's own
  user: (name) => (name.startsWith('pg_') ? `svc_${name}` : name),
  dsn: ({ user, password: secret, host, port, database }) => `postgres://${user}:${encodeURIComponent(secret)}@${host}:${port}/${database}`,
  health: () => ({ argv: ['pg_isready', '-q', '-h', '127.0.0.1', '-p', '5432'] }),
  setup: (access) => [
    asAdmin(psql('postgres'), `SELECT 'CREATE ROLE ${identifier(access.user)} LOGIN SUPERUSER' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${literal(access.user)})\\gexec\n${password(access)}\nSELECT 'CREATE DATABASE ${identifier(access.database)} OWNER ${identifier(access.user)}' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = ${literal(access.database)})\\gexec\n`),
  ],
  rotate: (access) => [asAdmin(psql('postgres'), `${password(access)}\n`)],
  tellVersion: asAdmin(psql('postgres', '-At', '-c', 'SHOW server_version')),
  connect: ({ database }, words) => asAdmin(['psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', database, ...words]),
  dumps: {
    suffix: 'dump',
    out: ({ database }) => asAdmin(['pg_dump', '-Fc', '--no-owner', '--no-acl', '-d', database]),
    in: ({ database, user }) => asAdmin(['pg_restore', '--clean', '--if-exists', '--no-owner', '--no-acl', `--role=${user}`, '--single-transaction', '--exit-on-error', '-d', database]),
    count: ({ database }) => asAdmin(psql(database, '-At', '-F', ' '), COUNT),
    refuse: (head) => (head.subarray(0, 5).toString('latin1') === 'PGDMP' ? null : 'it is not what pg_dump -Fc writes'),
  },
};
