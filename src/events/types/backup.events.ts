import type { NewEvent } from '../event.js';

/** stream `backups`: what was backed up, and what was brought back */
export type BackupEvent =
  /** `to`: where it was written, `-` for whoever asked. `position` and `hash`: where the log was cut. `sha256`: of the whole file */
  | NewEvent<'BackupTaken', { to: string; bytes: number; sha256: string; position: number; hash: string; encrypted: boolean; logs: boolean; volumes: readonly string[]; tookMs: number }>
  | NewEvent<'BackupFailed', { to: string; code: string; message: string }>
  /** the log up to here came out of a backup; what has to follow lies in the folder `restoring-<restore>` */
  | NewEvent<'RestoreBegun', { restore: string; from: string; takenAt: string; position: number; hash: string; unreadable: readonly string[] }>
  /** everything is in its place; `asked`: the deploys that bring apps back, `troubles`: what does not come back by itself */
  | NewEvent<'RestoreEnded', { restore: string; asked: readonly { app: string; name: string; deploy: number }[]; troubles: readonly Trouble[] }>;

/** Something that is not as it was on the old machine, and what to do about it. */
export interface Trouble { readonly app: string; readonly why: string; readonly todo: string }
