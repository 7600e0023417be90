import { join } from 'node:path';
import type { Config } from '../config.js';
import type { Space } from '../drivers/disk/space.js';
import type { EnginePort } from '../drivers/engine/engine.port.js';
import type { VolumePort } from '../drivers/engine/volume.port.js';
import type { RegistryLogin } from '../drivers/engine/registry-login.js';
import type { GitTransfer } from '../drivers/git/git.port.js';
import type { Certificate } from '../drivers/router/haproxy.certificates.js';
import type { StackImages } from '../drivers/stack/stack-images.js';
import { LogStore } from '../drivers/logs/log-store.js';
import { Rejected } from '../events/decider.js';
import { openStore } from '../events/open-store.js';
import { Repository } from '../events/repository.js';
import { masterKey, SecretBox } from '../events/seal.js';
import { StoreUnavailable, type EventStore } from '../events/store.port.js';
import { shown } from './apps/app.decider.js';
import { config as configDecider } from './config/config.decider.js';
import { configStream } from './apps/app-context.js';
import { DRIFTS, type Drifts } from './drift/drift.projection.js';
import type { Sources } from './sources/sources.js';
import { Pipelines } from './deploys/deploys.service.js';
import { Operations } from './operations/operations.service.js';
import { COPIES, type Copies } from './copies/copies.projection.js';
import { serviceKey, SERVICES, type ServiceRow, type Services } from './services/services.projection.js';
import { WORKS, type Works } from './operations/works.projection.js';
import type { Leftover } from './conductor/sweep.plan.js';
import type { PluginInstaller } from './plugins/install.js';
import type { Plugins } from './plugins/plugins.service.js';
import { PLUGINS, type PluginsView } from './plugins/plugins.projection.js';
import { BOARD, type AppRow, type Board } from './read/board.projection.js';
import { ROUTES } from './read/routes.projection.js';
import { Projection } from './read/projection.js';
import type { ServiceState } from './services/service.decider.js';
import type { WorkerStatus } from './server/worker-status.js';

/** What every process of Berth stands on. One object, built once, handed to whoever needs it. */
export class Core {
  readonly repository: Repository;
  readonly pipelines: Pipelines;
  readonly operations: Operations;
  readonly box: SecretBox;
  readonly board: Projection<Board>;
  readonly drifts: Projection<Drifts>;
  readonly services: Projection<Services>;
  /** operations of every group */
  readonly works: Projection<Works>;
  /** backups of volumes and services */
  readonly copies: Projection<Copies>;
  /** what serves, for who asks only that */
  readonly routes: Projection<Board>;
  /** every plugin, and what each remembers */
  readonly plugins: Projection<PluginsView>;
  readonly logs: LogStore;
  /** set where Redis is at hand: what the workers last said of themselves. @throws Rejected when Redis does not answer */
  workers: (() => Promise<WorkerStatus[]>) | null = null;
  /** set where the conductor runs: asks a part how it is, rejects when it is not well; free and total bytes of the disks that matter */
  probes: {
    engine(): Promise<string>; redis(): Promise<string>; router(): Promise<string>; certificates(): Promise<readonly Certificate[]>;
    /** `images` null while the engine is away */
    space(): Promise<{ log: Space; images: Space | null }>;
  } | null = null;
  /** set where sshd reads what we write: rewrites authorized_keys from the log */
  writeKeys: (() => Promise<void>) | null = null;
  /** set where the conductor runs: removes at once what nothing in the log owns any more */
  sweep: (() => Promise<void>) | null = null;
  /** set where the conductor runs: what a sweep would remove; removes it, build caches of apps that are gone as well */
  cleanup: { look(): Promise<readonly Leftover[]>; run(): Promise<void> } | null = null;
  /** set where the conductor runs: runs `work` while nothing is relayed, reconciled or swept. @throws Rejected when another process does */
  alone: (<T>(work: () => Promise<T>) => Promise<T>) | null = null;
  /** set where an engine is at hand: the images that buildpacks stand on */
  stack: Pick<StackImages, 'list' | 'names' | 'build' | 'versions' | 'pull'> | null = null;
  /** set where an engine is at hand: shows a login to its registry. @throws what the engine says, statusCode 401 when it is refused */
  registries: { check(login: RegistryLogin): Promise<void> } | null = null;
  /** set where commands are carried out: asks plugins */
  pluginHost: Plugins | null = null;
  /** set where commands are carried out: brings plugins in */
  pluginInstaller: PluginInstaller | null = null;
  /** set where repositories are at hand: whole repositories out and in */
  transfer: GitTransfer | null = null;
  /** set where the conductor runs: volumes of the engine */
  volumes: VolumePort | null = null;
  /** calls of git servers that were not let in, by app, in this process */
  readonly refusedCalls = new Map<string, { readonly count: number; readonly at: number; readonly why: string }>();
  /** containers that are held still on purpose, in this process: they do not run, and that is no drift */
  readonly held = new Set<string>();
  /** set where repositories are at hand: full id of a commit the app's repository has, or null; makes the bare repository */
  git: { resolve(app: string, commit: string): Promise<string | null>; init(app: string): Promise<string>; /** a commit's files as a tar file; absent where nobody asks */ archive?(app: string, sha: string, file: string, signal: AbortSignal): Promise<void> } | null = null;
  /** set where repositories and an engine are at hand: what brings code that was not pushed */
  sources: Sources | null = null;
  /** set where an engine is at hand: runs a program in a container of ours */
  exec: EnginePort['exec'] | null = null;
  /** set where an engine is at hand: container id → state (`running`, `exited`, …) of all containers of ours */
  engine: {
    states(): Promise<ReadonlyMap<string, string>>;
    /** `NAME=value` of every container of an app that is not over */
    environments(): Promise<readonly { readonly name: string; readonly env: readonly string[] }[]>;
    hasImage(id: string): Promise<boolean>;
    /** images of an app, newest first */
    images(app: string): Promise<readonly { readonly id: string; readonly bytes: number }[]>;
    /** bytes that the app's builds have cached */
    cached(app: string): Promise<number>;
    /** removes what the app's builds have cached; answers the bytes that are free now */
    purge(app: string): Promise<number>;
  } | null = null;

  constructor(readonly config: Config, readonly store: EventStore, readonly now: () => number = Date.now) {
    this.repository = new Repository(store);
    this.pipelines = new Pipelines(this.repository, config, now);
    this.operations = new Operations(this);
    this.box = new SecretBox(store, masterKey(join(config.root, 'keys', 'master.key')));
    this.board = new Projection(store, 'board', BOARD);
    this.drifts = new Projection(store, 'drifts', DRIFTS);
    this.services = new Projection(store, 'services', SERVICES);
    this.works = new Projection(store, 'operations', WORKS);
    this.copies = new Projection(store, 'copies', COPIES);
    this.routes = new Projection(store, 'routes', ROUTES);
    this.plugins = new Projection(store, 'plugins', PLUGINS);
    this.logs = new LogStore(join(config.root, 'logs'));
  }

  /** Opens the store that the configuration names. */
  static async open(config: Config): Promise<Core> {
    return new Core(config, await openStore(config.store));
  }

  /** Like `open`, for a process that has nothing to do without: waits, as long as it takes, while the disk is full or the database away. */
  static async opened(config: Config, report: (message: string, error: unknown) => void): Promise<Core> {
    for (;;) {
      try {
        return await Core.open(config);
      } catch (error) {
        const why = error instanceof StoreUnavailable ? error : (error as NodeJS.ErrnoException).code === 'ENOSPC' ? error : null;
        if (!why) throw error;
        report('waiting for the event log', why);
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }

  /** The same server standing on another store, without the hands that reach beyond it: for deciding without doing. */
  on(store: EventStore): Core {
    const { board, drifts, works, copies, services, plugins, logs, workers, probes, engine, git } = this;
    const init = (): Promise<never> => Promise.reject(new Error('no repository is made on a store that is not the server\'s own'));
    return Object.assign(new Core(this.config, store, this.now), { board, drifts, works, copies, services, plugins, logs, workers, probes, engine, git: git && { resolve: (app: string, commit: string) => git.resolve(app, commit), init } });
  }

  /** The app of that name. @throws Rejected with exit code 20 */
  async app(name: string): Promise<AppRow> {
    const board = await this.board.now();
    const id = board.names[name];
    const row = id === undefined ? undefined : board.apps[id];
    if (!row) throw new Rejected('app.missing', `App ${shown(name)} does not exist`, 'see: berth apps:list', 20);
    return row;
  }

  /** The service of that type and name. @throws Rejected with exit code 20 */
  async service(type: string, name: string): Promise<ServiceRow & Pick<ServiceState, 'secrets'>> {
    const { rows, names } = await this.services.now();
    const row = rows[names[serviceKey(type, name)] ?? ''];
    if (!row) throw new Rejected('service.missing', `${type} service ${shown(name)} does not exist`, `see: berth ${type}:list`, 20);
    return row;
  }

  /**
   * Config vars in clear, as of `version` of the app's config stream (absent: now).
   * @throws Unreadable when the key is gone
   */
  async env(app: string, version?: number): Promise<Record<string, string>> {
    const stream = configStream(app);
    const sealed = version === undefined
      ? (await this.repository.load(configDecider, stream)).state
      : (await this.store.readStream(stream)).filter((event) => event.version <= version).reduce((state, event) => configDecider.evolve(state, event as never), configDecider.initial);
    const pairs = await Promise.all(Object.entries(sealed).map(async ([key, value]) => [key, await this.box.unseal(value)] as const));
    return Object.fromEntries(pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async close(): Promise<void> {
    await this.store.close();
  }
}
