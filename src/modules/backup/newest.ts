import type { Core } from '../core.js';
import { BACKUPS, backups } from './backup.decider.js';

export interface NewestBackup {
  /** ms since the epoch, and where it was written; null where there is none */
  readonly takenAt: number | null;
  readonly to: string | null;
  /** why a later one failed */
  readonly failed: string | null;
  /** a restore has begun and has not ended */
  readonly restoring: boolean;
}

export async function newestBackup(core: Core): Promise<NewestBackup> {
  const { last, failed, restore } = (await core.repository.load(backups, BACKUPS)).state;
  const takenAt = (await core.store.readStream(BACKUPS)).findLast((event) => event.type === 'BackupTaken')?.at ?? null;
  return { takenAt, to: last?.to ?? null, failed: failed && `${failed.message} (${failed.code})`, restoring: restore !== null };
}
