import { declaredType } from '../../plugins/services/declared.js';
import type { ServiceType } from '../../plugins/services/service-type.js';
import { serviceType } from '../../plugins/services/types.js';
import type { Core } from '../core.js';
import type { PluginsView } from '../plugins/plugins.projection.js';

/** What is recorded of a service's type. */
export interface TypeName { readonly type: string; /** that brought it; absent: one of ours */ readonly plugin?: string }

/**
 * The type of a service that is there: one of ours, or one of a plugin as it is installed, whether that is enabled or not.
 * @throws Error when nobody knows it
 */
export async function typeOf(core: Pick<Core, 'plugins'>, { type, plugin }: TypeName): Promise<ServiceType> {
  if (plugin === undefined) return serviceType(type);
  const { registry } = await core.plugins.now();
  const declared = registry.installed[plugin]?.manifest.services?.find((each) => each.type === type);
  if (!declared) throw new Error(`the plugin ${plugin}, which brought services of type ${type}, is not there any more`);
  return declaredType(plugin, declared);
}

/** All types that installed plugins bring. Pure. */
export const typesOf = ({ registry }: Readonly<PluginsView>): readonly ServiceType[] => Object.values(registry.installed).flatMap(({ name, manifest }) => (manifest.services ?? []).map((declared) => declaredType(name, declared)));
