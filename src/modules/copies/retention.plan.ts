import type { Keep } from '../../events/types/copy.events.js';

/** a week of days, a month of weeks, half a year of months, and always the last three */
export const KEEP: Keep = { last: 3, daily: 7, weekly: 4, monthly: 6 };
/** safety copies of restores that stay */
export const KEEP_SAFETY = 3;

const DAY_MS = 86_400_000;
/** the first Monday of the epoch, in days: weeks begin there */
const MONDAY = 4;

const SPANS: Readonly<Record<Exclude<keyof Keep, 'last'>, (at: number) => string>> = {
  daily: (at) => new Date(at).toISOString().slice(0, 10),
  weekly: (at) => String(Math.floor((Math.floor(at / DAY_MS) - MONDAY) / 7)),
  monthly: (at) => new Date(at).toISOString().slice(0, 7),
};

interface Aged { readonly copy: number; readonly at: number }

/**
 * Which of these copies go: those that no rule keeps. A rule keeps the newest copy of each of the newest spans that have one, as restic and borg do;
 * the newest copy always stays. @param copies of one subject in one place, `at` in ms since the epoch
 */
export function expired<C extends Aged>(copies: readonly C[], keep: Keep): C[] {
  const newest = copies.toSorted((a, b) => b.at - a.at || b.copy - a.copy);
  const kept = new Set(newest.slice(0, Math.max(1, keep.last)).map(({ copy }) => copy));
  for (const [rule, spanOf] of Object.entries(SPANS)) {
    const spans = new Set<string>();
    for (const { copy, at } of newest) {
      const span = spanOf(at);
      if (spans.has(span)) continue;
      if (spans.size >= keep[rule as keyof Keep]) break;
      spans.add(span);
      kept.add(copy);
    }
  }
  return copies.filter(({ copy }) => !kept.has(copy));
}
