import { SERVICE_TYPES } from '../../plugins/services/types.js';
import { Rejected } from '../../events/decider.js';
import type { AnyCommand } from '../commands/command.js';
import { copyCommands } from '../copies/copy.commands.js';
import type { Core } from '../core.js';
import { dataCommands } from './data.commands.js';
import { linkCommands } from './links.commands.js';
import { lifeCommands, ServiceInput } from './services.commands.js';
import { serviceKey } from './services.projection.js';
import type { ServiceType } from '../../plugins/services/service-type.js';

const backupCommands = (type: ServiceType) => (type.dumps === null ? [] : copyCommands({
  prefix: type.type, input: ServiceInput, path: `/services/${type.type}/:service`, example: 'blog', what: `a ${type.title} service`, pauses: false,
  find: async (core, { service }) => {
    const { id, name } = await core.service(type.type, service);
    return { subject: { type: 'service', service: id }, name: `${type.type} ${name}`, seal: id };
  },
  others: { find: (core, name, destroyed) => former(core, type.type, name, destroyed), named: ({ service }) => service },
}));

/** The service of that name, or one that was: the newest with backups. @throws Rejected when there never was one */
async function former(core: Core, type: string, name: string, destroyed: boolean) {
  const one = (service: string, destroyedAt: number | null) => ({ subject: { type: 'service', service }, name: `${type} ${name}`, seal: service, destroyedAt }) as const;
  const there = (await core.services.now()).names[serviceKey(type, name)];
  if (there !== undefined && !destroyed) return one(there, null);
  const gone = (await core.store.readAll(0, Number.MAX_SAFE_INTEGER, { types: ['ServiceDestroyed'] })).map(({ at, data }) => ({ at, ...(data as { service: string; type: string; name: string }) })).filter((each) => each.type === type && each.name === name);
  const { groups } = await core.copies.now();
  const found = gone.findLast(({ service }) => (groups[service]?.copies.length ?? 0) > 0) ?? gone.at(-1);
  if (!found) throw new Rejected('service.missing', destroyed ? `No ${type} service ${name.slice(0, 60)} was ever destroyed` : `${type} service ${name.slice(0, 60)} does not exist, and never did`, `see: berth ${type}:list`, 20);
  return one(found.service, found.at);
}

const commandsOf = (type: ServiceType): AnyCommand[] => [...lifeCommands(type), ...linkCommands(type), ...dataCommands(type), ...backupCommands(type)];

/** Other spellings of a type's commands, those left out that are commands of their own: `postgresql:info` of `postgres:info`. */
function spellings({ type, aliases }: ServiceType, commands: readonly AnyCommand[]): (readonly [string, string])[] {
  return aliases.flatMap((alias) => commands.filter(({ name }) => name.startsWith(`${type}:`)).map(({ name }) => [`${alias}:${name.slice(type.length + 1)}`, name] as const)).filter(([other]) => !commands.some(({ name }) => name === other));
}

/** The commands of every type of service of ours. */
export const serviceCommands = SERVICE_TYPES.flatMap(commandsOf);
export const serviceAliases: Readonly<Record<string, string>> = Object.fromEntries(SERVICE_TYPES.flatMap((type) => spellings(type, serviceCommands)));
export const serviceGroups: Readonly<Record<string, string>> = Object.fromEntries(SERVICE_TYPES.flatMap(({ type, aliases, title }) => [[type, `Manage ${title} services`], ...aliases.map((alias) => [alias, `${title}: other spelling of ${type}`])]));

const made = new WeakMap<ServiceType, readonly AnyCommand[]>();
/** The commands of a plugin's type. */
export function typeCommands(type: ServiceType): readonly AnyCommand[] {
  const known = made.get(type);
  if (known) return known;
  const plain = commandsOf(type);
  const others = spellings(type, plain);
  const commands = plain.map((command): AnyCommand => ({ ...command, about: `Manage ${type.title} services (plugin ${type.plugin})`, others: others.flatMap(([other, name]) => (name === command.name ? [other] : [])) }));
  made.set(type, commands);
  return commands;
}
