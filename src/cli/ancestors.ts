import { readFileSync } from 'node:fs';

interface Seen { readonly pid: number; readonly parent: number; readonly sshd: boolean }

/** Parent and name of a process, or null when it is gone (or hidden). */
function look(pid: number): Seen | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const end = text.lastIndexOf(')');
    return { pid, parent: Number(text.slice(end + 2).split(' ')[1]), sshd: text.slice(text.indexOf('(') + 1, end).startsWith('sshd') };
  } catch {
    return null;
  }
}

/**
 * Calls `gone` when the sshd process of this session has ended. sshd may have a login shell between itself and us, which would live on
 * with us: so the line of ancestors up to the first sshd is noted at the start and looked at again.
 */
export function watchAncestors(gone: () => void, everyMs = 1000): void {
  const parent = process.ppid;
  const line: Seen[] = [];
  for (let pid = parent; pid > 1 && line.length < 4;) {
    const seen = look(pid);
    if (seen === null) break;
    if (seen.sshd) {
      line.push(seen);
      break;
    }
    line.push(seen);
    pid = seen.parent;
  }
  // without an sshd above us only our own parent says anything
  const watched = line.at(-1)?.sshd ? line : [];
  setInterval(() => {
    if (process.ppid !== parent || watched.some(({ pid, parent: expected }) => look(pid)?.parent !== expected)) gone();
  }, everyMs).unref();
}
