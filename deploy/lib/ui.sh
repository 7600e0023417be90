# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# What the admin sees: one line a step, with its time; everything else goes to the log.

LOG=${BERTH_LOG:-/var/log/berth/bootstrap.log}
TMP=''
STARTED=${EPOCHREALTIME/[.,]/}

say() { printf '%s\n' "$*"; }
indent() { printf '       %s\n' "$*"; }
warn() { printf ' !     %s\n' "$*" >&2; }
die() { printf ' !     %s\n' "$@" >&2; exit 1; }

seconds_since() { # <microseconds> → 14.2
  local now=${EPOCHREALTIME/[.,]/}
  local tenths=$(( (now - $1 + 50000) / 100000 ))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

ui_start() { # the lock is ours by now
  rm -rf /tmp/berth-bootstrap.* # of a run that was killed
  TMP=$(mktemp -d /tmp/berth-bootstrap.XXXXXX)
  chmod 0700 "$TMP"
  install -d -m 0755 "$(dirname "$LOG")"
  touch "$LOG"; chmod 0640 "$LOG"
  if (( $(stat -c %s "$LOG") > 4000000 )); then mv -f "$LOG" "$LOG.1"; : > "$LOG"; fi
  printf '\n===== %s bootstrap %s\n' "$(date '+%F %T')" "$*" >> "$LOG"
  trap 'ui_end' EXIT
  trap 'printf "\n !     Interrupted. Nothing is broken: the same command again goes on from here.\n" >&2; exit 130' INT TERM HUP
}

ui_end() {
  release_policy 2>/dev/null || true
  if [[ -n $TMP ]]; then rm -rf "$TMP"; fi
}

# A remark of a running step, shown below its line.
note() { printf '%s\n' "$*" >> "$TMP/notes"; }

# step <title> <what to do when it fails> <function> [arguments]: runs in a subshell with errexit on; its output is the log's.
step() {
  local title=$1 advice=$2 rc start=${EPOCHREALTIME/[.,]/}
  shift 2
  printf -- '-----> %s … ' "$title"
  printf '\n--- %s %s\n' "$(date +%T)" "$title" >> "$LOG"
  : > "$TMP/notes"
  local from
  from=$(stat -c %s "$LOG")
  set +e
  ( set -euo pipefail; trap - EXIT; "$@" ) >> "$LOG" 2>&1 < /dev/null
  rc=$?
  set -e
  if (( rc == 0 )); then
    printf '%s s\n' "$(seconds_since "$start")"
    while IFS= read -r line; do indent "$line"; done < "$TMP/notes"
    return 0
  fi
  printf 'failed after %s s\n' "$(seconds_since "$start")"
  while IFS= read -r line; do indent "$line"; done < "$TMP/notes"
  {
    printf '\n       The last lines of %s:\n\n' "$LOG"
    tail -c "+$((from + 1))" "$LOG" | tail -n 30 | sed 's/^/       /'
    printf '\n !     %s failed (exit %d).\n' "$title" "$rc"
    printf ' !     What to do: %s\n' "$advice"
    printf ' !     Then the same command again: it goes on from here.\n'
  } >&2
  exit 1
}
