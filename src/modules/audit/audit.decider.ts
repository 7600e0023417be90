import { never, type Decider } from '../../events/decider.js';
import type { AuditEvent, Checkpoint } from '../../events/types/audit.events.js';

export interface Broken { readonly position: number; readonly kind: string; readonly message: string }
/** The newest checkpoint, and what was found to be wrong since. Stream `audit`. */
export interface AuditState { readonly last: Checkpoint | null; readonly failed: Broken | null }
export type AuditCommand =
  /** `force`: although the last one is younger than a day */
  | { readonly type: 'Take'; readonly checkpoint: Checkpoint; readonly force: boolean }
  | { readonly type: 'Fail'; readonly problem: Broken };

const DAY_MS = 86_400_000;

/** The last one will do: it is younger than a day. */
export const recent = ({ last }: AuditState, now: number): boolean => last !== null && now - last.takenAt < DAY_MS;

export const audit: Decider<AuditState, AuditCommand, AuditEvent> = {
  initial: { last: null, failed: null },
  decide(command, state) {
    if (command.type === 'Take') return !command.force && recent(state, command.checkpoint.takenAt) ? [] : [{ type: 'AuditCheckpointTaken', data: command.checkpoint }];
    const { position, kind, message } = command.problem;
    // once, however often it is looked at
    return state.failed?.position === position && state.failed.kind === kind ? [] : [{ type: 'AuditFailed', data: { position, kind, message } }];
  },
  evolve(state, event) {
    switch (event.type) {
      case 'AuditCheckpointTaken': return { last: event.data, failed: null };
      case 'AuditFailed': return { ...state, failed: event.data };
      default: return never(event);
    }
  },
};
