import { join } from 'node:path';
import { StepFailure } from '../../events/step.js';
import type { BuildpackFetch } from '../../drivers/stack/buildpack-fetch.js';
import type { Plugins } from '../../modules/plugins/plugins.service.js';
import type { BuildpackFetcher } from '../../plugins/builders/classic/classic.port.js';

/** Fetches buildpacks, those of plugins out of the plugins' own folders as they are now. @param plain fetches the others; @param own reads folders of ours */
export function withPluginBuildpacks(plain: BuildpackFetch, own: BuildpackFetch, plugins: Pick<Plugins, 'all'>): BuildpackFetcher {
  return {
    fetch: async (reference, signal) => {
      if (reference.kind !== 'plugin') return plain.fetch(reference, signal);
      const { plugin: wanted, name } = reference;
      const plugin = (await plugins.all()).find((each) => each.name === wanted);
      const folder = plugin && Object.hasOwn(plugin.manifest.buildpacks, name) ? plugin.manifest.buildpacks[name] : undefined;
      if (!plugin?.code || folder === undefined) throw new StepFailure('build.buildpack', `no plugin brings the buildpack plugin:${wanted}/${name}`, plugin ? `berth plugin:info ${wanted} shows what it brings` : `is it installed? berth plugin:list`);
      if (!plugin.enabled) throw new StepFailure('build.buildpack', `the plugin of the buildpack plugin:${wanted}/${name} is disabled: ${plugin.reason}`, `berth plugin:enable ${wanted}`);
      return own.fetch({ kind: 'local', path: join(plugin.code, folder), ref: null }, signal);
    },
  };
}
