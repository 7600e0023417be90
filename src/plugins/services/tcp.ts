import type { ServiceExec } from './service-type.js';

/** Whether something listens on the port: with bash, or with what Alpine has. */
export const listens = (port: number): ServiceExec => ({ argv: ['sh', '-c', 'if command -v bash > /dev/null; then exec timeout 5 bash -c ": < /dev/tcp/127.0.0.1/$1" 2> /dev/null; else exec nc -z -w 5 127.0.0.1 "$1"; fi', 'listens', String(port)] });

/**
 * Program for bash that says lines to the port and prints what comes back: its words as one line, what is piped in, or what is typed.
 * @param greeting what is sent first, words of bash
 * @param farewell a line after which the server hangs up; null: the answer is over when it is quiet for two seconds
 */
export const talk = (port: number, words: readonly string[], greeting: string, farewell: string | null): readonly string[] => ['bash', '-c', `set -eu
exec 3<> /dev/tcp/127.0.0.1/${port}
${greeting}
show() { while IFS= read -r "$@" line <&3; do printf '%s\\n' "\${line%$'\\r'}"; done; }
say() { while IFS= read -r line || [ -n "$line" ]; do printf '%s\\r\\n' "\${line%$'\\r'}"; done; }
if [ $# -gt 0 ]; then printf '%s\\r\\n' "$*" >&3
elif [ -t 0 ]; then show & say >&3; kill $!; exit 0
else say >&3; fi
${farewell === null ? 'show -t 2' : `printf '${farewell}\\r\\n' >&3; show`}`, 'talk', ...words];
