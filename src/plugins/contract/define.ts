import type { Step } from '../../events/types/deploy.events.js';
import type { HookTime, PluginManifest } from '../../events/types/plugin.events.js';
import type { BuilderAnswer } from './builder.answer.js';
import type { BuilderCall, CommandAnswer, CommandCall, EventAnswer, EventCall, HookAnswer, HookCall, NotifyAnswer, NotifyCall, PluginCall, ProjectCall, SeenEvent } from './protocol.js';

type Answered<T> = T | void | Promise<T | void>;

/** What a TypeScript plugin does. Names are those of its manifest: commands by name, hooks as `before build`. */
export interface Handlers {
  readonly commands?: Readonly<Record<string, (call: CommandCall) => Answered<CommandAnswer>>>;
  readonly hooks?: Readonly<Partial<Record<`${HookTime} ${Step}`, (call: HookCall) => Answered<HookAnswer>>>>;
  readonly event?: (call: EventCall) => Answered<EventAnswer>;
  readonly projections?: Readonly<Record<string, Fold>>;
  readonly channels?: Readonly<Record<string, (call: NotifyCall) => Answered<NotifyAnswer>>>;
  readonly builders?: Readonly<Record<string, (call: BuilderCall) => Answered<BuilderAnswer>>>;
}
/** State is plain JSON. `fold` answers the next one, or changes the one it is given and answers nothing. */
export interface Fold<S = unknown> { readonly initial: S; fold(state: S, event: SeenEvent): Answered<S> }

/** The default export of a plugin's `main`. Does nothing but keep the types together. */
export const definePlugin = <P extends Readonly<Record<string, unknown>>>(handlers: Omit<Handlers, 'projections'> & { readonly projections?: { readonly [K in keyof P]: Fold<P[K]> } }): Handlers => handlers;

/** One that comes with Berth: the same contract, in Berth's own process. */
export interface BundledPlugin { readonly manifest: PluginManifest; readonly handlers: Handlers }

/** What the manifest declares and `main` does not have. Pure. */
export function missingHandlers({ commands, hooks, events, projections = [], channels = [], builders = [] }: PluginManifest, handlers: Handlers): string[] {
  return [
    ...commands.filter(({ name, run }) => run === undefined && typeof handlers.commands?.[name] !== 'function').map(({ name }) => `commands["${name}"]`),
    ...hooks.filter(({ step, when, run }) => run === undefined && typeof handlers.hooks?.[`${when} ${step}`] !== 'function').map(({ step, when }) => `hooks["${when} ${step}"]`),
    ...(events !== null && events.run === undefined && typeof handlers.event !== 'function' ? ['event'] : []),
    ...projections.filter(({ name, run }) => run === undefined && typeof handlers.projections?.[name]?.fold !== 'function').map(({ name }) => `projections["${name}"].fold`),
    ...builders.filter(({ name, run }) => run === undefined && typeof handlers.builders?.[name] !== 'function').map(({ name }) => `builders["${name}"]`),
    ...channels.filter(({ name, run }) => run === undefined && typeof handlers.channels?.[name] !== 'function').map(({ name }) => `channels["${name}"]`),
  ];
}

/** Asks the handler that a call is for. */
export async function answer(handlers: Handlers, call: PluginCall): Promise<unknown> {
  const given = call.call === 'command' ? await handlers.commands?.[call.command]?.(call)
    : call.call === 'hook' ? await handlers.hooks?.[`${call.hook.when} ${call.hook.step}`]?.(call)
    : call.call === 'project' ? await folded(handlers, call)
    : call.call === 'notify' ? await handlers.channels?.[call.channel.name]?.(call)
    : call.call === 'builder' ? await handlers.builders?.[call.builder]?.(call)
    : await handlers.event?.(call);
  return given ?? {};
}

async function folded(handlers: Handlers, { projection, state, events }: ProjectCall): Promise<{ state: unknown }> {
  const { initial, fold } = handlers.projections![projection]!;
  let now: unknown = state ?? structuredClone(initial);
  for (const event of events) {
    try {
      now = (await fold(now, event)) ?? now;
    } catch (error) {
      throw new Error(`${event.type} at ${event.position}: ${(error as Error).message}`, { cause: error });
    }
  }
  return { state: now };
}
