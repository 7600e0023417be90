import type { Dispatcher } from '../../src/drivers/queue/bull.js';
import type { Proc, World } from './world.js';

interface Ticket { readonly jobId: string; readonly id: string; readonly queue: string; state: 'waiting' | 'active'; holder: Taker | null; visibleAt: number }
export interface Taker { readonly proc: Proc; readonly queue: string; readonly slots: number; busy: number; closed: boolean; readonly handle: (id: string, jobId: string) => Promise<void> }

/** Redis and BullMQ as they may behave: at least once, or not at all. */
export class Queues {
  private tickets = new Map<string, Ticket>();
  private takers: Taker[] = [];
  downUntil = 0;
  /** commands hang instead of failing at once while it is away */
  private readonly hangs: boolean;
  /** share of tickets that are handed to two workers, that come late, that get lost */
  private readonly twice: number;
  private readonly late: number;
  private readonly loses: number;
  private readonly fifo: boolean;

  constructor(private readonly world: World) {
    const { rng } = world;
    this.hangs = rng.chance(0.5);
    this.twice = rng.pick([0, 0, 0.1, 0.5]);
    this.late = rng.pick([0, 0.1, 0.5]);
    this.loses = rng.pick([0, 0, 0.1]);
    this.fifo = rng.chance(0.5);
  }

  get down(): boolean { return this.world.now < this.downUntil; }

  flush(): void { this.tickets.clear(); }

  /** What a process asks of it. */
  dispatcher(proc: Proc): Dispatcher {
    const ask = async <T>(what: string, effect: () => T): Promise<T> => {
      if (this.down && this.hangs) await proc.sleep(2000);
      return proc.call(`queue.${what}`, () => {
        if (this.down) throw new Error('Redis is away');
        return effect();
      });
    };
    return {
      dispatch: (tickets) => ask('dispatch', () => {
        for (const { queue, jobId, id } of tickets) this.add(queue, jobId, id);
      }),
      state: (_queue, jobId) => ask('state', () => this.tickets.get(jobId)?.state ?? 'gone'),
      close: async () => {},
    } as Dispatcher;
  }

  private add(queue: string, jobId: string, id: string): void {
    if (this.tickets.has(jobId)) return;
    const { rng } = this.world;
    if (rng.chance(this.loses)) return this.world.count('queue lost a ticket');
    const delay = rng.chance(this.late) ? rng.between(50, 3000) : 0;
    this.tickets.set(jobId, { jobId, id, queue, state: 'waiting', holder: null, visibleAt: this.world.now + delay });
    this.world.after(delay, () => this.hand());
  }

  take(taker: Taker): void {
    this.takers.push(taker);
    this.hand();
  }

  /** Gives what waits to whoever is free. */
  hand(): void {
    if (this.down) return;
    this.takers = this.takers.filter((taker) => taker.proc.alive && !taker.closed);
    for (const queue of new Set(this.takers.map((taker) => taker.queue))) {
      for (;;) {
        const waiting = [...this.tickets.values()].filter((t) => t.queue === queue && t.state === 'waiting' && t.visibleAt <= this.world.now);
        const free = this.takers.filter((t) => t.queue === queue && t.busy < t.slots && !t.proc.stalled);
        if (waiting.length > 0 && this.takers.some((t) => t.queue === queue && t.proc.stalled)) this.later();
        if (waiting.length === 0 || free.length === 0) break;
        const ticket = this.fifo ? waiting[0]! : this.world.rng.pick(waiting);
        const taker = this.world.rng.pick(free);
        ticket.state = 'active';
        ticket.holder = taker;
        this.give(ticket, taker);
        // a lock that was lost: somebody else gets it, too
        if (this.world.rng.chance(this.twice)) {
          const other = this.takers.find((t) => t.queue === queue && t !== taker && t.busy < t.slots);
          this.world.count('queue gave a ticket to two');
          if (other) this.give(ticket, other);
          else this.world.after(this.world.rng.between(0, 1500), () => { if (this.tickets.get(ticket.jobId) === ticket) { ticket.state = 'waiting'; this.hand(); } });
        }
      }
    }
  }

  /** Who stands still asks again when it goes on. */
  private later(): void {
    if (this.asked) return;
    this.asked = true;
    this.world.after(500, () => {
      this.asked = false;
      this.hand();
    });
  }
  private asked = false;

  private give(ticket: Ticket, taker: Taker): void {
    const { world } = this;
    taker.busy += 1;
    world.after(world.rng.int(6), () => {
      world.tell(taker.proc.name, `takes ${ticket.jobId}`);
      void taker.handle(ticket.id, ticket.jobId).then(() => {
        taker.busy -= 1;
        world.after(0, () => {
          if (!this.down && this.tickets.get(ticket.jobId) === ticket && ticket.holder === taker) this.tickets.delete(ticket.jobId);
          this.hand();
        });
      });
    }, taker.proc);
    // BullMQ's own stalled check
    world.after(world.rng.between(10_000, 20_000), () => {
      if (this.tickets.get(ticket.jobId) !== ticket || ticket.state !== 'active' || (taker.proc.alive && !taker.proc.stalled)) return;
      ticket.state = 'waiting';
      this.hand();
    });
  }
}
