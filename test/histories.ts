import fc from 'fast-check';
import { Rejected, type Decider } from '../src/events/decider.js';
import type { AppContext, BuildPlan, DeployKind, Failure, LiveContainer, PipelineEvent, ReleaseInput, RouteInput, Step, StepInput, StepOutput } from '../src/events/types/deploy.events.js';
import { pipeline, type PipelineCommand } from '../src/modules/deploys/pipeline.decider.js';
import { isSource, type PipelineState } from '../src/modules/deploys/pipeline.state.js';
import { workFor } from '../src/modules/deploys/pipeline.work.js';
import type { WorkPayload } from '../src/modules/deploys/pipeline.work.js';

/** Random lives of one app's pipeline, and what must hold at every moment of them. */

export const APP = 'a';
export const BY = 'key:me';
export const CHECK = { path: null, timeoutMs: 5000, attempts: 3, waitMs: 5000 } as const;
export const MACHINE: Failure = { code: 'engine.away', message: 'the engine does not answer', hint: null, fault: 'machine' };
export const USER: Failure = { code: 'build.exit', message: 'the build ended with exit code 1', hint: null, fault: 'user' };

export const contextOf = (more: Partial<AppContext> = {}): AppContext => ({
  app: APP, name: 'blog', configVersion: 0, formation: { web: 1 }, hosts: ['h0'], settings: {}, repo: '/repos/a.git', buildLimits: { memory: 0, cpus: 0, timeoutMs: 1000 }, limits: { memory: 0, cpus: 0 }, mounts: [], services: [], ...more,
});

const PLAN: BuildPlan = { builder: 'dockerfile', buildpack: null, summary: 'Dockerfile', dockerfilePath: 'Dockerfile', dockerfile: null, buildArgs: [], processTypes: { web: 'serve', worker: 'work' }, releaseCommand: 'migrate', check: CHECK, port: 5000 };

/** What a step that goes well answers. */
export function outputOf(step: Step, input: StepInput, deploy: number, attempt: number): StepOutput {
  switch (step) {
    case 'clone': return { source: `/sources/${APP}.${deploy}.clone/source.tar`, bytes: 10, files: 1, sha: (input as { sha: string }).sha, subject: `change ${deploy}`, author: 'me', digest: 'd', submodules: [] };
    case 'detect': return PLAN;
    case 'build': return { image: `berth/blog:${deploy}`, imageId: `sha256:${deploy}.${attempt}`, bytes: 100, exposed: [], processTypes: PLAN.processTypes, releaseCommand: PLAN.releaseCommand };
    case 'release': {
      const { keep, formation, number } = input as ReleaseInput;
      const have = new Set(keep.map((c) => `${c.type}.${c.index}`));
      const places = Object.entries(formation).flatMap(([type, n]) => Array.from({ length: n }, (_, at) => ({ type, index: at + 1 })));
      const made = places.filter((p) => !have.has(`${p.type}.${p.index}`)).map((p): LiveContainer => ({ ...p, id: `c${deploy}.${attempt}.${number}.${p.type}.${p.index}.${serial++}`, name: `${p.type}.${p.index}.d${deploy}`, ip: '10.0.0.1', port: 5000 }));
      return { number, formation, containers: [...keep, ...made], releaseCommandExit: null };
    }
    case 'route': {
      const { hosts, containers, retire } = input as RouteInput;
      return { hosts, upstreams: containers.map((c) => c.id), seen: null, retired: retire.length };
    }
  }
}
let serial = 0;

export type Act =
  | { do: 'request'; kind: DeployKind; release: number }
  /** a worker takes the head of the rows; dies right after the claim's commit when `dies` */
  | { do: 'claim'; dies: boolean }
  /** claim and success, `times` over: so that histories get somewhere */
  | { do: 'work'; times: number }
  /** `after` steps go well, the next one fails by the app's fault */
  | { do: 'fail'; after: number }
  /** one worker after the other dies in the step at hand */
  | { do: 'die' }
  /** the worker that has the step is stopped in good order */
  | { do: 'stop' }
  /** one of the claims ever made reports, the newest first */
  | { do: 'report'; which: number; how: 'complete' | 'user' | 'machine' }
  | { do: 'cancel'; which: number }
  | { do: 'retry'; which: number }
  | { do: 'discard'; which: number };

const KINDS: readonly DeployKind[] = ['push', 'rebuild', 'rollback', 'config', 'scale', 'restart', 'domains'];
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('work' as const), times: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('request' as const), kind: fc.constantFrom(...KINDS, 'push' as const), release: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('claim' as const), dies: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('report' as const), which: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(6) }), how: fc.constantFrom('complete' as const, 'user' as const, 'machine' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), which: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('fail' as const), after: fc.nat(4) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('retry' as const), which: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'die' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'stop' as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('discard' as const), which: fc.nat(2) }) },
);
const deployed: readonly Act[] = [{ do: 'request', kind: 'push', release: 1 }, { do: 'work', times: 5 }];
/** the release step of a push fails while a change waits, which runs then */
const failed: readonly Act[] = [...deployed, { do: 'request', kind: 'push', release: 1 }, { do: 'work', times: 1 }, { do: 'request', kind: 'config', release: 1 }, { do: 'fail', after: 2 }];
/** Some begin with an app that is live, some with a deploy that failed. */
export const acts: fc.Arbitrary<readonly Act[]> = fc.tuple(fc.constantFrom([], deployed, failed), fc.array(act, { minLength: 1, maxLength: 40, size: 'max' })).map(([first, more]) => [...first, ...more]);

export interface Rules extends Decider<PipelineState, PipelineCommand, PipelineEvent> { readonly workFor: typeof workFor }
export const rules: Rules = { ...pipeline, workFor };

/** What must hold; the letters are named in `pipeline.properties.spec.ts`. */
export type Law = 'one-runs' | 'newest-waits' | 'nothing-after-end' | 'late-changes-nothing' | 'plain-data' | 'one-row' | 'no-change-lost' | 'live-is-real';

interface Claim { readonly job: string; readonly attempt: number; readonly step: Step; readonly deploy: number; readonly input: StepInput; readonly row: string }
interface Wish { readonly kind: DeployKind; readonly value: number }
type Status = 'waiting' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'superseded';

export class World {
  state: PipelineState;
  readonly log: PipelineEvent[] = [];
  /** decisions as they were written, one transaction each */
  readonly written: (readonly PipelineEvent[])[] = [];
  readonly broken: { law: Law; what: string }[] = [];
  /** open rows in the order they were added → claim that holds it */
  readonly rows = new Map<string, { job: string; holder: Claim | 'dead' | null }>();
  readonly claims: Claim[] = [];

  // an account of its own, kept from the events alone
  private readonly deploys = new Map<number, { status: Status; place: 'source' | 'converge'; by: number | null }>();
  private readonly wishes = new Map<number, Wish>();
  private orphans: Wish[] = [];
  private heldBy: Claim | null = null;
  private readonly containers = new Map<string, { image: string; memory: number; dead: boolean }>();
  private now = { config: 0, scale: 0, restart: 0, domains: 0 };
  private readonly formations: number[] = [1];

  /** @param watched false = only lives, for tests of something else */
  constructor(private readonly rules: Rules, private readonly watched = true) {
    this.state = rules.initial;
  }

  private get context(): AppContext {
    const { config, restart, domains, scale } = this.now;
    return contextOf({ configVersion: config, formation: { web: this.formations[scale]! }, hosts: [`h${domains}`], limits: { memory: restart, cpus: 0 } });
  }

  /** Lives until `law` (any law, when none is named) is broken. */
  live(history: readonly Act[], law: Law | null = null): this {
    for (const one of history) {
      try {
        this.act(one);
      } catch (error) {
        if (this.broken.length === 0) throw error; // after a broken law anything may happen
        return this;
      }
      if (this.broken.some((b) => law === null || b.law === law)) break;
    }
    return this;
  }

  private breaks(law: Law, what: string): void {
    this.broken.push({ law, what });
  }

  private act(one: Act): void {
    switch (one.do) {
      case 'request': return this.request(one.kind, one.release);
      case 'claim': return void this.claim(one.dies);
      case 'fail': {
        this.act({ do: 'work', times: one.after });
        const claim = this.claim(false);
        return claim ? this.report(claim, 'user') : undefined;
      }
      case 'die': {
        const job = this.state.running?.job;
        for (let i = 0; i < 10 && job !== undefined && this.state.running?.job === job; i += 1) this.claim(true);
        return;
      }
      case 'stop': {
        const claim = this.claim(false);
        if (!claim) return;
        this.rows.get(claim.row)!.holder = null;
        this.heldBy = null;
        this.decide({ type: 'GiveBack', job: claim.job, attempt: claim.attempt, tookMs: 1 });
        return;
      }
      case 'work': {
        for (let i = 0; i < one.times; i += 1) {
          const claim = this.claim(false);
          if (claim) this.report(claim, 'complete');
        }
        return;
      }
      case 'report': {
        const claim = this.claims.at(-1 - (one.which % Math.max(1, this.claims.length)));
        return claim && this.report(claim, one.how);
      }
      case 'cancel': {
        const open = [...this.deploys].filter(([, d]) => d.status === 'waiting' || d.status === 'running').map(([n]) => n);
        return void this.decide({ type: 'Cancel', deploy: open.length === 0 ? null : open[one.which % open.length]!, by: BY, reason: 'asked for', context: this.context });
      }
      case 'retry': case 'discard': {
        const jobs = Object.keys(this.state.failed);
        const job = jobs.length === 0 ? 'a.1.build' : jobs[one.which % jobs.length]!;
        this.decide(one.do === 'retry' ? { type: 'Retry', job, by: BY, context: this.context } : { type: 'Discard', job, by: BY, reason: '' });
      }
    }
  }

  private request(kind: DeployKind, release: number): void {
    if (kind === 'config' || kind === 'scale' || kind === 'restart' || kind === 'domains') this.now[kind] += 1;
    if (kind === 'scale') this.formations.push(1 + ((this.formations.at(-1)! + release) % 4));
    const before = this.state.last;
    const events = this.decide({ type: 'Request', kind, source: { sha: kind === 'push' || kind === 'rebuild' ? `sha${before + 1}` : null, branch: null, quarantine: null, release: kind === 'rollback' ? release : null }, by: BY, context: this.context }, (decided) => {
      if (isSource(kind)) return;
      const wish = { kind, value: this.now[kind as 'config'] };
      const asked = decided.find((e) => e.type === 'DeployRequested');
      if (asked) this.wishes.set(asked.data.deploy, wish);
      else this.orphans.push(wish);
    });
    if (isSource(kind) && kind !== 'rollback' && !events?.some((e) => e.type === 'BuildRequested')) this.breaks('newest-waits', `a ${kind} was not taken`);
  }

  /** A worker takes the first open row, as the store lets it: whoever held it has lost it. */
  private claim(dies: boolean): Claim | null {
    const [head] = this.rows;
    if (!head) return null;
    const [row, { job }] = head;
    const events = this.decide({ type: 'Claim', job, worker: 'w', waitedMs: 1, context: this.context });
    const started = events?.find((e) => e.type === 'StepStarted');
    if (!started) {
      // nobody waits for this: the worker ends the row, or dies first and another does
      if (dies) this.rows.get(row)!.holder = 'dead';
      else this.rows.delete(row);
      this.audit();
      return null;
    }
    const { step, deploy, attempt } = started.data;
    const claim: Claim = { job, attempt, step, deploy, input: this.state.running!.input, row };
    this.claims.push(claim);
    this.rows.get(row)!.holder = claim;
    this.heldBy = claim;
    return claim;
  }

  private report(claim: Claim, how: 'complete' | 'user' | 'machine'): void {
    // the store's part: who lost the row writes nothing
    if (this.rows.get(claim.row)?.holder !== claim) return;
    this.rows.delete(claim.row);
    const command = this.reportOf(claim, how);
    if (command.type === 'Complete' && claim.step === 'release') {
      const input = claim.input as ReleaseInput;
      for (const c of (command.output as { containers: readonly LiveContainer[] }).containers) if (!this.containers.has(c.id)) this.containers.set(c.id, { image: input.imageId, memory: input.limits.memory, dead: false });
    }
    this.decide(command);
    if (command.type === 'Complete' && claim.step === 'route') for (const c of (claim.input as RouteInput).retire) this.containers.get(c.id)!.dead = true;
  }

  private reportOf(claim: Claim, how: 'complete' | 'user' | 'machine'): Extract<PipelineCommand, { type: 'Complete' | 'Fail' }> {
    const { job, attempt, step, deploy, input } = claim;
    return how === 'complete'
      ? { type: 'Complete', job, attempt, tookMs: 1, output: outputOf(step, input, deploy, attempt), context: this.context }
      : { type: 'Fail', job, attempt, tookMs: 1, failure: how === 'user' ? USER : MACHINE, now: 1000, context: this.context };
  }

  /** Decides, writes, and looks whether everything still holds. Null when it was refused. */
  private decide(command: PipelineCommand, told: (events: readonly PipelineEvent[]) => void = () => {}): readonly PipelineEvent[] | null {
    const before = this.state;
    let events: readonly PipelineEvent[];
    try {
      events = this.rules.decide(command, before);
      told(events);
      this.state = events.reduce((state, event) => this.rules.evolve(state, event), before);
    } catch (error) {
      if (!(error instanceof Rejected)) this.breaks('plain-data', `${command.type} threw ${String(error)}`);
      return null;
    }
    const { work, drop } = this.rules.workFor(events, before);
    for (const id of drop) this.rows.delete(id);
    for (const row of work) {
      if (this.rows.has(row.id)) this.breaks('one-row', `row ${row.id} was added twice`);
      this.rows.set(row.id, { job: (row.payload as WorkPayload).job, holder: null });
    }
    this.log.push(...events);
    if (events.length > 0) this.written.push(events);
    for (const event of events) this.follow(event);
    for (const event of events) if (event.type === 'DeploySucceeded') this.seeWishes(event.data.deploy);
    this.audit(command.type === 'Claim');
    return events;
  }

  /** The account of deploys: what each event may and may not do. */
  private follow(event: PipelineEvent): void {
    const n = event.data.deploy;
    if (event.type === 'BuildRequested' || event.type === 'DeployRequested') {
      if (n !== this.deploys.size + 1) this.breaks('newest-waits', `deploy ${n} is not the next number`);
      const place = isSource(event.data.kind) ? 'source' : 'converge';
      for (const [m, d] of this.deploys) if (d.status === 'waiting' && d.place === place) this.breaks('newest-waits', `${m} still waits when ${n} comes`);
      this.deploys.set(n, { status: 'waiting', place, by: null });
      return;
    }
    const deploy = this.deploys.get(n);
    if (!deploy) return this.breaks('newest-waits', `${event.type} of deploy ${n}, which nobody asked for`);
    const over = deploy.status !== 'waiting' && deploy.status !== 'running';
    const allowed = deploy.status === 'failed' && (event.type === 'JobRetried' || event.type === 'JobDiscarded');
    if (over && !allowed) this.breaks('nothing-after-end', `${event.type} of deploy ${n}, which is ${deploy.status}`);
    switch (event.type) {
      case 'DeployStarted': case 'JobRetried': {
        if (event.type === 'JobRetried' && event.data.as !== undefined) {
          if (this.deploys.get(event.data.as)?.status !== 'running') this.breaks('nothing-after-end', `${n} is retried in deploy ${event.data.as}, which does not run`);
          return;
        }
        for (const [m, d] of this.deploys) if (d.status === 'running') this.breaks('one-runs', `${n} starts while ${m} runs`);
        deploy.status = 'running';
        if (event.type === 'JobRetried') this.orphans = []; // it runs with what it had: documented
        return;
      }
      case 'DeploySuperseded':
        if (deploy.status !== 'waiting') this.breaks('newest-waits', `${n} is superseded while ${deploy.status}`);
        if (event.data.by < n && this.deploys.get(event.data.by)?.status !== 'succeeded') this.breaks('newest-waits', `${n} is superseded by the older ${event.data.by}, which has not succeeded`);
        Object.assign(deploy, { status: 'superseded', by: event.data.by });
        return;
      case 'DeploySucceeded': deploy.status = 'succeeded'; this.heldBy = null; return;
      case 'DeployFailed': deploy.status = 'failed'; this.heldBy = null; return;
      case 'DeployCancelled': {
        const wish = this.wishes.get(n);
        if (event.data.by === 'berth' && wish) this.orphans.push(wish);
        if (deploy.status === 'running') this.heldBy = null;
        deploy.status = 'cancelled';
        return;
      }
      case 'StepQueued': case 'StepFailed': this.heldBy = null; return;
      default:
    }
  }

  /** Changes that were asked for and that `deploy` stands for are live now. */
  private seeWishes(deploy: number): void {
    const standsFor = (n: number): boolean => n === deploy || (this.deploys.get(n)?.status === 'superseded' && standsFor(this.deploys.get(n)!.by!));
    const wishes = [...[...this.wishes].filter(([n]) => standsFor(n)).map(([, wish]) => wish), ...this.orphans];
    this.orphans = [];
    const { live, releases } = this.state;
    const release = releases.find((r) => r.number === live?.release);
    const web = live?.containers.filter((c) => c.type === 'web') ?? [];
    for (const { kind, value } of wishes) {
      const done = {
        config: () => (release?.spec.configVersion ?? -1) >= value,
        scale: () => this.formations.slice(value).includes(web.length),
        restart: () => web.every((c) => this.containers.get(c.id)!.memory >= value),
        domains: () => Number(live?.hosts[0]?.slice(1) ?? -1) >= value,
      }[kind as 'config']();
      if (!done) this.breaks('no-change-lost', `${kind} ${value} is not live after deploy ${deploy}, which was to bring it`);
    }
  }

  /** What must hold between any two transactions. */
  private audit(mayHold = false): void {
    if (!this.watched) return;
    const { state } = this;
    const running = [...this.deploys].filter(([, d]) => d.status === 'running').map(([n]) => n);
    if (running.length > 1) this.breaks('one-runs', `${running.join(' and ')} run`);
    if ((state.running?.deploy ?? null) !== (running[0] ?? null)) this.breaks('one-runs', `the state says ${state.running?.deploy ?? 'nobody'}, the events ${running[0] ?? 'nobody'}`);
    for (const place of ['source', 'converge'] as const) {
      const waiting = [...this.deploys].filter(([, d]) => d.status === 'waiting' && d.place === place).map(([n]) => n);
      if (waiting.length > 1 || (state.waiting[place]?.deploy ?? null) !== (waiting[0] ?? null)) this.breaks('newest-waits', `${place}: ${waiting.join(', ') || 'none'} by the events, ${state.waiting[place]?.deploy ?? 'none'} by the state`);
      if (waiting.length > 0 && running.length === 0) this.breaks('newest-waits', `${waiting[0]} waits for nobody`);
    }
    // every recent claim but the one at work: whatever it says, nothing follows
    for (const claim of this.claims.slice(-6)) {
      if (claim === this.heldBy) continue;
      if (mayHold && claim.job === state.running?.job && claim.attempt === state.running.attempt) continue; // made this moment
      for (const how of ['complete', 'user', 'machine'] as const) {
        const said = this.rules.decide(this.reportOf(claim, how), state);
        if (said.length > 0) this.breaks('late-changes-nothing', `${claim.job} attempt ${claim.attempt} says ${how} late: ${said.map((e) => e.type).join(' ')}`);
      }
    }
    const open = [...this.rows].filter(([, r]) => r.job === state.running?.job);
    if (state.running && (open.length !== 1 || open[0]![0] !== state.running.work)) this.breaks('one-row', `${state.running.job} runs with ${open.map(([id]) => id).join(', ') || 'no row'}, not ${state.running.work}`);
    if (!mayHold) for (const [id, row] of this.rows) if (row.job !== state.running?.job && row.holder === null) this.breaks('one-row', `row ${id} is open for nobody`);
    const plain = JSON.parse(JSON.stringify(state)) as PipelineState;
    if (JSON.stringify(plain) !== JSON.stringify(state) || !sameDeep(plain, state)) this.breaks('plain-data', 'the state does not survive JSON');
    this.auditLive();
  }

  private auditLive(): void {
    const { live, releases, running } = this.state;
    const numbers = releases.map((r) => r.number);
    if (new Set(numbers).size !== numbers.length) this.breaks('live-is-real', `releases ${numbers.join(' ')}`);
    for (const c of [...(live?.containers ?? []), ...(running?.step === 'route' ? (running.input as RouteInput).containers : [])]) if (this.containers.get(c.id)?.dead !== false) this.breaks('live-is-real', `${c.id} was removed`);
    const image = releases.find((r) => r.number === live?.release)?.spec.imageId;
    for (const c of live?.containers ?? []) if (this.containers.get(c.id)!.image !== image) this.breaks('live-is-real', `v${live!.release} is ${image}, but ${c.id} runs ${this.containers.get(c.id)!.image}`);
  }
}

/** Same data; `undefined` and what is missing are different. */
function sameDeep(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return Object.is(a, b);
  const keys = Object.keys(a);
  return Object.getPrototypeOf(a) === Object.getPrototypeOf(b) && keys.length === Object.keys(b).length && keys.every((key) => sameDeep((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]));
}
