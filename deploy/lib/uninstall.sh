# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# Removes Berth. Apps' containers keep running, and the data stays, unless --apps.

engine_call() { # <method> <path>
  curl -s --max-time 120 -X "$1" --unix-socket "$(engine_socket)" "http://engine$2"
}

ids_of() { # <list path> <field>: ids of what carries our label
  local instance filter
  instance=$(env_value BERTH_INSTANCE berth)
  filter="%7B%22label%22%3A%5B%22berth.instance%3D$instance%22%5D%7D"
  engine_call GET "$1${1:+?}all=1&filters=$filter" | grep -o "\"$2\":\"[^\"]*\"" | cut -d '"' -f 4 || true
}

remove_apps() {
  local id
  # a bootstrap that was interrupted early, or an engine that was taken away: there is nothing to remove them from
  if ! has dockerd && [[ ! -S $(engine_socket) ]]; then note 'there is no Docker engine on this machine any more'; return 0; fi
  [[ -n $(engine_version) ]] || { echo 'the engine does not answer: containers cannot be removed'; return 1; }
  for id in $(ids_of /containers/json Id); do engine_call DELETE "/containers/$id?force=1&v=1"; note "container ${id:0:12} removed"; done
  for id in $(ids_of /networks Id); do engine_call DELETE "/networks/$id"; done
  for id in $(ids_of /volumes Name); do engine_call DELETE "/volumes/$id?force=1"; done
  for id in $(ids_of /images/json Id | sort -u); do engine_call DELETE "/images/$id?force=1"; done
  # the stack images, one upon the other: the newest first
  for id in $(engine_call GET '/images/json?filters=%7B%22label%22%3A%5B%22berth.stack.definition%22%5D%7D' | grep -o '"Id":"[^"]*"' | cut -d '"' -f 4); do
    engine_call DELETE "/images/$id?force=1"
  done
}

remove_files() {
  local all=$1
  rm -f /usr/local/bin/berth
  rm -rf "$OPT" /run/berth /run/berth-builds
  if [[ $all == yes ]]; then
    rm -rf "$ROOT"
  elif [[ -e $ENV_FILE ]]; then
    cp -p "$ENV_FILE" "$ROOT/berth.env.saved"
    if [[ -e /etc/berth/installed-packages ]]; then cp -p /etc/berth/installed-packages "$ROOT/installed-packages.saved"; fi
  fi
  rm -rf /etc/berth
}

remove_user() {
  local dir
  # whoever is given the number of 'berth' next shall not find its files
  for dir in home repos sources; do
    if [[ -d $ROOT/$dir ]]; then chown root:root "$ROOT/$dir"; chmod 0700 "$ROOT/$dir"; fi
  done
  if getent passwd berth > /dev/null; then userdel berth; fi
  if getent group berth > /dev/null; then groupdel berth; fi
}

uninstall() { # <with apps: yes|no>
  local apps=$1 left packages=''
  if [[ ! -e $OPT && ! -e /etc/berth && ! -e $ROOT ]]; then say 'Berth is not installed here.'; return 0; fi
  packages=$(cat /etc/berth/installed-packages "$ROOT/installed-packages.saved" 2> /dev/null | sort -u | tr '\n' ' ') || true
  step 'Stopping Berth' 'see the log; sv status /run/berth/service/* or systemctl status "berth*"' stop_services
  if [[ $apps == yes ]]; then step "Removing the apps' containers, networks, volumes and images" 'start the Docker engine and run this again' remove_apps; fi
  step 'Taking our rules out of sshd' 'see the log' remove_sshd_rules
  step 'Removing the user berth' "something still runs as it: ps -u berth" remove_user
  left=$(ids_of /containers/json Id 2> /dev/null | wc -l)
  step 'Removing code, settings and sockets' 'see the log' remove_files "$apps"
  say ''
  say '=====> Berth is removed.'
  if [[ $apps == no ]]; then
    if (( left > 0 )); then indent "$left containers of apps keep running. They are reachable by their container addresses; the router is gone."; fi
    if [[ -e $ROOT ]]; then
      indent "The data stays in $ROOT (event log, repositories, keys, settings): deploy/bootstrap.sh finds it again."
      indent "To delete it and every app:  deploy/bootstrap.sh --uninstall --apps"
    fi
  fi
  if [[ $apps == yes ]]; then indent "The engine's build cache stays, it may hold others' builds:  docker builder prune"; fi
  if [[ -n $packages ]]; then indent "These packages were installed for Berth and stay:  apt-get remove ${packages% }"; fi
  indent "The logs stay in /var/log/berth."
}
