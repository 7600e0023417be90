import type Docker from 'dockerode';
import { StepFailure } from '../../events/step.js';
import { statusOf } from './engine.errors.js';
import type { CallObserver } from './engine.port.js';

const TIMEOUT_MS = 60_000;
const DOWN = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE', 'EACCES']);

/** One engine connection as the topics see it: named calls with a time limit, reported, with errors made ours. */
export class EngineCalls {
  constructor(readonly docker: Docker, readonly socket: string, private readonly observer: CallObserver | null) {}

  /**
   * @param name `container.start`
   * @param detail what it is about: a name, a tag
   * @param timeoutMs a call whose answer never ends is given up; docker-modem does not notice an engine that dies after the headers
   */
  async run<T>(name: string, detail: string | undefined, work: (docker: Docker) => Promise<T>, timeoutMs = TIMEOUT_MS): Promise<T> {
    const started = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StepFailure('engine.down', `the Docker engine did not answer ${name} within ${timeoutMs / 1000} s`, 'look at `journalctl -u docker`', 'machine')), timeoutMs);
    });
    try {
      return await Promise.race([work(this.docker), late]);
    } catch (error) {
      throw this.translate(error);
    } finally {
      clearTimeout(timer);
      this.report(name, performance.now() - started, detail);
    }
  }

  report(name: string, ms: number, detail?: string): void {
    this.observer?.(name, ms, detail);
  }

  /** Like `run`, but not found (404) is null. */
  async find<T>(name: string, detail: string | undefined, work: (docker: Docker) => Promise<T>, timeoutMs = TIMEOUT_MS): Promise<T | null> {
    return this.run(name, detail, work, timeoutMs).catch((error: unknown) => {
      if (statusOf(error) === 404) return null;
      throw error;
    });
  }

  /** Connection trouble becomes StepFailure `engine.down`; the rest stays. */
  translate(error: unknown): unknown {
    if (error instanceof StepFailure || statusOf(error) !== null) return error;
    const { code, syscall, message } = error as NodeJS.ErrnoException;
    if (syscall === 'connect' && code === 'EACCES') {
      return new StepFailure('engine.down', `we may not talk to the Docker engine on ${this.socket}`, 'let the worker run as root or in the group docker', 'machine', { cause: error });
    }
    const lost = message === 'socket hang up' || message === 'aborted';
    if (lost || (code !== undefined && DOWN.has(code) && (syscall === 'connect' || syscall === 'read' || syscall === 'write'))) {
      return new StepFailure('engine.down', `the Docker engine does not answer on ${this.socket}`, 'start it: systemctl start docker', 'machine', { cause: error });
    }
    return error;
  }

  lostStream(what: string, cause?: unknown): StepFailure {
    return new StepFailure('engine.stream-lost', `the Docker engine cut off ${what}`, 'read it again from the last line', 'machine', cause === undefined ? undefined : { cause });
  }
}
