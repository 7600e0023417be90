import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { Rejected } from '../../events/decider.js';
import type { ChainedEvent } from '../../events/chain.js';
import type { Core } from '../core.js';
import { START, type Place } from './verify.js';

/** some milliseconds of work: others are answered between two pages */
const PAGE = 250;

/** The live log in pages, from behind `after` to `until`, or to the head as it is at the last page. */
export async function* pagesOf(core: Core, after: number, until = Number.POSITIVE_INFINITY, signal?: AbortSignal): AsyncGenerator<ChainedEvent[]> {
  for (let at = after; at < until;) {
    signal?.throwIfAborted();
    const page = (await core.store.readChain(at, PAGE)).filter((event) => event.position <= until);
    if (page.length > 0) yield page;
    if (page.length < PAGE) return;
    await turnOfTheLoop();
    at = page.at(-1)!.position;
  }
}

/** The hash at `position`. @throws Rejected when there is no such event */
export async function placeAt(core: Core, position: number): Promise<Place> {
  if (position === 0) return START;
  const [event] = await core.store.readChain(position - 1, 1);
  if (event?.position !== position) throw new Rejected('audit.position', `There is no event ${position} in the log`, `the newest is ${await core.store.head()}`);
  return { position, hash: event.hash };
}
