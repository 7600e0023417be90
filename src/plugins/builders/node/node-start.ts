/**
 * Read before a Node app's processes start (`.profile.d`): what Heroku's users know about the memory, for programs that start several
 * workers. Where there is no limit, one worker a core.
 */
export const NODE_PROFILE = `limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null)
case $limit in
  ''|*[!0-9]*|????????????????*) ;;
  *) export MEMORY_AVAILABLE=$((limit / 1048576)) ;;
esac
export WEB_MEMORY=\${WEB_MEMORY:-512}
if [ -z "$WEB_CONCURRENCY" ]; then
  if [ -n "$MEMORY_AVAILABLE" ]; then WEB_CONCURRENCY=$((MEMORY_AVAILABLE / WEB_MEMORY)); else WEB_CONCURRENCY=$(nproc); fi
  [ "$WEB_CONCURRENCY" -ge 1 ] || WEB_CONCURRENCY=1
  export WEB_CONCURRENCY
fi
`;
