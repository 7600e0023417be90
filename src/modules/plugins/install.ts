import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PluginFault, type PluginPrograms } from '../../drivers/plugin/plugin.port.js';
import { settleFiles } from '../../drivers/plugin/plugin.files.js';
import type { PluginFetch } from '../../drivers/plugin/plugin.source.js';
import { Rejected } from '../../events/decider.js';
import type { PluginCode, PluginSource } from '../../events/types/plugin.events.js';
import type { Surroundings } from '../../plugins/contract/manifest.js';
import { tellProblem, type Problem } from '../../plugins/contract/problems.js';
import { codeFolder, pluginsFolder, type Plugin } from './active.js';
import { loadMain } from './ask.js';
import { checkFolder } from './check.js';

const HINT = 'see docs/plugins.md; to try it out: berth plugin:test <folder>';

/** All that is wrong, one line each. */
export function refused(what: string, problems: readonly Problem[]): Rejected {
  const [first, ...more] = problems.map(tellProblem);
  return new Rejected('plugin.manifest', `${what}: ${first}${more.map((line) => `\n       ${line}`).join('')}`, HINT);
}

/**
 * Brings plugins in: into a folder of their own first, where they are checked and loaded. What was found good lies below `.code` under a
 * name made of its content; the event that names it is what installs it. What no event names is removed by `tidy`.
 */
export class PluginInstaller {
  constructor(private readonly root: string, private readonly fetch: PluginFetch, private readonly programs: PluginPrograms, readonly around: Surroundings) {}

  /**
   * Fetches, checks and loads. `wanted`: the only name that it may have; `uidOf`: the user that a plugin of this name runs as.
   * @throws Rejected; nothing is left behind
   */
  async prepare(source: PluginSource, wanted: string | null, uidOf: (name: string) => number, signal: AbortSignal): Promise<{ name: string; code: PluginCode }> {
    await this.entrance();
    const work = join(pluginsFolder(this.root), '.incoming', randomBytes(8).toString('hex'));
    const into = join(work, 'code');
    await mkdir(work, { recursive: true, mode: 0o711 });
    try {
      const commit = await this.fetch.fetch(source, into, signal);
      const found = await checkFolder(into, this.around);
      if (found.manifest === null && found.problems.some(({ field }) => !field.startsWith('commands') && !field.startsWith('hooks') && !field.startsWith('events.run') && !field.startsWith('projections') && !field.startsWith('builders') && field !== 'main')) throw refused('It is not installed', found.problems);
      await this.fetch.dependencies(into, signal);
      const digest = await settleFiles(into);
      const { manifest, problems } = await checkFolder(into, this.around);
      if (manifest === null) throw refused('It is not installed', problems);
      if (wanted !== null && manifest.name !== wanted) throw new Rejected('plugin.name', `It calls itself ${manifest.name}, not ${wanted}`, `install it under its own name: berth plugin:install`);
      const { name, version } = manifest;
      const plugin: Plugin = { name, manifest, enabled: true, reason: null, data: join(work, 'data'), handlers: null, code: into, uid: uidOf(name) };
      await this.load(plugin, signal);
      const folder = `${name}-${digest.slice(0, 16)}`;
      const place = codeFolder(this.root, folder);
      await mkdir(dirname(place), { recursive: true, mode: 0o755 });
      await rename(into, place).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error; // the very same is there already
      });
      return { name, code: { version, source, pin: commit ?? `sha256:${digest}`, folder, manifest } };
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Why an installed one cannot be used, or null. */
  async trouble(plugin: Plugin, signal: AbortSignal): Promise<string | null> {
    if (plugin.code === null) return null;
    if (!(await stat(plugin.code).catch(() => null))) return `its files are not on this server: berth plugin:update ${plugin.name}`;
    const { manifest, problems } = await checkFolder(plugin.code, this.around);
    if (manifest === null) return problems.map(tellProblem).join('; ').slice(0, 500);
    try {
      await this.load(plugin, signal);
      return null;
    } catch (error) {
      if (error instanceof Rejected) return error.message;
      throw error;
    }
  }

  private async load(plugin: Plugin, signal: AbortSignal): Promise<void> {
    try {
      await loadMain(plugin, { programs: this.programs, signal, onLine: () => {} });
    } catch (error) {
      throw error instanceof PluginFault ? new Rejected('plugin.load', `It does not load: ${error.message}`, HINT) : error;
    }
  }

  /** Plugins run as users of their own: they must be able to come to their files. */
  private async entrance(): Promise<void> {
    await mkdir(pluginsFolder(this.root), { recursive: true, mode: 0o755 });
    for (let folder = pluginsFolder(this.root); folder !== '/'; folder = dirname(folder)) {
      if (((await stat(folder)).mode & 0o001) === 0) throw new Rejected('plugin.entrance', `Plugins run as users of their own, and these cannot pass ${folder}`, `chmod o+x ${folder}`);
    }
  }

  /** Folders that somebody put below the plugins folder by hand. */
  async byHand(): Promise<string[]> {
    const entries = await readdir(pluginsFolder(this.root), { withFileTypes: true }).catch(() => []);
    return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map(({ name }) => join(pluginsFolder(this.root), name)).toSorted();
  }

  /** Takes away all that is left of a plugin. */
  async remove(name: string): Promise<void> {
    const folder = pluginsFolder(this.root);
    await rm(join(folder, '.data', name), { recursive: true, force: true });
    await rm(join(folder, name), { recursive: true, force: true });
  }

  /** Takes away what installations that died left, and files that no event names and nobody can be running any more. */
  async tidy(named: readonly string[], olderThan: number): Promise<void> {
    const folder = pluginsFolder(this.root);
    for (const [part, keep] of [['.incoming', []], ['.code', named]] as const) {
      for (const entry of await readdir(join(folder, part)).catch(() => [])) {
        if (keep.some((each) => each === entry)) continue;
        const path = join(folder, part, entry);
        if (((await stat(path).catch(() => null))?.ctimeMs ?? Infinity) < olderThan) await rm(path, { recursive: true, force: true });
      }
    }
  }
}
