import { existsSync } from 'node:fs';
import { chown, lchown, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packFolder } from '../../drivers/archive/folder-tar.js';
import { packLive } from '../../drivers/archive/live-tar.js';
import { archiveFiles, inspectArchive } from '../../drivers/archive/archive.js';
import { usedBy } from '../../drivers/disk/used.js';
import { PLUGIN_LIMITS, settleFiles, unpackFiles } from '../../drivers/plugin/plugin.files.js';
import { BUNDLED } from '../../plugins/bundled.js';
import { Rejected } from '../../events/decider.js';
import { bytes } from '../commands/words.js';
import type { Core } from '../core.js';
import { codeFolder, dataFolder, pluginsFolder } from '../plugins/active.js';
import type { PluginsState } from '../plugins/plugin.decider.js';
import { settlePlugins } from '../plugins/settle.js';
import { damaged, type PluginPart } from './archive.js';
import { moveTo, namesIn } from './place.js';
import type { Say } from './telling.js';

/** what a plugin keeps is in a backup up to this size: more is a store, not settings */
const DATA_MAX = { bytes: 256 * 1024 ** 2, files: 30_000, git: true };
/** what programs put there that they can do without */
const LEAVE = ['.cache', '.npm'];
const FOLDER = /^[a-z][a-z0-9-]{0,39}-[0-9a-f]{16}$/;
/** Within the archive; `kind` is `code` or `data`. */
export const pluginFile = (name: string, kind: 'code' | 'data'): string => `plugins/${name}/${kind}`;

/** The code that the log names and what each plugin keeps. @param put writes what comes in pieces, answers how many bytes */
export async function readPlugins(core: Core, { installed }: PluginsState, signal: AbortSignal, say: Pick<Say, 'info' | 'warn'>, put: (file: string, pieces: AsyncIterable<Buffer>) => Promise<number>): Promise<PluginPart[]> {
  const { root } = core.config;
  const parts: PluginPart[] = [];
  let total = 0;
  const all = [...Object.values(installed).map(({ name, folder }) => ({ name, folder })), ...BUNDLED.map(({ manifest: { name } }) => ({ name, folder: '' }))];
  for (const { name, folder } of all) {
    signal.throwIfAborted();
    const place = codeFolder(root, folder);
    const code = folder !== '' && existsSync(place);
    if (code) total += await put(pluginFile(name, 'code'), packFolder(place));
    else if (folder !== '') say.warn(`The files of plugin ${name} are not there: on another server it has to be fetched: berth plugin:update ${name}`);
    const kept = dataFolder(root, name);
    const used = await usedBy(kept, DATA_MAX);
    const fits = used.bytes <= DATA_MAX.bytes && used.files <= DATA_MAX.files;
    if (!fits) say.warn(`What plugin ${name} keeps is left out: it has more than ${bytes(DATA_MAX.bytes)} or ${DATA_MAX.files} files; copy it yourself: ${kept}`);
    const data = fits && used.files > 0;
    if (data) total += await put(pluginFile(name, 'data'), packLive(kept, 'data', LEAVE, (file) => say.warn(`${join(kept, file)} is left out: it is no file, folder or link that stays there`)));
    if (code || data) parts.push({ name, folder, code, data });
  }
  if (parts.length > 0) say.info(`${parts.length} ${parts.length === 1 ? 'plugin' : 'plugins'}, ${bytes(total)}`);
  return parts;
}

const stagedData = (stage: string): string => join(stage, 'plugins', 'data');
const stagedCode = (stage: string): string => join(stage, 'plugins', 'code');

/** Unpacks one part into a restore's stage. Files that are not the ones that the log's digest was made of are refused, like whatever leads out. */
export async function stagePlugin(stage: string, parts: readonly PluginPart[], file: string, tar: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
  const [, name = '', kind = ''] = file.split('/');
  const part = parts.find((each) => each.name === name);
  const isCode = kind === 'code';
  if (!part || (!isCode && kind !== 'data') || file !== pluginFile(name, kind) || (isCode && !(FOLDER.test(part.folder) && part.folder.startsWith(`${name}-`)))) throw damaged(`${file} in the archive is not where it belongs`);
  const archive = join(stage, 'plugin.tar');
  const into = isCode ? join(stagedCode(stage), part.folder) : join(stagedData(stage), name);
  try {
    await writeFile(archive, tar, { mode: 0o600 });
    await rm(into, { recursive: true, force: true });
    await mkdir(into, { recursive: true, mode: 0o700 });
    const limits = isCode ? PLUGIN_LIMITS : DATA_MAX;
    const found = await inspectArchive(archive, 'tar', limits, signal).catch((error: unknown) => {
      if (error instanceof Rejected && error.message.endsWith('holds no files')) return null; // only empty folders
      throw error;
    });
    if (found !== null) await unpackFiles(into, archiveFiles(archive, found, limits, signal));
    if (isCode && !part.folder.endsWith(`-${(await settleFiles(into)).slice(0, 16)}`)) throw damaged(`${file} in the archive does not hold the files that the log names`);
  } catch (error) {
    throw error instanceof Rejected && error.code !== 'backup.damaged' ? damaged(`${file} in the archive: ${error.message}`, error) : error;
  } finally {
    await rm(archive, { force: true });
  }
}

/** Moves what was unpacked to its place, each plugin's own by its user in the restored log; what plugins kept that the backup does not know goes. Done twice it is the same. */
export async function placePlugins(core: Core, stage: string, say: Pick<Say, 'warn'>): Promise<void> {
  const { root } = core.config;
  const { installed } = (await core.plugins.now()).registry;
  await mkdir(pluginsFolder(root), { recursive: true, mode: 0o755 });
  for (const folder of await namesIn(stagedCode(stage))) await moveTo(join(stagedCode(stage), folder), codeFolder(root, folder));
  for (const name of await namesIn(stagedData(stage))) {
    await own(join(stagedData(stage), name), installed[name]?.uid ?? null);
    await mkdir(join(pluginsFolder(root), '.data'), { recursive: true, mode: 0o711 });
    await moveTo(join(stagedData(stage), name), dataFolder(root, name));
  }
  for (const name of await namesIn(join(pluginsFolder(root), '.data'))) {
    const kept = dataFolder(root, name);
    const uid = installed[name]?.uid;
    // another plugin may be that user now
    if (uid === undefined && !BUNDLED.some(({ manifest }) => manifest.name === name)) await rm(kept, { recursive: true, force: true });
    else if (uid !== undefined && (await stat(kept)).uid !== uid) await own(kept, uid);
  }
  if (core.pluginInstaller && core.pluginHost) await settlePlugins(core).catch((error: unknown) => say.warn(`Plugins could not be looked at: ${(error as Error).message}`));
}

async function own(folder: string, uid: number | null): Promise<void> {
  if (uid === null || process.getuid?.() !== 0) return;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) await lchown(join(entry.parentPath, entry.name), uid, uid);
  await chown(folder, uid, uid);
}
