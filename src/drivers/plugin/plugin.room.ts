import { usedBy } from '../disk/used.js';
import { PluginFault } from './plugin.port.js';

/** bytes that a plugin may keep unless said otherwise (BERTH_PLUGIN_DISK), and files, whatever was said */
export const PLUGIN_DISK = 1e9;
const FILES_MAX = 100_000;

/** What a plugin keeps in its folder, counted no further than a little over what it may. */
export interface Kept { readonly bytes: number; readonly files: number; /** why it may keep no more, and what to do; null: it may */ readonly over: string | null }

/** @param most bytes */
export async function keptIn(folder: string, most: number): Promise<Kept> {
  const used = await usedBy(folder, { bytes: most, files: FILES_MAX });
  const what = used.bytes > most ? `more than ${Math.round(most / 1e6)} MB` : used.files > FILES_MAX ? `more than ${FILES_MAX} files` : null;
  return { ...used, over: what && `it keeps ${what} in ${folder}: make room there, or raise BERTH_PLUGIN_DISK (bytes) in berth.env` };
}

/** @throws PluginFault */
export async function requireRoom(folder: string, most: number): Promise<void> {
  const { over } = await keptIn(folder, most);
  if (over !== null) throw new PluginFault('disk', over);
}
