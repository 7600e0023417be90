import { planRoutes, reduceRoutes } from '../../src/drivers/router/router.plan.js';
import { RouterPort, type DesiredTable, type ProbeAnswer, type ProbeRequest, type RouterPlan, type RouterState, type ServerStats } from '../../src/drivers/router/router.port.js';
import { StepFailure } from '../../src/events/step.js';
import type { Engine } from './engine.js';
import type { Proc, World } from './world.js';

const EMPTY: RouterState = { apps: [], hosts: [] };
const away = (): StepFailure => new StepFailure('route.router-down', 'the router does not answer', null, 'machine');

export class Router {
  state: RouterState = EMPTY;
  private saved: RouterState = EMPTY;
  downUntil = 0;
  changed = false;
  onReady: (server: string, app: string, by: Proc) => void = () => {};
  private readonly flight = new Map<string, number>();

  constructor(private readonly world: World, private readonly engine: Engine) {}

  get down(): boolean { return this.world.now < this.downUntil; }

  /** It starts anew, from its files or from nothing. */
  restart(empty: boolean): void {
    this.state = empty ? EMPTY : this.saved;
    this.changed = true;
  }

  change(step: RouterPlan['changes'][number], by: Proc): void {
    try {
      this.state = reduceRoutes(this.state, step);
    } catch (error) {
      throw new StepFailure('route.refused', (error as Error).message, null, 'machine');
    }
    if (step.do === 'server.add') this.engine.did('route', step.app);
    if (step.do === 'server.set' && step.state === 'drain') this.flight.set(`${step.app} ${step.name}`, this.world.now + this.world.rng.pick([0, 0, 50, 1500]));
    this.changed = true;
    if (step.do === 'server.set' && step.state === 'ready') this.onReady(step.name, step.app, by);
    if (step.do === 'server.add' && step.server.state === 'ready') this.onReady(step.server.name, step.app, by);
  }

  save(): void { this.saved = this.state; }

  inFlight(app: string, server: string): number { return (this.flight.get(`${app} ${server}`) ?? 0) > this.world.now ? 1 : 0; }

  answer({ host, server }: ProbeRequest): ProbeAnswer {
    const app = this.state.hosts.find((entry) => entry.host === host)?.app;
    const servers = this.state.apps.find((entry) => entry.id === app)?.servers ?? [];
    const able = servers.filter((s) => (server === undefined ? s.state === 'ready' : s.name === server && s.state !== 'maint'));
    if (able.length === 0) return { status: 503, server: null };
    const chosen = this.world.rng.pick(able);
    return this.engine.well(this.engine.byIp(chosen.ip)) ? { status: 200, server: chosen.name } : { status: 503, server: null };
  }

  handle(proc: Proc): RouterPort { return new Hand(this, proc); }
}

class Hand extends RouterPort {
  constructor(private readonly router: Router, private readonly proc: Proc) { super(); }

  private ask<T>(what: string, effect: () => T): Promise<T> {
    return this.proc.call(`router.${what}`, () => {
      if (this.router.down) throw away();
      return effect();
    }, 3);
  }
  override plan(desired: DesiredTable, actual: RouterState): RouterPlan { return planRoutes(desired, actual); }
  override async apply({ changes }: RouterPlan): Promise<void> {
    this.proc.applying = true;
    try {
      for (const change of changes) await this.ask(change.do, () => this.router.change(change, this.proc));
      await this.ask('save', () => this.router.save());
    } finally {
      this.proc.applying = false;
    }
  }
  override observe(): Promise<RouterState> { return this.ask('observe', () => this.router.state); }
  override stats(app?: string): Promise<readonly ServerStats[]> {
    return this.ask('stats', () => this.router.state.apps.filter((a) => app === undefined || a.id === app)
      .flatMap((a) => a.servers.map((s) => ({ app: a.id, server: s.name, inFlight: this.router.inFlight(a.id, s.name), sessions: 0, requests: 0 }))));
  }
  override probe(request: ProbeRequest): Promise<ProbeAnswer> { return this.ask('probe', () => this.router.answer(request)); }
}
