import { never, Rejected, type Decider } from '../../events/decider.js';
import type { PluginCode, PluginEvent, PluginManifest, PluginSettingEvent } from '../../events/types/plugin.events.js';

/** stream of which plugins there are */
export const PLUGINS_STREAM = 'plugins';
/** stream of what one of them remembers */
export const pluginStream = (name: string): string => `plugin-${name}`;
/** id of the key that seals what it remembers of the whole server */
export const pluginSeal = (name: string): string => `plugin-${name}`;

/** begins the reason of those that were not disabled by hand */
export const DOES_NOT_LOAD = 'it does not load';

/** users of plugins, each its own: a range that neither accounts nor systemd take */
export const UIDS = { from: 60_600, to: 61_183 } as const;

export interface Installed extends PluginCode { readonly name: string; readonly uid: number; readonly enabled: boolean; /** why it is not enabled */ readonly reason: string | null }
/** Those that were installed, and those of Berth's own that were disabled: name → why. */
export interface PluginsState { readonly installed: Readonly<Record<string, Installed>>; readonly ownDisabled: Readonly<Record<string, string>>; /** of every plugin that ever was: a user is not given to another */ readonly uids: Readonly<Record<string, number>> }

export type PluginsCommand =
  | { type: 'Install'; plugin: string; code: PluginCode; bundled: readonly string[] }
  | { type: 'Update'; plugin: string; code: PluginCode; bundled: readonly string[] }
  | { type: 'Enable'; plugin: string; bundled: readonly string[] }
  | { type: 'Disable'; plugin: string; reason: string; bundled: readonly string[] }
  | { type: 'Uninstall'; plugin: string; bundled: readonly string[] };

export function missing(name: string): Rejected {
  return new Rejected('plugin.missing', `There is no plugin ${name.slice(0, 60)}`, 'see: berth plugin:list');
}

export const disabled = ({ name, reason }: { readonly name: string; readonly reason: string | null }): Rejected => new Rejected('plugin.disabled', `Plugin ${name} is disabled: ${reason}`, `berth plugin:enable ${name}`);

/** The user of a plugin: the one that it had, or the first that nobody had. @throws Rejected */
export function uidOf({ uids }: Pick<PluginsState, 'uids'>, plugin: string): number {
  if (Object.hasOwn(uids, plugin)) return uids[plugin]!;
  const used = new Set(Object.values(uids));
  for (let uid: number = UIDS.from; uid <= UIDS.to; uid += 1) if (!used.has(uid)) return uid;
  throw new Rejected('plugin.users', 'There were too many plugins: no user is left for another one', `at most ${UIDS.to - UIDS.from + 1}`);
}

/** Names that a plugin's commands begin with. */
const groups = (name: string, { services = [] }: PluginManifest): string[] => [name, ...services.flatMap(({ type, aliases }) => [type, ...aliases])];

/** No two plugins have commands that begin alike. @throws Rejected */
function requireOwn(plugin: string, manifest: PluginManifest, installed: Readonly<Record<string, Installed>>, bundled: readonly string[]): void {
  const others = [...Object.values(installed).filter(({ name }) => name !== plugin).flatMap((other) => groups(other.name, other.manifest).map((group) => [group, other.name] as const)), ...bundled.map((name) => [name, name] as const)];
  for (const group of groups(plugin, manifest)) {
    const taken = others.find(([name]) => name === group);
    if (taken) throw new Rejected('plugin.taken', `${group === plugin ? 'Its name' : `Its service type ${group}`} is ${taken[0] === taken[1] ? `that of plugin ${taken[1]}` : `a service type of plugin ${taken[1]}`} already`, 'two plugins cannot have commands of one name');
  }
}

const same = (a: PluginCode, b: PluginCode): boolean => a.pin === b.pin && JSON.stringify(a.source) === JSON.stringify(b.source) && JSON.stringify(a.manifest) === JSON.stringify(b.manifest);

export const plugins: Decider<PluginsState, PluginsCommand, PluginEvent> = {
  initial: { installed: {}, ownDisabled: {}, uids: {} },
  decide(command, { installed, ownDisabled, uids }) {
    const { plugin } = command;
    const found = Object.hasOwn(installed, plugin) ? installed[plugin]! : null;
    const own = 'bundled' in command && command.bundled.includes(plugin);
    switch (command.type) {
      case 'Install': {
        if (own) throw new Rejected('plugin.exists', `${plugin} is a plugin that comes with Berth`, 'give yours another name');
        requireOwn(plugin, command.code.manifest, installed, command.bundled);
        if (!found) return [{ type: 'PluginInstalled', data: { plugin, uid: uidOf({ uids }, plugin), ...command.code } }];
        if (same(found, command.code)) return [];
        throw new Rejected('plugin.exists', `${plugin} ${found.version} is installed already`, `to bring it up to date: berth plugin:update ${plugin}`);
      }
      case 'Update':
        if (!found) throw missing(plugin);
        requireOwn(plugin, command.code.manifest, installed, command.bundled);
        return same(found, command.code) ? [] : [{ type: 'PluginUpdated', data: { plugin, from: found.version, ...command.code } }];
      case 'Enable':
        if (!found && !own) throw missing(plugin);
        return (found ? !found.enabled : Object.hasOwn(ownDisabled, plugin)) ? [{ type: 'PluginEnabled', data: { plugin } }] : [];
      case 'Disable':
        if (!found && !own) throw missing(plugin);
        return (found ? found.enabled : !Object.hasOwn(ownDisabled, plugin)) ? [{ type: 'PluginDisabled', data: { plugin, reason: command.reason } }] : [];
      case 'Uninstall':
        if (own) throw new Rejected('plugin.own', `${plugin} comes with Berth and cannot be uninstalled`, `berth plugin:disable ${plugin}`);
        if (!found) throw missing(plugin);
        return [{ type: 'PluginUninstalled', data: { plugin } }];
      default: return never(command);
    }
  },
  evolve(state, event) {
    const { plugin } = event.data;
    const { [plugin]: before, ...others } = state.installed;
    switch (event.type) {
      case 'PluginInstalled': {
        const { plugin: name, ...rest } = event.data;
        return { ...state, installed: { ...state.installed, [name]: { name, enabled: true, reason: null, ...rest } }, uids: { ...state.uids, [name]: rest.uid } };
      }
      case 'PluginUpdated': {
        const { plugin: name, from: _, ...rest } = event.data;
        return before ? { ...state, installed: { ...others, [name]: { ...before, ...rest } } } : state;
      }
      case 'PluginEnabled': {
        const { [plugin]: _, ...ownDisabled } = state.ownDisabled;
        return before ? { ...state, installed: { ...others, [plugin]: { ...before, enabled: true, reason: null } } } : { ...state, ownDisabled };
      }
      case 'PluginDisabled':
        return before ? { ...state, installed: { ...others, [plugin]: { ...before, enabled: false, reason: event.data.reason } } } : { ...state, ownDisabled: { ...state.ownDisabled, [plugin]: event.data.reason } };
      case 'PluginUninstalled': return { ...state, installed: others };
      default: return never(event);
    }
  },
};

type Values = Readonly<Record<string, Extract<PluginSettingEvent['data']['value'], object | string>>>;
/** What one plugin remembers: of the server, and of apps. Stream `plugin-<name>`. */
export interface SettingsState { readonly server: Values; readonly apps: Readonly<Record<string, Values>> }
export type SettingsCommand = { type: 'Remember'; plugin: string; app: string | null; values: Readonly<Record<string, PluginSettingEvent['data']['value']>> };

/** names that one plugin may remember, of the server or of one app */
const NAMES_MAX = 200;
const LENGTH_MAX = 64 * 1024;

export const pluginSettings: Decider<SettingsState, SettingsCommand, PluginSettingEvent> = {
  initial: { server: {}, apps: {} },
  decide({ plugin, app, values }, state) {
    const before = app === null ? state.server : (state.apps[app] ?? {});
    const events = Object.entries(values).flatMap(([key, value]): PluginSettingEvent[] => {
      if (typeof value === 'string' && value.length > LENGTH_MAX) throw new Rejected('plugin.setting', `${plugin} wants to remember ${value.length} characters as ${key}`, `at most ${LENGTH_MAX}; its own folder has room for more`);
      return (before[key] ?? null) === value ? [] : [{ type: 'PluginSettingChanged', data: { plugin, app, key, value } }];
    });
    if (new Set([...Object.keys(before), ...events.map((event) => event.data.key)]).size > NAMES_MAX) throw new Rejected('plugin.setting', `${plugin} wants to remember more than ${NAMES_MAX} values`, 'its own folder has room for more');
    return events;
  },
  evolve(state, { data: { app, key, value } }) {
    const put = (values: Values = {}): Values => {
      const { [key]: _, ...rest } = values;
      return value === null ? rest : { ...rest, [key]: value };
    };
    return app === null ? { ...state, server: put(state.server) } : { ...state, apps: { ...state.apps, [app]: put(state.apps[app]) } };
  },
};
