import type { DeclaredExec, DeclaredService } from '../../events/types/plugin.events.js';
import { filled } from './placeholders.js';
import type { ServiceAccess, ServiceExec, ServiceType } from './service-type.js';

function execOf({ argv, user, env, stdin }: DeclaredExec, access: ServiceAccess, before?: ServiceAccess): ServiceExec {
  const fill = (text: string): string => filled(text, access, before);
  return { argv: argv.map(fill), ...(user !== undefined && { user }), ...(env && { env: envOf(env, access, before) }), ...(stdin !== undefined && { stdin: fill(stdin) }) };
}

const envOf = (env: Readonly<Record<string, string>>, access: ServiceAccess, before?: ServiceAccess): Record<string, string> => Object.fromEntries(Object.entries(env).map(([key, text]) => [key, filled(text, access, before)]));

/** One of a plugin as one of ours. Pure. */
function compiled(plugin: string, declared: DeclaredService): ServiceType {
  const { packaged, registry, dumps, rotate, user } = declared;
  const server = ({ volume, env, command }: Pick<typeof registry, 'volume' | 'env' | 'command'>): Pick<ServiceType['registry'], 'volume' | 'env' | 'command'> => ({ volume, env: (access) => envOf(env, access), command: (access) => command?.map((word) => filled(word, access)) ?? null });
  const { type, aliases, title, version, port, ports, stopSeconds, variable, noDumps, open } = declared;
  return {
    plugin, type, aliases, title, version, port, ports, stopSeconds, variable, ...(noDumps !== undefined && { noDumps }),
    registry: { reference: registry.reference, ...server(registry) },
    packaged: packaged === undefined ? null : {
      packages: packaged.packages, ...(packaged.before && { before: packaged.before }), lines: packaged.lines, script: `${packaged.script.join('\n')}\n`, ...(packaged.remark !== undefined && { remark: packaged.remark }), ...server(packaged),
    },
    user: (name) => filled(user, { name, host: '', port, database: name, user: '', password: '' }),
    dsn: (access) => filled(declared.dsn, access),
    health: (access) => execOf(declared.health, access),
    setup: (access) => declared.setup.map((exec) => execOf(exec, access)),
    rotation: open ? null : { how: 'instead', change: (access, before) => rotate?.map((exec) => execOf(exec, access, before)) ?? null },
    tellVersion: declared.tellVersion,
    connect: (access, words) => { const exec = execOf(declared.connect, access); return { ...exec, argv: [...exec.argv, ...words] }; },
    dumps: dumps === undefined ? null : {
      suffix: dumps.suffix, out: (access) => execOf(dumps.out, access), in: (access) => execOf(dumps.in, access), count: (access) => execOf(dumps.count, access),
      refuse: (head) => (head.toString('latin1').startsWith(dumps.magic ?? '') ? null : `it does not begin with ${JSON.stringify(dumps.magic)}`),
    },
  };
}

const known = new WeakMap<DeclaredService, ServiceType>();
/** The same object for the same declaration. */
export function declaredType(plugin: string, declared: DeclaredService): ServiceType {
  const type = known.get(declared) ?? compiled(plugin, declared);
  known.set(declared, type);
  return type;
}
