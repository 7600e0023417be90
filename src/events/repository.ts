import { sleep, systemClock, type Clock } from './clock.js';
import { fold, type Decider } from './decider.js';
import { traceOf, type Meta, type NewEvent, type Recorded } from './event.js';
import { Conflict, type EventStore, type Transaction } from './store.port.js';
import { upcast } from './upcast.js';

export interface Loaded<S> { readonly state: S; readonly version: number }
/** `last`: id of the event at `version` */
interface Known extends Loaded<unknown> { readonly last: string | null }

/** Loads streams by folding them; keeps the newest states, so that a long stream is read once a process. */
export class Repository {
  private readonly cache = new Map<string, Known>();

  constructor(readonly store: EventStore, private readonly limit = 2000, private readonly clock: Clock = systemClock) {}

  /** The stream's state and version now. A stream is always loaded with the same decider. */
  async load<S, E extends NewEvent>(decider: Pick<Decider<S, never, E>, 'initial' | 'evolve'>, stream: string): Promise<Loaded<S>> {
    let known = this.cache.get(stream);
    let events: Recorded[];
    if (known && known.version > 0) {
      // the last one is read again: when a backup was restored, by whichever process, another stands in its place, or none
      events = await this.store.readStream(stream, known.version - 1);
      if (events.shift()?.id !== known.last) {
        known = undefined;
        events = await this.store.readStream(stream);
      }
    } else events = await this.store.readStream(stream);
    const state = fold(decider, events.map((event) => upcast(event)) as unknown as E[], known ? (known.state as S) : decider.initial);
    const loaded = { state, version: (known?.version ?? 0) + events.length };
    this.cache.delete(stream);
    this.cache.set(stream, { ...loaded, last: events.at(-1)?.id ?? known?.last ?? null });
    if (this.cache.size > this.limit) this.cache.delete(this.cache.keys().next().value!);
    return loaded;
  }

  /**
   * Decides and writes until no one interfered: `decide` loads what it needs and answers the transaction, or null for nothing to do.
   * @throws Conflict after `tries` collisions; LeaseLost, StoreUnavailable and Rejected at once
   */
  async transact(decide: () => Promise<Transaction | null>, tries = 10): Promise<Recorded[]> {
    for (let left = tries; ; left -= 1) {
      const tx = await decide();
      if (tx === null) return [];
      try {
        return await this.store.transact(tx);
      } catch (error) {
        if (!(error instanceof Conflict) || left <= 1) throw error;
        await sleep(this.clock, Math.random() * 5);
      }
    }
  }
}

/** Metadata of a command by `actor`. */
export function metaOf(actor: string, command: string, correlation: string, trace = traceOf(correlation), causation: string | null = null): Meta {
  return { actor, command, correlation, causation, trace };
}
