import type { ContainerSummary, EnginePort } from '../../drivers/engine/engine.port.js';
import { pipelineStream } from '../apps/app-context.js';
import type { Core } from '../core.js';
import { pipeline } from '../deploys/pipeline.decider.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { drift, type Finding } from './drift.decider.js';
import { findings } from './drift.plan.js';
import type { Drifts } from './drift.projection.js';

export const driftStream = (app: string): string => `drift-${app}`;
const ACTOR = 'system:reconciler';
/** containers started at the same time */
const PARALLEL = 4;

/** Compares what runs with what the log says should run; drift is recorded, and its repair before it begins: a start, or a deploy like any other. */
export class Reconciler {
  constructor(private readonly core: Core, private readonly engine: Pick<EnginePort, 'startContainer'>) {}

  /**
   * @param containers the engine's list, taken before this call
   * @param back the machine or its engine has just come back
   */
  async check(containers: readonly ContainerSummary[], back = false): Promise<void> {
    const seen = new Map(containers.map((c) => [c.id, c]));
    const board = await this.core.board.now();
    const known = await this.core.drifts.now();
    const starts: string[] = [];
    for (const app of Object.values(board.apps)) if (app.live) starts.push(...await this.app(app, findings(app, seen), known, back));
    const errors: unknown[] = [];
    await Promise.all(Array.from({ length: PARALLEL }, async () => {
      for (let id = starts.shift(); id !== undefined; id = starts.shift()) await this.engine.startContainer(id).catch((error: unknown) => { errors.push(error); });
    }));
    // it is seen again, and its repair tried again, by the next look
    if (errors.length > 0) throw errors[0];
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

  /** Answers which containers are to be started. */
  private async app(app: AppRow, found: readonly Finding[], known: Readonly<Drifts>, back: boolean): Promise<string[]> {
    if (found.length === 0 && Object.keys(known[app.id]?.open ?? {}).length === 0) return [];
    const subjects = new Set(await this.observe(app.id, found, false, this.core.now(), back));
    return (app.live?.containers ?? []).filter((c) => subjects.has(`${c.type}.${c.index}`)).map((c) => c.id);
  }

  /** Answers which processes are to be started. */
  private async observe(app: string, found: readonly Finding[], busy: boolean, now = this.core.now(), back = false): Promise<readonly string[]> {
    const { answer } = await change({ core: this.core, actor: ACTOR }, 'reconcile', app, async (draft) => {
      const { state } = await draft.load(pipeline, pipelineStream(app));
      const events = await draft.decide(drift, driftStream(app), { type: 'Observe', app, findings: found, now, busy: busy || state.running !== null, back });
      const repair = events.find((event) => event.type === 'RepairStarted');
      if (repair?.data.by === 'deploy') await draft.deploy(app, 'repair', ACTOR);
      return repair?.data.by === 'start' ? repair.data.subjects : [];
    });
    return answer;
  }
}
