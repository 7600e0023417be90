import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';

/** stream `webhooks`: whom we call when something happened. `app` null: of all apps; `from`: events behind this position */
export type WebhookEvent =
  | NewEvent<'WebhookAdded', { webhook: string; app: string | null; url: Sealed; secret: Sealed; events: readonly string[]; private: boolean; from: number }>
  | NewEvent<'WebhookRemoved', { webhook: string }>
  /** a delivery of the event at this position was asked for, in the same transaction; not written any more: the operation says it */
  | NewEvent<'WebhookDue', { webhook: string; position: number }>;

export const PROVIDERS = ['github', 'gitlab', 'gitea'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** stream `push-<app id>`: who calls us when somebody pushed elsewhere, and what came of each call */
export type PushHookEvent =
  /** `branch` null: the app's deploy branch */
  | NewEvent<'PushHookEnabled', { app: string; provider: Provider; url: string; branch: string | null; secret: Sealed }>
  | NewEvent<'PushHookDisabled', { app: string; provider: Provider }>
  /** `operation`: what looks whether there is something to deploy; null: nothing is deployed, and `reason` says why */
  | NewEvent<'PushReceived', { app: string; provider: Provider; delivery: string; event: string; ref: string; commit: string; operation: number | null; reason: string | null }>
  | NewEvent<'PushSettled', { app: string; provider: Provider; delivery: string; deploy: number | null; reason: string | null }>;
