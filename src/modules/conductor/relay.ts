import type { Dispatcher } from '../../drivers/queue/bull.js';
import type { EventStore, WorkRow } from '../../events/store.port.js';

/** ms that a dispatched row may go unclaimed before the queue is asked about it */
const UNDELIVERED_AFTER = 1000;
/** ms that an active ticket may have no claim: a worker that died between taking and claiming */
const ACTIVE_PATIENCE = 5000;
const PAGE = 200;

export const ticketId = (row: Pick<WorkRow, 'id' | 'dispatch'>): string => `w-${row.id}-${row.dispatch}`;

/**
 * Moves work rows from the store to the queues. One relay works at a time, under a lease; everything it does may be done twice:
 * a ticket has the same id until the row is dispatched anew, and a worker claims the row in the store before it works.
 * The outbox pattern, with the queue as a hint only.
 */
export class Relay {
  constructor(private readonly store: EventStore, private readonly queue: Dispatcher, private readonly now: () => number) {}

  /** Hands out what may be done now; answers how many rows. Throws when Redis or the store is away: call again later. */
  async pump(): Promise<number> {
    let handed = 0;
    for (;;) {
      const rows = await this.store.dispatchable(this.now(), PAGE);
      if (rows.length === 0) return handed;
      await this.queue.dispatch(rows.map((row) => ({ queue: row.queue, jobId: ticketId(row), id: row.id })));
      const marked = await this.store.markDispatched(rows.map(({ id, dispatch }) => ({ id, dispatch })), this.now());
      handed += marked;
      if (rows.length < PAGE || marked === 0) return handed;
    }
  }

  /** Finds rows that were handed out and that nobody has: lost with Redis, or with a worker. Answers how many go out again. */
  async reconcile(): Promise<number> {
    const now = this.now();
    let again = 0;
    for (const row of await this.store.undelivered(now, UNDELIVERED_AFTER)) {
      // claimed, and the lease ran out: its worker is dead or cut off, whatever the queue thinks
      const state = row.owner !== null ? 'gone' : await this.queue.state(row.queue, ticketId(row));
      const lost = state === 'gone' || (state === 'active' && now - row.dispatchedAt > ACTIVE_PATIENCE);
      if (lost && (await this.store.redispatch(row.id, row.dispatch, now))) again += 1;
    }
    return again;
  }
}
