import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Inject, Post, Req, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { encode, Frames, FRAMES, headOf, NDJSON, type ClientFrame, type CliRequest, type GitOpenRequest, type GitPushRequest, type ServerFrame } from '../../cli/protocol.js';
import { Rejected } from '../../events/decider.js';
import { Core } from '../core.js';
import { openRepository, PushDesk } from '../git/push.js';
import type { TerminalSize } from '../../drivers/engine/engine.port.js';
import { CliDoor, explain, type Caller } from './door.js';
import { REPORT, type Report } from './report.js';
import { originOf } from './origin.js';

const HEARTBEAT_MS = 10_000;
/** how long a caller may take to close once it was told the end, ms */
const CLOSE_MS = 5000;

/** A streamed reply: frames, heartbeats, and a signal that says the caller went away. */
class FrameStream {
  private readonly gone = new AbortController();
  private readonly beat: NodeJS.Timeout;

  constructor(private readonly response: ServerResponse, type: string) {
    response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' });
    response.flushHeaders();
    response.on('close', () => this.gone.abort());
    response.on('error', () => this.gone.abort());
    this.beat = setInterval(() => response.write('\n'), HEARTBEAT_MS);
  }

  get signal(): AbortSignal {
    return this.gone.signal;
  }

  send(frame: ServerFrame): void {
    if (!this.gone.signal.aborted) this.response.write(encode(frame));
  }

  bytes(piece: Buffer): void {
    if (this.gone.signal.aborted || piece.length === 0) return;
    // not corked: Node would no longer say when the reader is slow
    this.response.write(headOf(piece));
    this.response.write(piece);
  }

  async drained(): Promise<void> {
    if (this.response.writableNeedDrain && !this.gone.signal.aborted) await Promise.race([once(this.response, 'drain'), once(this.response, 'close')]);
  }

  end(exit: number): void {
    clearInterval(this.beat);
    this.send({ exit });
    this.response.end();
  }

  /** The same for a caller that may be sending still: who closes with input unread costs it the last frames. @param silent for how long it was not heard, ms; Infinity: it has sent all there is */
  async endAfterCaller(exit: number, silent: () => number): Promise<void> {
    clearInterval(this.beat);
    this.send({ exit });
    const told = performance.now();
    await new Promise<void>((resolve) => {
      if (this.gone.signal.aborted || silent() === Infinity) return resolve();
      const watch = setInterval(() => { if (Math.min(performance.now() - told, silent()) > CLOSE_MS) done(); }, 1000).unref();
      const done = (): void => { clearInterval(watch); resolve(); };
      this.response.once('close', done);
    });
    this.response.end();
  }
}

/** As a program takes it, whatever the client says. */
const sizeOf = (columns: unknown, rows: unknown): TerminalSize => ({ columns: within(columns, 80), rows: within(rows, 24) });
const within = (value: unknown, fallback: number): number => (Number.isInteger(value) && (value as number) > 0 && (value as number) < 1000 ? value as number : fallback);

/** bytes that wait for a slow reader before the caller is told to wait */
const HELD = 1 << 20;

/** What the caller sends while its command runs: answered one question at a time. */
class CallerInput {
  private readonly frames: { readonly frame: ClientFrame | Buffer; readonly size: number }[] = [];
  private held = 0;
  private heard = performance.now();
  private dropping = false;
  private wake: () => void = () => {};
  private over = false;

  constructor(private readonly request: IncomingMessage, first: (line: string) => void) {
    const cut = new Frames();
    let started = false;
    const take = (frame: string | Buffer): void => {
      if (frame === '') return;
      if (!started) {
        started = true;
        first(String(frame));
      } else if (!this.dropping) {
        this.frames.push({ frame: typeof frame === 'string' ? JSON.parse(frame) as ClientFrame : frame, size: frame.length });
        this.held += frame.length;
      }
    };
    request.on('data', (piece: Buffer) => {
      this.heard = performance.now();
      try {
        cut.push(piece).forEach(take);
      } catch {
        return void request.destroy(); // none of our programs
      }
      if (this.held >= HELD) request.pause();
      this.wake();
    });
    const end = (): void => { this.over = true; this.wake(); };
    request.on('end', end);
    request.on('error', end);
    request.on('close', end);
  }

  /** for how long nothing came, ms; Infinity: nothing can come any more */
  silent(): number {
    return this.over ? Infinity : performance.now() - this.heard;
  }

  private async next(): Promise<ClientFrame | Buffer> {
    for (;;) {
      const next = this.frames.shift();
      this.held -= next?.size ?? 0;
      if (this.held < HELD / 2 && this.request.isPaused()) this.request.resume();
      if (next) return next.frame;
      if (this.over) throw new Rejected('input.gone', 'the caller went away');
      await new Promise<void>((resolve) => { this.wake = resolve; });
    }
  }

  /** Piece by piece, no faster than they are taken. */
  async *pieces(): AsyncGenerator<Buffer> {
    for (;;) {
      const frame = await this.next();
      if (Buffer.isBuffer(frame)) yield frame;
      else if ('end' in frame) return;
      else if ('error' in frame) throw new Rejected('input.file', frame.error);
    }
  }

  /** What is typed at a terminal, until it is gone. */
  async *typed(): AsyncGenerator<Buffer | TerminalSize> {
    for (;;) {
      const frame = await this.next();
      if (Buffer.isBuffer(frame)) yield frame;
      else if ('end' in frame || 'error' in frame) return;
      else if ('size' in frame) yield sizeOf(frame.size[0], frame.size[1]);
    }
  }

  async bytes(limit: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of this.pieces()) {
      size += piece.length;
      if (size > limit) throw new Rejected('input.size', `More than ${limit} bytes were given, which is too much here`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces);
  }

  /** The command is over: what still comes is read and forgotten, so that the caller hears the end. */
  drop(): void {
    this.dropping = true;
    this.frames.length = 0;
    this.held = 0;
    this.request.resume();
  }

  async answer(): Promise<string> {
    for (;;) {
      const frame = await this.next();
      if (Buffer.isBuffer(frame)) continue;
      if ('answer' in frame) return frame.answer;
      if ('error' in frame) throw new Rejected('input.no-terminal', 'There is no terminal to ask at', 'say --force');
    }
  }
}

/** The doors of the small programs: `berth`, the SSH shell and the git hook. Only on the unix sockets. */
@ApiExcludeController()
@Controller('v1')
export class CliController {
  private readonly door: CliDoor;
  private readonly desk: PushDesk;

  constructor(@Inject(Core) private readonly core: Core, @Inject(REPORT) private readonly report: Report) {
    this.door = new CliDoor(core, report);
    this.desk = new PushDesk(core);
  }

  @Post('cli')
  async cli(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const origin = originOf(request.raw);
    if (origin === 'http') return void reply.code(404).send({ message: 'the command line door is on the unix socket only' });
    if (!request.headers['content-type']?.startsWith(FRAMES)) return void reply.code(409).send({ message: "This program is of another version than Berth's API", hint: 'use the one that was installed with it, or run deploy/bootstrap.sh again' });
    reply.hijack();
    const stream = new FrameStream(reply.raw, FRAMES);
    const asked = await new Promise<{ line: string; input: CallerInput } | null>((resolve) => {
      const input: CallerInput = new CallerInput(request.raw, (line) => queueMicrotask(() => resolve({ line, input })));
      request.raw.on('close', () => resolve(null));
    });
    if (!asked) return;
    let exit = 1;
    try {
      const call = JSON.parse(asked.line) as CliRequest;
      if (!Array.isArray(call.argv) || !call.argv.every((word) => typeof word === 'string')) throw new Rejected('cli.request', 'argv is not a list of words');
      const actor = origin === 'ssh' ? (call.as ?? 'key:?') : `root@${this.core.config.host}`;
      if (origin === 'ssh' && !/^key:[A-Za-z0-9._@-]{1,64}$/.test(actor)) throw new Rejected('cli.actor', 'the SSH shell did not say whose key it was');
      const caller: Caller = {
        argv: call.argv, origin, actor, columns: Number(call.columns) || 0, color: call.color === true, hasStdin: call.stdin === true, signal: stream.signal,
        ...(call.terminal && {
          terminal: {
            ...sizeOf(call.columns, call.terminal.rows), term: /^[\w.+-]{1,40}$/.test(call.terminal.term) ? call.terminal.term : 'dumb',
            typed: () => { stream.send({ need: 'terminal' }); return asked.input.typed(); },
          },
        }),
        write: (channel, content) => (typeof content !== 'string' ? stream.bytes(content) : stream.send(channel === 'o' ? { o: content } : { e: content })),
        drained: () => stream.drained(),
        read: (what, limit) => { stream.send(what); return asked.input.bytes(limit); },
        pieces: () => { stream.send({ need: 'stdin' }); return asked.input.pieces(); },
        answer: (ask, hidden) => { stream.send({ ask, ...(hidden && { hidden }) }); return asked.input.answer(); },
      };
      exit = await this.door.run(caller);
    } catch (error) {
      stream.send({ e: ` !     ${explain(error).message}\n` });
    }
    asked.input.drop();
    await stream.endAfterCaller(exit, () => asked.input.silent());
  }

  @Post('git/open')
  async open(@Req() request: FastifyRequest<{ Body: GitOpenRequest }>, @Res() reply: FastifyReply): Promise<void> {
    if (originOf(request.raw) === 'http') return void reply.code(404).send({ message: 'git comes over SSH' });
    try {
      reply.code(200).send(await openRepository(this.core, request.body));
    } catch (error) {
      const { message, hint, ours } = explain(error);
      if (ours) this.report('git/open', error);
      reply.code(ours ? 503 : 422).send({ message, hint });
    }
  }

  @Post('git/push')
  async push(@Req() request: FastifyRequest<{ Body: GitPushRequest }>, @Res() reply: FastifyReply): Promise<void> {
    if (originOf(request.raw) === 'http') return void reply.code(404).send({ message: 'git comes over SSH' });
    reply.hijack();
    const stream = new FrameStream(reply.raw, NDJSON);
    let exit = 1;
    try {
      exit = await this.desk.push(request.body, { output: (text) => stream.send({ o: text }), note: (text) => stream.send({ note: text }) }, stream.signal);
    } catch (error) {
      const { message, hint, ours } = explain(error);
      if (ours) this.report('git/push', error);
      stream.send({ o: ` !     ${message}\n${hint ? ` !     ${hint}\n` : ''}` });
    }
    stream.end(exit);
  }
}
