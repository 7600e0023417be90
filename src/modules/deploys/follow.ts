import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { PipelineEvent } from '../../events/types/deploy.events.js';
import { upcast } from '../../events/upcast.js';
import { pipelineStream } from '../apps/app-context.js';
import type { StreamItem } from '../commands/command.js';
import type { Core } from '../core.js';
import type { DeployRow, DeployStatus } from '../read/board.projection.js';
import { followWork, type WorkItem } from '../logs/follow-work.js';

/** The events of one deploy, in order; of an app that is gone, all that may be of it. */
export async function deployEvents(core: Core, app: string, deploy: number): Promise<(Recorded & PipelineEvent)[]> {
  const [first, last] = (await core.board.now()).deploys[app]?.[deploy - 1]?.span ?? [1];
  const events = (await core.store.readStream(pipelineStream(app), first - 1, last)).map((event) => upcast(event)) as unknown as (Recorded & PipelineEvent)[];
  return events.filter((event) => event.data.deploy === deploy);
}

export const deployLog = (app: string, deploy: number): string => `deploys/${app}/${deploy}`;

const OVER: ReadonlySet<DeployStatus> = new Set(['succeeded', 'failed', 'cancelled', 'superseded']);
export const isOver = (status: DeployStatus): boolean => OVER.has(status);

export type FollowItem = WorkItem<EndOfDeploy, DeployStatus>;

export interface EndOfDeploy {
  status: DeployStatus; app: string; name: string; deploy: number; release: number | null; urls: string[]; tookMs: number;
  /** release that serves now */
  live: number | null;
  failure: { code: string; message: string; hint: string | null; job: string | null } | null; endedBy: string | null;
}

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

/** A deploy's output from line `after` + 1 to its end, as it comes; see `followWork`. */
export function followDeploy(core: Core, app: string, deploy: number, after: number, signal: AbortSignal): AsyncGenerator<FollowItem & StreamItem> {
  return followWork<EndOfDeploy, DeployStatus>(core, 'the deploy', deployLog(app, deploy), async () => {
    const { row, name, hosts, running, live } = await rowOf(core, app, deploy);
    return { status: row.status, behind: running, end: isOver(row.status) ? { ...endOf(row, name, urlsOf(hosts, core.config.httpPort)), live } : null };
  }, after, signal);
}

function endOf(row: DeployRow, name: string, urls: string[]): Omit<EndOfDeploy, 'live'> {
  const failed = row.steps.findLast((step) => step.failure !== null);
  return {
    status: row.status, app: row.app, name, deploy: row.deploy, release: row.release, urls,
    tookMs: (row.endedAt ?? row.requestedAt) - row.requestedAt,
    failure: row.failure ? { ...row.failure, job: failed?.job ?? null } : null, endedBy: row.endedBy,
  };
}
