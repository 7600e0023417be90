import { createConnection } from 'node:net';
import { Frames, headOf } from './protocol.js';

/** how often a client that hears nothing says that it is there, ms */
const HEARTBEAT_MS = 1000;

/** What a caller of the door hears. Exactly one of `end` and `fail` is called, once. */
export interface DoorEvents {
  /** the reply's status, before any line of it */
  status(code: number): void;
  /** one line of the reply's body, heartbeats left out */
  line(text: string): void;
  /** a piece of the bytes between two lines */
  bytes?(piece: Buffer): void;
  /** the reply is over or the connection is; lines may be missing */
  end(): void;
  /** no connection came to be: `ENOENT`, `ECONNREFUSED`, `EACCES`, … */
  fail(code: string): void;
}

/** One request at the API's socket whose two bodies stream. */
export interface Door {
  /** a line, or bytes; false when more should wait for `drained` */
  send(content: string | Buffer): boolean;
  drained(then: () => void): void;
  /** Stop and go on hearing. That the connection was lost is found out meanwhile, too: what was not heard yet is lost with it. */
  pause(): void;
  resume(): void;
  close(): void;
}

/**
 * HTTP/1.1 POST over a unix socket, by hand: `node:http` would cost a third of the whole start-up time of the client.
 * @param body the whole body, or null when `send` shall stream it
 */
export function openDoor(socketPath: string, path: string, type: string, body: string | null, events: DoorEvents): Door {
  const socket = createConnection(socketPath);
  const reply = new ReplyReader();
  const frames = new Frames();
  let beat: NodeJS.Timeout | null = null;
  let connected = false;
  let over = false;
  const finish = (tell: () => void): void => {
    if (over) return;
    const rest = frames.end();
    if (rest !== '') events.line(rest);
    over = true;
    if (beat) clearInterval(beat);
    socket.destroy();
    tell();
  };
  // head and first line in one piece: an API that refuses by the head alone closes, and a second write would meet that and lose the reply
  socket.cork();
  process.nextTick(() => { socket.uncork(); });
  const head = `POST ${path} HTTP/1.1\r\nHost: berth\r\nContent-Type: ${type}\r\nConnection: close\r\n`;
  if (body === null) socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
  else socket.write(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  socket.on('connect', () => { connected = true; });
  socket.on('data', (piece: Buffer) => {
    try {
      const known = reply.status;
      const parts = reply.push(piece);
      if (known === 0 && reply.status !== 0) events.status(reply.status);
      for (const part of parts) {
        for (const frame of frames.push(part)) {
          if (over) return;
          if (typeof frame !== 'string') events.bytes?.(frame);
          else if (frame !== '') events.line(frame);
        }
      }
    } catch {
      finish(events.end);
    }
    if (reply.done) finish(events.end);
  });
  socket.on('end', () => finish(events.end));
  socket.on('error', (error: NodeJS.ErrnoException) => finish(() => (connected ? events.end() : events.fail(error.code ?? error.message))));
  socket.on('close', () => finish(events.end));
  const send = (content: string | Buffer): boolean => {
    if (over) return true;
    if (typeof content === 'string') return socket.write(`${Buffer.byteLength(content).toString(16)}\r\n${content}\r\n`);
    const line = headOf(content);
    socket.cork();
    socket.write(`${(line.length + content.length).toString(16)}\r\n${line}`);
    socket.write(content);
    const more = socket.write('\r\n');
    socket.uncork();
    return more;
  };
  return {
    send,
    drained: (then) => { socket.once('drain', then); },
    pause: () => {
      socket.pause();
      // nothing is read, so only writing can tell whether anybody is there still
      beat ??= setInterval(() => { if (socket.writableLength === 0) send('\n'); }, HEARTBEAT_MS);
    },
    resume: () => {
      if (beat) clearInterval(beat);
      beat = null;
      socket.resume();
    },
    close: () => {
      over = true;
      if (beat) clearInterval(beat);
      socket.destroy();
    },
  };
}

/** Takes an HTTP/1.1 reply apart: head, then a body that is chunked, counted, or ends with the connection. */
export class ReplyReader {
  status = 0;
  done = false;
  private held: Buffer = Buffer.alloc(0);
  private state: 'head' | 'size' | 'chunk' | 'chunk-end' | 'counted' | 'rest' = 'head';
  private left = 0;

  /** The parts of the body that this piece holds. */
  push(piece: Buffer): Buffer[] {
    let data = this.held.length === 0 ? piece : Buffer.concat([this.held, piece]);
    const parts: Buffer[] = [];
    this.held = Buffer.alloc(0);
    while (data.length > 0 && !this.done) {
      if (this.state === 'head') {
        const end = data.indexOf('\r\n\r\n');
        if (end === -1) return this.hold(data, parts);
        this.readHead(data.toString('latin1', 0, end));
        data = data.subarray(end + 4);
      } else if (this.state === 'size') {
        const end = data.indexOf('\r\n');
        if (end === -1) return this.hold(data, parts);
        const size = /^[0-9a-f]{1,12}/i.exec(data.toString('latin1', 0, end));
        if (size === null) throw new Error('not a chunk');
        this.left = Number.parseInt(size[0], 16);
        data = data.subarray(end + 2);
        if (this.left === 0) this.done = true;
        else this.state = 'chunk';
      } else if (this.state === 'chunk-end') {
        if (data.length < 2) return this.hold(data, parts);
        data = data.subarray(2);
        this.state = 'size';
      } else if (this.state === 'rest') {
        parts.push(data);
        break;
      } else {
        const part = data.subarray(0, this.left);
        parts.push(part);
        data = data.subarray(part.length);
        this.left -= part.length;
        if (this.left === 0 && this.state === 'chunk') this.state = 'chunk-end';
        else if (this.left === 0) this.done = true;
      }
    }
    return parts;
  }

  private hold(data: Buffer, parts: Buffer[]): Buffer[] {
    if (data.length > 64 * 1024) throw new Error('the head is too long');
    this.held = data;
    return parts;
  }

  private readHead(text: string): void {
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(text);
    if (status === null) throw new Error('not HTTP');
    const code = Number(status[1]);
    if (code < 200) return; // 100 Continue: the real head follows
    this.status = code;
    const length = /\r\ncontent-length:[ \t]*(\d+)/i.exec(text);
    if (/\r\ntransfer-encoding:[ \t]*chunked/i.test(text)) this.state = 'size';
    else if (length !== null) {
      this.left = Number(length[1]);
      this.state = 'counted';
      this.done = this.left === 0;
    } else this.state = 'rest';
  }
}
