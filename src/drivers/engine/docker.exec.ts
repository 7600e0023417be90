import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type Docker from 'dockerode';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { EngineCalls } from './docker.call.js';
import { Demuxer } from './docker.logs.js';
import type { Exec, ExecIo, TerminalSize } from './engine.port.js';

/** bytes of stderr that are kept, the last ones */
const STDERR_KEPT = 16_384;

/** Programs in running containers. Without a TTY, unless somebody sits at one, so that what they print comes through as it is. */
export class DockerExec {
  constructor(private readonly calls: EngineCalls) {}

  async run(container: string, { argv, user, env }: Exec, { stdin, terminal, stdout, signal }: ExecIo): Promise<{ exitCode: number; stderr: string }> {
    signal.throwIfAborted();
    const started = performance.now();
    const exec = await this.calls.run('exec.create', argv[0], (docker) => docker.getContainer(container).exec({
      Cmd: [...argv], ...(user !== undefined && { User: user }), Env: Object.entries({ ...env, ...(terminal && { TERM: terminal.term }) }).map(([name, value]) => `${name}=${value}`),
      AttachStdin: stdin !== undefined || terminal !== undefined, AttachStdout: true, AttachStderr: true, Tty: terminal !== undefined,
    }));
    const socket = await this.calls.run('exec.start', argv[0], async () => (await exec.start({ hijack: true, stdin: stdin !== undefined || terminal !== undefined, Detach: false, Tty: terminal !== undefined })) as unknown as Duplex);
    const cut = (): void => { socket.destroy(); };
    signal.addEventListener('abort', cut);
    let fed: unknown = null;
    // what feeds it broke: the program must not take a part for the whole
    if (stdin !== undefined) feed(socket, stdin).catch((error: unknown) => { fed = error; cut(); });
    if (terminal) attend(exec, socket, terminal).catch(() => cut()); // its keys are gone, and so is who typed them
    let stderr = '';
    let broken: unknown = null;
    try {
      const demuxer = new Demuxer();
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        if (terminal) await stdout?.(chunk);
        else for (const frame of demuxer.push(chunk)) {
          if (frame.stream === 'stdout') await stdout?.(frame.data);
          else stderr = (stderr + frame.data.toString()).slice(-STDERR_KEPT);
        }
      }
    } catch (error) {
      broken = error;
    } finally {
      signal.removeEventListener('abort', cut);
      socket.destroy();
      if (terminal) await hangUp(exec);
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

/** What is typed goes to the program, and it hears of the window's size. */
async function attend(exec: Docker.Exec, socket: Duplex, { columns, rows, typed }: NonNullable<ExecIo['terminal']>): Promise<void> {
  const resize = (size: TerminalSize): Promise<unknown> => exec.resize({ w: size.columns, h: size.rows }).catch(() => null); // it has ended
  await resize({ columns, rows });
  for await (const piece of typed()) {
    if (socket.destroyed) return;
    if (Buffer.isBuffer(piece)) socket.write(piece);
    else await resize(piece);
  }
  socket.end();
}

/** A program goes on when its terminal is cut off from the engine: it is told as any terminal that goes away tells it. */
async function hangUp(exec: Docker.Exec): Promise<void> {
  const { Running, Pid } = await exec.inspect().catch(() => ({ Running: false, Pid: 0 }));
  try {
    if (Running && Pid > 0) process.kill(Pid, 'SIGHUP');
  } catch {
    // it has ended
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
