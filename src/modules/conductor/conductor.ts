import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { spaceOf } from '../../drivers/disk/space.js';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { DockerVolumeDriver } from '../../drivers/engine/docker.volume.driver.js';
import type { EnginePort } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import { GitDriver } from '../../drivers/git/git.driver.js';
import { GitImportDriver } from '../../drivers/git/git.import.js';
import { GitTransferDriver } from '../../drivers/git/git.transfer.js';
import { killOrphans } from '../../drivers/plugin/plugin.driver.js';
import { BullDispatcher, connect } from '../../drivers/queue/bull.js';
import { workerKeys } from '../../drivers/queue/worker-status.js';
import { HaproxyDriver, haproxyOptions } from '../../drivers/router/haproxy.driver.js';
import { systemClock } from '../../events/clock.js';
import { Rejected } from '../../events/decider.js';
import { DailyAudit } from '../audit/checkpoint.js';
import { watched } from '../doctor/examine.js';
import { Watch } from '../doctor/watch.js';
import { settle } from '../backup/settle.js';
import { BackupKeeper } from '../copies/keeper.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { notifySubscribers } from '../notifications/notify.subscribed.js';
import { webhookSubscribers } from '../hooks/webhook.subscribed.js';
import { Subscribers } from '../operations/subscribers.js';
import { UIDS } from '../plugins/plugin.decider.js';
import { Folding } from '../plugins/folding.js';
import { pluginSubscribers } from '../plugins/subscribed.js';
import { accessOf } from '../sources/git-access.js';
import type { WorkerStatus } from '../server/worker-status.js';
import { LogCollector } from './collector.js';
import { Relay } from './relay.js';
import { Rounds } from './rounds.js';
import { Sweeper } from './sweeper.js';

/**
 * What runs once on a server, under a lease in the store: the relay that feeds the queues, the collector of app logs, the sweeper.
 * It lives in the API process; another API process takes over when this one dies.
 */
export class Conductor {
  private readonly collector: LogCollector;
  private readonly rounds: Rounds;
  private readonly audit: DailyAudit;
  private readonly folding: Folding | null;
  private readonly watch: Watch;
  private recovered = false;
  private collecting: Promise<void> | null = null;
  private stopping = false;

  private constructor(private readonly core: Core, relay: Relay, private readonly queue: BullDispatcher, sweeper: Sweeper, private readonly keeper: BackupKeeper, engine: DockerDriver, private readonly report: Report) {
    this.audit = new DailyAudit(core, report);
    this.watch = new Watch(core, watched, report);
    const { pluginHost } = core;
    const subscribers = new Subscribers(core, [() => webhookSubscribers(core), () => notifySubscribers(core), ...(pluginHost ? [() => pluginSubscribers(core, pluginHost)] : [])]);
    this.folding = pluginHost && new Folding(core, pluginHost, report);
    this.rounds = new Rounds({
      store: core.store, clock: { ...systemClock, now: core.now }, owner: `api:${process.pid}:${Date.now()}`, report,
      relay: {
        // what cannot be asked for now holds up nobody's deploys: the next round tries again
        pump: async () => { void this.folding?.look(); await subscribers.pump().catch((error: unknown) => report('deliveries', error)); return relay.pump(); },
        reconcile: () => relay.reconcile(),
      },
      sweep: async () => {
        void this.watch.run();
        void this.audit.run(); // beside the sweeps, which shall not wait for a long log
        void keeper.look(); // nor for the queue
        if (Object.keys((await core.plugins.now()).registry.installed).length > 0) await killOrphans(UIDS).catch((error: unknown) => report('what plugins left behind', error));
        await sweeper.sweep();
      },
      restore: () => sweeper.restore(),
      settle: async () => {
        await this.recover();
        const quiet = (): void => {};
        await settle(core, { info: quiet, detail: quiet, warn: (text) => report('restore', new Error(text)) });
      },
      leads: () => { this.collecting = this.collector.run(); },
    });
    this.collector = new LogCollector(core, engine, report, () => this.rounds.soon(), () => { void this.rounds.restoreNow(); });
  }

  /** What a predecessor that died was holding still goes on; once, for a backup of this process may hold something later. */
  private async recover(): Promise<void> {
    if (this.recovered || !this.core.volumes) return;
    this.recovered = true;
    const { volumes, config: { instance } } = this.core;
    await volumes.tidy().then(() => volumes.unpauseAll({ instance })).catch((error: unknown) => {
      this.recovered = false; // the engine is away: with the next backup, restore or start
      this.report('what was held still', error);
    });
  }

  static async create(core: Core, report: Report): Promise<Conductor> {
    const { config } = core;
    const queue = new BullDispatcher(config.redis, config.instance, (error) => report('Redis', error));
    const engine = new DockerDriver(config.dockerSocket);
    core.volumes = new DockerVolumeDriver(config.dockerSocket, config.instance);
    const router = new HaproxyDriver(haproxyOptions(config));
    const git = new GitDriver({ root: config.root, gitUser: config.gitUser, access: () => accessOf(core) });
    const keeper = new BackupKeeper(core, core.volumes, () => conductor.rounds.soon(), report);
    const sweeper = new Sweeper(core, heldAsRunning(engine, core.held, keeper), router, report);
    const conductor: Conductor = new Conductor(core, new Relay(core.store, queue, core.now), queue, sweeper, keeper, engine, report);
    core.sweep = () => conductor.rounds.sweepNow();
    core.cleanup = { look: () => sweeper.leftovers(), run: async () => { await conductor.rounds.sweepNow(); await sweeper.sweepCaches(); await sweeper.sweepImages(); } };
    core.alone = (work) => conductor.rounds.alone(work);
    core.transfer = new GitTransferDriver({ root: config.root, gitUser: config.gitUser });
    const cachesOf = async (app: string) => (await engine.listCaches()).filter(({ mark }) => mark === `${config.instance}/${app}`);
    core.exec = (id, exec, io) => engine.exec(id, exec, io);
    core.engine = {
      hasImage: async (id) => (await engine.inspectImage(id)) !== null,
      states: async () => new Map((await engine.listContainers({ instance: config.instance })).map((c) => [c.id, c.state])),
      environments: async () => {
        const open = (await engine.listContainers({ instance: config.instance })).filter(({ state, labels }) => readLabels(labels).app !== undefined && state !== 'exited' && state !== 'dead');
        return Promise.all(open.map(async ({ id, name }) => ({ name, env: (await engine.environment(id)) ?? [] })));
      },
      images: async (app) => (await engine.listImages({ instance: config.instance, app })).toSorted((x, y) => y.created - x.created),
      cached: async (app) => (await cachesOf(app)).reduce((sum, { bytes }) => sum + bytes, 0),
      purge: async (app) => engine.removeCaches((await cachesOf(app)).map(({ id }) => id)),
    };
    core.git = {
      init: async (app) => {
        const path = join(config.root, 'repos', `${app}.git`);
        // all of it: a full disk may have left a part
        if (!['HEAD', 'config', 'objects/info'].every((part) => existsSync(join(path, part)))) await git.initBare(path);
        return path;
      },
      resolve: (app, commit) => git.resolve(join(config.root, 'repos', `${app}.git`), commit),
      archive: async (app, sha, file, signal) => { await git.archive({ repo: join(config.root, 'repos', `${app}.git`), sha, quarantine: null }, [], file, signal); },
    };
    core.sources = { commits: new GitImportDriver({ root: config.root, gitUser: config.gitUser }), images: engine, remotes: git };
    core.probes = {
      engine: async () => {
        await engine.ping();
        return `Docker ${(await engine.info()).version}`;
      },
      redis: () => queue.ping(),
      router: async () => {
        const { apps, hosts } = await router.observe();
        return `${apps.length} ${apps.length === 1 ? 'app' : 'apps'}, ${hosts.length} ${hosts.length === 1 ? 'host' : 'hosts'}`;
      },
      certificates: () => router.certificates(),
      space: async () => {
        const images = await engine.space().catch(() => null); // the engine's own check says that it is away
        return { log: await spaceOf(config.root), images };
      },
    };
    core.writeKeys = () => writeAuthorizedKeys(core);
    core.workers = workersFrom(config.redis, config.instance, report);
    return conductor;
  }

  /** Tries until it can be written; meanwhile those of before are let in. */
  private async writeKeys(): Promise<void> {
    try {
      await this.core.writeKeys!();
    } catch (error) {
      this.report('authorized_keys', error);
      if (!this.stopping) setTimeout(() => void this.writeKeys(), 5000).unref();
    }
  }

  async start(): Promise<void> {
    // archives of commands that died with the process before this one
    await rm(join(this.core.config.root, 'incoming'), { recursive: true, force: true }).catch((error: unknown) => this.report('incoming', error));
    await this.writeKeys();
    this.rounds.start();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.folding?.stop();
    await this.rounds.stop();
    await this.audit.stop();
    await this.watch.stop();
    await this.keeper.close();
    await this.collector.stop();
    await this.collecting;
    await this.rounds.release();
    await this.queue.close();
  }
}

/** The engine as the sweeper sees it: containers that are held still on purpose run. */
function heldAsRunning(engine: DockerDriver, held: ReadonlySet<string>, keeper: BackupKeeper): EnginePort {
  const listContainers: EnginePort['listContainers'] = async (labels) => {
    const apps = await keeper.holding(); // before: what a worker holds now is not over when it is looked at
    return (await engine.listContainers(labels)).map((c) => (held.has(c.id) || (c.state === 'paused' && apps.has(readLabels(c.labels).app ?? '')) ? { ...c, state: 'running' } : c));
  };
  return Object.assign(Object.create(engine) as EnginePort, { listContainers });
}

/** The forced command of each key, as sshd reads it. Written whole, from the log; its paths outlive an upgrade. */
async function writeAuthorizedKeys(core: Core): Promise<void> {
  const file = join(core.config.root, 'ssh', 'authorized_keys');
  const home = process.env['BERTH_HOME'] ?? join(dirname(process.argv[1]!), '..');
  const node = process.env['BERTH_HOME'] ? join(home, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node') : process.execPath;
  const shell = join(home, 'dist', 'shell.cjs');
  const lines = (await core.board.now()).keys.map(({ name, key }) => `restrict,pty,command="exec ${node} ${shell} --key ${name}" ${key} ${name}`);
  const text = `# written by Berth: berth ssh-keys:add, ssh-keys:remove\n${lines.map((line) => `${line}\n`).join('')}`;
  if (await readFile(file, 'utf8').catch(() => null) === text) return;
  await mkdir(dirname(file), { recursive: true });
  try {
    await writeFile(`${file}.new`, text, { mode: 0o644 });
    await chmod(`${file}.new`, 0o644);
    await rename(`${file}.new`, file);
  } catch (error) {
    await rm(`${file}.new`, { force: true });
    throw error;
  }
}

function workersFrom(redis: string, instance: string, report: Report): () => Promise<WorkerStatus[]> {
  const connection = connect(redis, (error) => report('Redis', error), true);
  return async () => {
    try {
      const keys = await workerKeys(connection, instance);
      const values = keys.length > 0 ? await connection.mget(keys) : [];
      return values.filter((value) => value !== null).map((value) => JSON.parse(value) as WorkerStatus).sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      throw new Rejected('redis.away', `Redis does not answer: ${(error as Error).message}`, 'see whether it runs: systemctl status berth-redis, or sv status /etc/berth/sv/redis');
    }
  };
}
