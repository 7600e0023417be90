import { posix } from 'node:path';
import { parse } from 'yaml';
import { StepFailure } from '../../events/step.js';

export const COMPOSE_FILES = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'] as const;

/** What of a compose file becomes an app, and what does not. */
export interface ComposePlan {
  /** `context`: folder, '' for the whole repository; `dockerfile`: path in the repository */
  readonly build: { readonly context: string; readonly dockerfile: string; readonly target: string | null; readonly args: readonly string[] };
  /** process type → command; null = the image's own */
  readonly processTypes: Readonly<Record<string, string | null>>;
  /** container port of web, null when the file does not say */
  readonly port: number | null;
  /** what has to be created beside the app */
  readonly services: readonly { readonly name: string; readonly kind: string; readonly version: string | null }[];
  /** what was taken how, and what was not and why: one line each */
  readonly notes: readonly string[];
}

/** images of services that are created beside an app, by the last part of their name */
const KINDS: Readonly<Record<string, string>> = {
  postgres: 'postgres', postgis: 'postgres', mysql: 'mysql', mariadb: 'mariadb', redis: 'redis', valkey: 'valkey', mongo: 'mongo', mongodb: 'mongo', rabbitmq: 'rabbitmq', memcached: 'memcached',
  elasticsearch: 'elasticsearch', opensearch: 'opensearch', clickhouse: 'clickhouse', 'clickhouse-server': 'clickhouse', minio: 'minio', nats: 'nats', meilisearch: 'meilisearch',
};
const TYPE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

type Service = Readonly<Record<string, unknown>>;
const isMap = (value: unknown): value is Service => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '');

/**
 * Reads a compose file as an app: services that are built are its process types, databases are named. Pure.
 * @param file how it is called in messages
 * @throws StepFailure `detect.compose` when it is not plain what the app would be: says why, and what to do
 */
export function planCompose(source: string, file: string): ComposePlan {
  const refuse = (why: string, hint: string): never => { throw new StepFailure('detect.compose', `${file} ${why}`, hint); };
  let whole: unknown;
  try {
    whole = parse(source, { merge: true, maxAliasCount: 200, logLevel: 'error' });
  } catch (error) {
    return refuse(`cannot be read: ${(error as Error).message.split('\n')[0]!.slice(0, 200)}`, 'docker compose config shows what is wrong with it');
  }
  if (!isMap(whole) || !isMap(whole['services']) || Object.keys(whole['services']).length === 0) return refuse('names no services', 'services: is a map of names');
  if (whole['include'] !== undefined) refuse('has an include, and other files are not read', 'write it as one file: docker compose config > compose.yaml');
  const notes: string[] = [];
  const built: [string, Service][] = [];
  const services: { name: string; kind: string; version: string | null }[] = [];
  for (const [name, value] of Object.entries(whole['services'])) {
    if (!isMap(value)) { refuse(`: service ${name} is no map`, 'see: docker compose config'); continue; }
    if (value['extends'] !== undefined) refuse(`: service ${name} extends another one`, 'write it as one file: docker compose config > compose.yaml');
    if (value['profiles'] !== undefined) notes.push(`${name} is not taken: it is of a profile, which is not always meant`);
    else if (value['build'] !== undefined) built.push([name, value]);
    else {
      const image = text(value['image']);
      const [, last = '', version] = /(?:^|\/)([^/:@]+)(?::([^/@]+))?(?:@.*)?$/.exec(image) ?? [];
      const kind = Object.hasOwn(KINDS, last) ? KINDS[last]! : null;
      if (kind !== null) services.push({ name, kind, version: version ?? null });
      else notes.push(`${name} is not taken: ${image === '' ? 'it has neither build nor image' : `it is an image of its own: make it an app: berth git:from-image <app> ${image}`}`);
    }
  }
  if (built.length === 0) return refuse('is not an app: no service of it is built from the repository', 'an image is deployed by berth git:from-image');
  const builds = built.map(([name, service]) => buildOf(name, service['build'], refuse));
  const [build] = builds as [ComposePlan['build']];
  if (builds.some((other) => JSON.stringify(other) !== JSON.stringify(build))) {
    refuse(`is more than one app: ${built.map(([name]) => name).join(', ')} are built from different folders or stages`, 'make each an app of its own: builder:set <app> build-dir <folder>, builder-dockerfile:set <app> target <stage>');
  }
  const web = webOf(built, refuse);
  if (web !== 'web') notes.push(`${web} is web: ${built.length === 1 ? 'it is the only one that is built' : 'it is the only one with ports'}`);
  const processTypes: Record<string, string | null> = {};
  for (const [name, service] of built) {
    const type = name === web ? 'web' : name;
    if (!TYPE.test(type)) refuse(`: ${JSON.stringify(name)} cannot be a process type`, 'lower-case letters, digits and hyphens, at most 63');
    if (service['entrypoint'] !== undefined) refuse(`: ${name} has an entrypoint of its own, which a process type has not`, 'say the whole command in command:, or in a Procfile');
    processTypes[type] = commandOf(service['command']);
    notes.push(...left(name, type, service));
  }
  return { build, processTypes, port: portOf(built.find(([name]) => name === web)![1]), services, notes };
}

type Refuse = (why: string, hint: string) => never;

function buildOf(name: string, value: unknown, refuse: Refuse): ComposePlan['build'] {
  const given = isMap(value) ? value : { context: value };
  const where = text(given['context'] ?? '.');
  const dockerfile = text(given['dockerfile'] ?? 'Dockerfile');
  const target = given['target'] === undefined ? null : text(given['target']);
  if ([where, dockerfile, target ?? ''].some((part) => /\$\{?\w/.test(part))) refuse(`: what ${name} is built from holds a variable`, 'write it out');
  if (given['dockerfile_inline'] !== undefined) refuse(`: the Dockerfile of ${name} stands in it`, 'make it a file');
  const context = posix.normalize(where).replace(/\/$/, '').replace(/^\.$/, '');
  const path = posix.normalize(posix.join(context, dockerfile));
  if (context.startsWith('/') || context.startsWith('..') || path.startsWith('..') || dockerfile.startsWith('/') || /^[a-z+]+:/.test(where) || where === '') refuse(`: ${name} is built from ${JSON.stringify(where).slice(0, 80)}, which is outside of the repository`, 'build from a folder of it');
  const args = given['args'];
  return { context, dockerfile: path, target, args: Array.isArray(args) ? args.map((arg) => text(arg).split('=')[0]!) : isMap(args) ? Object.keys(args) : [] };
}

function webOf(built: readonly [string, Service][], refuse: Refuse): string {
  if (built.some(([name]) => name === 'web')) return 'web';
  if (built.length === 1) return built[0]![0];
  const open = built.filter(([, service]) => Array.isArray(service['ports']) && service['ports'].length > 0);
  if (open.length === 1) return open[0]![0];
  return refuse(`does not say which of ${built.map(([name]) => name).join(', ')} is web: ${open.length === 0 ? 'none has' : 'several have'} ports`, 'call the one that answers HTTP web');
}

/** For a shell: words with anything odd in them are quoted; `$$` is a dollar. */
function commandOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  const plain = (word: unknown): string => text(word).replaceAll('$$', '$');
  if (!Array.isArray(value)) return plain(value) || null;
  return value.map(plain).map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}

function portOf(service: Service): number | null {
  const first = (Array.isArray(service['ports']) ? service['ports'] : []).concat(Array.isArray(service['expose']) ? service['expose'] : [])[0] as unknown;
  const found = isMap(first) ? text(first['target']) : (/(\d+)(?:\/tcp)?$/.exec(text(first))?.[1] ?? '');
  return /^\d{1,5}$/.test(found) && Number(found) > 0 && Number(found) < 65536 ? Number(found) : null;
}

/** What of a service that is taken is not, and what to do instead. Values are left out: they may be secrets. */
function left(name: string, type: string, service: Service): string[] {
  const notes: string[] = [];
  const environment = service['environment'];
  const keys = Array.isArray(environment) ? environment.map((pair) => text(pair).split('=')[0]!) : isMap(environment) ? Object.keys(environment) : [];
  if (keys.length > 0) notes.push(`${name}: environment is not taken: berth config:set <app> ${keys.map((key) => `${key}=…`).join(' ')}`);
  if (service['env_file'] !== undefined) notes.push(`${name}: env_file is not taken: berth config:import <app> FILE`);
  if (Array.isArray(service['volumes']) && service['volumes'].length > 0) notes.push(`${name}: volumes are not taken: containers keep nothing; use a service for data`);
  const deploy = service['deploy'];
  const replicas = Number(text(service['scale']) || (isMap(deploy) ? text(deploy['replicas']) : ''));
  if (replicas > 1) notes.push(`${name}: ${replicas} replicas: berth ps:scale <app> ${type}=${replicas}`);
  for (const key of ['healthcheck', 'networks', 'secrets', 'configs', 'privileged', 'cap_add', 'devices', 'network_mode', 'extra_hosts', 'user', 'working_dir']) if (service[key] !== undefined) notes.push(`${name}: ${key} is not taken`);
  return notes;
}
