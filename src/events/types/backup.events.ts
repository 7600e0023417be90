import type { NewEvent } from '../event.js';

/** stream `backups`: what was backed up, and what was brought back */
export type BackupEvent =
  /** `to`: where it was written, `-` for whoever asked. `position` and `hash`: where the log was cut. `sha256`: of the whole file */
  | NewEvent<'BackupTaken', { to: string; bytes: number; sha256: string; position: number; hash: string; encrypted: boolean; logs: boolean; volumes: readonly string[]; tookMs: number }>
  | NewEvent<'BackupFailed', { to: string; code: string; message: string }>
  /** the log up to here came out of a backup; what has to follow lies in the folder `restoring-<restore>` */
  | NewEvent<'RestoreBegun', { restore: string; from: string; takenAt: string; position: number; hash: string; unreadable: readonly string[] }>
  /** an app of the backup: the deploy that brings it back, or why it does not come back by itself, or neither: it runs, or never did */
  | NewEvent<'AppRestored', { restore: string; app: string; name: string; deploy: number | null; trouble: Trouble | null }>
  /** everything is in its place, every app was asked for */
  | NewEvent<'RestoreEnded', { restore: string; apps: number; troubles: number }>;

/** What is not as it was on the old machine, and what to do about it. */
export interface Trouble { readonly why: string; readonly todo: string }
