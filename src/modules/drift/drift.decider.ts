import type { Decider } from '../../events/decider.js';
import type { DriftEvent, DriftKind } from '../../events/types/app.events.js';

/** Something of an app that is not as the log says. `subject`: `web.1`, or a host for routes. */
export interface Finding { readonly what: DriftKind; readonly subject: string; readonly detail: string }

/** Drift of one app. Stream `drift-<app id>`. */
export interface DriftState {
  readonly open: Readonly<Record<string, Finding & { readonly since: number }>>;
  /** when repairs were started that did not last, ms since the epoch, oldest first */
  readonly repairs: readonly number[];
  readonly looping: boolean;
}

export interface Observe { readonly type: 'Observe'; readonly app: string; readonly findings: readonly Finding[]; readonly now: number; /** a deploy of the app is under way: it makes new containers by itself */ readonly busy: boolean; /** the machine or its engine has just come back: what stopped did so with it */ readonly back?: boolean }

/** waits before the second, third, … repair, ms; the last one stays */
export const REPAIR_BACKOFF = [0, 15_000, 60_000, 300_000, 900_000, 3_600_000] as const;
/** an app that held for this long after a repair is well again: the count begins anew */
export const WELL_AFTER_MS = 600_000;
/** repairs after which it is called a crash loop */
export const LOOP_AFTER = 3;

const keyOf = (finding: Pick<Finding, 'what' | 'subject'>): string => `${finding.what} ${finding.subject}`;
/** what a new container helps against; the engine itself restarts the others, and the router is written directly */
const repairable = (finding: Finding): boolean => finding.what === 'container-missing' || finding.what === 'container-stopped';

/** When the next repair may start, given those before. */
export function nextRepair(repairs: readonly number[]): number {
  const last = repairs.at(-1);
  return last === undefined ? 0 : last + REPAIR_BACKOFF[Math.min(repairs.length, REPAIR_BACKOFF.length - 1)]!;
}

export const drift: Decider<DriftState, Observe, DriftEvent> = {
  initial: { open: {}, repairs: [], looping: false },

  decide({ app, findings, now, busy, back = false }, state) {
    const seen = new Map(findings.map((finding) => [keyOf(finding), finding]));
    const events: DriftEvent[] = [];
    for (const [key, finding] of seen) if (!Object.hasOwn(state.open, key)) events.push({ type: 'DriftDetected', data: { app, what: finding.what, subject: finding.subject, detail: finding.detail, at: now } });
    for (const [key, { what, subject, since }] of Object.entries(state.open)) if (!seen.has(key)) events.push({ type: 'DriftEnded', data: { app, what, subject, lastedMs: Math.max(0, now - since) } });
    const broken = [...seen.values()].filter(repairable);
    const stopped = broken.filter((finding) => finding.what === 'container-stopped');
    const recent = back ? [] : state.repairs.filter((at) => now - at < WELL_AFTER_MS + REPAIR_BACKOFF[Math.min(state.repairs.length, REPAIR_BACKOFF.length - 1)]!);
    // what does not stay up is made anew; while a deploy is under way that is the deploy's, and the app shall serve until then
    const by = stopped.length > 0 && (recent.length === 0 || busy) ? 'start' : 'deploy';
    if (broken.length === 0 || (by === 'deploy' && busy) || now < nextRepair(recent)) return events;
    events.push({ type: 'RepairStarted', data: { app, attempt: recent.length + 1, subjects: (by === 'start' ? stopped : broken).map((finding) => finding.subject), by, at: now } });
    if (recent.length + 1 >= LOOP_AFTER && !state.looping) {
      events.push({ type: 'CrashLoopDetected', data: { app, repairs: recent.length + 1, withinMs: now - recent[0]!, nextTry: nextRepair([...recent, now]) } });
    }
    return events;
  },

  evolve(state, event) {
    switch (event.type) {
      case 'DriftDetected': return { ...state, open: { ...state.open, [keyOf(event.data)]: { ...event.data, since: event.data.at } } };
      case 'DriftEnded': {
        const { [keyOf(event.data)]: _, ...open } = state.open;
        return { ...state, open };
      }
      case 'RepairStarted': return { ...state, repairs: event.data.attempt === 1 ? [event.data.at] : [...state.repairs, event.data.at], looping: event.data.attempt < LOOP_AFTER ? false : state.looping };
      case 'CrashLoopDetected': return { ...state, looping: true };
    }
  },
};
