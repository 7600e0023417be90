import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { CopyEvent, CopyFacts, CopyPlace, CopySubject, Count, Keep } from '../../events/types/copy.events.js';
import type { Failure } from '../../events/types/deploy.events.js';
import { expired, KEEP, KEEP_SAFETY } from './retention.plan.js';

/** A copy that is there. */
export type KnownCopy = CopyFacts;
export interface Schedule { readonly subject: CopySubject; readonly cron: string; readonly zone: string; readonly place: string; /** no time up to this one is due any more */ readonly done: number }
export interface CopyAuth { readonly id: string; readonly secret: Sealed; readonly region: string; readonly endpoint: string | null }

/** How the backups of one volume or service are made, and which there are, the oldest first. Stream `copies-<group>`. */
export interface CopiesState {
  readonly auth: CopyAuth | null;
  readonly passphrase: Sealed | null;
  readonly schedule: Schedule | null;
  readonly keep: Keep;
  readonly copies: readonly KnownCopy[];
}

export type CopiesCommand =
  | { readonly type: 'SetAuth'; readonly group: string; readonly auth: CopyAuth }
  | { readonly type: 'UnsetAuth'; readonly group: string }
  | { readonly type: 'SetEncryption'; readonly group: string; readonly passphrase: Sealed }
  | { readonly type: 'UnsetEncryption'; readonly group: string }
  | { readonly type: 'Schedule'; readonly group: string; readonly subject: CopySubject; readonly cron: string; readonly zone: string; readonly place: string; readonly now: number }
  | { readonly type: 'Unschedule'; readonly group: string }
  | { readonly type: 'Keep'; readonly group: string; readonly keep: Keep }
  /** the schedule's time `due` came, and `operation` was asked for */
  | { readonly type: 'Due'; readonly group: string; readonly due: number; readonly operation: number }
  | { readonly type: 'Take'; readonly group: string; readonly subject: CopySubject; readonly facts: CopyFacts; readonly kept: string | null; /** copies that were removed */ readonly gone: readonly number[] }
  | { readonly type: 'Fail'; readonly group: string; readonly subject: CopySubject; readonly what: 'backup' | 'verify' | 'restore'; readonly operation: number; readonly copy: number | null; readonly step: string; readonly failure: Failure }
  | { readonly type: 'Verify'; readonly group: string; readonly copy: number; readonly count: Count }
  | { readonly type: 'Restore'; readonly group: string; readonly copy: number; readonly operation: number; readonly safety: number | null; readonly from?: string; readonly object?: { readonly place: CopyPlace; readonly key: string } };

const WHOLE = (n: number): boolean => Number.isInteger(n) && n >= 0 && n <= 1000;

export const copies: Decider<CopiesState, CopiesCommand, CopyEvent> = {
  initial: { auth: null, passphrase: null, schedule: null, keep: KEEP, copies: [] },
  decide(command, state) {
    const { group } = command;
    switch (command.type) {
      case 'SetAuth': return [{ type: 'CopyAuthSet', data: { group, ...command.auth } }];
      case 'UnsetAuth':
        if (!state.auth) throw new Rejected('backup.auth', 'There is no key to forget');
        return [{ type: 'CopyAuthUnset', data: { group } }];
      case 'SetEncryption': return [{ type: 'CopyEncryptionSet', data: { group, passphrase: command.passphrase } }];
      case 'UnsetEncryption':
        if (!state.passphrase) throw new Rejected('backup.encryption', 'Its backups are not encrypted');
        return [{ type: 'CopyEncryptionUnset', data: { group } }];
      case 'Schedule': {
        const { subject, cron, zone, place, now } = command;
        const same = state.schedule;
        if (same && same.cron === cron && same.zone === zone && same.place === place) return [];
        return [{ type: 'CopyScheduled', data: { group, subject, cron, zone, place, since: now } }];
      }
      case 'Unschedule':
        if (!state.schedule) throw new Rejected('backup.schedule', 'It has no schedule');
        return [{ type: 'CopyUnscheduled', data: { group } }];
      case 'Keep': {
        const { keep } = command;
        if (!Object.values(keep).every(WHOLE)) throw new Rejected('backup.keep', 'How many are kept is a whole number from 0 to 1000');
        if (Object.values(keep).every((n) => n === 0)) throw new Rejected('backup.keep', 'Nothing would be kept', 'for example: --keep-daily 7');
        return JSON.stringify(keep) === JSON.stringify(state.keep) ? [] : [{ type: 'CopyRetentionSet', data: { group, keep } }];
      }
      // whoever comes second finds it done
      case 'Due': return state.schedule && command.due > state.schedule.done ? [{ type: 'CopyDue', data: { group, due: command.due, operation: command.operation } }] : [];
      case 'Take': {
        const { subject, facts, kept, gone } = command;
        const there = new Set(state.copies.map(({ copy }) => copy));
        return [{ type: 'CopyTaken', data: { group, subject, ...facts, kept } }, ...gone.filter((copy) => there.has(copy)).map((copy): CopyEvent => ({ type: 'CopyExpired', data: { group, copy } }))];
      }
      case 'Fail': {
        const { subject, what, operation, copy, step, failure } = command;
        return [{ type: 'CopyFailed', data: { group, subject, what, operation, copy, step, failure } }];
      }
      case 'Verify': return [{ type: 'CopyVerified', data: { group, copy: command.copy, count: command.count } }];
      case 'Restore': {
        const { type: _, ...data } = command;
        return [{ type: 'CopyRestored', data }];
      }
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'CopyAuthSet': {
        const { id, secret, region, endpoint } = event.data;
        return { ...state, auth: { id, secret, region, endpoint } };
      }
      case 'CopyAuthUnset': return { ...state, auth: null };
      case 'CopyEncryptionSet': return { ...state, passphrase: event.data.passphrase };
      case 'CopyEncryptionUnset': return { ...state, passphrase: null };
      case 'CopyScheduled': {
        const { subject, cron, zone, place, since } = event.data;
        return { ...state, schedule: { subject, cron, zone, place, done: since } };
      }
      case 'CopyUnscheduled': return { ...state, schedule: null };
      case 'CopyRetentionSet': return { ...state, keep: event.data.keep };
      case 'CopyDue': return state.schedule ? { ...state, schedule: { ...state.schedule, done: event.data.due } } : state;
      case 'CopyTaken': {
        const { copy, safety, place, key, bytes, sha256, encrypted, count } = event.data;
        return { ...state, copies: [...state.copies.filter((one) => one.copy !== copy), { copy, safety, place, key, bytes, sha256, encrypted, count }] };
      }
      case 'CopyExpired': return { ...state, copies: state.copies.filter(({ copy }) => copy !== event.data.copy) };
      case 'CopyFailed': case 'CopyVerified': case 'CopyRestored': return state;
      default: return never(event);
    }
  },
};

const samePlace = (a: CopyPlace, b: CopyPlace): boolean => (a.type === 'folder' ? b.type === 'folder' && a.path === b.path : b.type === 's3' && a.bucket === b.bucket && a.prefix === b.prefix && a.endpoint === b.endpoint);
/** When a copy was taken, from its key. */
export const takenAt = (key: string): number => {
  const [, day, h, m, s] = /(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)Z[^/]*$/.exec(key) ?? [];
  return Date.parse(`${day}T${h}:${m}:${s}Z`);
};

/** Copies in the new one's place that go once it is there, by the subject's rules; safety copies are counted among themselves. */
export function condemned({ copies: all, keep }: CopiesState, fresh: Pick<KnownCopy, 'copy' | 'safety' | 'place' | 'key'>): KnownCopy[] {
  const beside = all.filter((one) => one.copy !== fresh.copy && one.safety === fresh.safety && samePlace(one.place, fresh.place));
  const aged = [...beside.map(({ copy, key }) => ({ copy, at: takenAt(key) })), { copy: fresh.copy, at: takenAt(fresh.key) }];
  const gone = new Set(expired(aged, fresh.safety ? { last: KEEP_SAFETY, daily: 0, weekly: 0, monthly: 0 } : keep).map(({ copy }) => copy));
  return beside.filter(({ copy }) => gone.has(copy));
}

/** The copy of that number, or the newest that was no safety copy. @throws Rejected */
export function chosen({ copies: all }: CopiesState, copy: number | undefined, list: string): KnownCopy {
  const found = copy === undefined ? all.findLast((one) => !one.safety) : all.find((one) => one.copy === copy);
  if (!found) throw new Rejected('backup.missing', copy === undefined ? 'There is no backup' : `There is no backup ${copy}`, `see: berth ${list}`);
  return found;
}
