#!/bin/sh
# `output` is `text`: what is printed is shown, and the exit code is the command's.
set -eu
greeting="hello $BERTH_APP"
if [ "${BERTH_INPUT_LOUD:-false}" = true ]; then greeting="$(echo "$greeting" | tr a-z A-Z)!"; fi
echo "$greeting"
