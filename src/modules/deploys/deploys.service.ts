import type { Config } from '../../config.js';
import { Rejected } from '../../events/decider.js';
import { metaOf, type Repository } from '../../events/repository.js';
import type { Recorded } from '../../events/event.js';
import type { Transaction } from '../../events/store.port.js';
import type { AppContext, DeploySource } from '../../events/types/deploy.events.js';
import { apps } from '../apps/app.decider.js';
import { appStream, loadContext, pipelineStream } from '../apps/app-context.js';
import { pipeline, type PipelineCommand } from './pipeline.decider.js';
import type { PipelineState } from './pipeline.state.js';
import { correlated, correlationOf, workFor } from './pipeline.work.js';

type Later<C> = C extends { context: AppContext } ? Omit<C, 'context'> : C;
export type PipelineWish = Later<PipelineCommand>;

/** What goes into the same transaction as the pipeline's events. */
export interface Beside {
  readonly claim?: Transaction['claim'];
  readonly finish?: Transaction['finish'];
  readonly giveBack?: Transaction['giveBack'];
}

/** The impure rim of the pipeline decider: loads, decides, and writes events and work rows in one transaction. */
export class Pipelines {
  constructor(readonly repository: Repository, private readonly config: Config, private readonly now: () => number = Date.now) {}

  async state(app: string): Promise<PipelineState> {
    return (await this.repository.load(pipeline, pipelineStream(app))).state;
  }

  /**
   * Decides `wish` for the app and writes what follows. Nothing is written when nothing follows, but for a claim.
   * @throws Rejected, LeaseLost, StoreUnavailable
   */
  async handle(app: string, wish: PipelineWish, who: { actor: string; command: string }, beside: Beside = {}): Promise<Recorded[]> {
    return this.repository.transact(async () => {
      const { state, version } = await this.repository.load(pipeline, pipelineStream(app));
      // after the pipeline, so that the context is at least as new as what is decided on
      const context = await loadContext(this.repository, this.config, app);
      // nothing begins anew, nor is anything said, of an app that is destroyed at the same moment
      const owner = wish.type === 'Retry' || wish.type === 'Discard' ? await this.repository.load(apps, appStream(app)) : null;
      if (owner && owner.state.status !== 'live') throw new Rejected('app.missing', `App ${owner.state.name} does not exist any more`, 'see: berth apps:list', 20);
      const events = pipeline.decide({ ...wish, context } as PipelineCommand, state);
      // a report that comes too late ends no row either: whoever has it now needs it
      if (events.length === 0 && !beside.claim) return null;
      const deploy = events.find((e) => e.data.deploy)?.data.deploy ?? state.running?.deploy;
      return {
        appends: [...(events.length > 0 ? [{ stream: pipelineStream(app), expected: version, events: correlated(events) }] : []), ...(owner ? [{ stream: appStream(app), expected: owner.version, events: [] }] : [])],
        meta: metaOf(who.actor, who.command, correlationOf(app, deploy ?? 0)),
        now: this.now(), ...workFor(events, state), ...beside,
      };
    });
  }
}

export const NO_SOURCE: DeploySource = { sha: null, branch: null, quarantine: null, release: null };
