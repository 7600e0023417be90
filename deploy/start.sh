#!/bin/bash
# Starts what deploy/bootstrap.sh installed, on a machine without systemd (with it: systemctl start berth.target).
#
#   deploy/start.sh               starts the supervisor and every service, waits until they answer, and returns
#   deploy/start.sh --foreground  the same, then stays: the entry point of a container. TERM stops everything in good order.
set -euo pipefail

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH
for part in ui config check packages install services; do
  # shellcheck source=/dev/null
  . "$HERE/lib/$part.sh"
done

foreground=no
case ${1:-} in
  '') ;;
  --foreground) foreground=yes ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) printf ' !     %q is not an option: deploy/start.sh [--foreground]\n' "$1" >&2; exit 2 ;;
esac
(( EUID == 0 )) || die 'This must run as root.'
[[ -L /opt/berth/current && -e $ENV_FILE ]] || die 'Berth is not installed here: deploy/bootstrap.sh first.'
mkdir -p /run/lock
exec 9> /run/lock/berth-bootstrap.lock
flock -n 9 || die 'A bootstrap runs on this machine.'
ui_start start.sh "$@"

start_everything() { make_user; configure_sshd; ensure_engine; start_services; }
step 'Starting Berth' "see $LOG" start_everything
step 'Waiting until all of it answers' '/var/log/berth/<service>/current, or journalctl -u "berth-*"' wait_ready
exec 9>&-
if [[ $foreground == no ]] || has_systemd; then exit 0; fi

stop() {
  trap '' TERM INT HUP
  local name pid
  pid=$(cat "$SUPERVISOR_PID" 2> /dev/null || true)
  if [[ -n $pid ]]; then kill "$pid" 2> /dev/null || true; fi
  for name in "$SERVICES"/worker-* "$SERVICES"/{api,router,redis,sshd,dockerd}; do
    if [[ -L $name ]]; then sv -w 30 force-shutdown "$name" > /dev/null 2>&1 || true; fi
  done
  exit 0
}
trap stop TERM INT HUP
while :; do sleep 5 & wait $! || true; done
