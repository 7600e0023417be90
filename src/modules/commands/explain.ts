import { Rejected } from '../../events/decider.js';
import { StoreUnavailable } from '../../events/store.port.js';

/** What an error means to people: its words, and the exit code. */
export function explain(error: unknown): { message: string; hint: string | null; exit: number; code: string; ours: boolean } {
  if (error instanceof Rejected) return { message: error.message, hint: error.hint, exit: error.exit, code: error.code, ours: false };
  if (error instanceof StoreUnavailable) {
    const hint = { 'disk-full': 'make room on the disk, then try again: nothing was changed', busy: 'try again: nothing was changed', away: 'see whether the database runs: nothing was changed' }[error.reason];
    return { message: `The event log cannot be written: ${error.message}`, hint, exit: 1, code: `store.${error.reason}`, ours: true };
  }
  const coded = error as { code?: unknown; hint?: unknown; message?: unknown; name?: unknown };
  if (coded?.name === 'StepFailure') return { message: String(coded.message), hint: typeof coded.hint === 'string' ? coded.hint : null, exit: 1, code: String(coded.code), ours: false };
  return { message: `Something went wrong on the server: ${error instanceof Error ? error.message : String(error)}`, hint: 'the server\'s log has more: /var/log/berth, or journalctl -u berth-api', exit: 1, code: 'internal', ours: true };
}
