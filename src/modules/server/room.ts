import type { Space } from '../../drivers/disk/space.js';
import { Rejected } from '../../events/decider.js';
import { bytes } from '../commands/words.js';
import type { Core } from '../core.js';

/** The disk of the event log, repositories and logs; the one of the engine's images. They may be the same. */
export type Disk = 'log' | 'images';
export type Room = 'enough' | 'low' | 'none';

const MB = 1024 ** 2;
const GB = 1024 ** 3;
/** bytes that a build finds free, or it does not begin */
export const BUILD_ROOM = 2 * GB;
/** bytes of the log's disk below which events can hardly be written */
const FULL = 2 * MB;

/** A twentieth of the disk, but on a large one not more than 5 GB and on a small one not less than what is needed to work. */
const floorOf = (disk: Disk, total: number): number => Math.max(disk === 'images' ? BUILD_ROOM : 500 * MB, Math.min(total / 20, 5 * GB));

/** Whether there is room for more: `low` is worth a word, with `none` nothing new is begun. Pure. */
export function roomOn(disk: Disk, { free, total, files }: Space): Room {
  const floor = floorOf(disk, total);
  if (free < floor || (files && files.free < Math.min(1000, files.total / 20))) return 'none';
  return free < Math.max(1.5 * floor, Math.min((total * 3) / 20, 20 * GB)) ? 'low' : 'enough';
}

/** `1.2 GB of 20 GB free at /var/lib/berth`, or what else has run out there. Pure. */
export function roomText({ path, free, total, files }: Space): string {
  const few = files && files.free < Math.min(1000, files.total / 20);
  return `${bytes(free)} of ${bytes(total)} free at ${path}${few ? `, and only ${files.free} more files can be made there` : ''}`;
}

/** What people who wait are told while not even events can be written; null as long as they can. Pure. */
export function standstill({ path, free, total, files }: Space): string | null {
  if (free >= FULL && (!files || files.free > 0)) return null;
  return `The disk of ${path} on the server is full (${bytes(free)} of ${bytes(total)} free): the deploy goes on by itself when there is room`;
}

/** Refuses work that fills disks while one of ours is nearly full; what runs goes on, and so does this as soon as there is room. @throws Rejected */
export async function requireRoom(core: Pick<Core, 'probes'>): Promise<void> {
  for (const [disk, space] of Object.entries((await core.probes?.space()) ?? {}) as [Disk, Space | null][]) {
    if (space === null || roomOn(disk, space) !== 'none') continue;
    throw new Rejected('disk.full', `The server's disk is nearly full: ${roomText(space)}. Nothing new is deployed until there is room`, 'what serves goes on serving; on the server: berth doctor');
  }
}
