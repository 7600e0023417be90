import type { ServiceExec, ServiceLogin, ServiceType } from './service-type.js';

const VOLUME = '/var/lib/mysql';
const literal = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
/** schemas and users of the server's own */
const OWN = new Set(['mysql', 'sys', 'information_schema', 'performance_schema', 'root']);
const safe = (name: string): string => (OWN.has(name) ? `${name}_db` : name);
const account = (user: string): string => `${literal(user)}@'%'`;
/** Makes what is not there, with a lock before it. */
const createUser = (user: string): string => `CREATE USER IF NOT EXISTS ${account(user)} ACCOUNT LOCK;\nGRANT ALL PRIVILEGES ON *.* TO ${account(user)} WITH GRANT OPTION;\n`;
const admit = ({ user, password }: ServiceLogin): string => `${createUser(user)}ALTER USER ${account(user)} IDENTIFIED BY ${literal(password)} ACCOUNT UNLOCK;\n`;

/** root has no password, and comes from inside the container only. */
const SCRIPT = `#!/bin/sh
set -eu
umask 077
install -d -m 0755 -o mysql -g mysql ${VOLUME} /run/mysqld
# the registry's image has another number for this user
[ "$(stat -c %u ${VOLUME}/mysql 2> /dev/null || id -u mysql)" = "$(id -u mysql)" ] || chown -R mysql:mysql ${VOLUME}
if [ -e ${VOLUME}/.berth-making ] || [ ! -d ${VOLUME}/mysql ]; then
  # a start that was cut off leaves a part
  touch ${VOLUME}/.berth-making
  find ${VOLUME} -mindepth 1 ! -name .berth-making -delete
  mariadb-install-db --user=mysql --datadir=${VOLUME} --auth-root-authentication-method=socket --skip-test-db --skip-name-resolve > /dev/null
  sync
  rm ${VOLUME}/.berth-making
fi
exec setpriv --reuid=mysql --regid=mysql --init-groups mariadbd --datadir=${VOLUME} --bind-address='*' --socket=/run/mysqld/mysqld.sock --skip-name-resolve --character-set-server=utf8mb4 "$@"
`;

/** under their old names, and without a word about that */
const SPELLINGS = 'RUN for each in mysql:mariadb mysqladmin:mariadb-admin mysqldump:mariadb-dump; do printf \'#!/bin/sh\\nexec %s "$@"\\n\' "${each#*:}" > "/usr/local/bin/${each%:*}" && chmod 755 "/usr/local/bin/${each%:*}"; done';

interface Programs { readonly client: string; readonly dump: string; readonly admin: string }

const quoted = (column: string): string => `CONCAT(@q, REPLACE(${column}, @q, CONCAT(@q, @q)), @q)`;
const named = (schema: string, name: string): string => `${quoted(schema)}, '.', ${quoted(name)}`;

/** Tables and their rows, each table read: an estimate would be another one after a restore. */
const counting = (db: string): string => `SET @q = CHAR(96);
SET SESSION group_concat_max_len = 1073741824;
SELECT 'tables', COUNT(*) FROM information_schema.tables WHERE table_schema = '${db}' AND table_type = 'BASE TABLE';
SELECT COALESCE(CONCAT('SELECT ''rows'', SUM(n) FROM (', GROUP_CONCAT(CONCAT('SELECT COUNT(*) AS n FROM ', ${named('table_schema', 'table_name')}) SEPARATOR ' UNION ALL '), ') AS counted'), 'SELECT ''rows'', 0') INTO @s FROM information_schema.tables WHERE table_schema = '${db}' AND table_type = 'BASE TABLE';
PREPARE counted FROM @s;
EXECUTE counted;
`;

/** Statements that write the statements of an exchange: all tables change places in one of them. */
const exchange = (db: string, now: string, old: string): string => `SET @q = CHAR(96);
SET SESSION group_concat_max_len = 1073741824;
SELECT 'SET SESSION lock_wait_timeout = 60;';
SELECT CONCAT('DROP TRIGGER ', ${named('trigger_schema', 'trigger_name')}, ';') FROM information_schema.triggers WHERE trigger_schema IN ('${db}', '${now}');
SELECT CONCAT('DROP VIEW ', ${named('table_schema', 'table_name')}, ';') FROM information_schema.views WHERE table_schema = '${db}';
SELECT CONCAT('RENAME TABLE ', GROUP_CONCAT(${named('table_schema', 'table_name')}, ' TO ', IF(table_schema = '${db}', '${old}', '${db}'), '.', ${quoted('table_name')} ORDER BY table_schema = '${now}' SEPARATOR ', '), ';') FROM information_schema.tables WHERE table_schema IN ('${db}', '${now}') AND table_type <> 'VIEW' HAVING COUNT(*) > 0;
SELECT CONCAT('DROP ', routine_type, ' ', ${named('routine_schema', 'routine_name')}, ';') FROM information_schema.routines WHERE routine_schema = '${db}';
SELECT CONCAT('DROP EVENT ', ${named('event_schema', 'event_name')}, ';') FROM information_schema.events WHERE event_schema = '${db}';
`;

/**
 * No transaction reaches around CREATE TABLE here: the dump comes into a database beside the old one, and when it was whole the tables change
 * places. Views, triggers, routines and events, which cannot be renamed, are made anew behind it, by this service's user.
 */
function importScript({ client, dump }: Programs, db: string, user: string): string {
  const [now, old] = [`${db}__new`, `${db}__old`];
  return `set -eu
umask 077
sql() { ${client} -u root -N -B "$@"; }
work=$(mktemp -d)
trap 'sql -e "DROP DATABASE IF EXISTS ${now}" || true; rm -rf "$work"' EXIT
trap 'exit 1' TERM INT HUP
sql -e 'DROP DATABASE IF EXISTS ${now}; DROP DATABASE IF EXISTS ${old}; CREATE DATABASE ${now} CHARACTER SET utf8mb4'
mkfifo "$work/end"
tail -c 200 < "$work/end" > "$work/last" &
LC_ALL=C sed -e '/^CREATE DATABASE /d; /^\\/\\*!40000 DROP DATABASE /d' -e "/^USE /{w $work/uses" -e 'd' -e '}' -e '/^\\(\\/\\*!50[0-9]* \\|CREATE \\)/s/DEFINER=\`[^\`]*\`@\`[^\`]*\`/DEFINER=\`${user}\`@\`%\`/' | tee "$work/end" | sql ${now} 2> "$work/said" || { grep -a '^ERROR' "$work/said" >&2 || tail -c 1000 "$work/said" >&2; exit 1; }
wait
[ "$(wc -l < "$work/uses")" -le 1 ] || { echo 'it has several databases; dump the one that is wanted' >&2; exit 1; }
grep -q '^-- Dump completed' "$work/last" || { echo 'it is cut off: its last line, "-- Dump completed", is missing' >&2; exit 1; }
# what is no table
rest() (
  ${dump} -u root --no-data --no-create-info --routines --triggers --events "$1"
  IFS='
'
  set -f
  db=$1
  set -- $(sql -e "SELECT table_name FROM information_schema.views WHERE table_schema = '$1'")
  [ $# -eq 0 ] || ${dump} -u root --no-data --skip-triggers "$db" "$@"
)
rest ${now} > "$work/rest"
rest ${db} > "$work/rest-of-old"
cat > "$work/how" <<'END'
${exchange(db, now, old)}END
sql < "$work/how" > "$work/exchange"
sql -e 'CREATE DATABASE ${old}'
sql < "$work/exchange" || { sql ${db} < "$work/rest-of-old"; sql -e 'DROP DATABASE ${old}'; exit 1; }
sql ${db} < "$work/rest"
sql -e 'DROP DATABASE ${old}'
`;
}

function family(type: 'mariadb' | 'mysql', title: string, reference: string, programs: Programs, remark?: string): ServiceType {
  const prefix = type.toUpperCase();
  const client = (...words: string[]): string[] => [programs.client, '-u', 'root', ...words];
  const sql = (stdin: string): ServiceExec => ({ argv: client(), stdin });
  return {
    type, aliases: [], title, version: '11.8',
    registry: { reference, volume: VOLUME, env: () => ({ [type === 'mysql' ? 'MYSQL_ALLOW_EMPTY_PASSWORD' : 'MARIADB_ALLOW_EMPTY_ROOT_PASSWORD']: 'yes', [`${prefix}_ROOT_HOST`]: 'localhost' }), command: () => null },
    packaged: { packages: ['mariadb-server', 'mariadb-client'], lines: type === 'mysql' ? [SPELLINGS] : [], script: SCRIPT, volume: VOLUME, env: () => ({}), command: () => null, ...(remark !== undefined && { remark }) },
    port: 3306, ports: [], stopSeconds: 60, variable: 'DATABASE_URL',
    user: (name) => safe(name).slice(0, 32),
    dsn: ({ user, password, host, port, database }) => `mysql://${user}:${encodeURIComponent(password)}@${host}:${port}/${safe(database)}`,
    // not by the socket, where the server listens while it is being made
    health: () => ({ argv: [programs.admin, '-h', '127.0.0.1', '--protocol=tcp', '--loose-skip-ssl', 'ping'] }),
    setup: (access) => [sql(`CREATE DATABASE IF NOT EXISTS \`${safe(access.database)}\` CHARACTER SET utf8mb4;
${access.user === access.owner ? '' : createUser(access.owner)}${admit(access)}`)],
    rotation: {
      how: 'beside', second: (name) => `${safe(name).slice(0, 30)}_2`,
      admit: (access) => [sql(admit(access))],
      // it stays: views, triggers and routines that it has made run with its rights
      retire: (_, { user }) => [sql(`ALTER USER IF EXISTS ${account(user)} ACCOUNT LOCK;\n`), { argv: ['sh', '-c', `${programs.client} -u root -N -B | ${programs.client} -u root --force`], stdin: `SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE user = ${literal(user)};\n` }],
      login: ({ database }, { user, password }) => ({ argv: ['sh', '-c', `exec ${programs.client} -h "$(hostname)" --protocol=tcp --connect-timeout=10 --loose-skip-ssl -u "$1" -e 'SELECT 1' "$2"`, 'login', user, safe(database)], env: { MYSQL_PWD: password } }),
    },
    tellVersion: { argv: client('-N', '-B', '-e', 'SELECT version()') },
    connect: ({ database }, words) => ({ argv: client(...words, safe(database)) }),
    dumps: {
      suffix: 'sql',
      out: ({ database }) => ({ argv: [programs.dump, '-u', 'root', '--single-transaction', '--quick', '--routines', '--triggers', '--events', '--hex-blob', safe(database)] }),
      in: ({ database, owner }) => ({ argv: ['sh', '-c', importScript(programs, safe(database), owner)] }),
      count: ({ database }) => ({ argv: client('-N', '-B'), stdin: counting(safe(database)) }),
      refuse: (head) => (/^\s*(?:\/\*|--)/.test(head.toString('latin1')) ? null : `it is not what ${programs.dump} writes`),
    },
  };
}

export const mariadb = family('mariadb', 'MariaDB', 'mariadb:11.8', { client: 'mariadb', dump: 'mariadb-dump', admin: 'mariadb-admin' });
export const mysql = family('mysql', 'MySQL', 'mysql:8', { client: 'mysql', dump: 'mysqldump', admin: 'mysqladmin' }, 'Debian\'s MySQL is MariaDB; Oracle\'s own, from a registry: --image mysql:8');
