#!/bin/sh
# Each event comes at least once, in order; its id tells one that comes twice. An exit code other than 0: it is tried again later.
set -eu
grep -qs "^$BERTH_EVENT_ID " "$BERTH_PLUGIN_DATA/seen" || echo "$BERTH_EVENT_ID $BERTH_EVENT $BERTH_APP" >> "$BERTH_PLUGIN_DATA/seen"
