import { spawn, type ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

export interface GitProcess {
  readonly child: ChildProcessByStdio<Writable | null, Readable, Readable>;
  /** the exit code (128 + n for a signal) and the end of what git said on stderr; rejects when git does not start or was aborted */
  readonly ended: Promise<{ code: number; stderr: string }>;
  /** ends git and everything it started */
  kill(): void;
}

export interface GitSpawn {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly user: { readonly uid: number; readonly gid: number } | null;
  readonly signal?: AbortSignal;
  /** git reads from `child.stdin` */
  readonly input?: boolean;
}

/** What every git gets: no configuration but the repository's own (which is ours), no replaced objects, no prompts. */
export function gitEnvironment(home: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin', HOME: home, LC_ALL: 'C.UTF-8', LANGUAGE: 'en',
    GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_ATTR_NOSYSTEM: '1', GIT_NO_REPLACE_OBJECTS: '1', GIT_OPTIONAL_LOCKS: '0',
  };
}

const STDERR_KEPT = 8 * 1024;

/** git with an argument array, in a process group of its own, its stdout a stream of bytes. */
export function spawnGit(args: readonly string[], { cwd, env, user, signal, input = false }: GitSpawn): GitProcess {
  const child = spawn('git', args, { cwd, env, stdio: [input ? 'pipe' : 'ignore', 'pipe', 'pipe'], detached: true, ...user }) as GitProcess['child'];
  const kill = (): void => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // it has just ended
    }
  };
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr = (stderr + text).slice(-STDERR_KEPT); });
  const ended = new Promise<{ code: number; stderr: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (signal?.aborted) reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
      else resolve({ code: code ?? 137, stderr: stderr.trim() });
    });
  });
  ended.catch(() => {}); // whoever waits for it hears of it
  if (signal) {
    if (signal.aborted) kill();
    signal.addEventListener('abort', kill, { once: true });
    child.once('close', () => { signal.removeEventListener('abort', kill); });
  }
  return { child, ended, kill };
}
