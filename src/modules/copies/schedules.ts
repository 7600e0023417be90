import { Rejected } from '../../events/decider.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { askBackup } from './ask.js';
import { copies } from './copies.decider.js';
import type { CopiesRow } from './copies.projection.js';
import { dueTime } from './schedule.js';
import { copiesStream, namer } from './subject.js';

const ACTOR = 'system:schedule';

type Scheduled = CopiesRow & { readonly schedule: NonNullable<CopiesRow['schedule']>; readonly subject: NonNullable<CopiesRow['subject']> };

/** Schedules of what is still there. */
export async function scheduled(core: Core): Promise<Scheduled[]> {
  const nameOf = await namer(core);
  return Object.values((await core.copies.now()).groups).filter((row): row is Scheduled => row.schedule !== null && row.subject !== null && nameOf(row.subject) !== null);
}

/** Asks for the backups whose time came, each once, however many times were missed and however many look. */
export class Schedules {
  constructor(private readonly core: Core, private readonly report: Report) {}

  async fire(): Promise<void> {
    const now = this.core.now();
    for (const { group, subject } of await scheduled(this.core)) {
      try {
        await change({ core: this.core, actor: ACTOR }, 'schedule', group, async (draft) => {
          const { schedule } = (await draft.load(copies, copiesStream(group))).state;
          const due = schedule && dueTime(schedule, schedule.done, now);
          if (due === null) return;
          const asked = await draft.attempt(() => askBackup(draft, subject, schedule!.place, ACTOR)).catch((error: unknown) => error);
          if (typeof asked === 'number') return void await draft.decide(copies, copiesStream(group), { type: 'Due', group, due, operation: asked });
          if (!(asked instanceof Rejected)) throw asked;
          // it stands among the failures, and is not asked for again before its next time
          await draft.decide(copies, copiesStream(group), { type: 'Due', group, due, operation: 0 });
          await draft.decide(copies, copiesStream(group), { type: 'Fail', group, subject, what: 'backup', operation: 0, copy: null, step: 'schedule', failure: { code: asked.code, message: asked.message, hint: asked.hint, fault: 'user' } });
        });
      } catch (error) {
        this.report(`schedule of ${group}`, error);
      }
    }
  }
}
