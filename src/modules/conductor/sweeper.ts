import { lstat, readdir, rm, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { systemClock, type Clock } from '../../events/clock.js';
import type { ContainerSummary, EnginePort, Image } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import type { RouterPort } from '../../drivers/router/router.port.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { Reconciler } from '../drift/reconciler.js';
import { findOldImages } from '../services/old-images.js';
import { Retirements } from '../services/retirements.js';
import { ofServices, ServiceReconciler } from '../services/service-reconciler.js';
import { settleBranch } from '../sources/branches.js';
import { edges } from './edges.js';
import { repaired } from './live-table.js';
import type { Board } from '../read/board.projection.js';
import { planSweep, type Found, type Leftover, type Sweep } from './sweep.plan.js';
import { cacheLimits, planCaches, type Unwanted } from './cache.plan.js';
import { withRouterLease } from './router-lease.js';

/** The folders that are swept. */
export interface Folders {
  /** what is in a folder; nothing when there is none */
  names(folder: string): Promise<string[]>;
  /** with everything in it */
  remove(path: string): Promise<void>;
  /** of all files in it; 0 when it is not there */
  bytes(path: string): Promise<number>;
  /** when something was last added to or taken from it, ms since the epoch */
  changed(path: string): Promise<number>;
}

const disk: Folders = {
  names: (folder) => readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  }),
  remove: (path) => rm(path, { recursive: true, force: true }),
  bytes: async (path) => {
    const files = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
    const sizes = await Promise.all(files.filter((file) => file.isFile()).map(async (file) => (await lstat(join(file.parentPath, file.name)).catch(() => ({ size: 0 }))).size));
    return sizes.reduce((sum, size) => sum + size, 0);
  },
  changed: async (path) => (await stat(path)).mtimeMs,
};

const LOOK_FOR_PUSHES_MS = 3_600_000;
const NOTHING: Found = { containers: [], images: [], networks: [], volumes: [], sources: [], quarantines: [], repositories: [], logs: [] };


/** how long a container may take to stop after SIGTERM */
const STOP_SECONDS = 30;

/** Removes what belongs to nobody and brings the router in line with the log. Each part goes on when another fails. */
export class Sweeper {
  private readonly reconciler: Reconciler;
  private readonly services: ServiceReconciler;
  private readonly retirements: Retirements;
  private lookedForPushes = 0;

  constructor(
    private readonly core: Core, private readonly engine: EnginePort, private readonly router: RouterPort, private readonly report: Report,
    private readonly folders: Folders = disk, private readonly clock: Clock = systemClock,
  ) {
    this.reconciler = new Reconciler(core, engine);
    this.services = new ServiceReconciler(core, engine);
    this.retirements = new Retirements(core);
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

  /** What is there, and what of it belongs to nobody. */
  private async look(pushes: boolean): Promise<{ readonly containers: readonly ContainerSummary[]; readonly images: readonly Image[]; readonly board: Readonly<Board>; readonly plan: Sweep; /** logs of services that are gone */ readonly services: readonly string[] }> {
    const { core: { config: { instance, root } }, folders } = this;
    const of = (labels: Readonly<Record<string, string>>): { app: string; deploy: number } => {
      const read = readLabels(labels);
      return { app: read.app ?? '', deploy: Number(read.deploy ?? 0) };
    };
    const [containers, images, networks, volumes, sources, repositories, deployLogs, appLogs] = await Promise.all([
      this.engine.listContainers({ instance }), this.engine.listImages({ instance }), this.engine.listNetworks({ instance }), this.engine.listIdleVolumes({ instance }),
      folders.names(join(root, 'sources')), folders.names(join(root, 'repos')), folders.names(join(root, 'logs', 'deploys')), folders.names(join(root, 'logs', 'apps')),
    ]);
    const services = await folders.names(join(root, 'logs', 'services'));
    const ours = <T extends { readonly labels: Readonly<Record<string, string>> }>(all: readonly T[]): T[] => all.filter(({ labels }) => readLabels(labels).service === undefined);
    const found: Found = {
      containers: ours(containers).map((c) => ({ id: c.id, ...of(c.labels) })),
      images: images.filter((i) => of(i.labels).app !== '').map((i) => ({ id: i.id, ...of(i.labels) })),
      networks: ours(networks).map((n) => ({ name: n.name, app: of(n.labels).app })),
      volumes: volumes.map(({ name, labels }) => ({ name, app: of(labels).app, deploy: readLabels(labels).deploy === undefined ? null : of(labels).deploy, storage: readLabels(labels).storage ?? null })),
      quarantines: pushes ? await this.quarantines(join(root, 'repos'), repositories) : [],
      sources, repositories: repositories.filter((name) => name.endsWith('.git')).map((name) => name.slice(0, -4)), logs: [...new Set([...deployLogs, ...appLogs])],
    };
    const board = await this.core.board.now();
    const { rows } = await this.core.services.now();
    const plan = planSweep(board, found, this.core.now());
    const dead = networks.filter(({ labels }) => !rows[readLabels(labels).service ?? ''] && readLabels(labels).service !== undefined).map(({ name }) => name);
    return { containers, images, board, plan: { ...plan, networks: [...plan.networks, ...dead] }, services: services.filter((name) => !rows[name]) };
  }

  /** What a sweep would remove now, and the build caches that nobody has or that are too many. Nothing of it is removed. */
  async leftovers(): Promise<readonly Leftover[]> {
    const { plan, containers, images, board } = await this.look(true);
    const { root } = this.core.config;
    const named = new Map(containers.map((c) => [c.id, c.name]));
    const sized = new Map(images.map((i) => [i.id, i]));
    const caches = await this.unwantedCaches(board);
    return [
      ...plan.containers.map((id): Leftover => ({ kind: 'container', name: named.get(id) ?? id, bytes: null })),
      ...plan.images.map((id): Leftover => ({ kind: 'image', name: sized.get(id)?.tags[0] ?? id.slice(7, 19), bytes: sized.get(id)?.bytes ?? null })),
      ...(await findOldImages(this.core, this.engine)).map(({ references, bytes }): Leftover => ({ kind: 'image', name: references[0]!.startsWith('sha256:') ? references[0]!.slice(7, 19) : references[0]!, bytes, why: 'of services, an earlier one that nobody uses' })),
      ...plan.networks.map((name): Leftover => ({ kind: 'network', name, bytes: null })),
      ...plan.volumes.map((name): Leftover => ({ kind: 'volume', name, bytes: null })),
      ...await Promise.all(plan.quarantines.map(async (path): Promise<Leftover> => ({ kind: 'pushed objects', name: relative(join(root, 'repos'), path), bytes: await this.folders.bytes(path) }))),
      ...await Promise.all(plan.sources.map(async (name): Promise<Leftover> => ({ kind: 'source', name, bytes: await this.folders.bytes(join(root, 'sources', name)) }))),
      ...await Promise.all(plan.repositories.map(async (name): Promise<Leftover> => ({ kind: 'repository', name, bytes: await this.folders.bytes(join(root, 'repos', `${name}.git`)) }))),
      ...plan.logs.map((name): Leftover => ({ kind: 'logs', name, bytes: null })),
      ...caches.map(({ cache: { id, bytes }, app, why }): Leftover => ({ kind: 'build cache', name: `${app} ${id.replace(/^volume:/, '')}`, bytes, why })),
    ];
  }

  /** Removes the build caches that nobody has or that are too many; the engine takes long to tell them, so no ordinary sweep asks. */
  async sweepCaches(): Promise<void> {
    await this.each('build caches', async () => { await this.engine.removeCaches((await this.unwantedCaches(await this.core.board.now())).map(({ cache }) => cache.id)); });
  }

  /** Removes the images of services that nobody uses. What a container has meanwhile the engine does not let go: nothing is removed by force. */
  async sweepImages(): Promise<void> {
    await this.each('images of services', async () => {
      for (const { references } of await findOldImages(this.core, this.engine)) for (const each of references) await this.each(`image ${each}`, () => this.engine.removeImage(each));
    });
  }

  private async unwantedCaches(board: Readonly<Board>): Promise<readonly Unwanted[]> {
    const { instance, caches } = this.core.config;
    const found = await this.engine.listCaches();
    return found.length === 0 ? [] : planCaches(board, instance, found, cacheLimits(caches, (await this.engine.space()).total));
  }

  async sweep(): Promise<void> {
    const { core: { config: { root } }, folders } = this;
    // once an hour: the folders are many
    const pushes = this.core.now() - this.lookedForPushes >= LOOK_FOR_PUSHES_MS;
    if (pushes) this.lookedForPushes = this.core.now();
    const { containers, images, plan, board, services } = await this.look(pushes);
    await this.each('drift', () => this.reconciler.check(containers));
    await this.each('services', async () => {
      for (const id of await this.services.check(ofServices(containers))) await this.each(`container ${id.slice(0, 12)}`, () => this.engine.removeContainer(id));
    });
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
    await this.each('passwords of before', () => this.retirements.check());
    const condemned = new Set(plan.images);
    for (const image of images) if (condemned.has(image.id)) await this.each(`image ${image.id}`, () => this.removeImage(image));
    if (pushes) await this.sweepImages();
    for (const name of plan.networks) await this.each(`network ${name}`, () => this.engine.removeNetwork(name));
    for (const name of plan.volumes) await this.each(`volume ${name}`, () => this.engine.removeVolume(name));
    for (const path of plan.quarantines) await this.each(`pushed objects ${path}`, () => folders.remove(path));
    for (const folder of plan.sources) await this.each(`source ${folder}`, () => folders.remove(join(root, 'sources', folder)));
    for (const app of plan.repositories) await this.each(`repository ${app}`, () => folders.remove(join(root, 'repos', `${app}.git`)));
    for (const app of Object.keys(board.apps)) await this.each(`branch of ${app}`, () => settleBranch(this.core, app));
    if (pushes || plan.repositories.length > 0) await this.sweepCaches();
    for (const service of services) await this.each(`logs ${service}`, () => this.core.logs.remove(`services/${service}`));
    for (const app of plan.logs) {
      await this.each(`logs ${app}`, async () => {
        await this.core.logs.remove(`apps/${app}`);
        await this.core.logs.remove(`deploys/${app}`);
      });
    }
  }

  /** What git keeps a push's objects in until its hook has ended; one that was killed leaves it. */
  private async quarantines(root: string, repositories: readonly string[]): Promise<Found['quarantines']> {
    const found: { path: string; changed: number }[] = [];
    for (const repository of repositories) {
      for (const name of await this.folders.names(join(root, repository, 'objects'))) {
        if (!/^(tmp_objdir-)?incoming-/.test(name)) continue;
        const path = join(root, repository, 'objects', name);
        await this.each(`pushed objects ${path}`, async () => { found.push({ path, changed: await this.folders.changed(path) }); });
      }
    }
    return found;
  }

  /**
   * A build may take over what an earlier deploy made, and gives it a name of its own then: looked at again, and removed by force only
   * where it had several names before.
   */
  private async removeImage({ id, labels, tags }: Image): Promise<void> {
    const { app = '', deploy } = readLabels(labels);
    const { images } = planSweep(await this.core.board.now(), { ...NOTHING, images: [{ id, app, deploy: Number(deploy ?? 0) }] }, this.core.now());
    if (images.length > 0) await this.engine.removeImage(id, tags.length > 1);
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
      const plan = this.router.plan(repaired(board, actual, (id) => ips.get(id) ?? null, (id) => running.has(id), await edges(this.core.box, board)), actual);
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
