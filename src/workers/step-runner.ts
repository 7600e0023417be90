import { sleep, systemClock, type Clock } from '../events/clock.js';
import { Rejected } from '../events/decider.js';
import type { Recorded } from '../events/event.js';
import { metaOf } from '../events/repository.js';
import { LeaseLost, StoreUnavailable, type EventStore } from '../events/store.port.js';
import type { Failure } from '../events/types/deploy.events.js';
import { StepFailure } from '../events/step.js';
import type { Claimed, Line } from './line.js';

export interface Timings { readonly leaseMs: number; readonly heartbeatMs: number }
export const TIMINGS: Timings = { leaseMs: 5000, heartbeatMs: 1000 };

export interface RunnerPorts {
  readonly store: EventStore;
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
export class StepRunner {
  private readonly running = new Map<string, { doing: Doing; abort: AbortController; settled: Promise<void> }>();
  private stopping = false;
  private claims = 0;
  done = 0;

  constructor(private readonly line: Line, private readonly ports: RunnerPorts, private readonly worker: string) {}

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
    // one ticket may come to one process twice, when its lock was lost: each claim is somebody else
    const owner = `${this.worker}:${ticket}.${++this.claims}`;
    const { leaseMs } = this.ports.timings ?? TIMINGS;
    const { store, now, where } = this.ports;
    let claimed: Claimed | 'unwanted' | 'overtaken';
    try {
      const waitedMs = Math.max(0, now() - Math.max(row.addedAt, row.notBefore));
      claimed = await this.line.claim(row, { worker: this.worker, waitedMs, ...where }, { id: workId, owner, leaseMs });
      // nobody waits for this any more
      if (claimed === 'unwanted') await store.transact({ appends: [], meta: metaOf(`worker:${this.worker}`, 'step', workId), now: now(), finish: { id: workId, owner } });
    } catch (error) {
      if (error instanceof LeaseLost) return;
      throw error;
    }
    if (typeof claimed === 'string') return;
    const abort = new AbortController();
    const settled = this.carryOut(claimed, workId, owner, abort);
    this.running.set(owner, { doing: { job: claimed.job, since: this.ports.now() }, abort, settled });
    try {
      await settled;
      this.done += 1;
    } finally {
      this.running.delete(owner);
    }
  }

  private async carryOut(claimed: Claimed, workId: string, owner: string, abort: AbortController): Promise<void> {
    const { job, attempt } = claimed;
    const { store, now } = this.ports;
    const { leaseMs, heartbeatMs } = this.ports.timings ?? TIMINGS;
    const { log, close } = claimed.openLog();
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
    const deadline = clock.setTimeout(() => abort.abort(new Stopped('deadline')), claimed.deadlineMs);
    const later: { readonly tidy: () => Promise<void>; readonly late: () => Promise<void> }[] = [];
    let result: { output: unknown } | { error: unknown };
    try {
      result = { output: await claimed.work({ log, signal: abort.signal, holds: () => this.holds(workId, owner), after: (tidy, late) => { later.push({ tidy, late }); } }, (write) => this.record(write, abort)) };
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
        await claimed.giveBack(now() - started, { id: workId, owner });
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
      const finish = { id: workId, owner };
      recorded = (await this.record(() => ('output' in result ? claimed.complete(result.output, tookMs, finish) : claimed.fail(failure!, tookMs, now(), finish)), abort)).length > 0;
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
