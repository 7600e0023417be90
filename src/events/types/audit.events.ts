import type { NewEvent } from '../event.js';

/** What a checkpoint says: up to `position` the log was so that its chain ended in `chain`. */
export interface Checkpoint {
  readonly position: number;
  /** the chain's hash at `position`, 64 hex digits */
  readonly chain: string;
  /** ms since the epoch */
  readonly takenAt: number;
  /** Ed25519 over the text of the three above, base64 */
  readonly signature: string;
  /** the signer's public key: base64 of its SPKI */
  readonly key: string;
}

/** stream `audit` */
export type AuditEvent =
  | NewEvent<'AuditCheckpointTaken', Checkpoint>
  /** the log was found to be another one than was written: `position` is the first event's that is not as it was */
  | NewEvent<'AuditFailed', { position: number; kind: string; message: string }>;
