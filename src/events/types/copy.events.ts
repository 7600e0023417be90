import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';
import type { Failure } from './deploy.events.js';

/** Where copies are kept, without what opens it. */
export type CopyPlace =
  | { readonly type: 'folder'; readonly path: string }
  | {
    readonly type: 's3'; readonly bucket: string;
    /** empty, or with a `/` at its end */
    readonly prefix: string;
    /** `https://…`; null: Amazon's of the region */
    readonly endpoint: string | null;
    readonly region: string;
  };

/** What a copy is of. */
export type CopySubject =
  | { readonly type: 'volume'; readonly app: string; readonly name: string }
  | { readonly type: 'service'; readonly service: string };

/** How many copies stay, the newest of each span that has one; all of them are counted from the newest copy back. */
export interface Keep {
  /** the newest, whatever their age */
  readonly last: number;
  /** days, weeks (ISO) and months of UTC */
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
}

/** What was counted in a copy, by name: `{ files: 12, bytes: 4096 }`, `{ tables: 3, rows: 120 }`. */
export type Count = Readonly<Record<string, number>>;

/** Everything that is known of one copy that was taken. */
export interface CopyFacts {
  /** the number of the operation that took it */
  readonly copy: number;
  /** taken because a restore was about to change what it is of */
  readonly safety: boolean;
  readonly place: CopyPlace;
  readonly key: string;
  readonly bytes: number;
  /** of the object as it lies there, read back */
  readonly sha256: string;
  readonly encrypted: boolean;
  /** what was counted in the throw-away instance that it was restored into; null: safety copies are only read back */
  readonly count: Count | null;
}

/** stream `copies-<group>`, the group being that of the subject's operations: its backups, and how they are made */
export type CopyEvent =
  | NewEvent<'CopyAuthSet', { group: string; id: string; secret: Sealed; region: string; endpoint: string | null }>
  | NewEvent<'CopyAuthUnset', { group: string }>
  | NewEvent<'CopyEncryptionSet', { group: string; passphrase: Sealed }>
  | NewEvent<'CopyEncryptionUnset', { group: string }>
  /** `place`: as it was said, for where its bucket is may change; `since`: times before it are not caught up, ms since the epoch */
  | NewEvent<'CopyScheduled', { group: string; subject: CopySubject; cron: string; zone: string; place: string; since: number }>
  | NewEvent<'CopyUnscheduled', { group: string }>
  | NewEvent<'CopyRetentionSet', { group: string; keep: Keep }>
  /** a time of the schedule came, and a backup was asked for: once for all times that were missed */
  | NewEvent<'CopyDue', { group: string; due: number; operation: number }>
  /** written, read back, compared, restored into a throw-away instance and counted; `kept`: why older ones could not be removed */
  | NewEvent<'CopyTaken', CopyFacts & { group: string; subject: CopySubject; kept: string | null }>
  /** `copy` null: it never came to one; `subject`: absent in logs of before */
  | NewEvent<'CopyFailed', { group: string; subject?: CopySubject; what: 'backup' | 'verify' | 'restore'; operation: number; copy: number | null; step: string; failure: Failure }>
  /** read back and restored into a throw-away instance once more */
  | NewEvent<'CopyVerified', { group: string; copy: number; count: Count }>
  /** removed by retention */
  | NewEvent<'CopyExpired', { group: string; copy: number }>
  /** `safety`: the copy of what was there before; `from`: the group whose copy it was, where that is another one; `object`: what no log knew, `copy` is 0 then */
  | NewEvent<'CopyRestored', { group: string; copy: number; operation: number; safety: number | null; from?: string; object?: { readonly place: CopyPlace; readonly key: string } }>;

export const COPY_EVENTS: readonly CopyEvent['type'][] = ['CopyAuthSet', 'CopyAuthUnset', 'CopyEncryptionSet', 'CopyEncryptionUnset', 'CopyScheduled', 'CopyUnscheduled', 'CopyRetentionSet', 'CopyDue', 'CopyTaken', 'CopyFailed', 'CopyVerified', 'CopyExpired', 'CopyRestored'];
