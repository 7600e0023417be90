import { IsArray, IsBoolean, IsNumber, IsOptional, IsString } from 'class-validator';
import { declaredType } from '../../plugins/services/declared.js';
import { typeCommands } from '../services/commands.js';
import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import { Rejected } from '../../events/decider.js';
import type { PluginArgument, PluginCommand, PluginManifest } from '../../events/types/plugin.events.js';
import { BUNDLED } from '../../plugins/bundled.js';
import type { CommandAnswer, CommandCall } from '../../plugins/contract/protocol.js';
import { Arg, Flag, Rest, type AnyCommand, type CommandContext, type Out } from '../commands/command.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import type { Plugin } from './active.js';
import { disabled, missing, pluginSeal, pluginSettings, pluginStream } from './plugin.decider.js';

/** lines of standard error that are shown */
const NOTES_MAX = 200;
/** bytes that may be piped into a command */
const PIPED_MAX = 1 << 20;

interface Answer {
  readonly plugin: string; readonly say: readonly string[]; readonly notes: readonly string[]; readonly exit: number; readonly data?: unknown;
  /** of the app that it is about; `deploy`: what follows from it */
  readonly app?: string; readonly name?: string; readonly deploy?: number | null;
}

/** The fields of a plugin's command as a class, as those of ours are. */
function inputOf(words: readonly PluginArgument[]): new () => object {
  class PluginInput {}
  const target = PluginInput.prototype;
  // arguments in their order; the door does not mind where flags stand
  for (const { name, about, kind, type, optional, short } of words) {
    const list = kind === 'rest';
    const judge = list ? [IsArray(), IsString({ each: true })] : [{ string: IsString, boolean: IsBoolean, number: IsNumber }[type]()];
    for (const decorate of [...judge, ...(optional ? [IsOptional()] : [])]) decorate(target, name);
    const declare = kind === 'flag' ? Flag(about, { type, ...(short !== undefined && { short }) }) : list ? Rest(about, { label: name, optional }) : Arg(about, { optional });
    declare(target, name);
  }
  return PluginInput;
}

const ofPlugins = new WeakSet<AnyCommand>();
/** Whether a command is one of a plugin that comes with Berth. */
export const isOfPlugin = (command: AnyCommand): boolean => ofPlugins.has(command);

function commandOf(manifest: PluginManifest, declared: PluginCommand): AnyCommand {
  const { name, summary, example, reads } = declared;
  const [, word = name] = name.split(':');
  const made: AnyCommand = {
    name, summary, about: manifest.description, example: example ?? `berth ${name}${declared.arguments.some((each) => each.name === 'app') ? ' blog' : ''}`, input: inputOf(declared.arguments),
    http: { method: reads ? 'GET' : 'POST', path: `/plugins/${manifest.name}/commands/${word}` }, ...(reads ? { reads } : { shownOnce: true }), ...(declared.piped !== undefined && { piped: declared.piped }),
    run: (context, input) => carryOut(manifest.name, declared, context, input as Record<string, unknown>),
    render: (answer, out) => render(answer as Answer, out),
  };
  ofPlugins.add(made);
  return made;
}

const made = new WeakMap<PluginManifest, readonly AnyCommand[]>();
function commandsOf(manifest: PluginManifest): readonly AnyCommand[] {
  const known = made.get(manifest);
  if (known) return known;
  const commands = manifest.commands.map((declared) => commandOf(manifest, declared));
  made.set(manifest, commands);
  return commands;
}

/** Commands of the plugins that come with Berth: always there. */
export const bundledCommands: readonly AnyCommand[] = BUNDLED.flatMap(({ manifest }) => commandsOf(manifest));

/** Commands of the installed plugins that are enabled now, those of their types of services too. */
export async function foreignCommands(core: Pick<Core, 'pluginHost'>): Promise<readonly AnyCommand[]> {
  return ((await core.pluginHost?.enabled()) ?? []).filter(({ handlers }) => handlers === null).flatMap(({ manifest }) => [...commandsOf(manifest), ...(manifest.services ?? []).flatMap((declared) => typeCommands(declaredType(manifest.name, declared)))]);
}

/** Why a name is that of no command: its type of service is that of a plugin that is disabled. Services of it go on; null: it is not. */
export async function asleep(core: Pick<Core, 'pluginHost'>, group: string): Promise<Rejected | null> {
  const owner = ((await core.pluginHost?.all()) ?? []).find(({ enabled, manifest }) => !enabled && manifest.services?.some(({ type, aliases }) => type === group || aliases.includes(group)));
  return owner ? disabled(owner) : null;
}

/** The plugin as it is now. @throws Rejected */
async function current(core: Core, name: string): Promise<Plugin> {
  const plugin = (await core.pluginHost!.all()).find((each) => each.name === name);
  if (!plugin) throw missing(name);
  if (!plugin.enabled) throw disabled(plugin);
  return plugin;
}

async function carryOut(name: string, { name: command, arguments: words, piped: wish }: PluginCommand, context: CommandContext, input: Readonly<Record<string, unknown>>): Promise<Answer> {
  const { core, actor, signal } = context;
  const plugin = await current(core, name);
  const row = words.some((each) => each.name === 'app') && typeof input['app'] === 'string' ? await core.app(input['app']) : null;
  const piped = wish === undefined ? null : await context.stdin(PIPED_MAX);
  const notes: string[] = [];
  const wanted: Omit<CommandCall, 'protocol' | 'plugin' | 'berth' | 'settings' | 'app'> = { call: 'command', command, input: { ...input }, by: actor, ...(piped && { piped: piped.toString('base64') }) };
  const { answer, exit } = await core.pluginHost!.ask(plugin, wanted, row && { id: row.id, name: row.name }, signal, (line) => { if (notes.length < NOTES_MAX) notes.push(line); }).catch((error: unknown) => {
    throw error instanceof PluginFault ? new Rejected(`plugin.${error.code}`, `Plugin ${name}: ${error.message}`, `what it says of itself: berth plugin:info ${name}; without it: berth plugin:disable ${name}`) : error;
  });
  if (answer.error !== undefined) throw new Rejected('plugin.error', answer.error, answer.hint ?? null);
  if (exit !== 0 && context.origin === 'http') throw new Rejected('plugin.exit', `Plugin ${name}: it ended with exit code ${exit}${notes.length > 0 ? `: ${notes.at(-1)}` : ''}`, null);
  const deploy = exit === 0 ? await effects(context, name, command, row, answer) : null;
  return { plugin: name, say: answer.say ?? [], notes, exit, ...(answer.data !== undefined && { data: answer.data }), ...(row && { app: row.id, name: row.name }), ...(deploy !== null && { deploy }) };
}

/** What an answer asks to be remembered and deployed, in one transaction. Answers the deploy, if one follows. */
async function effects(context: CommandContext, plugin: string, command: string, row: AppRow | null, { settings, secrets, deploy: kind }: CommandAnswer): Promise<number | null> {
  const { core, actor } = context;
  if (settings === undefined && secrets === undefined && kind === undefined) return null;
  if (kind !== undefined && !row) throw new Rejected('plugin.answer', `Plugin ${plugin} wants to deploy, and the command is about no app`, 'a fault of the plugin: an argument named app says which');
  const seal = row?.id ?? pluginSeal(plugin);
  if (secrets !== undefined && !row) await core.box.requireKey(seal);
  const sealed = Object.fromEntries(await Promise.all(Object.entries(secrets ?? {}).map(async ([key, value]) => [key, value === null ? null : await core.box.seal(seal, value)] as const)));
  const { answer } = await change(context, command, row?.id ?? `plugin-${plugin}`, async (draft) => {
    await draft.decide(pluginSettings, pluginStream(plugin), { type: 'Remember', plugin, app: row?.id ?? null, values: { ...settings, ...sealed } });
    return kind === undefined ? null : draft.deploy(row!.id, kind, actor);
  });
  return answer;
}

function render({ say, notes, exit }: Answer, out: Out): number {
  for (const line of say) out.line(line);
  for (const line of notes) (exit === 0 ? out.detail : out.warn).call(out, line);
  return exit;
}
