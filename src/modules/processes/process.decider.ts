import { Rejected, type Decider } from '../../events/decider.js';
import type { Formation, ProcessEvent } from '../../events/types/app.events.js';
import { shown } from '../apps/app.decider.js';

export type ScaleCommand = { type: 'Scale'; app: string; changes: Readonly<Record<string, number>>; known: readonly string[] | null };

/** most containers of one process type; a network holds 250 */
export const SCALE_MAX = 100;

/** How many containers run of each process type; `web` is 1 until said otherwise. Stream `processes-<app id>`. */
export const processes: Decider<Formation, ScaleCommand, ProcessEvent> = {
  initial: { web: 1 },
  decide({ app, changes, known }, from) {
    for (const [type, count] of Object.entries(changes)) {
      if (!/^[a-z0-9-]{1,63}$/.test(type)) throw new Rejected('processes.type', `'${shown(type)}' is not a process type`, 'lower-case letters, digits and hyphens: web=2');
      if (type === 'release') throw new Rejected('processes.type', "'release' is a task that runs once a deploy, it cannot be scaled");
      if (!Number.isInteger(count) || count < 0) throw new Rejected('processes.count', `${type}=${count}: a count is a whole number, 0 or more`, `for example: berth ps:scale <app> ${type}=2`);
      if (count > SCALE_MAX) throw new Rejected('processes.count', `${type}=${count}: at most ${SCALE_MAX} containers of one process type fit a server`, `for example: berth ps:scale <app> ${type}=2`);
      if (known && !known.includes(type)) throw new Rejected('processes.unknown', `The app has no process type '${type}'; it has: ${known.join(', ')}`, 'process types come from the Procfile');
    }
    const to = { ...from, ...changes };
    const same = Object.keys(to).every((type) => to[type] === (from[type] ?? -1));
    return same ? [] : [{ type: 'ContainerScaled', data: { app, from, to } }];
  },
  evolve: (_, event) => event.data.to,
};

/** Reads `web=2 worker=1`; throws Rejected naming the word that is not of that form. */
export function parseScale(words: readonly string[]): Record<string, number> {
  const changes: [string, number][] = [];
  for (const word of words) {
    const match = /^([^=]+)=(-?\d{1,12}(?:\.\d+)?|[^=]*)$/.exec(word);
    if (!match) throw new Rejected('processes.form', `'${shown(word)}' is not of the form <process type>=<count>`, 'for example: web=2');
    const count = /^-?\d+(?:\.\d+)?(?:e\d+)?$/.test(match[2]!) ? Number(match[2]) : Number.NaN;
    if (!Number.isInteger(count)) throw new Rejected('processes.count', `${shown(word)}: a count is a whole number, 0 or more`, `for example: ${shown(match[1]!)}=2`);
    changes.push([match[1]!, count]);
  }
  return Object.fromEntries(changes);
}
