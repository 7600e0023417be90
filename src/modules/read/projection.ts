import type { Recorded } from '../../events/event.js';
import type { EventStore } from '../../events/store.port.js';
import { upcast } from '../../events/upcast.js';

const PAGE = 5000;
/** events after which the next start would be slow enough to be worth a snapshot */
const SNAPSHOT_EVERY = 20_000;

/**
 * A read model kept in memory, brought up to date when it is asked: a query right after a command sees what the command did,
 * whichever process ran it. State is plain JSON; a snapshot in the store shortens the next start.
 */
export class Projection<S> {
  private position = 0;
  private saved = 0;
  private state: S;
  /** id of the event at `position`; null: not known, after a snapshot */
  private last: string | null = null;
  private turn: Promise<void> = Promise.resolve();
  private started = false;

  constructor(private readonly store: EventStore, private readonly name: string, private readonly version: string, private readonly initial: () => S, private readonly apply: (state: S, event: Recorded) => void) {
    this.state = this.initial();
  }

  /** The state as of now: every event committed before the call is in it. Do not change it. */
  async now(): Promise<Readonly<S>> {
    const next = this.turn.then(() => this.catchUp());
    this.turn = next.catch(() => {});
    await next;
    return this.state;
  }

  get at(): number {
    return this.position;
  }

  private async catchUp(): Promise<void> {
    if (!this.started) {
      const snapshot = await this.store.snapshot(this.name, this.version);
      if (snapshot) {
        this.state = JSON.parse(snapshot.state) as S;
        this.position = this.saved = snapshot.position;
      }
      this.started = true;
    }
    for (;;) {
      // the last one is read again: when a backup was restored, by whichever process, another stands in its place, or none
      const events = await this.store.readAll(Math.max(0, this.position - 1), PAGE);
      if (this.position > 0) {
        const known = events.shift();
        if (known?.position !== this.position || (this.last !== null && known.id !== this.last)) {
          this.state = this.initial();
          this.position = this.saved = 0;
          this.last = null;
          continue;
        }
        this.last = known.id;
      }
      for (const event of events) this.apply(this.state, upcast(event));
      const newest = events.at(-1);
      if (newest) [this.position, this.last] = [newest.position, newest.id];
      if (events.length < PAGE - 1) break;
    }
    if (this.position - this.saved >= SNAPSHOT_EVERY) {
      await this.store.saveSnapshot(this.name, this.version, this.position, JSON.stringify(this.state));
      this.saved = this.position;
    }
  }
}
