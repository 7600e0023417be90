#!/bin/sh
echo '{ "add": { "buildArgs": { "STAMP_ARG": "built" } } }'
