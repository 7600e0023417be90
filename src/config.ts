import { availableParallelism, hostname, totalmem } from 'node:os';
import { join } from 'node:path';

/** Everything the environment decides, read once; the only reader of `process.env`. */
export interface Config {
  /** data: `berth.db`, `repos/`, `logs/`, `sources/`, `keys/`, `cache/`, `router/` */
  readonly root: string;
  /** sockets */
  readonly run: string;
  /** `sqlite:<file>` or `postgres://…` */
  readonly store: string;
  /** ioredis URL or the path of a unix socket */
  readonly redis: string;
  readonly dockerSocket: string;
  /** what marks everything that is ours in the engine: label `berth.instance`, prefix of names */
  readonly instance: string;
  /** where the router listens for apps' HTTP */
  readonly httpPort: number;
  /** loopback port of the API for bearer tokens; 0 = none */
  readonly apiPort: number;
  /** the domain of apps until `domains:set-global` */
  readonly domain: string;
  /** PEM bundle that builds shall trust instead of their image's, or null */
  readonly buildCa: string | null;
  /** proxy variables handed to builds */
  readonly buildProxy: Readonly<Record<string, string>>;
  /** where programs of services come from that are compiled here, as Go's GOPROXY; null: Go's own */
  readonly goProxy: string | null;
  /** user that git runs as, or null for our own */
  readonly gitUser: { readonly uid: number; readonly gid: number } | null;
  readonly concurrency: number;
  /** pool of app networks, CIDR; every app gets a /24 of it */
  readonly networkPool: string;
  /** bytes that a build may use; 60 % of the machine's memory unless said; 0 = no limit */
  readonly buildMemory: number;
  /** CPUs that a build may use; half of the machine's, at least one, unless said; 0 = no limit */
  readonly buildCpus: number;
  readonly buildTimeoutMs: number;
  /** bytes that the build caches of an app, and of all, may be; 0 = no limit, null = a part of the engine's disk (see cacheLimits) */
  readonly caches: { readonly app: number | null; readonly total: number | null };
  /** bytes that a plugin may keep in its folder */
  readonly pluginDisk: number;
  readonly host: string;
}

function integer(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined || text === '') return fallback;
  if (!/^\d+$/.test(text)) throw new Error(`${name}=${text}: a whole number is needed`);
  return Number(text);
}

/** Reads the environment; throws with the variable's name when a value is unusable. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const root = env['BERTH_ROOT'] ?? '/var/lib/berth';
  const uid = env['BERTH_GIT_UID'];
  const cpus = Number(env['BERTH_BUILD_CPUS'] || Math.max(1, availableParallelism() / 2));
  if (!Number.isFinite(cpus) || cpus < 0) throw new Error(`BERTH_BUILD_CPUS=${env['BERTH_BUILD_CPUS']}: a number of CPUs is needed`);
  const optional = (name: string): number | null => (env[name] ? integer(name, env[name], 0) : null);
  const proxy: Record<string, string> = {};
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    const value = env[`BERTH_BUILD_${name}`];
    if (value) proxy[name] = value;
  }
  return Object.freeze({
    root,
    run: env['BERTH_RUN'] ?? '/run/berth',
    store: env['BERTH_STORE'] ?? `sqlite:${join(root, 'berth.db')}`,
    redis: env['BERTH_REDIS'] ?? '/run/berth/redis.sock',
    dockerSocket: env['BERTH_DOCKER'] ?? '/var/run/docker.sock',
    instance: env['BERTH_INSTANCE'] ?? 'berth',
    httpPort: integer('BERTH_HTTP_PORT', env['BERTH_HTTP_PORT'], 80),
    apiPort: integer('BERTH_API_PORT', env['BERTH_API_PORT'], 3737),
    domain: env['BERTH_DOMAIN'] ?? 'localhost',
    buildCa: env['BERTH_BUILD_CA'] || null,
    buildProxy: proxy,
    goProxy: env['BERTH_GO_PROXY'] || null,
    gitUser: uid ? { uid: integer('BERTH_GIT_UID', uid, 0), gid: integer('BERTH_GIT_GID', env['BERTH_GIT_GID'], integer('BERTH_GIT_UID', uid, 0)) } : null,
    concurrency: Math.max(1, integer('BERTH_CONCURRENCY', env['BERTH_CONCURRENCY'], 2)),
    networkPool: env['BERTH_NETWORK_POOL'] ?? '10.208.0.0/12',
    buildMemory: integer('BERTH_BUILD_MEMORY', env['BERTH_BUILD_MEMORY'], Math.floor(totalmem() * 0.6)),
    buildCpus: cpus,
    buildTimeoutMs: integer('BERTH_BUILD_TIMEOUT', env['BERTH_BUILD_TIMEOUT'], 1800) * 1000,
    caches: { app: optional('BERTH_CACHE_APP'), total: optional('BERTH_CACHE_TOTAL') },
    pluginDisk: integer('BERTH_PLUGIN_DISK', env['BERTH_PLUGIN_DISK'], 1e9),
    host: hostname(),
  });
}
