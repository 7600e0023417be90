import { join } from 'node:path';
import type { Config } from '../../config.js';
import type { PluginManifest } from '../../events/types/plugin.events.js';
import type { BundledPlugin, Handlers } from '../../plugins/contract/define.js';
import type { SettingsState } from './plugin.decider.js';
import type { PluginsView } from './plugins.projection.js';

/** A plugin as it can be asked: one of Berth's own, or one that was installed. */
export interface Plugin {
  readonly name: string;
  readonly manifest: PluginManifest;
  readonly enabled: boolean;
  readonly reason: string | null;
  /** where it may write */
  readonly data: string;
  /** null: it was installed, and runs as a process of its own */
  readonly handlers: Handlers | null;
  /** its files; null for Berth's own */
  readonly code: string | null;
  readonly uid: number | null;
  /** what it remembered when this was looked up; absent: nothing */
  readonly settings?: SettingsState;
}

export const pluginsFolder = (root: string): string => join(root, 'plugins');
export const codeFolder = (root: string, folder: string): string => join(root, 'plugins', '.code', folder);
export const dataFolder = (root: string, name: string): string => join(root, 'plugins', '.data', name);

/** All plugins in the order of their names, those that are disabled too. Pure. */
export function pluginsOf({ registry: { installed, ownDisabled }, settings }: Readonly<PluginsView>, bundled: readonly BundledPlugin[], { root }: Pick<Config, 'root'>): Plugin[] {
  const own = bundled.map(({ manifest, handlers }): Plugin => ({ name: manifest.name, manifest, handlers, enabled: !Object.hasOwn(ownDisabled, manifest.name), reason: ownDisabled[manifest.name] ?? null, data: dataFolder(root, manifest.name), code: null, uid: null }));
  const theirs = Object.values(installed).map(({ name, manifest, enabled, reason, folder, uid }): Plugin => ({ name, manifest, enabled, reason, handlers: null, data: dataFolder(root, name), code: codeFolder(root, folder), uid }));
  return [...own, ...theirs].map((plugin) => (settings[plugin.name] ? { ...plugin, settings: settings[plugin.name]! } : plugin)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
