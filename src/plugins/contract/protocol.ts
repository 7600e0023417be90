import type { StepInput, StepOutput, RouterSettings, Step } from '../../events/types/deploy.events.js';
import type { Additions, HookTime } from '../../events/types/plugin.events.js';
import { readBuilder, readCheck, type BuilderAnswer } from './builder.answer.js';
import { Reader, tellProblem } from './problems.js';

/** What is handed to a plugin: one JSON object on its standard input, or the argument of a handler. */
interface Call {
  readonly protocol: 1;
  readonly plugin: { readonly name: string; readonly version: string; /** the folder that it may write in; it lasts */ readonly data: string };
  readonly berth: { readonly version: string; readonly instance: string };
  /** what it set for the whole server */
  readonly settings: Readonly<Record<string, string>>;
  /** the app that this is about, and what the plugin set for it */
  readonly app?: CalledApp;
}
export interface CalledApp { readonly id: string; readonly name: string; readonly settings: Readonly<Record<string, string>> }

export interface CommandCall extends Call { readonly call: 'command'; readonly command: string; readonly input: Readonly<Record<string, unknown>>; /** who asked */ readonly by: string; /** what was piped in, base64, for commands that say so */ readonly piped?: string; /** what its projections have come to, by name; absent when it has none */ readonly projections?: Readonly<Record<string, Projected>> }
/** `position`: of the last event that is in it; 0 and null before the first */
export interface Projected { readonly state: unknown; readonly position: number }
export interface HookCall extends Call {
  readonly call: 'hook';
  readonly hook: { readonly step: Step; readonly when: HookTime };
  readonly app: CalledApp;
  readonly deploy: number; readonly job: string; readonly attempt: number;
  /** what the step is given; no secret is in it */
  readonly input: StepInput;
  /** what it gave: only after it */
  readonly output?: StepOutput;
}
export interface EventCall extends Call {
  readonly call: 'event';
  /** a delivery may come twice: `id` tells */
  readonly event: SeenEvent;
}
/** An event as plugins see it; sealed values are not shown. `at`: ms since the epoch. */
export interface SeenEvent { readonly id: string; readonly position: number; readonly stream: string; readonly type: string; readonly at: number; readonly actor: string; readonly data: unknown }
export interface ProjectCall extends Call {
  readonly call: 'project';
  readonly projection: string;
  /** what it answered for the events before these; null at the beginning */
  readonly state: unknown;
  /** in order, none left out; at most 500 */
  readonly events: readonly SeenEvent[];
}
/** What people are to be told. */
export interface Message {
  /** one line */
  readonly title: string;
  /** some lines, plain text */
  readonly text: string;
  readonly level: 'good' | 'info' | 'warning' | 'error';
  /** of the app that it is about */
  readonly url?: string;
}
export interface NotifyCall extends Call {
  readonly call: 'notify';
  /** how it was set up, secrets among the options */
  readonly channel: { readonly name: string; readonly options: Readonly<Record<string, string>> };
  readonly message: Message;
  /** the same for every try of the same message */
  readonly id: string;
  /** what it tells of; null: it is only a test */
  readonly event: SeenEvent | null;
}
export interface BuilderCall extends Call {
  readonly call: 'builder';
  readonly builder: string;
  /** files of the repository, `a/b.txt`, sorted; without those that .slugignore names */
  readonly paths: readonly string[];
  /** there are more, which are not told */
  readonly more?: true;
  /** text of the files that it reads, as far as they are plain text and not too large */
  readonly files: Readonly<Record<string, string>>;
  /** what is set of how the app is built: `static-root`, `process.worker`, … */
  readonly set: Readonly<Record<string, string>>;
  /** the config vars that decide how an app is built (`NPM_CONFIG_PRODUCTION`, …), those that are there */
  readonly config: Readonly<Record<string, string>>;
  /** images that a build can stand on: `build` has compilers, `run` is small; `versions` of languages; the user that apps run as */
  readonly stack: { readonly build: string; readonly run: string; readonly versions: Readonly<Record<string, string>>; readonly user: { readonly name: string; readonly uid: number; readonly home: string } };
}
export type PluginCall = CommandCall | HookCall | EventCall | ProjectCall | NotifyCall | BuilderCall;

export interface CommandAnswer {
  /** lines for people */
  readonly say?: readonly string[];
  /** the answer as data (`--json`, HTTP) */
  readonly data?: unknown;
  /** something was wrong: nothing of this answer is carried out */
  readonly error?: string; readonly hint?: string;
  /** to remember: of the app when the command is about one, else of the server; null forgets */
  readonly settings?: Readonly<Record<string, string | null>>;
  /** the same for what nobody shall read in the log; given back among `settings` */
  readonly secrets?: Readonly<Record<string, string | null>>;
  /** deploys the app: `config` starts its containers anew, `domains` changes only the router */
  readonly deploy?: 'config' | 'domains';
}
export interface HookAnswer { readonly add?: Additions; /** why the deploy shall not go on */ readonly refuse?: string; readonly say?: readonly string[] }
export interface EventAnswer { readonly say?: readonly string[] }
/** any JSON */
export interface ProjectAnswer { readonly state: unknown }
/** `error`: why it was not told; `retry`: it may go well later */
export interface NotifyAnswer { readonly say?: readonly string[]; readonly error?: string; readonly retry?: boolean }
export interface Answers { command: CommandAnswer; hook: HookAnswer; event: EventAnswer; project: ProjectAnswer; notify: NotifyAnswer; builder: BuilderAnswer }

/** The answer of a plugin is not what the protocol says. */
export class BadAnswer extends Error {}

const ENV = /^[A-Za-z_][A-Za-z0-9_]{0,200}$/;
const SETTING = /^[a-zA-Z][a-zA-Z0-9._-]{0,60}$/;
const LABEL = /^(?!berth\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$/;
const VOLUME = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
const HOST_NETWORK = ['host', 'none', 'bridge', 'default'];
const LINE_MAX = 2000;
const LINES_MAX = 200;

/** An answer as it was given, judged. @throws BadAnswer that names every field */
export function readAnswer<K extends keyof Answers>(kind: K, value: unknown): Answers[K] {
  const read = new Reader();
  const of = read.object(value, '', 'answer one JSON object, or nothing');
  if (of !== null) {
    read.only(of, '', { command: ['say', 'data', 'error', 'hint', 'settings', 'secrets', 'deploy'], hook: ['add', 'refuse', 'say'], event: ['say'], project: ['state'], notify: ['say', 'error', 'retry'], builder: ['detect', 'plan', 'refuse', 'say'] }[kind]);
    if (of['say'] !== undefined) read.texts(of['say'], 'say', /^[^\0]*$/, 'a list of lines');
    if (kind === 'hook') readHook(read, of);
    if (kind === 'command') readCommand(read, of);
    if (kind === 'builder') readBuilder(read, of);
    if (kind === 'notify') {
      const error = read.take<string>(of, 'error', '', 'text', 'why, in one line', true);
      if (error !== undefined && error.trim() === '') read.fail('error', 'is empty', 'why, in one line');
      read.take(of, 'retry', '', 'boolean', 'true when it may go well later', true);
    }
    if (kind === 'project' && of['state'] === undefined) read.fail('state', 'is missing', 'answer { "state": … }');
  }
  if (read.problems.length > 0) throw new BadAnswer(read.problems.slice(0, 5).map(tellProblem).join('; '));
  const say = (of!['say'] as readonly string[] | undefined)?.flatMap((line) => line.split('\n')).slice(0, LINES_MAX).map((line) => line.slice(0, LINE_MAX));
  return { ...of, ...(say && { say }) } as Answers[K];
}

function readCommand(read: Reader, of: Readonly<Record<string, unknown>>): void {
  for (const field of ['error', 'hint']) read.take(of, field, '', 'text', 'one line', true);
  for (const field of ['settings', 'secrets']) {
    const given = of[field] === undefined ? null : read.object(of[field], field, 'name and text, or null to forget');
    if (given) read.pairs(Object.fromEntries(Object.entries(given).map(([key, each]) => [key, each ?? ''])), field, SETTING, 'name and text, or null to forget');
  }
  if (of['deploy'] !== undefined && !['config', 'domains'].includes(of['deploy'] as string)) read.fail('deploy', 'is not a kind of deploy', '"config" or "domains"');
}

function readHook(read: Reader, of: Readonly<Record<string, unknown>>): void {
  const refuse = read.take<string>(of, 'refuse', '', 'text', 'why, in one line', true);
  if (refuse !== undefined && refuse.trim() === '') read.fail('refuse', 'is empty', 'why, in one line');
  const add = of['add'] === undefined ? null : read.object(of['add'], 'add', 'an object');
  if (add === null) return;
  read.only(add, 'add', ['buildArgs', 'env', 'mounts', 'networks', 'labels', 'checks', 'router']);
  for (const field of ['buildArgs', 'env']) if (add[field] !== undefined) read.pairs(add[field], `add.${field}`, ENV, 'name and text: letters, digits and underscores');
  if (add['labels'] !== undefined) read.pairs(add['labels'], 'add.labels', LABEL, 'name and text; names that begin with berth. are Berth\'s own');
  if (add['networks'] !== undefined) {
    const names = read.texts(add['networks'], 'add.networks', /^[A-Za-z0-9][A-Za-z0-9_.-]{0,100}$/, 'names of networks');
    names.forEach((name, i) => { if (HOST_NETWORK.includes(name)) read.fail(`add.networks[${i}]`, `is "${name}"`, 'a network that was made for this'); });
  }
  if (add['mounts'] !== undefined) mounts(read, add['mounts']);
  const checks = add['checks'] === undefined ? null : read.object(add['checks'], 'add.checks', 'an object');
  if (checks !== null) readCheck(read, checks, 'add.checks');
  if (add['router'] !== undefined) router(read, add['router']);
}

function mounts(read: Reader, value: unknown): void {
  if (!Array.isArray(value)) return read.fail('add.mounts', 'is not a list', 'a list of { name, path }');
  value.forEach((each, i) => {
    const at = `add.mounts[${i}]`;
    const of = read.object(each, at, '{ name, path }');
    if (of === null) return;
    const [name, path] = [read.take<string>(of, 'name', at, 'text', 'a volume\'s name'), read.take<string>(of, 'path', at, 'text', 'a path in the container')];
    if (name !== undefined && !VOLUME.test(name)) read.fail(`${at}.name`, 'will not do for a volume', 'lower-case letters, digits and hyphens, at most 40');
    if (path !== undefined && (!/^\/[^\0:]{1,200}$/.test(path) || path.split('/').slice(1).some((part) => ['', '.', '..'].includes(part)))) read.fail(`${at}.path`, 'is not an absolute path', 'for example "/app/data"');
  });
}

/** What may be asked of the router; its driver judges the values once more where they become configuration. */
function router(read: Reader, value: unknown): void {
  const of = read.object(value, 'add.router', 'an object');
  if (of === null) return;
  read.only(of, 'add.router', ['maintenance', 'redirects', 'auth', 'headers'] satisfies (keyof RouterSettings)[]);
  const maintenance = of['maintenance'] === undefined ? null : read.object(of['maintenance'], 'add.router.maintenance', '{ "page": "<html>…" } or { "page": null }');
  if (maintenance && maintenance['page'] !== null) read.take(maintenance, 'page', 'add.router.maintenance', 'text', 'HTML, or null');
  for (const [i, each] of (read.take<readonly unknown[]>(of, 'redirects', 'add.router', 'list', 'a list of { from, to, code }', true) ?? []).entries()) {
    const at = `add.router.redirects[${i}]`;
    const redirect = read.object(each, at, '{ from, to, code }');
    if (redirect === null) continue;
    for (const field of ['from', 'to']) {
      const text = read.take<string>(redirect, field, at, 'text', 'a host');
      if (text !== undefined && !/^[\x21-\x7e]{1,300}$/.test(text)) read.fail(`${at}.${field}`, 'is empty, too long, or has spaces in it', 'a host');
    }
    if (![301, 302, 307, 308].includes(redirect['code'] as number)) read.fail(`${at}.code`, 'is not one of a redirect', '301, 302, 307 or 308');
  }
  const auth = of['auth'] === undefined ? null : read.object(of['auth'], 'add.router.auth', '{ users, allow }');
  if (auth !== null) {
    read.texts(auth['allow'] ?? [], 'add.router.auth.allow', /^[0-9a-fA-F.:]+(?:\/\d{1,3})?$/, 'addresses as CIDR');
    for (const [i, each] of (read.take<readonly unknown[]>(auth, 'users', 'add.router.auth', 'list', 'a list of { name, hash }') ?? []).entries()) {
      const user = read.object(each, `add.router.auth.users[${i}]`, '{ name, hash }');
      if (user) for (const field of ['name', 'hash']) read.take(user, field, `add.router.auth.users[${i}]`, 'text', 'text');
    }
  }
  if (of['headers'] !== undefined) read.pairs(of['headers'], 'add.router.headers', /^[A-Za-z0-9-]{1,100}$/, 'name and text');
}

/** Of several plugins, in the order of their names: a later one's word counts where both said something, lists are joined. Pure. */
export function merged(all: readonly Additions[]): Additions {
  return all.reduce<Additions>((sum, add) => ({
    ...sum, ...add,
    ...both('buildArgs', sum, add), ...both('env', sum, add), ...both('labels', sum, add), ...both('checks', sum, add),
    ...lists('mounts', sum, add), ...lists('networks', sum, add),
    ...(sum.router && add.router && { router: mergedRouter(sum.router, add.router) }),
  }), {});
}

function both<K extends 'buildArgs' | 'env' | 'labels' | 'checks'>(key: K, a: Additions, b: Additions): Partial<Additions> {
  return a[key] && b[key] ? { [key]: { ...a[key], ...b[key] } } : {};
}
function lists<K extends 'mounts' | 'networks'>(key: K, a: Additions, b: Additions): Partial<Additions> {
  return a[key] && b[key] ? { [key]: [...new Map([...a[key], ...b[key]].map((each) => [JSON.stringify(each), each])).values()] } : {};
}
export function mergedRouter(a: RouterSettings, b: RouterSettings): RouterSettings {
  const auth = a.auth && b.auth ? { users: [...a.auth.users, ...b.auth.users], allow: [...a.auth.allow, ...b.auth.allow] } : (b.auth ?? a.auth);
  const redirects = [...(a.redirects ?? []), ...(b.redirects ?? [])];
  return { ...a, ...b, ...(auth && { auth }), ...(redirects.length > 0 && { redirects }), ...((a.headers ?? b.headers) && { headers: { ...a.headers, ...b.headers } }) };
}
