import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';

/**
 * stream `notifications`: who is told what, and how. `channel`: `slack`, or `plugin:<plugin>/<channel>`; `app` null: of all apps and the server;
 * `events`: `failures`, `all` and types of events; `secrets`: options that nobody shall read; `from`: events behind this position
 */
export type NotificationEvent =
  | NewEvent<'NotificationAdded', { name: string; channel: string; app: string | null; events: readonly string[]; options: Readonly<Record<string, string>>; secrets: Readonly<Record<string, Sealed>>; private: boolean; from: number }>
  | NewEvent<'NotificationRemoved', { name: string }>;

/** stream `troubles`: what the doctor found of the server, looking by itself */
export type TroubleEvent =
  /** it was well before, or less bad */
  | NewEvent<'TroubleSeen', { check: string; health: 'warn' | 'bad'; detail: string; means: string; todo: string; at: number }>
  | NewEvent<'TroubleEnded', { check: string; detail: string; lastedMs: number }>;
