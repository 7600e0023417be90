import type { ServiceAccess, ServiceExec, ServiceType } from './service-type.js';
import { listens } from './tcp.js';

/** Types that the distribution does not package: their images come from a registry. */

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
/** Asks the server for a path; what nobody shall see in a list of processes comes by curl's standard input. */
const curl = (port: number, path: string, config: string): ServiceExec => ({ argv: ['curl', '-sS', '-f', '-K', '-', `http://127.0.0.1:${port}/${path.replace(/^\//, '')}`], stdin: config });
const basic = ({ user, password }: ServiceAccess): string => `user = "${escaped(`${user}:${password}`)}"\n`;
const web = ({ user, password, host, port }: ServiceAccess): string => `http://${user}:${encodeURIComponent(password)}@${host}:${port}`;

/** each of them takes its password from its container's environment whenever it starts */
const common = {
  aliases: [], packaged: null, ports: [], stopSeconds: 60, setup: () => [], rotation: { how: 'instead', change: () => null },
  dumps: null, noDumps: 'Berth knows no dump of it that could be brought in all or nothing; use its own tools',
} satisfies Partial<ServiceType>;

/** in mongosh; no secret is one of its words */
const AS = 'db.getSiblingDB("admin").auth(process.env.AS_USER, process.env.AS_PASSWORD)';
/** whether the change was made by an attempt before, or is to be made */
const CHANGE = 'const admin = db.getSiblingDB("admin"); try { admin.auth(process.env.AS_USER, process.env.AS_PASSWORD) } catch { admin.auth(process.env.AS_USER, process.env.OLD_PASSWORD); admin.changeUserPassword(process.env.AS_USER, process.env.AS_PASSWORD) }';
const mongoEnv = ({ user, password }: ServiceAccess): Record<string, string> => ({ AS_USER: user, AS_PASSWORD: password });

const mongo: ServiceType = {
  ...common, type: 'mongo', aliases: ['mongodb'], title: 'MongoDB', version: '8',
  registry: { reference: 'mongo:8', volume: '/data/db', env: ({ user, password }) => ({ MONGO_INITDB_ROOT_USERNAME: user, MONGO_INITDB_ROOT_PASSWORD: password }), command: () => null },
  port: 27017, variable: 'MONGO_URL',
  user: (name) => name,
  dsn: ({ user, password, host, port, database }) => `mongodb://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}?authSource=admin`,
  // by its own address: while it is being made it listens on the loopback
  health: (access) => ({ argv: ['sh', '-c', `exec mongosh --quiet --host "$(hostname)" --eval '${AS}; db.adminCommand("ping").ok || quit(1)'`], env: mongoEnv(access) }),
  rotation: { how: 'instead', change: (access, before) => [{ argv: ['mongosh', '--quiet', '--host', '127.0.0.1', '--eval', CHANGE], env: { ...mongoEnv(access), OLD_PASSWORD: before.password } }] },
  tellVersion: { argv: ['mongod', '--version'] },
  connect: (access, words) => ({
    argv: words.length > 0 ? ['mongosh', '--quiet', '--host', '127.0.0.1', access.database, '--eval', AS, '--eval', words.join(' ')]
      : ['sh', '-c', 'if [ -t 0 ]; then exec mongosh "$@" --shell; else exec mongosh "$@" --file /dev/stdin; fi', 'mongosh', '--quiet', '--host', '127.0.0.1', access.database, '--eval', AS],
    env: mongoEnv(access),
  }),
};

const elasticsearch: ServiceType = {
  ...common, type: 'elasticsearch', title: 'Elasticsearch', version: '9',
  registry: {
    reference: 'elasticsearch:9.1.4', volume: '/usr/share/elasticsearch/data', command: () => null,
    // mmap wants a setting of the host's kernel
    env: ({ password }) => ({ 'discovery.type': 'single-node', 'node.store.allow_mmap': 'false', 'xpack.security.enabled': 'true', 'xpack.security.http.ssl.enabled': 'false', ELASTIC_PASSWORD: password }),
  },
  port: 9200, variable: 'ELASTICSEARCH_URL',
  user: () => 'elastic',
  dsn: web,
  health: (access) => curl(9200, '_cluster/health?wait_for_status=yellow&timeout=1s', basic(access)),
  tellVersion: { argv: ['bin/elasticsearch', '--version'] },
  connect: (access, words) => curl(9200, words[0] ?? '', basic(access)),
};

/** It takes none without a capital letter and a sign. */
const strong = (access: ServiceAccess): ServiceAccess => ({ ...access, password: `Os-${access.password}` });

const opensearch: ServiceType = {
  ...common, type: 'opensearch', title: 'OpenSearch', version: '3',
  registry: {
    reference: 'opensearchproject/opensearch:3', volume: '/usr/share/opensearch/data', command: () => null,
    env: (access) => ({ 'discovery.type': 'single-node', 'node.store.allow_mmap': 'false', 'plugins.security.ssl.http.enabled': 'false', OPENSEARCH_INITIAL_ADMIN_PASSWORD: strong(access).password }),
  },
  port: 9200, variable: 'OPENSEARCH_URL',
  user: () => 'admin',
  dsn: (access) => web(strong(access)),
  health: (access) => curl(9200, '_cluster/health?wait_for_status=yellow&timeout=1s', basic(strong(access))),
  rotation: { how: 'instead', change: (access, before) => [curl(9200, '_plugins/_security/api/account', `${basic(strong(before))}request = "PUT"\nheader = "Content-Type: application/json"\ndata = "${escaped(JSON.stringify({ current_password: strong(before).password, password: strong(access).password }))}"\n`)] },
  tellVersion: { argv: ['bin/opensearch', '--version'] },
  connect: (access, words) => curl(9200, words[0] ?? '', basic(strong(access))),
};

const meilisearch: ServiceType = {
  ...common, type: 'meilisearch', title: 'Meilisearch', version: '1',
  registry: { reference: 'getmeili/meilisearch:v1.22', volume: '/meili_data', env: ({ password }) => ({ MEILI_MASTER_KEY: password, MEILI_ENV: 'production', MEILI_NO_ANALYTICS: 'true' }), command: () => null },
  port: 7700, variable: 'MEILISEARCH_URL',
  user: () => '',
  dsn: ({ password, host, port }) => `http://:${encodeURIComponent(password)}@${host}:${port}`,
  health: () => curl(7700, 'health', ''),
  tellVersion: { argv: ['meilisearch', '--version'] },
  connect: ({ password }, words) => curl(7700, words[0] ?? '', `header = "${escaped(`Authorization: Bearer ${password}`)}"\n`),
};

const clickhouseClient = ({ user, password, database }: ServiceAccess, ...words: string[]): ServiceExec => ({ argv: ['sh', '-c', 'exec clickhouse-client --host "$(hostname)" "$@"', 'clickhouse-client', `--user=${user}`, `--database=${database}`, ...words], env: { CLICKHOUSE_PASSWORD: password } });

const clickhouse: ServiceType = {
  ...common, type: 'clickhouse', title: 'ClickHouse', version: '25.8',
  registry: { reference: 'clickhouse/clickhouse-server:25.8', volume: '/var/lib/clickhouse', env: ({ user, password, database }) => ({ CLICKHOUSE_USER: user, CLICKHOUSE_PASSWORD: password, CLICKHOUSE_DB: database, CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT: '1' }), command: () => null },
  port: 9000, ports: [8123], variable: 'CLICKHOUSE_URL',
  user: (name) => name,
  dsn: ({ user, password, host, port, database }) => `clickhouse://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`,
  health: (access) => clickhouseClient(access, '--query=SELECT 1'),
  tellVersion: { argv: ['clickhouse-server', '--version'] },
  connect: (access, words) => clickhouseClient(access, ...(words.length > 0 ? [`--query=${words.join(' ')}`] : ['--multiquery'])),
};

const minio: ServiceType = {
  ...common, type: 'minio', title: 'MinIO', version: '2025',
  registry: { reference: 'minio/minio:RELEASE.2025-09-07T16-13-09Z', volume: '/data', env: ({ user, password }) => ({ MINIO_ROOT_USER: user, MINIO_ROOT_PASSWORD: password }), command: () => ['server', '/data'] },
  port: 9000, variable: 'MINIO_URL',
  // three characters at least, and no underscore
  user: (name) => `${name.replaceAll('_', '-')}-admin`,
  dsn: web,
  health: () => listens(9000),
  tellVersion: { argv: ['minio', '--version'] },
  connect: ({ user, password }, words) => ({ argv: ['mc', ...words], env: { MC_HOST_local: `http://${user}:${encodeURIComponent(password)}@127.0.0.1:9000` } }),
};

export const REGISTRY_TYPES: readonly ServiceType[] = [mongo, elasticsearch, opensearch, meilisearch, clickhouse, minio];
