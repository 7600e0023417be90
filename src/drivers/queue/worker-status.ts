import type { Redis } from 'ioredis';

/** seconds after which a worker that says nothing is not listed any more */
const TTL = 10;

const key = (instance: string, name: string): string => `${instance}:worker:${name}`;

/** Says how a worker is; a lost one is forgotten after ten seconds. */
export async function sayStatus(redis: Redis, instance: string, name: string, status: object): Promise<void> {
  await redis.set(key(instance, name), JSON.stringify(status), 'EX', TTL);
}

/** A worker that stops in good order is not listed any more. */
export async function forgetStatus(redis: Redis, instance: string, name: string): Promise<void> {
  await redis.del(key(instance, name));
}

/** Keys of the workers that spoke lately. */
export async function workerKeys(redis: Redis, instance: string): Promise<string[]> {
  const found: string[] = [];
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', key(instance, '*'), 'COUNT', 500);
    found.push(...keys);
    cursor = next;
  } while (cursor !== '0');
  return [...new Set(found)];
}
