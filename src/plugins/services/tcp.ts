import type { ServiceExec } from './service-type.js';

/** Whether something listens on the port: with bash, or with what Alpine has. */
export const listens = (port: number): ServiceExec => ({ argv: ['sh', '-c', 'if command -v bash > /dev/null; then exec timeout 5 bash -c ": < /dev/tcp/127.0.0.1/$1" 2> /dev/null; else exec nc -z -w 5 127.0.0.1 "$1"; fi', 'listens', String(port)] });

/**
 * Program for bash that says lines to the port and prints what comes back, until that is quiet for a second: its words as one line, or what is
 * piped in. @param greeting what is sent first, words of bash
 */
export const talk = (port: number, words: readonly string[], greeting = ''): readonly string[] => ['bash', '-c', `set -eu
exec 3<> /dev/tcp/127.0.0.1/${port}
${greeting}
if [ $# -gt 0 ]; then printf '%s\\r\\n' "$*"; else while IFS= read -r line || [ -n "$line" ]; do printf '%s\\r\\n' "\${line%$'\\r'}"; done; fi >&3
while IFS= read -r -t 1 line <&3; do printf '%s\\n' "\${line%$'\\r'}"; done`, 'talk', ...words];
