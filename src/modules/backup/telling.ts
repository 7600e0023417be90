import type { StreamItem } from '../commands/command.js';

/** How a long piece of work says what it is doing. */
export interface Say {
  info(text: string): void;
  detail(text: string): void;
  warn(text: string): void;
  /** bytes for standard output; resolves when they are on their way */
  bytes(piece: Buffer): Promise<void>;
}

/** Work that speaks, as a stream of items: `info`, `detail`, `warn`, `bytes`, and `end` with the exit code. */
export async function* telling(work: (say: Say) => Promise<number>): AsyncGenerator<StreamItem> {
  const queue: { event: string; data: unknown; taken?: () => void }[] = [];
  let wake: () => void = () => {};
  let id = 0;
  let over = false;
  let gone = false;
  const put = (event: string, data: unknown, taken?: () => void): void => {
    if (gone) return taken?.();
    queue.push({ event, data, ...(taken && { taken }) });
    wake();
  };
  const done = work({
    info: (text) => put('info', text), detail: (text) => put('detail', text), warn: (text) => put('warn', text),
    bytes: (piece) => new Promise((taken) => put('bytes', piece, taken)),
  }).finally(() => { over = true; wake(); });
  done.catch(() => {}); // thrown below
  try {
    for (;;) {
      for (let item = queue.shift(); item; item = queue.shift()) {
        id += 1;
        yield { id: String(id), event: item.event, data: item.data };
        item.taken?.();
      }
      if (over) break;
      await new Promise<void>((resolve) => { wake = resolve; });
    }
  } finally {
    gone = true;
    for (const item of queue.splice(0)) item.taken?.();
  }
  yield { id: String(id + 1), event: 'end', data: await done };
}
