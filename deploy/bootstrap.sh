#!/bin/bash
# Installs, repairs, upgrades or removes Berth on this machine. See --help.
# shellcheck disable=SC2034  # options are read by the files of deploy/lib
set -euo pipefail

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
SOURCE=$(dirname "$HERE")
ARGUMENTS=("$@")
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH
umask 022

for part in ui config check packages install services sample uninstall; do
  # shellcheck source=/dev/null
  . "$HERE/lib/$part.sh"
done

OPT_DOMAIN='' OPT_HTTP_PORT='' OPT_API_PORT='' OPT_SAMPLE=yes OPT_UNINSTALL=no OPT_APPS=no OPT_CHECK=no CHECK_SUMMARY=''

help() {
  cat <<'TEXT'
Usage: deploy/bootstrap.sh [options]

Makes this machine a Berth server: 'git push' to it, and the app runs. Works on a bare Debian 12, Debian 13 or Ubuntu 24.04
(x86_64), with systemd and without it (containers, CI). The same command again repairs what is broken, upgrades when this
checkout is newer, and changes nothing else.

What it does, each step told with its time (details: /var/log/berth/bootstrap.log):
  1  checks the machine: system, memory, disk, ports taken, an engine already there. All problems are listed at once.
  2  installs what is missing from the distribution: Docker engine, Redis, OpenSSH, HAProxy, git, debootstrap, npm;
     without systemd also runit. An engine, Redis, HAProxy or sshd that is there already is left as it is.
  3  makes the user 'berth' (git over SSH; not in the docker group), /var/lib/berth and /etc/berth/berth.env
  4  copies the code to /opt/berth/<version>, brings the pinned Node, builds, switches /opt/berth/current
  5  lets sshd take the user 'berth' with keys that Berth writes (sshd_config.d/berth.conf)
  6  builds the stack images (Debian 13) on this machine: the longest step
  7  starts Redis (own instance, unix socket), the router, the API and six workers; whatever dies is started again
  8  deploys the sample Django blog by a real 'git push' over SSH and opens its page through the router

Options:
  --domain NAME      apps are reached at <app>.NAME (default: localhost, which needs no DNS on this machine)
  --http-port PORT   where the router listens (default: 80)
  --api-port PORT    loopback port of the API for bearer tokens (default: 3737; 0: none)
  --no-sample        does not deploy the sample
  --check            only checks the machine, changes nothing
  --uninstall        removes Berth: processes, code, settings, sshd rules, the user. Apps' containers keep running, and
                     /var/lib/berth (event log, repositories, keys) stays, so that a later bootstrap finds them again
  --uninstall --apps removes the apps too: containers, networks, volumes, images and /var/lib/berth
  --help             this text

Environment:
  BERTH_ANY_OS=1     tries on a system that is not in the list (apt is needed)
  http_proxy, https_proxy, no_proxy, SSL_CERT_FILE and its kind are handed to builds when they are set here

Settings live in /etc/berth/berth.env: edit, then run this again. In a container, deploy/start.sh --foreground starts what is
installed (as the entry point); without systemd, have deploy/start.sh run at boot.

Exit: 0 done, 1 something failed (and what to do), 2 wrong usage, 130 interrupted (run it again, it goes on).
TEXT
}

usage() { printf ' !     %s\n       deploy/bootstrap.sh --help says what there is.\n' "$1" >&2; exit 2; }

port_option() { # <option> <value> <lowest>
  if [[ ! $2 =~ ^[0-9]{1,5}$ ]] || (( 10#$2 < $3 || 10#$2 > 65535 )); then usage "$1 $2: a port number is needed"; fi
}

while (( $# )); do
  option=$1
  case $option in --domain=* | --http-port=* | --api-port=*) set -- "${option%%=*}" "${option#*=}" "${@:2}"; option=$1 ;; esac
  case $option in
    --domain | --http-port | --api-port) (( $# >= 2 )) || usage "$option needs a value" ;;
  esac
  case $option in
    -h | --help) help; exit 0 ;;
    --domain)
      [[ ${#2} -le 200 && $2 =~ ^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$ ]] || usage "--domain '$2': a domain name in lower case is needed"
      OPT_DOMAIN=$2; shift 2 ;;
    --http-port) port_option "$1" "$2" 1; OPT_HTTP_PORT=$((10#$2)); shift 2 ;;
    --api-port) port_option "$1" "$2" 0; OPT_API_PORT=$((10#$2)); shift 2 ;;
    --no-sample) OPT_SAMPLE=no; shift ;;
    --check) OPT_CHECK=yes; shift ;;
    --uninstall) OPT_UNINSTALL=yes; shift ;;
    --apps) OPT_APPS=yes; shift ;;
    *) usage "$(printf "'%q' is not an option" "$option")" ;;
  esac
done
[[ $OPT_APPS == no || $OPT_UNINSTALL == yes ]] || usage '--apps belongs to --uninstall'
[[ $OPT_UNINSTALL == no || $OPT_CHECK == no ]] || usage '--check and --uninstall are two things'

HTTP_PORT=${OPT_HTTP_PORT:-$(env_value BERTH_HTTP_PORT 80)}
API_PORT=${OPT_API_PORT:-$(env_value BERTH_API_PORT 3737)}

if [[ $OPT_CHECK == yes ]]; then
  machine_check "$HTTP_PORT" "$API_PORT" || exit 1
  say "This machine is ready: $CHECK_SUMMARY"
  for line in "${REMARKS[@]}"; do indent "$line"; done
  exit 0
fi

(( EUID == 0 )) || die "This must run as root: sudo $0 ${ARGUMENTS[*]:-}"
mkdir -p /run/lock
exec 9> /run/lock/berth-bootstrap.lock
if has flock && ! flock -n 9; then
  die "Another bootstrap runs on this machine, or the step that a killed one was at still does (pids $(lock_holders))." 'Wait for it, then run this again.'
fi
ui_start "${ARGUMENTS[@]:-}"

if [[ $OPT_UNINSTALL == yes ]]; then uninstall "$OPT_APPS"; exit 0; fi

start=${EPOCHREALTIME/[.,]/}
printf -- '-----> Checking the machine … '
if ! machine_check "$HTTP_PORT" "$API_PORT" 2> "$TMP/problems"; then
  printf '%s s\n' "$(seconds_since "$start")"
  tee -a "$LOG" < "$TMP/problems" >&2
  exit 1
fi
printf '%s s\n' "$(seconds_since "$start")"
indent "$CHECK_SUMMARY"
for line in "${REMARKS[@]}"; do indent "$line"; done

step "Installing packages (Docker engine, Redis, OpenSSH, HAProxy, git, npm)" \
  'look at the lines above: usually apt cannot reach its mirror (apt-get update), or another package manager holds the lock' install_packages
step 'Making the user berth and its folders' 'see the lines above' make_user
step 'Writing /etc/berth/berth.env' 'see the lines above' write_config
step 'Installing Berth and its Node, building it' 'usually the npm registry cannot be reached: npm ping' install_code "$SOURCE"
step 'Letting sshd take the user berth' 'correct what sshd says above (sshd -t)' configure_sshd
step 'Starting the Docker engine' 'see why dockerd does not start: journalctl -u docker, or /var/log/berth/dockerd/current' ensure_engine
step 'Building the stack images (Debian 13; the longest step, a minute or two the first time)' \
  'usually the Debian mirror cannot be reached, or the disk is full' /opt/berth/current/deploy/exec.sh stack-build
step 'Starting Redis, the router, the API and the workers' 'see the lines above' start_services
step 'Waiting until all of them answer' 'the logs of the services above: /var/log/berth/<service>/current, or journalctl -u "berth-*"' wait_ready
remove_old_versions

sample=no
if [[ $OPT_SAMPLE == yes ]]; then
  if [[ -d /opt/berth/current/deploy/samples/blog ]]; then deploy_sample; if app_exists "$SAMPLE_APP"; then sample=yes; fi
  else warn 'deploy/samples/blog is missing in this checkout: no sample'; fi
fi

domain=$(env_value BERTH_DOMAIN localhost)
host=$domain
if [[ $domain == localhost ]]; then
  host=$(hostname -f 2> /dev/null) || host=''
  # /etc/hosts may name the machine on the line of localhost
  if [[ -z $host || $host == localhost* ]]; then host=$(uname -n); fi
fi
port=$(sshd_port)
printf '\n=====> Berth runs. %s s altogether\n\n' "$(seconds_since "$STARTED")"
[[ $sample == no ]] || printf '       The sample:        %s\n' "$(app_url "$SAMPLE_APP")"
cat <<TEXT
       What to type next
         your key:        cat ~/.ssh/id_ed25519.pub | ssh root@$host "berth ssh-keys:add admin"
         in your project: git remote add berth $([[ $port == 22 ]] && printf 'berth@%s:myapp' "$host" || printf 'ssh://berth@%s:%s/myapp' "$host" "$port")
                          git push berth main
         have a look:     berth apps:list;  berth trace $SAMPLE_APP;  berth workers;  berth help
TEXT
if [[ $domain == localhost ]]; then printf '         from outside:    berth domains:set-global apps.example.com   (and DNS: *.apps.example.com to this machine)\n'; fi
printf '       To remove it:      %s/deploy/bootstrap.sh --uninstall\n' /opt/berth/current
