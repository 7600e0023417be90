import { never, type Decider } from '../../events/decider.js';
import type { BackupEvent } from '../../events/types/backup.events.js';

type Data<T extends BackupEvent['type']> = Extract<BackupEvent, { type: T }>['data'];

/** The last backup that is whole, what failed since, and a restore that has not ended. Stream `backups`. */
export interface BackupState {
  readonly last: Data<'BackupTaken'> | null;
  readonly failed: Data<'BackupFailed'> | null;
  readonly restore: Data<'RestoreBegun'> | null;
}
/** Each says what has happened. */
export type BackupCommand = BackupEvent;

export const BACKUPS = 'backups';

export const backups: Decider<BackupState, BackupCommand, BackupEvent> = {
  initial: { last: null, failed: null, restore: null },
  decide: (fact, { restore }) => (fact.type === 'RestoreEnded' && restore?.restore !== fact.data.restore ? [] : [fact]),
  evolve(state, event) {
    switch (event.type) {
      case 'BackupTaken': return { ...state, last: event.data, failed: null };
      case 'BackupFailed': return { ...state, failed: event.data };
      case 'RestoreBegun': return { ...state, restore: event.data };
      case 'RestoreEnded': return { ...state, restore: null };
      default: return never(event);
    }
  },
};
