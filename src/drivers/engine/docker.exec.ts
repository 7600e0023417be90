import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { EngineCalls } from './docker.call.js';
import { Demuxer } from './docker.logs.js';
import type { Exec, ExecIo } from './engine.port.js';

/** bytes of stderr that are kept, the last ones */
const STDERR_KEPT = 16_384;

/** Programs in running containers. Without a TTY, so that what they print comes through as it is. */
export class DockerExec {
  constructor(private readonly calls: EngineCalls) {}

  async run(container: string, { argv, user, env }: Exec, { stdin, stdout, signal }: ExecIo): Promise<{ exitCode: number; stderr: string }> {
    signal.throwIfAborted();
    const started = performance.now();
    const exec = await this.calls.run('exec.create', argv[0], (docker) => docker.getContainer(container).exec({
      Cmd: [...argv], ...(user !== undefined && { User: user }), Env: Object.entries(env ?? {}).map(([name, value]) => `${name}=${value}`), AttachStdin: stdin !== undefined, AttachStdout: true, AttachStderr: true, Tty: false,
    }));
    const socket = await this.calls.run('exec.start', argv[0], async () => (await exec.start({ hijack: true, stdin: stdin !== undefined, Detach: false, Tty: false })) as unknown as Duplex);
    const cut = (): void => { socket.destroy(); };
    signal.addEventListener('abort', cut);
    let fed: unknown = null;
    // what feeds it broke: the program must not take a part for the whole
    if (stdin !== undefined) feed(socket, stdin).catch((error: unknown) => { fed = error; cut(); });
    let stderr = '';
    let broken: unknown = null;
    try {
      const demuxer = new Demuxer();
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        for (const frame of demuxer.push(chunk)) {
          if (frame.stream === 'stdout') await stdout?.(frame.data);
          else stderr = (stderr + frame.data.toString()).slice(-STDERR_KEPT);
        }
      }
    } catch (error) {
      broken = error;
    } finally {
      signal.removeEventListener('abort', cut);
      socket.destroy();
    }
    signal.throwIfAborted();
    await turnOfTheLoop();
    // a program may end before it has read everything: its exit code says what that means
    if (fed !== null && !(fed instanceof Unread)) throw fed as Error;
    if (broken !== null && !isReset(broken)) throw this.calls.translate(broken);
    const { ExitCode } = await this.calls.run('exec.inspect', argv[0], () => exec.inspect());
    this.calls.report('exec', performance.now() - started, argv[0]);
    // null: its container was killed, or the engine died and came back
    return { exitCode: ExitCode ?? 137, stderr };
  }
}

/** The program took no more. */
class Unread extends Error {}
const isReset = (error: unknown): boolean => ['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE'].includes((error as NodeJS.ErrnoException).code ?? '');

/** No faster than it is taken; half of the connection is closed at the end, which is the program's end of file. */
async function feed(socket: Duplex, pieces: AsyncIterable<Buffer>): Promise<void> {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  for await (const piece of pieces) {
    if (socket.destroyed || socket.writableEnded) throw new Unread('it ended');
    if (!socket.write(piece)) await once(socket, 'drain', { signal: closed.signal }).catch(() => { throw new Unread('it ended'); });
  }
  socket.end();
}
