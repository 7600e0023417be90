import { setTimeout as delay } from 'node:timers/promises';
import type { LiveContainer, RouteInput, RouteOutput } from '../../events/types/deploy.events.js';
import type { DesiredTable, ProbeAnswer, RouterApp, RouterPort, RouterState } from '../../drivers/router/router.port.js';
import type { Sealed } from '../../events/sealed.js';
import { StepFailure, type StepContext, type StepWork } from '../../events/step.js';
import { edgeOf, openSettings, type Edge } from '../../drivers/router/router.settings.js';
import { beside, isWeb, label, onlyNew, putBack, switched, tableWith, where, without } from './route.table.js';

/** What the step needs of the engine. A container that is gone already is no error. */
export interface RetireEngine {
  /** SIGTERM, and SIGKILL after `timeoutSeconds`; resolves when the container has stopped */
  stop(id: string, timeoutSeconds: number): Promise<void>;
  remove(id: string): Promise<void>;
  /** where it is to be reached now; null when it does not run */
  address?(id: string): Promise<string | null>;
  /** starts one that has ended; no error when it runs, or is gone */
  start?(id: string): Promise<void>;
}

export interface RouteDeps {
  readonly router: RouterPort;
  readonly engine: RetireEngine;
  /** all other apps, from the log; used for those that the router does not have */
  readonly table: () => Promise<DesiredTable>;
  /** a hash of a password in clear; null when it cannot be opened any more. Absent: none is sealed */
  readonly open?: (hash: Sealed) => Promise<string | null>;
  /** a later deploy of the app is being switched to, or was: what this one changed is not to be put back */
  readonly overtaken?: (app: string, deploy: number) => Promise<boolean>;
  /** runs `fn` as the router's only writer */
  readonly lease: <T>(fn: () => Promise<T>) => Promise<T>;
  /** how long the new ones may take to answer through the router, ms; 30 s */
  readonly seenMs?: number;
  /** how long requests in flight to the old ones are waited for, ms; 30 s */
  readonly drainMs?: number;
  /** how long a container may take to stop after SIGTERM, seconds; 30 */
  readonly stopSeconds?: number;
  /** rejects when the signal aborts */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** ms, monotonic */
  readonly now?: () => number;
}

/** how often it is asked whether what does not answer is still there, ms */
const LOOK_MS = 500;

/**
 * Switches an app's hosts from its old containers to its new ones: beside, seen, switched, drained; once that is recorded, the old ones are
 * stopped and removed. Until then there is a way back, for a cancel as for a failure. May be run again from any point.
 */
export function routeStep(deps: RouteDeps): StepWork<'route'> {
  return (context) => new Switch(deps, context).run();
}

class Switch {
  private readonly now: () => number;
  private readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  private input: RouteInput;
  private web: readonly LiveContainer[];
  private edge: Omit<Edge, 'left'> = {};
  private readonly seen = new Map<string, number>();

  constructor(private readonly deps: RouteDeps, private readonly context: StepContext<'route'>) {
    this.now = deps.now ?? (() => performance.now());
    this.sleep = deps.sleep ?? ((ms, signal) => delay(ms, undefined, { signal }));
    this.input = context.input;
    this.web = context.input.containers.filter(isWeb);
  }

  async run(): Promise<RouteOutput> {
    await this.locate();
    await this.settle();
    const { input, context: { log, signal } } = this;
    const host = input.hosts[0] ?? null;
    log.info(this.web.length === 0 ? `No web process: ${input.hosts.join(', ') || input.name} answers 503` : `Routing ${input.hosts.join(', ') || input.name} to ${this.web.map(label).join(', ')}`);
    signal.throwIfAborted();
    const before = await this.change('beside', (actual) => ({ ...beside(input, actual), ...this.edge }));
    let old: readonly string[] = [];
    try {
      if (host !== null) for (const container of this.web) await this.waitSeen(host, container);
      const after = await this.change('switch', (actual) => ({ ...switched(input, actual), ...this.edge }));
      const fresh = new Set(this.web.map((container) => container.name));
      old = (after.apps.find((app) => app.id === input.app)?.servers ?? []).map((server) => server.name).filter((name) => !fresh.has(name));
      if (host !== null && old.length > 0) await this.waitOnlyNew(host, fresh);
      if (old.length > 0) await this.drain(new Set(old));
      signal.throwIfAborted();
    } catch (error) {
      await this.undo(before, error);
      throw error;
    }
    if (input.retire.length > 0) log.info(`Stopping ${input.retire.map(label).join(', ')} of the release before`);
    const retired = new Set([...old, ...input.retire.map((container) => container.name)]);
    const tidy = async (): Promise<void> => {
      // the router may have been lost, and written anew from a log that did not know of this yet
      await this.change('look again', async (actual) => (onlyNew(input, actual) || await this.deps.overtaken?.(input.app, this.context.deploy) ? null : this.located({ ...switched(input, actual), ...this.edge })), true);
      await this.retire();
      await this.change('settle', (actual) => without(input, actual, retired), true);
    };
    if (this.context.after) this.context.after(tidy, () => this.undo(before, new Error('it was cancelled at the last moment')));
    else await tidy();
    return {
      hosts: input.hosts, upstreams: this.web.map((container) => `${container.ip}:${container.port}`),
      seen: host === null || this.web.length === 0 ? null : this.web.map((container) => `${label(container)} answered ${this.seen.get(container.name) ?? 0}`).join(', ') + ` through the router at http://${host}${this.path}`,
      retired: input.retire.length, ...(this.context.added?.router && { router: this.context.added.router }),
    };
  }

  /** What the router shall do before it asks the app. */
  private async settle(): Promise<void> {
    const { context: { added, log }, deps: { open = () => Promise.resolve(null) }, input } = this;
    if (!added?.router) return;
    const settings = await openSettings(added.router, open);
    const { left, ...edge } = edgeOf(settings, input.hosts);
    this.edge = edge;
    const users = settings.auth?.users.length ?? 0;
    if (settings.maintenance) log.info(`Maintenance: ${input.name} answers 503, its containers keep running`);
    if (settings.auth) log.detail(`Only with a password: ${users} ${users === 1 ? 'user' : 'users'}, ${settings.auth.allow.join(', ') || 'no address'} without`);
    for (const { key, value } of edge.rules?.filter(({ table }) => table === 'redirects') ?? []) log.detail(`Redirecting ${key} to ${value.slice(4)} (${value.slice(0, 3)})`);
    for (const host of left) log.warn(`${host} is not redirected: it is not a domain of ${input.name}. Add it: berth domains:add ${input.name} ${host}`);
  }

  /** A container that was restarted since it was recorded may have another address, and somebody else its old one. */
  private async locate(): Promise<void> {
    const { deps: { engine, seenMs = 30_000 }, context: { signal } } = this;
    if (!engine.address) return;
    const until = this.now() + seenMs;
    const containers = await Promise.all(this.input.containers.map(async (container) => {
      for (;;) {
        const ip = await engine.address!(container.id);
        if (ip !== null) return { ...container, ip };
        // it was seen well: what ended since ended with its engine, or is started again by it
        await engine.start?.(container.id);
        if (!isWeb(container)) return container;
        if (this.now() + 500 > until) throw this.notSeen(`${label(container)} does not run any more`);
        await this.sleep(500, signal);
      }
    }));
    this.input = { ...this.input, containers };
    this.web = containers.filter(isWeb);
  }

  private get path(): string { return this.input.check.path ?? '/'; }

  /** Any answer that surely came from the container will do when no path is to be checked; else it must not be a server's error. */
  private accepts(status: number): boolean { return this.input.check.path === null || status < 500; }

  private async call<T>(name: string, work: () => Promise<T>, detail?: string): Promise<T> {
    const start = this.now();
    try { return await work(); } finally { this.context.log.call(name, this.now() - start, detail); }
  }

  /** observe → plan → apply as the only writer, while the work is ours (unless `anyway`); answers the state before. */
  private change(why: string, app: (actual: RouterState) => RouterApp | null | Promise<RouterApp | null>, anyway = false): Promise<RouterState> {
    const { router, lease, table } = this.deps;
    return lease(async () => {
      const [actual, others] = await Promise.all([this.call('router.observe', () => router.observe()), table()]);
      const wanted = await app(actual);
      if (wanted === null) return actual;
      const plan = router.plan(tableWith(actual, others, wanted), actual);
      // asked last, under the lease: an attempt that stood still for long must not switch what a later one has switched
      if (!anyway && (await this.context.holds?.() ?? 'mine') !== 'mine') throw new Error('another attempt has this work now');
      await this.call('router.apply', () => router.apply(plan), `${why}: ${plan.changes.map((change) => change.do).join(' ') || 'nothing to do'}`);
      return actual;
    });
  }

  private async waitSeen(host: string, container: LiveContainer): Promise<void> {
    const { context: { log, signal }, deps } = this;
    const until = this.now() + (deps.seenMs ?? 30_000);
    let last = 'no answer';
    let looked = this.now();
    for (let wait = 5; ; wait = Math.min(wait * 2, 500)) {
      try {
        const left = Math.max(1, Math.min(until - this.now(), this.input.check.timeoutMs || 5000));
        const answer = await this.call('router.probe', () => deps.router.probe({ host, path: this.path, server: container.name, timeoutMs: left, signal }), label(container));
        last = answer.server === container.name ? `it answered ${answer.status}` : `the router answered ${answer.status}${answer.server === null ? ' itself' : ` by ${answer.server}`}`;
        if (answer.server === container.name && this.accepts(answer.status)) {
          this.seen.set(container.name, answer.status);
          log.detail(`${label(container)} (${container.ip}:${container.port}) answered ${answer.status} through the router`);
          return;
        }
      } catch (error) {
        signal.throwIfAborted();
        last = error instanceof Error ? error.message : String(error);
      }
      if (this.now() - looked > LOOK_MS) {
        await this.stillThere([container]);
        looked = this.now();
      }
      if (this.now() + wait > until) throw this.notSeen(`${label(container)} was not seen through the router at http://${host}${this.path}: ${last}`);
      await this.sleep(wait, signal);
    }
  }

  /** Asked as anybody is, twice for each new one and one more, nobody old may answer. */
  private async waitOnlyNew(host: string, fresh: ReadonlySet<string>): Promise<void> {
    const { context: { signal }, deps } = this;
    const until = this.now() + (deps.seenMs ?? 30_000);
    const needed = Math.min(20, this.web.length * 2 + 1);
    const ask = (): Promise<ProbeAnswer | null> => this.call('router.probe', () => deps.router.probe({ host, path: this.path, timeoutMs: this.input.check.timeoutMs || 5000, signal })).catch(() => null);
    const right = (answer: ProbeAnswer | null): boolean => answer !== null && (fresh.size === 0 ? answer.server === null : answer.server !== null && fresh.has(answer.server));
    for (let looked = this.now(); ;) {
      const answers = await Promise.all(Array.from({ length: needed }, ask));
      signal.throwIfAborted();
      const wrong = answers.find((answer) => !right(answer));
      if (wrong === undefined) return;
      if (this.now() - looked > LOOK_MS) {
        await this.stillThere(this.web);
        looked = this.now();
      }
      if (this.now() > until) throw this.notSeen(`http://${host}${this.path} is still answered by ${wrong?.server ?? 'nobody'} after the switch`);
      await this.sleep(20, signal);
    }
  }

  /** One that ended, or has another address than a moment ago: it is found, or started, where the step begins, so it begins again. */
  private async stillThere(containers: readonly LiveContainer[]): Promise<void> {
    for (const container of containers) {
      const ip = await this.deps.engine.address?.(container.id);
      if (ip !== undefined && ip !== container.ip) throw new StepFailure('route.restarted', `${label(container)} ${ip === null ? 'ended' : 'was restarted'} while it was being switched to`, 'its engine was restarted, or it crashed: see its log', 'machine');
    }
  }

  private notSeen(message: string): StepFailure {
    return new StepFailure('route.not-seen', message, `The old containers keep serving. Is the app listening on 0.0.0.0 and its port? See logs ${this.input.name}.`, 'user');
  }

  /** Until nothing is in flight to the old ones, or the limit. Idle keep-alive connections do not count. */
  private async drain(old: ReadonlySet<string>): Promise<void> {
    const { context: { log, signal }, deps } = this;
    const start = this.now();
    const limit = deps.drainMs ?? 30_000;
    for (let wait = 5; ; wait = Math.min(wait * 2, 100)) {
      const stats = await this.call('router.stats', () => deps.router.stats(this.input.app));
      const left = stats.reduce((sum, row) => sum + (row.app === this.input.app && old.has(row.server) ? row.inFlight : 0), 0);
      const took = this.now() - start;
      if (left === 0) return log.detail(`Nothing is in flight to the old containers (${Math.round(took)} ms)`);
      if (took + wait > limit) return log.warn(`${left} ${left === 1 ? 'request is' : 'requests are'} still in flight to the old containers after ${Math.round(limit / 1000)} s: stopping them anyway`);
      if (wait === 5) log.detail(`Waiting for ${left} ${left === 1 ? 'request' : 'requests'} in flight to the old containers`);
      await this.sleep(wait, signal);
    }
  }

  /** From here on there is no way back. */
  private async retire(): Promise<void> {
    const { input, deps } = this;
    const seconds = deps.stopSeconds ?? 30;
    await Promise.all(input.retire.map(async (container) => {
      await this.call('engine.stop', () => deps.engine.stop(container.id, seconds), label(container));
      await this.call('engine.remove', () => deps.engine.remove(container.id), label(container));
    }));
  }

  private async undo(before: RouterState, cause: unknown): Promise<void> {
    const { context: { log } } = this;
    try {
      const old = await this.oldThere();
      const answering = new Set([...this.seen.keys(), ...old]);
      // the old ones are gone by somebody's hand, and what serves are the new ones
      const only = old.length === 0 && this.input.retire.some(isWeb) && this.web.length > 0 && this.web.every(({ name }) => this.seen.has(name));
      let left = false;
      await this.change('put back', async (actual) => {
        const holds = await this.context.holds?.() ?? 'mine';
        left = only || holds === 'taken' || (holds === 'dropped' && (await this.deps.overtaken?.(this.input.app, this.context.deploy) ?? false));
        if (left) return null;
        // nobody's any more: what the log says serves, as the sweeper may have written it already
        const logged = holds === 'dropped' ? (await this.deps.table()).apps.find(({ id }) => id === this.input.app) : undefined;
        return this.located(where(logged ?? putBack(this.input, before, answering), actual));
      }, true);
      log.warn(left ? `The routes are left as they are: ${only ? 'the containers before do not answer' : 'another attempt has this work now'}` : 'The routes are as they were before');
    } catch (error) {
      log.warn(`The routes could not be put back: ${error instanceof Error ? error.message : String(error)} (after: ${cause instanceof Error ? cause.message : String(cause)})`);
    }
  }

  /** With the addresses of now, and without what does not run where others do. */
  private async located(app: RouterApp): Promise<RouterApp> {
    const ids = new Map([...this.input.retire, ...this.input.containers].map(({ name, id }) => [name, id]));
    const servers = await Promise.all(app.servers.map(async (server) => {
      const id = ids.get(server.name);
      const ip = id === undefined ? server.ip : await this.deps.engine.address?.(id).catch(() => server.ip);
      return ip === null ? null : { ...server, ip: ip ?? server.ip };
    }));
    const running = servers.filter((server) => server !== null);
    return running.length > 0 ? { ...app, servers: running } : app;
  }

  /** Old ones that still answer: an earlier attempt may have stopped some, and those must not get traffic again. */
  private async oldThere(): Promise<readonly string[]> {
    const host = this.input.hosts[0];
    if (host === undefined) return this.input.retire.map((container) => container.name);
    // one that does not run may be answered for by whoever has its address now
    const runs = async ({ id }: LiveContainer): Promise<boolean> => (await this.deps.engine.address?.(id).catch(() => '')) !== null;
    const answers = await Promise.all(this.input.retire.filter(isWeb).map(async (container) => (await runs(container)) && this.probeOld(host, container.name)));
    return answers.flatMap((answer) => (answer && answer.server) || []);
  }

  private async probeOld(host: string, name: string): Promise<ProbeAnswer | null> {
    return this.deps.router.probe({ host, path: this.path, server: name, timeoutMs: 3000 }).catch(() => null);
  }
}
