import type { ServiceAccess, ServiceType } from './service-type.js';
import { listens, talk } from './tcp.js';

const DATA = '/data';

/** The password comes by the environment, and stands in a file that only the server reads. */
const CONFIG = `printf 'port: 4222\\njetstream { store_dir: "${DATA}" }\\nauthorization { user: "%s", password: "%s" }\\n' "$NATS_USER" "$(printf %s "$NATS_PASSWORD" | sed 's/[\\\\"]/\\\\&/g')"`;

const SCRIPT = `#!/bin/sh
set -eu
umask 077
install -d -m 0700 -o nats -g nats ${DATA} /run/nats
chown -R nats:nats ${DATA}
${CONFIG} > /run/nats/berth.conf
chown nats:nats /run/nats/berth.conf
unset NATS_PASSWORD
exec setpriv --reuid=nats --regid=nats --init-groups nats-server -c /run/nats/berth.conf "$@"
`;

const env = ({ user, password }: ServiceAccess): Record<string, string> => ({ NATS_USER: user, NATS_PASSWORD: password });
/** JSON of who it is, by the client's protocol */
const HELLO = 'printf \'CONNECT {"verbose":false,"user":"%s","pass":"%s"}\\r\\n\' "$NATS_USER" "$(printf %s "$NATS_PASSWORD" | sed \'s/[\\\\"]/\\\\&/g\')" >&3';

export const nats: ServiceType = {
  type: 'nats', aliases: [], title: 'NATS', version: '2',
  registry: { reference: 'nats:2-alpine', volume: DATA, env, command: () => ['sh', '-c', `umask 077; ${CONFIG} > /tmp/berth.conf; unset NATS_PASSWORD; exec nats-server -c /tmp/berth.conf`] },
  packaged: { packages: ['nats-server'], lines: [], script: SCRIPT, volume: DATA, env, command: () => null },
  port: 4222, ports: [], stopSeconds: 30, variable: 'NATS_URL',
  user: (name) => name,
  dsn: ({ user, password, host, port }) => `nats://${user}:${encodeURIComponent(password)}@${host}:${port}`,
  health: () => listens(4222),
  setup: () => [],
  // its file is read when it starts
  rotate: () => null,
  tellVersion: { argv: ['nats-server', '--version'] },
  connect: (access, words) => ({ argv: talk(4222, words, HELLO, null), env: env(access) }),
  dumps: null, noDumps: 'NATS writes no dumps; the data of its streams is in the backups of its volume',
};
