import { sleep, systemClock, type Clock } from '../events/clock.js';
import { Rejected } from '../events/decider.js';
import type { Recorded } from '../events/event.js';
import { metaOf } from '../events/repository.js';
import { LeaseLost, StoreUnavailable, type EventStore } from '../events/store.port.js';
import type { Failure, Step, StepOutput } from '../events/types/deploy.events.js';
import type { Pipelines } from '../modules/deploys/deploys.service.js';
import type { Extended } from '../modules/deploys/pipeline.state.js';
import type { WorkPayload } from '../modules/deploys/pipeline.work.js';
import { StepFailure, type Replies, type StepContext, type StepLog, type StepWork } from '../events/step.js';

export interface Timings { readonly leaseMs: number; readonly heartbeatMs: number }
export const TIMINGS: Timings = { leaseMs: 5000, heartbeatMs: 1000 };

/** Longest a step may take, ms; the build's own limit comes with its input. */
export const DEADLINES: Readonly<Record<Step, number>> = { clone: 15 * 60_000, detect: 3 * 60_000, build: 6 * 3_600_000, release: 3_600_000, route: 10 * 60_000 };

export interface RunnerPorts {
  readonly store: EventStore;
  readonly pipelines: Pipelines;
  /** a log for the step's output; `close` when its lines are safe */
  openLog(app: string, deploy: number, step: Step, attempt: number): { log: StepLog; close(): Promise<void> };
  readonly now: () => number;
  /** which process this is, recorded with each claim */
  readonly where: { readonly pid: number; readonly host: string };
  /** a problem of ours, for the worker's own log */
  readonly report: (message: string, error: unknown) => void;
  readonly timings?: Timings;
  /** timers; the system's unless said */
  readonly clock?: Clock;
}

export interface Doing { readonly job: string; readonly since: number }

/** Why a step's signal was aborted. */
class Stopped extends Error {
  constructor(readonly why: 'lease-lost' | 'deadline' | 'shutdown') {
    super(why);
  }
}

function failureOf(error: unknown, why: Stopped | null, stoodMs: number): Failure {
  if (why?.why === 'deadline') return { code: 'step.deadline', message: 'the step took longer than it may', hint: 'see what it waits for: berth trace', fault: 'user' };
  // every limit of the step ran out while nobody ran: what it says of the app means nothing
  if (stoodMs > 0 && error instanceof StepFailure && error.fault === 'user') return { code: 'step.stood-still', message: `this server stood still for ${Math.round(stoodMs / 1000)} s; the step said: ${error.message}`, hint: 'a fault of this server, not of the app', fault: 'machine' };
  if (error instanceof StepFailure) return { code: error.code, message: error.message, hint: error.hint, fault: error.fault };
  if ((error as NodeJS.ErrnoException | null)?.code === 'ENOSPC') return { code: 'step.disk-full', message: `no space left on this server's disk: ${(error as Error).message}`, hint: 'make room: see berth doctor; the step is tried again by itself', fault: 'machine' };
  const text = error instanceof Error ? error.message : String(error);
  return { code: 'step.fault', message: text, hint: 'a fault of this server, not of the app', fault: 'machine' };
}

/**
 * Turns a ticket into a recorded outcome: claims the row in the store, works under a heartbeat, appends the outcome in the same
 * transaction that ends the row. Whoever lost the lease writes nothing.
 */
export class StepRunner<S extends Step> {
  private readonly running = new Map<string, { doing: Doing; abort: AbortController; settled: Promise<void> }>();
  private stopping = false;
  private claims = 0;
  done = 0;

  constructor(private readonly step: S, private readonly work: StepWork<S>, private readonly ports: RunnerPorts, private readonly worker: string) {}

  private get clock(): Clock {
    return this.ports.clock ?? systemClock;
  }

  get doing(): Doing[] {
    return [...this.running.values()].map((r) => r.doing);
  }

  /** Carries out one ticket; never throws what another attempt could repair. `ticket` tells this claim from any other. */
  async take(workId: string, ticket: string): Promise<void> {
    if (this.stopping) return; // the relay finds it again
    const row = await this.ports.store.work(workId);
    if (!row || row.state === 'done' || row.state === 'dropped') return;
    const { app, job } = row.payload as WorkPayload;
    // one ticket may come to one process twice, when its lock was lost: each claim is somebody else
    const owner = `${this.worker}:${ticket}.${++this.claims}`;
    const { leaseMs } = this.ports.timings ?? TIMINGS;
    const who = { actor: `worker:${this.worker}`, command: `step:${this.step}` };
    let attempt: number;
    try {
      const waitedMs = Math.max(0, this.ports.now() - Math.max(row.addedAt, row.notBefore));
      const claimed = await this.ports.pipelines.handle(app, { type: 'Claim', job, worker: this.worker, waitedMs, ...this.ports.where }, who, { claim: { id: workId, owner, leaseMs } });
      const started = claimed.find((event) => event.type === 'StepStarted');
      if (!started) {
        // nobody waits for this any more
        await this.ports.store.transact({ appends: [], meta: metaOf(who.actor, who.command, job), now: this.ports.now(), finish: { id: workId, owner } });
        return;
      }
      attempt = (started.data as { attempt: number }).attempt;
    } catch (error) {
      if (error instanceof LeaseLost) return;
      throw error;
    }
    const state = await this.ports.pipelines.state(app);
    const run = state.running;
    if (!run || run.job !== job) return;
    const abort = new AbortController();
    const settled = this.carryOut({ app, deploy: run.deploy, job, attempt, input: run.input as StepContext<S>['input'], workId, owner, abort, who }, run.extended ?? []);
    this.running.set(owner, { doing: { job, since: this.ports.now() }, abort, settled });
    try {
      await settled;
      this.done += 1;
    } finally {
      this.running.delete(owner);
    }
  }

  private async carryOut(claim: { app: string; deploy: number; job: string; attempt: number; input: StepContext<S>['input']; workId: string; owner: string; abort: AbortController; who: { actor: string; command: string } }, extended: readonly Extended[]): Promise<void> {
    const { app, deploy, job, attempt, input, workId, owner, abort, who } = claim;
    const { store, pipelines, now } = this.ports;
    const { leaseMs, heartbeatMs } = this.ports.timings ?? TIMINGS;
    const { log, close } = this.ports.openLog(app, deploy, this.step, attempt);
    // a log that cannot be written (disk full) is a pity; the outcome counts all the same
    const closed = (): Promise<void> => (closing ??= close().catch((error: unknown) => this.ports.report(`log of ${job}`, error)));
    let closing: Promise<void> | null = null;
    const clock = this.clock;
    const started = now();
    let [beaten, stood] = [started, 0];
    const look = (): number => {
      if (now() - beaten > leaseMs) stood = Math.max(stood, now() - beaten);
      beaten = now();
      return stood;
    };
    const beat = clock.setInterval(() => {
      look();
      store.heartbeat(workId, owner, now(), leaseMs).then(
        (mine) => { if (!mine) abort.abort(new Stopped('lease-lost')); },
        (error: unknown) => this.ports.report(`heartbeat of ${job}`, error),
      );
    }, heartbeatMs);
    const deadline = clock.setTimeout(() => abort.abort(new Stopped('deadline')), DEADLINES[this.step]);
    const later: { readonly tidy: () => Promise<void>; readonly late: () => Promise<void> }[] = [];
    let result: { output: StepOutput } | { error: unknown };
    try {
      result = { output: await this.work({ step: this.step, app, deploy, job, attempt, input, log, signal: abort.signal, holds: () => this.holds(workId, owner), replies: this.replies(claim, extended), after: (tidy, late) => { later.push({ tidy, late }); } }) };
    } catch (error) {
      result = { error };
    } finally {
      clock.clear(deadline);
    }
    const why = abort.signal.aborted && abort.signal.reason instanceof Stopped ? abort.signal.reason : null;
    let failure: Failure | null = null;
    let recorded = false;
    try {
      if (why?.why === 'lease-lost') return; // another attempt, or nobody, has it now
      if (why?.why === 'shutdown' && 'error' in result) {
        await pipelines.handle(app, { type: 'GiveBack', job, attempt, tookMs: now() - started }, who, { giveBack: { id: workId, owner } });
        return;
      }
      if ('error' in result) {
        failure = failureOf(result.error, why, look());
        if (failure.fault === 'machine') this.ports.report(`${job}, attempt ${attempt}`, result.error);
        log.warn(failure.message);
        if (failure.hint) log.warn(failure.hint);
      }
      await closed();
      const tookMs = now() - started;
      const wish = 'output' in result
        ? ({ type: 'Complete', job, attempt, tookMs, output: result.output } as const)
        : ({ type: 'Fail', job, attempt, tookMs, failure: failure!, now: now() } as const);
      recorded = (await this.record(() => pipelines.handle(app, wish, who, { finish: { id: workId, owner } }), abort)).length > 0;
      clock.clear(beat);
      // not when it came too late, the deploy being cancelled: what would be tidied away is what serves
      if ('output' in result && recorded) await this.tidy(later.map(({ tidy }) => tidy), job, abort.signal, close);
    } catch (error) {
      // its lease runs out, or is given back without a word: see stop()
      if (why?.why === 'shutdown' && error instanceof StoreUnavailable) this.ports.report(`giving back ${job}`, error);
      else if (!(error instanceof LeaseLost) && !(error instanceof Rejected)) throw error;
    } finally {
      clock.clear(beat);
      await closed();
      if ('output' in result && !recorded) await this.tidy(later.map(({ late }) => late), job, new AbortController().signal, close);
    }
  }

  private replies({ app, job, attempt, abort, who }: { app: string; job: string; attempt: number; abort: AbortController; who: { actor: string; command: string } }, extended: readonly Extended[]): Replies {
    return {
      // of the same step only what this job was answered: one that is retried by hand is asked anew
      all: extended.filter((each) => each.step !== this.step || each.job === job).flatMap((each) => each.replies),
      of: (when) => extended.find((each) => each.job === job && each.when === when)?.replies ?? null,
      record: async (when, replies) => {
        const written = await this.record(() => this.ports.pipelines.handle(app, { type: 'Extend', job, attempt, when, replies }, who), abort);
        if (written.length === 0) throw new LeaseLost(job, "another attempt");
      },
    };
  }

  /** Asked of the store; the lease is prolonged on the way. */
  private async holds(workId: string, owner: string): Promise<'mine' | 'taken' | 'dropped'> {
    const { store, now, timings } = this.ports;
    const { leaseMs } = timings ?? TIMINGS;
    for (;;) {
      const asked = now();
      if (!(await store.heartbeat(workId, owner, asked, leaseMs))) break;
      // an answer that was long on its way, or that we slept over, may not be true any more
      if (now() - asked < leaseMs / 2) return 'mine';
    }
    return (await store.work(workId))?.state === 'dropped' ? 'dropped' : 'taken';
  }

  /** What is left behind here the sweeper takes. */
  private async tidy(works: readonly (() => Promise<void>)[], job: string, signal: AbortSignal, close: () => Promise<void>): Promise<void> {
    if (works.length === 0) return;
    const stopped = new Promise<void>((resolve) => { signal.addEventListener('abort', () => resolve(), { once: true }); });
    for (const work of works) {
      if (signal.aborted) return;
      await Promise.race([work().catch((error: unknown) => this.ports.report(`tidying up after ${job}`, error)), stopped]);
    }
    // it may have said something more
    await close().catch((error: unknown) => this.ports.report(`log of ${job}`, error));
  }

  /** The store may be full or away for a while: the outcome is kept and tried again until it is written or the lease is lost. */
  private async record(write: () => Promise<readonly Recorded[]>, abort: AbortController): Promise<readonly Recorded[]> {
    for (let wait = 100; ; wait = Math.min(wait * 2, 2000)) {
      try {
        return await write();
      } catch (error) {
        if (!(error instanceof StoreUnavailable) || abort.signal.aborted) throw error;
        this.ports.report('the store does not take the outcome, trying again', error);
        await sleep(this.clock, wait);
      }
    }
  }

  /** Takes nothing new, lets what runs end for `graceMs`, then stops it and gives its leases back. */
  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    const all = Promise.allSettled([...this.running.values()].map((r) => r.settled));
    let timer: unknown = null;
    await Promise.race([all, new Promise<void>((resolve) => { timer = this.clock.setTimeout(resolve, graceMs); })]);
    this.clock.clear(timer);
    for (const { abort } of this.running.values()) abort.abort(new Stopped('shutdown'));
    await all;
    await this.ports.store.giveBack(`${this.worker}:`, this.ports.now());
  }
}
