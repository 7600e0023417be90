#!/bin/bash
exec python3 -m http.server "$PORT" --directory files
