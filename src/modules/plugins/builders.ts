import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import { DETECT_CONFIG_KEYS, type Project } from '../../plugins/builders/builder.port.js';
import { consult, foreignAsked, foreignName, seenByPlugins, type ForeignBuilder, type Told } from '../../plugins/builders/foreign.builder.js';
import { fitsOne } from '../../plugins/builders/glob.js';
import type { BuilderCall } from '../../plugins/contract/protocol.js';
import type { Plugin } from './active.js';
import type { Plugins } from './plugins.service.js';

/** paths, and characters of text, that a builder is told at most */
const PATHS_MAX = 50_000;
const TEXT_MAX = 4 << 20;

export interface Builders {
  readonly all: readonly ForeignBuilder[];
  /** whether one of them wants a path's text */
  wants(path: string): boolean;
  /** asks those that are to be asked. Never throws but for the signal's reason: a fault is part of what they said */
  ask(project: Project, app: { readonly id: string; readonly name: string } | null, signal: AbortSignal, say: (line: string) => void): Promise<{ readonly all: readonly ForeignBuilder[]; readonly told: readonly Told[] }>;
}

/** What a builder is told of a project. Pure. */
export function builderCall(name: string, reads: readonly string[], { tree, settings, stack }: Project): Omit<BuilderCall, 'protocol' | 'plugin' | 'berth' | 'settings' | 'app'> {
  const files: Record<string, string> = {};
  let size = 0;
  const wanted = fitsOne(reads);
  for (const path of tree.paths.filter(wanted)) {
    const text = tree.text(path);
    if (text === null || size + text.length > TEXT_MAX) continue;
    size += text.length;
    files[path] = text;
  }
  const keys: ReadonlySet<string> = new Set(DETECT_CONFIG_KEYS);
  const pairs = (of: (key: string) => boolean): Record<string, string> => Object.fromEntries(Object.entries(settings).filter(([key]) => of(key)));
  const { build, run, versions, user } = stack;
  return {
    call: 'builder', builder: name, paths: tree.paths.slice(0, PATHS_MAX), ...(tree.paths.length > PATHS_MAX && { more: true as const }), files,
    set: pairs((key) => !keys.has(key)), config: pairs((key) => keys.has(key)), stack: { build, run, versions, user },
  };
}

/** The builders of the plugins that are enabled now. */
export async function pluginBuilders(plugins: Pick<Plugins, 'enabled' | 'ask'>): Promise<Builders> {
  const found = (await plugins.enabled()).flatMap((plugin) => (plugin.manifest.builders ?? []).map(({ name, title, looksFor, reads }) => ({ plugin, own: name, builder: { name: foreignName(plugin.name, name), title, looksFor, reads } satisfies ForeignBuilder })));
  const all = found.map(({ builder }) => builder);
  const one = async (builder: ForeignBuilder, project: Project, app: { readonly id: string; readonly name: string } | null, signal: AbortSignal, say: (line: string) => void): Promise<Told> => {
    const { plugin, own } = found.find((each) => each.builder === builder) as { plugin: Plugin; own: string };
    try {
      const { answer } = await plugins.ask(plugin, builderCall(own, builder.reads, project), app, signal, say);
      for (const line of answer.say ?? []) say(line);
      return { builder, answer, fault: null };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PluginFault)) throw error;
      return { builder, answer: null, fault: error.message.slice(0, 500) };
    }
  };
  return {
    all, wants: fitsOne(all.flatMap(({ reads }) => reads)),
    async ask(project, app, signal, say) {
      const seen = seenByPlugins(project);
      return { all, told: await consult(foreignAsked(project, all), (builder) => one(builder, seen, app, signal, (line) => say(`${builder.name}: ${line}`))) };
    },
  };
}
