export type Health = 'ok' | 'warn' | 'bad';

/** One thing that was looked at. */
export interface Check {
  readonly check: string;
  readonly health: Health;
  /** how it is */
  readonly detail: string;
  /** what follows from that; null when all is well */
  readonly means: string | null;
  /** what to do about it; null when there is nothing to do */
  readonly todo: string | null;
}

export const ok = (check: string, detail: string): Check => ({ check, health: 'ok', detail, means: null, todo: null });
export const warn = (check: string, detail: string, means: string, todo: string): Check => ({ check, health: 'warn', detail, means, todo });
export const bad = (check: string, detail: string, means: string, todo: string): Check => ({ check, health: 'bad', detail, means, todo });
