import type { ServiceType } from './service-type.js';
import { listens, talk } from './tcp.js';

export const memcached: ServiceType = {
  type: 'memcached', aliases: [], title: 'Memcached', version: '1.6',
  registry: { reference: 'memcached:1.6', volume: null, env: () => ({}), command: () => null },
  packaged: { packages: ['memcached'], lines: [], script: '#!/bin/sh\nexec memcached -u memcache -l 0.0.0.0 "$@"\n', volume: null, env: () => ({}), command: () => null },
  port: 11211, ports: [], stopSeconds: 10, variable: 'MEMCACHED_URL',
  user: () => '',
  dsn: ({ host, port }) => `memcached://${host}:${port}`,
  health: () => listens(11211),
  setup: () => [],
  rotation: null,
  tellVersion: { argv: ['memcached', '-V'] },
  connect: (_, words) => ({ argv: talk(11211, words, '', 'quit') }),
  dumps: null, noDumps: 'it keeps nothing but in memory',
};
