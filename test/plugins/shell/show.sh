#!/bin/sh
set -eu
file="$BERTH_PLUGIN_DATA/$BERTH_APP_ID"
[ -f "$file" ] || { echo "$BERTH_APP was never stamped" >&2; exit 3; }
[ "${BERTH_INPUT_LAST:-false}" = true ] && exec tail -n 1 "$file"
exec cat "$file"
