import type { DeclaredExec, DeclaredService } from '../../events/types/plugin.events.js';
import { placeholdersIn, PLACEHOLDERS, SECRETS } from '../services/placeholders.js';
import { quoted, Reader } from './problems.js';

type Object_ = Readonly<Record<string, unknown>>;

/** most of each that one type may have */
const MOST = { aliases: 3, packages: 40, lines: 40, script: 1000, words: 60, setup: 20, ports: 20, env: 40 } as const;
const TYPE = /^[a-z][a-z0-9]{0,29}$/;
const ENV = /^[A-Za-z_][A-Za-z0-9_]{0,100}$/;
/** a word, a value, standard input: at most 16 KiB */
const TEXT = /^[^\0]{0,16384}$/;
const LINE = /^[^\0\n\r]{0,2000}$/;
/** what may stand in the Dockerfile behind the packages: nothing that reads the build's context, or starts another image */
const INSTRUCTION = /^(?:RUN (?!--|.*<<)|ENV |STOPSIGNAL |WORKDIR )[^\0\n\r]{1,2000}(?<!\\)$/;
const PACKAGE = /^[a-z0-9][a-z0-9.+-]{0,80}$/;
/** what stands in a file's text that is there before the packages come: it is written by a shell, between single quotes */
const PLAIN = /^[^\0\n\r'\\]{0,500}$/;
const PATH = /^(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*){1,12}$/;
const IMAGE = /^[a-z0-9][a-zA-Z0-9._:/@-]{0,250}$/;
/** folders of the image's system: a volume there would hide it */
const SYSTEM = /^\/(?:bin|boot|dev|etc|lib\w*|proc|root|run|sbin|sys|tmp|usr)(?:\/(?:bin|lib|local|sbin|share))?$/;

/** Reads one type of service. `plugin`: its name; `isOurs`: whether Berth has a command or group of that name. Pure. */
export function serviceOf(read: Reader, value: unknown, at: string, isOurs: (name: string) => boolean): DeclaredService | null {
  const of = read.object(value, at, 'an object with type, title, version, registry, port, variable, dsn, health, tellVersion and connect');
  if (of === null) return null;
  read.only(of, at, ['type', 'aliases', 'title', 'version', 'registry', 'packaged', 'port', 'ports', 'stopSeconds', 'variable', 'user', 'dsn', 'health', 'setup', 'rotate', 'tellVersion', 'connect', 'dumps', 'noDumps', 'open']);
  const text = (field: string, fix: string, optional = false): string => read.take<string>(of, field, at, 'text', fix, optional) ?? '';
  const type = text('type', 'for example "valkey": its commands are valkey:create and so on');
  const aliases = of['aliases'] === undefined ? [] : limited(read, read.texts(of['aliases'], `${at}.aliases`, TYPE, 'lower-case letters and digits'), `${at}.aliases`, MOST.aliases);
  if (type !== '' && !TYPE.test(type)) read.fail(`${at}.type`, `is ${quoted(type)}`, 'lower-case letters and digits, a letter first, at most 30');
  for (const [field, name] of [['type', type], ...aliases.map((alias, i) => [`aliases[${i}]`, alias])] as const) if (TYPE.test(name) && (isOurs(name) || name === 'constructor')) read.fail(`${at}.${field}`, `is ${quoted(name)}, which Berth itself has commands of`, 'choose another name');
  const title = text('title', 'for people: "Valkey"');
  const version = text('version', 'of what its image has: "8"');
  if (version !== '' && !/^[0-9A-Za-z][0-9A-Za-z._-]{0,30}$/.test(version)) read.fail(`${at}.version`, `is ${quoted(version)}`, 'letters, digits, dots and hyphens, at most 31');
  const variable = text('variable', 'the config var that an app gets: "VALKEY_URL"');
  if (variable !== '' && !/^[A-Z][A-Z0-9_]{0,60}$/.test(variable)) read.fail(`${at}.variable`, `is ${quoted(variable)}`, 'capital letters, digits and underscores: "VALKEY_URL"');
  const port = portOf(read, read.take(of, 'port', at, 'number', 'the port that it listens on'), `${at}.port`);
  const ports = limited(read, (read.take<readonly unknown[]>(of, 'ports', at, 'list', 'a list of further ports', true) ?? []), `${at}.ports`, MOST.ports).map((each, i) => portOf(read, each, `${at}.ports[${i}]`));
  const stopSeconds = read.take<number>(of, 'stopSeconds', at, 'number', 'seconds that it may take to stop', true) ?? 30;
  if (!Number.isInteger(stopSeconds) || stopSeconds < 1 || stopSeconds > 600) read.fail(`${at}.stopSeconds`, `is ${stopSeconds}`, 'whole seconds, at most 600');
  const open = read.take<boolean>(of, 'open', at, 'boolean', 'true when it asks nobody for a password', true);
  const user = of['user'] === undefined ? (open ? '' : '{database}') : text('user', 'what apps log in as, for example "{database}"');
  placeholders(read, user, `${at}.user`, ['name', 'database']);
  if (!/^[A-Za-z0-9_{}.-]{0,60}$/.test(user)) read.fail(`${at}.user`, `is ${quoted(user)}`, 'letters, digits and underscores, {name} or {database}');
  const dsn = text('dsn', 'for example "valkey://:{password:url}@{host}:{port}"');
  placeholders(read, dsn, `${at}.dsn`, PLACEHOLDERS.filter((name) => !name.startsWith('before') && !['password', 'password:sql'].includes(name)), 'the password of a URL is {password:url}');
  if (dsn !== '' && !/^[a-z][a-z0-9+.-]*:\/\/[!-~]+$/.test(dsn)) read.fail(`${at}.dsn`, `is ${quoted(dsn)}`, 'a URL without spaces');
  else if (dsn !== '' && !open && !placeholdersIn(dsn).some((name) => SECRETS.includes(name))) read.fail(`${at}.dsn`, 'says no password', 'put {password:url} into it, or say that nobody is asked for one: "open": true');
  const exec = (value: unknown, field: string, secrets: 'none' | 'password' | 'before' = 'password'): DeclaredExec => execOf(read, value, `${at}.${field}`, secrets);
  const execs = (field: string, secrets: 'password' | 'before'): DeclaredExec[] => limited(read, read.take<readonly unknown[]>(of, field, at, 'list', 'a list of programs, each { "argv": […] }', true) ?? [], `${at}.${field}`, MOST.setup).map((each, i) => exec(each, `${field}[${i}]`, secrets));
  const connect = exec(of['connect'], 'connect');
  if (connect.stdin !== undefined) read.fail(`${at}.connect.stdin`, 'is there', 'leave it out: into it goes what somebody types or pipes in');
  const packaged = of['packaged'] === undefined ? undefined : packagedOf(read, of['packaged'], `${at}.packaged`);
  const registry = registryOf(read, of['registry'], `${at}.registry`);
  const dumps = of['dumps'] === undefined ? undefined : dumpsOf(read, of['dumps'], `${at}.dumps`);
  const noDumps = read.take<string>(of, 'noDumps', at, 'text', 'why there is nothing to export', true);
  if ((dumps === undefined) === (noDumps === undefined)) read.fail(at, dumps === undefined ? 'says nothing of dumps' : 'has both dumps and noDumps', 'dumps: { suffix, out, in, count }; or noDumps: why there are none, "it keeps nothing"');
  return {
    type, aliases, title, version, registry, ...(packaged && { packaged }), port, ports, stopSeconds, variable, user, dsn, health: exec(of['health'], 'health'), setup: execs('setup', 'password'),
    ...(of['rotate'] !== undefined && { rotate: execs('rotate', 'before') }), tellVersion: exec(of['tellVersion'], 'tellVersion', 'none'), connect,
    ...(dumps && { dumps }), ...(noDumps !== undefined && { noDumps }), ...(open && { open }),
  };
}

function limited<T>(read: Reader, list: readonly T[], at: string, most: number): readonly T[] {
  if (list.length > most) read.fail(at, `has ${list.length} entries`, `at most ${most}`);
  return list.slice(0, most);
}

function portOf(read: Reader, value: unknown, at: string): number {
  if (value === undefined || (Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536)) return (value as number | undefined) ?? 0;
  read.fail(at, `is ${quoted(value)}`, 'a port: 1 to 65535');
  return 0;
}

/** Every placeholder of a text is one that may stand there. */
function placeholders(read: Reader, text: string, at: string, known: readonly string[], why?: string): void {
  for (const name of placeholdersIn(text)) {
    if (known.includes(name)) continue;
    const secret = SECRETS.includes(name);
    read.fail(at, `has {${name}}`, why !== undefined && secret ? why : secret ? 'a password stands in env, stdin or dsn only, never where the list of processes shows it' : `there ${known.length === 0 ? 'is none' : `are ${known.map((each) => `{${each}}`).join(' ')}`}; for a brace itself put a space behind it`);
  }
}

const OPEN = PLACEHOLDERS.filter((name) => !SECRETS.includes(name));
const ALLOWED = { none: [], password: PLACEHOLDERS.filter((name) => !name.startsWith('before')), before: PLACEHOLDERS } as const;

function wordsOf(read: Reader, value: unknown, at: string, known: readonly string[]): readonly string[] {
  const fix = 'a list of words, for example ["valkey-cli", "ping"]';
  const words = limited(read, read.texts(value, at, TEXT, fix), at, MOST.words);
  if (Array.isArray(value) && words.length === 0) read.fail(at, 'is empty', fix);
  words.forEach((word, i) => placeholders(read, word, `${at}[${i}]`, known));
  return words;
}

function envOf(read: Reader, value: unknown, at: string, known: readonly string[]): Record<string, string> {
  const env = read.pairs(value, at, ENV, 'names and texts');
  if (Object.keys(env).length > MOST.env) read.fail(at, `has ${Object.keys(env).length} entries`, `at most ${MOST.env}`);
  for (const [name, text] of Object.entries(env)) {
    if (!TEXT.test(text)) read.fail(`${at}.${name}`, 'is too long', 'at most 16 KiB');
    placeholders(read, text, `${at}.${name}`, known);
  }
  return env;
}

function execOf(read: Reader, value: unknown, at: string, secrets: keyof typeof ALLOWED): DeclaredExec {
  const fix = 'a program: { "argv": ["…"], "env"?: { … }, "stdin"?: "…", "user"?: "…" }';
  if (value === undefined) read.fail(at, 'is missing', fix);
  const of = value === undefined ? null : read.object(value, at, fix);
  if (of === null) return { argv: [''] };
  read.only(of, at, ['argv', 'user', 'env', 'stdin']);
  const argv = wordsOf(read, of['argv'], `${at}.argv`, secrets === 'none' ? [] : OPEN);
  const user = read.take<string>(of, 'user', at, 'text', 'a user of the image', true);
  if (user !== undefined && !/^[a-z_][a-z0-9_-]{0,31}$|^\d{1,6}$/.test(user)) read.fail(`${at}.user`, `is ${quoted(user)}`, 'a user of the image');
  const stdin = of['stdin'];
  if (stdin !== undefined && (typeof stdin !== 'string' || !TEXT.test(stdin))) read.fail(`${at}.stdin`, 'is no text, or too long', 'text of at most 16 KiB');
  else if (stdin !== undefined) placeholders(read, stdin, `${at}.stdin`, ALLOWED[secrets]);
  return { argv, ...(user !== undefined && { user }), ...(of['env'] !== undefined && { env: envOf(read, of['env'], `${at}.env`, ALLOWED[secrets]) }), ...(typeof stdin === 'string' && { stdin }) };
}

/** What both kinds of image say of how the server runs. */
function serverOf(read: Reader, of: Object_, at: string): Pick<DeclaredService['registry'], 'volume' | 'env' | 'command'> {
  const volume = of['volume'] === null ? null : (read.take<string>(of, 'volume', at, 'text', 'where its data is, for example "/data"; null when it keeps nothing') ?? null);
  if (volume !== null && (!PATH.test(volume) || SYSTEM.test(volume))) read.fail(`${at}.volume`, `is ${quoted(volume)}`, 'an absolute path of its own, for example "/data"');
  const env = of['env'] === undefined ? {} : envOf(read, of['env'], `${at}.env`, ALLOWED.password);
  return { volume, env, ...(of['command'] !== undefined && { command: wordsOf(read, of['command'], `${at}.command`, OPEN) }) };
}

function registryOf(read: Reader, value: unknown, at: string): DeclaredService['registry'] {
  const of = value === undefined ? null : read.object(value, at, 'an object with reference and volume');
  if (value === undefined) read.fail(at, 'is missing', 'the image of a registry: { "reference": "valkey/valkey:8", "volume": "/data", "env": { … } }');
  if (of === null) return { reference: '', volume: null, env: {} };
  read.only(of, at, ['reference', 'volume', 'env', 'command']);
  const reference = read.take<string>(of, 'reference', at, 'text', 'for example "valkey/valkey:8"') ?? '';
  if (reference !== '' && !IMAGE.test(reference)) read.fail(`${at}.reference`, `is ${quoted(reference)}`, 'the name of an image, for example "valkey/valkey:8"');
  return { reference, ...serverOf(read, of, at) };
}

function packagedOf(read: Reader, value: unknown, at: string): DeclaredService['packaged'] {
  const of = read.object(value, at, 'an object with packages, script and volume');
  if (of === null) return undefined;
  read.only(of, at, ['packages', 'before', 'lines', 'script', 'volume', 'env', 'command', 'remark']);
  const list = (field: string, form: RegExp, fix: string, most: number, wanted: boolean): readonly string[] => {
    const given = read.take<readonly unknown[]>(of, field, at, 'list', fix, !wanted) ?? [];
    if (wanted && of[field] !== undefined && given.length === 0) read.fail(`${at}.${field}`, 'is empty', fix);
    return limited(read, read.texts(given, `${at}.${field}`, form, fix), `${at}.${field}`, most);
  };
  const packages = list('packages', PACKAGE, 'names of Debian packages, for example ["valkey-server"]', MOST.packages, true);
  const lines = list('lines', INSTRUCTION, 'RUN, ENV, WORKDIR or STOPSIGNAL, each in one line', MOST.lines, false);
  const script = list('script', LINE, 'the lines of the shell script that becomes the server, the first one "#!/bin/sh"', MOST.script, true);
  if (script.length > 0 && !script[0]!.startsWith('#!/')) read.fail(`${at}.script[0]`, `is ${quoted(script[0])}`, 'begin with the program that reads it: "#!/bin/sh"');
  const before = of['before'] === undefined ? undefined : read.pairs(of['before'], `${at}.before`, PATH, 'path and text');
  for (const [path, text] of Object.entries(before ?? {})) if (!PLAIN.test(text)) read.fail(`${at}.before.${path}`, 'has a quote, a backslash or more than one line', 'one line without them, at most 500 characters');
  const remark = read.take<string>(of, 'remark', at, 'text', 'what whoever makes one should know', true);
  return { packages, ...(before && { before }), lines, script, ...serverOf(read, of, at), ...(remark !== undefined && { remark }) };
}

function dumpsOf(read: Reader, value: unknown, at: string): DeclaredService['dumps'] {
  const of = read.object(value, at, '{ suffix, out, in, count }');
  if (of === null) return undefined;
  read.only(of, at, ['suffix', 'out', 'in', 'count', 'magic']);
  const suffix = read.take<string>(of, 'suffix', at, 'text', 'ending of a dump\'s file: "rdb"') ?? '';
  if (suffix !== '' && !/^[a-z0-9][a-z0-9.]{0,15}$/.test(suffix)) read.fail(`${at}.suffix`, `is ${quoted(suffix)}`, 'letters, digits and dots, at most 16');
  const magic = read.take<string>(of, 'magic', at, 'text', 'how a dump begins', true);
  if (magic !== undefined && !/^[ -~]{1,16}$/.test(magic)) read.fail(`${at}.magic`, `is ${quoted(magic)}`, '1 to 16 printable characters');
  const exec = (field: string): DeclaredExec => execOf(read, of[field], `${at}.${field}`, 'password');
  const [out, into] = [exec('out'), exec('in')];
  for (const [field, { stdin }] of [['out', out], ['in', into]] as const) if (stdin !== undefined) read.fail(`${at}.${field}.stdin`, 'is there', 'leave it out: into it goes the dump, or nothing');
  return { suffix, out, in: into, count: exec('count'), ...(magic !== undefined && { magic }) };
}
