import type { Recorded } from '../../events/event.js';
import { SCHEMAS, type EventType } from '../../events/types/all.events.js';
import { COPY_EVENTS, type CopyEvent, type CopyFacts, type CopySubject, type Keep } from '../../events/types/copy.events.js';
import type { Failure } from '../../events/types/deploy.events.js';
import type { Shape } from '../read/projection.js';
import { KEEP } from './retention.plan.js';

export interface CopyRow extends CopyFacts {
  /** when it was green: written, read back, and tried; ms since the epoch */
  at: number;
  /** when it was last read back and restored into a throw-away instance; null: safety copies were only read back */
  drilledAt: number | null;
  /** why a later trial failed */
  failure: Failure | null;
}
export interface FailedCopy { readonly at: number; readonly what: 'backup' | 'verify' | 'restore'; readonly operation: number; readonly copy: number | null; readonly step: string; readonly failure: Failure }
/** Backups of one volume or service. */
export interface CopiesRow {
  group: string;
  /** null: nothing was ever said or taken of it but keys */
  subject: CopySubject | null;
  schedule: { readonly cron: string; readonly zone: string; readonly place: string; readonly since: number } | null;
  encrypted: boolean;
  keep: Keep;
  /** that are there, the oldest first */
  copies: CopyRow[];
  /** the last backup that failed, or a trial of one, until one goes well */
  failed: FailedCopy | null;
  expired: number;
}
export interface Copies { groups: Record<string, CopiesRow> }

const OWN: ReadonlySet<string> = new Set(COPY_EVENTS);

function applyToCopies(all: Copies, event: Recorded): void {
  if (!OWN.has(event.type)) return;
  const known = event as unknown as Recorded & CopyEvent;
  const { group } = known.data;
  const row = (all.groups[group] ??= { group, subject: null, schedule: null, encrypted: false, keep: KEEP, copies: [], failed: null, expired: 0 });
  switch (known.type) {
    case 'CopyEncryptionSet': row.encrypted = true; return;
    case 'CopyEncryptionUnset': row.encrypted = false; return;
    case 'CopyScheduled': {
      const { subject, cron, zone, place, since } = known.data;
      Object.assign(row, { subject, schedule: { cron, zone, place, since } });
      return;
    }
    case 'CopyUnscheduled': row.schedule = null; return;
    case 'CopyRetentionSet': row.keep = known.data.keep; return;
    case 'CopyTaken': {
      const { group: _, subject, kept: __, ...facts } = known.data;
      row.subject = subject;
      row.copies = [...row.copies.filter(({ copy }) => copy !== facts.copy), { ...facts, at: event.at, drilledAt: facts.count === null ? null : event.at, failure: null }];
      if (!facts.safety && row.failed?.what === 'backup') row.failed = null;
      return;
    }
    case 'CopyFailed': {
      const { group: _, subject, ...failed } = known.data;
      row.subject ??= subject ?? null;
      if (failed.what === 'verify') for (const copy of row.copies) if (copy.copy === failed.copy) copy.failure = failed.failure;
      if (failed.what !== 'restore') row.failed = { at: event.at, ...failed };
      return;
    }
    case 'CopyVerified':
      for (const copy of row.copies) if (copy.copy === known.data.copy) Object.assign(copy, { drilledAt: event.at, count: known.data.count, failure: null });
      if (row.failed?.what === 'verify' && row.failed.copy === known.data.copy) row.failed = null;
      return;
    case 'CopyExpired':
      row.copies = row.copies.filter(({ copy }) => copy !== known.data.copy);
      row.expired += 1;
      if (row.failed?.what === 'verify' && row.failed.copy === known.data.copy) row.failed = null;
      return;
    default: return;
  }
}

export const COPIES: Shape<Copies> = { version: '1', initial: () => ({ groups: {} }), apply: applyToCopies, skips: (Object.keys(SCHEMAS) as EventType[]).filter((type) => !OWN.has(type)) };
