import { spawnSync } from 'node:child_process';

/**
 * git's proc-receive hook (githooks(5), "proc-receive"): moves the deploy branch after its deploy went live. git's own update would
 * refuse a push that waited while the one before it moved the branch, although its commit is what serves now.
 */

const ZERO = /^0+$/;

interface Update { readonly old: string; readonly next: string; readonly ref: string }

/** pkt-lines of a buffer from `at` on, up to a flush packet; null when more has to come. */
export function readPackets(buffer: Buffer, at: number): { lines: string[]; end: number } | null {
  const lines: string[] = [];
  for (let i = at; ;) {
    if (buffer.length < i + 4) return null;
    const length = Number.parseInt(buffer.toString('latin1', i, i + 4), 16);
    if (length === 0) return { lines, end: i + 4 };
    if (!Number.isInteger(length) || length < 4) throw new Error('git sent something that is not a packet');
    if (buffer.length < i + length) return null;
    lines.push(buffer.toString('utf8', i + 4, i + length).replace(/\n$/, ''));
    i += length;
  }
}

/** One pkt-line. */
export const packet = (text: string): string => `${(Buffer.byteLength(text) + 4).toString(16).padStart(4, '0')}${text}`;
const FLUSH = '0000';

function git(...args: string[]): { ok: boolean; text: string } {
  const { status, stdout, stderr } = spawnSync('git', args, { encoding: 'utf8' });
  return { ok: status === 0, text: status === 0 ? stdout.trim() : stderr.trim() };
}

/** Moves one ref; answers git's word for it. */
function move({ old, next, ref }: Update): string {
  if (ZERO.test(next)) {
    const done = git('update-ref', '-d', ref, old);
    return done.ok ? `ok ${ref}` : `ng ${ref} ${done.text.split('\n')[0]}`;
  }
  const now = git('rev-parse', '--verify', '--quiet', ref);
  const moved = now.ok && now.text !== old && now.text !== next;
  if (moved && !git('merge-base', '--is-ancestor', now.text, next).ok) process.stderr.write(` !     ${ref} was at ${now.text.slice(0, 7)} meanwhile, which is not part of your history; it points to what serves now\n`);
  const done = git('update-ref', ref, next);
  return done.ok ? `ok ${ref}` : `ng ${ref} ${done.text.split('\n')[0]}`;
}

function main(): void {
  let held = Buffer.alloc(0);
  let at = 0;
  let greeted = false;
  process.stdin.on('data', (piece: Buffer) => {
    held = Buffer.concat([held, piece]);
    if (!greeted) {
      const hello = readPackets(held, at);
      if (!hello) return;
      if (!hello.lines[0]?.startsWith('version=1')) throw new Error(`git speaks ${hello.lines[0]?.split('\0')[0] ?? 'nothing'}, version=1 is known here`);
      at = hello.end;
      greeted = true;
      process.stdout.write(packet('version=1\0atomic') + FLUSH);
    }
    const commands = readPackets(held, at);
    if (!commands) return;
    const updates = commands.lines.map((line): Update => {
      const [old = '', next = '', ...ref] = line.split(' ');
      return { old, next, ref: ref.join(' ') };
    });
    process.stdout.write(updates.map((update) => packet(move(update))).join('') + FLUSH, () => process.exit(0));
  });
}

// the spec imports the two functions above
if (process.argv[1]?.endsWith('proc-receive.cjs')) main();
