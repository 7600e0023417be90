import type { Recorded } from '../../src/events/event.js';
import type { Transaction, WorkRow } from '../../src/events/store.port.js';
import type { LiveContainer, PipelineEvent, ReleaseSpec, RouteInput, Step, StepInput } from '../../src/events/types/deploy.events.js';
import { KEEP_FAILED } from '../../src/modules/deploys/pipeline.state.js';
import { KEEP_RELEASES } from '../../src/modules/conductor/sweep.plan.js';
import type { Engine, SimContainer } from './engine.js';
import type { Router } from './router.js';
import type { Database } from './store.js';
import type { Proc, World } from './world.js';

type Status = 'waiting' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'superseded';
interface Deploy { worker: string; status: Status; kind: string; step: Step | null; job: string; attempt: number; routed: number; requestedAt: number; retries: number; target: number | null; endedAt: number; /** whose source and image it works on */ madeBy: number; image: string | null }
interface App {
  id: string; destroyed: boolean;
  deploys: Deploy[];
  live: { containers: readonly LiveContainer[]; hosts: readonly string[]; deploy: number; release: number } | null;
  releases: { number: number; deploy: number; spec: ReleaseSpec; wasLive: boolean }[];
  /** failed jobs that are listed: deploy, and what must be there for a retry */
  failed: Map<string, { readonly deploy: number; readonly source: string | null; readonly image: string | null }>;
  /** failed deploys of other code, in the order of their failures */
  failures: number[];
  /** something outside of our hands took it down: it must come back, but may be down now */
  hurt: boolean;
  hurtAt: number;
}

/** A step's work that is being done now. */
export interface Carrying { readonly proc: Proc; readonly step: Step; readonly app: string; readonly deploy: number; readonly job: string; readonly attempt: number; readonly signal: AbortSignal; done: boolean; stalledAt: number }

const SOURCES: ReadonlySet<string> = new Set(['push', 'rebuild', 'rollback']);
const OUTCOMES = new Set(['SourceCloned', 'BuildpackDetected', 'ImageBuilt', 'ContainersStarted', 'RouteSwitched', 'StepFailed']);
const NEXT: Readonly<Record<string, readonly Status[]>> = {
  DeployStarted: ['waiting'], DeploySuperseded: ['waiting', 'running'], StepQueued: ['running'], StepStarted: ['running'], StepGivenBack: ['running'], SourceCloned: ['running'], BuildpackDetected: ['running'],
  ImageBuilt: ['running'], ContainersStarted: ['running'], ReleaseCreated: ['running'], RouteSwitched: ['running'], StepFailed: ['running'], DeploySucceeded: ['running'],
  DeployFailed: ['running'], DeployCancelled: ['waiting', 'running'], JobRetried: ['failed'], JobDiscarded: ['failed'],
};
/** failures of an app that the seed did not wish for may have these reasons when parts of the machine failed */
const MACHINE = /^(engine\.down|route\.|disk-full|step\.|release\.killed)/;

/** What must hold, checked from the log and from what is really there; keeps its own account. */
export class Laws {
  readonly apps = new Map<string, App>();
  readonly carrying = new Set<Carrying>();
  private readonly versions = new Map<string, number>();
  private readonly outcomes = new Set<string>();
  /** deploy → its trace */
  private readonly traces = new Map<string, string>();
  private readonly inputs = new Map<string, StepInput>();
  /** deploys that a user was told of */
  readonly told: { app: string; deploy: number }[] = [];
  /** an own account of leases: work id → owner, until */
  private readonly held = new Map<string, { owner: string; until: number }>();
  /** there was at least one fault of the machine in this run */
  machineFaults = 0;
  userFault: (app: string, deploy: number) => boolean = () => false;

  constructor(private readonly world: World, private readonly db: Database, private readonly engine: Engine, private readonly router: Router) {
    db.onCommit = (recorded, tx, before, by) => this.commit(recorded, tx, before, by);
    engine.onTaken = (container, by) => this.taken(container, by);
    router.onReady = (server, app, by) => this.ready(server, app, by);
  }

  private broken(law: string, message: string): void { this.world.broken(law, message); }

  private app(id: string): App {
    let app = this.apps.get(id);
    if (!app) this.apps.set(id, (app = { id, destroyed: false, deploys: [], live: null, releases: [], failed: new Map(), failures: [], hurt: false, hurtAt: 0 }));
    return app;
  }

  // ---- the log

  private commit(recorded: readonly Recorded[], tx: Transaction, before: WorkRow | null, by: string): void {
    if (tx.claim) {
      const held = this.held.get(tx.claim.id);
      if (held && held.until > tx.now && before?.owner === held.owner) this.broken('lease', `${tx.claim.owner} took ${tx.claim.id} from ${held.owner}, whose lease was alive`);
      this.held.set(tx.claim.id, { owner: tx.claim.owner, until: tx.now + 5000 });
    }
    if (tx.finish && recorded.some((e) => OUTCOMES.has(e.type))) {
      const held = this.held.get(tx.finish.id);
      if (held && held.owner !== tx.finish.owner) this.broken('lease', `${tx.finish.owner} recorded ${tx.finish.id}, which ${held.owner} has`);
    }
    for (const event of recorded) {
      const id = (event.data as { app?: string }).app;
      if (id === undefined) continue;
      const app = this.app(id);
      const version = (this.versions.get(event.stream) ?? 0) + 1;
      if (event.version !== version) this.broken('versions', `${event.stream} goes from ${version - 1} to ${event.version}`);
      this.versions.set(event.stream, version);
      if (event.type === 'AppDestroyed') {
        app.destroyed = true;
        this.router.changed = true;
      }
      if (event.stream.startsWith('pipeline-')) this.pipeline(app, event as unknown as Recorded & PipelineEvent, by);
    }
  }

  private pipeline(app: App, event: Recorded & PipelineEvent, by: string): void {
    const { deploy: number } = event.data;
    const belongs = `${app.id}.${number}`;
    if (event.meta.correlation !== belongs) this.broken('correlation', `${event.type} of ${belongs} is filed under ${event.meta.correlation}`);
    const trace = this.traces.get(belongs) ?? event.meta.trace;
    this.traces.set(belongs, trace);
    if (event.meta.trace !== trace) this.broken('correlation', `${event.type} of ${belongs} has another trace than the events before`);
    this.world.tell(by, `» ${app.id}.${number} ${event.type}${'attempt' in event.data ? ` a${event.data.attempt}` : ''}${'failure' in event.data ? ` ${event.data.failure.code}` : ''}`);
    if (event.type === 'BuildRequested' || event.type === 'DeployRequested') {
      if (number !== app.deploys.length + 1) this.broken('requests', `deploy ${number} of ${app.id} follows ${app.deploys.length}`);
      app.deploys.push({ worker: '', status: 'waiting', kind: event.data.kind, step: null, job: '', attempt: 0, routed: 0, requestedAt: event.at, retries: 0, target: event.data.source.release, endedAt: 0, madeBy: number, image: null });
      this.world.count(`asked for: ${event.data.kind}`);
      return;
    }
    const deploy = app.deploys[number - 1];
    if (!deploy) return this.broken('requests', `${event.type} of deploy ${number}, which nobody asked for`);
    if (!NEXT[event.type]!.includes(deploy.status)) this.broken('after-end', `${event.type} of ${app.id}.${number}, which is ${deploy.status}`);
    if (app.destroyed) this.broken('after-end', `${event.type} of ${app.id}.${number}, whose app is destroyed`);
    if (event.type === 'DeployStarted' && app.deploys.some((d) => d.status === 'running')) this.broken('one-runs', `${app.id}.${number} starts beside another`);
    if (OUTCOMES.has(event.type)) {
      const { job, attempt } = event.data as { job: string; attempt: number };
      const key = `${job} ${attempt}`;
      if (this.outcomes.has(key)) this.broken('one-outcome', `a second outcome of ${job}, attempt ${attempt}: ${event.type}`);
      this.outcomes.add(key);
      if (job !== deploy.job) this.broken('one-outcome', `an outcome of ${job}, while ${deploy.job} is what runs`);
      if (by !== deploy.worker) this.broken('one-outcome', `${by} records ${job}, which ${deploy.worker} has`);
      if (attempt !== deploy.attempt) this.broken('one-outcome', `an outcome of ${job}, attempt ${attempt}, while attempt ${deploy.attempt} has it`);
    }
    switch (event.type) {
      case 'DeployStarted': deploy.status = 'running'; break;
      case 'DeploySuperseded': this.end(deploy, deploy.status === 'running' ? 'superseded' : 'superseded', event); this.world.count(app.deploys[event.data.by - 1]?.status === 'succeeded' ? 'deploy covered' : 'deploy superseded'); break;
      case 'StepQueued':
        Object.assign(deploy, { step: event.data.step, job: event.data.job, attempt: 0 });
        this.inputs.set(event.data.job, event.data.input);
        break;
      case 'StepStarted': Object.assign(deploy, { attempt: event.data.attempt, worker: event.data.worker }); if (event.data.attempt > 1) this.world.count(`step claimed again: ${event.data.step}`); break;
      case 'ImageBuilt': deploy.image = event.data.output.imageId; break;
      case 'StepGivenBack':
        if (event.data.attempt !== deploy.attempt || by !== deploy.worker) this.broken('one-outcome', `${by} gives attempt ${event.data.attempt} of ${event.data.job} back, which ${deploy.worker} has`);
        deploy.worker = '';
        this.world.count(`step given back: ${event.data.step}`);
        break;
      case 'StepFailed': this.world.count(`step failed: ${event.data.step} ${event.data.failure.fault}`); break;
      case 'ReleaseCreated':
        if (app.releases.some((r) => r.number === event.data.number)) this.broken('one-release', `release v${event.data.number} of ${app.id} is made twice`);
        app.releases.push({ number: event.data.number, deploy: number, spec: event.data.spec, wasLive: false });
        break;
      case 'RouteSwitched': {
        if ((deploy.routed += 1) > 1) this.broken('one-switch', `${app.id}.${number} is switched twice`);
        const input = this.inputs.get(event.data.job) as RouteInput;
        app.live = { containers: input.containers, hosts: event.data.output.hosts, deploy: number, release: input.number };
        const release = app.releases.find((r) => r.number === input.number);
        if (release) release.wasLive = true;
        this.router.changed = true;
        break;
      }
      case 'DeploySucceeded':
        this.end(deploy, 'succeeded', event);
        for (const [job, of] of app.failed) {
          if (app.deploys[of.deploy - 1]?.kind === 'repair') app.failed.delete(job);
          else if (of.deploy < number) this.superseded.add(`${app.id}.${of.deploy}`);
        }
        break;
      case 'DeployFailed': {
        this.end(deploy, 'failed', event);
        for (const [job, of] of app.failed) if (deploy.kind === 'repair' && app.deploys[of.deploy - 1]?.kind === 'repair') app.failed.delete(job);
        if (SOURCES.has(deploy.kind)) app.failures.push(number);
        const { source, imageId } = this.inputs.get(event.data.job) as { source?: string; imageId?: string };
        app.failed.set(event.data.job, { deploy: number, source: source ?? null, image: imageId ?? null });
        const { code, fault } = event.data.failure;
        this.world.count(`deploy failed: ${code}`);
        if (!this.userFault(app.id, number) && !(MACHINE.test(code) && this.machineFaults > 0) && !(fault === 'user' && app.hurt)) this.broken('without-cause', `${app.id}.${number} failed for ${code}, and nothing was wrong`);
        break;
      }
      case 'DeployCancelled':
        this.cancelled(app, number, deploy);
        this.end(deploy, 'cancelled', event);
        break;
      case 'JobRetried': {
        app.failed.delete(event.data.job);
        const again = event.data.as === undefined ? null : app.deploys[event.data.as - 1];
        if (again === null) Object.assign(deploy, { status: 'running', retries: deploy.retries + 1 });
        else if (again?.status !== 'running') this.broken('after-end', `${event.data.job} is retried in deploy ${event.data.as}, which does not run`);
        else Object.assign(again, { madeBy: /\.clone(\.r\d+)?$/.test(event.data.job) ? again.madeBy : deploy.madeBy, image: deploy.image });
        if (this.superseded.has(`${app.id}.${number}`) !== (again !== null)) this.broken('after-end', `${event.data.job} is retried ${again ? 'as another, though nothing went well since' : 'under its own number, though another deploy went well since'}`);
        this.world.count(again ? 'job retried as a new deploy' : 'job retried');
        break;
      }
      case 'JobDiscarded': app.failed.delete(event.data.job); this.world.count('job discarded'); break;
      default:
    }
  }

  private end(deploy: Deploy, status: Status, event: Recorded): void {
    deploy.status = status;
    deploy.step = null;
    deploy.endedAt = this.world.now;
    this.world.count(`deploy ${status}`);
    this.lastEnd = event.at;
  }
  lastEnd = 0;
  /** deploys that failed before another went well */
  private readonly superseded = new Set<string>();

  /** Deploys whose failed step may be run again, and those that made what it works on. */
  private kept(app: App): Set<number> {
    const last = new Set(app.failures.slice(-KEEP_FAILED));
    const open = [...app.failed.values()].map((of) => of.deploy).filter((n) => !SOURCES.has(app.deploys[n - 1]!.kind) || last.has(n));
    return new Set(open.flatMap((n) => [n, app.deploys[n - 1]!.madeBy]));
  }

  /** Within 5 s the work stops, when its process and the store are well. */
  private cancelled(app: App, number: number, deploy: Deploy): void {
    const at = this.world.now;
    // whoever would put it back stands still or is dead: the sweeper does, later
    if (deploy.step === 'route' && ![...this.carrying].some((one) => one.job === deploy.job && one.proc.alive && !one.proc.stalled)) this.down(app.id);
    // what was put back by then serves
    this.world.after(6001, () => { this.router.changed = true; });
    this.world.count(`cancelled ${deploy.status === 'waiting' ? 'while it waited' : `in ${deploy.step ?? 'no step'}`}`);
    for (const one of this.carrying) {
      if (one.app !== app.id || one.deploy !== number) continue;
      this.world.after(5000, () => {
        if (one.done || one.signal.aborted || !one.proc.alive || one.stalledAt >= at || one.proc.stalled || this.db.troubledAt >= at - 1000 || this.db.slowUntil > at) return;
        this.broken('cancel', `${one.job}, attempt ${one.attempt}, works 5 s after its deploy was cancelled`);
      });
    }
  }

  /** A process stands still or dies. */
  fell(proc: Proc): void {
    for (const one of this.carrying) {
      const deploy = this.apps.get(one.app)?.deploys[one.deploy - 1];
      if (one.proc === proc && one.step === 'route' && deploy?.status === 'cancelled') this.down(one.app);
    }
  }

  // ---- what is there

  /** A route step may change what serves now: one that runs, or one that was cancelled just now and puts back. */
  private routing(app: App): boolean {
    return app.deploys.some((d) => this.switching(d));
  }
  private switching(d: Deploy): boolean { return (d.status === 'running' && d.step === 'route') || (d.status === 'cancelled' && this.world.now - d.endedAt < 6000); }

  /** Somebody of us stops or removes a container. */
  private taken(container: SimContainer, by: Proc): void {
    const app = this.apps.get(container.app);
    if (!app || app.destroyed) return;
    if (app.live?.containers.some((c) => c.id === container.id) && !this.routing(app) && !app.hurt) this.broken('serving', `${by.name} takes ${container.name} away, which serves`);
    const deploy = app.deploys[container.deploy - 1];
    if (by.name.startsWith('api') && deploy?.status === 'running' && (deploy.step === 'release' || deploy.step === 'route')) this.broken('leave-running', `${by.name} takes ${container.name} of a running deploy away`);
  }

  /** Somebody lets a server take requests. */
  private ready(server: string, id: string, by: Proc): void {
    const app = this.apps.get(id);
    if (!app?.live || app.destroyed || app.hurt || this.routing(app)) return;
    if (!app.live.containers.some((c) => c.name === server)) this.broken('one-switch', `${by.name} lets ${server} take requests of ${id}, and that is not what was switched to`);
  }

  /** Is every live app served, and by nothing that is dead or another's? Looked at whenever something there changed. */
  serving(): void {
    if (!this.router.changed && !this.engine.changed) return;
    this.router.changed = this.engine.changed = false;
    for (const app of this.apps.values()) {
      if (!app.live || app.destroyed) continue;
      const fault = this.fault(app);
      // what fell may be let take requests a moment later, before anybody can know
      if (fault === null) app.hurt &&= this.world.now - app.hurtAt < 3000;
      else if (!app.hurt) this.broken('serving', fault);
    }
  }

  private fault(app: App): string | null {
    const { live } = app;
    if (!live) return null;
    const servers = (this.router.state.apps.find((a) => a.id === app.id)?.servers ?? []).filter((s) => s.state === 'ready');
    for (const server of servers) {
      const container = this.engine.byIp(server.ip);
      if (!container) return `${server.name} of ${app.id} takes requests, and nothing runs at ${server.ip}`;
      if (container.name !== server.name) return `${server.name} of ${app.id} takes requests at ${server.ip}, where ${container.name} of ${container.app} runs`;
    }
    // scaled to nothing: what switches to that, or was cancelled in it a moment ago
    const toNothing = app.deploys.some((d) => this.switching(d) && d.job.includes('.route') && !(this.inputs.get(d.job) as RouteInput).containers.some((c) => c.type === 'web'));
    if (servers.length === 0 && (app.hurt || !toNothing) && live.containers.some((c) => c.type === 'web')) return `${app.id} is live with deploy ${live.deploy}, and nothing serves it`;
    return null;
  }

  /** Something beyond our power happened to these (to all). */
  hurt(id?: string): void {
    this.machineFaults += 1;
    for (const app of this.apps.values()) if (id === undefined || app.id === id) this.down(app.id);
  }

  /** It fell by itself. */
  down(id: string): void {
    const app = this.apps.get(id);
    if (app) Object.assign(app, { hurt: true, hurtAt: this.world.now });
  }

  // ---- the end

  /** Deploys that have not ended. */
  open(): string[] {
    return [...this.apps.values()].flatMap((app) => app.deploys.flatMap((d, i) => (d.status === 'waiting' || d.status === 'running' ? [`${app.id}.${i + 1} ${d.status}${d.step ? ` in ${d.step}, attempt ${d.attempt}` : ''}`] : [])));
  }

  /** Everything that is there and should not be, or should and is not. */
  leftovers(): string[] {
    const found: string[] = [];
    const owned = new Set<string>();
    for (const app of this.apps.values()) {
      if (app.destroyed) continue;
      if (app.live) {
        const fault = this.fault(app);
        if (fault) found.push(fault);
        const servers = this.router.state.apps.find((a) => a.id === app.id)?.servers ?? [];
        const names = app.live.containers.filter((c) => c.type === 'web').map((c) => c.name).sort().join(' ');
        if (servers.map((s) => `${s.name}${s.state === 'ready' ? '' : ` ${s.state}`}`).sort().join(' ') !== names) found.push(`the router has ${servers.map((s) => `${s.name} ${s.state}`).join(', ') || 'nothing'} of ${app.id}, the log ${names}`);
        const hosts = this.router.state.hosts.filter((h) => h.app === app.id).map((h) => h.host).sort().join(' ');
        if (hosts !== [...app.live.hosts].sort().join(' ')) found.push(`${app.id} is routed at ${hosts}, should be at ${app.live.hosts.join(' ')}`);
      }
      for (const c of app.live?.containers ?? []) {
        owned.add(c.id);
        if (this.engine.containers.get(c.id)?.state !== 'running') found.push(`${c.name} of ${app.id} should run and does not`);
      }
      for (const image of this.imagesOf(app)) owned.add(image);
    }
    for (const c of this.engine.containers.values()) if (!owned.has(c.id)) found.push(`container ${c.name} (${c.state}) belongs to nobody`);
    for (const image of this.engine.images.values()) {
      const app = this.apps.get(image.app);
      if (!owned.has(image.id) && !(app && !app.destroyed && this.kept(app).has(image.deploy))) found.push(`image ${image.id} of ${image.app}.${image.deploy} belongs to nobody`);
    }
    for (const source of this.engine.sources) {
      const [id = '', deploy = ''] = source.split('.');
      const app = this.apps.get(id);
      if (!app || app.destroyed || ((app.deploys[(app.live?.deploy ?? 0) - 1]?.madeBy ?? null) !== Number(deploy) && app.live?.deploy !== Number(deploy) && !this.kept(app).has(Number(deploy)))) found.push(`source ${source} belongs to nobody`);
    }
    for (const { id } of this.router.state.apps) if (!this.apps.get(id)?.live || this.apps.get(id)?.destroyed) found.push(`the router has ${id}, which is not live`);
    for (const row of this.db.open.values()) found.push(`work ${row.id} is ${row.state}`);
    return found;
  }

  /** What may be kept for a rollback, by the promise and not by the sweeper's own words. */
  private imagesOf(app: App): Set<string> {
    const kept = new Set<string>();
    const current = app.releases.find((r) => r.number === app.live?.release)?.spec.imageId;
    if (current !== undefined) kept.add(current);
    for (const release of app.releases.toReversed()) {
      if (!release.wasLive || kept.has(release.spec.imageId)) continue;
      if (kept.size >= KEEP_RELEASES + (current === undefined ? 0 : 1)) break;
      kept.add(release.spec.imageId);
    }
    for (const deploy of this.kept(app)) {
      const { image } = app.deploys[deploy - 1]!;
      if (image !== null && [...app.failed.values()].some((of) => of.deploy === deploy)) kept.add(image);
      const target = app.releases.find((r) => r.number === app.deploys[deploy - 1]?.target);
      if (target) kept.add(target.spec.imageId);
    }
    return kept;
  }

  /** Every release that may be gone back to has its image; nothing that was promised is lost. */
  missing(): string[] {
    const found: string[] = [];
    for (const app of this.apps.values()) {
      if (app.destroyed) continue;
      for (const image of this.imagesOf(app)) if (!this.engine.images.has(image)) found.push(`image ${image} of ${app.id} is kept for a rollback, and is not there`);
      const kept = this.kept(app);
      for (const [job, { deploy, source, image }] of app.failed) {
        if (!kept.has(deploy)) continue;
        if (source !== null && !this.engine.sources.has(source)) found.push(`${job} may be retried, and its source ${source} is not there`);
        if (image !== null && SOURCES.has(app.deploys[deploy - 1]!.kind) && app.deploys[deploy - 1]!.kind !== 'rollback' && !this.engine.images.has(image)) found.push(`${job} may be retried, and its image ${image} is not there`);
      }
    }
    for (const { app, deploy } of this.told) if (!this.apps.get(app)?.deploys[deploy - 1]) found.push(`a user was told of ${app}.${deploy}, which the log does not know`);
    return found;
  }
}
