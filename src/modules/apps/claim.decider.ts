import { Rejected, type Decider } from '../../events/decider.js';
import type { ClaimEvent } from '../../events/types/app.events.js';

/** Who holds a name (app name or domain); null = free. Stream `name-<name>` or `domain-<host>`. */
export type ClaimState = string | null;
export type ClaimCommand = { type: 'Claim'; name: string; app: string } | { type: 'Release'; name: string; app: string };

/** A name belongs to one app at a time. */
export const claims: Decider<ClaimState, ClaimCommand, ClaimEvent> = {
  initial: null,
  decide({ type, name, app }, holder) {
    if (type === 'Claim') {
      if (holder === app) return [];
      if (holder !== null) throw new Rejected('name.taken', `${name} is already taken`);
      return [{ type: 'NameClaimed', data: { name, app } }];
    }
    return holder === app ? [{ type: 'NameReleased', data: { name, app } }] : [];
  },
  evolve: (_, event) => (event.type === 'NameClaimed' ? event.data.app : null),
};
