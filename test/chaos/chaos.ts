import { join } from 'node:path';
import { type AppFiles, baseImage, baseOf, Poller } from '../e2e/berth.kit.js';
import { type Fixture, run, startBerth } from '../lib/berth-fixture.js';
import { boardOf, leftovers, wrongInLog } from './judge.js';
import { LogWatch } from './log-watch.js';
import { random } from '../lib/random.js';

/** What a run of chaos found. */
export interface ChaosResult {
  readonly seed: number;
  readonly kills: Readonly<Record<string, number>>;
  /** kills at a step's border, by border; those that met none in time are random ones */
  readonly borders: Readonly<Record<string, number>>;
  readonly deploys: { readonly started: number; readonly right: Readonly<Record<string, number>>; readonly wrong: readonly string[] };
  /** requests to the app that was live all the time; a failed one is excused by what was down while it was asked */
  readonly requests: { readonly served: number; readonly excused: Readonly<Record<string, number>>; readonly failed: readonly string[] };
  readonly repairs: number;
  readonly log: readonly string[];
  readonly orphans: readonly string[];
  readonly stuck: readonly string[];
  /** ms from the last part's return until all had ended */
  readonly settledMs: number;
}

const STEPS = ['clone', 'detect', 'build', 'release', 'route'] as const;
const OUTCOME: Readonly<Record<string, string>> = { clone: 'SourceCloned', detect: 'BuildpackDetected', build: 'ImageBuilt', release: 'ContainersStarted', route: 'RouteSwitched' };
/** as the log tells them: queued = before the claim, and between two steps; ending = shortly before the outcome */
const POINTS = ['queued', 'claimed', 'working', 'ending', 'recorded'] as const;
type Target = 'api' | 'api-2' | 'leader' | 'worker' | 'redis' | 'flushall' | 'router' | 'engine' | 'engine, containers stay' | `${(typeof STEPS)[number]}-1`;
interface Border { readonly step: string; readonly point: (typeof POINTS)[number]; readonly target: Target }

/** Every border of a step with every part that has to do with it, in any order. */
function borders(rnd: () => number): Border[] {
  return STEPS.flatMap((step) => POINTS.flatMap((point) => {
    const engine: Target[] = step === 'clone' || step === 'detect' ? [] : ['engine', 'engine, containers stay'];
    const targets: Target[] = ['worker', 'worker', 'leader', rnd() < 0.5 ? 'api' : 'api-2', rnd() < 0.5 ? 'redis' : 'flushall', ...engine, ...(step === 'route' ? (['router'] as const) : [])];
    return targets.map((target) => ({ step, point, target }));
  })).map((border) => [rnd(), border] as const).sort(([a], [b]) => a - b).map(([, border]) => border);
}

const ANYHOW: readonly Target[] = ['api', 'api-2', 'leader', 'redis', 'flushall', 'router', 'engine', 'engine, containers stay', ...STEPS.map((step) => `${step}-1` as const)];

/**
 * Real processes, real Redis, real HAProxy, a real engine that is killed, too: two apps are deployed over and over while parts of Berth are
 * killed at random instants and at the borders of steps; a client asks the app that is live a hundred times a second throughout. Nobody helps.
 */
export async function chaos(kills: number, seed: number, say: (line: string) => void): Promise<ChaosResult> {
  const berth = await startBerth({ engine: { liveRestore: false }, secondApi: true });
  let watch: LogWatch | null = null;
  let poller: Poller | null = null;
  let over = false;
  try {
    const rnd = random(seed);
    const app = await baseImage(berth);
    const files = (version: string): AppFiles => ({ ...app({ version, args: '-delay 200' }), Dockerfile: `FROM ${berth.instance}-base:1\nCOPY version /version\nRUN sleep 0.3\nVOLUME /data\nCMD ["/bin/server", "-delay", "200"]\n` });
    const dirs = { one: await berth.repo(files('0')), two: await berth.repo(files('0')) };
    for (const name of ['one', 'two'] as const) {
      const { code, output } = await berth.push(dirs[name], name);
      if (code !== 0) throw new Error(`the first push failed: ${output}`);
    }
    const log = (watch = new LogWatch(berth));
    poller = new Poller(berth, 'one', false);
    const scene = new Scene(berth, log, say);
    let version = 0;
    const work = (['one', 'two'] as const).map(async (name) => {
      while (!over) {
        version += 1;
        await berth.commit(dirs[name], files(String(version)));
        // whoever pushed may lose sight of it; the deploy goes on
        await berth.push(dirs[name], name, '+main', { timeoutMs: 120_000 });
        if (version % 5 === 0) await berth.cli(['config:set', name, `N=${version}`], { timeoutMs: 120_000 });
      }
    });
    const killed: Record<string, number> = {};
    const met: Record<string, number> = {};
    let open = borders(rnd);
    for (let i = 0; i < kills; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 150 + rnd() * 600));
      if (open.length === 0) open = borders(rnd);
      // two of three at a border, the rest at random instants
      const done = await scene.carryOut(i % 3 === 2 ? ANYHOW[Math.floor(rnd() * ANYHOW.length)]! : open, rnd);
      killed[done.target] = (killed[done.target] ?? 0) + 1;
      if (done.where) met[done.where] = (met[done.where] ?? 0) + 1;
      say(`${new Date().toISOString().slice(11, 23)} kill ${i + 1}/${kills}: ${done.target} ${done.where ?? 'at a random instant'}`);
    }
    await scene.whole();
    over = true; // no new ones
    const whole = Date.now();
    await Promise.all(work);
    await berth.until('every deploy to end', async () => Object.values(boardOf(log.events).deploys).flat().every((d) => d.endedAt !== null), 60_000);
    const settledMs = Date.now() - whole;
    const base = baseOf(berth);
    let orphans: string[] = [];
    await berth.until('nothing to be left over', async () => (orphans = [...await leftovers(berth, log.events, base), ...log.openWork()]).length === 0, 60_000).catch(() => {});
    await poller.stop();
    const stuck = await berth.stuck();
    const deploys = Object.values(boardOf(log.events).deploys).flat();
    const right: Record<string, number> = {};
    for (const { status } of deploys) if (status === 'succeeded' || status === 'superseded') right[status] = (right[status] ?? 0) + 1;
    const excused: Record<string, number> = {};
    const failed: string[] = [];
    for (const failure of poller.failed) {
      const why = scene.excuse(failure.from, failure.to);
      if (why === null) failed.push(`${new Date(failure.from).toISOString().slice(11, 23)} ${failure.why}`);
      else excused[why] = (excused[why] ?? 0) + 1;
    }
    return {
      seed, kills: killed, borders: met, stuck, orphans, settledMs, log: wrongInLog(log.events),
      repairs: log.events.filter((event) => event.type === 'RepairStarted').length,
      deploys: { started: deploys.length, right, wrong: deploys.filter((d) => d.status !== 'succeeded' && d.status !== 'superseded').map((d) => `${d.app}.${d.deploy} ${d.kind}: ${d.status} ${JSON.stringify(d.failure)} at ${new Date(d.endedAt ?? 0).toISOString().slice(11, 23)}`) },
      requests: { served: poller.ok, excused, failed },
    };
  } catch (error) {
    for (const event of watch?.events.slice(-40) ?? []) say(`${new Date(event.at).toISOString().slice(11, 23)} ${event.type} ${JSON.stringify(event.data).slice(0, 200)}`);
    say(`leases: conductor ${watch?.holder('conductor')}, router ${watch?.holder('router')}; ${watch?.openWork().join(', ')}`);
    say(berth.logs(40));
    throw error;
  } finally {
    over = true;
    watch?.close();
    await poller?.stop();
    await berth.stop();
  }
}

/** What is killed, and when it is back. */
class Scene {
  private readonly down: { readonly from: number; to: number; readonly why: string }[] = [];
  private readonly took = new Map<string, number>();
  private returning: Promise<void> = Promise.resolve();
  /** how often each border was met: none a second time before all were */
  private readonly met = new Map<string, number>();

  constructor(private readonly berth: Fixture, private readonly log: LogWatch, private readonly say: (line: string) => void) {}

  /** Kills this part now, or that of the first of these borders that comes; it is taken from the list. */
  async carryOut(plan: Target | Border[], rnd: () => number): Promise<{ target: Target; where: string | null }> {
    // other parts may be down at the same time; an engine that is being started is not killed again
    await this.returning;
    if (typeof plan === 'string') {
      this.kill(plan, 'build');
      return { target: plan, where: null };
    }
    let border: Border | undefined;
    const event = await this.log.next((one) => (border = plan.find(({ step, point }) => (this.met.get(`${step} ${point}`) ?? 0) <= this.least(plan) && one.data.step === step && one.type === (point === 'queued' ? 'StepQueued' : point === 'recorded' ? OUTCOME[step] : 'StepStarted'))) !== undefined, 60_000, () => {
      if (border!.point !== 'working' && border!.point !== 'ending') this.kill(border!.target, border!.step);
    });
    if (!event || !border) throw new Error('no deploy did anything for a minute');
    plan.splice(plan.indexOf(border), 1);
    const { step, point, target } = border;
    this.met.set(`${step} ${point}`, (this.met.get(`${step} ${point}`) ?? 0) + 1);
    if (point === 'working' || point === 'ending') {
      await new Promise((resolve) => setTimeout(resolve, this.usual(step) * (point === 'ending' ? 0.85 + rnd() * 0.2 : rnd() * 0.85)));
      this.kill(target, step);
    }
    return { target, where: `${step} ${point}` };
  }

  private least(plan: readonly Border[]): number {
    return Math.min(...plan.map(({ step, point }) => this.met.get(`${step} ${point}`) ?? 0));
  }

  /** ms that a step has taken, in the middle of all. */
  private usual(step: string): number {
    const took = this.log.events.filter((event) => event.type === OUTCOME[step]).map((event) => (event.data as { tookMs?: number }).tookMs ?? 0).slice(-15).sort((a, b) => a - b);
    return took[Math.floor(took.length / 2)] ?? 300;
  }

  private kill(target: Target, step: string): void {
    const { berth } = this;
    switch (target) {
      case 'flushall': void run('redis-cli', ['-s', join(berth.runDir, 'redis.sock'), 'FLUSHALL']); break;
      case 'worker': berth.kill(`${step}-1`); break;
      case 'leader': {
        // its owner is api:<pid>:<since>
        const pid = Number(this.log.holder('conductor')?.split(':')[1]);
        (['api', 'api-2'] as const).filter((name) => berth.program(name).pid === pid).forEach((name) => berth.kill(name));
        break;
      }
      case 'router': this.back('the router was down', () => this.router()); break;
      case 'engine': this.back('the engine was down, and containers with it', () => this.engine(false)); break;
      case 'engine, containers stay': this.back(null, () => this.engine(true)); break;
      default: berth.kill(target);
    }
  }

  /** @param why what the client may feel; null: nothing */
  private back(why: string | null, work: () => Promise<void>): void {
    const window = { from: Date.now() - 50, to: Infinity, why: why ?? '' };
    if (why !== null) this.down.push(window);
    this.returning = Promise.all([this.returning, work()]).then(() => { window.to = Date.now() + 50; }, (error: unknown) => { this.say(String(error)); window.to = Date.now(); });
  }

  private async router(): Promise<void> {
    const { berth } = this;
    const { starts } = berth.program('router');
    berth.kill('router');
    // its orphaned worker may answer for a moment more: only a new one counts
    await berth.until('the router to be back', async () => berth.program('router').starts > starts && (await berth.http('one')).status === 200, 30_000);
  }

  private async engine(stay: boolean): Promise<void> {
    const { berth } = this;
    berth.ownEngine!.setLiveRestore(stay);
    await Promise.all([berth.program('dockerd').down(), ...(stay ? [] : [berth.program('containerd').down()])]);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    berth.program('containerd').start();
    berth.program('dockerd').start();
    await berth.ownEngine!.ready();
    if (stay) return;
    // twice: what the engine takes down when it comes back may answer until then
    for (let i = 0; i < 5; i += 1) {
      await berth.until('the app to serve', async () => (await berth.http('one', '/', { timeoutMs: 5000 })).status === 200, 60_000);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  /** Everything runs. */
  async whole(): Promise<void> {
    await this.returning;
    await this.berth.ready(60_000);
  }

  excuse(from: number, to: number): string | null {
    return this.down.find((window) => to >= window.from && from <= window.to)?.why ?? null;
  }
}
