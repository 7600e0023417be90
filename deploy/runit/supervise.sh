#!/bin/sh
# Keeps runsvdir alive: supervise.sh <service folder> <pid file>. TERM ends both and leaves the services to 'sv'.
echo $$ > "$2"
child=''
trap 'trap - TERM; [ -z "$child" ] || kill "$child" 2> /dev/null; rm -f "$2"; exit 0' TERM
while :; do
  runsvdir -P "$1" &
  child=$!
  wait "$child"
  sleep 1
done
