import type { PackagedImage, RegistryImage, ServiceAccess, ServiceType } from './service-type.js';
import { mariadb, mysql } from './mariadb.service.js';
import { memcached } from './memcached.service.js';
import { nats } from './nats.service.js';
import { postgres } from './postgres.service.js';
import { rabbitmq } from './rabbitmq.service.js';
import { redis } from './redis.service.js';
import { s3 } from './s3.service.js';
import { REGISTRY_TYPES } from './registry.services.js';

export const SERVICE_TYPES: readonly ServiceType[] = [postgres, redis, mariadb, mysql, rabbitmq, memcached, nats, s3, ...REGISTRY_TYPES];

/** @throws Error no such type: a newer Berth wrote it */
export function serviceType(name: string): ServiceType {
  const found = SERVICE_TYPES.find(({ type }) => type === name);
  if (!found) throw new Error(`this Berth knows no services of type ${name}`);
  return found;
}

/** What apps call it in its network. */
export const hostOf = (type: string, name: string): string => `berth-${type}-${name}`;

/** A password, and whose turn it is: 0 is the type's first user, 1 its second, where it has one. */
export interface Turn { readonly password: string; readonly turn: number }

export function accessOf(type: ServiceType, name: string, password: string, turn = 0, former: Turn | null = null): ServiceAccess {
  const database = name.replaceAll('-', '_');
  const owner = type.user(database);
  const second = type.rotation?.how === 'beside' ? type.rotation.second?.(database) : undefined;
  const user = (whose: number): string => (whose === 1 ? (second ?? owner) : owner);
  return { name, host: hostOf(type.type, name), port: type.port, database, owner, user: user(turn), password, former: former && { user: user(former.turn), password: former.password } };
}

/** Whose turn is next: always the same one's where the type has one user. */
export const nextTurn = (type: ServiceType, turn: number): number => (type.rotation?.how === 'beside' && type.rotation.second ? 1 - turn : turn);

/** The DSN that an app gets. @param query `pool=5`, or null */
export const dsnOf = (type: ServiceType, name: string, password: string, query: string | null, turn = 0): string => {
  const dsn = type.dsn(accessOf(type, name, password, turn));
  return query === null ? dsn : `${dsn}${dsn.includes('?') ? '&' : '?'}${query}`;
};

/** How its server runs in the kind of image that it has. */
export function serverImage(type: ServiceType, source: 'packages' | 'registry'): RegistryImage | PackagedImage {
  return (source === 'packages' ? type.packaged : null) ?? type.registry;
}
