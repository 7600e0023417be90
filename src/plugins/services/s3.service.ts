import type { ServiceAccess, ServiceExec, ServiceLogin, ServiceType } from './service-type.js';
import { listens } from './tcp.js';

const PORT = 9000;
const REGION = 'us-east-1';
/** no bucket is called like this: below its path lies what is known of earlier versions of objects */
const DATA = '/s3_data';
const STORE = `${DATA}/store`;
/** first part of every path in a dump */
const ROOT = 'berth-s3';

const server = (iam: string): string => ['versitygw', '--port', `:${PORT}`, '--region', REGION, '--quiet', '--iam-dir', iam, '--iam-cache-disable', 'posix', '--sidecar', `${STORE}/meta`, '--versioning-dir', `${STORE}/versions`, `${STORE}/objects`].join(' ');
/** Who is let in comes by the environment when the container is new; what is changed later stays in it. The server's own master is known to nobody. */
const users = (folder: string): string => `mkdir -p ${folder}
[ -e ${folder}/users.json ] || { printf %s "$S3_USERS" > ${folder}/users.new; mv ${folder}/users.new ${folder}/users.json; }
unset S3_USERS
export ROOT_ACCESS_KEY_ID=BERTH ROOT_SECRET_ACCESS_KEY="$(od -An -tx1 -N 24 /dev/urandom | tr -d ' \\n')"`;

/** leaves out what is the server's own; GNU find */
const OWN = "\\( -name .sgwtmp -o -name .vgwlocks -o -name '.*.sgwtmp.*' \\) -prune";
const PARTS = 'objects meta versions';

/**
 * What is known of an object stands in files beside it and not in extended attributes, which few copies of a volume keep. `new` is what an
 * import has made whole; it takes the place of `store` while nothing serves. Whoever died in between has it decided here: the new one if it
 * had moved in, else the old one.
 */
const SCRIPT = `#!/bin/sh
set -eu
umask 077
if [ "$(id -u)" = 0 ]; then
  install -d -m 0700 -o s3 -g s3 ${DATA} /run/s3
  # another image may have had another number for this user
  [ "$(stat -c %U ${STORE} 2> /dev/null || echo s3)" = s3 ] || chown -R s3:s3 ${DATA}
  exec setpriv --reuid=s3 --regid=s3 --init-groups "$0" "$@"
fi
${users('/run/s3/iam')}
cd ${DATA}
[ -d store ] || [ ! -d old ] || mv -T old store
rm -rf new old .import-* .export-*
for part in ${PARTS}; do mkdir -p "store/$part"; done
stop=
server=
trap 'stop=yes; kill -TERM "$server" 2> /dev/null || true' TERM INT
trap 'kill -TERM "$server" 2> /dev/null || true' HUP
echo $$ > /run/s3/pid
while [ -z "$stop" ]; do
  ${server('/run/s3/iam')} "$@" &
  server=$!
  # a signal ends the waiting, not the server
  while kill -0 "$server" 2> /dev/null; do wait "$server" && code=0 || code=$?; done
  [ -z "$stop" ] || break
  [ -d new ] || exit "$code"
  mv -T store old
  mv -T new store
  mv -T old ".import-$server"
  rm -rf ".import-$server" &
done
`;

/**
 * The server takes a lock of a file whenever an object comes to its place, one of 256 for each bucket. With all of them every object is
 * whole and has what is known of itself, and stays so by hard links: nothing is ever changed in its place. What is written meanwhile waits
 * for the links, not for the dump.
 */
const EXPORT = `set -euo pipefail
umask 077
bucket=$1
cd ${DATA}
for left in .export-*; do if [ -e "$left" ] && [ ! -d "/proc/\${left#.export-}" ]; then rm -rf "$left"; fi; done
new=$PWD/.export-$$
trap 'rm -rf "$new"' EXIT
trap 'exit 1' TERM INT HUP PIPE
mkdir -p "$new/${ROOT}"
(
  ulimit -n "$(ulimit -Hn)"
  for each in store/objects/*/; do
    [ -d "$each" ] || continue
    each=\${each%/}
    locks=store/objects/.vgwlocks/$(printf %s "\${each##*/}" | sha256sum | cut -c 1-64)
    mkdir -p "$locks"
    for i in {0..255}; do
      printf -v shard %02x "$i"
      exec {lock}>> "$locks/$shard"
      flock -w 60 "$lock" || { echo "the server did not let go of $shard of \${each##*/} for a minute" >&2; exit 1; }
    done
  done
  cd store
  # what goes meanwhile went in time
  find ${PARTS} ${OWN} -o -type d -print0 | (cd "$new/${ROOT}" && xargs -0r mkdir -p --)
  find ${PARTS} ${OWN} -o -type f -print0 | xargs -0r cp -l --parents -t "$new/${ROOT}" -- 2> "$new/said" || ! grep -v 'No such file or directory$' "$new/said" >&2
)
echo "$bucket" > "$new/${ROOT}/about"
echo whole > "$new/${ROOT}/end"
cd "$new"
# 1: the links of a file were counted anew meanwhile
tar -cf - --format=gnu --hard-dereference --numeric-owner ${ROOT}/about ${PARTS.split(' ').map((part) => `${ROOT}/${part}`).join(' ')} ${ROOT}/end || [ $? -eq 1 ]
`;

/** Unpacked beside, judged, and given to the server's script, which puts it in the place of the old one. */
const IMPORT = `set -euo pipefail
umask 077
bucket=$1
cd ${DATA}
new=$PWD/.import-$$
trap 'rm -rf "$new"' EXIT
trap 'exit 1' TERM INT HUP
mkdir "$new"
tar -xf - -C "$new" --no-same-owner --no-same-permissions
got=$new/${ROOT}
[ "$(cat "$got/end" 2> /dev/null)" = whole ] || { echo 'it is cut off: its end is missing' >&2; exit 1; }
odd=$(find "$new" ! -type f ! -type d -print -quit)
[ -z "$odd" ] || { echo "it has something that is neither file nor folder: \${odd#"$got/"}" >&2; exit 1; }
from=$(cat "$got/about")
cd "$got"
rm about end
[[ "$from" =~ ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$ ]] || { echo 'it does not say which bucket is the service'"'"'s own' >&2; exit 1; }
if [ "$from" != "$bucket" ]; then
  [ ! -e "objects/$bucket" ] || { echo "it has a bucket $bucket beside the service's own, $from" >&2; exit 1; }
  for part in objects meta versions meta${STORE}/versions; do [ ! -e "$part/$from" ] || mv -T "$part/$from" "$part/$bucket"; done
fi
mkdir -p "objects/$bucket" meta versions
cd ${DATA}
sync -f "$new"
mv -T "$got" new
kill -HUP "$(cat /run/s3/pid)"
for i in {1..3000}; do
  if [ ! -e new ] && (: < /dev/tcp/127.0.0.1/${PORT}) 2> /dev/null; then exit 0; fi
  sleep 0.1
done
echo 'the server did not come back with the new data' >&2
exit 1
`;

const COUNT = `set -eu
cd ${STORE}/objects
find . ${OWN} -o -type f -printf '%s\\n' | awk '{ n++; bytes += $1 } END { printf "objects %d\\nbytes %.0f\\n", n, bytes }'
`;

/** S3 wants three characters, and has some names for itself. */
const bucketOf = (name: string): string => (name.length < 3 || /^(?:xn--|sthree-)|(?:-s3alias|--ol-s3)$/.test(name) ? `bucket-${name}` : name);

const asServer = (argv: readonly string[]): ServiceExec => ({ argv, user: 's3' });
const letIn = (...all: readonly ServiceLogin[]): string => JSON.stringify({ accessAccounts: Object.fromEntries(all.map(({ user, password }) => [user, { access: user, secret: password, role: 'admin' }])) });
const both = (access: ServiceAccess): readonly ServiceLogin[] => [access, ...(access.former ? [access.former] : [])];
const env = (access: ServiceAccess): Record<string, string> => ({ S3_USERS: letIn(...both(access)), VGW_VIRTUAL_DOMAIN: access.host });

/** Takes what is piped in for the file that says who is let in: the server reads it at every request. */
const LET_IN = `set -eu
umask 077
for folder in /run/s3/iam /tmp/iam; do
  [ -e "$folder/users.json" ] || continue
  cat > "$folder/users.new"
  [ "$folder" = /tmp/iam ] || chown s3:s3 "$folder/users.new"
  mv "$folder/users.new" "$folder/users.json"
  exit 0
done
echo 'its container was made by an earlier Berth, and knows one password only' >&2
exit 78
`;
const onlyThese = (...all: readonly ServiceLogin[]): ServiceExec => ({ argv: ['sh', '-c', LET_IN], stdin: letIn(...all) });

/** by the server's own client, which is in every image of it */
const admin = ({ user, password }: ServiceLogin, argv: readonly string[]): ServiceExec => ({ argv, env: { ADMIN_ACCESS_KEY_ID: user, ADMIN_SECRET_ACCESS_KEY: password, ADMIN_ENDPOINT_URL: `http://127.0.0.1:${PORT}` } });
const MAKE_BUCKET = 'said=$(versitygw admin create-bucket --owner "$1" --bucket "$2" 2>&1) && exit 0; case $said in *BucketAlready*) exit 0;; esac; printf "%s\\n" "$said" >&2; exit 1';

/** `s3:` is the server */
const rclone = ({ user, password }: ServiceLogin, words: readonly string[]): ServiceExec => ({
  argv: ['rclone', '--config=', ...words],
  env: { RCLONE_CONFIG_S3_TYPE: 's3', RCLONE_CONFIG_S3_PROVIDER: 'Other', RCLONE_CONFIG_S3_ENDPOINT: `http://127.0.0.1:${PORT}`, RCLONE_CONFIG_S3_REGION: REGION, RCLONE_CONFIG_S3_ACCESS_KEY_ID: user, RCLONE_CONFIG_S3_SECRET_ACCESS_KEY: password },
});

/** An S3 server (versitygw) with one bucket. */
export const s3: ServiceType = {
  type: 's3', aliases: [], title: 'S3', version: '1.8',
  registry: {
    reference: 'versity/versitygw:v1.8.0', volume: DATA, env: (access) => ({ ...env(access), VGW_BINARY: '/bin/sh' }),
    // its entry point becomes the program that this names, with these words
    command: () => ['-c', `umask 077; set -e; ${users('/tmp/iam')}; cd ${DATA}; mkdir -p ${PARTS.split(' ').map((part) => `store/${part}`).join(' ')}; exec ${server('/tmp/iam')}`],
  },
  packaged: {
    program: { module: 'github.com/versity/versitygw', version: 'v1.8.0', sum: 'h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=', path: './cmd/versitygw', says: 'main.Version' },
    packages: ['rclone'], lines: ['RUN useradd --system --uid 990 --no-create-home --home-dir / --shell /usr/sbin/nologin s3'], script: SCRIPT, volume: DATA, env, command: () => null,
  },
  port: PORT, ports: [], stopSeconds: 30, variable: 'S3_URL',
  user: (name) => name,
  dsn: ({ name, user, password, host, port }) => `s3://${user}:${encodeURIComponent(password)}@${host}:${port}/${bucketOf(name)}?region=${REGION}`,
  hosts: ({ name, host }) => [`${bucketOf(name)}.${host}`],
  health: () => listens(PORT),
  setup: (access) => [admin(access, ['sh', '-c', MAKE_BUCKET, 'setup', access.user, bucketOf(access.name)])],
  rotation: {
    how: 'beside', second: (name) => `${name}_2`,
    admit: (access) => [onlyThese(...both(access))],
    // each request says anew who it is
    retire: (access) => [onlyThese(access)],
    login: (_, login) => admin(login, ['versitygw', 'admin', 'list-buckets']),
  },
  tellVersion: { argv: ['versitygw', '--version'] },
  connect: (access, words) => rclone(access, words.length > 0 ? words : ['lsl', `s3:${bucketOf(access.name)}`]),
  dumps: {
    suffix: 'tar',
    out: ({ name }) => asServer(['bash', '-c', EXPORT, 'export', bucketOf(name)]),
    in: ({ name }) => asServer(['bash', '-c', IMPORT, 'import', bucketOf(name)]),
    count: () => asServer(['bash', '-c', COUNT]),
    refuse: (head) => (head.toString('latin1').startsWith(`${ROOT}/about`.slice(0, 14)) ? null : 'it is not what berth s3:export writes'),
  },
};
