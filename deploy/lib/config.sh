# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# /etc/berth/berth.env (written once; later runs add what is missing and keep the admin's edits), the user, the folders, sshd.

ENV_FILE=/etc/berth/berth.env
ROOT=/var/lib/berth
RUN=/run/berth

env_value() { # <key> <default>: what the file says
  local line value
  line=$(grep -E "^[[:space:]]*$1=" "$ENV_FILE" 2> /dev/null | tail -n 1) || true
  value=${line#*=}
  value=${value%"${value##*[![:space:]]}"}
  if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
  printf '%s\n' "${value:-$2}"
}

has_key() { grep -qE "^[[:space:]]*$1=" "$ENV_FILE" 2> /dev/null; }

add_key() { # <key> <value> [comment]
  has_key "$1" && return 0
  { [[ -z ${3:-} ]] || printf '\n# %s\n' "$3"; printf '%s=%s\n' "$1" "$2"; } >> "$TMP/env.new"
}

set_key() { # an option given on the command line wins over the file
  if has_key "$1"; then
    [[ $(env_value "$1" '') == "$2" ]] && return 0
    sed "s|^[[:space:]]*$1=.*|$1=${2//[|&\\]/\\&}|" "$ENV_FILE" > "$TMP/env.set"
    chmod 0640 "$TMP/env.set"; mv "$TMP/env.set" "$ENV_FILE"
    note "$1=$2"
  else
    add_key "$1" "$2" "${3:-}"
  fi
}

# The bundle that builds must trust, when this host trusts more than the distribution does.
private_ca_bundle() {
  local name bundle=/etc/ssl/certs/ca-certificates.crt
  if [[ -n $(find /usr/local/share/ca-certificates -name '*.crt' -size +0 2> /dev/null | head -n 1) ]]; then printf '%s\n' "$bundle"; return; fi
  for name in SSL_CERT_FILE NODE_EXTRA_CA_CERTS PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO; do
    if [[ -n ${!name:-} && -s ${!name} ]]; then printf '%s\n' "${!name}"; return; fi
  done
}

write_config() {
  local before='' ca name lower value kind
  install -d -m 0755 /etc/berth
  if [[ ! -e $ENV_FILE && -e $ROOT/berth.env.saved ]]; then
    cp -p "$ROOT/berth.env.saved" "$ENV_FILE"
    note 'settings of the earlier installation are back'
  fi
  if [[ -e $ENV_FILE ]]; then before=$(sha256sum < "$ENV_FILE"); fi
  rm -f "$TMP/env.new"
  if [[ ! -e $ENV_FILE ]]; then
    install -m 0640 /dev/null "$ENV_FILE"
    printf '%s\n' '# Settings of Berth. Edit them here; deploy/bootstrap.sh keeps what it finds and only adds what is missing.' \
      '# After a change: deploy/bootstrap.sh again (it restarts what the change touches).' > "$ENV_FILE"
  fi
  : > "$TMP/env.new"
  add_key BERTH_ROOT "$ROOT" 'data, and sockets'
  add_key BERTH_RUN "$RUN"
  if [[ -n $OPT_DOMAIN ]]; then set_key BERTH_DOMAIN "$OPT_DOMAIN" "the domain of apps (until 'berth domains:set-global')"
  else add_key BERTH_DOMAIN localhost "the domain of apps (until 'berth domains:set-global'); names under localhost need no DNS on this machine"; fi
  if [[ -n $OPT_HTTP_PORT ]]; then set_key BERTH_HTTP_PORT "$OPT_HTTP_PORT" "where the router listens"; else add_key BERTH_HTTP_PORT 80 'where the router listens'; fi
  if [[ -n $OPT_API_PORT ]]; then set_key BERTH_API_PORT "$OPT_API_PORT" "loopback port of the API (0: none)"; else add_key BERTH_API_PORT 3737 'loopback port of the API (0: none)'; fi
  # not the admin's choice: another user may have these numbers since an earlier installation
  set_key BERTH_GIT_UID "$(id -u berth)" 'the user that git runs as, and the group that may talk to the SSH socket'
  set_key BERTH_GIT_GID "$(id -g berth)"
  set_key BERTH_SSH_GID "$(id -g berth)"
  add_key BERTH_CONCURRENCY 2 'how many steps one worker does at the same time, and how many workers of each kind run'
  for kind in CLONE DETECT BUILD RELEASE ROUTE SERVICE; do add_key "BERTH_WORKERS_$kind" 1; done
  ca=$(private_ca_bundle)
  case $ca in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*) # the services do not see homes, and what is in /tmp goes
      install -m 0644 "$ca" "$ROOT/build-ca.pem"; ca=$ROOT/build-ca.pem ;;
  esac
  if [[ -n $ca ]]; then add_key BERTH_BUILD_CA "$ca" 'this host trusts private certificate authorities: builds trust the same bundle'; fi
  for name in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    lower=${name,,} value=${!name:-}
    value=${value:-${!lower:-}}
    if [[ -n $value ]]; then add_key "BERTH_BUILD_$name" "$value"; fi
  done
  if [[ -s $TMP/env.new ]]; then cat "$TMP/env.new" >> "$ENV_FILE"; fi
  rm -f "$TMP/env.new"
  if [[ -n $before && $before != $(sha256sum < "$ENV_FILE") ]]; then note "$ENV_FILE was completed"; fi
}

ensure_dir() { # <mode> <owner:group> <path>: only touches what is not as it should be
  local mode=$1 owner=$2 path=$3
  [[ -d $path ]] || mkdir -p "$path"
  [[ $(stat -c %a "$path") == "$mode" ]] || chmod "$mode" "$path"
  [[ $(stat -c %U:%G "$path") == "$owner" ]] || chown "$owner" "$path"
}

# The numbers that an earlier installation's files carry; nothing when there was none.
earlier_id() { # BERTH_GIT_UID | BERTH_GIT_GID
  local id='' file
  for file in "$ENV_FILE" "$ROOT/berth.env.saved"; do
    [[ -n $id || ! -e $file ]] || id=$(sed -n "s/^$1=\([0-9]\{1,9\}\)\$/\1/p" "$file" | tail -n 1)
  done
  printf '%s\n' "${id:-0}"
}

make_user() {
  local uid gid dir
  uid=$(earlier_id BERTH_GIT_UID) gid=$(earlier_id BERTH_GIT_GID)
  if ! getent passwd berth > /dev/null; then
    local same=(--user-group)
    # the same numbers again, when nobody has taken them since
    if (( uid > 0 && gid > 0 )) && ! getent passwd "$uid" > /dev/null && ! getent group "$gid" > /dev/null && ! getent group berth > /dev/null; then
      groupadd --system --gid "$gid" berth
      same=(--uid "$uid" --gid berth)
    elif getent group berth > /dev/null; then same=(--gid berth); fi
    useradd --system "${same[@]}" --home-dir "$ROOT/home" --no-create-home --shell /bin/sh --comment 'Berth git over SSH' berth
    note "made the user 'berth'"
  fi
  if (( uid > 0 && uid != $(id -u berth) )); then
    for dir in home repos sources; do
      if [[ -d $ROOT/$dir ]]; then chown -R -h --from="$uid" berth:berth "$ROOT/$dir"; fi
    done
  fi
  # '*': no password fits, and sshd does not take the account for a locked one ('!')
  if [[ $(getent shadow berth | cut -d : -f 2) != '*' ]]; then usermod -p '*' berth; fi
  if [[ $(getent passwd berth | cut -d : -f 7) != /bin/sh ]]; then usermod -s /bin/sh berth; fi
  if id -nG berth | tr ' ' '\n' | grep -x docker > /dev/null; then gpasswd -d berth docker; fi

  ensure_dir 711 root:root "$ROOT"
  ensure_dir 750 berth:berth "$ROOT/home"
  ensure_dir 755 berth:berth "$ROOT/repos"
  ensure_dir 750 berth:berth "$ROOT/sources"
  ensure_dir 700 root:root "$ROOT/keys"
  ensure_dir 750 root:root "$ROOT/logs"
  ensure_dir 750 root:root "$ROOT/cache"
  ensure_dir 755 root:root "$ROOT/router"
  ensure_dir 755 root:root "$ROOT/ssh"
  ensure_dir 751 root:root "$RUN"
  [[ -e $ROOT/ssh/authorized_keys ]] || install -m 0644 /dev/null "$ROOT/ssh/authorized_keys"
}

# ---- sshd ---------------------------------------------------------------------------------------------------------
SSHD_CONFIG=/etc/ssh/sshd_config
SSHD_PART=/etc/ssh/sshd_config.d/berth.conf
SSHD_BEGIN='# >>> berth (written by deploy/bootstrap.sh)'
SSHD_END='# <<< berth'

sshd_rules() {
  cat <<CONF
# Berth: git and commands over SSH. Keys are written by Berth, each with a forced command.
Match User berth
  AuthorizedKeysFile $ROOT/ssh/authorized_keys
  PubkeyAuthentication yes
  PasswordAuthentication no
  KbdInteractiveAuthentication no
  AllowTcpForwarding no
  AllowStreamLocalForwarding no
  AllowAgentForwarding no
  PermitTunnel no
  X11Forwarding no
  PermitTTY yes
  PermitUserRC no
  AcceptEnv GIT_PROTOCOL LANG
CONF
}

strip_block() { sed "/^${SSHD_BEGIN//\//\\/}\$/,/^$SSHD_END\$/d" "$SSHD_CONFIG"; }

configure_sshd() {
  local changed=no
  install -d -m 0755 /run/sshd
  ssh-keygen -A
  [[ -e $SSHD_CONFIG ]] || { echo "$SSHD_CONFIG is missing"; return 1; }
  if grep -qiE '^[[:space:]]*Include[[:space:]]+("?)/etc/ssh/sshd_config\.d/\*\.conf' "$SSHD_CONFIG"; then
    install -d -m 0755 /etc/ssh/sshd_config.d
    if ! cmp -s <(sshd_rules) "$SSHD_PART"; then
      sshd_rules > "$SSHD_PART"; chmod 0644 "$SSHD_PART"; changed=yes
    fi
    if grep -qF "$SSHD_BEGIN" "$SSHD_CONFIG"; then strip_block > "$TMP/sshd_config"; cat "$TMP/sshd_config" > "$SSHD_CONFIG"; changed=yes; fi
  else
    { strip_block; printf '%s\n' "$SSHD_BEGIN"; sshd_rules; printf '%s\n' "$SSHD_END"; } > "$TMP/sshd_config"
    if ! cmp -s "$TMP/sshd_config" "$SSHD_CONFIG"; then
      cp -p "$SSHD_CONFIG" "$TMP/sshd_config.before"
      cat "$TMP/sshd_config" > "$SSHD_CONFIG"; changed=yes
    fi
  fi
  if ! /usr/sbin/sshd -t; then
    rm -f "$SSHD_PART"
    if [[ -e $TMP/sshd_config.before ]]; then cat "$TMP/sshd_config.before" > "$SSHD_CONFIG"; fi
    echo 'sshd refuses the configuration (above); ours was taken out again'
    return 1
  fi
  local effective
  effective=$(/usr/sbin/sshd -T -C user=berth,host=localhost,addr=127.0.0.1)
  if ! grep -qixF "authorizedkeysfile $ROOT/ssh/authorized_keys" <<< "$effective"; then
    echo "sshd does not use $ROOT/ssh/authorized_keys for the user berth: an earlier 'Match' block wins in $SSHD_CONFIG"
    return 1
  fi
  if grep -qi '^allowusers ' <<< "$effective" && ! grep -qixE 'allowusers (berth|\*)' <<< "$effective"; then
    note "sshd has AllowUsers without 'berth': add it in $SSHD_CONFIG, or no push comes in"
  fi
  if grep -qi '^allowgroups ' <<< "$effective" && ! grep -qixE 'allowgroups (berth|\*)' <<< "$effective"; then
    note "sshd has AllowGroups without 'berth': add it in $SSHD_CONFIG, or no push comes in"
  fi
  if has_systemd; then
    if ! systemctl is-active -q ssh.socket && ! systemctl is-active -q ssh.service; then
      if systemctl list-unit-files ssh.socket 2> /dev/null | grep '^ssh.socket' > /dev/null && grep -qi ubuntu /etc/os-release; then systemctl enable --now ssh.socket
      else systemctl enable --now ssh.service; fi
    elif [[ $changed == yes ]]; then systemctl try-reload-or-restart ssh.service; fi
  elif [[ $changed == yes ]]; then reload_sshd; fi
}

# Without systemd: the listener rereads its configuration on HUP; sessions that are open stay.
reload_sshd() {
  local holder
  holder=$(port_holder "$(sshd_port)")
  if [[ $holder =~ ^sshd\ \(pid\ ([0-9]+)\) ]]; then kill -HUP "${BASH_REMATCH[1]}"; fi
}

remove_sshd_rules() {
  rm -f "$SSHD_PART"
  if grep -qF "$SSHD_BEGIN" "$SSHD_CONFIG" 2> /dev/null; then strip_block > "$TMP/sshd_config"; cat "$TMP/sshd_config" > "$SSHD_CONFIG"; fi
  if has_systemd; then systemctl try-reload-or-restart ssh.service || true; else reload_sshd; fi
}
