import type { NumberedLine } from '../../drivers/logs/log-store.js';
import type { StreamItem } from '../commands/command.js';
import type { Core } from '../core.js';
import { standstill } from '../server/room.js';

/** how often the disk is looked at while nothing happens, ms */
const LOOK_MS = 2000;

export type WorkItem<End, Status extends string = string> =
  | { id: string; event: 'state'; data: { status: Status; behind: number | null } }
  | { id: string; event: 'line'; data: NumberedLine }
  | { id: string; event: 'note'; data: { text: string } }
  | { id: string; event: 'end'; data: End };

/** How it is with what is followed. `behind`: what runs that it waits for; `end`: null until it is over */
export interface Look<End, Status extends string = string> { readonly status: Status; readonly behind: number | null; readonly end: End | null }

/**
 * Output from line `after` + 1 to the end, as it comes: `state` when it begins to wait or to run, `line` for each line, `end` last, and
 * a `note` when the server's disk is so full that nothing can go on, which no line of a log can say. Ids are line numbers, so that a client that
 * was cut off goes on behind the last one it saw.
 * @param what for the note: `the deploy`
 */
export async function* followWork<End, Status extends string = string>(core: Core, what: string, log: string, look: () => Promise<Look<End, Status>>, after: number, signal: AbortSignal): AsyncGenerator<WorkItem<End, Status> & StreamItem> {
  let seen = after;
  let told: string | null = null;
  let wake: () => void = () => {};
  let changed = false;
  const nudge = (): void => { changed = true; wake(); };
  const unsubscribe = core.store.changes(nudge);
  const stop = new AbortController();
  signal.addEventListener('abort', nudge);
  const queue: NumberedLine[] = [];
  const notes: string[] = [];
  const following = core.logs.follow(log, after, stop.signal, (lines) => { queue.push(...lines); nudge(); });
  let broken: unknown = null;
  let note: string | null = null;
  const lookAtDisk = (): void => {
    core.probes?.space().then(({ log: space }) => {
      const now = standstill(space);
      if ((now === null) === (note === null)) return;
      note = now;
      notes.push(now ?? `There is room on the server's disk again: ${what} goes on`);
      nudge();
    }, () => undefined); // said by berth doctor
  };
  const looking = setInterval(lookAtDisk, LOOK_MS);
  lookAtDisk();
  following.catch((error: unknown) => { broken = error; nudge(); });
  try {
    while (!signal.aborted) {
      changed = false;
      if (broken) throw broken;
      for (const text of notes.splice(0)) yield { id: String(seen), event: 'note', data: { text } };
      const { status, behind, end } = await look();
      if (status !== told && end === null) {
        told = status;
        yield { id: String(seen), event: 'state', data: { status, behind: status === 'waiting' ? behind : null } };
      }
      if (end !== null) {
        // the log is complete once the end is in the store, but for the calls of tidying up: what the watcher has not brought yet is read now
        for (const line of await core.logs.read(log, seen, 1_000_000)) {
          yield { id: String(line.n), event: 'line', data: line };
          seen = line.n;
        }
        yield { id: String(seen), event: 'end', data: end };
        return;
      }
      for (const line of queue.splice(0)) {
        if (line.n <= seen) continue;
        yield { id: String(line.n), event: 'line', data: line };
        seen = line.n;
      }
      if (!changed) await new Promise<void>((resolve) => { wake = resolve; });
    }
  } finally {
    clearInterval(looking);
    signal.removeEventListener('abort', nudge);
    unsubscribe();
    stop.abort();
    await following.catch(() => {});
  }
}
