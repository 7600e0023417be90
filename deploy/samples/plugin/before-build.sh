#!/bin/sh
# A hook answers JSON, or nothing. This one refuses what is called "forbidden" and lets the others be.
set -eu
case "$BERTH_APP" in
  forbidden*) echo '{ "refuse": "apps of this name are not built here" }' ;;
esac
