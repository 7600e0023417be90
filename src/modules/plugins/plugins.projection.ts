import type { Recorded } from '../../events/event.js';
import { SCHEMAS, type EventType } from '../../events/types/all.events.js';
import type { PluginEvent, PluginSettingEvent } from '../../events/types/plugin.events.js';
import type { Shape } from '../read/projection.js';
import { plugins, pluginSettings, type PluginsState, type SettingsState } from './plugin.decider.js';

/** Every plugin, and what each remembers. */
export interface PluginsView {
  registry: PluginsState; settings: Record<string, SettingsState>;
  /** position from which on a plugin is told what happens: where it was installed or enabled, or first given something to remember */
  since: Record<string, number>;
}

const REGISTRY: ReadonlySet<string> = new Set<PluginEvent['type']>(['PluginInstalled', 'PluginUpdated', 'PluginEnabled', 'PluginDisabled', 'PluginUninstalled']);
const OTHERS: ReadonlySet<string> = new Set<EventType>(['PluginSettingChanged', 'AppDestroyed']);

function apply(view: PluginsView, event: Recorded): void {
  if (REGISTRY.has(event.type)) {
    const own = event as unknown as PluginEvent;
    view.registry = plugins.evolve(view.registry, own);
    if (own.type === 'PluginInstalled' || own.type === 'PluginEnabled') view.since[own.data.plugin] = event.position;
  } else if (event.type === 'PluginSettingChanged') {
    const own = event as unknown as PluginSettingEvent;
    view.since[own.data.plugin] ??= event.position;
    view.settings[own.data.plugin] = pluginSettings.evolve(view.settings[own.data.plugin] ?? pluginSettings.initial, own);
  } else if (event.type === 'AppDestroyed') {
    const { app } = event.data as { app: string };
    for (const [name, settings] of Object.entries(view.settings)) {
      const { [app]: _, ...apps } = settings.apps;
      view.settings[name] = { ...settings, apps };
    }
  }
}

export const PLUGINS: Shape<PluginsView> = { version: '2', initial: () => ({ registry: plugins.initial, settings: {}, since: {} }), apply, skips: (Object.keys(SCHEMAS) as EventType[]).filter((type) => !REGISTRY.has(type) && !OTHERS.has(type)) };
