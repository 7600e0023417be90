import { IsOptional, IsString, Matches } from 'class-validator';
import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import { keptIn } from '../../drivers/plugin/plugin.room.js';
import { readSource } from '../../drivers/plugin/plugin.source.js';
import { Rejected } from '../../events/decider.js';
import { STEPS, type Step } from '../../events/types/deploy.events.js';
import { HOOK_TIMES, type HookTime, type PluginCode, type PluginProjection, type PluginSource } from '../../events/types/plugin.events.js';
import { BUNDLED } from '../../plugins/bundled.js';
import { pipelineStream } from '../apps/app-context.js';
import { Arg, command, Flag, forget, type AnyCommand, type CommandContext } from '../commands/command.js';
import { bytes, report, table } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { NOTIFICATIONS, notifications, tellingBy } from '../notifications/notification.decider.js';
import { masked } from '../history/mask.js';
import type { Plugin } from './active.js';
import { refuseInUse, uninstalling, updating } from './in-use.js';
import { type Installed as InstalledPlugin, DOES_NOT_LOAD, missing, plugins, PLUGINS_STREAM, pluginSeal, pluginSettings, pluginStream, uidOf, type PluginsCommand } from './plugin.decider.js';
import { forgetStandings, standing, toldTrouble, type Trouble } from './projected.js';
import { seenEvent } from './seen-event.js';
import { testCommand } from './test.command.js';

const NAME = { pattern: /^[a-z][a-z0-9-]{0,39}$/, message: 'a plugin\'s name has lower-case letters, digits and hyphens' } as const;
class InstallInput {
  @IsOptional() @IsString() @Flag('a branch, tag or commit of the git repository', { type: 'string', label: 'committish' }) committish?: string;
  @IsOptional() @IsString() @Arg('a git URL, an npm package, a tarball or a folder; nothing: what was put into the plugins folder by hand', { optional: true }) source?: string;
}
class NameInput {
  @Matches(NAME.pattern, { message: NAME.message }) @Arg('the plugin') plugin!: string;
}
class UpdateInput {
  @IsOptional() @Matches(NAME.pattern, { message: NAME.message }) @Arg('the plugin; all when there is none', { optional: true }) plugin?: string;
  @IsOptional() @IsString() @Arg('another branch, tag or commit than before', { optional: true }) committish?: string;
}
class UninstallInput extends NameInput {
  @IsOptional() @IsString() @Flag('the plugin\'s name once more, instead of the question', { type: 'string', label: 'name' }) confirm?: string;
}
class TriggerInput extends NameInput {
  @IsString() @Arg('a hook such as before-build, or a type of event') what!: string;
  @IsOptional() @IsString() @Arg('the app that it is about', { optional: true }) app?: string;
}
class ProjectionInput extends NameInput {
  @IsString() @Arg('one of its projections') name!: string;
}
class NoInput {}

const names = BUNDLED.map(({ manifest }) => manifest.name);

async function decide(context: Pick<CommandContext, 'core' | 'actor'>, name: string, ...commands: PluginsCommand[]): Promise<number> {
  const { events } = await change(context, name, 'plugins', async (draft) => { for (const each of commands) await draft.decide(plugins, PLUGINS_STREAM, each); });
  return events.length;
}

async function prepared({ core, signal }: CommandContext, source: PluginSource, wanted: string | null): Promise<{ name: string; code: PluginCode }> {
  const { registry } = await core.plugins.now();
  return core.pluginInstaller!.prepare(source, wanted, (name) => uidOf(registry, name), signal);
}

/** Old files stay for a while: a step may be running them. */
const tidy = async (core: Core): Promise<void> => core.pluginInstaller!.tidy(Object.values((await core.plugins.now()).registry.installed).map(({ folder }) => folder), core.now() - 6 * 3_600_000);

interface Installed { readonly plugin: string; readonly version: string; readonly pin: string; readonly changed: boolean; readonly from?: string; readonly commands: readonly string[] }
interface Failed { readonly from: string; readonly error: string; readonly hint: string | null }

async function bringUpToDate(context: CommandContext, command: string, before: InstalledPlugin, code: PluginCode, mended = false): Promise<number> {
  return updating(context, before, code.manifest, (again) => decide(context, command, { type: 'Update', plugin: before.name, code, bundled: names }, ...(again || mended ? [{ type: 'Enable', plugin: before.name, bundled: names } as const] : [])));
}

async function installOne(context: CommandContext, source: PluginSource): Promise<Installed> {
  const { name, code } = await prepared(context, source, null);
  const before = (await context.core.plugins.now()).registry.installed[name];
  // what was changed by hand in the plugins folder is brought in line
  const again = before !== undefined && before.source.type === 'folder' && source.type === 'folder' && before.source.path === source.path;
  const changed = again ? await bringUpToDate(context, 'plugin:install', before, code) : await decide(context, 'plugin:install', { type: 'Install', plugin: name, code, bundled: names });
  return { plugin: name, version: code.version, pin: code.pin, changed: changed > 0, ...(before && { from: before.version }), commands: [...code.manifest.commands.map((each) => each.name), ...(code.manifest.services ?? []).map(({ type }) => `${type}:create`)] };
}

const install = command({
  name: 'plugin:install', summary: 'Install a plugin, or take over what was put into the plugins folder by hand', example: 'berth plugin:install https://git.example/berth-hello.git --committish v1.0.0', input: InstallInput, http: { method: 'POST', path: '/plugins' }, local: true,
  run: async (context, { source: asked, committish }): Promise<{ installed: Installed[]; failed: Failed[] }> => {
    await tidy(context.core);
    if (asked !== undefined) return { installed: [await installOne(context, await readSource(asked, committish ?? null))], failed: [] };
    if (committish !== undefined) throw new Rejected('plugin.source', '--committish is of a git URL, and none was given', 'berth plugin:install <git URL> --committish v1.0.0');
    const [installed, failed]: [Installed[], Failed[]] = [[], []];
    for (const path of await context.core.pluginInstaller!.byHand()) {
      try {
        installed.push(await installOne(context, { type: 'folder', path }));
      } catch (error) {
        if (!(error instanceof Rejected)) throw error;
        failed.push({ from: path, error: error.message, hint: error.hint });
      }
    }
    return { installed, failed };
  },
  render: ({ installed, failed }, out) => {
    for (const { plugin, version, pin, changed, from, commands } of installed) {
      out.info(!changed ? `${plugin} ${version} is installed already` : from === undefined ? `Installed ${plugin} ${version} (${pin.slice(0, 19)})` : `Updated ${plugin} from ${from} to ${version} (${pin.slice(0, 19)})`);
      if (changed && commands.length > 0) out.detail(`its commands: ${commands.join(' ')}`);
    }
    if (installed.length + failed.length === 0) out.detail('nothing was put into the plugins folder: berth plugin:install <git URL, npm package, tarball or folder>');
    for (const { from, error, hint } of failed) {
      out.warn(`${from}: ${error}`);
      if (hint) out.warn(hint);
    }
    return failed.length > 0 ? 1 : 0;
  },
});

const update = command({
  name: 'plugin:update', summary: 'Fetch a plugin again, from where it came; the old one stays when the new one does not load', example: 'berth plugin:update hello', input: UpdateInput, http: { method: 'POST', path: '/plugins/:plugin/update' }, local: true,
  run: async (context, { plugin: only, committish }): Promise<{ installed: (Installed & { from: string })[]; failed: Failed[] }> => {
    const { registry } = await context.core.plugins.now();
    if (only !== undefined && !Object.hasOwn(registry.installed, only)) throw names.includes(only) ? new Rejected('plugin.own', `${only} comes with Berth, and is updated with it`) : missing(only);
    const [installed, failed]: [(Installed & { from: string })[], Failed[]] = [[], []];
    await tidy(context.core);
    for (const before of Object.values(registry.installed).filter(({ name }) => only === undefined || name === only)) {
      try {
        if (committish !== undefined && before.source.type !== 'git') throw new Rejected('plugin.committish', `${before.name} was not installed from git`, 'leave the committish out');
        const source = before.source.type === 'git' && committish !== undefined ? await readSource(before.source.url, committish) : before.source;
        const { code } = await prepared(context, source, before.name);
        const mended = !before.enabled && (before.reason?.startsWith(DOES_NOT_LOAD) ?? false);
        const changed = await bringUpToDate(context, 'plugin:update', before, code, mended);
        await forgetStandings(context.core.store, before.name, before.manifest.projections?.filter(({ name }) => !code.manifest.projections?.some((each) => each.name === name)));
        installed.push({ plugin: before.name, version: code.version, pin: code.pin, from: before.version, changed: changed > 0, commands: [] });
      } catch (error) {
        if (!(error instanceof Rejected)) throw error;
        if (only !== undefined) throw new Rejected(error.code, `${only} stays at ${before.version}: ${error.message}`, error.hint);
        failed.push({ from: before.name, error: `stays at ${before.version}: ${error.message}`, hint: error.hint });
      }
    }
    return { installed, failed };
  },
  render: ({ installed, failed }, out) => {
    for (const { plugin, from, version, pin, changed } of installed) out.info(changed ? `Updated ${plugin} from ${from} to ${version} (${pin.slice(0, 19)})` : `${plugin} ${version} is the newest`);
    for (const { from, error } of failed) out.warn(`${from} ${error}`);
    if (installed.length + failed.length === 0) out.detail('no plugin is installed');
    return failed.length > 0 ? 1 : 0;
  },
});

const enable = command({
  name: 'plugin:enable', summary: 'Let a plugin take part again', example: 'berth plugin:enable hello', input: NameInput, http: { method: 'POST', path: '/plugins/:plugin/enable' },
  run: async (context, { plugin: name }) => {
    const plugin = (await context.core.pluginHost!.all()).find((each) => each.name === name);
    if (!plugin) throw missing(name);
    const trouble = await context.core.pluginInstaller!.trouble(plugin, context.signal);
    if (trouble !== null) throw new Rejected('plugin.load', `${name} cannot be enabled: ${trouble}`, `berth plugin:update ${name}`);
    return { plugin: name, changed: (await decide(context, 'plugin:enable', { type: 'Enable', plugin: name, bundled: names })) > 0 };
  },
  render: ({ plugin, changed }, out) => out.info(changed ? `Enabled ${plugin}` : `${plugin} is enabled`),
});

const disable = command({
  name: 'plugin:disable', summary: 'Let a plugin take no part any more; what it has stays', example: 'berth plugin:disable hello', input: NameInput, http: { method: 'POST', path: '/plugins/:plugin/disable' },
  run: async (context, { plugin }) => {
    const changed = (await decide(context, 'plugin:disable', { type: 'Disable', plugin, reason: `by ${context.actor}`, bundled: names })) > 0;
    return { plugin, changed, telling: tellingBy((await context.core.repository.load(notifications, NOTIFICATIONS)).state, plugin) };
  },
  render: ({ plugin, changed, telling }, out) => {
    out.info(changed ? `Disabled ${plugin}` : `${plugin} is disabled`);
    if (telling.length > 0) out.warn(`What ${telling.join(', ')} is to be told fails until it is enabled again: berth notify:deliveries ${telling[0]}`);
  },
});

const uninstall = command({
  name: 'plugin:uninstall', summary: 'Remove a plugin, and all that it has kept', example: 'berth plugin:uninstall hello', input: UninstallInput, http: { method: 'DELETE', path: '/plugins/:plugin' }, local: true,
  run: async (context, { plugin, confirm }) => {
    const { core } = context;
    const found = (await core.pluginHost!.all()).find((each) => each.name === plugin);
    if (!found) throw missing(plugin);
    const there = async () => (await core.plugins.now()).registry.installed[plugin];
    await refuseInUse(core, await there());
    if (!context.force && !names.includes(plugin)) {
      const typed = confirm ?? await context.ask('> ', ['WARNING: Potentially Destructive Action', `This command will remove plugin ${plugin} and all that it has kept.`, `To proceed, type "${plugin}"`]);
      if (typed.trim() !== plugin) throw new Rejected('plugin.confirm', `Confirmation did not match ${plugin}. Aborted.`);
    }
    await uninstalling(context, await there(), async () => void await change(context, 'plugin:uninstall', 'plugins', async (draft) => {
      const { state } = await draft.load(pluginSettings, pluginStream(plugin));
      const telling = tellingBy((await draft.load(notifications, NOTIFICATIONS)).state, plugin);
      if (telling.length > 0) throw new Rejected('plugin.channel', `People are told by a channel of ${plugin}: ${telling.join(', ')}`, `first: berth notify:remove ${telling[0]}${telling.length > 1 ? ', and the others' : ''}`);
      await draft.decide(plugins, PLUGINS_STREAM, { type: 'Uninstall', plugin, bundled: names });
      for (const [app, values] of [[null, state.server], ...Object.entries(state.apps)] as const) await draft.decide(pluginSettings, pluginStream(plugin), { type: 'Remember', plugin, app, values: Object.fromEntries(Object.keys(values).map((key) => [key, null])) });
    }));
    await core.box.destroyKey(pluginSeal(plugin));
    await core.pluginInstaller!.remove(plugin);
    await forgetStandings(core.store, plugin, found.manifest.projections);
    return { plugin };
  },
  render: ({ plugin }, out) => out.info(`Uninstalled ${plugin}`),
});

const list = command({
  name: 'plugin:list', summary: 'List the plugins', example: 'berth plugin:list', input: NoInput, http: { method: 'GET', path: '/plugins' }, reads: true,
  run: async ({ core }) => (await core.pluginHost!.all()).map(({ name, manifest, enabled, reason, handlers }) => ({ name, version: manifest.version, description: manifest.description, enabled, reason, bundled: handlers !== null })),
  render: (found, out) => {
    if (found.length === 0) return out.detail('no plugin is installed: berth plugin:install <source>');
    for (const line of table(['PLUGIN', 'VERSION', 'STATUS', 'ABOUT'], found.map((each) => [each.name, each.version, each.enabled ? 'enabled' : 'disabled', each.enabled ? each.description : (each.reason ?? '')]))) out.line(line);
  },
});

const told = (source: PluginSource): string => (source.type === 'git' ? `${source.url}${source.committish === null ? '' : ` at ${source.committish}`}` : source.type === 'npm' ? `npm:${source.spec}` : source.type === 'folder' ? source.path : source.from);

const info = command({
  name: 'plugin:info', summary: 'Show what a plugin is, where it came from and what it does', example: 'berth plugin:info hello', input: NameInput, http: { method: 'GET', path: '/plugins/:plugin' }, reads: true,
  run: async ({ core }, { plugin: name }) => {
    const plugin = (await core.pluginHost!.all()).find((each) => each.name === name);
    if (!plugin) throw missing(name);
    const { registry, settings } = await core.plugins.now();
    const code = registry.installed[name];
    return {
      name, enabled: plugin.enabled, reason: plugin.reason, manifest: plugin.manifest, folder: plugin.code, data: plugin.data, user: plugin.uid, source: code?.source ?? null, pin: code?.pin ?? null,
      settings: masked(settings[name]?.server ?? {}) as Record<string, string>, apps: Object.keys(settings[name]?.apps ?? {}).length,
      keeps: plugin.handlers === null ? await keptIn(plugin.data, core.config.pluginDisk) : null,
      projections: await Promise.all((plugin.manifest.projections ?? []).map(async (each) => toldOf(await projectionOf(core, plugin, each)))),
    };
  },
  render: ({ name, enabled, reason, manifest, folder, data, user, source, pin, settings, apps, keeps, projections }, out) => {
    for (const line of report(`${name} plugin information`, {
      version: manifest.version, description: manifest.description, status: enabled ? 'enabled' : `disabled: ${reason}`, from: source === null ? 'comes with Berth' : told(source), ...(pin !== null && { pin }),
      'fits berth': manifest.berth, commands: manifest.commands.map((each) => each.name).join(' '), hooks: manifest.hooks.map((each) => `${each.when}-${each.step}${each.mayRefuse ? ' (may refuse)' : ''}`).join(' '),
      events: manifest.events?.types.join(' ') ?? '', buildpacks: Object.keys(manifest.buildpacks).join(' '), ...(manifest.builders && { builders: manifest.builders.map((each) => `plugin:${name}/${each.name}`).join(' ') }), ...(manifest.services && { 'service types': manifest.services.map(({ type }) => type).join(' ') }), ...(folder !== null && { folder, data, user: String(user) }), ...(keeps && { keeps: `${bytes(keeps.bytes)}${keeps.over === null ? '' : `; it is asked nothing any more: ${keeps.over}`}` }),
      ...(projections.length > 0 && { projections: projections.map(toldHow).join('; ') }),
      remembers: [...Object.entries(settings).map(([key, value]) => `${key}=${value}`), ...(apps > 0 ? [`of ${apps} ${apps === 1 ? 'app' : 'apps'}`] : [])].join(' '),
    })) out.line(line);
  },
});

/** events that are counted, of those that are still to be folded */
const BEHIND_MAX = 1000;
interface Projection { readonly projection: string; /** of the last event in it */ readonly position: number; /** events that are still to be folded, counted up to a thousand */ readonly behind: number; readonly trouble: Trouble | null; readonly state: unknown }

async function projectionOf(core: Core, plugin: Plugin, { name, types }: PluginProjection): Promise<Projection> {
  const { position, state, trouble } = await standing(core.store, plugin, name);
  return { projection: name, position, behind: (await core.store.readAll(position, BEHIND_MAX, { types })).length, trouble, state };
}
const toldOf = ({ state: _, ...rest }: Projection): Omit<Projection, 'state'> => rest;
const toldHow = ({ projection, position, behind, trouble }: Omit<Projection, 'state'>): string => `${projection} at ${position}${behind === 0 ? '' : `, ${behind < BEHIND_MAX ? behind : `${BEHIND_MAX} or more`} ${behind === 1 ? 'event' : 'events'} behind`}${trouble === null ? '' : `: ${toldTrouble(trouble)}`}`;

const projection = command({
  name: 'plugin:projection', summary: 'Show what a projection of a plugin has come to', example: 'berth plugin:projection hello deploy-times', input: ProjectionInput, http: { method: 'GET', path: '/plugins/:plugin/projections/:name' }, reads: true,
  run: async ({ core }, { plugin: whose, name }): Promise<Projection & { readonly plugin: string; readonly enabled: boolean }> => {
    const plugin = (await core.pluginHost!.all()).find((each) => each.name === whose);
    if (!plugin) throw missing(whose);
    const all = plugin.manifest.projections ?? [];
    const declared = all.find((each) => each.name === name);
    if (!declared) throw new Rejected('plugin.projection', `${whose} has no projection ${name.slice(0, 60)}`, `it has: ${all.map((each) => each.name).join(' ') || 'none'}`);
    return { plugin: whose, enabled: plugin.enabled, ...await projectionOf(core, plugin, declared) };
  },
  render: ({ enabled, state, ...rest }, out) => {
    for (const line of JSON.stringify(state, null, 2).split('\n')) out.line(line);
    if (rest.trouble !== null) out.warn(toldHow(rest));
    else if (rest.behind > 0) out.detail(`${toldHow(rest)}${enabled ? '' : '; the plugin is disabled'}`);
  },
});

interface Triggered { readonly plugin: string; readonly what: string; readonly answer: object; readonly notes: readonly string[]; readonly tookMs: number }

/** What the app's newest job of that step was given. */
async function lastInput(core: Core, app: string, step: Step): Promise<object | null> {
  const [found] = (await core.store.readBack(Number.MAX_SAFE_INTEGER, 200, { stream: pipelineStream(app), types: ['StepQueued'] })).filter(({ data }) => (data as { step: Step }).step === step);
  return found ? (found.data as { input: object }).input : null;
}

async function triggered(context: CommandContext, { plugin: name, what, app }: TriggerInput): Promise<Triggered> {
  const { core, signal } = context;
  const plugin: Plugin | undefined = (await core.pluginHost!.all()).find((each) => each.name === name);
  if (!plugin) throw missing(name);
  const row = app === undefined ? null : await core.app(app);
  const notes: string[] = [];
  const started = performance.now();
  const ask = async (wanted: Parameters<NonNullable<Core['pluginHost']>['ask']>[1]): Promise<Triggered> => {
    const { answer } = await core.pluginHost!.ask(plugin, wanted, row && { id: row.id, name: row.name }, signal, (line) => { notes.push(line); }).catch((error: unknown) => {
      throw error instanceof PluginFault ? new Rejected(`plugin.${error.code}`, `Plugin ${name}: ${error.message}${notes.map((line) => `\n       ${line}`).join('')}`) : error;
    });
    return { plugin: name, what, answer, notes, tookMs: Math.round(performance.now() - started) };
  };
  const hook = /^(before|after)[- ](\w+)$/.exec(what);
  if (hook) {
    const [when, step] = [hook[1] as HookTime, hook[2] as Step];
    if (!plugin.manifest.hooks.some((each) => each.step === step && each.when === when)) throw new Rejected('plugin.hook', `${name} has no hook ${when}-${step}`, `it has: ${plugin.manifest.hooks.map((each) => `${each.when}-${each.step}`).join(' ') || 'none'}; there are ${HOOK_TIMES.join('|')}-${STEPS.join('|')}`);
    if (!row) throw new Rejected('plugin.app', 'A hook is about an app', `berth plugin:trigger ${name} ${what} <app>`);
    const input = (await lastInput(core, row.id, step)) ?? { app: row.id, name: row.name };
    return ask({ call: 'hook', hook: { step, when }, deploy: 0, job: `${row.id}.0.${step}`, attempt: 1, input: input as never });
  }
  if (!plugin.manifest.events?.types.includes(what)) throw new Rejected('plugin.event', `${name} has neither a hook nor a subscription of this name: ${what.slice(0, 60)}`, `it has: ${[...plugin.manifest.hooks.map((each) => `${each.when}-${each.step}`), ...(plugin.manifest.events?.types ?? [])].join(' ') || 'none'}`);
  const [event] = await core.store.readBack(Number.MAX_SAFE_INTEGER, 1, { types: [what], ...(row && { stream: pipelineStream(row.id) }) });
  if (!event) throw new Rejected('plugin.event', `No ${what} has happened yet${row ? ` to ${row.name}` : ''}`);
  return ask({ call: 'event', event: seenEvent(event) });
}

const trigger = command({
  name: 'plugin:trigger', summary: 'Ask a plugin by hand what it would answer; nothing follows from it', example: 'berth plugin:trigger hello before-build blog', input: TriggerInput, http: { method: 'POST', path: '/plugins/:plugin/trigger' },
  run: triggered,
  render: ({ plugin, what, answer, notes, tookMs }, out) => {
    out.info(`${plugin} answers ${what} in ${tookMs} ms`);
    for (const line of notes) out.detail(line);
    for (const line of JSON.stringify(answer, null, 2).split('\n')) out.detail(line);
  },
});

/** @param isOurs whether Berth itself has a command or a group of that name */
export const pluginCommands = (isOurs: (name: string) => boolean): readonly AnyCommand[] => [forget(install), forget(list), forget(info), forget(update), forget(enable), forget(disable), forget(uninstall), forget(trigger), forget(projection), forget(testCommand(isOurs))];
