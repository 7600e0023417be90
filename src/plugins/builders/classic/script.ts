/** Exit codes of the script. */
export const EXIT = { refused: 20, compile: 21, release: 22, shape: 23, unpack: 24 } as const;

/** Paths in the container. */
export const PATHS = { build: '/tmp/build', cache: '/tmp/cache', buildpacks: '/tmp/buildpacks', out: '/tmp/out', work: '/tmp/berth', script: '/tmp/berth/run' } as const;

/**
 * Runs in the container; a fixed text, data comes by files and environment only. Paths are the classic API's: build, cache, env and
 * buildpack folders are writable, HOME is where the app will live. Arguments: how many buildpacks there are, and `strict` when
 * each bin/detect must say yes. Takes /tmp/berth/source.tar and buildpack.<n>.tar. Leaves in /tmp/out: `failure` (number, part, exit code), `release.<n>`, `Procfile`, `added` (paths
 * that were not in the source, NUL behind each; nothing below one that is named), `env.before` and `env.after` (what `export` files changed).
 */
export const SCRIPT = `#!/bin/bash
# one stream: the engine keeps the order of lines only within one
exec 2>&1
# the disk serves everybody else first
ionice -c 3 -p $$ 2>/dev/null
set -o pipefail
berth_build=/tmp/build berth_cache=/tmp/cache berth_env=/tmp/env berth_packs=/tmp/buildpacks berth_out=/tmp/out berth_work=/tmp/berth
berth_count=$1 berth_strict=$2

# what buildpacks exported is there for each program of the later ones, and touches nothing of ours
berth_within() {
  local berth_last=$1; shift
  ( for ((berth_i = 1; berth_i <= berth_last; berth_i++)); do if [ -f "$berth_packs/$berth_i/export" ]; then . "$berth_packs/$berth_i/export"; fi; done; exec "$@" )
}
berth_fail() { printf '%s\\n' "$2" "$3" "$4" > "$berth_out/failure"; exit "$1"; }
berth_list() { ( cd "$berth_build" && find . -mindepth 1 -printf '%P\\0' | LC_ALL=C sort -z ); }

berth_unpack() { mkdir -p "$2" && tar --extract --no-same-owner --file "$1" --directory "$2" && rm "$1"; }

# many buildpacks take apt's sources from this file alone, as older distributions had it
if [ ! -e /etc/apt/sources.list ] && command -v perl > /dev/null && compgen -G '/etc/apt/sources.list.d/*.sources' > /dev/null; then
  cat /etc/apt/sources.list.d/*.sources | perl -00 -ne 'my %f = map { /^([\\w-]+):\\s*(.*)$/ ? (lc $1, $2) : () } split /\\n/; for my $uri (split " ", $f{uris} // "") { for my $suite (split " ", $f{suites} // "") { print "deb [signed-by=$f{q(signed-by)}] $uri $suite $f{components}\\n" } }' > /etc/apt/sources.list && rm /etc/apt/sources.list.d/*.sources
fi

berth_unpack "$berth_work/source.tar" "$berth_build" || exit ${EXIT.unpack}
for ((berth_n = 1; berth_n <= berth_count; berth_n++)); do berth_unpack "$berth_work/buildpack.$berth_n.tar" "$berth_packs/$berth_n" || exit ${EXIT.unpack}; done
cd "$berth_build" || exit ${EXIT.unpack}
if [ -f .slugignore ] && [ ! -L .slugignore ]; then
  git init -q --bare "$berth_work/git"
  sed '/^[[:space:]]*!/d' .slugignore > "$berth_work/slugignore"
  git --git-dir="$berth_work/git" --work-tree="$berth_build" ls-files -z --others --ignored --directory --exclude-from="$berth_work/slugignore" | xargs -0r rm -rf --
fi
berth_list > "$berth_work/list"

for ((berth_n = 1; berth_n <= berth_count; berth_n++)); do
  berth_bp=$berth_packs/$berth_n
  chmod -f +x "$berth_bp"/bin/*
  if [ ! -f "$berth_bp/bin/detect" ] || [ ! -f "$berth_bp/bin/compile" ]; then berth_fail ${EXIT.shape} $berth_n bin 1; fi
  berth_name=$(berth_within $((berth_n - 1)) "$berth_bp/bin/detect" "$berth_build")
  berth_code=$?
  if [ $berth_code -eq 0 ]; then
    echo "-----> $(printf '%s' "$berth_name" | head -n1) app detected"
  else
    if [ -n "$berth_name" ]; then printf '%s\\n' "$berth_name"; fi
    if [ "$berth_strict" = strict ]; then berth_fail ${EXIT.refused} $berth_n bin/detect $berth_code; fi
    echo " !     its bin/detect says that it does not fit this app (exit code $berth_code); it is used because BUILDPACK_URL names it"
  fi
  berth_within $((berth_n - 1)) "$berth_bp/bin/compile" "$berth_build" "$berth_cache" "$berth_env" || berth_fail ${EXIT.compile} $berth_n bin/compile $?
  if [ -f "$berth_bp/bin/release" ]; then
    berth_within $berth_n "$berth_bp/bin/release" "$berth_build" > "$berth_out/release.$berth_n" || berth_fail ${EXIT.release} $berth_n bin/release $?
  fi
  cd "$berth_build" || berth_fail ${EXIT.compile} $berth_n bin/compile 1
done

rm -rf "$berth_build/.git" "$berth_build/.berth"
if [ -f "$berth_build/Procfile" ]; then cp "$berth_build/Procfile" "$berth_out/Procfile"; fi
berth_within 0 env -0 > "$berth_out/env.before"
berth_within $berth_count env -0 > "$berth_out/env.after"
berth_list | LC_ALL=C comm -z -13 "$berth_work/list" - | perl -0 -ne 'chomp; my $p = $_; my $below = 0; while ($p =~ s{/[^/]*\\z}{}s) { if ($r{$p}) { $below = 1; last } } next if $below; $r{$_} = 1; print "$_\\0"' > "$berth_out/added"
exit 0
`;
