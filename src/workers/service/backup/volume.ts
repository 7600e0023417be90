import { labels, LABEL, readLabels, type LabelValues } from '../../../drivers/engine/labels.js';
import type { VolumePort } from '../../../drivers/engine/volume.port.js';
import { StepFailure, type StepAround } from '../../../events/step.js';
import type { Count } from '../../../events/types/copy.events.js';
import { heldStill, type During } from '../../../modules/backup/volumes.js';
import { words } from '../../../modules/copies/words.js';
import type { Core } from '../../../modules/core.js';
import { drain, Tally } from './streams.js';

/** Volumes as backups see them. */

/** app or volume → the end of the last one's turn: two volumes of an app have the same containers, which cannot be held still twice */
const turns = new Map<string, Promise<unknown>>();

/** Runs `work` when what came before it under that key, in this process, is over. */
async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
  const mine = (turns.get(key) ?? Promise.resolve()).then(work);
  const over = mine.then(() => {}, () => {});
  turns.set(key, over);
  try {
    return await mine;
  } finally {
    if (turns.get(key) === over) turns.delete(key);
  }
}

/** Reads all of it while whoever mounts it holds still. @param again an earlier attempt may have died with containers held */
export async function readStill(core: Core, volumes: VolumePort, volume: string, during: During, again: boolean, { log, signal }: Pick<StepAround, 'log' | 'signal'>, take: (tar: AsyncIterable<Buffer>) => Promise<void>): Promise<Count> {
  const ours = (marks: Readonly<Record<string, string>>): boolean => marks[LABEL.instance] === core.config.instance;
  const { app } = readLabels((await volumes.inspect(volume))?.labels ?? {});
  return inTurn(app ?? volume, async () => {
    signal.throwIfAborted();
    const users = await volumes.users(volume);
    if (again) for (const user of users) if (user.state === 'paused' && ours(user.labels)) await volumes.unpause(user.id);
    const tally = new Tally();
    const still = await heldStill(core, volume, during, log, () => take(tally.through(volumes.read(volume, signal))));
    if (still) return tally.count;
    // a deploy has replaced a container meanwhile: it is read again
    if (during !== 'running' && users.every((user) => ours(user.labels))) throw new StepFailure('copies.moved', 'A deploy changed what mounts the volume while it was read', null, 'machine');
    log.warn('It was read while something may have written into it: not every program can read such a copy');
    return tally.count;
  });
}

/** A new volume with that in it; answers what it then holds. One of that name is replaced. */
export async function fill(volumes: VolumePort, name: string, marks: LabelValues, tar: AsyncIterable<Buffer>, signal: AbortSignal): Promise<Count> {
  await volumes.remove(name);
  await volumes.ensure(name, labels(marks));
  await volumes.write(name, tar, signal);
  const tally = new Tally();
  await drain(tally.through(volumes.read(name, signal)));
  return tally.count;
}

/** @throws StepFailure `copies.count` @param expected null: unknown */
export function compared(found: Count, expected: Count | null): Count {
  const differs = expected !== null && Object.entries(expected).some(([name, n]) => found[name] !== n);
  if (differs) throw new StepFailure('copies.count', `What came out of this backup is not what went into it: ${words(found)} instead of ${words(expected)}`, 'take another one, and look at what it is of');
  return found;
}
