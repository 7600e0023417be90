import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How stack-build ended; `complaints`: what it said on stderr, the reason first, what to do last. */
export interface StackBuilt { readonly code: number | string; readonly complaints: readonly string[] }

/**
 * Runs `dist/stack-build.mjs`; runs that overlap wait for each other in it. An abort ends it and what it started, and throws the signal's reason.
 * @param args images or parts, `--force`, `--all`, `--verbose`
 */
export async function runStackBuild(program: string, args: readonly string[], onLine: (line: string, stream: 'stdout' | 'stderr') => void, signal: AbortSignal): Promise<StackBuilt> {
  signal.throwIfAborted();
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  const complaints: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => onLine(line, 'stdout'));
  createInterface({ input: child.stderr }).on('line', (line) => { complaints.push(line.replace(/^ !\s+/, '').trim()); onLine(line, 'stderr'); });
  const code = await new Promise<number | string>((resolve, reject) => { child.on('error', reject); child.on('close', (exit, by) => resolve(exit ?? by ?? 'unknown')); }).finally(() => signal.removeEventListener('abort', stop));
  signal.throwIfAborted();
  return { code, complaints };
}
