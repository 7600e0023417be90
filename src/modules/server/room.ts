import { Rejected } from '../../events/decider.js';
import { bytes } from '../commands/words.js';
import type { Core } from '../core.js';
import { DISK_BAD, DISK_FLOOR } from '../doctor/doctor.commands.js';

/** Refuses work that fills disks while one of ours is nearly full; what runs goes on, and so does this as soon as there is room. @throws Rejected */
export async function requireRoom(core: Core): Promise<void> {
  for (const { path, free, total } of Object.values((await core.probes?.space()) ?? {})) {
    if (free / total < DISK_BAD || free < DISK_FLOOR) {
      throw new Rejected('disk.full', `The disk of ${path} is nearly full: ${bytes(free)} of ${bytes(total)} free. Nothing new is deployed until there is room`, 'what serves goes on serving; see: berth doctor');
    }
  }
}
