import { hash } from 'node:crypto';
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import type { Recorded } from '../../events/event.js';
import { StoreUnavailable, type EventStore } from '../../events/store.port.js';
import { upcast } from '../../events/upcast.js';
import { canonical, differences, type Difference } from './canonical.js';

const PAGE = 5000;
/** events after which the next start would be slow enough to be worth a snapshot */
const SNAPSHOT_EVERY = 20_000;

/** How a projection is folded; `version` changes whenever shape or meaning of its state do. */
export interface Shape<S> {
  readonly version: string;
  readonly initial: () => S;
  readonly apply: (state: S, event: Recorded) => void;
}

/** A state and how far it has come. */
interface Built<S> {
  state: S;
  position: number;
  /** id of the event at `position`; null: not known, after a snapshot */
  last: string | null;
  /** position of the newest snapshot */
  saved: number;
}

export interface Rebuilt {
  readonly version: string;
  readonly position: number;
  /** of the new state's canonical JSON */
  readonly hash: string;
  /** null: another version was served before, which cannot be compared */
  readonly identical: boolean | null;
  /** the first few places where the state that was served was another one */
  readonly differences: readonly Difference[];
}

/**
 * A read model kept in memory, brought up to date when it is asked: a query right after a command sees what the command did,
 * whichever process ran it. State is plain JSON; a snapshot in the store shortens the next start.
 */
export class Projection<S> {
  private shape: Shape<S>;
  private built: Built<S>;
  private turn: Promise<void> = Promise.resolve();
  private rebuilding: Promise<Rebuilt> | null = null;
  private started = false;

  constructor(private readonly store: Pick<EventStore, 'readAll' | 'snapshot' | 'saveSnapshot'>, private readonly name: string, version: string, initial: () => S, apply: (state: S, event: Recorded) => void) {
    this.shape = { version, initial, apply };
    this.built = begin(this.shape);
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
    return this.inTurn(async () => {
      const comparable = shape.version === this.shape.version;
      // both at the same event: what came in meanwhile is taken along; another log in this one's place is begun anew
      for (;;) {
        await this.catchUp();
        if (fresh.position > this.built.position) Object.assign(fresh, begin(shape));
        await this.forward(fresh, shape, this.built.position);
        if (fresh.position !== this.built.position) continue;
        if (fresh.last === this.built.last) break;
        Object.assign(fresh, begin(shape));
      }
      const old = this.built;
      const text = canonical(fresh.state);
      const identical = comparable ? canonical(old.state) === text : null;
      const answer: Rebuilt = { version: shape.version, position: fresh.position, hash: hash('sha256', text, 'hex'), identical, differences: identical === false ? differences(old.state, fresh.state) : [] };
      [this.shape, this.built] = [shape, fresh];
      await this.save();
      return answer;
    });
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.turn.then(work);
    this.turn = next.then(() => {}, () => {});
    return next;
  }

  private async catchUp(): Promise<void> {
    if (!this.started) {
      const snapshot = await this.store.snapshot(this.name, this.shape.version);
      if (snapshot) this.built = { state: JSON.parse(snapshot.state) as S, position: snapshot.position, last: null, saved: snapshot.position };
      this.started = true;
    }
    await this.forward(this.built, this.shape);
    if (this.built.position - this.built.saved < SNAPSHOT_EVERY) return;
    try {
      await this.save();
    } catch (error) {
      // a cache that cannot be written (disk full): who asks is answered all the same
      if (!(error instanceof StoreUnavailable)) throw error;
      this.built.saved = this.built.position;
    }
  }

  private async save(): Promise<void> {
    const { state, position } = this.built;
    await this.store.saveSnapshot(this.name, this.shape.version, position, JSON.stringify(state));
    this.built.saved = position;
  }

  /** Applies what came since, up to `until`. */
  private async forward(built: Built<S>, { initial, apply }: Shape<S>, until = Number.POSITIVE_INFINITY, between?: () => Promise<unknown>): Promise<void> {
    while (built.position < until) {
      // the last one is read again: when a backup was restored, by whichever process, another stands in its place, or none
      const events = await this.store.readAll(Math.max(0, built.position - 1), PAGE);
      const full = events.length === PAGE;
      if (built.position > 0) {
        const known = events.shift();
        if (known?.position !== built.position || (built.last !== null && known.id !== built.last)) {
          Object.assign(built, { state: initial(), position: 0, last: null, saved: 0 });
          continue;
        }
        built.last = known.id;
      }
      for (const event of events) {
        if (event.position > until) return;
        apply(built.state, upcast(event));
        [built.position, built.last] = [event.position, event.id];
      }
      if (!full) return;
      await between?.();
    }
  }
}

const begin = <S>({ initial }: Shape<S>): Built<S> => ({ state: initial(), position: 0, last: null, saved: 0 });
