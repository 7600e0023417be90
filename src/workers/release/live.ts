import { setTimeout as sleep } from 'node:timers/promises';
import type { EnginePort } from '../../drivers/engine/engine.port.js';
import { binarySize } from '../../drivers/engine/units.js';
import type { HealthCheck } from '../../events/types/deploy.events.js';
import { StepFailure, type StepLog } from '../../events/step.js';
import { type HttpProbe, waitUntilHealthy } from './check.js';
import { explain, listeners } from './listening.js';

export interface Started {
  readonly id: string; readonly name: string;
  readonly type: string; readonly index: number;
  /** `web.1` */
  readonly place: string;
  readonly ip: string; readonly port: number;
  /** bytes, 0 = no limit */
  readonly memory: number;
}

export interface Watch {
  readonly engine: EnginePort; readonly check: HealthCheck; readonly http: HttpProbe;
  /** Host header of the check */
  readonly host: string;
  readonly log: StepLog; readonly signal: AbortSignal;
}

/** what is not web has no port to ask: it must live for this long */
const SETTLE_MS = 1000;
const TAIL = 50;

/** Waits until web answers and the others have lived for a second; the first container that does not ends it. */
export async function watchUntilLive(started: readonly Started[], watch: Watch): Promise<void> {
  const over = new AbortController();
  const signal = AbortSignal.any([watch.signal, over.signal]);
  const all = started.map((container) => live(container, { ...watch, signal }));
  try {
    await Promise.all(all);
  } catch (error) {
    // whatever heard of it first: the reason is what counts
    watch.signal.throwIfAborted();
    throw error;
  } finally {
    over.abort();
    await Promise.allSettled(all);
  }
}

async function live(container: Started, watch: Watch): Promise<void> {
  const { engine, log } = watch;
  const over = new AbortController();
  const signal = AbortSignal.any([watch.signal, over.signal]);
  const exited = engine.waitContainer(container.id, signal).then((exitCode) => ({ exitCode }));
  const well = container.type === 'web' ? answers(container, { ...watch, signal }) : sleep(SETTLE_MS, undefined, { signal });
  for (const loser of [exited, well]) loser.catch(() => {});
  try {
    const end = await Promise.race([exited, well]);
    if (end && 'exitCode' in end) throw await crashed(container, end.exitCode, watch);
    log.detail(`${container.place} ${container.type === 'web' ? 'is up' : 'runs'}${end ? `: ${end.what}` : ''}`);
  } finally {
    over.abort();
  }
}

/** ms after which a process that listens, but elsewhere, is taken to stay there */
const ELSEWHERE_MS = 15_000;
const LOOK_MS = 2_500;

/**
 * Rejects when the container has been listening on other ports for a while and never on its own: nobody has to wait for the whole check
 * to learn that. Only where a port is all that is asked for; an app.json that sets a check knows how long its app takes.
 */
async function listensElsewhere(container: Started, watch: Watch): Promise<never> {
  const { engine, signal } = watch;
  await sleep(ELSEWHERE_MS, undefined, { signal });
  for (let before = '';;) {
    const state = await engine.inspectContainer(container.id);
    const found = state?.pid ? await listeners(state.pid) : [];
    const seen = explain(found, container.port);
    if (found.length > 0 && seen.text === before) {
      await tail(container, watch);
      throw new StepFailure('release.check-failed', `${container.place} did not pass its check: ${seen.text}`, seen.hint);
    }
    before = seen.text;
    await sleep(LOOK_MS, undefined, { signal });
  }
}

async function answers(container: Started, watch: Watch): Promise<{ what: string }> {
  const over = new AbortController();
  const signal = AbortSignal.any([watch.signal, over.signal]);
  const checked = check(container, { ...watch, signal });
  if (watch.check.path !== null) return checked;
  const elsewhere = listensElsewhere(container, { ...watch, signal });
  for (const loser of [checked, elsewhere]) loser.catch(() => {});
  try {
    return await Promise.race([checked, elsewhere]);
  } finally {
    over.abort();
  }
}

async function check(container: Started, watch: Watch): Promise<{ what: string }> {
  const result = await waitUntilHealthy({ ip: container.ip, port: container.port, host: watch.host }, watch.check, watch.http, watch.signal);
  if (result.ok) return { what: `${result.what} after ${result.ms < 1000 ? `${Math.round(result.ms)} ms` : `${(result.ms / 1000).toFixed(1)} s`}` };
  const state = await watch.engine.inspectContainer(container.id);
  await tail(container, watch);
  if (result.reached) {
    throw new StepFailure('release.check-failed', `${container.place} did not pass its check: ${result.what}`, `it must answer ${watch.check.path ?? '/'} on port ${container.port} with a status of 200 to 399; its last lines are above`);
  }
  const seen = explain(state?.pid ? await listeners(state.pid) : [], container.port);
  throw new StepFailure('release.check-failed', `${container.place} did not pass its check: ${seen.text}: ${result.what}`, seen.hint);
}

async function crashed(container: Started, exitCode: number, watch: Watch): Promise<StepFailure> {
  // one that is being stopped takes its containers with it, and still answers on connections that it has
  await watch.engine.ping();
  const state = await watch.engine.inspectContainer(container.id);
  const lines = await tail(container, watch);
  if (state?.oomKilled) return new StepFailure('release.crashed', `${container.place} was killed: it used more memory than its limit${container.memory ? ` of ${binarySize(container.memory)}` : ''}`, 'raise the limit, or let the app use less');
  if (exitCode === 137) return new StepFailure('release.killed', `${container.place} was killed from outside, not for its memory`, 'the engine was restarted, or somebody used docker kill', 'machine');
  // the container's init takes the command over after its start: what cannot be executed is told by its log
  const missing = lines.map((line) => /^\[FATAL tini \(\d+\)\] exec (\S+) failed: (.*)$/.exec(line)).find((found) => found !== null);
  if (missing) {
    const shell = missing[1] === '/bin/sh';
    return new StepFailure('release.cannot-start', `${container.place} cannot be started: ${missing[1]}: ${missing[2]}`, shell ? 'the image has no /bin/sh, which a Procfile needs: use the image\'s CMD, or a base image with a shell' : 'look at CMD and ENTRYPOINT of the image');
  }
  const hint = exitCode === 0 ? 'a process of the formation must keep running; a task that ends belongs into the release command'
    : exitCode === 127 ? 'its command is not in the image: look at the Procfile'
    : exitCode === 126 ? 'its command is not executable: git update-index --chmod=+x'
    : 'its last lines are above';
  return new StepFailure('release.crashed', `${container.place} exited with code ${exitCode}`, hint);
}

/** Shows the last lines of a container, and hands them back. */
async function tail(container: Started, { engine, log }: Watch): Promise<readonly string[]> {
  const lines: string[] = [];
  try {
    for await (const line of engine.logs(container.id, { follow: false, tail: TAIL })) {
      lines.push(line.text);
      log.output(`${container.place}: ${line.text}`, true);
    }
  } catch {
    // the failure itself matters more
  }
  return lines;
}
