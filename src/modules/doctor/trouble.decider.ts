import type { Decider } from '../../events/decider.js';
import type { TroubleEvent } from '../../events/types/notification.events.js';
import type { Check } from './check.js';

export const TROUBLES = 'troubles';
interface Open { readonly health: 'warn' | 'bad'; readonly since: number }
/** What is not well of the server, by the check that found it. Stream `troubles`. */
export interface TroublesState { readonly open: Readonly<Record<string, Open>> }
/** What was looked at; what was not looked at stays as it was. */
export interface Look { readonly type: 'Look'; readonly checks: readonly Check[]; readonly now: number }

/** A trouble is said when it begins, when it gets worse, and when it is over: not with every look. */
export const troubles: Decider<TroublesState, Look, TroubleEvent> = {
  initial: { open: {} },
  decide({ checks, now }, { open }) {
    return checks.flatMap(({ check, health, detail, means, todo }): TroubleEvent[] => {
      const before = Object.hasOwn(open, check) ? open[check]! : null;
      if (health === 'ok') return before ? [{ type: 'TroubleEnded', data: { check, detail, lastedMs: Math.max(0, now - before.since) } }] : [];
      if (before && (before.health === health || health === 'warn')) return [];
      return [{ type: 'TroubleSeen', data: { check, health, detail, means: means ?? '', todo: todo ?? '', at: now } }];
    });
  },
  evolve({ open }, event) {
    const { [event.data.check]: before, ...others } = open;
    return { open: event.type === 'TroubleEnded' ? others : { ...others, [event.data.check]: { health: event.data.health, since: before?.since ?? event.data.at } } };
  },
};
