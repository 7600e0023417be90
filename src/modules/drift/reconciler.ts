import type { ContainerSummary } from '../../drivers/engine/engine.port.js';
import { pipelineStream } from '../apps/app-context.js';
import type { Core } from '../core.js';
import { pipeline } from '../deploys/pipeline.decider.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { drift, type Finding } from './drift.decider.js';
import { findings } from './drift.plan.js';

export const driftStream = (app: string): string => `drift-${app}`;
const ACTOR = 'system:reconciler';

/** Compares what runs with what the log says should run; drift is recorded, its repair is a deploy like any other. */
export class Reconciler {
  constructor(private readonly core: Core) {}

  /** @param containers the engine's list, taken before this call */
  async check(containers: readonly ContainerSummary[]): Promise<void> {
    const seen = new Map(containers.map((c) => [c.id, c]));
    const board = await this.core.board.now();
    for (const app of Object.values(board.apps)) if (app.live) await this.app(app, findings(app, seen));
  }

  /** Routes that were not as the log says and were written anew: recorded as drift that ended. */
  async routes(hosts: ReadonlyMap<string, readonly string[]>): Promise<void> {
    for (const [app, changes] of hosts) {
      const now = this.core.now();
      const found = changes.map((detail): Finding => ({ what: 'route', subject: 'router', detail }));
      await this.observe(app, found.slice(0, 1), true);
      await this.observe(app, [], true, now);
    }
  }

  private async app(app: AppRow, found: readonly Finding[]): Promise<void> {
    const { state } = await this.core.repository.load(drift, driftStream(app.id));
    // the common case costs one read of a short stream that is in memory
    if (found.length === 0 && Object.keys(state.open).length === 0) return;
    await this.observe(app.id, found, false);
  }

  private async observe(app: string, found: readonly Finding[], busy: boolean, now = this.core.now()): Promise<void> {
    await change({ core: this.core, actor: ACTOR }, 'reconcile', app, async (draft) => {
      const { state } = await draft.load(pipeline, pipelineStream(app));
      const events = await draft.decide(drift, driftStream(app), { type: 'Observe', app, findings: found, now, busy: busy || state.running !== null });
      if (events.some((event) => event.type === 'RepairStarted')) await draft.deploy(app, 'repair', ACTOR);
    });
  }
}
