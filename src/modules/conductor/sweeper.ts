import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock, type Clock } from '../../events/clock.js';
import type { EnginePort } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import type { RouterPort } from '../../drivers/router/router.port.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { Reconciler } from '../drift/reconciler.js';
import { settleBranch } from '../sources/branches.js';
import { repaired } from './live-table.js';
import { planSweep, type Found } from './sweep.plan.js';
import { withRouterLease } from './router-lease.js';

/** The folders that are swept. */
export interface Folders {
  /** what is in a folder; nothing when there is none */
  names(folder: string): Promise<string[]>;
  /** with everything in it */
  remove(path: string): Promise<void>;
}

const disk: Folders = {
  names: (folder) => readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  }),
  remove: (path) => rm(path, { recursive: true, force: true }),
};

/** how long a container may take to stop after SIGTERM */
const STOP_SECONDS = 30;

/** Removes what belongs to nobody and brings the router in line with the log. Each part goes on when another fails. */
export class Sweeper {
  private readonly reconciler: Reconciler;

  constructor(
    private readonly core: Core, private readonly engine: EnginePort, private readonly router: RouterPort, private readonly report: Report,
    private readonly folders: Folders = disk, private readonly clock: Clock = systemClock,
  ) {
    this.reconciler = new Reconciler(core, engine);
  }

  /**
   * What the log says should run and does not, after the machine, its engine or we were away: started again, and routed. Rejects when the
   * engine does not answer; where nothing is live it is not asked.
   */
  async restore(): Promise<void> {
    if (!Object.values((await this.core.board.now()).apps).some((app) => app.live)) return;
    const containers = await this.engine.listContainers({ instance: this.core.config.instance });
    await this.each('drift', () => this.reconciler.check(containers, true));
    await this.routes();
  }

  async sweep(): Promise<void> {
    const { core: { config: { instance, root } }, folders } = this;
    const of = (labels: Readonly<Record<string, string>>): { app: string; deploy: number } => {
      const read = readLabels(labels);
      return { app: read.app ?? '', deploy: Number(read.deploy ?? 0) };
    };
    const [containers, images, networks, sources, repositories, deployLogs, appLogs] = await Promise.all([
      this.engine.listContainers({ instance }), this.engine.listImages({ instance }), this.engine.listNetworks({ instance }),
      folders.names(join(root, 'sources')), folders.names(join(root, 'repos')), folders.names(join(root, 'logs', 'deploys')), folders.names(join(root, 'logs', 'apps')),
    ]);
    const found: Found = {
      containers: containers.map((c) => ({ id: c.id, ...of(c.labels) })),
      images: images.filter((i) => of(i.labels).app !== '').map((i) => ({ id: i.id, ...of(i.labels) })),
      networks: networks.map((n) => ({ name: n.name, app: of(n.labels).app })),
      sources, repositories: repositories.filter((name) => name.endsWith('.git')).map((name) => name.slice(0, -4)), logs: [...new Set([...deployLogs, ...appLogs])],
    };
    const board = await this.core.board.now();
    const plan = planSweep(board, found);
    await this.each('drift', () => this.reconciler.check(containers));
    const serving = await this.routes();
    const named = new Map(containers.map((c) => [c.id, c.name]));
    for (const id of plan.containers) {
      // what takes requests stays until it takes none: a deploy was cancelled in the middle of its switch, and the next one has begun
      if (serving === null || serving.has(named.get(id)!)) continue;
      await this.each(`container ${id.slice(0, 12)}`, async () => {
        await this.engine.stopContainer(id, STOP_SECONDS);
        await this.engine.removeContainer(id);
      });
    }
    for (const id of plan.images) await this.each(`image ${id}`, () => this.engine.removeImage(id, true));
    for (const name of plan.networks) await this.each(`network ${name}`, () => this.engine.removeNetwork(name));
    for (const folder of plan.sources) await this.each(`source ${folder}`, () => folders.remove(join(root, 'sources', folder)));
    for (const app of plan.repositories) await this.each(`repository ${app}`, () => folders.remove(join(root, 'repos', `${app}.git`)));
    for (const app of Object.keys(board.apps)) await this.each(`branch of ${app}`, () => settleBranch(this.core, app));
    for (const app of plan.logs) {
      await this.each(`logs ${app}`, async () => {
        await this.core.logs.remove(`apps/${app}`);
        await this.core.logs.remove(`deploys/${app}`);
      });
    }
  }

  /** Writes what differs between the router and the log, for apps that no deploy is changing now; answers which servers take requests, null when that is not known. */
  private async routes(): Promise<ReadonlySet<string> | null> {
    let serving: ReadonlySet<string> | null = null;
    await this.each('routes', () => withRouterLease(this.core, 'conductor', async () => {
      // looked at under the lease, for what was seen before it may be old: addresses change
      const containers = await this.engine.listContainers({ instance: this.core.config.instance });
      const ips = new Map(containers.map((c) => [c.id, c.ip]));
      const running = new Set(containers.filter((c) => c.state === 'running').map((c) => c.id));
      const actual = await this.router.observe();
      const board = await this.core.board.now();
      const plan = this.router.plan(repaired(board, actual, (id) => ips.get(id) ?? null, (id) => running.has(id)), actual);
      const ready = new Set(plan.desired.apps.flatMap((app) => app.servers.filter((server) => server.state === 'ready').map((server) => server.name)));
      if (plan.changes.length > 0) await this.router.apply(plan);
      serving = ready;
      if (plan.changes.length === 0) return;
      const changed = Map.groupBy(plan.changes.filter((c) => 'app' in c && board.apps[c.app] !== undefined), (c) => (c as { app: string }).app);
      await this.reconciler.routes(new Map([...changed].map(([app, some]) => [app, [some.map((c) => c.do).join(' ')]])));
    }, this.clock));
    return serving;
  }

  private async each(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.report(`sweeping ${what}`, error);
    }
  }
}
