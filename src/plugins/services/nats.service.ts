import type { ServiceAccess, ServiceExec, ServiceLogin, ServiceType } from './service-type.js';
import { listens, talk } from './tcp.js';

const DATA = '/data';

const quoted = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
const who = ({ user, password }: ServiceLogin): string => `{ user: "${quoted(user)}", password: "${quoted(password)}" }`;
/** Who is let in: they all see the same. */
const users = (...all: readonly ServiceLogin[]): string => `authorization { users: [ ${all.map(who).join(', ')} ] }\n`;

/** Who is let in comes by the environment when the container is new; what is changed later stays in it, in a file that only the server reads. */
const config = (folder: string): string => `[ -e ${folder}/users.conf ] || { printf '%s' "$NATS_USERS" > ${folder}/users.new; mv ${folder}/users.new ${folder}/users.conf; }
printf 'port: 4222\\njetstream { store_dir: "${DATA}" }\\ninclude users.conf\\n' > ${folder}/berth.conf`;

const SCRIPT = `#!/bin/sh
set -eu
umask 077
install -d -m 0700 -o nats -g nats ${DATA} /run/nats
chown -R nats:nats ${DATA}
${config('/run/nats')}
chown nats:nats /run/nats/berth.conf /run/nats/users.conf
unset NATS_USERS
exec setpriv --reuid=nats --regid=nats --init-groups nats-server -c /run/nats/berth.conf "$@"
`;

/** Takes the file that is piped in for the one that says who is let in; clients that are let in no longer are sent away. */
const LET_IN = `set -eu
umask 077
for folder in /run/nats /tmp/nats; do
  [ -e "$folder/users.conf" ] || continue
  cat > "$folder/users.new"
  [ "$folder" = /tmp/nats ] || chown nats:nats "$folder/users.new"
  mv "$folder/users.new" "$folder/users.conf"
  kill -HUP 1
  exit 0
done
echo 'its container was made by an earlier Berth, and knows one password only' >&2
exit 78
`;
const letIn = (...all: readonly ServiceLogin[]): ServiceExec => ({ argv: ['sh', '-c', LET_IN], stdin: users(...all) });

/** JSON of who it is, by the client's protocol */
const hello = 'printf \'CONNECT {"verbose":false,"user":"%s","pass":"%s"}\\r\\n\' "$NATS_USER" "$(printf %s "$NATS_PASSWORD" | sed \'s/[\\\\"]/\\\\&/g\')"';
const as = ({ user, password }: ServiceLogin): Record<string, string> => ({ NATS_USER: user, NATS_PASSWORD: password });
const LOGIN = `say() { ${hello}; printf 'PING\\r\\n'; }
ask() {
  if command -v bash > /dev/null; then say | bash -c 'exec 3<> /dev/tcp/127.0.0.1/4222; cat >&3; while IFS= read -r -t 5 line <&3; do case $line in PONG*) exit 0;; -ERR*) exit 1;; esac; done; exit 1'
  else { say; sleep 1; } | nc -w 5 127.0.0.1 4222 | grep -q '^PONG'; fi
}
ask`;

const env = (access: ServiceAccess): Record<string, string> => ({ NATS_USERS: users(access, ...(access.former ? [access.former] : [])) });

export const nats: ServiceType = {
  type: 'nats', aliases: [], title: 'NATS', version: '2',
  registry: { reference: 'nats:2-alpine', volume: DATA, env, command: () => ['sh', '-c', `umask 077; mkdir -p /tmp/nats; ${config('/tmp/nats')}; unset NATS_USERS; exec nats-server -c /tmp/nats/berth.conf`] },
  packaged: { packages: ['nats-server'], lines: [], script: SCRIPT, volume: DATA, env, command: () => null },
  port: 4222, ports: [], stopSeconds: 30, variable: 'NATS_URL',
  user: (name) => name,
  dsn: ({ user, password, host, port }) => `nats://${user}:${encodeURIComponent(password)}@${host}:${port}`,
  health: () => listens(4222),
  setup: () => [],
  rotation: {
    how: 'beside', second: (name) => `${name}_2`,
    admit: (access) => [letIn(access, ...(access.former ? [access.former] : []))],
    retire: (access) => [letIn(access)],
    login: (_, login) => ({ argv: ['sh', '-c', LOGIN], env: as(login) }),
  },
  tellVersion: { argv: ['nats-server', '--version'] },
  connect: (access, words) => ({ argv: talk(4222, words, `${hello} >&3`, null), env: as(access) }),
  dumps: null, noDumps: 'NATS writes no dumps; the data of its streams is in the backups of its volume',
};
