import { IsArray, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { appStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import { parsePortMap } from '../apps/port-map.plan.js';
import { Arg, command, forget, Rest, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { report } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { BUILDER, DOCKERFILE, PLUGIN, settingOf } from './build-settings.js';

const properties = Object.keys(BUILDER).concat('process.<type>').join(', ');
class BuilderSetInput extends AppInput {
  @IsString() @Arg(`what: ${properties}`, { label: 'property' }) property!: string;
  @IsOptional() @IsString() @Arg('its value; nothing brings the default back', { optional: true }) value?: string;
}
class DockerfileSetInput extends AppInput {
  @IsString() @Arg(`what: ${Object.keys(DOCKERFILE).join(', ')}`, { label: 'property' }) property!: string;
  @IsOptional() @IsString() @Arg('its value; nothing brings the default back', { optional: true }) value?: string;
}
class PortsSetInput extends AppInput {
  @IsArray() @IsString({ each: true }) @Rest('scheme:port of the router:port of the container', { label: 'map' }) maps!: string[];
}

interface Changed { readonly app: string; readonly property: string; readonly value: string | null }

/** One of a plugin must be there: a mistake is said now, not in the next deploy. */
async function requirePlugin(core: Core, value: string): Promise<void> {
  const [, plugin, name] = PLUGIN.exec(value) ?? [];
  if (plugin === undefined || core.pluginHost === null) return;
  const found = (await core.pluginHost.all()).find((each) => each.name === plugin);
  if (found?.manifest.builders?.some((each) => each.name === name)) return;
  const brought = (found?.manifest.builders ?? []).map((each) => `plugin:${plugin}/${each.name}`);
  throw new Rejected('builder.value', found ? `Plugin ${plugin} brings no builder ${name}` : `There is no plugin ${plugin}`, found ? `it brings: ${brought.join(' ') || 'none'}` : 'see: berth plugin:list');
}

async function set(context: CommandContext, name: string, of: Parameters<typeof settingOf>[0], { app, property, value }: BuilderSetInput): Promise<Changed> {
  const row = await context.core.app(app);
  const key = settingOf(of, property, value || undefined);
  if (key === 'builder') await requirePlugin(context.core, value ?? '');
  await change(context, name, row.id, (draft) => draft.decide(apps, appStream(row.id), { type: 'Set', key, value: value || null }));
  return { app: row.name, property, value: value || null };
}
const told = ({ property, value }: Changed, out: { info(text: string): void; detail(text: string): void }): void => {
  out.info(value === null ? `Unsetting ${property}` : `Setting ${property} to ${value}`);
  out.detail('the next deploy takes it');
};

const builderSet = command({
  name: 'builder:set', summary: 'Set how an app is built: the folder, the builder, commands of process types', example: 'berth builder:set blog build-dir apps/blog', input: BuilderSetInput, http: { method: 'POST', path: '/apps/:app/builder' },
  run: (context, input) => set(context, 'builder:set', BUILDER, input),
  render: told,
});

const dockerfileSet = command({
  name: 'builder-dockerfile:set', summary: 'Set what a Dockerfile build gets: path, stage, arguments, secrets, platform', example: 'berth builder-dockerfile:set blog build-secrets NPM_TOKEN', input: DockerfileSetInput, http: { method: 'POST', path: '/apps/:app/builder-dockerfile' },
  run: (context, input) => set(context, 'builder-dockerfile:set', DOCKERFILE, input),
  render: told,
});

const builderReport = command({
  name: 'builder:report', summary: 'Show how an app is built', example: 'berth builder:report blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/builder' }, reads: true,
  run: async ({ core }, { app }) => {
    const { name, settings } = await core.app(app);
    const known = Object.entries({ ...BUILDER, ...DOCKERFILE }).map(([property, { key }]) => [property, settings[key] ?? ''] as const);
    const types = Object.entries(settings).filter(([key]) => key.startsWith('process.'));
    return { app: name, properties: Object.fromEntries([...known, ...types]) };
  },
  render: ({ app, properties: all }, out) => { for (const line of report(`${app} builder information`, Object.fromEntries(Object.entries(all).map(([key, value]) => [`builder ${key}`, value])))) out.line(line); },
});

/** What web listens on now: set, or what its containers were started with. */
function portsOf(row: AppRow): { readonly set: string | null; readonly detected: string | null } {
  const release = row.releases.find((r) => r.number === row.live?.release);
  return { set: row.settings['ports'] ?? null, detected: release ? `http:80:${release.spec.port}` : null };
}

const portsReport = command({
  name: 'ports:report', summary: 'Show which port of an app\'s containers the router asks', example: 'berth ports:report blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/ports' }, reads: true,
  run: async ({ core }, { app }) => {
    const row = await core.app(app);
    const { set: chosen, detected } = portsOf(row);
    return { app: row.name, map: chosen, detected, live: row.live?.containers.find((c) => c.type === 'web')?.port ?? null };
  },
  render: ({ app, map, detected, live }, out) => {
    for (const line of report(`${app} ports information`, { 'ports map': map ?? '', 'ports map detected': detected ?? '', 'ports live': live === null ? '' : String(live) })) out.line(line);
  },
});

async function setPorts(context: CommandContext, name: string, app: string, map: string | null): Promise<DeployAnswer & { map: string | null }> {
  const row = await context.core.app(app);
  const { answer } = await change(context, name, row.id, async (draft) => {
    const events = await draft.decide(apps, appStream(row.id), { type: 'Set', key: 'ports', value: map });
    return events.length > 0 ? draft.deploy(row.id, 'restart', context.actor) : null;
  });
  return { app: row.id, name: row.name, deploy: answer, map };
}

const portsSet = command({
  name: 'ports:set', summary: 'Set which port of an app\'s containers the router asks, and restart it', example: 'berth ports:set blog http:80:3000', input: PortsSetInput, http: { method: 'PUT', path: '/apps/:app/ports' },
  run: async (context, { app, maps }) => {
    if (maps.length !== 1) throw new Rejected('ports.one', 'One port map is taken: the router listens for http on one port', 'for example: berth ports:set blog http:80:3000');
    parsePortMap(maps[0]!);
    return setPorts(context, 'ports:set', app, maps[0]!);
  },
  render: ({ name, map, deploy }, out) => out.info(deploy === null ? `Ports of ${name}: ${map}` : `Ports of ${name}: ${map}; restarting`),
});

const portsClear = command({
  name: 'ports:clear', summary: 'Let the image say again which port the router asks, and restart the app', example: 'berth ports:clear blog', input: AppInput, http: { method: 'DELETE', path: '/apps/:app/ports' },
  run: (context, { app }) => setPorts(context, 'ports:clear', app, null),
  render: ({ name, deploy }, out) => out.info(deploy === null ? `Ports of ${name} are what its image says` : `Ports of ${name} are what its image says; restarting`),
});

export const builderCommands = [forget(builderSet), forget(dockerfileSet), forget(builderReport), forget(portsReport), forget(portsSet), forget(portsClear)];
