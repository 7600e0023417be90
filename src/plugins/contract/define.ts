import type { Step } from '../../events/types/deploy.events.js';
import type { HookTime, PluginManifest } from '../../events/types/plugin.events.js';
import type { CommandAnswer, CommandCall, EventAnswer, EventCall, HookAnswer, HookCall } from './protocol.js';

type Answered<T> = T | void | Promise<T | void>;

/** What a TypeScript plugin does. Names are those of its manifest: commands by name, hooks as `before build`. */
export interface Handlers {
  readonly commands?: Readonly<Record<string, (call: CommandCall) => Answered<CommandAnswer>>>;
  readonly hooks?: Readonly<Partial<Record<`${HookTime} ${Step}`, (call: HookCall) => Answered<HookAnswer>>>>;
  readonly event?: (call: EventCall) => Answered<EventAnswer>;
}

/** The default export of a plugin's `main`. Does nothing but keep the types together. */
export const definePlugin = (handlers: Handlers): Handlers => handlers;

/** One that comes with Berth: the same contract, in Berth's own process. */
export interface BundledPlugin { readonly manifest: PluginManifest; readonly handlers: Handlers }

/** What the manifest declares and `main` does not have. Pure. */
export function missingHandlers({ commands, hooks, events }: PluginManifest, handlers: Handlers): string[] {
  return [
    ...commands.filter(({ name, run }) => run === undefined && typeof handlers.commands?.[name] !== 'function').map(({ name }) => `commands["${name}"]`),
    ...hooks.filter(({ step, when, run }) => run === undefined && typeof handlers.hooks?.[`${when} ${step}`] !== 'function').map(({ step, when }) => `hooks["${when} ${step}"]`),
    ...(events !== null && events.run === undefined && typeof handlers.event !== 'function' ? ['event'] : []),
  ];
}

/** Asks the handler that a call is for. */
export async function answer(handlers: Handlers, call: CommandCall | HookCall | EventCall): Promise<unknown> {
  const given = call.call === 'command' ? await handlers.commands?.[call.command]?.(call)
    : call.call === 'hook' ? await handlers.hooks?.[`${call.hook.when} ${call.hook.step}`]?.(call)
    : await handlers.event?.(call);
  return given ?? {};
}
