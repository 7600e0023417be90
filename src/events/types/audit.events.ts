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
export type AuditEvent = NewEvent<'AuditCheckpointTaken', Checkpoint>;
