import type { Recorded } from './event.js';
import type { EventStore } from './store.port.js';
import { upcast } from './upcast.js';

/** The event at that position, in its newest shape; null: the log has none there. */
export async function eventAt(store: Pick<EventStore, 'readAll'>, position: number): Promise<Recorded | null> {
  const [event] = await store.readAll(position - 1, 1);
  return event?.position === position ? upcast(event) : null;
}
