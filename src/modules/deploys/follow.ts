import type { NumberedLine } from '../../drivers/logs/log-store.js';
import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { PipelineEvent } from '../../events/types/deploy.events.js';
import { upcast } from '../../events/upcast.js';
import { pipelineStream } from '../apps/app-context.js';
import type { StreamItem } from '../commands/command.js';
import type { Core } from '../core.js';
import type { DeployRow, DeployStatus } from '../read/board.projection.js';
import { standstill } from '../server/room.js';

/** The events of one deploy, in order; of an app that is gone, all that may be of it. */
export async function deployEvents(core: Core, app: string, deploy: number): Promise<(Recorded & PipelineEvent)[]> {
  const [first, last] = (await core.board.now()).deploys[app]?.[deploy - 1]?.span ?? [1];
  const events = (await core.store.readStream(pipelineStream(app), first - 1, last)).map((event) => upcast(event)) as unknown as (Recorded & PipelineEvent)[];
  return events.filter((event) => event.data.deploy === deploy);
}

export const deployLog = (app: string, deploy: number): string => `deploys/${app}/${deploy}`;

const OVER: ReadonlySet<DeployStatus> = new Set(['succeeded', 'failed', 'cancelled', 'superseded']);
export const isOver = (status: DeployStatus): boolean => OVER.has(status);

export type FollowItem =
  | { id: string; event: 'state'; data: { status: DeployStatus; behind: number | null } }
  | { id: string; event: 'line'; data: NumberedLine }
  | { id: string; event: 'note'; data: { text: string } }
  | { id: string; event: 'end'; data: EndOfDeploy };

export interface EndOfDeploy {
  status: DeployStatus; app: string; name: string; deploy: number; release: number | null; urls: string[]; tookMs: number;
  /** release that serves now */
  live: number | null;
  failure: { code: string; message: string; hint: string | null; job: string | null } | null; endedBy: string | null;
}

/** how often the disk is looked at while nothing happens, ms */
const LOOK_MS = 2000;

/** `http://host[:port]` for every host of the app. */
export function urlsOf(hosts: readonly string[], httpPort: number): string[] {
  return hosts.map((host) => `http://${host}${httpPort === 80 ? '' : `:${httpPort}`}`);
}

async function rowOf(core: Core, app: string, deploy: number): Promise<{ row: DeployRow; name: string; hosts: readonly string[]; running: number | null; live: number | null }> {
  const board = await core.board.now();
  const owner = board.apps[app];
  const row = board.deploys[app]?.[deploy - 1];
  if (!owner || !row) throw new Rejected('deploy.missing', `There is no deploy ${deploy}`, 'see: berth deploys <app>');
  return { row, name: owner.name, hosts: owner.live?.hosts ?? [], running: owner.running, live: owner.live?.release ?? null };
}

/**
 * A deploy's output from line `after` + 1 to its end, as it comes: `state` when it begins to wait or to run, `line` for each line,
 * `end` last, and a `note` when the server's disk is so full that nothing can go on, which no line of a log can say. Ids are line numbers, so that a client that was cut off goes on behind the last one it saw.
 */
export async function* followDeploy(core: Core, app: string, deploy: number, after: number, signal: AbortSignal): AsyncGenerator<FollowItem & StreamItem> {
  let seen = after;
  let told: string | null = null;
  let wake: () => void = () => {};
  let changed = false;
  const nudge = (): void => { changed = true; wake(); };
  const unsubscribe = core.store.changes(nudge);
  const stop = new AbortController();
  signal.addEventListener('abort', nudge);
  const queue: NumberedLine[] = [];
  const notes: string[] = [];
  const following = core.logs.follow(deployLog(app, deploy), after, stop.signal, (lines) => { queue.push(...lines); nudge(); });
  let broken: unknown = null;
  let note: string | null = null;
  const look = (): void => {
    core.probes?.space().then(({ log }) => {
      const now = standstill(log);
      if ((now === null) === (note === null)) return;
      note = now;
      notes.push(now ?? 'There is room on the server\'s disk again: the deploy goes on');
      nudge();
    }, () => undefined); // said by berth doctor
  };
  const looking = setInterval(look, LOOK_MS);
  look();
  following.catch((error: unknown) => { broken = error; nudge(); });
  try {
    while (!signal.aborted) {
      changed = false;
      if (broken) throw broken;
      for (const text of notes.splice(0)) yield { id: String(seen), event: 'note', data: { text } };
      const { row, name, hosts, running, live } = await rowOf(core, app, deploy);
      const status = `${row.status}`;
      if (status !== told && !isOver(row.status)) {
        told = status;
        yield { id: String(seen), event: 'state', data: { status: row.status, behind: row.status === 'waiting' ? running : null } };
      }
      if (isOver(row.status)) {
        // the log is complete once the end is in the store, but for the calls of tidying up: what the watcher has not brought yet is read now
        for (const line of await core.logs.read(deployLog(app, deploy), seen, 1_000_000)) {
          yield { id: String(line.n), event: 'line', data: line };
          seen = line.n;
        }
        yield { id: String(seen), event: 'end', data: { ...endOf(row, name, urlsOf(hosts, core.config.httpPort)), live } };
        return;
      }
      for (const line of queue.splice(0)) {
        if (line.n <= seen) continue;
        yield { id: String(line.n), event: 'line', data: line };
        seen = line.n;
      }
      if (!changed) await new Promise<void>((resolve) => { wake = resolve; });
    }
  } finally {
    clearInterval(looking);
    signal.removeEventListener('abort', nudge);
    unsubscribe();
    stop.abort();
    await following.catch(() => {});
  }
}

function endOf(row: DeployRow, name: string, urls: string[]): Omit<EndOfDeploy, 'live'> {
  const failed = row.steps.findLast((step) => step.failure !== null);
  return {
    status: row.status, app: row.app, name, deploy: row.deploy, release: row.release, urls,
    tookMs: (row.endedAt ?? row.requestedAt) - row.requestedAt,
    failure: row.failure ? { ...row.failure, job: failed?.job ?? null } : null, endedBy: row.endedBy,
  };
}
