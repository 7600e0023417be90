import { randomUUID } from 'node:crypto';
import { sleep, systemClock, type Clock } from '../../events/clock.js';
import { StepFailure } from '../../events/step.js';
import type { Core } from '../core.js';

const LEASE_MS = 30_000;
const PATIENCE_MS = 60_000;

/**
 * Runs `work` as the router's only writer, over all processes. A holder that died is waited for, at most the lease's 30 s.
 * @throws StepFailure `route.busy` after a minute
 */
export async function withRouterLease<T>(core: Pick<Core, 'store' | 'now'>, name: string, work: () => Promise<T>, clock: Clock = systemClock): Promise<T> {
  const owner = `${name}:${process.pid}:${randomUUID()}`;
  const until = core.now() + PATIENCE_MS;
  while (!(await core.store.acquire('router', owner, core.now(), LEASE_MS))) {
    if (core.now() > until) throw new StepFailure('route.busy', 'the router was being changed by others for a minute', null, 'machine');
    await sleep(clock, 20 + Math.random() * 30);
  }
  try {
    return await work();
  } finally {
    await core.store.release('router', owner);
  }
}
