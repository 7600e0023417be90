import { IsIn, IsOptional, IsString, Matches } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import type { ServiceImage } from '../../events/types/service.events.js';
import type { ServiceType } from '../../plugins/services/service-type.js';
import { accessOf, dsnOf, hostOf, serverImage } from '../../plugins/services/types.js';
import { parseSize } from '../apps/app-context.js';
import { claims } from '../apps/claim.decider.js';
import { Arg, command, Flag, forget, type AnyCommand, type CommandContext, type OperationAnswer } from '../commands/command.js';
import { report, table } from '../commands/words.js';
import { change, type Draft } from '../draft.js';
import { backupStanding } from '../copies/standing.js';
import { operate } from '../operations/operations.service.js';
import { disabled, missing, plugins, PLUGINS_STREAM } from '../plugins/plugin.decider.js';
import { passwordOf } from './link.js';
import { stillValid } from './password-users.js';
import type { RotateHow } from './service.operations.js';
import { services } from './service.decider.js';
import { newPassword, newServiceId, serviceClaim, serviceStream, serviceVolume } from './service-names.js';
import type { ServiceRow } from './services.projection.js';

type Row = Awaited<ReturnType<CommandContext['core']['service']>>;

export class ServiceInput {
  @IsString() @Arg('the service') service!: string;
}
class NoInput {}
class OptionsInput extends ServiceInput {
  @IsOptional() @IsString() @Flag('most memory it may use, such as 512m', { type: 'string', short: 'm', label: 'size' }) memory?: string;
  @IsOptional() @IsString() @Flag('an image of a registry instead of the distribution\'s packages', { type: 'string', short: 'i', label: 'image' }) image?: string;
  @IsOptional() @IsString() @Flag('that image\'s tag', { type: 'string', short: 'I', label: 'version' }) imageVersion?: string;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class CreateInput extends OptionsInput {
  @IsOptional() @Flag('take the password from what is piped in, or ask for it') password?: boolean;
  @IsOptional() @IsString() @Flag('link it to this app, and restart that', { type: 'string', label: 'app' }) app?: string;
}
class ForAppInput {
  @IsString() @Arg('the app; the service is called like it') app!: string;
  @IsOptional() @IsString() @Flag('most memory it may use, such as 512m', { type: 'string', short: 'm', label: 'size' }) memory?: string;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class DestroyInput extends ServiceInput {
  @IsOptional() @IsString() @Flag('the service\'s name once more, instead of the question', { type: 'string', label: 'service' }) confirm?: string;
  @IsOptional() @Flag('take no last dump') noDump?: boolean;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class WaitInput extends ServiceInput {
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class RotateInput extends WaitInput {
  @IsOptional() @Flag('shut the password of before out at once, whoever still has it: it is in the wrong hands') now?: boolean;
}
const FACTS = ['dsn', 'id', 'version', 'status', 'old-password', 'links', 'exposed-ports', 'data-dir', 'internal-host', 'container', 'image', 'memory', 'backup', 'created'] as const;
class InfoInput extends ServiceInput {
  @IsOptional() @Flag('only its DSN') dsn?: boolean;
  @IsOptional() @Flag('only its id') id?: boolean;
  @IsOptional() @Flag('only its version') version?: boolean;
  @IsOptional() @Flag('only its status') status?: boolean;
  @IsOptional() @Flag('only whether the password of before is still valid, and why') oldPassword?: boolean;
  @IsOptional() @Flag('only the apps that are linked') links?: boolean;
  @IsOptional() @Flag('only its exposed ports') exposedPorts?: boolean;
  @IsOptional() @Flag('only the volume that has its data') dataDir?: boolean;
  @IsOptional() @Flag('only its host name in its network') internalHost?: boolean;
}
class SetInput extends WaitInput {
  @IsIn(['memory', 'cpu'], { message: 'property: memory or cpu' }) @Arg('memory or cpu', { label: 'property' }) property!: 'memory' | 'cpu';
  @IsOptional() @IsString() @Arg('its value; none sets it back', { optional: true, label: 'value' }) value?: string;
}
class ExposeInput extends WaitInput {
  @IsOptional() @Matches(/^\d{1,5}$/, { message: 'port: a number' }) @Arg('port of this server; one that is free when there is none', { optional: true, label: 'port' }) port?: string;
}

/** How it is with a service, in a word. */
export type ServiceStatus = 'running' | 'stopped' | 'paused' | 'creating' | 'failed' | 'destroying' | 'exited';

async function statusOf({ core }: CommandContext, row: ServiceRow): Promise<ServiceStatus> {
  if (row.status === 'doomed') return 'destroying';
  if (row.container === null && row.wanted === 'running') {
    const { groups } = await core.works.now();
    return groups[row.id]?.running == null ? 'failed' : 'creating';
  }
  if (row.wanted !== 'running') return row.wanted;
  const state = (await core.engine?.states().catch(() => null))?.get(row.container!.id);
  return state === undefined || state === 'running' ? 'running' : 'exited';
}

const subjectOf = (type: string, name: string): string => `${type} ${name}`;

function settingsOf({ memory, cpu }: { memory?: string; cpu?: string }): Record<string, string> {
  if (memory !== undefined && parseSize(memory) < 6 << 20) throw new Rejected('service.memory', `'${memory.slice(0, 40)}' is not an amount of memory that a service can run in`, 'for example: 512m or 2g');
  if (cpu !== undefined && !(Number(cpu) > 0 && Number(cpu) <= 1024)) throw new Rejected('service.cpu', `'${cpu.slice(0, 40)}' is not a number of CPUs`, 'for example: 0.5 or 2');
  return { ...(memory !== undefined && { memory }), ...(cpu !== undefined && { cpu }) };
}

function imageOf(type: ServiceType, image: string | undefined, version: string | undefined): ServiceImage {
  if (image === undefined && version === undefined && type.packaged !== null) return { source: 'packages', reference: type.version };
  const reference = `${(image ?? type.registry.reference).replace(/(?<=[^:/]):[^:/]+$/, (tag) => (version === undefined ? tag : ''))}${version === undefined ? '' : `:${version}`}`;
  if (!/^[a-z0-9][a-zA-Z0-9._:/@-]{0,250}$/.test(reference)) throw new Rejected('service.image', `'${reference.slice(0, 80)}' is not the name of an image`, `for example: ${type.registry.reference}`);
  return { source: 'registry', reference };
}

async function givenPassword(context: CommandContext): Promise<string> {
  const text = context.hasStdin ? (await context.stdin(1024)).toString().replace(/\r?\n$/, '') : await context.askSecret('Password: ');
  if (!/^[\x21-\x7e]{8,128}$/.test(text)) throw new Rejected('service.password', 'A password has 8 to 128 printable characters without spaces', 'leave --password out and one is made');
  return text;
}

/** A plugin's type can be had while the plugin is enabled and brings it: not uninstalled meanwhile. @throws Rejected */
async function requireType(draft: Draft, name: string, type: string): Promise<void> {
  const { installed } = (await draft.watch(plugins, PLUGINS_STREAM)).state;
  const plugin = installed[name];
  if (!plugin?.manifest.services?.some((each) => each.type === type)) throw missing(name);
  if (!plugin.enabled) throw disabled(plugin);
}

interface NewService { readonly name: string; readonly image: ServiceImage; readonly settings: Record<string, string>; readonly password: string }

/** Puts a new service and its first operation into a draft. The sealing key comes first: a key without a service hurts nobody. */
export async function createService(context: CommandContext, command: string, type: ServiceType, wish: NewService, operation: (draft: Draft, id: string) => Promise<number>): Promise<OperationAnswer> {
  const { core } = context;
  const id = newServiceId();
  await core.box.createKey(id);
  try {
    const secrets = { password: await core.box.seal(id, wish.password) };
    const { answer } = await change(context, command, id, async (draft) => {
      const { name, image, settings } = wish;
      if (type.plugin !== undefined) await requireType(draft, type.plugin, type.type);
      await draft.decide(services, serviceStream(id), { type: 'Create', service: id, kind: type.type, ...(type.plugin !== undefined && { plugin: type.plugin }), name, image, settings, secrets });
      if ((await draft.load(claims, serviceClaim(type.type, name))).state !== null) throw new Rejected('service.exists', `${type.title} service ${name} exists already`, `see: berth ${type.type}:info ${name}`);
      await draft.decide(claims, serviceClaim(type.type, name), { type: 'Claim', name: `${type.type}:${name}`, app: id });
      return operation(draft, id);
    });
    return { group: id, operation: answer };
  } catch (error) {
    await core.box.destroyKey(id);
    throw error;
  }
}

/** Asks for an operation of a service that is there. */
export async function operateOn(context: CommandContext, command: string, row: Row, kind: string, input: object, before?: (draft: Draft) => Promise<unknown>): Promise<OperationAnswer> {
  const { answer } = await change(context, command, row.id, async (draft) => {
    const { state } = await draft.load(services, serviceStream(row.id));
    if (state.status === 'doomed' && kind !== 'service-destroy') throw new Rejected('service.doomed', `${row.type} service ${row.name} is being destroyed`, `see: berth operations ${row.type}:${row.name}`);
    await before?.(draft);
    return operate(draft, row.id, { kind, subject: subjectOf(row.type, row.name), input: { service: row.id, ...input }, by: context.actor });
  });
  return { group: row.id, operation: answer };
}

/** `-`: no password of before is let in. */
async function oldPassword({ core }: CommandContext, row: ServiceRow): Promise<string> {
  const still = await stillValid(core, row);
  return still === null ? '-' : `still valid: ${still.why}`;
}

/** What only the caller sees: the DSN, and how to go on. */
async function tellDsn({ core }: CommandContext, type: ServiceType, name: string): Promise<{ dsn: string; row: Row }> {
  const row = await core.service(type.type, name);
  return { dsn: dsnOf(type, name, await passwordOf(core, row.secrets), null, row.turn), row };
}

/** The commands of one type that are about the service itself. */
export function lifeCommands(type: ServiceType): AnyCommand[] {
  const t = type.type;
  const http = (path: string): string => `/services/${t}${path}`;
  const example = (words: string): string => `berth ${t}:${words}`;

  const make = async (context: CommandContext, name: string, command: string, options: { memory?: string; image?: string; imageVersion?: string; password?: boolean }, app: string | undefined): Promise<OperationAnswer & { service: string; app: string | null }> => {
    const row = app === undefined ? null : await context.core.app(app);
    if (options.password && type.rotation === null) throw new Rejected('service.open', `${type.title} asks nobody for a password`, 'only linked apps reach it');
    const password = options.password ? await givenPassword(context) : newPassword();
    const wish = { name, image: imageOf(type, options.image, options.imageVersion), settings: settingsOf(options), password };
    const link = row && { app: row.id, appName: row.name, alias: null, query: null };
    const answer = await createService(context, command, type, wish, (draft, id) => operate(draft, id, { kind: 'service-create', subject: subjectOf(t, name), input: { service: id, link }, by: context.actor }));
    return { ...answer, service: name, app: row?.name ?? null };
  };
  const finish = async (context: CommandContext, { service, app }: { service: string; app: string | null }, out: { info(text: string): void; detail(text: string): void }): Promise<void> => {
    const { dsn, row } = await tellDsn(context, type, service);
    const id = app === null ? null : (await context.core.app(app)).id;
    const key = row.links.find((link) => link.app === id)?.key;
    out.info(`${type.title} ${row.container?.version ?? type.version} service ${service} is there`);
    if (row.image.source === 'packages' && type.packaged?.remark !== undefined) out.detail(type.packaged.remark);
    out.detail(`DSN: ${dsn}`);
    if (app !== null && key) out.detail(`${app} has it as ${key}`);
    else out.detail(`link it to an app: berth ${t}:link ${service} <app>`);
  };

  const create = command({
    name: `${t}:create`, summary: `Create a ${type.title} service; its DSN is printed, and --app wires it to an app at once`, example: example('create blog --app blog'), input: CreateInput, http: { method: 'POST', path: http('') },
    run: (context, { service, app, ...options }) => make(context, service, `${t}:create`, options, app),
    render: ({ service }, out) => out.info(`Creating ${type.title} service ${service}`),
    finish,
  });
  const createFor = type.aliases.slice(0, 1).map((alias) => command({
    name: `${alias}:create`, summary: `Create a ${type.title} service of an app's name, link it and restart the app: all in one go`, example: `berth ${alias}:create blog`, input: ForAppInput, http: { method: 'POST', path: http('/for/:app') },
    run: (context, { app, memory }) => make(context, app, `${alias}:create`, memory === undefined ? {} : { memory }, app),
    render: ({ service }, out) => out.info(`Creating ${type.title} service ${service}`),
    finish,
  }));

  const destroy = command({
    name: `${t}:destroy`, summary: `Destroy a ${type.title} service and its data${type.dumps === null ? '' : '; a last dump is kept'}`, example: example('destroy blog'), input: DestroyInput, http: { method: 'DELETE', path: http('/:service') },
    run: async (context, { service, confirm, noDump }) => {
      const row = await context.core.service(t, service);
      await refuseLinked(context, row);
      if (!context.force) {
        if (confirm === undefined && context.origin === 'http') throw new Rejected('service.confirm', `This destroys ${type.title} service ${service} for good`, `send confirm=${service}`);
        const typed = confirm ?? await context.ask('> ', ['WARNING: Potentially Destructive Action', `This command will destroy ${type.title} service ${service} and all its data.`, `To proceed, type "${service}"`]);
        if (typed.trim() !== service) throw new Rejected('service.confirm', `Confirmation did not match ${service}. Aborted.`);
      }
      const dump = !noDump && type.dumps !== null && row.container !== null;
      if (dump && row.wanted !== 'running') throw new Rejected('service.stopped', `${type.title} service ${service} does not run, so that no last dump can be taken`, `start it: berth ${t}:start ${service}; or say --no-dump`);
      return { service, ...await operateOn(context, `${t}:destroy`, row, 'service-destroy', { dump }, async (draft) => {
        const { state } = await draft.load(services, serviceStream(row.id));
        if (state.links.length > 0) await refuseLinked(context, { ...row, links: state.links });
        if (state.status === 'live') await draft.decide(services, serviceStream(row.id), { type: 'Doom' });
      }) };
    },
    render: ({ service }, out) => out.info(`Destroying ${type.title} service ${service}`),
  });

  const exists = command({
    name: `${t}:exists`, summary: `Say whether a ${type.title} service exists: exit 0 if so, 20 if not`, example: example('exists blog'), input: ServiceInput, http: { method: 'GET', path: http('/:service/exists') }, reads: true,
    run: async ({ core }, { service }) => ({ service: (await core.service(t, service)).name, exists: true }),
    render: ({ service }, out) => out.info(`${type.title} service ${service} exists`),
  });

  const list = command({
    name: `${t}:list`, summary: `List the ${type.title} services`, example: example('list'), input: NoInput, http: { method: 'GET', path: http('') }, reads: true,
    run: async (context) => {
      const { rows } = await context.core.services.now();
      const { apps } = await context.core.board.now();
      return Promise.all(Object.values(rows).filter((row) => row.type === t).toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(async (row) => ({
        service: row.name, status: await statusOf(context, row), version: row.container?.version ?? null, exposed: row.exposed, links: row.links.map(({ app, key }) => ({ app: apps[app]?.name ?? app, key })),
      })));
    },
    render: (all, out) => {
      if (!out.quiet) out.section(`${type.title} services`);
      if (all.length === 0) return out.warn(`There is no ${type.title} service yet: berth ${t}:create <service>`);
      if (out.quiet) return all.forEach(({ service }) => out.line(service));
      for (const line of table(['NAME', 'VERSION', 'STATUS', 'EXPOSED PORTS', 'LINKS'], all.map((s) => [s.service, s.version ?? '-', s.status, s.exposed.map(({ host, container }) => `${host}->${container}`).join(' ') || '-', s.links.map(({ app }) => app).join(' ') || '-']))) out.line(line);
    },
  });

  const info = command({
    name: `${t}:info`, summary: `Show a ${type.title} service: DSN, version, status, links`, example: example('info blog --dsn'), input: InfoInput, http: { method: 'GET', path: http('/:service') }, reads: true,
    run: async (context, { service }): Promise<Record<(typeof FACTS)[number] | 'service', string>> => {
      const { dsn, row } = await tellDsn(context, type, service);
      const { apps } = await context.core.board.now();
      return {
        service, dsn, id: row.id, version: row.container?.version ?? '-', status: await statusOf(context, row), 'old-password': await oldPassword(context, row), links: row.links.map(({ app }) => apps[app]?.name ?? app).join(' ') || '-',
        'exposed-ports': row.exposed.map(({ host, container }) => `${host}->${container}`).join(' ') || '-', 'data-dir': serverImage(type, row.image.source).volume === null ? '-' : serviceVolume(context.core.config.instance, row.id), 'internal-host': `${hostOf(t, service)}:${type.port}`,
        container: row.container?.name ?? '-', image: row.image.source === 'packages' ? `Debian packages (${type.packaged?.packages.join(', ')})${type.packaged?.remark === undefined ? '' : `. ${type.packaged.remark}`}` : row.image.reference, memory: row.settings['memory'] ?? 'no limit', backup: await backupStanding(context.core, row.id), created: new Date(row.createdAt).toISOString(),
      };
    },
    render: ({ service, ...facts }, out, input) => {
      const asked = Object.entries(input).filter(([key, value]) => value === true && key !== 'service').map(([key]) => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
      if (asked.length > 0) return asked.forEach((key) => out.line(facts[key as keyof typeof facts]));
      for (const line of report(`${service} ${t} service information`, facts)) out.line(line);
    },
  });

  const renew = (verb: string, summary: string, input: (row: Row) => object, said: string) => command({
    name: `${t}:${verb}`, summary, example: example(`${verb} blog`), input: WaitInput, http: { method: 'POST', path: http(`/:service/${verb}`) },
    run: async (context, { service }) => {
      const row = await context.core.service(t, service);
      if (verb === 'start' && row.wanted === 'running' && (await statusOf(context, row)) === 'running') throw new Rejected('service.runs', `${type.title} service ${service} runs already`);
      return { service, ...await operateOn(context, `${t}:${verb}`, row, 'service-replace', input(row)) };
    },
    render: ({ service }, out) => out.info(`${said} ${type.title} service ${service}`),
  });
  const halt = (verb: 'stop' | 'pause', summary: string) => command({
    name: `${t}:${verb}`, summary, example: example(`${verb} blog`), input: WaitInput, http: { method: 'POST', path: http(`/:service/${verb}`) },
    run: async (context, { service }) => ({ service, ...await operateOn(context, `${t}:${verb}`, await context.core.service(t, service), 'service-stop', { paused: verb === 'pause' }) }),
    render: ({ service }, out) => out.info(`Stopping ${type.title} service ${service}`),
  });

  const upgrade = command({
    name: `${t}:upgrade`, summary: `Make the image of a ${type.title} service anew, or take another one, and start it on the same data`, example: example('upgrade blog'), input: OptionsInput, http: { method: 'POST', path: http('/:service/upgrade') },
    run: async (context, { service, image, imageVersion }) => {
      const row = await context.core.service(t, service);
      const next = image === undefined && imageVersion === undefined ? row.image : imageOf(type, image, imageVersion);
      const major = (reference: string): string | null => /:(\d+)[^:/]*$/.exec(`:${reference}`)?.[1] ?? null;
      const [from, to] = [row.container?.version.split('.')[0] ?? null, major(next.reference)];
      if (serverImage(type, row.image.source).volume !== null && !context.force && from !== null && to !== null && from !== to) throw new Rejected('service.major', `${type.title} ${to} may not be able to read the data of ${from}`, `move it by a dump: berth ${t}:create ${service}-${to} --image-version ${to}, then berth ${t}:export ${service} | berth ${t}:import ${service}-${to}; or, when you know that it does: --force`);
      return { service, ...await operateOn(context, `${t}:upgrade`, row, 'service-replace', { image: next, fresh: true }) };
    },
    render: ({ service }, out) => out.info(`Upgrading ${type.title} service ${service}`),
    finish: async ({ core }, { service }, out) => out.info(`${type.title} service ${service} runs version ${(await core.service(t, service)).container?.version}`),
  });

  const set = command({
    name: `${t}:set`, summary: `Limit the memory or the CPUs of a ${type.title} service; it gets a new container`, example: example('set blog memory 1g'), input: SetInput, http: { method: 'POST', path: http('/:service/set') },
    run: async (context, { service, property, value }) => {
      const row = await context.core.service(t, service);
      if (value !== undefined) settingsOf({ [property]: value });
      if ((row.settings[property] ?? undefined) === value) return { service, property, value: value ?? null };
      return { service, property, value: value ?? null, ...await operateOn(context, `${t}:set`, row, row.wanted === 'running' ? 'service-replace' : 'service-stop', row.wanted === 'running' ? {} : { paused: row.wanted === 'paused' }, (draft) => draft.decide(services, serviceStream(row.id), { type: 'Set', key: property, value: value ?? null })) };
    },
    render: ({ service, property, value }, out) => out.info(value === null ? `Unsetting ${property} of ${service}` : `Setting ${property} of ${service} to ${value}`),
  });

  const rotate = command({
    name: `${t}:rotate`, summary: `Give a ${type.title} service another password, and linked apps the new DSN`, example: example('rotate blog'), input: RotateInput, http: { method: 'POST', path: http('/:service/rotate') },
    run: async (context, { service, now }) => {
      const { core } = context;
      const row = await core.service(t, service);
      if (type.rotation === null) throw new Rejected('service.open', `${type.title} asks nobody for a password`, 'only linked apps reach it');
      if (row.wanted !== 'running') throw new Rejected('service.stopped', `${type.title} service ${service} does not run`, `start it: berth ${t}:start ${service}`);
      const still = now ? null : await stillValid(core, row);
      if (still) throw new Rejected('service.rotating', `The password before this one is still valid: ${still.why}`, still.todo ? `${still.todo}; or, whatever breaks: berth ${t}:rotate ${service} --now` : `wait for it: berth ${t}:info ${service} --old-password; or, whatever breaks: berth ${t}:rotate ${service} --now`);
      const access = accessOf(type, service, '');
      const how: RotateHow = type.rotation.how === 'beside' ? (now ? 'now' : 'beside') : type.rotation.change(access, access) === null ? 'container' : 'instead';
      const secrets = { password: await core.box.seal(row.id, newPassword()) };
      const { apps } = await core.board.now();
      return { service, how, apps: row.links.map(({ app }) => apps[app]?.name ?? app), ...await operateOn(context, `${t}:rotate`, row, 'service-rotate', { secrets, how }) };
    },
    render: ({ service, how, apps }, out) => {
      out.info(`Giving ${type.title} service ${service} another password`);
      if (how === 'beside') return;
      out.warn(`${how === 'now' ? 'The password before' : `${type.title} knows one password at a time: the one before`} is refused from now on${apps.length === 0 ? '' : `; new connections of ${apps.join(', ')} fail until ${apps.length === 1 ? 'its deploy is' : 'their deploys are'} live`}`);
    },
    finish: async (context, { service }, out) => {
      const { dsn, row } = await tellDsn(context, type, service);
      out.detail(`DSN: ${dsn}`);
      const still = await stillValid(context.core, row);
      if (still === null) return;
      out.detail(`the password before is let in as long as an app has it; now: ${still.why}`);
      if (still.todo !== null) out.warn(still.todo);
    },
  });

  const expose = command({
    name: `${t}:expose`, summary: `Let a port of this server lead to a ${type.title} service`, example: example('expose blog 15432'), input: ExposeInput, http: { method: 'POST', path: http('/:service/expose') },
    run: async (context, { service, port }) => {
      const row = await context.core.service(t, service);
      if (row.exposed.length > 0) throw new Rejected('service.exposed', `${type.title} service ${service} is exposed on ${row.exposed.map(({ host }) => host).join(', ')} already`, `first: berth ${t}:unexpose ${service}`);
      const host = Number(port ?? 0) || await freePort();
      if (host < 1 || host > 65535) throw new Rejected('service.port', `${port} is not a port`, 'for example: 15432');
      return { service, port: host, ...await operateOn(context, `${t}:expose`, row, 'service-expose', { ports: [{ host, container: type.port }] }) };
    },
    render: ({ service, port }, out) => {
      out.info(`Exposing ${type.title} service ${service} on port ${port}`);
      if (type.rotation === null) out.warn(`${type.title} asks nobody for a password: whoever reaches port ${port} of this server reads and writes it`);
    },
  });
  const unexpose = command({
    name: `${t}:unexpose`, summary: `Close the ports that lead to a ${type.title} service`, example: example('unexpose blog'), input: WaitInput, http: { method: 'POST', path: http('/:service/unexpose') },
    run: async (context, { service }) => {
      const row = await context.core.service(t, service);
      if (row.exposed.length === 0) throw new Rejected('service.not-exposed', `${type.title} service ${service} is not exposed`);
      return { service, ...await operateOn(context, `${t}:unexpose`, row, 'service-expose', { ports: [] }) };
    },
    render: ({ service }, out) => out.info(`Closing the ports of ${type.title} service ${service}`),
  });

  return [
    forget(create), ...createFor.map((each) => forget(each)), forget(destroy), forget(exists), forget(list), forget(info),
    forget(renew('start', `Start a ${type.title} service that was stopped or paused`, () => ({}), 'Starting')), forget(renew('restart', `Start a ${type.title} service anew, in a new container on the same data`, () => ({}), 'Restarting')),
    forget(halt('stop', `Stop a ${type.title} service and remove its container; its data stays`)), forget(halt('pause', `Stop a ${type.title} service; its container stays`)),
    forget(upgrade), forget(set), forget(rotate), forget(expose), forget(unexpose),
  ];
}

async function refuseLinked({ core }: CommandContext, row: Pick<Row, 'type' | 'name' | 'links'>): Promise<void> {
  if (row.links.length === 0) return;
  const { apps } = await core.board.now();
  const names = row.links.map(({ app }) => apps[app]?.name ?? app);
  throw new Rejected('service.linked', `${row.type} service ${row.name} is linked to ${names.join(', ')}`, `first: ${names.map((name) => `berth ${row.type}:unlink ${row.name} ${name}`).join('; ')}`);
}

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve, reject) => { server.once('error', reject); server.listen(0, '0.0.0.0', resolve); });
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}
