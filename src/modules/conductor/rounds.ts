import { sleep, type Clock, type Timer } from '../../events/clock.js';
import { Rejected } from '../../events/decider.js';
import type { EventStore } from '../../events/store.port.js';
import type { Report } from '../commands/report.js';
import type { Relay } from './relay.js';

const LEASE_MS = 5000;
/** every renewal is a write that waits for the disk: not with every tick, nor with every change */
const RENEW_MS = 1500;
const TICK_MS = 500;
const RECONCILE_MS = 1000;
const SWEEP_MS = 15_000;
/** longest that nothing is handed out because the engine does not say what runs; longer than a machine takes to come up */
const RESTORE_MS = 120_000;
/** after a change, so that a burst of events is swept once */
const SWEEP_SOON_MS = 2000;

export interface RoundsPorts {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly owner: string;
  readonly relay: Pick<Relay, 'pump' | 'reconcile'>;
  readonly sweep: () => Promise<void>;
  /** brings back what is live and does not run; rejects when that cannot be known */
  readonly restore: () => Promise<void>;
  /** this process begins to lead */
  readonly leads: () => void;
  /** what has to be done before anything else whenever this process begins to lead, or was `alone`; tried until it resolves */
  readonly settle?: () => Promise<void>;
  readonly report: Report;
}

/** What is done over and over on a server, by one process at a time, under a lease in the store: relaying, reconciling, sweeping. */
export class Rounds {
  private leading = false;
  private begun = false;
  private settled = false;
  private renewedAt = 0;
  private stopped = false;
  private paused = false;
  private poked = false;
  private working: Promise<void> | null = null;
  private lastReconcile = 0;
  private sweepAt = 0;
  private timer: Timer = null;
  private unsubscribe: () => void = () => {};
  private sweeping: Promise<void> = Promise.resolve();
  /** nothing is handed out before that: what is live comes first; 0 = it is done */
  private heldUntil = 0;

  constructor(private readonly ports: RoundsPorts) {}

  start(): void {
    const { store, clock } = this.ports;
    this.unsubscribe = store.changes(() => {
      this.soon();
      this.poke();
    });
    this.timer = clock.setInterval(() => this.poke(), TICK_MS);
    this.poke();
  }

  /** A sweep is due shortly. */
  soon(): void {
    this.sweepAt = Math.min(this.sweepAt, this.ports.clock.now() + SWEEP_SOON_MS);
  }

  /** Works now, or once more after what runs now. */
  private poke(): void {
    this.poked = true;
    this.working ??= this.work().finally(() => { this.working = null; });
  }

  private async work(): Promise<void> {
    while (this.poked && !this.stopped && !this.paused) {
      this.poked = false;
      try {
        await this.tick();
      } catch (error) {
        this.ports.report('relay', error);
        return; // the next tick tries again
      }
    }
  }

  private async tick(): Promise<void> {
    const { clock, relay } = this.ports;
    const now = clock.now();
    if (!(await this.lead(now))) return;
    if (!this.ready) {
      await this.held(this.ports.settle!);
      this.settled = true;
    }
    if (this.begun) {
      this.begun = false;
      this.heldUntil = clock.now() + RESTORE_MS;
      void this.restoreFirst();
    }
    if (now < this.heldUntil) return;
    await relay.pump();
    if (now - this.lastReconcile >= RECONCILE_MS) {
      this.lastReconcile = now;
      if ((await relay.reconcile()) > 0) await relay.pump();
    }
    if (now >= this.sweepAt) {
      this.sweepAt = now + SWEEP_MS;
      void this.sweepNow();
    }
  }

  /** Whether the lease is ours; renewed well before it runs out. */
  private async lead(now: number): Promise<boolean> {
    if (this.leading && now >= this.renewedAt && now < this.renewedAt + RENEW_MS) return true;
    const leads = await this.ports.store.acquire('conductor', this.ports.owner, now, LEASE_MS);
    const begins = leads && !this.leading;
    this.leading = leads;
    this.renewedAt = now;
    if (begins) {
      this.ports.leads();
      this.sweepAt = now;
      this.begun = true;
      this.settled = false;
    }
    return leads;
  }

  private get ready(): boolean {
    return this.settled || !this.ports.settle;
  }

  /** One sweep at a time; never rejects. */
  sweepNow(): Promise<void> {
    return this.inTurn('sweep', this.ports.sweep);
  }

  /** The engine came back: what died with it is brought back at once. Never rejects. */
  restoreNow(): Promise<void> {
    return this.inTurn('restore', this.ports.restore);
  }

  private inTurn(what: string, work: () => Promise<void>): Promise<void> {
    this.sweeping = this.sweeping.then(() => (this.stopped || this.paused || !this.ready ? undefined : work())).catch((error: unknown) => this.ports.report(what, error));
    return this.sweeping;
  }

  /** Who leads does not know what happened before: the machine may have been off. */
  private async restoreFirst(): Promise<void> {
    const { clock, report, restore } = this.ports;
    const until = this.heldUntil;
    for (let told = false; !this.stopped && this.leading && this.heldUntil === until && clock.now() < until;) {
      let done = false;
      this.sweeping = this.sweeping.then(() => (this.paused || !this.ready ? undefined : restore().then(() => { done = true; }, (error: unknown) => {
        if (!told) report('bringing back what is live, before anything else', error);
        told = true;
      })));
      await this.sweeping;
      if (done) break;
      await sleep(clock, RECONCILE_MS);
    }
    if (this.heldUntil !== until) return;
    this.heldUntil = 0;
    this.poke();
  }

  /**
   * Runs `work` while nothing is relayed, reconciled or swept, by nobody: the lease is held meanwhile.
   * @throws Rejected when another process has it, or this one does this already
   */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const refused = (): Rejected => new Rejected('server.busy', 'Another process of Berth is at work on this', 'try again in a few seconds; one API process at a time');
    if (this.paused) throw refused();
    this.paused = true;
    try {
      await this.working;
      await this.sweeping;
      return await this.held(work, refused);
    } finally {
      this.paused = false;
      this.settled = false;
      this.poke();
    }
  }

  /** Runs `work` under the lease, however long it takes. @param refused thrown where another has it */
  private async held<T>(work: () => Promise<T>, refused = (): Error => new Error('the lease went to another process')): Promise<T> {
    const { store, clock, owner, report } = this.ports;
    const lease = (): Promise<boolean> => store.acquire('conductor', owner, clock.now(), 4 * LEASE_MS);
    if (!(await lease())) throw refused();
    const beat = clock.setInterval(() => { lease().catch((error: unknown) => report('lease', error)); }, RENEW_MS);
    try {
      return await work();
    } finally {
      clock.clear(beat);
    }
  }

  /** Ends what runs; the lease is held until `release`. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.ports.clock.clear(this.timer);
    this.unsubscribe();
    await this.working;
    await this.sweeping;
  }

  /** Lets another process lead at once. */
  async release(): Promise<void> {
    await this.ports.store.release('conductor', this.ports.owner);
  }
}
