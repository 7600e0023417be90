#!/bin/sh
# What is written to standard error stands in the trace of the deploy.
set -eu
echo "greeting $BERTH_APP" >&2
printf '{ "add": { "env": { "GREETING": "hello from deploy %s" } }, "say": ["hello"] }' "$BERTH_DEPLOY"
