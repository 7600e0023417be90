import { describe, expect, it } from 'vitest';
import { accessOf, dsnOf, SERVICE_TYPES, serviceType } from '../../plugins/services/types.js';
import type { RotationInstead } from '../../plugins/services/service-type.js';
import { containerOf } from './start.step.js';

const PASSWORD = '0123456789abcdef';
const context = (type: string, source: 'packages' | 'registry') => ({
  job: 'j1', attempt: 2, operation: 3,
  input: { service: 's1', type, name: 'my-db', image: { source, reference: 'x' }, settings: { memory: '512m', cpu: '0.5' }, secrets: {}, imageId: 'sha256:i' },
});
const made = (type: string, source: 'packages' | 'registry') => containerOf({ instance: 'berth' }, context(type, source), serviceType(type), accessOf(serviceType(type), 'my-db', PASSWORD), 'net');

describe('the container of a service', () => {
  it.each(SERVICE_TYPES.map(({ type }) => type))('of type %s is named, labelled, limited, and has its data in the service\'s volume', (type) => {
    const spec = made(type, 'registry');
    expect(spec).toMatchObject({
      name: `berth.${type}.my-db.o3a2`, image: 'sha256:i', network: 'net', aliases: type === 's3' ? ['berth-s3-my-db', 'my-db.berth-s3-my-db'] : [`berth-${type}-my-db`], memory: 512 << 20, cpus: 0.5, restart: 'unless-stopped', stopSeconds: serviceType(type).stopSeconds,
      labels: { instance: 'berth', service: 's1', job: 'j1', attempt: 2, type: 'service', index: 1 },
    });
    expect(spec.mounts).toEqual(type === 'memcached' ? [] : [{ name: 'berth.service.s1', path: serviceType(type).registry.volume }]);
    expect((spec.cmd ?? []).join(' ')).not.toContain(PASSWORD);
  });

  it.each([
    ['mongo', 'mongo:8', { MONGO_INITDB_ROOT_USERNAME: 'my_db', MONGO_INITDB_ROOT_PASSWORD: PASSWORD }, `mongodb://my_db:${PASSWORD}@berth-mongo-my-db:27017/my_db?authSource=admin`, ['sh', '-c']],
    ['elasticsearch', 'elasticsearch:9.1.4', { 'discovery.type': 'single-node', 'node.store.allow_mmap': 'false', 'xpack.security.enabled': 'true', 'xpack.security.http.ssl.enabled': 'false', ELASTIC_PASSWORD: PASSWORD }, `http://elastic:${PASSWORD}@berth-elasticsearch-my-db:9200`, ['curl', '-sS', '-f', '-K', '-', 'http://127.0.0.1:9200/_cluster/health?wait_for_status=yellow&timeout=1s']],
    ['opensearch', 'opensearchproject/opensearch:3', { 'discovery.type': 'single-node', 'node.store.allow_mmap': 'false', 'plugins.security.ssl.http.enabled': 'false', OPENSEARCH_INITIAL_ADMIN_PASSWORD: `Os-${PASSWORD}` }, `http://admin:Os-${PASSWORD}@berth-opensearch-my-db:9200`, ['curl', '-sS', '-f', '-K', '-', 'http://127.0.0.1:9200/_cluster/health?wait_for_status=yellow&timeout=1s']],
    ['meilisearch', 'getmeili/meilisearch:v1.22', { MEILI_MASTER_KEY: PASSWORD, MEILI_ENV: 'production', MEILI_NO_ANALYTICS: 'true' }, `http://:${PASSWORD}@berth-meilisearch-my-db:7700`, ['curl', '-sS', '-f', '-K', '-', 'http://127.0.0.1:7700/health']],
    ['clickhouse', 'clickhouse/clickhouse-server:25.8', { CLICKHOUSE_USER: 'my_db', CLICKHOUSE_PASSWORD: PASSWORD, CLICKHOUSE_DB: 'my_db', CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT: '1' }, `clickhouse://my_db:${PASSWORD}@berth-clickhouse-my-db:9000/my_db`, ['sh', '-c']],
    ['minio', 'minio/minio:RELEASE.2025-09-07T16-13-09Z', { MINIO_ROOT_USER: 'my-db-admin', MINIO_ROOT_PASSWORD: PASSWORD }, `http://my-db-admin:${PASSWORD}@berth-minio-my-db:9000`, ['sh', '-c']],
  ] as const)('of type %s, which the distribution does not package, is its image\'s', (name, reference, env, dsn, health) => {
    const type = serviceType(name);
    expect(type.packaged).toBe(null);
    expect(type.registry.reference).toBe(reference);
    expect(made(name, 'registry').env).toEqual(env);
    expect(dsnOf(type, 'my-db', PASSWORD, null)).toBe(dsn);
    expect(type.health(accessOf(type, 'my-db', PASSWORD)).argv).toEqual(expect.arrayContaining([...health]));
  });

  it.each([['mariadb', { MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: 'yes', MARIADB_ROOT_HOST: 'localhost' }], ['mysql', { MYSQL_ALLOW_EMPTY_PASSWORD: 'yes', MYSQL_ROOT_HOST: 'localhost' }]])('of %s lets root in from inside only, and knows no password', (type, env) => {
    expect(made(type, 'registry').env).toEqual(env);
    expect(made(type, 'packages').env).toEqual({});
  });

  it('is not called like what is the server\'s own', () => {
    for (const name of ['mysql', 'sys', 'information-schema', 'root']) expect(dsnOf(serviceType('mysql'), name, 'x', null)).toBe(`mysql://${name.replace('-', '_')}_db:x@berth-mysql-${name}:3306/${name.replace('-', '_')}_db`);
  });
});

describe('another password', () => {
  it('is given with the help of the one before where the server wants that', () => {
    const opened = (type: string, password: string) => accessOf(serviceType(type), 'my-db', password);
    const change = (type: string) => (serviceType(type).rotation as RotationInstead).change(opened(type, 'new'), opened(type, 'old'))!;
    const mongo = change('mongo');
    expect(mongo[0]!.env).toEqual({ AS_USER: 'my_db', AS_PASSWORD: 'new', OLD_PASSWORD: 'old' });
    const [opensearch] = change('opensearch');
    expect(opensearch!.stdin).toContain('user = "admin:Os-old"');
    expect(opensearch!.stdin).toContain('{\\"current_password\\":\\"Os-old\\",\\"password\\":\\"Os-new\\"}');
  });
});
