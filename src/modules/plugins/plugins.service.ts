import type { PluginPrograms } from '../../drivers/plugin/plugin.port.js';
import type { Sealed } from '../../events/sealed.js';
import type { BundledPlugin } from '../../plugins/contract/define.js';
import type { CalledApp, PluginCall } from '../../plugins/contract/protocol.js';
import { VERSION } from '../../version.js';
import type { Core } from '../core.js';
import { pluginsOf, type Plugin } from './active.js';
import { ask, type Asked } from './ask.js';
import { pluginSettings } from './plugin.decider.js';
import { projected } from './projected.js';

type Opened<C> = C extends PluginCall ? Omit<C, 'protocol' | 'plugin' | 'berth' | 'settings' | 'app'> : never;
/** A call without what is the same for all. */
export type Wanted = Opened<PluginCall>;

type Seen = Pick<Core, 'plugins' | 'box' | 'config' | 'store'>;

/** Every plugin there is, and asking one of them. */
export class Plugins {
  constructor(private readonly core: Seen, private readonly programs: PluginPrograms, private readonly bundled: readonly BundledPlugin[]) {}

  async all(): Promise<Plugin[]> {
    return pluginsOf(await this.core.plugins.now(), this.bundled, this.core.config);
  }

  async enabled(): Promise<Plugin[]> {
    return (await this.all()).filter((plugin) => plugin.enabled);
  }

  /** Asks one, which is told what it remembers: as of when it was looked up. @throws PluginFault */
  async ask<W extends Wanted>(plugin: Plugin, wanted: W, app: { readonly id: string; readonly name: string } | null, signal: AbortSignal, onLine: (line: string) => void): Promise<Asked<W['call']>> {
    const { settings = pluginSettings.initial } = plugin;
    const called: CalledApp | null = app && { ...app, settings: await this.open(settings.apps[app.id] ?? {}) };
    const call = {
      protocol: 1, plugin: { name: plugin.name, version: plugin.manifest.version, data: plugin.data }, berth: { version: VERSION, instance: this.core.config.instance },
      settings: await this.open(settings.server), ...(called && { app: called }), ...(wanted.call === 'command' && plugin.manifest.projections && { projections: await projected(this.core.store, plugin) }), ...wanted,
    } as unknown as Extract<PluginCall, { call: W['call'] }>;
    return ask<W['call']>(plugin, call, { programs: this.programs, signal, onLine });
  }

  private async open(values: Readonly<Record<string, string | Sealed>>): Promise<Record<string, string>> {
    return Object.fromEntries(await Promise.all(Object.entries(values).map(async ([key, value]) => [key, typeof value === 'string' ? value : await this.core.box.unseal(value)] as const)));
  }
}
