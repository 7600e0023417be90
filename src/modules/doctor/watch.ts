import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { Check } from './check.js';
import { TROUBLES, troubles } from './trouble.decider.js';

/** ms: disks and certificates are not that quick */
const EVERY = 5 * 60_000;
/** after the start, ms: much is still coming up */
const FIRST = 60_000;

/** Looks now and then at what nobody asks about until it is too late, and writes down when it is not well, and when it is again. */
export class Watch {
  private due: number;
  private looking: Promise<void> | null = null;

  constructor(private readonly core: Core, private readonly checks: (core: Core) => Promise<readonly Check[]>, private readonly report: Report) {
    this.due = core.now() + FIRST;
  }

  /** Call as often as you like. Answers when a look that is due is over. */
  async run(): Promise<void> {
    if (this.core.now() < this.due) return;
    this.looking ??= this.look().catch((error: unknown) => this.report('what the doctor watches', error)).finally(() => { this.looking = null; });
    await this.looking;
  }

  async stop(): Promise<void> {
    this.due = Number.POSITIVE_INFINITY;
    await this.looking;
  }

  private async look(): Promise<void> {
    const { core } = this;
    this.due = core.now() + EVERY;
    const checks = await this.checks(core);
    await change({ core, actor: 'system:doctor' }, 'doctor', TROUBLES, (draft) => draft.decide(troubles, TROUBLES, { type: 'Look', checks, now: core.now() }));
  }
}
