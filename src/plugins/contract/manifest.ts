import semver from 'semver';
import { STEPS, type Step } from '../../events/types/deploy.events.js';
import { HOOK_TIMES, type ChannelOption, type HookTime, type DeclaredService, type PluginArgument, type PluginBuilder, type PluginChannel, type PluginCommand, type PluginHook, type PluginManifest, type PluginProjection, type PluginSubscription } from '../../events/types/plugin.events.js';
import { quoted, Reader, type Problem } from './problems.js';
import { serviceOf } from './service.manifest.js';

export const MANIFEST = 'berth-plugin.json';
export const PROTOCOL = 1;

/** longest a program may be given, seconds; and what it is given when nothing is said */
export const TIMEOUTS = { command: { most: 3600, usual: 60 }, hook: { most: 600, usual: 10 }, event: { most: 600, usual: 30 }, project: { most: 600, usual: 30 }, builder: { most: 300, usual: 30 }, notify: { most: 600, usual: 30 } } as const;

const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;
const WORD = /^[a-z][a-z0-9-]*$/;
const PROGRAM = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;
const MOST = { commands: 100, hooks: 20, needs: 20, projections: 10, builders: 10, services: 10, channels: 20 } as const;
/** patterns of files that a builder may read, most */
const READS_MOST = 40;
/** a path with at most five wildcards */
const READ = /^(?!\/)(?!(?:[^*?]*[*?]+){6})[^\0]{1,200}$/;

/** What a manifest is judged against. */
export interface Surroundings {
  /** version of this Berth */
  readonly berth: string;
  /** types of events that there are */
  readonly types: ReadonlySet<string>;
  /** whether Berth itself has a command, or a group of commands, of that name */
  isOurs(name: string): boolean;
}

export type Judged = { readonly manifest: PluginManifest; readonly problems: readonly [] } | { readonly manifest: null; readonly problems: readonly Problem[] };

/** Reads a manifest as it was written, and says everything that is wrong with it. Pure. */
export function readManifest(text: string, around: Surroundings): Judged {
  const read = new Reader(true);
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    return { manifest: null, problems: [{ field: '', what: `is not JSON (${(error as Error).message.slice(0, 120)})`, fix: `mend ${MANIFEST}` }] };
  }
  const of = read.object(raw, '', `${MANIFEST} holds one object`);
  if (of === null) return { manifest: null, problems: read.problems };
  read.only(of, '', ['$schema', 'name', 'version', 'description', 'berth', 'protocol', 'needs', 'main', 'commands', 'hooks', 'events', 'buildpacks', 'projections', 'builders', 'services', 'channels']);

  const name = read.take<string>(of, 'name', '', 'text', 'its name, for example "hello"') ?? '';
  if (name !== '' && (!NAME.test(name) || name.length > 40 || name === 'constructor')) read.fail('name', `is ${quoted(name)}`, 'lower-case letters, digits and hyphens, a letter first, at most 40');
  else if (around.isOurs(name)) read.fail('name', `is ${quoted(name)}, which Berth itself has commands of`, 'choose another name');
  const version = read.take<string>(of, 'version', '', 'text', 'for example "1.0.0"') ?? '';
  if (version !== '' && semver.valid(version) === null) read.fail('version', `is ${quoted(version)}`, 'three numbers, for example "1.0.0"');
  const description = read.take<string>(of, 'description', '', 'text', 'one line that says what it does') ?? '';
  const berth = read.take<string>(of, 'berth', '', 'text', `the versions of Berth that it fits, for example ">=${around.berth}"`) ?? '';
  if (berth !== '' && semver.validRange(berth) === null) read.fail('berth', `is ${quoted(berth)}`, `a range of versions, for example ">=${around.berth}"`);
  else if (berth !== '' && !semver.satisfies(around.berth, berth, { includePrerelease: true })) read.fail('berth', `wants Berth ${berth}`, `this is Berth ${around.berth}: upgrade Berth, or install a version of the plugin that fits it (--committish)`);
  const protocol = read.take<number>(of, 'protocol', '', 'number', `${PROTOCOL}`);
  if (protocol !== undefined && protocol !== PROTOCOL) read.fail('protocol', `is ${protocol}`, `this Berth speaks protocol ${PROTOCOL}`);
  const main = read.take<string>(of, 'main', '', 'text', 'a file of the plugin, for example "index.ts"', true) ?? null;
  if (main !== null && !isInside(main)) read.fail('main', `is ${quoted(main)}`, 'a file of the plugin, for example "index.ts"');

  const needs = of['needs'] === undefined ? [] : read.texts(of['needs'], 'needs', PROGRAM, 'a list of programs, for example ["curl"]');
  const commands = listOf(read, of, 'commands').map((each, i) => commandOf(read, each, `commands[${i}]`, name, main !== null, around));
  const hooks = listOf(read, of, 'hooks').map((each, i) => hookOf(read, each, `hooks[${i}]`, main !== null));
  const events = of['events'] === undefined ? null : eventsOf(read, of['events'], main !== null, around);
  const projections = listOf(read, of, 'projections').map((each, i) => projectionOf(read, each, `projections[${i}]`, main !== null, around));
  const buildpacks = of['buildpacks'] === undefined ? {} : read.pairs(of['buildpacks'], 'buildpacks', NAME, 'name and folder, for example { "cobol": "./buildpack" }');
  for (const [pack, folder] of Object.entries(buildpacks)) if (!isInside(folder)) read.fail(`buildpacks.${pack}`, `is ${quoted(folder)}`, 'a folder of the plugin, for example "./buildpack"');
  const builders = listOf(read, of, 'builders').map((each, i) => builderOf(read, each, `builders[${i}]`, main !== null));
  const services = listOf(read, of, 'services').flatMap((each, i): DeclaredService[] => { const found = serviceOf(read, each, `services[${i}]`, around.isOurs); return found === null ? [] : [found]; });
  const channels = listOf(read, of, 'channels').map((each, i) => channelOf(read, each, `channels[${i}]`, main !== null));
  for (const [field, most] of Object.entries(MOST)) if (Array.isArray(of[field]) && (of[field] as unknown[]).length > most) read.fail(field, `has ${(of[field] as unknown[]).length} entries`, `at most ${most}`);
  twice(read, 'commands', commands.map((each) => each.name));
  twice(read, 'hooks', hooks.map((each) => `${each.when} ${each.step}`));
  twice(read, 'projections', projections.map((each) => each.name));
  twice(read, 'builders', builders.map((each) => each.name));
  twice(read, 'channels', channels.map((each) => each.name));
  const types = services.flatMap(({ type, aliases }) => [type, ...aliases]);
  twice(read, 'services', types);
  commands.forEach(({ name: command }, i) => { if (types.includes(command.split(':')[0]!)) read.fail(`commands[${i}].name`, `is ${quoted(command)}, among the commands of its service type`, 'give the type, or the plugin, another name'); });
  if (commands.length + hooks.length + projections.length + builders.length + services.length + channels.length + Object.keys(buildpacks).length === 0 && events === null && read.problems.length === 0) read.fail('', 'does nothing', 'give it commands, hooks, events, projections, buildpacks, builders, services or channels');
  if (read.problems.length > 0) return { manifest: null, problems: read.problems };
  return { manifest: { name, version, description, berth, protocol: PROTOCOL, needs, main, commands, hooks, events, buildpacks, ...(projections.length > 0 && { projections }), ...(builders.length > 0 && { builders }), ...(services.length > 0 && { services }), ...(channels.length > 0 && { channels }) }, problems: [] };
}

/** A path that stays in the plugin's folder, as it is written; links are looked at where the files are. */
export const isInside = (path: string): boolean => /^[^\0]{1,200}$/.test(path) && !path.startsWith('/') && !path.split('/').includes('..');

function listOf(read: Reader, of: Readonly<Record<string, unknown>>, field: string): readonly unknown[] {
  return read.take<readonly unknown[]>(of, field, '', 'list', 'a list', true) ?? [];
}

function twice(read: Reader, field: string, names: readonly string[]): void {
  for (const name of new Set(names.filter((each, i) => each !== '' && names.indexOf(each) !== i))) read.fail(field, `has ${name} twice`, 'once is enough');
}

function runOf(read: Reader, of: Readonly<Record<string, unknown>>, at: string, hasMain: boolean, kind: keyof typeof TIMEOUTS): { run?: readonly string[]; timeout?: number } {
  const fix = 'an argument array, for example ["./greet.sh"] or ["python3", "greet.py"]';
  const run = of['run'] === undefined && hasMain ? undefined : read.take<readonly unknown[]>(of, 'run', at, 'list', fix);
  if (run !== undefined) {
    const words = read.texts(run, `${at}.run`, /^[^\0]{0,4096}$/, fix);
    const [program = ''] = words;
    if (words.length === 0) read.fail(`${at}.run`, 'is empty', fix);
    else if (program.includes('/') ? !isInside(program) : !PROGRAM.test(program)) read.fail(`${at}.run[0]`, `is ${quoted(program)}`, 'a file of the plugin ("./greet.sh") or a program of the server ("python3")');
  }
  const { most } = TIMEOUTS[kind];
  const timeout = read.take<number>(of, 'timeout', at, 'number', `seconds, at most ${most}`, true);
  if (timeout !== undefined && (timeout <= 0 || timeout > most)) read.fail(`${at}.timeout`, `is ${timeout}`, `seconds, at most ${most}`);
  return { ...(run !== undefined && { run: run.filter((word): word is string => typeof word === 'string') }), ...(timeout !== undefined && { timeout }) };
}

function commandOf(read: Reader, value: unknown, at: string, plugin: string, hasMain: boolean, around: Surroundings): PluginCommand {
  const nothing: PluginCommand = { name: '', summary: '', arguments: [] };
  const of = read.object(value, at, 'an object with name, summary and run');
  if (of === null) return nothing;
  read.only(of, at, ['name', 'summary', 'example', 'arguments', 'reads', 'output', 'piped', 'run', 'timeout']);
  const name = read.take<string>(of, 'name', at, 'text', `for example "${plugin}:greet"`) ?? '';
  const [group, word, ...more] = name.split(':');
  if (name !== '' && around.isOurs(name)) read.fail(`${at}.name`, `is ${quoted(name)}, which is a command of Berth`, `name it ${plugin}:<word>`);
  else if (name !== '' && (group !== plugin || more.length > 0 || (word !== undefined && !WORD.test(word)) || name.length > 60)) read.fail(`${at}.name`, `is ${quoted(name)}`, `${plugin}, or ${plugin}:<word> in lower-case letters, digits and hyphens`);
  else if (word === 'help') read.fail(`${at}.name`, `is ${quoted(name)}`, 'help is made from what the commands say of themselves: leave it out');
  const summary = read.take<string>(of, 'summary', at, 'text', 'one line for the help') ?? '';
  const example = read.take<string>(of, 'example', at, 'text', `for example "berth ${name} blog"`, true);
  const reads = read.take<boolean>(of, 'reads', at, 'boolean', 'true when it changes nothing', true);
  const output = read.take<string>(of, 'output', at, 'text', '"json" or "text"', true);
  if (output !== undefined && output !== 'json' && output !== 'text') read.fail(`${at}.output`, `is ${quoted(output)}`, '"json" or "text"');
  const piped = read.take<string>(of, 'piped', at, 'text', 'what is to be piped in, for the help', true);
  const words = (read.take<readonly unknown[]>(of, 'arguments', at, 'list', 'a list', true) ?? []).map((each, i) => argumentOf(read, each, `${at}.arguments[${i}]`));
  twice(read, `${at}.arguments`, words.map((each) => each.name));
  const plain = words.filter((each) => each.kind !== 'flag');
  plain.forEach((each, i) => {
    if (each.kind === 'rest' && i < plain.length - 1) read.fail(`${at}.arguments`, `${each.name} takes all words that are left, and is not the last`, 'put it last');
    if (!each.optional && plain.slice(0, i).some((before) => before.optional)) read.fail(`${at}.arguments`, `${each.name} must be given, and stands behind one that may be left out`, 'put it before that one');
  });
  return { name, summary, arguments: words, ...runOf(read, of, at, hasMain, 'command'), ...(example !== undefined && { example }), ...(reads !== undefined && { reads }), ...(output !== undefined && { output: output as 'json' | 'text' }), ...(piped !== undefined && { piped }) };
}

/** flags that every command has */
const TAKEN = ['quiet', 'force', 'json', 'format', 'help'];

function argumentOf(read: Reader, value: unknown, at: string): PluginArgument {
  const of = read.object(value, at, 'an object with name and about');
  if (of === null) return { name: '', about: '', kind: 'argument', type: 'string', optional: false };
  read.only(of, at, ['name', 'about', 'kind', 'type', 'optional', 'short']);
  const name = read.take<string>(of, 'name', at, 'text', 'for example "app"') ?? '';
  const about = read.take<string>(of, 'about', at, 'text', 'what it is, for the help') ?? '';
  const kind = read.take<string>(of, 'kind', at, 'text', '"argument", "rest" or "flag"', true) ?? 'argument';
  const type = read.take<string>(of, 'type', at, 'text', '"string", "number" or "boolean"', true) ?? 'string';
  if (name !== '' && (!/^[a-z][a-zA-Z0-9]{0,30}$/.test(name) || ['constructor', 'content'].includes(name))) read.fail(`${at}.name`, `is ${quoted(name)}`, 'letters and digits, a small letter first: newName is --new-name on the command line');
  if (!['argument', 'rest', 'flag'].includes(kind)) read.fail(`${at}.kind`, `is ${quoted(kind)}`, '"argument", "rest" or "flag"');
  if (kind === 'flag' ? !['string', 'number', 'boolean'].includes(type) : type !== 'string') read.fail(`${at}.type`, `is ${quoted(type)}`, kind === 'flag' ? '"string", "number" or "boolean"' : 'only flags have a type; words are text');
  if (kind === 'flag' && TAKEN.includes(name)) read.fail(`${at}.name`, `is ${quoted(name)}`, 'every command has that flag already');
  const short = read.take<string>(of, 'short', at, 'text', 'one letter', true);
  if (short !== undefined && (kind !== 'flag' || !/^[a-zA-Z]$/.test(short) || short === 'h')) read.fail(`${at}.short`, `is ${quoted(short)}`, 'one letter, of a flag; -h is the help');
  const optional = kind === 'flag' || (read.take<boolean>(of, 'optional', at, 'boolean', 'true or false', true) ?? false);
  return { name, about, kind: kind as PluginArgument['kind'], type: type as PluginArgument['type'], optional, ...(short !== undefined && { short }) };
}

/** where a refusal comes too late: the new version is in place, or is being put there */
const CANNOT_REFUSE: readonly string[] = ['after release', 'after route'];

function hookOf(read: Reader, value: unknown, at: string, hasMain: boolean): PluginHook {
  const of = read.object(value, at, 'an object with step, when and run');
  if (of === null) return { step: 'build', when: 'before' };
  read.only(of, at, ['step', 'when', 'mayRefuse', 'run', 'timeout']);
  const step = read.take<string>(of, 'step', at, 'text', `one of ${STEPS.join(', ')}`) ?? 'build';
  const when = read.take<string>(of, 'when', at, 'text', '"before" or "after"') ?? 'before';
  if (!(STEPS as readonly string[]).includes(step)) read.fail(`${at}.step`, `is ${quoted(step)}`, `one of ${STEPS.join(', ')}`);
  if (!(HOOK_TIMES as readonly string[]).includes(when)) read.fail(`${at}.when`, `is ${quoted(when)}`, '"before" or "after"');
  const mayRefuse = read.take<boolean>(of, 'mayRefuse', at, 'boolean', 'true when it may end a deploy', true);
  if (mayRefuse === true && CANNOT_REFUSE.includes(`${when} ${step}`)) read.fail(`${at}.mayRefuse`, `is true ${when} ${step}, where a refusal comes too late`, 'refuse before release, or earlier');
  return { step: step as Step, when: when as HookTime, ...runOf(read, of, at, hasMain, 'hook'), ...(mayRefuse !== undefined && { mayRefuse }) };
}

/** The name of something that the plugin brings. @param but one that will not do */
function nameOf(read: Reader, of: Readonly<Record<string, unknown>>, at: string, example: string, but?: string): string {
  const name = read.take<string>(of, 'name', at, 'text', `for example "${example}"`) ?? '';
  if (name !== '' && (!NAME.test(name) || name.length > 40 || name === but)) read.fail(`${at}.name`, `is ${quoted(name)}`, 'lower-case letters, digits and hyphens, a letter first, at most 40');
  return name;
}

function builderOf(read: Reader, value: unknown, at: string, hasMain: boolean): PluginBuilder {
  const of = read.object(value, at, 'an object with name, title, looksFor and run');
  if (of === null) return { name: '', title: '', looksFor: '', reads: [] };
  read.only(of, at, ['name', 'title', 'looksFor', 'reads', 'run', 'timeout']);
  const name = nameOf(read, of, at, 'cobol');
  const title = read.take<string>(of, 'title', at, 'text', 'for people: "COBOL app"') ?? '';
  const looksFor = read.take<string>(of, 'looksFor', at, 'text', 'what a repository must have, for people: "*.cob"') ?? '';
  const fix = 'paths of files whose text it wants; * is any name, ** any folders: ["*.cob", "src/**/*.cpy"]';
  const reads = of['reads'] === undefined ? [] : read.texts(of['reads'], `${at}.reads`, READ, fix);
  if (reads.length > READS_MOST) read.fail(`${at}.reads`, `has ${reads.length} entries`, `at most ${READS_MOST}`);
  return { name, title, looksFor, reads, ...runOf(read, of, at, hasMain, 'builder') };
}

function eventsOf(read: Reader, value: unknown, hasMain: boolean, around: Surroundings): PluginSubscription | null {
  const of = read.object(value, 'events', 'an object with types and run');
  if (of === null) return null;
  read.only(of, 'events', ['types', 'run', 'timeout']);
  return { types: typesOf(read, of, 'events', around), ...runOf(read, of, 'events', hasMain, 'event') };
}

function projectionOf(read: Reader, value: unknown, at: string, hasMain: boolean, around: Surroundings): PluginProjection {
  const of = read.object(value, at, 'an object with name, types and run');
  if (of === null) return { name: '', types: [] };
  read.only(of, at, ['name', 'types', 'run', 'timeout']);
  const name = nameOf(read, of, at, 'deploy-times', 'constructor');
  return { name, types: typesOf(read, of, at, around), ...runOf(read, of, at, hasMain, 'project') };
}

function typesOf(read: Reader, of: Readonly<Record<string, unknown>>, at: string, around: Surroundings): string[] {
  const types = read.texts(of['types'] ?? [], `${at}.types`, /^[A-Z][A-Za-z]{1,60}$/, 'a type of event, for example "DeploySucceeded"');
  if (types.length === 0) read.fail(`${at}.types`, 'is empty', 'for example ["DeploySucceeded", "DeployFailed"]');
  types.forEach((type, i) => { if (/^[A-Z]/.test(type) && !around.types.has(type)) read.fail(`${at}.types[${i}]`, `is ${quoted(type)}, which no event is`, 'see: berth events'); });
  twice(read, `${at}.types`, types);
  return types;
}

function channelOf(read: Reader, value: unknown, at: string, hasMain: boolean): PluginChannel {
  const of = read.object(value, at, 'an object with name, title, options and run');
  if (of === null) return { name: '', title: '', options: [] };
  read.only(of, at, ['name', 'title', 'options', 'run', 'timeout']);
  const name = nameOf(read, of, at, 'sms');
  const title = read.take<string>(of, 'title', at, 'text', 'one line that says where the message goes') ?? '';
  const options = (read.take<readonly unknown[]>(of, 'options', at, 'list', 'a list', true) ?? []).map((each, i) => optionOf(read, each, `${at}.options[${i}]`));
  if (options.length > 30) read.fail(`${at}.options`, `has ${options.length} entries`, 'at most 30');
  twice(read, `${at}.options`, options.map((each) => each.name));
  return { name, title, options, ...runOf(read, of, at, hasMain, 'notify') };
}

function optionOf(read: Reader, value: unknown, at: string): ChannelOption {
  const of = read.object(value, at, 'an object with name and about');
  if (of === null) return { name: '', about: '' };
  read.only(of, at, ['name', 'about', 'secret', 'optional']);
  const name = read.take<string>(of, 'name', at, 'text', 'for example "number"') ?? '';
  if (name !== '' && (!WORD.test(name) || name.length > 40 || name === 'constructor')) read.fail(`${at}.name`, `is ${quoted(name)}`, 'lower-case letters, digits and hyphens, a letter first, at most 40');
  const about = read.take<string>(of, 'about', at, 'text', 'what it is, for the help') ?? '';
  const secret = read.take<boolean>(of, 'secret', at, 'boolean', 'true when nobody shall read it', true);
  const optional = read.take<boolean>(of, 'optional', at, 'boolean', 'true when it may be left out', true);
  return { name, about, ...(secret !== undefined && { secret }), ...(optional !== undefined && { optional }) };
}
