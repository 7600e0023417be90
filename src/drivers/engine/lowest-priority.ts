import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** of oom_score_adj, whose range is -1000 to 1000: the kernel takes these first */
export const FIRST_TO_DIE = 1000;

/** ms */
const LOOK = { soon: 5, later: 500, begins: 10_000, settles: 100 };

/**
 * Gives the processes of a step's cgroup the highest OOM score and the idle class of the disk, until the cgroup is gone. What they start
 * inherits both, so it is enough to meet the first one before it starts others; later looks are for one that was quicker.
 * BuildKit takes neither from the API, and its steps would have dockerd's own score: -500 where the distribution's unit sets it.
 * @param folder the cgroup
 */
export async function lowestPriority(folder: string): Promise<void> {
  const met = new Set<string>();
  for (let quick = performance.now() + LOOK.begins; ; ) {
    let pids: string[];
    try {
      pids = readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter((pid) => pid !== '' && !met.has(pid));
    } catch {
      return; // the step is over
    }
    if (met.size === 0 && pids.length > 0) quick = performance.now() + LOOK.settles;
    for (const pid of pids) {
      met.add(pid);
      try {
        writeFileSync(`/proc/${pid}/oom_score_adj`, String(FIRST_TO_DIE));
      } catch {
        // this one has ended
      }
    }
    // of util-linux; without it the cgroup's weight is what holds
    if (pids.length > 0) execFile('ionice', ['-c', '3', '-p', ...pids], () => {});
    await sleep(performance.now() < quick ? LOOK.soon : LOOK.later, undefined, { ref: false });
  }
}
