import type { EnginePort, Exec, ExecIo } from './engine.port.js';

/** pieces that wait for a slow reader before the program is told to wait */
const HELD = 8;

/** Runs a program: what it prints, read no faster than it is taken, and how it ended, once all was read. Who stops reading cuts it off. */
export function execOutput(engine: Pick<EnginePort, 'exec'>, container: string, exec: Exec, { signal, ...io }: Omit<ExecIo, 'stdout'>): { readonly output: AsyncGenerator<Buffer>; readonly ended: ReturnType<EnginePort['exec']> } {
  const over = new AbortController();
  const pipe = new TransformStream<Buffer, Buffer>(undefined, { highWaterMark: HELD }, { highWaterMark: HELD });
  const writer = pipe.writable.getWriter();
  const ended = engine.exec(container, exec, { ...io, signal: AbortSignal.any([signal, over.signal]), stdout: async (piece) => { await writer.ready; await writer.write(piece); } }).then(async (end) => {
    await writer.close();
    return end;
  });
  ended.catch((error: unknown) => writer.abort(error).catch(() => undefined)); // whoever reads is told
  const output = async function* (): AsyncGenerator<Buffer> {
    try {
      yield* pipe.readable as unknown as AsyncIterable<Buffer>;
      await ended;
    } finally {
      over.abort();
    }
  };
  return { output: output(), ended };
}
