import { createHash } from 'node:crypto';
import type { ServiceAccess, ServiceExec, ServiceLogin, ServiceType } from './service-type.js';

const DATA = '/data';

/** Who is let in, as the environment says when the container is new; what is changed later stays in it. No password is in it in clear. */
const USERS = `if [ ! -e /run/redis/users.acl ]; then
  {
    printf 'user default on sanitize-payload ~* &* +@all'
    for each in "$REDIS_PASSWORD" "\${REDIS_PASSWORD_BEFORE:-}"; do
      [ -z "$each" ] || printf ' #%s' "$(printf %s "$each" | sha256sum | cut -c 1-64)"
    done
    echo
  } > /run/redis/users.new
  mv /run/redis/users.new /run/redis/users.acl
fi`;

const env = ({ password, former }: ServiceAccess): Record<string, string> => ({ REDIS_PASSWORD: password, ...(former && { REDIS_PASSWORD_BEFORE: former.password }) });

const SCRIPT = `#!/bin/sh
set -eu
umask 077
install -d -m 0700 -o redis -g redis ${DATA} /run/redis
chown -R redis:redis ${DATA}
${USERS}
{
  echo 'aclfile /run/redis/users.acl'
  echo 'bind * -::*'
  echo 'protected-mode no'
  echo 'dir ${DATA}'
  echo 'appendonly yes'
} > /run/redis/berth.conf
chown redis:redis /run/redis/berth.conf /run/redis/users.acl
unset REDIS_PASSWORD REDIS_PASSWORD_BEFORE REDISCLI_AUTH
exec setpriv --reuid=redis --regid=redis --init-groups redis-server /run/redis/berth.conf "$@"
`;

/**
 * A second server on the loopback loads the dump, and the first one becomes its replica for a moment: it has the old data until it has all of
 * the new.
 */
const IMPORT = `set -eu
umask 077
new=$(mktemp -d ${DATA}/.import-XXXXXX)
trap 'redis-cli -p 6399 shutdown nosave > /dev/null 2>&1 || true; rm -rf "$new"' EXIT
trap 'exit 1' TERM INT HUP
cat > "$new/dump.rdb"
redis-check-rdb "$new/dump.rdb" > "$new/check" 2>&1 || { tail -n 3 "$new/check" >&2; exit 1; }
printf 'port 6399\\nbind 127.0.0.1\\ndir %s\\ndbfilename dump.rdb\\nappendonly no\\nsave ""\\nrepl-diskless-sync-delay 0\\ndaemonize yes\\nlogfile %s/log\\n' "$new" "$new" | env -u REDISCLI_AUTH redis-server - > /dev/null
i=0
until [ "$(env -u REDISCLI_AUTH redis-cli -p 6399 ping 2> /dev/null)" = PONG ]; do
  i=$((i + 1)); [ $i -lt 3000 ] || { cat "$new/log" >&2; exit 1; }
  sleep 0.2
done
redis-cli -e replicaof 127.0.0.1 6399 > /dev/null
i=0
until redis-cli -e info replication | grep -q 'master_link_status:up'; do
  i=$((i + 1)); [ $i -lt 3000 ] || { redis-cli -e replicaof no one > /dev/null; echo 'the copy did not come to an end' >&2; exit 1; }
  sleep 0.2
done
redis-cli -e replicaof no one > /dev/null
`;

/** Sets which passwords there are, given by their hashes in one line, and keeps that. */
const PASSWORDS = `set -eu
read -r hashes
[ -n "$(redis-cli -e config get aclfile | sed -n 2p)" ] || { echo 'its container was made by an earlier Berth, and knows one password only' >&2; exit 78; }
said=$(printf 'acl setuser default resetpass %s\\nacl save\\n' "$hashes" | redis-cli)
[ "$said" = "$(printf 'OK\\nOK')" ] || { printf '%s\\n' "$said" >&2; exit 1; }
`;
/** The server does not say by which password a connection was let in, but numbers connections as they come: what is older than the new password has the old one. */
const MARK = 'redis-cli -e client id > /run/redis/since';
const CLOSE_OLDER = `set -eu
[ -e /run/redis/since ] || exit 0
since=$(cat /run/redis/since)
redis-cli -e client list type normal | sed -n 's/^id=\\([0-9]*\\) .*/\\1/p' | while read -r id; do
  [ "$id" -ge "$since" ] || redis-cli client kill id "$id" > /dev/null
done
`;
const hash = (password: string): string => `#${createHash('sha256').update(password).digest('hex')}`;
const passwords = (using: ServiceLogin, ...all: readonly ServiceLogin[]): ServiceExec => ({ ...cli(using, ['sh', '-c', PASSWORDS]), stdin: `${all.map(({ password }) => hash(password)).join(' ')}\n` });

const cli = ({ password }: ServiceLogin, argv: readonly string[]): ServiceExec => ({ argv, env: { REDISCLI_AUTH: password } });

export const redis: ServiceType = {
  type: 'redis', aliases: [], title: 'Redis', version: '8',
  registry: {
    reference: 'redis:8', volume: DATA, env,
    command: () => ['sh', '-c', `umask 077; mkdir -p /run/redis; ${USERS}; chown -R redis /run/redis; unset REDIS_PASSWORD REDIS_PASSWORD_BEFORE; exec docker-entrypoint.sh redis-server --aclfile /run/redis/users.acl --dir ${DATA} --appendonly yes`],
  },
  packaged: { packages: ['redis-server', 'redis-tools'], lines: [], script: SCRIPT, volume: DATA, env, command: () => null },
  port: 6379, ports: [], stopSeconds: 30, variable: 'REDIS_URL',
  user: () => '',
  dsn: ({ password, host, port }) => `redis://:${encodeURIComponent(password)}@${host}:${port}`,
  health: (access) => cli(access, ['redis-cli', '-e', '-h', '127.0.0.1', 'ping']),
  setup: () => [],
  rotation: {
    how: 'beside',
    admit: (access) => [cli(access.former ?? access, ['sh', '-c', MARK]), passwords(access.former ?? access, access, ...(access.former ? [access.former] : []))],
    // connections are not asked again for what they have shown once
    retire: (access, _, atOnce) => [passwords(access, access), cli(access, atOnce ? ['redis-cli', '-e', 'client', 'kill', 'type', 'normal', 'skipme', 'yes'] : ['sh', '-c', CLOSE_OLDER])],
    login: (_, login) => cli(login, ['redis-cli', '-e', '-h', '127.0.0.1', 'ping']),
  },
  tellVersion: { argv: ['redis-server', '--version'] },
  connect: (access, words) => cli(access, ['redis-cli', '-e', ...words]),
  dumps: {
    suffix: 'rdb',
    // the mark of the stream's end, 40 bytes, is part of what comes; readers stop before it
    out: (access) => cli(access, ['redis-cli', '--rdb', '-']),
    in: (access) => cli(access, ['sh', '-c', IMPORT]),
    // those that expire may be gone in a moment
    count: (access) => cli(access, ['sh', '-c', `redis-cli -e info keyspace | tr -d '\\r' | awk -F '[=,]' '/^db/ { keys += $2 - $4 } END { print "keys", keys + 0 }'`]),
    refuse: (head) => (head.subarray(0, 5).toString('latin1') === 'REDIS' ? null : 'it is not an RDB file as redis-cli --rdb or SAVE write it'),
  },
};
