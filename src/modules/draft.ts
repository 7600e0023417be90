import { randomBytes } from 'node:crypto';
import { fold, Rejected, type Decider } from '../events/decider.js';
import { traceOf, type NewEvent, type Recorded } from '../events/event.js';
import { metaOf, type Loaded } from '../events/repository.js';
import type { Append, NewWork } from '../events/store.port.js';
import type { DeployKind, DeploySource, PipelineEvent } from '../events/types/deploy.events.js';
import type { OperationEvent } from '../events/types/operation.events.js';
import { apps } from './apps/app.decider.js';
import { appStream, loadContext, pipelineStream } from './apps/app-context.js';
import type { CommandContext } from './commands/command.js';
import type { Core } from './core.js';
import { NO_SOURCE } from './deploys/deploys.service.js';
import { pipeline } from './deploys/pipeline.decider.js';
import { correlated, correlationOf, workFor } from './deploys/pipeline.work.js';
import { operations, type OperationCommand } from './operations/operation.decider.js';
import { operationWork } from './operations/operation.work.js';
import { requests } from './commands/request.decider.js';

export const operationsStream = (group: string): string => `operations-${group}`;

interface Staged extends Loaded<unknown> { readonly expected: number; readonly events: readonly NewEvent[] }

/** Decisions over several streams that are written together or not at all; later ones see what earlier ones decided. */
export class Draft {
  private readonly staged = new Map<string, Staged>();
  private readonly work: NewWork[] = [];
  private readonly drop: string[] = [];
  /** streams of pipelines and operations: their events have the correlation of their own deploy or operation */
  private readonly pipelines = new Set<string>();
  /** correlation of the first deploy or operation that was asked for; null: of none */
  asked: string | null = null;
  /** streams that were looked at and must not have changed, and their versions */
  private readonly looked = new Map<string, number>();

  constructor(readonly core: Core) {}

  async load<S, E extends NewEvent>(decider: Pick<Decider<S, never, E>, 'initial' | 'evolve'>, stream: string): Promise<Loaded<S>> {
    return (this.staged.get(stream) as Loaded<S> | undefined) ?? this.core.repository.load(decider, stream);
  }

  /** The same of a stream that must still be as it is when this draft is written. */
  async watch<S, E extends NewEvent>(decider: Pick<Decider<S, never, E>, 'initial' | 'evolve'>, stream: string): Promise<Loaded<S>> {
    const loaded = await this.load(decider, stream);
    this.looked.set(stream, loaded.version);
    return loaded;
  }

  /** Decides a command on a stream; what follows is part of this draft. */
  async decide<S, C, E extends NewEvent>(decider: Decider<S, C, E>, stream: string, command: C): Promise<readonly E[]> {
    const { state, version } = await this.load(decider, stream);
    const events = decider.decide(command, state);
    const before = this.staged.get(stream);
    this.staged.set(stream, {
      state: fold(decider, events, state), version: version + events.length,
      expected: before?.expected ?? version, events: [...(before?.events ?? []), ...events],
    });
    return events;
  }

  /** Asks for a deploy of the app as this draft leaves it; null when nothing has to be deployed. */
  async deploy(app: string, kind: DeployKind, by: string, source: DeploySource = NO_SOURCE): Promise<number | null> {
    const { state: owner } = await this.watch(apps, appStream(app)); // not destroyed while this is decided
    if (owner.status !== 'live') throw new Rejected('app.missing', `App ${owner.name || app} does not exist any more`, 'see: berth apps:list', 20);
    const context = await loadContext(this, this.core.config, app);
    const { state } = await this.load(pipeline, pipelineStream(app));
    this.pipelines.add(pipelineStream(app));
    const events = (await this.decide(pipeline, pipelineStream(app), { type: 'Request', kind, source, by, context })) as readonly PipelineEvent[];
    const { work, drop } = workFor(events, state);
    this.work.push(...work);
    this.drop.push(...drop);
    const deploy = events.find((event) => event.type === 'BuildRequested' || event.type === 'DeployRequested')?.data.deploy ?? null;
    if (deploy !== null) this.asked ??= correlationOf(app, deploy);
    return deploy;
  }

  /** Decides a command on a group's operations, with the work rows that belong to it. */
  async operation(group: string, command: OperationCommand): Promise<readonly OperationEvent[]> {
    const stream = operationsStream(group);
    const { state } = await this.load(operations, stream);
    this.pipelines.add(stream);
    const events = await this.decide(operations, stream, command);
    const { work, drop } = operationWork(events, state);
    this.work.push(...work);
    this.drop.push(...drop);
    if (events[0]?.type === 'OperationRequested') this.asked ??= correlationOf(group, events[0].data.operation);
    return events;
  }

  /** Decisions that are all part of this draft, or none of them when `decide` throws. */
  async attempt<T>(decide: () => Promise<T>): Promise<T> {
    const before = { staged: new Map(this.staged), work: this.work.length, drop: this.drop.length, asked: this.asked };
    try {
      return await decide();
    } catch (error) {
      this.staged.clear();
      for (const [stream, staged] of before.staged) this.staged.set(stream, staged);
      this.work.length = before.work;
      this.drop.length = before.drop;
      this.asked = before.asked;
      throw error;
    }
  }

  /** Cancels whatever of the app's deploys is open. */
  async cancelAll(app: string, by: string, reason: string): Promise<void> {
    for (;;) {
      const { state, version } = await this.load(pipeline, pipelineStream(app));
      const open = [state.waiting.source, state.waiting.converge, state.running].find((request) => request !== null);
      if (!open) return void this.looked.set(pipelineStream(app), version); // nor asked for meanwhile
      const context = await loadContext(this, this.core.config, app);
      this.pipelines.add(pipelineStream(app));
      const events = await this.decide(pipeline, pipelineStream(app), { type: 'Cancel', deploy: open.deploy, by, reason, context });
      this.drop.push(...workFor(events, state).drop);
    }
  }

  /** What is to be written, and streams without events that must still be as they were. Nothing at all when there is no event. */
  transaction(): { appends: Append[]; work: NewWork[]; drop: string[] } {
    const appends = [...this.staged].filter(([, { events }]) => events.length > 0).map(([stream, { expected, events }]): Append => ({ stream, expected, events: this.pipelines.has(stream) ? correlated(events as (PipelineEvent | OperationEvent)[]) : events }));
    const written = new Set(appends.map(({ stream }) => stream));
    const looked = appends.length === 0 ? [] : [...this.looked].filter(([stream]) => !written.has(stream)).map(([stream, expected]) => ({ stream, expected, events: [] }));
    return { appends: [...appends, ...looked], work: this.work, drop: this.drop };
  }
}

/**
 * Runs a command's decisions and writes them in one transaction, again from the start when someone else was quicker. `about` begins
 * the correlation of its own events; a deploy's have the deploy's. Answers what `decide` answered, and the events.
 */
export async function change<T>(context: Pick<CommandContext, 'core' | 'actor' | 'once'>, command: string, about: string, decide: (draft: Draft) => Promise<T>, causation: string | null = null): Promise<{ answer: T; events: readonly Recorded[] }> {
  const { core, actor } = context;
  const correlation = `${about}:${randomBytes(6).toString('hex')}`;
  let answer!: T;
  const events = await core.repository.transact(async () => {
    const draft = new Draft(core);
    if (context.once) await draft.decide(requests, context.once.stream, { type: 'CarryOut', ...context.once });
    answer = await decide(draft);
    const { appends, work, drop } = draft.transaction();
    if (appends.length === 0) return null;
    return { appends, work, drop, meta: metaOf(actor, command, correlation, traceOf(draft.asked ?? correlation), causation), now: core.now() };
  });
  return { answer, events };
}
