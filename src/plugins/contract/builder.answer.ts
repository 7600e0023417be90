import { quoted, type Reader } from './problems.js';

/** How a plugin's builder makes the image: the rest is what the repository says (Procfile, app.json) and Berth's own. */
export interface BuilderPlan {
  readonly dockerfile: string;
  /** process type → command, null for the image's own; a Procfile counts first. Absent: web, the image's own */
  readonly processTypes?: Readonly<Record<string, string | null>>;
  readonly releaseCommand?: string;
  /** that web listens on when the image does not say; 5000 */
  readonly port?: number;
  /** where app.json says nothing of checks */
  readonly check?: { readonly path?: string; readonly timeoutMs?: number; readonly attempts?: number; readonly waitMs?: number };
  /** one line: `COBOL 3.2, main.cob` */
  readonly summary?: string;
  /** what was decided and why, one line each */
  readonly details?: readonly string[];
  readonly warnings?: readonly string[];
}
export interface BuilderAnswer {
  /** null or absent: the repository is none of its own */
  readonly detect?: { readonly reason: string } | null;
  readonly plan?: BuilderPlan;
  /** why this repository, which is its own, cannot be built as it is */
  readonly refuse?: string;
  readonly say?: readonly string[];
}

const DOCKERFILE_MAX = 64 * 1024;
const TYPE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const LINE = /^[^\0-\x1f\x7f]{1,500}$/;
const FROM = /^\s*FROM\s+\S/im;

/** Judges what a builder answered. Pure. */
export function readBuilder(read: Reader, of: Readonly<Record<string, unknown>>): void {
  const refuse = read.take<string>(of, 'refuse', '', 'text', 'why, in one line', true);
  if (refuse !== undefined && refuse.trim() === '') read.fail('refuse', 'is empty', 'why, in one line');
  const detect = of['detect'] === undefined || of['detect'] === null ? null : read.object(of['detect'], 'detect', '{ "reason": "…" }, or null when it is none of its own');
  if (detect === null) {
    for (const field of ['plan', 'refuse']) if (of[field] !== undefined) read.fail(field, 'is there without detect', 'say why it is its own: "detect": { "reason": "…" }');
    return;
  }
  read.only(detect, 'detect', ['reason']);
  line(read, detect, 'reason', 'detect', 'one line: "main.cob is there"');
  if (refuse !== undefined) return;
  if (of['plan'] === undefined) return read.fail('plan', 'is missing', 'how it is built, or refuse: why it cannot be');
  const plan = read.object(of['plan'], 'plan', '{ "dockerfile": "…" }');
  if (plan !== null) planOf(read, plan);
}

function line(read: Reader, of: Readonly<Record<string, unknown>>, field: string, at: string, fix: string, optional = false): void {
  const text = read.take<string>(of, field, at, 'text', fix, optional);
  if (text !== undefined && !LINE.test(text)) read.fail(`${at}.${field}`, 'is not one line of 1 to 500 characters', fix);
}

function planOf(read: Reader, plan: Readonly<Record<string, unknown>>): void {
  read.only(plan, 'plan', ['dockerfile', 'processTypes', 'releaseCommand', 'port', 'check', 'summary', 'details', 'warnings']);
  const dockerfile = read.take<string>(plan, 'dockerfile', 'plan', 'text', 'the text of a Dockerfile');
  if (dockerfile !== undefined && (dockerfile.length > DOCKERFILE_MAX || dockerfile.includes('\0'))) read.fail('plan.dockerfile', `has ${dockerfile.length} characters`, `text, at most ${DOCKERFILE_MAX}`);
  else if (dockerfile !== undefined && !FROM.test(dockerfile)) read.fail('plan.dockerfile', 'has no FROM', 'a Dockerfile begins with FROM <image>');
  const types = plan['processTypes'] === undefined ? null : read.object(plan['processTypes'], 'plan.processTypes', 'process type and command, or null for the image\'s own');
  if (types !== null && (Object.keys(types).length === 0 || Object.keys(types).length > 50)) read.fail('plan.processTypes', `has ${Object.keys(types).length} entries`, '1 to 50; leave it out for web alone');
  for (const [type, command] of Object.entries(types ?? {})) {
    if (!TYPE.test(type) || type === 'release') read.fail(`plan.processTypes.${type.slice(0, 60)}`, 'is not a process type', 'lower-case letters, digits and hyphens, at most 63; release is releaseCommand');
    else if (command !== null && (typeof command !== 'string' || command.trim() === '' || command.length > 4096 || command.includes('\0'))) read.fail(`plan.processTypes.${type}`, `is ${quoted(command)}`, 'a command, or null for the image\'s own');
  }
  const release = read.take<string>(plan, 'releaseCommand', 'plan', 'text', 'a command', true);
  if (release !== undefined && (release.trim() === '' || release.length > 4096 || release.includes('\0'))) read.fail('plan.releaseCommand', 'is empty or too long', 'a command');
  const port = plan['port'];
  if (port !== undefined && !(Number.isInteger(port) && (port as number) > 0 && (port as number) < 65_536)) read.fail('plan.port', `is ${quoted(port)}`, 'a port: 1 to 65535');
  const check = plan['check'] === undefined ? null : read.object(plan['check'], 'plan.check', '{ "path": "/healthz" }');
  if (check !== null) readCheck(read, check, 'plan.check');
  line(read, plan, 'summary', 'plan', 'one line', true);
  for (const field of ['details', 'warnings']) if (plan[field] !== undefined && read.texts(plan[field], `plan.${field}`, LINE, 'a list of lines').length > 50) read.fail(`plan.${field}`, 'has more than 50 lines', 'fewer');
}

/** A check over HTTP, any part of it. */
export function readCheck(read: Reader, check: Readonly<Record<string, unknown>>, at: string): void {
  read.only(check, at, ['path', 'timeoutMs', 'attempts', 'waitMs']);
  const path = read.take<string>(check, 'path', at, 'text', 'for example "/healthz"', true);
  if (path !== undefined && !/^\/[\x21-\x7e]{0,500}$/.test(path)) read.fail(`${at}.path`, 'is not a path', 'for example "/healthz"');
  for (const field of ['timeoutMs', 'attempts', 'waitMs']) {
    const number = read.take<number>(check, field, at, 'number', 'a number above 0', true);
    if (number !== undefined && (number <= 0 || number > 3_600_000)) read.fail(`${at}.${field}`, `is ${number}`, 'a number above 0');
  }
}
