import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { EngineCalls } from './docker.call.js';
import type { EngineEvent, EventOptions, LogLine, LogOptions } from './engine.port.js';
import { labelFilter } from './labels.js';

/** A line longer than this is cut into several: a program that never ends its line must not fill our memory. */
const LONGEST_LINE = 1 << 20;

export interface Frame { readonly stream: 'stdout' | 'stderr'; readonly data: Buffer }

/** Takes the engine's multiplexed stream apart: 8 bytes of head (stream, length), then the data. */
export class Demuxer {
  private buffer: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.buffer = this.buffer.length === 0 ? chunk : Buffer.concat([this.buffer, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (this.buffer.length - at >= 8) {
      const length = this.buffer.readUInt32BE(at + 4);
      if (this.buffer.length - at - 8 < length) break;
      frames.push({ stream: this.buffer[at] === 2 ? 'stderr' : 'stdout', data: this.buffer.subarray(at + 8, at + 8 + length) });
      at += 8 + length;
    }
    this.buffer = this.buffer.subarray(at);
    return frames;
  }
}

/** Lines out of the pieces of one stream; UTF-8 may be split between pieces. */
export class LineSplitter {
  private readonly decoder = new StringDecoder('utf8');
  private rest = '';

  push(data: Buffer): string[] {
    const lines = (this.rest + this.decoder.write(data)).split('\n');
    this.rest = lines.pop() ?? '';
    if (this.rest.length > LONGEST_LINE) {
      lines.push(this.rest);
      this.rest = '';
    }
    return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  }

  end(): string[] {
    const rest = this.rest + this.decoder.end();
    this.rest = '';
    return rest === '' ? [] : [rest];
  }
}

/** Joins frames that carry a time stamp each; the engine cuts long lines into frames of 16 KiB, each with its own stamp. */
export class StampedLines {
  private readonly open = new Map<string, { at: string; parts: Buffer[]; size: number }>();

  push({ stream, data }: Frame): LogLine[] {
    const space = data.indexOf(0x20);
    const at = data.toString('latin1', 0, space);
    const body = data.subarray(space + 1);
    const ended = body.at(-1) === 0x0a;
    const open = this.open.get(stream) ?? { at, parts: [], size: 0 };
    open.parts.push(ended ? body.subarray(0, -1) : Buffer.from(body));
    open.size += body.length;
    if (!ended && open.size < LONGEST_LINE) {
      this.open.set(stream, open);
      return [];
    }
    this.open.delete(stream);
    return [{ stream, at: open.at, text: Buffer.concat(open.parts).toString('utf8').replace(/\r$/, '') }];
  }

  end(): LogLine[] {
    const lines = [...this.open].map(([stream, open]) => ({ stream: stream as LogLine['stream'], at: open.at, text: Buffer.concat(open.parts).toString('utf8') }));
    this.open.clear();
    return lines;
  }
}

export class DockerLogs {
  constructor(private readonly calls: EngineCalls) {}

  async *logs(id: string, options: LogOptions): AsyncGenerator<LogLine> {
    const { signal } = options;
    if (signal?.aborted) return;
    const query = { stdout: true, stderr: true, timestamps: true, ...(options.since === undefined ? {} : { since: options.since }), ...(options.tail === undefined ? {} : { tail: options.tail }) } as object;
    // without `follow` dockerode answers a Buffer that is still multiplexed
    const answer = await this.calls.find<unknown>('container.logs', id.slice(0, 12), (docker) => (docker.getContainer(id) as unknown as { logs(options: object): Promise<unknown> }).logs({ ...query, follow: options.follow, ...(signal ? { abortSignal: signal } : {}) }));
    if (answer === null) return;
    const demuxer = new Demuxer();
    const lines = new StampedLines();
    try {
      const chunks = Buffer.isBuffer(answer) ? [answer] : (answer as AsyncIterable<Buffer>);
      for await (const chunk of chunks) for (const frame of demuxer.push(chunk)) yield* lines.push(frame);
    } catch (error) {
      if (signal?.aborted) return;
      throw this.calls.lostStream(`the log of ${id.slice(0, 12)}`, error);
    }
    yield* lines.end();
  }

  async *events(options: EventOptions): AsyncGenerator<EngineEvent> {
    const { signal } = options;
    if (signal?.aborted) return;
    const filters = { label: labelFilter(options.labels), ...(options.actions ? { event: [...options.actions] } : {}) };
    const query = { filters, ...(options.since === undefined ? {} : { since: (options.since / 1000).toFixed(3) }), ...(signal ? { abortSignal: signal } : {}) };
    const stream = await this.calls.run('events', undefined, (docker) => (docker as unknown as { getEvents(options: object): Promise<Readable> }).getEvents(query));
    const splitter = new LineSplitter();
    let cause: unknown;
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) for (const line of splitter.push(chunk)) if (line.trim()) yield toEvent(JSON.parse(line) as RawEvent);
    } catch (error) {
      cause = error;
    }
    if (signal?.aborted) return;
    throw this.calls.lostStream('its events', cause);
  }
}

interface RawEvent { readonly Type: EngineEvent['type']; readonly Action: string; readonly Actor: { readonly ID: string; readonly Attributes?: Record<string, string> }; readonly time: number; readonly timeNano?: number }

function toEvent(raw: RawEvent): EngineEvent {
  const attributes = raw.Actor.Attributes ?? {};
  const ours = Object.entries(attributes).filter(([name]) => name.startsWith('berth.'));
  return {
    type: raw.Type, action: raw.Action, id: raw.Actor.ID, labels: Object.fromEntries(ours),
    exitCode: attributes['exitCode'] === undefined ? null : Number(attributes['exitCode']), at: raw.timeNano ? raw.timeNano / 1e6 : raw.time * 1000,
  };
}

