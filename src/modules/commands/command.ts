import 'reflect-metadata';
import { ApiProperty } from '@nestjs/swagger';
import type { TerminalSize } from '../../drivers/engine/engine.port.js';
import type { Core } from '../core.js';

/** Where a wish comes from: the server's own shell, an SSH key, or HTTP with a token. */
export type Origin = 'local' | 'ssh' | 'http';

/** Words on their way to whoever asked. Marks as in Dokku: `-----> `, `=====> `, seven spaces, ` !     `. */
export interface Out {
  readonly columns: number;
  readonly color: boolean;
  readonly quiet: boolean;
  /** trace mode is on: full build output and engine calls */
  readonly verbose: boolean;
  /** as it is, and a newline */
  line(text?: string): void;
  /** without a newline */
  raw(text: string): void;
  bytes(piece: Buffer): void;
  info(text: string): void;
  section(text: string): void;
  detail(text: string): void;
  warn(text: string): void;
}

/** Somebody's terminal, to be handed to a program. */
export interface Terminal extends TerminalSize {
  /** kind of terminal: `xterm-256color` */
  readonly term: string;
  /** takes it over: keys as they are typed, and new sizes of the window; bytes that are written are shown as they are */
  typed(): AsyncIterable<Buffer | TerminalSize>;
}

export interface CommandContext {
  readonly core: Core;
  /** `root@host`, `key:<name>`, `token:<name>` */
  readonly actor: string;
  /** set when the caller gave an Idempotency-Key: what is written is written once under it */
  readonly once?: { readonly stream: string; readonly command: string; readonly inputHash: string };
  readonly origin: Origin;
  readonly signal: AbortSignal;
  readonly json: boolean;
  readonly force: boolean;
  /** everything that is piped in; refused when nothing is. At most `limit` bytes */
  stdin(limit?: number): Promise<Buffer>;
  /** the same piece by piece, however much it is; no faster than it is taken */
  input(): AsyncIterable<Buffer>;
  readonly hasStdin: boolean;
  /** where somebody types and reads; absent where input or output is something else, and over HTTP */
  readonly terminal?: Terminal;
  /** a file on the caller's side */
  file(path: string, limit?: number): Promise<Buffer>;
  /** a line typed by a person */
  ask(prompt: string, lines: readonly string[]): Promise<string>;
  /** the same for what nobody shall see: it is not shown while it is typed */
  askSecret(prompt: string): Promise<string>;
}

/** What a command has that needs no server: files and what is piped in. */
export type OfflineContext = Pick<CommandContext, 'stdin' | 'file' | 'signal'>;

/** One entry of a live stream: `id` is what a client sends back as Last-Event-ID to go on behind it. `data` that is a Buffer is bytes. */
export interface StreamItem { readonly id: string; readonly event: string; readonly data: unknown }
/** The same for JSON, which has no bytes: base64. */
export const plainItem = (item: StreamItem): StreamItem => (Buffer.isBuffer(item.data) ? { ...item, data: item.data.toString('base64') } : item);

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** A command, declared once: the command line, help, validation, HTTP route and OpenAPI come from this. */
export interface Command<I extends object = object, R = unknown> {
  /** `ps:scale` */
  readonly name: string;
  readonly summary: string;
  readonly example: string;
  readonly input: new () => I;
  readonly http: { readonly method: HttpMethod; readonly path: string };
  /** changes nothing, has `--format json` */
  readonly reads?: boolean;
  /** its answer may hold what is shown once: a repeated request gets it without that, for nothing secret is kept */
  readonly shownOnce?: boolean;
  /** only on the server itself: not over SSH, not over HTTP */
  readonly local?: boolean;
  /** other spellings of its name; the registry knows those of ours */
  readonly others?: readonly string[];
  /** what its group is about, for the help; the registry knows of ours */
  readonly about?: string;
  /** `run` of this input looks at nothing but files: the command line carries it out by itself, where there is no server, too */
  offline?(input: I): boolean;
  /** what is piped in, for people: over HTTP the body itself (`application/octet-stream`), the other values being in the query */
  readonly piped?: string;
  /** the answer as data; a `deploy` or an `operation` in it is followed on the command line */
  run?(context: CommandContext, input: I): Promise<R>;
  /** the answer in words */
  render?(result: R, out: Out, input: I): void | number;
  /** said when the deploy or operation that follows from `run` went well: what only its caller may see */
  finish?(context: CommandContext, result: R, out: Out, input: I): Promise<void>;
  /** instead of `run`: an endless (or ending) stream */
  stream?(context: CommandContext, input: I): AsyncIterable<StreamItem>;
  /** one item in words; a number ends the command with that exit code */
  renderItem?(item: StreamItem, out: Out, input: I): number | void;
}

/** An answer that a deploy follows from. `deploy` null: nothing had to be deployed. */
export interface DeployAnswer { readonly app: string; readonly name: string; readonly deploy: number | null }

/** An answer that an operation follows from. */
export interface OperationAnswer { readonly group: string; readonly operation: number }

interface Field { readonly property: string; readonly kind: 'arg' | 'rest' | 'flag'; readonly about: string; readonly short?: string; readonly type: 'string' | 'boolean' | 'number' | 'list'; readonly optional: boolean; readonly label: string; /** the words from the first one on are taken as they are, flags too */ readonly raw?: boolean }
const FIELDS = Symbol('fields');

function add(target: object, field: Field): void {
  const fields = (Reflect.getMetadata(FIELDS, target.constructor) as Field[] | undefined) ?? [];
  Reflect.defineMetadata(FIELDS, [...fields, field], target.constructor);
}

/** The fields of an input class, in the order of their declaration. */
export const fieldsOf = (input: new () => object): readonly Field[] => (Reflect.getMetadata(FIELDS, input) as Field[] | undefined) ?? [];
export type { Field };

/** The next word of the command line; `optional` ones come last. */
export function Arg(about: string, options: { optional?: boolean; label?: string } = {}): PropertyDecorator {
  return (target, key) => {
    const property = String(key);
    add(target, { property, kind: 'arg', about, type: 'string', optional: options.optional ?? false, label: options.label ?? property });
    ApiProperty({ description: about, required: !options.optional, type: String })(target, key);
  };
}

/** All words that are left. */
export function Rest(about: string, options: { label: string; optional?: boolean; raw?: boolean }): PropertyDecorator {
  return (target, key) => {
    add(target, { property: String(key), kind: 'rest', about, type: 'list', optional: options.optional ?? false, label: options.label, ...(options.raw && { raw: true }) });
    ApiProperty({ description: about, required: !options.optional, type: [String] })(target, key);
  };
}

/** `--name value`, `--name=value` or a bare `--name` for booleans; `-n` when it has a short form. */
export function Flag(about: string, options: { type?: 'string' | 'boolean' | 'number'; short?: string; label?: string } = {}): PropertyDecorator {
  return (target, key) => {
    const type = options.type ?? 'boolean';
    add(target, { property: String(key), kind: 'flag', about, type, optional: true, label: options.label ?? 'value', ...(options.short && { short: options.short }) });
    ApiProperty({ description: about, required: false, type: { string: String, boolean: Boolean, number: Number }[type] })(target, key);
  };
}

/** `newName` → `new-name`, as it stands on the command line. */
export const flagName = (property: string): string => property.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** `ps:scale [--detach] <app> [<process type>=<count>...]` */
export function usage(command: Pick<Command, 'name' | 'input'>): string {
  const parts = fieldsOf(command.input).map((field) => {
    if (field.kind === 'flag') {
      const names = `${field.short ? `-${field.short}|` : ''}--${flagName(field.property)}`;
      return `[${names}${field.type === 'boolean' ? '' : ` <${field.label}>`}]`;
    }
    const text = field.kind === 'rest' ? `<${field.label}>...` : `<${field.label}>`;
    return field.optional ? `[${text}]` : text;
  });
  return [command.name, ...parts].join(' ');
}

/** Keeps the declaration's types together; does nothing else. */
export const command = <I extends object, R>(declared: Command<I, R>): Command<I, R> => declared;

/** Any command, its types forgotten: what the door keeps. */
export type AnyCommand = Command<object, unknown>;
export const forget = <I extends object, R>(declared: Command<I, R>): AnyCommand => declared as unknown as AnyCommand;
