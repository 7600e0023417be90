import { hash } from 'node:crypto';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { Recorded } from '../../events/event.js';
import type { EventStore } from '../../events/store.port.js';
import { upcast } from '../../events/upcast.js';
import { canonical, differences, type Difference } from './canonical.js';
import { packed, unpacked } from './packed.js';

/** events read at once: the event loop stands still for some milliseconds meanwhile */
const PAGE = 500;
/** events after which the next start would be slow enough to be worth a snapshot */
const SNAPSHOT_EVERY = 20_000;
/** … and as many characters of state as one more event may cost: a large state is saved more rarely */
const STATE_PER_EVENT = 500;
/** after a version that could not be built, ms */
const AGAIN_MS = 30_000;

/** How a projection is folded; `version` changes whenever shape or meaning of its state do. State is plain JSON. */
export interface Shape<S> {
  readonly version: string;
  readonly initial: () => S;
  /** changes `state` in place; events of types it does not know are passed over */
  readonly apply: (state: S, event: Recorded) => void;
  /** types that `apply` passes over: they are not even read */
  readonly skips?: readonly string[];
  /**
   * The version before this one. At a start that finds its snapshot and none of this version, its state serves, in today's shape as well as it can
   * be brought there, until this version is folded from the log.
   */
  readonly former?: { readonly version: string; readonly adopt: (state: unknown) => S };
}

/** A state and how far it has come. */
interface Built<S> {
  state: S;
  position: number;
  /** id of the event at `position`; null: not known, after a snapshot */
  last: string | null;
  /** position and length of the newest snapshot */
  saved: { readonly position: number; readonly length: number };
  /** version whose snapshot this began with, when it was not today's: it only serves, it is never kept */
  readonly adopted: string | null;
}

export interface Rebuilt {
  readonly version: string;
  readonly position: number;
  /** of the new state's JSON */
  readonly hash: string;
  /** null: another version was served before, which cannot be compared */
  readonly identical: boolean | null;
  /** the first few places where the state that was served was another one */
  readonly differences: readonly Difference[];
}

/** What serves, and what is made. */
export interface Standing {
  readonly version: string;
  /** the version that serves; another one while `version` is folded */
  readonly serves: string;
  readonly position: number;
  /** why `version` could not be built, or its snapshot not be kept; null when all is well */
  readonly trouble: string | null;
}

type Reads = Pick<EventStore, 'readAll' | 'snapshot' | 'saveSnapshot' | 'forgetSnapshots'>;

/**
 * A read model kept in memory, brought up to date when it is asked: a query right after a command sees what the command did,
 * whichever process ran it. A snapshot in the store shortens the next start.
 */
export class Projection<S> {
  private built: Built<S>;
  private turn: Promise<void> = Promise.resolve();
  private rebuilding: Promise<Rebuilt> | null = null;
  private saving: Promise<void> | null = null;
  private started = false;
  private trouble: string | null = null;
  private again = 0;

  constructor(private readonly store: Reads, private readonly name: string, private shape: Shape<S>) {
    this.built = begin(shape);
  }

  /** The state as of now: every event committed before the call is in it. Do not change it. */
  async now(): Promise<Readonly<S>> {
    return this.inTurn(async () => {
      await this.catchUp();
      return this.built.state;
    });
  }

  get at(): number {
    return this.built.position;
  }

  get standing(): Standing {
    const { built: { adopted, position }, shape: { version }, trouble } = this;
    return { version, serves: adopted ?? version, position, trouble };
  }

  /**
   * Folds the whole log anew, beside the state that goes on serving, swaps the two and says whether they were the same. With `next`, a
   * newer version takes the old one's place in the same way. One at a time: who asks meanwhile gets the answer of the one under way.
   */
  rebuild(next: Shape<S> = this.shape): Promise<Rebuilt> {
    this.rebuilding ??= this.replace(next).finally(() => { this.rebuilding = null; });
    return this.rebuilding;
  }

  private async replace(shape: Shape<S>): Promise<Rebuilt> {
    const fresh = begin(shape);
    await this.forward(fresh, shape, Number.POSITIVE_INFINITY, turnOfTheLoop); // the long part: queries are answered meanwhile
    const { text, ...answer } = await this.inTurn(async () => {
      const comparable = shape.version === this.shape.version && this.built.adopted === null;
      // both at the same event: what came in meanwhile is taken along; another log in this one's place is begun anew
      for (;;) {
        await this.catchUp();
        if (fresh.position > this.built.position) Object.assign(fresh, begin(shape));
        await this.forward(fresh, shape, this.built.position);
        if (fresh.position !== this.built.position) continue;
        if (fresh.last === this.built.last) break;
        Object.assign(fresh, begin(shape));
      }
      const [old, made] = [this.built.state, JSON.stringify(fresh.state)];
      await turnOfTheLoop();
      const identical = comparable ? JSON.stringify(old) === made || canonical(old) === canonical(fresh.state) : null;
      [this.shape, this.built, this.trouble] = [shape, fresh, null];
      return { text: made, version: shape.version, position: fresh.position, identical, differences: identical === false ? differences(old, fresh.state) : [] };
    });
    await this.saving;
    await this.keep(shape, answer.position, text);
    await this.store.forgetSnapshots(this.name, shape.version);
    return { ...answer, hash: hash('sha256', text, 'hex') };
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.turn.then(work);
    this.turn = next.then(() => {}, () => {});
    return next;
  }

  private async catchUp(): Promise<void> {
    if (!this.started) {
      await this.start();
      this.started = true;
    }
    await this.forward(this.built, this.shape);
    const { position, saved, adopted } = this.built;
    if (adopted !== null) this.renew();
    else if (position - saved.position >= Math.max(SNAPSHOT_EVERY, saved.length / STATE_PER_EVENT)) this.save();
  }

  private async start(): Promise<void> {
    const { version, former } = this.shape;
    const own = await this.store.snapshot(this.name, version);
    const found = own ?? (former ? await this.store.snapshot(this.name, former.version) : null);
    if (!found) return;
    try {
      const text = await unpacked(found.state);
      const state = JSON.parse(text) as unknown;
      this.built = { state: own ? (state as S) : former!.adopt(state), position: found.position, last: null, saved: { position: found.position, length: text.length }, adopted: own ? null : former!.version };
    } catch (error) {
      this.trouble = `its snapshot cannot be read, the log was folded instead: ${String(error)}`;
    }
  }

  /** Folds today's version beside the former one that serves; when that fails it is tried again some time later. */
  private renew(): void {
    if (this.rebuilding || performance.now() < this.again) return;
    this.again = performance.now() + AGAIN_MS;
    this.rebuild().catch((error: unknown) => { this.trouble = `version ${this.shape.version} could not be built: ${String(error)}`; });
  }

  /** Keeps a snapshot, beside everything else: nobody waits for it, and nobody misses one that could not be kept. */
  private save(): void {
    if (this.saving) return;
    const { built: { position, state }, shape } = this;
    this.saving = this.keep(shape, position, JSON.stringify(state))
      .then(() => { this.trouble = null; }, (error: unknown) => { this.trouble = `no snapshot could be kept: ${String(error)}`; })
      .finally(() => { this.saving = null; });
  }

  private async keep({ version }: Shape<S>, position: number, text: string): Promise<void> {
    this.built.saved = { position, length: text.length };
    await this.store.saveSnapshot(this.name, version, position, await packed(text));
  }

  /** Applies what came since, up to `until`. */
  private async forward(built: Built<S>, shape: Shape<S>, until = Number.POSITIVE_INFINITY, between?: () => Promise<unknown>): Promise<void> {
    const filter = shape.skips && { except: shape.skips };
    while (built.position < until) {
      // the last one is read again: when a backup was restored, by whichever process, another stands in its place, or none
      const events = await this.store.readAll(Math.max(0, built.position - 1), PAGE, filter);
      const full = events.length === PAGE;
      if (built.position > 0) {
        const known = events.shift();
        if (known?.position !== built.position || (built.last !== null && known.id !== built.last)) {
          Object.assign(built, begin(shape));
          continue;
        }
        built.last = known.id;
      }
      for (const event of events) {
        if (event.position > until) {
          // what stands there is of a type that is skipped
          [built.position, built.last] = [until, (await this.store.readAll(until - 1, 1))[0]?.id ?? null];
          return;
        }
        shape.apply(built.state, upcast(event));
        [built.position, built.last] = [event.position, event.id];
      }
      if (!full) return;
      await between?.();
    }
  }
}

const begin = <S>({ initial }: Shape<S>): Built<S> => ({ state: initial(), position: 0, last: null, saved: { position: 0, length: 0 }, adopted: null });
