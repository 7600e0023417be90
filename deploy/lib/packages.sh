# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# What comes from the distribution. Only what is missing; nothing that it would start by itself is left running.

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK='# written by berth bootstrap'

# Packages that start a service of their own, which Berth does not use: it runs its own instances.
UNUSED_SERVICES=(redis-server haproxy)

missing_packages() {
  local pair command package
  local wanted=(dockerd:docker.io redis-server:redis-server sshd:openssh-server ssh:openssh-client ssh-keygen:openssh-client haproxy:haproxy git:git
    debootstrap:debootstrap gpgv:gpgv curl:curl ss:iproute2 iptables:iptables npm:npm openssl:openssl)
  has_systemd || wanted+=(runsvdir:runit svlogd:runit)
  for pair in "${wanted[@]}"; do
    command=${pair%%:*} package=${pair#*:}
    has "$command" || [[ -x /usr/sbin/$command || -x /sbin/$command ]] || printf '%s\n' "$package"
  done
  [[ -s /etc/ssl/certs/ca-certificates.crt ]] || printf 'ca-certificates\n'
  [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || printf 'debian-archive-keyring\n'
}

hold_policy() {
  release_policy
  if [[ -e $POLICY ]]; then mv "$POLICY" "$POLICY.berth-saved"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" > "$POLICY"
  chmod 0755 "$POLICY"
}

release_policy() {
  if [[ -f $POLICY ]] && grep -qF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
  if [[ -e $POLICY.berth-saved && ! -e $POLICY ]]; then mv "$POLICY.berth-saved" "$POLICY"; fi
}

# apt-get; waits up to 120 s for somebody else's lock, and tries a failed download once more.
apt() {
  local end=$((SECONDS + 120)) again=yes
  while :; do
    if DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef \
      -o Dpkg::Options::=--force-confold -o APT::Update::Error-Mode=any "$@" 2>&1 | tee "$TMP/apt"; then return 0; fi
    if grep -qE 'Could not get lock|Unable to lock|Unable to acquire' "$TMP/apt" && (( SECONDS < end )); then sleep 3; continue; fi
    [[ $again == yes ]] || return 1
    again=no
    echo "apt-get $1 failed; once more"
    sleep 3
  done
}

install_packages() {
  local missing quiet=() unit
  mapfile -t missing < <(missing_packages | sort -u)
  if [[ -n $(find /var/lib/dpkg/updates -type f 2> /dev/null | head -n 1) ]] || dpkg --audit 2> /dev/null | grep . > /dev/null; then
    DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confdef --force-confold
  fi
  if (( ${#missing[@]} == 0 )); then
    release_policy
    quiet_services
    note 'nothing is missing'
    return 0
  fi
  for unit in "${UNUSED_SERVICES[@]}"; do
    if [[ " ${missing[*]} " == *" $unit "* ]]; then quiet+=("$unit"); fi
  done
  hold_policy
  apt update
  # noted before the installation: an interrupted run still knows what it brought
  install -d -m 0755 /etc/berth
  if (( ${#quiet[@]} )); then printf '%s\n' "${quiet[@]}" >> /etc/berth/services-to-quiet; fi
  printf '%s\n' "${missing[@]}" >> /etc/berth/installed-packages
  sort -u -o /etc/berth/installed-packages /etc/berth/installed-packages
  apt install --no-install-recommends "${missing[@]}"
  release_policy
  note "installed: ${missing[*]}"
  quiet_services
}

# Stops and disables the distribution's instances of what we brought; those that were there before are the admin's.
quiet_services() {
  local unit
  [[ -f /etc/berth/services-to-quiet ]] || return 0
  while IFS= read -r unit; do
    if has_systemd; then systemctl disable --now "$unit.service" || true
    elif has systemctl; then systemctl disable "$unit.service" || true; fi
    if has update-rc.d && [[ -e /etc/init.d/$unit ]]; then update-rc.d "$unit" disable || true; fi
  done < /etc/berth/services-to-quiet
  rm -f /etc/berth/services-to-quiet
}
