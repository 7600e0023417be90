import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '..', '..', '..');

/** An install directory of its own with freshly built small programs. */
export function install(into: string): { readonly node: string; readonly bin: string; readonly dist: string } {
  mkdirSync(join(into, 'deploy'), { recursive: true });
  cpSync(join(ROOT, 'bin'), join(into, 'bin'), { recursive: true });
  cpSync(join(ROOT, 'deploy', 'git-hooks'), join(into, 'deploy', 'git-hooks'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(into, 'node_modules'));
  execFileSync(process.execPath, [join(ROOT, 'scripts', 'build.mjs'), '--only', 'cli', '--out', join(into, 'dist')]);
  return { node: process.execPath, bin: join(into, 'bin', 'berth'), dist: join(into, 'dist') };
}
