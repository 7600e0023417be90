import { Rejected } from '../../events/decider.js';
import { shown } from '../apps/app.decider.js';

/** A point in the log: behind the event at `position`, or at a time. */
export type Moment = { readonly position: number } | { readonly time: number };

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const HINT = 'for example: 2h, 3d, 1h30m (ago), 2026-11-22 or 2026-11-22T18:04:51Z (UTC unless it says otherwise)';

/** `2h` (ago), `now`, or a date with or without time. @throws Rejected with examples */
export function parseTime(text: string, now: number): number {
  const word = text.trim();
  if (word === 'now') return now;
  const ago = /^(?:\d{1,9}[smhdw])+$/.test(word);
  const time = ago
    ? now - [...word.matchAll(/(\d+)([smhdw])/g)].reduce((sum, [, n, unit]) => sum + Number(n) * UNITS[unit!]!, 0)
    : dateOf(word);
  // a Date holds no more
  if (time === null || !Number.isFinite(time) || Math.abs(time) > 8.64e15) throw new Rejected('time.form', `'${shown(text, 40)}' is not a time`, HINT);
  return time;
}

function dateOf(word: string): number | null {
  const match = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)\s*(Z|[+-]\d{2}:?\d{2})?)?$/i.exec(word);
  if (!match) return null;
  const [, day, clock = '00:00', zone = 'Z'] = match;
  const time = Date.parse(`${day}T${clock}${zone.toUpperCase()}`);
  // 31 February is none, though Date makes a day of it
  return Number.isNaN(time) || new Date(`${day}T00:00Z`).toISOString().slice(0, 10) !== day ? null : time;
}

/** A position, or a time as `parseTime` reads it. */
export function parseMoment(text: string, now: number): Moment {
  const word = text.trim();
  return /^#?\d{1,15}$/.test(word) ? { position: Number(word.replace('#', '')) } : { time: parseTime(text, now) };
}
