import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { Controller, Delete, Get, Inject, Post, Put, Req, Res, type Type } from '@nestjs/common';
import { ApiBearerAuth, ApiBody, ApiConsumes, ApiOperation, ApiParam, ApiProduces, ApiQuery, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Rejected } from '../../events/decider.js';
import { Core } from '../core.js';
import { actorOf } from './guard.js';
import { fieldsOf, plainItem, type AnyCommand, type CommandContext, type DeployAnswer, type OperationAnswer } from './command.js';
import { explain, validated } from './door.js';
import { COMMANDS } from './registry.js';
import { answeredBefore, onceFor, recordAnswer } from './idempotency.js';
import { CarriedOutBefore } from './request.decider.js';
import { REPORT, type Report } from './report.js';

const METHODS = { GET: Get, POST: Post, PUT: Put, DELETE: Delete } as const;
/** what is kept of an answer with a secret in it */
const SHOWN_ONCE = { carriedOut: true, shownOnce: 'the answer held a secret, which was shown the first time only' };
const HEARTBEAT_MS = 15_000;

interface Asked { readonly params: Record<string, string>; readonly query: Record<string, unknown>; readonly body: unknown }

/** Path, query and body as one input; numbers and booleans of a query are text there. */
function inputOf(command: AnyCommand, { params, query, body }: Asked): Record<string, unknown> {
  const piped = body instanceof Readable;
  if (piped && !command.piped) throw new Rejected('input.body', `${command.name} takes no body of bytes`, 'send its values as JSON');
  if (!piped && body !== undefined && body !== null && (typeof body !== 'object' || Array.isArray(body))) throw new Rejected('input.body', 'the body is not a JSON object');
  const plain: Record<string, unknown> = { ...query, ...(piped ? null : (body as object | null)), ...params };
  for (const field of fieldsOf(command.input)) {
    const value = plain[field.property];
    if (field.type === 'boolean' && typeof value === 'string') plain[field.property] = value === 'true' || value === '1' || value === '';
    if (field.type === 'list' && typeof value === 'string') plain[field.property] = [value];
  }
  return plain;
}

/** codes of what cannot be understood, whatever the state of the server */
const MALFORMED = /^(?:input|argv)\.|^(?:job\.(?:which|edit)|time\.form|deploy\.number|events\.(?:type|range|until)|plan\.command)$/;

function status(exit: number, code: string, ours: boolean): number {
  if (code === 'disk.full' || code === 'store.disk-full') return 507;
  if (ours) return 503;
  if (MALFORMED.test(code)) return 400;
  return exit === 20 || code.endsWith('.missing') ? 404 : 409;
}

async function stream(reply: FastifyReply, command: AnyCommand, context: CommandContext, input: object): Promise<void> {
  const items = command.stream!(context, input)[Symbol.asyncIterator]();
  const first = await items.next(); // an error before the first item is still a proper reply
  reply.hijack();
  const response: ServerResponse = reply.raw;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' });
  const beat = setInterval(() => response.write(':\n\n'), HEARTBEAT_MS);
  try {
    for (let item = first; !item.done && !context.signal.aborted; item = await items.next()) {
      const { id, event, data } = plainItem(item.value);
      if (!response.write(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) {
        await new Promise<void>((resolve) => { response.once('drain', resolve); response.once('close', resolve); });
      }
    }
  } finally {
    clearInterval(beat);
    await items.return?.(undefined);
    response.end();
  }
}

/** One command over HTTP: JSON in, JSON out; streams as server-sent events that go on behind `Last-Event-ID`. */
export async function serve(core: Core, report: Report, command: AnyCommand, request: FastifyRequest, reply: FastifyReply, params = request.params as Record<string, string>): Promise<void> {
  const gone = new AbortController();
  reply.raw.on('close', () => gone.abort());
  const none = (what: string) => async (): Promise<never> => { throw new Rejected('input.http', `${what} cannot be given over HTTP: put it in the body`); };
  try {
    const asked: Asked = { params, query: request.query as Record<string, unknown>, body: request.body };
    const plain = inputOf(command, asked);
    if (command.local) throw new Rejected('command.local', `${command.name} can only be run on the server itself`, `as root: berth ${command.name}`);
    const last = request.headers['last-event-id'];
    if (command.stream && typeof last === 'string' && /^\d{1,15}$/.test(last) && fieldsOf(command.input).some((f) => f.property === 'after')) plain['after'] = last;
    const content = typeof plain['content'] === 'string' ? plain['content'] : null;
    if (content !== null) delete plain['content'];
    const given = async (): Promise<Buffer> => (content === null ? none('a file')() : Buffer.from(content));
    const input = await validated(command, plain);
    const actor = actorOf(request.raw);
    const key = request.headers['idempotency-key'];
    const once = typeof key === 'string' && request.method !== 'GET' ? onceFor(actor, key, command.name, input) : undefined;
    if (once) {
      const before = await answeredBefore(core, once);
      if (before) return void reply.code(before.status).header('idempotent-replayed', 'true').send(before.body);
    }
    const { body } = asked;
    const pieces = async function* (): AsyncGenerator<Buffer> {
      if (body instanceof Readable) yield* body as AsyncIterable<Buffer>;
      else yield await given();
    };
    const context: CommandContext = {
      core, actor, origin: 'http', signal: gone.signal, ...(once && { once }), json: true, force: false, hasStdin: content !== null || body instanceof Readable,
      stdin: given, input: pieces, file: given, ask: none('an answer'), askSecret: none('an answer'),
    };
    if (command.stream) return await stream(reply, command, context, input);
    let answer: unknown;
    try {
      answer = await command.run!(context, input);
    } catch (error) {
      if (!(error instanceof CarriedOutBefore) || !once) throw error;
      // the same request at the same time: the other one answers for both
      const other = await answeredBefore(core, once, 10_000);
      return void reply.code(other?.status ?? 409).header('idempotent-replayed', 'true').send(other?.body ?? { code: 'request.under-way', message: 'the same request is being carried out', hint: 'ask again in a moment' });
    }
    const { deploy, name, group, operation } = (answer ?? {}) as Partial<DeployAnswer & OperationAnswer>;
    const follow = typeof operation === 'number' && typeof group === 'string' ? `/v1/operations/${group}/${operation}/output` : typeof deploy === 'number' && typeof name === 'string' ? `/v1/apps/${name}/deploys/${deploy}/output` : null;
    if (follow !== null) {
      const body = { ...(answer as object), follow };
      if (once) await recordAnswer(core, actor, once, 202, command.shownOnce ? { ...SHOWN_ONCE, ...(deploy !== undefined && { deploy, name }), ...(operation !== undefined && { group, operation }), follow } : body);
      return void reply.code(202).header('location', follow).send(body);
    }
    const code = request.method === 'POST' && command.name.endsWith(':create') ? 201 : 200;
    if (once) await recordAnswer(core, actor, once, code, command.shownOnce ? SHOWN_ONCE : (answer ?? null));
    reply.code(code).send(answer);
  } catch (error) {
    const { message, hint, exit, code, ours } = explain(error);
    if (ours) report(command.name, error);
    if (!reply.raw.headersSent) reply.code(status(exit, code, ours)).send({ code, message, hint });
    else reply.raw.end();
  }
}

/** Makes the controller of one command: its route, its documentation. */
function controllerFor(command: AnyCommand): Type {
  class CommandController {
    constructor(readonly core: Core, readonly report: Report) {}
    async handle(request: FastifyRequest, reply: FastifyReply): Promise<void> {
      await serve(this.core, this.report, command, request, reply);
    }
  }
  // the schema's name in OpenAPI: `ps:scale` → PsScaleInput
  const title = command.name.split(/[:-]/).map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
  const Input = { [`${title}Input`]: class extends command.input {} }[`${title}Input`]!;
  Object.defineProperty(CommandController, 'name', { value: `${title}Controller` });
  const proto = CommandController.prototype;
  const method = Object.getOwnPropertyDescriptor(proto, 'handle')!;
  const decorate = (decorator: MethodDecorator): void => { decorator(proto, 'handle', method); };
  Controller('v1')(CommandController);
  Inject(Core)(CommandController, undefined, 0);
  Inject(REPORT)(CommandController, undefined, 1);
  Req()(proto, 'handle', 0);
  Res()(proto, 'handle', 1);
  decorate(METHODS[command.http.method](command.http.path.slice(1)));
  decorate(ApiTags(command.name.split(':')[0]!));
  decorate(ApiBearerAuth());
  decorate(ApiOperation({ operationId: command.name, summary: command.summary, description: `On the command line: \`${command.example}\`` }));
  for (const [, name] of command.http.path.matchAll(/:(\w+)/g)) decorate(ApiParam({ name: name!, required: true }));
  if (command.http.method === 'GET') {
    for (const field of fieldsOf(command.input)) {
      if (!command.http.path.includes(`:${field.property}`)) decorate(ApiQuery({ name: field.property, required: !field.optional, description: field.about, type: { string: String, boolean: Boolean, number: Number, list: [String] }[field.type] as never }));
    }
  } else if (command.piped) {
    for (const field of fieldsOf(command.input)) {
      if (!command.http.path.includes(`:${field.property}`)) decorate(ApiQuery({ name: field.property, required: !field.optional, description: field.about, type: { string: String, boolean: Boolean, number: Number, list: [String] }[field.type] as never }));
    }
    decorate(ApiConsumes('application/octet-stream'));
    decorate(ApiBody({ description: command.piped, required: false, schema: { type: 'string', format: 'binary' } }));
  } else if (fieldsOf(command.input).length > 0) decorate(ApiBody({ type: Input }));
  if (command.stream) decorate(ApiProduces('text/event-stream'));
  for (const [code, description] of [[400, 'the input is not of its form'], [401, 'no token, or one that is not valid'], [404, 'no such app, deploy, job or key'], [409, 'the rules refuse it; message and hint say why'], [503, 'a part of the server is away: nothing was changed, try again'], [507, 'the disk is full: nothing was changed']] as const) decorate(ApiResponse({ status: code, description }));
  Object.defineProperty(proto, 'handle', method);
  return CommandController;
}

/** A controller a command. `help` is the command line's own. */
export const REST_CONTROLLERS: readonly Type[] = COMMANDS.filter((command) => (command.run || command.stream) && !command.local).map(controllerFor);
