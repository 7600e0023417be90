import { randomUUID } from 'node:crypto';
import { sleep, systemClock, type Clock } from '../../events/clock.js';
import { StepFailure } from '../../events/step.js';
import type { Core } from '../core.js';

const LEASE_MS = 5000;
const RENEW_MS = 1500;
const PATIENCE_MS = 60_000;

/**
 * Runs `work` as the router's only writer, over all processes. The lease is short and renewed while the work goes on, so that a holder
 * that died costs the others seconds. One that slept longer than its lease may meet another writer: what they leave is compared with the
 * log and repaired by the next sweep.
 * @throws StepFailure `route.busy` after a minute
 */
export async function withRouterLease<T>(core: Pick<Core, 'store' | 'now'>, name: string, work: () => Promise<T>, clock: Clock = systemClock): Promise<T> {
  const owner = `${name}:${process.pid}:${randomUUID()}`;
  const until = core.now() + PATIENCE_MS;
  while (!(await core.store.acquire('router', owner, core.now(), LEASE_MS))) {
    if (core.now() > until) throw new StepFailure('route.busy', 'the router was being changed by others for a minute', null, 'machine');
    await sleep(clock, 20 + Math.random() * 30);
  }
  // a renewal that fails is tried again; the work itself says what is wrong with the store
  let renewed: Promise<unknown> = Promise.resolve();
  const beat = clock.setInterval(() => { renewed = core.store.acquire('router', owner, core.now(), LEASE_MS).catch(() => {}); }, RENEW_MS);
  try {
    return await work();
  } finally {
    clock.clear(beat);
    await renewed; // one that comes after the release would take the lease again, for nobody
    await core.store.release('router', owner);
  }
}
