import { basename } from 'node:path';
import type { EventStore } from '../../events/store.port.js';
import type { Projected } from '../../plugins/contract/protocol.js';
import { packed, unpacked } from '../read/packed.js';
import type { Plugin } from './active.js';

/** Why a projection does not go on. */
export interface Trouble { readonly why: string; /** of the event that it did not take, which is not in the state */ readonly position: number; readonly type: string; /** ms since the epoch */ readonly at: number; readonly tries: number }
/** How far a plugin's projection has come. `last`: id of the event at `position`. */
export interface Standing extends Projected { readonly last: string | null; readonly trouble: Trouble | null }

/** In one line, for people. */
export const toldTrouble = ({ why, position, type, tries }: Trouble): string => `${type} at ${position} is not folded, after ${tries} ${tries === 1 ? 'try' : 'tries'}: ${why}`;

type Snapshots = Pick<EventStore, 'snapshot' | 'saveSnapshot' | 'forgetSnapshots'>;
type Whose = Pick<Plugin, 'name' | 'code' | 'manifest'>;

export const BEGINNING: Standing = { state: null, position: 0, last: null, trouble: null };

const nameOf = (plugin: string, projection: string): string => `plugin:${plugin}/${projection}`;
/** What another code has folded is of no use: the folder is called after its files. */
export const codeVersion = ({ code, manifest }: Whose): string => (code === null ? manifest.version : basename(code));

/** A projection as it was last kept: a cache beside the log. One that cannot be read is begun anew. */
export async function standing(store: Snapshots, plugin: Whose, projection: string): Promise<Standing> {
  const found = await store.snapshot(nameOf(plugin.name, projection), codeVersion(plugin));
  if (!found) return BEGINNING;
  try {
    return { ...(JSON.parse(await unpacked(found.state)) as Standing), position: found.position };
  } catch {
    return BEGINNING;
  }
}

/** Up to where it was kept; null: it is not. */
export async function keptPosition(store: Snapshots, plugin: Whose, projection: string): Promise<number | null> {
  return (await store.snapshot(nameOf(plugin.name, projection), codeVersion(plugin)))?.position ?? null;
}

/** Keeps it, and forgets what other versions of the code have folded. */
export async function keepStanding(store: Snapshots, plugin: Whose, projection: string, { position, ...rest }: Standing): Promise<void> {
  const name = nameOf(plugin.name, projection);
  await store.saveSnapshot(name, codeVersion(plugin), position, await packed(JSON.stringify(rest)));
  await store.forgetSnapshots(name, codeVersion(plugin));
}

/** What the plugin's commands are told. */
export async function projected(store: Snapshots, plugin: Whose): Promise<Record<string, Projected>> {
  return Object.fromEntries(await Promise.all((plugin.manifest.projections ?? []).map(async ({ name }) => {
    const { state, position } = await standing(store, plugin, name);
    return [name, { state, position }] as const;
  })));
}

/** Of a plugin that is gone, or has other projections now. */
export async function forgetStandings(store: Snapshots, plugin: string, projections: readonly { readonly name: string }[] = []): Promise<void> {
  for (const { name } of projections) await store.forgetSnapshots(nameOf(plugin, name), '');
}
