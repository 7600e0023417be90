import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ToolPort } from './tool.port.js';

const LONGEST = 8192;
const GRACE_MS = 5000;

export class HostTools implements ToolPort {
  /** @param path folders in which programs are looked for, as in PATH */
  constructor(private readonly path = process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin') {}

  async find(program: string): Promise<string | null> {
    for (const folder of this.path.split(':').filter((part) => part.startsWith('/'))) {
      const file = join(folder, program);
      if (await access(file, constants.X_OK).then(() => true, () => false)) return file;
    }
    return null;
  }

  async run(program: string, args: readonly string[], { cwd, env, signal, onLine }: Parameters<ToolPort['run']>[2]): Promise<number | string> {
    signal.throwIfAborted();
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { PATH: this.path, HOME: cwd, LANG: 'C.UTF-8', ...env } });
    let killer: NodeJS.Timeout | undefined;
    const kill = (name: NodeJS.Signals): void => { try { if (child.pid !== undefined) process.kill(-child.pid, name); } catch { /* it has ended */ } };
    const stop = (): void => { kill('SIGTERM'); killer = setTimeout(() => kill('SIGKILL'), GRACE_MS); };
    signal.addEventListener('abort', stop, { once: true });
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', (line) => onLine(line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line));
    try {
      const ended = await new Promise<number | string>((resolve, reject) => { child.on('error', reject); child.on('close', (code, by) => resolve(code ?? by ?? 'unknown')); });
      signal.throwIfAborted();
      return ended;
    } finally {
      clearTimeout(killer);
      signal.removeEventListener('abort', stop);
    }
  }
}
