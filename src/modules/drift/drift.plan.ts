import type { AppRow } from '../read/board.projection.js';
import type { Finding } from './drift.decider.js';

/** A container as the engine shows it. */
export interface Observed { readonly id: string; readonly state: string }

/** What of a live app does not run as the log says. Pure; `running` is the engine's list, taken before the board was asked. */
export function findings(app: Pick<AppRow, 'live'>, containers: ReadonlyMap<string, Observed>): Finding[] {
  return (app.live?.containers ?? []).flatMap((wanted): Finding[] => {
    const found = containers.get(wanted.id);
    const subject = `${wanted.type}.${wanted.index}`;
    if (!found) return [{ what: 'container-missing', subject, detail: `${wanted.name} (${wanted.id.slice(0, 12)}) is not there any more` }];
    if (found.state === 'restarting') return [{ what: 'container-restarting', subject, detail: `${wanted.name} crashed and is being restarted` }];
    if (found.state !== 'running') return [{ what: 'container-stopped', subject, detail: `${wanted.name} is ${found.state}` }];
    return [];
  });
}
