import type { Decider } from '../../events/decider.js';
import type { AuditEvent, Checkpoint } from '../../events/types/audit.events.js';

/** The newest checkpoint. Stream `audit`. */
export type AuditState = Checkpoint | null;
export interface TakeCheckpoint { readonly type: 'Take'; readonly checkpoint: Checkpoint; /** although the last one is younger than a day */ readonly force: boolean }

const DAY_MS = 86_400_000;

/** The last one will do: it is younger than a day, or nothing but itself came since. */
export const recent = (last: AuditState, now: number): boolean => last !== null && now - last.takenAt < DAY_MS;

export const audit: Decider<AuditState, TakeCheckpoint, AuditEvent> = {
  initial: null,
  decide: ({ checkpoint, force }, last) => (!force && recent(last, checkpoint.takenAt) ? [] : [{ type: 'AuditCheckpointTaken', data: checkpoint }]),
  evolve: (_, event) => event.data,
};
