import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';
import { fieldsOf, flagName, usage, type AnyCommand, type Field } from './command.js';

export interface GlobalFlags { quiet: boolean; force: boolean; json: boolean; app: string | null; help: boolean }
export interface Parsed { readonly input: Record<string, unknown>; readonly global: GlobalFlags }

/** most words and most characters of a command line */
const WORDS_MAX = 2000;
const CHARS_MAX = 1_200_000;

/** Refuses a command line that is too long to be one. */
export function checkSize(argv: readonly string[]): void {
  const characters = argv.reduce((sum, word) => sum + word.length, 0);
  if (argv.length > WORDS_MAX || characters > CHARS_MAX) {
    throw new Rejected('argv.size', `The command line has ${argv.length} words and ${characters} characters, which is too long`, 'pipe large values in: berth config:import blog - < .env');
  }
  if (argv.some((word) => word.includes('\0'))) throw new Rejected('argv.nul', 'The command line has a NUL byte in it');
}

function convert(field: Field, text: string): unknown {
  if (field.type !== 'number') return text;
  if (!/^-?\d{1,15}$/.test(text)) throw new Rejected('argv.number', `--${flagName(field.property)} ${shown(text)}: a whole number is needed`);
  return Number(text);
}

/** The words before the command's name may be global flags: `--quiet`, `--force`, `--app X`. Answers the name and the rest. */
export function splitGlobal(argv: readonly string[]): { name: string | null; rest: string[]; global: GlobalFlags } {
  const global: GlobalFlags = { quiet: false, force: false, json: false, app: null, help: false };
  let i = 0;
  for (; i < argv.length; i += 1) {
    const word = argv[i]!;
    if (word === '--quiet') global.quiet = true;
    else if (word === '--force') global.force = true;
    else if (word === '--app') global.app = argv[(i += 1)] ?? '';
    else if (word.startsWith('--app=')) global.app = word.slice(6);
    else break;
  }
  return { name: argv[i] ?? null, rest: argv.slice(i + 1), global };
}

/** Puts the words of a command line in the fields that `command` declares. Pure; throws Rejected with the usage line. */
export function parse(command: AnyCommand, words: readonly string[], given: GlobalFlags): Parsed {
  const fields = fieldsOf(command.input);
  const flags = fields.filter((f) => f.kind === 'flag');
  const args = fields.filter((f) => f.kind === 'arg');
  const rest = fields.find((f) => f.kind === 'rest');
  const global = { ...given };
  const input: Record<string, unknown> = {};
  const plain: string[] = [];
  const hint = `usage: berth ${usage(command)}`;
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i]!;
    if (word === '--') {
      plain.push(...words.slice(i + 1));
      break;
    }
    if (!word.startsWith('-') || word === '-' || /^-\d/.test(word)) {
      plain.push(word);
      if (!rest?.raw) continue;
      plain.push(...words.slice(i + 1)); // another command's words: their flags are not ours
      break;
    }
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    const field = flags.find((f) => name === `--${flagName(f.property)}` || (f.short && name === `-${f.short}`));
    const value = (): string => {
      if (equals >= 0) return word.slice(equals + 1);
      i += 1;
      if (i >= words.length) throw new Rejected('argv.value', `${name} needs a value`, hint);
      return words[i]!;
    };
    if (field) {
      if (field.type === 'boolean' && equals >= 0) throw new Rejected('argv.value', `${name} takes no value`, hint);
      input[field.property] = field.type === 'boolean' ? true : convert(field, value());
    } else if (name === '--format') {
      const format = value();
      if (format !== 'json' && format !== 'stdout') throw new Rejected('argv.format', `--format ${shown(format)}: json or stdout`, hint);
      if (!command.reads && format === 'json') throw new Rejected('argv.format', `${command.name} has no --format`, hint);
      global.json = format === 'json';
    } else if (name === '--json') {
      if (!command.reads) throw new Rejected('argv.format', `${command.name} has no --json`, hint);
      global.json = true;
    } else if (name === '--quiet') global.quiet = true;
    else if (name === '--force') global.force = true;
    else if (name === '--help' || name === '-h') global.help = true;
    else if (name === '--app') global.app = value();
    else throw new Rejected('argv.flag', `${command.name} has no flag ${shown(name)}`, hint);
  }
  if (global.app !== null && args[0]?.property === 'app') plain.unshift(global.app);
  for (const field of args) {
    const word = plain.shift();
    if (word !== undefined) input[field.property] = word;
    else if (!field.optional && !global.help) throw new Rejected('argv.missing', `${command.name}: <${field.label}> is missing`, hint);
  }
  if (rest) input[rest.property] = plain;
  else if (plain.length > 0) throw new Rejected('argv.extra', `${command.name} takes no further word: '${shown(plain[0]!)}'`, hint);
  if (rest && !rest.optional && plain.length === 0 && !global.help) throw new Rejected('argv.missing', `${command.name}: <${rest.label}> is missing`, hint);
  return { input, global };
}
