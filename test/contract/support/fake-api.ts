import { rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { encode, Frames, FRAMES, headOf, type ClientFrame, type CliRequest, type GitOpenReply, type GitOpenRequest, type GitPushRequest, type ServerFrame } from '../../../src/cli/protocol.js';

/** One command in the hands of a test: what the client said, and what it shall hear. */
export class Talk {
  private readonly frames: (ClientFrame | Buffer)[] = [];
  private wake: (() => void) | null = null;
  closed = false;
  beats: () => void = () => {};
  /** the client's reader is slow: it hears nothing and says that it is there */
  readonly waits = new Promise<void>((resolve) => { this.beats = resolve; });
  readonly gone: Promise<void>;

  constructor(readonly hello: CliRequest, readonly reply: ServerResponse) {
    this.gone = new Promise((resolve) => {
      reply.on('close', () => {
        this.closed = true;
        resolve();
        this.wake?.();
      });
    });
  }

  heard(frame: ClientFrame | Buffer): void {
    this.frames.push(frame);
    this.wake?.();
  }

  send(...frames: ServerFrame[]): void {
    for (const frame of frames) this.reply.write(encode(frame));
  }

  /** Bytes for standard output; false when the client takes no more for now. */
  bytes(piece: Buffer): boolean {
    this.reply.write(headOf(piece));
    return this.reply.write(piece);
  }

  /** The client's next frame. */
  async next(): Promise<ClientFrame | Buffer> {
    for (;;) {
      const frame = this.frames.shift();
      if (frame) return frame;
      if (this.closed) throw new Error('the client is gone');
      await new Promise<void>((resolve) => { this.wake = resolve; });
    }
  }

  /** Everything the client sends until it says end or error. */
  async all(onPiece: (piece: Buffer) => void): Promise<string | null> {
    for (;;) {
      const frame = await this.next();
      if (Buffer.isBuffer(frame)) onPiece(frame);
      else return 'error' in frame ? frame.error : null;
    }
  }
}

export interface Script {
  cli?: (talk: Talk) => Promise<void> | void;
  open?: (request: GitOpenRequest) => GitOpenReply | { status: number; body: unknown };
  push?: (request: GitPushRequest, reply: ServerResponse) => Promise<void> | void;
  /** answers everything */
  raw?: (request: IncomingMessage, reply: ServerResponse) => void;
}

/** The API's side of the wire, for the tests of the programs: real sockets, answers by script. */
export class FakeApi {
  script: Script = {};
  private server: Server | null = null;

  constructor(readonly socketPath: string) {}

  async listen(): Promise<void> {
    rmSync(this.socketPath, { force: true });
    const server = createServer((request, reply) => { this.answer(request, reply); });
    server.requestTimeout = 0;
    this.server = server;
    await new Promise<void>((resolve) => { server.listen(this.socketPath, resolve); });
  }

  /** As a killed API: every connection drops. */
  async close(): Promise<void> {
    const { server } = this;
    if (server === null) return;
    this.server = null;
    server.closeAllConnections();
    await new Promise((resolve) => { server.close(resolve); });
  }

  private answer(request: IncomingMessage, reply: ServerResponse): void {
    if (this.script.raw) return this.script.raw(request, reply);
    if (request.url === '/v1/cli') return this.cli(request, reply);
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => { body += piece; });
    request.on('end', () => {
      if (request.url === '/v1/git/open') {
        const answer = this.script.open?.(JSON.parse(body) as GitOpenRequest) ?? { status: 404, body: { message: 'no script' } };
        const [status, content] = 'status' in answer ? [answer.status, answer.body] : [200, answer];
        reply.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(content));
      } else {
        reply.writeHead(200, { 'content-type': 'application/x-ndjson' }).flushHeaders();
        void this.script.push?.(JSON.parse(body) as GitPushRequest, reply);
      }
    });
  }

  private cli(request: IncomingMessage, reply: ServerResponse): void {
    const frames = new Frames();
    let talk: Talk | null = null;
    request.on('data', (piece: Buffer) => {
      for (const frame of frames.push(piece)) {
        if (frame === '') {
          talk?.beats();
          continue;
        }
        if (talk === null) {
          reply.writeHead(200, { 'content-type': FRAMES }).flushHeaders();
          talk = new Talk(JSON.parse(String(frame)) as CliRequest, reply);
          void Promise.resolve(this.script.cli?.(talk)).catch(() => {});
        } else {
          talk.heard(typeof frame === 'string' ? JSON.parse(frame) as ClientFrame : frame);
        }
      }
    });
    request.on('error', () => {});
  }
}
