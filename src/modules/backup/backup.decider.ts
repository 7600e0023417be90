import { never, type Decider } from '../../events/decider.js';
import type { BackupEvent } from '../../events/types/backup.events.js';

export type Fact<T extends BackupEvent['type']> = Extract<BackupEvent, { type: T }>['data'];

/** The last backup that is whole, what failed since, and a restore that has not ended, with the apps that are done. Stream `backups`. */
export interface BackupState {
  readonly last: Fact<'BackupTaken'> | null;
  readonly failed: Fact<'BackupFailed'> | null;
  readonly restore: (Fact<'RestoreBegun'> & { readonly apps: readonly Fact<'AppRestored'>[] }) | null;
}
/** Each says what has happened. */
export type BackupCommand = BackupEvent;

export const BACKUPS = 'backups';

export const backups: Decider<BackupState, BackupCommand, BackupEvent> = {
  initial: { last: null, failed: null, restore: null },
  decide(fact, { restore }) {
    // said once, by whoever was first
    if (fact.type === 'RestoreEnded' && restore?.restore !== fact.data.restore) return [];
    if (fact.type === 'AppRestored' && (restore?.restore !== fact.data.restore || restore.apps.some(({ app }) => app === fact.data.app))) return [];
    return [fact];
  },
  evolve(state, event) {
    switch (event.type) {
      case 'BackupTaken': return { ...state, last: event.data, failed: null };
      case 'BackupFailed': return { ...state, failed: event.data };
      case 'RestoreBegun': return { ...state, restore: { ...event.data, apps: [] } };
      case 'AppRestored': return { ...state, restore: state.restore && { ...state.restore, apps: [...state.restore.apps, event.data] } };
      case 'RestoreEnded': return { ...state, restore: null };
      default: return never(event);
    }
  },
};
