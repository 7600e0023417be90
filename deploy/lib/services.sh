# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# Starting, stopping and restarting: systemd's units, or runit where there is no systemd.
# A service is restarted only when what it was started from has changed; a second run leaves every pid alone.

SV=/etc/berth/sv            # runit: definitions
SERVICES=/run/berth/service # runit: what runs now (links), gone after a boot
STAMPS=/etc/berth/stamps    # what each service was started from
KINDS=(clone detect build release route service)

service_names() { # redis router api worker-clone-1 …
  local kind i count
  printf '%s\n' redis router api
  for kind in "${KINDS[@]}"; do
    count=$(env_value "BERTH_WORKERS_${kind^^}" 1)
    [[ $count =~ ^[0-9]+$ ]] && (( count >= 1 && count <= 64 )) || count=1
    for (( i = 1; i <= count; i++ )); do printf 'worker-%s-%d\n' "$kind" "$i"; done
  done
}

service_command() { # worker-clone-1 → worker clone-1
  case $1 in worker-*) printf 'worker %s\n' "${1#worker-}" ;; *) printf '%s\n' "$1" ;; esac
}

unit_of() { case $1 in worker-*) printf 'berth-worker@%s.service\n' "${1#worker-}" ;; *) printf 'berth-%s.service\n' "$1" ;; esac; }

# The core restarts with new code or settings, Redis only when its own part changed. The router never restarts (that drops
# requests): its file is made again, and it is told to read it when it differs.
fingerprint() {
  local code=/opt/berth/current
  {
    case $1 in
      redis) env_value BERTH_RUN ''; env_value BERTH_REDIS ''; sed -n '/^  redis)/,/;;/p' "$code/deploy/exec.sh" ;;
      router) readlink "$code"; env_value BERTH_ROOT ''; env_value BERTH_RUN ''; env_value BERTH_HTTP_PORT ''; sed -n '/^  router)/,/;;/p' "$code/deploy/exec.sh" ;;
      *) readlink "$code"; cat "$ENV_FILE" ;;
    esac
    if has_systemd; then cat "/etc/systemd/system/$(unit_template "$1")"; else cat "$SV/$1/run"; fi
  } 2> /dev/null | sha256sum | cut -c 1-16
}
unit_template() { case $1 in worker-*) printf 'berth-worker@.service\n' ;; *) printf 'berth-%s.service\n' "$1" ;; esac; }

put() { # <mode> <target>: stdin becomes the file, only when it differs; says whether it did
  local mode=$1 target=$2 text
  text=$(cat; printf x); text=${text%x}
  if [[ -f $target && $(cat "$target"; printf x) == "${text}x" ]]; then return 1; fi
  printf '%s' "$text" > "$target.new"; chmod "$mode" "$target.new"; mv "$target.new" "$target"
}

# ---- systemd ------------------------------------------------------------------------------------------------------
define_units() {
  local here=/opt/berth/current/deploy/systemd file changed=no name wanted=()
  for file in "$here"/*; do
    name=$(basename "$file")
    put 0644 "/etc/systemd/system/$name" < "$file" && changed=yes
  done
  [[ $changed == no ]] || systemctl daemon-reload
  while IFS= read -r name; do wanted+=("$(unit_of "$name")"); done < <(service_names)
  for name in berth.target "${wanted[@]}"; do
    systemctl is-enabled -q "$name" 2> /dev/null || systemctl enable "$name"
  done
  # fewer workers than before
  while IFS= read -r name; do
    [[ " ${wanted[*]} " == *" $name "* ]] || systemctl disable --now "$name"
  done < <(systemctl list-units --all --plain --no-legend 'berth-worker@*' | awk '{ print $1 }')
}

# ---- runit --------------------------------------------------------------------------------------------------------
SUPERVISOR_PID=/run/berth/supervisor.pid
supervisor_runs() {
  local pid
  pid=$(cat "$SUPERVISOR_PID" 2> /dev/null) || return 1
  [[ -n $pid ]] && tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null | grep -F -- "$SERVICES" > /dev/null
}

define_runit() { # <name> <run script on stdin>
  local name=$1 dir=$SV/$1
  install -d -m 0755 "$dir" "$dir/log" "/var/log/berth/$name"
  put 0755 "$dir/run" || true
  put 0755 "$dir/log/run" <<< $'#!/bin/sh\nexec svlogd -tt '"/var/log/berth/$name" || true
  # 5 files of 2 MB, then the oldest goes
  put 0644 "/var/log/berth/$name/config" <<< $'s2000000\nn5' || true
  # supervise's pipes belong on /run, not in /etc
  [[ $(readlink "$dir/supervise" 2> /dev/null) == "/run/berth/sv/$name" ]] || ln -sfn "/run/berth/sv/$name" "$dir/supervise"
  [[ $(readlink "$dir/log/supervise" 2> /dev/null) == "/run/berth/sv/$name.log" ]] || ln -sfn "/run/berth/sv/$name.log" "$dir/log/supervise"
}

define_runit_services() {
  local name here=/opt/berth/current/deploy/runit
  while IFS= read -r name; do
    sed "s|@COMMAND@|$(service_command "$name")|" "$here/run.in" | define_runit "$name"
  done < <(service_names)
  define_runit dockerd < "$here/dockerd.run"
  define_runit sshd < "$here/sshd.run"
}

start_supervisor() {
  supervisor_runs && return 0
  # left over by a container that was stopped: /run is not always empty after a boot
  rm -rf "$SERVICES" /run/berth/sv
  install -d -m 0700 "$SERVICES" /run/berth/sv
  local clean=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8) name
  for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do [[ -n ${!name:-} ]] && clean+=("$name=${!name}"); done
  # a session of its own: it outlives this terminal
  (cd / && exec 9>&- && exec setsid env -i "${clean[@]}" /bin/sh /opt/berth/current/deploy/runit/supervise.sh "$SERVICES" "$SUPERVISOR_PID" \
    < /dev/null > /dev/null 2>> /var/log/berth/supervisor.log &)
  local i
  for (( i = 0; i < 50; i++ )); do supervisor_runs && return 0; sleep 0.1; done
  echo 'runsvdir does not start'; return 1
}

link_service() { [[ -L $SERVICES/$1 ]] || ln -s "$SV/$1" "$SERVICES/$1"; }

runit_running() { sv status "$SERVICES/$1" 2> /dev/null | grep '^run:' > /dev/null; }

runit_up() {
  local i
  link_service "$1"
  for (( i = 0; i < 100; i++ )); do
    sv status "$SERVICES/$1" > /dev/null 2>&1 && break
    # runsvdir looks again when the folder has changed, not when a definition behind a link came back
    (( i % 20 != 10 )) || touch "$SERVICES"
    sleep 0.1
  done
  sv up "$SERVICES/$1"
}

runit_remove() { # stops it and forgets it
  [[ -L $SERVICES/$1 ]] || return 0
  rm -f "$SERVICES/$1"
  sv -w 30 force-shutdown "$SV/$1" || true
}

# ---- both ---------------------------------------------------------------------------------------------------------
ensure_engine() {
  local version i
  version=$(engine_version)
  if [[ -n $version ]]; then
    version_at_least "$version" 20.10 || { echo "Docker engine $version: 20.10 or newer is needed"; return 1; }
    note "Docker engine $version runs"
    return 0
  fi
  if [[ ! -e /etc/docker/daemon.json ]] && grep -qx docker.io /etc/berth/installed-packages 2> /dev/null; then
    install -d -m 0755 /etc/docker
    # apps go on while the engine restarts
    printf '{\n  "live-restore": true\n}\n' > /etc/docker/daemon.json
  fi
  if has_systemd; then
    systemctl enable --now docker.service
  else
    define_runit_services
    start_supervisor
    runit_up dockerd
  fi
  for (( i = 0; i < 120; i++ )); do
    version=$(engine_version)
    if [[ -n $version ]]; then note "Docker engine $version started"; return 0; fi
    sleep 0.5
  done
  if has_systemd; then journalctl -u docker.service -n 25 --no-pager || true; else tail -n 25 /var/log/berth/dockerd/current || true; fi
  echo 'the Docker engine does not answer after 60 s'
  return 1
}

start_services() {
  local name now restart=() fresh=' '
  [[ -d $STAMPS ]] || install -d -m 0700 "$STAMPS"
  if has_systemd; then
    define_units
  else
    define_runit_services
    start_supervisor
    if [[ -z $(port_holder "$(sshd_port)") ]]; then runit_up sshd; fi
    if [[ -z $(engine_version) ]]; then runit_up dockerd; fi
    # fewer workers than before
    for name in "$SERVICES"/worker-*; do
      name=$(basename "$name")
      [[ $name == 'worker-*' ]] || service_names | grep -x -- "$name" > /dev/null || { runit_remove "$name"; rm -rf "${SV:?}/$name"; }
    done
  fi
  # all links first: runsvdir looks every few seconds only
  if ! has_systemd; then
    while IFS= read -r name; do
      [[ -L $SERVICES/$name ]] || { link_service "$name"; fresh+="$name "; }
    done < <(service_names)
  fi
  while IFS= read -r name; do
    now=$(fingerprint "$name")
    if [[ $fresh != *" $name "* ]] && service_runs "$name"; then
      if [[ -f $STAMPS/$name && $(cat "$STAMPS/$name") == "$now" ]]; then continue; fi
      if [[ $name != router ]] || ! renew_router; then
        restart+=("$name")
        service_restart "$name"
      fi
    else
      service_up "$name" || { echo "$name does not start"; service_log "$name" 20; return 1; }
    fi
    if [[ ! -f $STAMPS/$name || $(cat "$STAMPS/$name") != "$now" ]]; then printf '%s\n' "$now" > "$STAMPS/$name"; fi
  done < <(service_names)
  for name in "$STAMPS"/worker-*; do
    name=$(basename "$name")
    service_names | grep -x -- "$name" > /dev/null || rm -f "$STAMPS/$name"
  done
  if (( ${#restart[@]} )); then note "restarted, because their code or settings changed: ${restart[*]}"; fi
  if has_systemd; then systemctl is-active -q berth.target || systemctl start berth.target; fi
}

# New code or another port, and no request is dropped. Fails when a restart is needed after all.
renew_router() {
  local cfg before='' i
  cfg=$(env_value BERTH_ROOT /var/lib/berth)/router/haproxy.cfg
  before=$(sha256sum < "$cfg" 2> /dev/null) || true
  /opt/berth/current/deploy/exec.sh router-init || return 1
  if [[ $(sha256sum < "$cfg") == "$before" ]]; then return 0; fi
  haproxy -c -q -f "$cfg" || return 1
  if has_systemd; then systemctl reload berth-router.service; else sv 2 "$SERVICES/router"; fi
  for (( i = 0; i < 50; i++ )); do
    [[ -S $(env_value BERTH_RUN /run/berth)/haproxy.sock && -n $(port_holder "$(env_value BERTH_HTTP_PORT 80)") ]] && { note 'the router reads its new configuration'; return 0; }
    sleep 0.1
  done
  return 1
}

service_runs() { if has_systemd; then systemctl is-active -q "$(unit_of "$1")"; else runit_running "$1"; fi; }
service_up() { if has_systemd; then systemctl reset-failed "$(unit_of "$1")" 2> /dev/null || true; systemctl start "$(unit_of "$1")"; else runit_up "$1"; fi; }
service_restart() { if has_systemd; then systemctl restart "$(unit_of "$1")"; else sv -w 30 force-restart "$SERVICES/$1"; fi; }
service_log() {
  if has_systemd; then journalctl -u "$(unit_of "$1")" -n "${2:-15}" --no-pager 2> /dev/null || true
  else tail -n "${2:-15}" "/var/log/berth/$1/current" 2> /dev/null || true; fi
}

service_pid() {
  if has_systemd; then systemctl show -p MainPID --value "$(unit_of "$1")"
  else sv status "$SERVICES/$1" 2> /dev/null | sed -n 's/^run: [^(]*(pid \([0-9]*\)).*/\1/p'; fi
}

# How many workers say that they are there. Each by its pid: one that was stopped a moment ago may be listed still.
workers_here() {
  local listed name pid n=0
  listed=" $(timeout 10 /usr/local/bin/berth workers --format json 2> /dev/null | grep -o '"pid":[0-9]*' | cut -d : -f 2 | tr '\n' ' ') "
  while IFS= read -r name; do
    pid=$(service_pid "$name")
    if [[ -n $pid && $listed == *" $pid "* ]]; then n=$((n + 1)); fi
  done < <(service_names | grep '^worker-')
  printf '%d\n' "$n"
}

wait_ready() {
  local end=$((SECONDS + 90)) wanted have=0 version='' said='' name
  wanted=$(service_names | grep -c '^worker-')
  while (( SECONDS < end )); do
    if said=$(timeout 10 /usr/local/bin/berth version 2>&1); then
      version=$said
      have=$(workers_here)
      if (( have >= wanted )); then note "${version%%$'\n'*}; $have workers"; return 0; fi
    fi
    sleep 0.3
  done
  if [[ -z $version ]]; then echo "the API does not answer: $said"; else echo "$have of $wanted workers answer"; fi
  while IFS= read -r name; do
    service_runs "$name" && [[ $name != api ]] && continue
    printf '\n--- %s\n' "$name"; service_log "$name" 15
  done < <(service_names)
  return 1
}

stop_services() { # engine and sshd go on, whoever runs them
  local name i
  if has_systemd; then
    while IFS= read -r name; do systemctl disable --now "$name" || true; done < <(systemctl list-units --all --plain --no-legend 'berth*' | awk '{ print $1 }')
    rm -f /etc/systemd/system/berth.target /etc/systemd/system/berth-*.service
    rm -rf /etc/systemd/system/berth.target.wants
    systemctl daemon-reload
    return 0
  fi
  local engine=no shell=no
  if [[ -L $SERVICES/dockerd ]]; then engine=yes; fi
  if [[ -L $SERVICES/sshd ]]; then shell=yes; fi
  if supervisor_runs; then
    kill "$(cat "$SUPERVISOR_PID")"
    sleep 0.5
  fi
  for name in "$SERVICES"/*; do
    [[ -L $name ]] || continue
    name=$(basename "$name")
    rm -f "${SERVICES:?}/$name"
    sv -w 30 force-shutdown "$SV/$name" || true
  done
  # what ran under our supervisor but is not Berth's goes on without it; with live-restore no container notices
  if [[ $engine == yes && -z $(engine_version) ]]; then
    (cd / && exec 9>&- && exec setsid dockerd < /dev/null >> /var/log/dockerd.log 2>&1 &)
    for (( i = 0; i < 60; i++ )); do [[ -z $(engine_version) ]] || break; sleep 0.5; done
    note 'the Docker engine goes on as a plain process (log: /var/log/dockerd.log)'
  fi
  if [[ $shell == yes ]]; then
    install -d -m 0755 /run/sshd
    (cd / && exec 9>&- && exec setsid /usr/sbin/sshd)
    note 'sshd goes on as a plain process'
  fi
}
