import type { Clock } from '../../src/events/clock.js';

/** Everything that is left to chance, by a seed (sfc32). */
export class Rng {
  private a = 0x9e3779b9;
  private b = 0x243f6a88;
  private c = 0xb7e15162;

  constructor(seed: number) {
    this.d = seed >>> 0;
    for (let i = 0; i < 12; i += 1) this.next();
  }
  private d: number;

  /** 0 ≤ x < 1 */
  next(): number {
    const t = (((this.a + this.b) | 0) + this.d) | 0;
    this.d = (this.d + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (this.c << 21) | (this.c >>> 11);
    this.c = (this.c + t) | 0;
    return (t >>> 0) / 4294967296;
  }
  /** 0 … n-1 */
  int(n: number): number { return Math.floor(this.next() * n); }
  between(from: number, to: number): number { return from + this.int(to - from + 1); }
  chance(p: number): boolean { return this.next() < p; }
  pick<T>(list: readonly T[]): T { return list[this.int(list.length)]!; }
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const all = Object.entries(weights) as [T, number][];
    let left = this.next() * all.reduce((sum, [, w]) => sum + w, 0);
    for (const [name, w] of all) if ((left -= w) < 0) return name;
    return all[0]![0];
  }
}

/** Something that may go on at a time; `tie` decides among those of the same moment. */
interface Entry { readonly at: number; readonly tie: number; readonly run: () => void; readonly proc: Proc | null; off: boolean }

export class Violation extends Error {
  constructor(readonly law: string, message: string) {
    super(`[${law}] ${message}`);
    this.name = 'Violation';
  }
}

export interface Act { readonly at: number; readonly who: string; readonly what: string }

const START = 1_700_000_000_000;
/** runs what has been resolved; synchronous, so that a whole run is one macrotask */
const drain = (process as unknown as { _tickCallback(): void })._tickCallback;

/** Virtual time, and the order in which everything that waits goes on. */
export class World {
  now = START;
  steps = 0;
  /** of everything that happened: the same seed gives the same */
  hash = 0x811c9dc5;
  readonly rng: Rng;
  readonly coverage = new Map<string, number>();
  private readonly heap: Entry[] = [];
  private readonly ring: Act[] = [];
  stopped = false;
  violation: Violation | null = null;
  /** called when a step is over */
  onStep: () => void = () => {};

  constructor(seed: number, private readonly keep: number) {
    this.rng = new Rng(seed);
  }

  get time(): number { return this.now - START; }
  get trace(): readonly Act[] { return this.ring.slice(-this.keep); }

  tell(who: string, what: string): void {
    let h = (this.hash ^ (this.now & 0xffffff)) | 0;
    for (let i = 0; i < what.length; i += 1) h = Math.imul(h ^ what.charCodeAt(i), 0x01000193);
    for (let i = 0; i < who.length; i += 1) h = Math.imul(h ^ who.charCodeAt(i), 0x01000193);
    this.hash = h;
    if (/^store\.(read|dispatchable|undelivered|work$)/.test(what)) return; // nobody would see the rest
    this.ring.push({ at: this.time, who, what });
    if (this.ring.length > this.keep * 4) this.ring.splice(0, this.ring.length - this.keep);
  }

  count(what: string): void { this.coverage.set(what, (this.coverage.get(what) ?? 0) + 1); }

  /** What must never happen did: the run ends after this step. */
  broken(law: string, message: string): void {
    this.violation ??= new Violation(law, message);
    this.stopped = true;
  }

  after(ms: number, run: () => void, proc: Proc | null = null): Entry {
    const entry: Entry = { at: this.now + Math.max(0, Math.round(ms)), tie: this.rng.next(), run, proc, off: false };
    const { heap } = this;
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(entry, heap[up]!)) break;
      heap[i] = heap[up]!;
      i = up;
    }
    heap[i] = entry;
    return entry;
  }

  private pop(): Entry | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down += 1;
      if (!before(heap[down]!, last)) break;
      heap[i] = heap[down]!;
      i = down;
    }
    heap[i] = last;
    return top;
  }

  /** Lets everything happen until then, or until it is stopped. */
  run(until: number): void {
    while (!this.stopped && this.heap.length > 0 && this.heap[0]!.at <= until) {
      const entry = this.pop()!;
      if (entry.off || entry.proc?.alive === false) continue;
      if (entry.proc?.stalled) {
        entry.proc.parked.push(entry.run);
        continue;
      }
      this.now = Math.max(this.now, entry.at);
      this.steps += 1;
      entry.run();
      drain();
      this.onStep();
    }
    if (!this.stopped) this.now = Math.max(this.now, until);
  }
}

const before = (a: Entry, b: Entry): boolean => a.at < b.at || (a.at === b.at && a.tie < b.tie);
const never = <T>(): Promise<T> => new Promise<T>(() => {});

/** One process: may be killed or stopped at any await. What it does to the outside goes through `call`. */
export class Proc {
  alive = true;
  stalled = false;
  readonly parked: (() => void)[] = [];
  /** counts down at every call; what happens at 0 */
  private trap: { left: number; when: 'before' | 'after'; run: () => void } | null = null;
  /** what it works on: for the account of what was interrupted where */
  doing = 'idle';
  /** it is in the middle of changing the router: nothing can be asked in between */
  applying = false;
  readonly clock: Clock;

  constructor(readonly world: World, readonly name: string, readonly life: number) {
    const timer = (work: () => void, ms: number, again: boolean): { entry: Entry | null } => {
      const handle: { entry: Entry | null } = { entry: null };
      const set = (): void => {
        handle.entry = world.after(ms, () => {
          if (again && handle.entry) set();
          work();
        }, this);
      };
      if (this.alive) set();
      return handle;
    };
    this.clock = {
      now: () => world.now,
      setTimeout: (work, ms) => timer(work, ms, false),
      setInterval: (work, ms) => timer(work, ms, true),
      clear: (handle) => {
        const held = handle as { entry: Entry | null } | null;
        if (held?.entry) {
          held.entry.off = true;
          held.entry = null;
        }
      },
    };
  }

  /** Asks something of the outside: it arrives, has its effect, and is answered, each a little later, in any order with everything else. */
  call<T>(what: string, effect: () => T, slow = 2): Promise<T> {
    const { world } = this;
    if (!this.alive) return never();
    if (this.sprung('before', what)) return never();
    return new Promise<T>((resolve, reject) => {
      world.after(world.rng.int(slow + 1), () => {
        // what a process sent before it died may still arrive
        if (!this.alive && world.rng.chance(0.5)) return;
        let settle: () => void;
        try {
          const value = effect();
          world.tell(this.name, what);
          settle = () => resolve(value);
        } catch (error) {
          world.tell(this.name, `${what} ✗ ${(error as Error).name}`);
          settle = () => reject(error as Error);
        }
        if (!this.alive || this.sprung('after', what)) return;
        if (!this.stalled && world.rng.chance(0.6)) settle();
        else world.after(world.rng.int(slow + 1), settle, this);
      });
    });
  }

  /** `effect` gets its own way of answering, when it likes; `cancel` is called when the process dies. */
  wait<T>(what: string, start: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
    if (!this.alive || this.sprung('before', what)) return never();
    return new Promise<T>((resolve, reject) => {
      const { world } = this;
      start((value) => world.after(world.rng.int(2), () => resolve(value), this), (error) => world.after(world.rng.int(2), () => reject(error), this));
    });
  }

  sleep = (ms: number, signal?: AbortSignal): Promise<void> => new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const timer = this.clock.setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      this.clock.clear(timer);
      reject(signal.reason as Error);
    });
  });

  /** `run` (a kill, a stall) happens at the nth call from now. */
  arm(left: number, when: 'before' | 'after', run: () => void): void { this.trap = { left, when, run }; }

  private sprung(when: 'before' | 'after', what: string): boolean {
    const { trap } = this;
    if (!trap || trap.when !== when || (trap.left -= 1) > 0) return false;
    this.trap = null;
    this.world.count(`interrupted ${this.doing} ${when} ${what}`);
    trap.run();
    return !this.alive;
  }

  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    this.world.tell(this.name, 'dies');
  }

  stall(ms: number): void {
    if (!this.alive || this.stalled) return;
    this.stalled = true;
    this.world.tell(this.name, `stands still for ${ms} ms`);
    this.world.after(ms, () => {
      this.stalled = false;
      this.world.tell(this.name, 'goes on');
      for (const run of this.parked.splice(0)) this.world.after(0, run, this);
    });
  }
}
