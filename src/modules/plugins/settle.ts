import { BUNDLED } from '../../plugins/bundled.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { DOES_NOT_LOAD, plugins, PLUGINS_STREAM } from './plugin.decider.js';

/**
 * At the start: what installations that died left goes, and a plugin that does not load any more (Berth was upgraded, a program or its files are
 * gone) is disabled with the reason; the rest goes on.
 */
export async function settlePlugins(core: Core): Promise<void> {
  const { registry } = await core.plugins.now();
  await core.pluginInstaller!.tidy(Object.values(registry.installed).map(({ folder }) => folder), core.now());
  for (const plugin of (await core.pluginHost!.enabled()).filter(({ handlers }) => handlers === null)) {
    const trouble = await core.pluginInstaller!.trouble(plugin, AbortSignal.timeout(60_000));
    if (trouble === null) continue;
    await change({ core, actor: 'system:plugins' }, 'start', 'plugins', (draft) => draft.decide(plugins, PLUGINS_STREAM, { type: 'Disable', plugin: plugin.name, reason: `${DOES_NOT_LOAD}: ${trouble}`, bundled: BUNDLED.map(({ manifest }) => manifest.name) }));
  }
}
