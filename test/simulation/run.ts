import 'reflect-metadata';
import type { Config } from '../../src/config.js';
import { Rejected } from '../../src/events/decider.js';
import { Repository } from '../../src/events/repository.js';
import type { StepWork } from '../../src/events/step.js';
import { Conflict, StoreUnavailable } from '../../src/events/store.port.js';
import { STEPS, type PipelineEvent, type Step } from '../../src/events/types/deploy.events.js';
import { appCommands } from '../../src/modules/apps/apps.commands.js';
import { appStream } from '../../src/modules/apps/app-context.js';
import { apps } from '../../src/modules/apps/app.decider.js';
import { claims } from '../../src/modules/apps/claim.decider.js';
import type { AnyCommand, CommandContext } from '../../src/modules/commands/command.js';
import { Relay } from '../../src/modules/conductor/relay.js';
import { Rounds } from '../../src/modules/conductor/rounds.js';
import { Sweeper } from '../../src/modules/conductor/sweeper.js';
import { configCommands } from '../../src/modules/config/config.commands.js';
import { Core } from '../../src/modules/core.js';
import { deployCommands } from '../../src/modules/deploys/deploys.commands.js';
import { jobCommands } from '../../src/modules/deploys/jobs.commands.js';
import { NO_SOURCE, Pipelines } from '../../src/modules/deploys/deploys.service.js';
import { pipeline, type PipelineCommand } from '../../src/modules/deploys/pipeline.decider.js';
import type { PipelineState } from '../../src/modules/deploys/pipeline.state.js';
import { domainCommands } from '../../src/modules/domains/domains.commands.js';
import { change } from '../../src/modules/draft.js';
import { psCommands } from '../../src/modules/processes/ps.commands.js';
import { PLUGINS } from '../../src/modules/plugins/plugins.projection.js';
import { SERVICES } from '../../src/modules/services/services.projection.js';
import { WORKS } from '../../src/modules/operations/works.projection.js';
import { BOARD } from '../../src/modules/read/board.projection.js';
import { DRIFTS } from '../../src/modules/drift/drift.projection.js';
import { ROUTES } from '../../src/modules/read/routes.projection.js';
import { Projection } from '../../src/modules/read/projection.js';
import { deployLine } from '../../src/workers/deploy-line.js';
import { StepRunner } from '../../src/workers/step-runner.js';
import { Engine } from './engine.js';
import { Laws, type Carrying } from './laws.js';
import { Queues, type Taker } from './queue.js';
import { Router } from './router.js';
import { workOf, type Fate, type Ground } from './steps.js';
import { Database, SimStore } from './store.js';
import { Proc, Rng, World, type Act, type Violation } from './world.js';

/** A planted bug. */
export interface Mutant {
  readonly name: string;
  /** seeds after which it must be found; 500 */
  readonly within?: number;
  /** faults that this bug shows under */
  readonly weights?: Readonly<Record<string, number>>;
  readonly ground?: Pick<Ground, 'untidy' | 'blind'>;
  readonly db?: (db: Database, world: World) => void;
  readonly relay?: (relay: Relay, parts: { store: SimStore; queue: ReturnType<Queues['dispatcher']>; now: () => number }) => Relay;
  readonly decide?: (command: PipelineCommand, state: PipelineState, right: (command: PipelineCommand, state: PipelineState) => readonly PipelineEvent[]) => readonly PipelineEvent[];
  readonly leaseMs?: number;
  /** the sweeper takes every deploy for ended */
  readonly blindSweep?: boolean;
  /** nobody asks whether the work is still ours */
  readonly unfenced?: boolean;
  /** what the worker's store says of a heartbeat */
  readonly deafHeart?: boolean;
}

/** A run that is told, not drawn: ten apps are being deployed when Redis goes away for a minute. */
export type Story = 'ten deploys, Redis away for 60 s';
export interface Options { readonly mutant?: Mutant; readonly keep?: number; readonly story?: Story }
export interface Result {
  readonly seed: number; readonly violation: Violation | null; readonly hash: string; readonly steps: number; readonly virtualMs: number;
  readonly deploys: number; readonly coverage: ReadonlyMap<string, number>; readonly trace: readonly Act[];
  /** ms from the last fault to the last end */
  readonly recoveredMs: number;
}

const CONFIG = { root: '/sim', instance: 'sim', domain: 'sim', httpPort: 80, host: 'sim', buildMemory: 0, buildCpus: 0, buildTimeoutMs: 60_000, concurrency: 2, caches: { app: null, total: null } } as unknown as Config;
const COMMANDS = new Map<string, AnyCommand>([...appCommands, ...psCommands, ...deployCommands, ...jobCommands, ...domainCommands, ...configCommands].map((c) => [c.name, c]));
const ENDS_WITHIN = 60_000;
/** Of the form that commands take. */
const idOf = (i: number): string => `a${i}00`;

interface Process { readonly proc: Proc; readonly core: Core; stop(): Promise<void> }
interface Place { readonly name: string; readonly kind: Step | 'api'; now: Process | null; lives: number; gone: boolean }

class Simulation {
  readonly world: World;
  readonly db: Database;
  readonly queues: Queues;
  readonly engine: Engine;
  readonly router: Router;
  readonly laws: Laws;
  private readonly places: Place[] = [];
  private readonly names: string[] = [];
  private diskFullUntil = 0;
  /** the last fault is over by then */
  private lastFault = 0;
  private readonly ground: Ground;
  private readonly rng: Rng;

  constructor(readonly seed: number, private readonly mutant: Mutant | undefined, keep: number, private readonly story?: Story) {
    this.world = new World(seed, keep);
    this.rng = this.world.rng;
    this.db = new Database(this.world);
    this.queues = new Queues(this.world);
    this.engine = new Engine(this.world);
    this.router = new Router(this.world, this.engine);
    this.laws = new Laws(this.world, this.db, this.engine, this.router);
    this.ground = { world: this.world, engine: this.engine, router: this.router, fate: (app, deploy) => this.fate(app, deploy), diskFullUntil: () => this.diskFullUntil, ...mutant?.ground };
    this.engine.fate = (app, deploy) => {
      const fate = this.fate(app, deploy);
      return fate === 'crash' || fate === 'sick' ? fate : 'well';
    };
    this.laws.userFault = (app, deploy) => this.fate(app, deploy) !== 'well';
    this.engine.onCrash = (app) => this.laws.down(app);
    mutant?.db?.(this.db, this.world);
    this.world.onStep = () => this.laws.serving();
  }

  private fate(app: string, deploy: number): Fate {
    const known = this.laws.apps.get(app)?.deploys[deploy - 1];
    if (known?.kind === 'repair' || this.story) return 'well';
    const rng = new Rng(this.seed * 7919 + deploy * 31 + app.charCodeAt(1) + (known?.retries ?? 0) * 1009);
    return rng.chance(0.8) ? 'well' : rng.pick(['clone', 'detect', 'build', 'crash', 'sick'] as const);
  }

  // ---- processes

  private core(proc: Proc): { core: Core; store: SimStore } {
    const store = new SimStore(this.db, proc);
    const now = (): number => this.world.now;
    const repository = new Repository(store, 2000, proc.clock);
    const seal = async (_app: string, value: string): Promise<unknown> => ({ value });
    const core = Object.assign(Object.create(Core.prototype) as object, {
      config: CONFIG, store, now, repository, pipelines: new Pipelines(repository, CONFIG, now), board: new Projection(store, 'board', BOARD), works: new Projection(store, 'operations', WORKS), services: new Projection(store, 'services', SERVICES), plugins: new Projection(store, 'plugins', PLUGINS), drifts: new Projection(store, 'drifts', DRIFTS), routes: new Projection(store, 'routes', ROUTES),
      box: { seal, unseal: async (sealed: { value: string }) => sealed.value, createKey: async () => {}, destroyKey: async () => {} },
      logs: { remove: async () => {} }, git: { resolve: async (_app: string, commit: string) => commit, init: async () => '' }, engine: null, probes: null, sweep: null, workers: null, writeKeys: null,
    }) as unknown as Core;
    return { core, store };
  }

  private report(proc: Proc, message: string, error: unknown): void {
    this.world.tell(proc.name, `reports ${message.replace(/[0-9a-f-]{36}/g, '…')}: ${(error as Error)?.name}`);
    if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError || /exists already|unknown/.test((error as Error)?.message ?? '')) {
      this.world.broken('sane', `${proc.name}: ${message}: ${(error as Error).stack}`);
    }
  }

  private start(place: Place): void {
    if (place.gone) return;
    const proc = new Proc(this.world, place.name, ++place.lives);
    this.world.tell(place.name, `starts, life ${place.lives}`);
    place.now = place.kind === 'api' ? this.startApi(proc) : this.startWorker(place, place.kind, proc);
  }

  private startApi(proc: Proc): Process {
    const { core, store } = this.core(proc);
    const queue = this.queues.dispatcher(proc);
    let relay = new Relay(store, queue, core.now);
    if (this.mutant?.relay) relay = this.mutant.relay(relay, { store, queue, now: core.now });
    const report = (message: string, error: unknown): void => this.report(proc, message, error);
    const folders = {
      names: (folder: string) => proc.call(`folder ${folder}`, () => (folder.endsWith('sources') ? [...this.engine.sources] : [])),
      remove: (path: string) => proc.call('folder.remove', () => { this.engine.sources.delete(path.split('/').at(-1)!); }),
      bytes: () => Promise.resolve(0),
      changed: () => Promise.resolve(0),
    };
    const seen = this.mutant?.blindSweep ? Object.assign(Object.create(core) as Core, { board: { now: async () => ({ ...(await core.board.now()), deploys: {} }) } }) : core;
    const sweeper = new Sweeper(seen, this.engine.handle(proc), this.router.handle(proc), report, folders, proc.clock);
    const rounds = new Rounds({ store, clock: proc.clock, owner: `${proc.name}:${proc.life}`, relay, report, sweep: () => sweeper.sweep(), restore: () => sweeper.restore(), leads: () => this.world.count('conductor leads') });
    core.sweep = () => rounds.sweepNow();
    const engine = this.engine.handle(proc);
    core.engine = { hasImage: async (id) => (await engine.inspectImage(id)) !== null, states: async () => new Map(), images: async () => [], cached: () => Promise.resolve(0), environments: async () => [], purge: async () => 0 };
    rounds.start();
    return { proc, core, stop: async () => { await rounds.stop(); await rounds.release(); } };
  }

  private startWorker(place: Place, kind: Step, proc: Proc): Process {
    const { core, store } = this.core(proc);
    const { laws, world } = this;
    const inner = workOf(kind, this.ground, proc, core);
    const work: StepWork<Step> = async (context) => {
      const one: Carrying = { proc, step: kind, app: context.app, deploy: context.deploy, job: context.job, attempt: context.attempt, signal: context.signal, done: false, stalledAt: 0 };
      for (const other of laws.carrying) if (other.job === one.job && other.proc.alive) world.count(`two at work: ${kind}`);
      laws.carrying.add(one);
      proc.doing = kind;
      try {
        return await inner(this.mutant?.unfenced ? { ...context, holds: async () => 'mine' as const } : context);
      } finally {
        one.done = true;
        laws.carrying.delete(one);
        proc.doing = `${kind}, recording`;
      }
    };
    const report = (message: string, error: unknown): void => this.report(proc, message, error);
    const log = { info() {}, section() {}, detail() {}, warn() {}, output() {}, call() {} };
    const heard = this.mutant?.deafHeart ? Object.assign(Object.create(store) as SimStore, { heartbeat: async () => true }) : store;
    const runner = new StepRunner(deployLine(kind, work, core.pipelines, () => ({ log, close: async () => {} })), {
      store: heard, now: core.now, clock: proc.clock, where: { pid: proc.life, host: 'sim' }, report,
      ...(this.mutant?.leaseMs && { timings: { leaseMs: this.mutant.leaseMs, heartbeatMs: 1000 } }),
    }, proc.name);
    const taker: Taker = {
      proc, queue: kind, slots: 2, busy: 0, closed: false,
      handle: async (id, jobId) => {
        try {
          await runner.take(id, `${proc.life}.${jobId}`);
        } catch (error) {
          report(`work ${id}`, error);
        }
      },
    };
    const boot = async (): Promise<void> => {
      try {
        await store.giveBack(`${proc.name}:`, core.now());
        this.queues.take(taker);
      } catch {
        // its supervisor starts it again
        this.die(place, 1000);
      }
    };
    void boot();
    return {
      proc, core,
      stop: async () => {
        taker.closed = true;
        // by a choice of its own, so that the rest of the run stays what it was
        await runner.stop(new Rng(this.seed * 131 + proc.life).pick([10, 300, 10_000]));
      },
    };
  }

  /** SIGKILL; its supervisor starts it again after a while. */
  private die(place: Place, after: number): void {
    const process = place.now;
    if (!process?.proc.alive) return;
    this.laws.fell(process.proc);
    process.proc.kill();
    place.now = null;
    this.until(this.world.now + after);
    for (const one of this.laws.carrying) if (one.proc === process.proc) this.laws.carrying.delete(one);
    this.world.after(after, () => this.start(place));
  }

  private until(at: number): void { this.lastFault = Math.max(this.lastFault, at); }

  // ---- users

  private api(): Process | null {
    const alive = this.places.flatMap((p) => (p.kind === 'api' && p.now?.proc.alive && !p.now.proc.stalled ? [p.now] : []));
    return alive.length > 0 ? this.rng.pick(alive) : null;
  }

  private async command(api: Process, name: string, input: object): Promise<{ app?: string; deploy?: number | null } | undefined> {
    const context = { core: api.core, actor: 'key:me', origin: 'local', force: true, json: false, signal: new AbortController().signal, hasStdin: false } as unknown as CommandContext;
    return (await COMMANDS.get(name)!.run!(context, input)) as { app?: string; deploy?: number | null };
  }

  private create(api: Process, name: string, app: string): Promise<unknown> {
    return change({ core: api.core, actor: 'key:me' } as CommandContext, 'apps:create', app, async (draft) => {
      await draft.decide(apps, appStream(app), { type: 'Create', app, name });
      await draft.decide(claims, `name-${name}`, { type: 'Claim', name, app });
    });
  }

  private async push(api: Process, name: string): Promise<{ app: string; deploy: number | null }> {
    const { id } = await api.core.app(name);
    const sha = this.rng.int(2 ** 30).toString(16).padStart(40, '0');
    const { answer } = await change({ core: api.core, actor: 'key:me' } as CommandContext, 'git push', id, (draft) => draft.deploy(id, 'push', 'key:me', { ...NO_SOURCE, sha, branch: 'main', quarantine: null }));
    return { app: id, deploy: answer };
  }

  private act(name = this.rng.pick(this.names)): void {
    const api = this.api();
    if (!api) return this.world.count('user refused: no API');
    const { rng } = this;
    // two people, one app, one moment
    if (rng.chance(0.2)) this.world.after(rng.int(8), () => { if (this.names.includes(name)) this.act(name); });
    const wish = rng.weighted({ push: 6, scale: 3, config: 2, restart: 2, rollback: 2, rebuild: 1, cancel: 3, retry: 2, discard: 0.5, destroy: 0.6, domain: 1, undomain: 0.7, rename: 0.4 });
    const run = async (): Promise<{ app?: string; deploy?: number | null } | undefined> => {
      switch (wish) {
        case 'push': return this.push(api, name);
        case 'scale': return this.command(api, 'ps:scale', { app: name, scale: [rng.chance(0.85) ? `web=${rng.between(rng.chance(0.1) ? 0 : 1, 3)}` : `worker=${rng.int(3)}`] });
        case 'config': return this.command(api, 'config:set', { app: name, pairs: [`K=${rng.int(1000)}`], noRestart: rng.chance(0.2) });
        case 'restart': return this.command(api, 'ps:restart', { app: name });
        case 'rollback': return this.command(api, 'rollback', { app: name, ...(rng.chance(0.5) && { release: `v${rng.between(1, 4)}` }) });
        case 'rebuild': return this.command(api, 'ps:rebuild', { app: name });
        case 'cancel': return this.command(api, 'deploys:cancel', { app: name });
        case 'retry': case 'discard': {
          const jobs = Object.keys((await api.core.board.now()).failed);
          const job = jobs[new Rng(this.seed * 977 + this.world.time).int(jobs.length)];
          return job === undefined ? undefined : this.command(api, wish === 'retry' ? 'jobs:retry' : 'jobs:discard', { job });
        }
        case 'destroy': return this.command(api, 'apps:destroy', { app: name });
        case 'domain': return this.command(api, 'domains:add', { app: name, domains: [`${rng.pick(['x', 'y', 'z'])}.example.com`] });
        case 'undomain': return this.command(api, 'domains:remove', { app: name, domains: [`${rng.pick(['x', 'y', 'z'])}.example.com`] });
        case 'rename': {
          const to = `${name}r`.slice(0, 8);
          const answer = await this.command(api, 'apps:rename', { app: name, to });
          this.names[this.names.indexOf(name)] = to;
          return answer;
        }
      }
    };
    this.world.tell('user', `${wish} ${name} by ${api.proc.name}`);
    run().then(
      (answer) => {
        this.world.count(`user: ${wish}`);
        if (answer?.app !== undefined && answer.deploy) this.laws.told.push({ app: answer.app, deploy: answer.deploy });
      },
      (error: unknown) => {
        this.world.count(`user: ${wish} refused`);
        this.refused(wish, error);
      },
    );
  }

  /** What a user may be told when it does not go. */
  private refused(wish: string, error: unknown): void {
    if (error instanceof Rejected || error instanceof StoreUnavailable || error instanceof Conflict) return;
    this.world.broken('sane', `${wish}: ${(error as Error).stack}`);
  }

  // ---- faults

  private fault(): void {
    const { rng, world, laws, db, queues, engine, router } = this;
    const kind = rng.weighted({ kill: 8, 'kill api': 2, stall: 4, term: 2, 'store trouble': 2, 'store slow': 1, flush: 2, 'queue down': 2, 'engine down': 1.5, 'engine flaky': 1, 'engine dies': 0.6, 'router down': 1, 'router restarts': 1, 'container exits': 0.7, 'container removed': 0.5, 'disk full': 0.7, ...this.mutant?.weights });
    const busy = [...laws.carrying].filter((c) => c.proc.alive);
    world.count(`fault: ${kind}${busy[0] ? ` during ${busy[0].step}` : ''}`);
    world.tell('fate', kind);
    laws.machineFaults += 1;
    const workers = this.places.filter((p) => p.kind !== 'api' && p.now);
    const victim = (): Place | undefined => {
      const at = busy.length > 0 && rng.chance(0.8) ? this.places.find((p) => p.now?.proc === rng.pick(busy).proc) : undefined;
      return at ?? (workers.length > 0 ? rng.pick(workers) : undefined);
    };
    const lasts = rng.pick([300, 2000, 8000, 20_000]);
    const end = world.now + lasts;
    switch (kind) {
      case 'kill': case 'kill api': {
        const place = kind === 'kill' ? victim() : this.places.find((p) => p.kind === 'api' && p.now);
        if (!place?.now) return;
        const others = this.places.filter((p) => p.kind === place.kind && p !== place && !p.gone);
        const forever = rng.chance(0.1);
        const die = (): void => {
          place.gone = forever && others.some((p) => !p.gone);
          this.die(place, rng.pick([50, 500, 3000, 9000]));
        };
        // now, or at some await further on
        if (rng.chance(0.2)) die();
        else place.now.proc.arm(rng.between(1, rng.pick([4, 12, 25])), rng.pick(['before', 'after']), die);
        return;
      }
      case 'stall': {
        const place = rng.chance(0.15) ? this.places.find((p) => p.kind === 'api' && p.now) : victim();
        const proc = place?.now?.proc;
        if (!proc) return;
        const ms = rng.pick([800, 4000, 7000, 15_000]);
        proc.arm(rng.between(1, rng.pick([4, 12, 25])), rng.pick(['before', 'after']), () => {
          this.until(world.now + ms);
          for (const one of laws.carrying) if (one.proc === proc) one.stalledAt = world.now + ms;
          laws.fell(proc);
          proc.stall(ms);
          // not promised: its lease runs out within one change of the router, which nothing can take back but the next sweep
          if (proc.applying && ms >= 5000) {
            world.count('stood still while it changed the router');
            world.after(ms - 1, () => laws.hurt());
          }
        });
        return;
      }
      case 'term': {
        const place = rng.chance(0.2) ? this.places.find((p) => p.kind === 'api' && p.now) : victim();
        if (!place?.now) return;
        const { proc, stop } = place.now;
        void stop().catch(() => {}).then(() => { if (place.now?.proc === proc) this.die(place, rng.pick([100, 2000])); });
        this.until(world.now + 12_000);
        return;
      }
      case 'store trouble':
        db.trouble = { until: end, reason: rng.pick(['busy', 'disk-full', 'away']), share: rng.pick([0.3, 1]), reads: rng.chance(0.3) };
        return this.until(end);
      case 'store slow': db.slowUntil = end; return this.until(end);
      case 'flush': queues.flush(); return this.until(world.now);
      case 'queue down':
        queues.downUntil = end;
        if (rng.chance(0.5)) queues.flush();
        world.after(lasts, () => queues.hand());
        return this.until(end);
      case 'engine flaky': engine.flakyUntil = end; return this.until(end);
      case 'engine down': engine.downUntil = end; return this.until(end);
      case 'engine dies':
        engine.downUntil = end;
        laws.hurt();
        engine.crash();
        return this.until(end);
      case 'router down': router.downUntil = end; return this.until(end);
      case 'router restarts':
        laws.hurt();
        router.restart(rng.chance(0.3));
        return this.until(world.now);
      case 'container exits': case 'container removed': {
        const live = [...laws.apps.values()].flatMap((app) => (app.destroyed ? [] : app.live?.containers ?? []));
        if (live.length === 0) return;
        const c = engine.containers.get(rng.pick(live).id);
        if (!c) return;
        laws.hurt(c.app);
        if (kind === 'container exits') engine.exit(c, 1);
        else engine.remove(c);
        return this.until(world.now);
      }
      case 'disk full': this.diskFullUntil = end; return this.until(end);
    }
  }

  // ---- the run

  run(): { recoveredMs: number } {
    const begin = this.world.now;
    this.startAll();
    const ended = this.story ? this.withoutRedis() : this.life(begin);
    return this.toTheEnd(ended);
  }

  private startAll(): void {
    const { world, rng } = this;
    const begin = world.now;
    const apis = rng.pick([1, 1, 2]);
    const each = rng.pick([1, 2, 2]);
    for (let i = 1; i <= apis; i += 1) this.places.push({ name: `api-${i}`, kind: 'api', now: null, lives: 0, gone: false });
    for (const kind of STEPS) for (let i = 1; i <= each; i += 1) this.places.push({ name: `${kind}-${i}`, kind, now: null, lives: 0, gone: false });
    for (const place of this.places) world.after(rng.int(300), () => this.start(place));
    world.run(begin + 400);
  }

  private firstPush(i: number): void {
    this.names.push(`app${i}`);
    const api = this.api()!;
    this.create(api, `app${i}`, idOf(i)).then(() => this.push(api, `app${i}`)).catch((error: unknown) => this.refused('create', error));
  }

  /** Answers when nobody wants anything any more, and nothing is broken any more. */
  private withoutRedis(): number {
    const { world, rng, laws, queues } = this;
    const running = (): number => laws.open().filter((deploy) => deploy.includes('running')).length;
    const ending = (): boolean => laws.open().some((deploy) => deploy.includes(' in route'));
    for (let i = 1; i <= 10; i += 1) world.after(rng.int(50), () => this.firstPush(i));
    const first = world.now + 50 + rng.int(900);
    for (const until = world.now + 20_000; !world.stopped && (running() < 10 || (world.now < first && !ending())) && world.now < until;) world.run(world.now + 1);
    if (running() < 10) world.broken('story', `${running()} deploys run when Redis goes, and ten should`);
    queues.downUntil = world.now + 60_000;
    if (rng.chance(0.7)) queues.flush();
    world.after(60_000, () => queues.hand());
    this.until(world.now + 60_000);
    world.count(`told: ${this.story}`);
    world.run(this.lastFault);
    return this.lastFault;
  }

  /** No step's effect twice: of each app one source, one image, one container, started once, routed once; each step by one claim. */
  private onlyOnce(): void {
    const { world, engine, db } = this;
    for (const event of db.events) {
      if (event.type === 'StepStarted' && (event.data as { attempt: number }).attempt > 1) world.broken('twice', `${(event.data as { job: string }).job} was begun more than once`);
    }
    const ended = db.events.filter((e) => e.type === 'DeploySucceeded').length;
    if (ended !== 10) world.broken('story', `${ended} of ten deploys succeeded`);
    for (let i = 1; i <= 10; i += 1) {
      for (const what of ['clone', 'build', 'create', 'start', 'route']) {
        const times = engine.effects.get(`${what} ${idOf(i)}`) ?? 0;
        if (times !== 1) world.broken('twice', `${what} of ${idOf(i)} happened ${times} times`);
      }
    }
  }

  private life(begin: number): number {
    const { world, rng } = this;
    for (let i = 1; i <= rng.pick([1, 1, 2, 3]); i += 1) this.firstPush(i);
    const span = rng.pick([6000, 15_000, 25_000]);
    for (let i = rng.between(2, 10); i > 0; i -= 1) world.after(rng.int(span), () => this.act());
    const calm = rng.chance(0.15);
    for (let i = calm ? 0 : rng.pick([1, 2, 3, 5, 8]); i > 0; i -= 1) world.after(rng.int(span), () => this.fault());
    this.until(begin + span);
    world.run(begin + span);
    // what is armed and did not happen will not
    for (const { now } of this.places) now?.proc.arm(Infinity, 'before', () => {});
    while (!world.stopped && world.now <= this.lastFault) world.run(world.now + 500);
    return Math.max(this.lastFault, begin + span);
  }

  private toTheEnd(calmSince: number): { recoveredMs: number } {
    const { world, laws } = this;
    const deadline = calmSince + ENDS_WITHIN;
    while (!world.stopped && (world.now < calmSince + 1000 || laws.open().length > 0)) {
      if (world.now > deadline) world.broken('stuck', `${(world.now - calmSince) / 1000} s after the last fault: ${laws.open().join('; ')}\n  work: ${[...this.db.open.values()].map((r) => `${r.id} ${r.state} owner ${r.owner} lease ${r.leaseUntil - world.now} ms, dispatch ${r.dispatch}`).join('; ') || 'none'}`);
      else world.run(world.now + 500);
    }
    const recoveredMs = Math.max(0, laws.lastEnd - calmSince);
    // the sweeper comes round every 15 s, also after a repair that it began itself; repairs that did not last wait 15 s, a minute, …
    const ended = world.now;
    const repairs = this.db.events.filter((e) => e.type === 'RepairStarted').length;
    const clean = (): number => (repairs > 1 ? ended + 240_000 : Math.min(ended + 240_000, Math.max(ended, laws.lastEnd) + 50_000));
    const dirty = (): string[] => [...laws.leftovers(), ...laws.open().map((d) => `open: ${d}`)];
    while (!world.stopped && dirty().length > 0) {
      if (world.now > clean()) world.broken('leftover', dirty().join('; '));
      else world.run(world.now + 1000);
      this.router.changed = true;
    }
    if (!world.stopped) for (const what of laws.missing()) world.broken('lost', what);
    if (!world.stopped && !dirty().length) laws.serving();
    if (!world.stopped && this.story) this.onlyOnce();
    return { recoveredMs };
  }
}

/** One life of a server, by a seed. Call it from a macrotask (see `inMacrotask`): microtasks are run inside. */
export function simulate(seed: number, options: Options = {}): Result {
  const { mutant, keep = 60, story } = options;
  const random = Math.random;
  const decide = pipeline.decide;
  const listeners = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  const simulation = new Simulation(seed, mutant, keep, story);
  const { world, laws } = simulation;
  process.on('unhandledRejection', (error) => world.broken('sane', `nobody handles: ${(error as Error)?.stack ?? String(error)}`));
  const side = new Rng(seed ^ 0x5bd1e995);
  Math.random = () => side.next();
  if (mutant?.decide) (pipeline as { decide: typeof decide }).decide = (command, state) => mutant.decide!(command, state, (c, s) => decide.call(pipeline, c, s));
  let recoveredMs = 0;
  try {
    ({ recoveredMs } = simulation.run());
  } finally {
    Math.random = random;
    (pipeline as { decide: typeof decide }).decide = decide;
    process.removeAllListeners('unhandledRejection');
    for (const listener of listeners) process.on('unhandledRejection', listener);
  }
  const deploys = [...laws.apps.values()].reduce((sum, app) => sum + app.deploys.length, 0);
  return { seed, violation: world.violation, hash: (world.hash >>> 0).toString(16).padStart(8, '0'), steps: world.steps, virtualMs: world.time, deploys, coverage: world.coverage, trace: world.trace, recoveredMs };
}

/** `_tickCallback` runs microtasks only outside of one. */
export const inMacrotask = <T>(work: () => T): Promise<T> => new Promise((resolve, reject) => {
  setImmediate(() => {
    try {
      resolve(work());
    } catch (error) {
      reject(error as Error);
    }
  });
});

export function tell(result: Result): string {
  const acts = result.trace.map(({ at, who, what }) => `${(at / 1000).toFixed(3).padStart(9)}  ${who.padEnd(10)} ${what}`).join('\n');
  return `seed ${result.seed}, hash ${result.hash}, ${result.steps} steps, ${result.deploys} deploys, ${(result.virtualMs / 1000).toFixed(1)} s of virtual time\n${acts}\n${result.violation ? `BROKEN: ${result.violation.message}\n` : ''}`;
}

