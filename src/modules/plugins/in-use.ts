import { Rejected } from '../../events/decider.js';
import type { DeclaredService, PluginManifest } from '../../events/types/plugin.events.js';
import type { ServiceImage } from '../../events/types/service.events.js';
import { declaredType } from '../../plugins/services/declared.js';
import { dsnOf, serverImage } from '../../plugins/services/types.js';
import type { CommandContext } from '../commands/command.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { ServiceRow } from '../services/services.projection.js';
import { plugins, PLUGINS_STREAM, type Installed } from './plugin.decider.js';

/** Why a service of a type cannot become one of what the plugin's new version says; null: it can. Pure. */
export function misfit(plugin: string, before: DeclaredService, after: DeclaredService | undefined, source: ServiceImage['source']): string | null {
  if (!after) return 'is not among its types any more';
  const [old, now] = [declaredType(plugin, before), declaredType(plugin, after)];
  if (source === 'packages' && old.packaged !== null && now.packaged === null) return 'is not made of packages any more';
  const [from, to] = [serverImage(old, source).volume, serverImage(now, source).volume];
  if (from !== to) return `has its data at ${to ?? 'no place'}, not at ${from ?? 'no place'}`;
  if (old.port !== now.port) return `listens on port ${now.port}, not on ${old.port}`;
  return dsnOf(old, 'name', 'password', null) === dsnOf(now, 'name', 'password', null) ? null : 'has another DSN, which linked apps would not know';
}

const of = async ({ services }: Pick<Core, 'services'>, plugin: string): Promise<ServiceRow[]> => Object.values((await services.now()).rows).filter((row) => row.plugin === plugin);
const named = (rows: readonly ServiceRow[]): string => rows.map(({ type, name }) => `${type}:${name}`).toSorted().join(', ');
const sources = ['packages', 'registry'] as const;
const typed = (manifest: PluginManifest, type: string): DeclaredService | undefined => manifest.services?.find((each) => each.type === type);

/** @throws Rejected while services of its types are there */
export async function refuseInUse(core: Core, installed: Installed | undefined): Promise<void> {
  if (!installed?.manifest.services?.length) return;
  const plugin = installed.name;
  const rows = await of(core, plugin);
  if (rows.length > 0) throw new Rejected('plugin.in-use', `Services of the types of ${plugin} are there: ${named(rows)}`, `first: ${rows.map(({ type, name }) => `berth ${type}:destroy ${name}`).join('; ')}; or leave it disabled: they go on`);
}

async function requireFit(core: Core, { name: plugin, manifest }: Installed, next: PluginManifest): Promise<void> {
  for (const row of await of(core, plugin)) {
    const before = typed(manifest, row.type);
    const why = before && misfit(plugin, before, typed(next, row.type), row.image.source);
    if (why) throw new Rejected('plugin.in-use', `There is a ${row.type} service ${row.name}, and its type ${why}`, `bring its data elsewhere and destroy it first: berth ${row.type}:export ${row.name}; berth ${row.type}:destroy ${row.name}`);
  }
}

/** Works after looking, while nobody can make another service of the plugin's types: it is disabled meanwhile, and enabled again where that was in vain. */
async function asleep<T>(context: Pick<CommandContext, 'core' | 'actor'>, plugin: Installed, why: string, look: () => Promise<void>, work: (again: boolean) => Promise<T>): Promise<T> {
  await look();
  if (!plugin.enabled) return work(false);
  const decide = (command: { type: 'Disable'; reason: string } | { type: 'Enable' }): Promise<unknown> => change(context, `plugin:${why}`, 'plugins', (draft) => draft.decide(plugins, PLUGINS_STREAM, { ...command, plugin: plugin.name, bundled: [] }));
  await decide({ type: 'Disable', reason: `for its ${why}` });
  try {
    await look();
    return await work(true);
  } catch (error) {
    await decide({ type: 'Enable' });
    throw error;
  }
}

/** Uninstalls while no service of its types is there, and none is made. @throws Rejected */
export async function uninstalling(context: Pick<CommandContext, 'core' | 'actor'>, plugin: Installed | undefined, work: () => Promise<void>): Promise<void> {
  return plugin?.manifest.services?.length ? asleep(context, plugin, 'uninstall', () => refuseInUse(context.core, plugin), work) : work();
}

/** Updates where every service that is there can go on. `work` is told whether to enable it again. @throws Rejected */
export async function updating<T>(context: Pick<CommandContext, 'core' | 'actor'>, plugin: Installed, next: PluginManifest, work: (again: boolean) => Promise<T>): Promise<T> {
  const harmless = (plugin.manifest.services ?? []).every((before) => sources.every((source) => misfit(plugin.name, before, typed(next, before.type), source) === null));
  return harmless ? work(false) : asleep(context, plugin, 'update', () => requireFit(context.core, plugin, next), work);
}
