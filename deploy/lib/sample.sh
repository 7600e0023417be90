# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# The sample Django blog, deployed the way every app is: a real 'git push' over SSH with a key that lives as long as the push.

SAMPLE_APP=blog
SAMPLE_KEY=bootstrap
SAMPLE_MARK=$ROOT/sample # the commit that bootstrap pushed

app_url() { # <app>
  local domain port
  domain=$(env_value BERTH_DOMAIN localhost) port=$(env_value BERTH_HTTP_PORT 80)
  if [[ $port == 80 ]]; then printf 'http://%s.%s\n' "$1" "$domain"; else printf 'http://%s.%s:%s\n' "$1" "$domain" "$port"; fi
}

# Through the router, without DNS.
fetch_app() {
  local domain port
  domain=$(env_value BERTH_DOMAIN localhost) port=$(env_value BERTH_HTTP_PORT 80)
  curl -s -S --noproxy '*' --max-time 15 -w '\n%{http_code}\n' --resolve "$1.$domain:$port:127.0.0.1" "$(app_url "$1")/"
}

app_exists() { /usr/local/bin/berth apps:exists "$1" > /dev/null 2>&1; }

sample_answers() {
  local page
  page=$(fetch_app "$SAMPLE_APP" 2> /dev/null) || return 1
  [[ ${page##*$'\n'} == 200 ]] && grep -qi "$SAMPLE_TEXT" <<< "$page"
}
SAMPLE_TEXT='notes from the berth'

# The same files make the same commit: names and dates are fixed.
sample_repository() { # <folder>
  local dir=$1
  cp -a /opt/berth/current/deploy/samples/blog "$dir"
  find "$dir" \( -name __pycache__ -o -name '*.sqlite3' -o -name .git \) -prune -exec rm -rf {} +
  (
    cd "$dir"
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
    export GIT_AUTHOR_NAME=Berth GIT_AUTHOR_EMAIL=berth@localhost GIT_AUTHOR_DATE='2026-01-01T00:00:00Z'
    export GIT_COMMITTER_NAME=Berth GIT_COMMITTER_EMAIL=berth@localhost GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
    git init -q -b main .
    git add -A
    git commit -q -m 'The sample blog'
    git rev-parse HEAD
  )
}

# Shown live; the page is looked at through the router in the end.
deploy_sample() {
  local commit work=$TMP/sample key=$TMP/key port rc=0 start=${EPOCHREALTIME/[.,]/} pushed='' live=''
  commit=$(sample_repository "$work" 2>> "$LOG" | tail -n 1)
  pushed=$(cat "$SAMPLE_MARK" 2> /dev/null) || true
  if ! app_exists "$SAMPLE_APP"; then
    if [[ -n $pushed ]]; then
      say "-----> The sample: destroyed by somebody since it was deployed, left that way (rm $SAMPLE_MARK to have it again)"
      return 0
    fi
  elif [[ $(sample_field apps:info createdBy) != "key:$SAMPLE_KEY" ]]; then
    say "-----> The sample: an app called '$SAMPLE_APP' is here already and is somebody's own, left alone"
    return 0
  else
    live=$(sample_field git:report sha)
    if [[ -n $live && $live != "$commit" && $live != "$pushed" ]]; then
      say "-----> The sample: somebody pushed something else to '$SAMPLE_APP' since, left alone"
      return 0
    elif [[ -n $live ]]; then
      if sample_answers; then
        [[ $pushed == "$live" ]] || printf '%s\n' "$live" > "$SAMPLE_MARK"
        say "-----> The sample is live already: $(app_url "$SAMPLE_APP")"
        return 0
      fi
      warn "The sample was deployed, but $(app_url "$SAMPLE_APP") does not answer as it should: berth trace $SAMPLE_APP; berth ps:restart $SAMPLE_APP"
      return 1
    fi
  fi

  say '-----> Deploying the sample by git push over SSH'
  port=$(sshd_port)
  ssh-keygen -q -t ed25519 -N '' -C 'berth bootstrap, thrown away after the push' -f "$key"
  /usr/local/bin/berth ssh-keys:remove "$SAMPLE_KEY" >> "$LOG" 2>&1 || true
  /usr/local/bin/berth ssh-keys:add "$SAMPLE_KEY" < "$key.pub" >> "$LOG" 2>&1 || { warn 'berth ssh-keys:add failed:'; tail -n 5 "$LOG" >&2; return 1; }
  printf '       $ git push ssh://berth@127.0.0.1:%s/%s main\n' "$port" "$SAMPLE_APP"
  set +e
  GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 \
    GIT_SSH_COMMAND="ssh -F /dev/null -i '$key' -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile='$TMP/known_hosts' -o LogLevel=ERROR" \
    git -C "$work" push "ssh://berth@127.0.0.1:$port/$SAMPLE_APP" main 2>&1 < /dev/null | tee -a "$LOG" | sed -u 's/ *$//; s/^/       /'
  rc=${PIPESTATUS[0]}
  set -e
  /usr/local/bin/berth ssh-keys:remove "$SAMPLE_KEY" >> "$LOG" 2>&1 || warn "the key '$SAMPLE_KEY' could not be removed: berth ssh-keys:remove $SAMPLE_KEY"
  rm -f "$key" "$key.pub"
  if (( rc != 0 )); then
    warn "The push failed (exit $rc). What to do: berth trace $SAMPLE_APP; berth jobs:failed; the log is $LOG"
    return 1
  fi
  printf '%s\n' "$commit" > "$SAMPLE_MARK"
  if ! sample_answers; then
    warn "The push went through, but $(app_url "$SAMPLE_APP") does not show the blog:"
    fetch_app "$SAMPLE_APP" 2>&1 | tail -n 8 >&2
    return 1
  fi
  indent "$(app_url "$SAMPLE_APP") answers 200 through the router; $(seconds_since "$start") s"
}

sample_field() { # <command> <field>: of the sample app, from the command's JSON
  /usr/local/bin/berth "$1" "$SAMPLE_APP" --format json 2> /dev/null | grep -o "\"$2\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4 || true
}
