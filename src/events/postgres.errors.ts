import { StoreUnavailable } from './store.port.js';

/** The error as the port names it; anything that is no matter of the machine is given back as it is. */
export function translate(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof StoreUnavailable) return error;
  const state = sqlState(error);
  if (state === '53100') return new StoreUnavailable('PostgreSQL has no room left', 'disk-full', { cause: error });
  if (state === '55P03' || state === '40P01' || state === '57014') return new StoreUnavailable('PostgreSQL kept the write waiting for too long', 'busy', { cause: error });
  if (isAway(error)) return new StoreUnavailable(`PostgreSQL is away: ${error.message}`, 'away', { cause: error });
  return error;
}

/** The connection ended, or could not be made: what was running is over, or still to be found out. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const state = sqlState(error);
  if (state !== null) return /^(08|57P|53[023]|25P03|58)/.test(state);
  if ('code' in error && /^E[A-Z]+$/.test(String(error.code))) return true;
  return /connection (terminated|ended)|timeout (exceeded|expired)|read timeout|not queryable|client was closed|pool after calling end/i.test(error.message);
}

function sqlState(error: Error): string | null {
  const code = 'code' in error ? String(error.code) : '';
  return /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code) ? code : null;
}
