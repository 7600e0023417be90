/** The way into a service from outside: a small container beside it. What its image is made of. */
export const AMBASSADOR = {
  type: 'ambassador', version: '1',
  packaged: { packages: ['socat'], lines: [], script: '#!/bin/sh\nset -eu\n# one listener a word: port\nhost=$1; shift\nfor port do socat "TCP-LISTEN:$port,fork,reuseaddr,keepalive" "TCP:$host:$port" & done\nwait\n' },
} as const;
