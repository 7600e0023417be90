import { SERVICE_TYPES } from '../../plugins/services/types.js';
import { copyCommands } from '../copies/copy.commands.js';
import { dataCommands } from './data.commands.js';
import { linkCommands } from './links.commands.js';
import { lifeCommands, ServiceInput } from './services.commands.js';
import type { ServiceType } from '../../plugins/services/service-type.js';

const backupCommands = (type: ServiceType) => (type.dumps === null ? [] : copyCommands({
  prefix: type.type, input: ServiceInput, path: `/services/${type.type}/:service`, example: 'blog', what: `a ${type.title} service`, pauses: false,
  find: async (core, { service }) => {
    const { id, name } = await core.service(type.type, service);
    return { subject: { type: 'service', service: id }, name: `${type.type} ${name}`, seal: id };
  },
}));

/** The commands of every type of service. */
export const serviceCommands = SERVICE_TYPES.flatMap((type) => [...lifeCommands(type), ...linkCommands(type), ...dataCommands(type), ...backupCommands(type)]);

/** Other spellings of a type, for the commands that have none of their own: `postgresql:info` → `postgres:info`. */
export const serviceAliases: Readonly<Record<string, string>> = Object.fromEntries(SERVICE_TYPES.flatMap(({ type, aliases }) => aliases.flatMap((alias) => {
  const own = serviceCommands.filter(({ name }) => name.startsWith(`${type}:`)).map(({ name }) => name.slice(type.length + 1));
  return own.filter((verb) => !serviceCommands.some(({ name }) => name === `${alias}:${verb}`)).map((verb) => [`${alias}:${verb}`, `${type}:${verb}`] as const);
})));
export const serviceGroups: Readonly<Record<string, string>> = Object.fromEntries(SERVICE_TYPES.flatMap(({ type, aliases, title }) => [[type, `Manage ${title} services`], ...aliases.map((alias) => [alias, `${title}: other spelling of ${type}`])]));
