import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** What the engine tells while it builds, pulls or loads. */
export interface EngineMessage {
  readonly id?: string; readonly status?: string; readonly stream?: string;
  readonly aux?: string | { ID?: string };
  readonly error?: string; readonly errorDetail?: { code?: number; message?: string };
}

/** One JSON value a line; errors of the stream are thrown (readline swallows them). */
export async function* messages(stream: Readable): AsyncGenerator<EngineMessage> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim()) yield JSON.parse(line) as EngineMessage;
  }
  if (rest.trim()) yield JSON.parse(rest) as EngineMessage;
}
