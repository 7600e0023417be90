#!/bin/sh
# what comes on standard input is not needed: the variables say enough
set -eu
stamp="deploy-$BERTH_DEPLOY"
echo "$stamp" >> "$BERTH_PLUGIN_DATA/$BERTH_APP_ID"
echo "stamped $BERTH_APP with $stamp" >&2
printf '{ "add": { "env": { "STAMP": "%s" }, "labels": { "stamp": "%s" } }, "say": ["%s"] }' "$stamp" "$stamp" "$stamp"
