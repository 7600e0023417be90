import type { BuildPlan, LiveContainer, Step } from '../../src/events/types/deploy.events.js';
import { StepFailure, type StepContext, type StepWork } from '../../src/events/step.js';
import { liveTable, overtaken } from '../../src/modules/conductor/live-table.js';
import { withRouterLease } from '../../src/modules/conductor/router-lease.js';
import type { Core } from '../../src/modules/core.js';
import { routeStep } from '../../src/workers/route/route.step.js';
import type { Engine, Handle } from './engine.js';
import type { Router } from './router.js';
import { Rng, type Proc, type World } from './world.js';

/** What goes wrong with an app's own deploy: decided once for each, by the seed. */
export type Fate = Step | 'crash' | 'sick' | 'well';

export interface Ground {
  readonly world: World; readonly engine: Engine; readonly router: Router;
  fate(app: string, deploy: number): Fate;
  /** a full disk until then: clones and builds fail */
  diskFullUntil(): number;
  /** leftovers of earlier attempts are not removed: a planted bug */
  readonly untidy?: boolean;
  /** switches without waiting until the new ones are seen: a planted bug */
  readonly blind?: boolean;
}

const CHECK = { path: '/', timeoutMs: 1000, attempts: 3, waitMs: 500 } as const;
const PLAN: BuildPlan = { builder: 'dockerfile', buildpack: null, summary: 'Dockerfile', dockerfilePath: 'Dockerfile', dockerfile: null, buildArgs: [], processTypes: { web: 'serve', worker: 'work' }, releaseCommand: null, check: CHECK, port: 5000 };

const user = (code: string): StepFailure => new StepFailure(code, 'simulated: the app is at fault', null, 'user');
/** The real driver passes over a container that is not there. */
const gone = (error: unknown): void => { if ((error as { statusCode?: number }).statusCode !== 404) throw error; };
const full = (): StepFailure => new StepFailure('disk-full', 'simulated: no space left', null, 'machine');

/** The works of all five steps, over simulated things; `route` is the real one. */
export function workOf(step: Step, ground: Ground, proc: Proc, core: Core): StepWork<Step> {
  const engine = ground.engine.handle(proc);
  switch (step) {
    case 'clone': return clone(ground, proc) as StepWork<Step>;
    case 'detect': return detect(ground, proc) as StepWork<Step>;
    case 'build': return build(ground, engine) as StepWork<Step>;
    case 'release': return release(ground, proc, engine) as StepWork<Step>;
    case 'route': {
      const router = ground.router.handle(proc);
      return routeStep({
        router: ground.blind ? blind(router) : router,
        engine: { stop: (id) => engine.stopContainer(id), remove: (id) => engine.removeContainer(id), address: async (id) => (await engine.inspectContainer(id))?.ip ?? null, start: (id) => engine.startContainer(id).catch(gone) },
        table: async () => liveTable(await core.routes.now()),
        overtaken: async (app, deploy) => overtaken(await core.routes.now(), app, deploy),
        lease: (work) => withRouterLease(core, 'route', work, proc.clock),
        sleep: proc.sleep, now: () => ground.world.now, seenMs: 8000, drainMs: 3000,
      }) as StepWork<Step>;
    }
  }
}

/** Says of every server that it answers. */
function blind(router: ReturnType<Router['handle']>): typeof router {
  const probe: typeof router.probe = async ({ server }) => ({ status: 200, server: server ?? null });
  return new Proxy(router, { get: (target, key) => (key === 'probe' ? probe : (target as unknown as Record<string | symbol, unknown>)[key]) });
}

function clone({ world, engine, ...ground }: Ground, proc: Proc): StepWork<'clone'> {
  return async ({ app, deploy, job, attempt, input, signal }) => {
    const folder = (n: number): string => (n === 1 ? job : `${job}.a${n}`);
    try {
      await proc.call('git.log', () => {});
      signal.throwIfAborted();
      await proc.call('source.make', () => {
        if (world.now < ground.diskFullUntil()) throw full();
        for (let n = 1; n < attempt; n += 1) engine.sources.delete(folder(n));
        engine.sources.add(folder(attempt));
        engine.did('clone', app);
      });
      await proc.sleep(world.rng.between(5, 400), signal);
      if (ground.fate(app, deploy) === 'clone') throw user('clone.empty');
      await proc.call('source.done', () => {
        if (!engine.sources.has(folder(attempt))) throw new Error('the folder is gone');
      });
      return { source: folder(attempt), bytes: 10, files: 1, sha: input.sha, subject: `commit of deploy ${deploy}`, author: 'me', digest: 'd', submodules: [] };
    } catch (error) {
      await proc.call('source.remove', () => { engine.sources.delete(folder(attempt)); });
      throw error;
    }
  };
}

function detect({ world, engine, fate }: Ground, proc: Proc): StepWork<'detect'> {
  return async ({ app, deploy, input, signal }) => {
    await proc.call('source.stat', () => {
      if (!engine.sources.has(input.source)) throw new StepFailure('detect.no-source', 'the source archive is gone', null, 'machine');
    });
    await proc.sleep(world.rng.between(1, 100), signal);
    if (fate(app, deploy) === 'detect') throw user('detect.unknown');
    return PLAN;
  };
}

/** Decided by the job alone, so that the rest of a run stays what it was. */
const sameAgain = (job: string): boolean => new Rng([...job].reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7) >>> 0).chance(0.15);

function build({ world, engine: all, ...ground }: Ground, engine: Handle): StepWork<'build'> {
  return async ({ app, deploy, job, attempt, input, signal }) => {
    const tag = `berth/${input.name}:${deploy}`;
    const found = await engine.inspectImage(tag);
    const answer = (image: { id: string }) => ({ image: tag, imageId: image.id, bytes: 100, exposed: [], processTypes: input.plan.processTypes, releaseCommand: null });
    if (found && found.labels['berth.job'] === job) return answer(found);
    // nothing has changed since one that is still there was built
    const before = sameAgain(job) ? (await engine.listImages()).filter((image) => image.tags.length > 0 && image.labels['berth.app'] === app).at(-1) : undefined;
    if (before) {
      await engine.tagImage(before.id, tag);
      world.count('built before');
      return answer(before);
    }
    if (world.now < ground.diskFullUntil()) throw full();
    if (!all.sources.has(input.source)) throw new StepFailure('build.no-source', 'the source archive is gone', null, 'machine');
    signal.throwIfAborted();
    const failing = ground.fate(app, deploy) === 'build';
    const made = await engine.make(tag, { instance: 'sim', app, deploy, attempt, job }, world.rng.between(20, world.rng.chance(0.1) ? 8000 : 1200), signal);
    if (failing) throw user('build.exit');
    return answer(made);
  };
}

function release({ world, untidy }: Ground, proc: Proc, engine: Handle): StepWork<'release'> {
  return async (context: StepContext<'release'>) => {
    const { app, deploy, job, attempt, input, signal } = context;
    if (!untidy) for (const left of await engine.listContainers({ job })) if (Number(left.labels['berth.attempt']) < attempt) await engine.removeContainer(left.id);
    const image = await engine.inspectImage(input.imageId);
    if (!image) throw user('release.no-image');
    try {
      const keep: LiveContainer[] = [];
      for (const container of input.keep) {
        const state = await engine.inspectContainer(container.id);
        if (state?.running && state.ip !== null) keep.push({ ...container, ip: state.ip });
      }
      const have = new Set(keep.map((c) => `${c.type}.${c.index}`));
      const places = Object.entries(input.formation).flatMap(([type, n]) => Array.from({ length: n }, (_, at) => ({ type, index: at + 1 }))).filter((p) => !have.has(`${p.type}.${p.index}`));
      const started = await Promise.all(places.map(async ({ type, index }) => {
        signal.throwIfAborted();
        let id = '';
        let name = '';
        for (let again = 0; id === ''; again += 1) {
          name = `${input.name}.${type}.${index}.d${deploy}a${attempt}${again ? `r${again}` : ''}`;
          id = await engine.create({ name, image: input.imageId, labels: { instance: 'sim', app, deploy, attempt, job, type, index, release: input.number } }).catch((error: unknown) => {
            if ((error as { statusCode?: number }).statusCode !== 409 || again > 20) throw error;
            return '';
          });
        }
        await engine.startContainer(id);
        const state = await engine.inspectContainer(id);
        return { id, name, type, index, ip: state?.ip ?? '', port: 5000 };
      }));
      await Promise.all(started.map((container) => live(container, engine, proc, signal, world)));
      for (const { id } of started) await engine.setRestart(id, 'on-failure');
      signal.throwIfAborted();
      return { number: input.number, formation: input.formation, containers: [...keep, ...started].toSorted((a, b) => (a.type === b.type ? a.index - b.index : a.type < b.type ? -1 : 1)), releaseCommandExit: null };
    } catch (error) {
      try {
        for (const made of await engine.listContainers({ job, attempt })) await engine.removeContainer(made.id);
      } catch { /* the next attempt removes them */ }
      throw error;
    }
  };
}

async function live(container: LiveContainer, engine: Handle, proc: Proc, signal: AbortSignal, world: World): Promise<void> {
  const over = new AbortController();
  // not AbortSignal.any: one that is listened to lives for ever when nobody aborts it, as in a process that was killed
  signal.addEventListener('abort', () => over.abort(signal.reason));
  const both = over.signal;
  const exited = engine.waitContainer(container.id, both).then((code) => { throw code === 137 ? new StepFailure('release.killed', 'its engine died', null, 'machine') : user('release.crashed'); });
  const well = async (): Promise<void> => {
    if (container.type !== 'web') return proc.sleep(300, both);
    for (const until = world.now + 10_000; ;) {
      both.throwIfAborted();
      try {
        await engine.probe(container.ip);
        return;
      } catch {
        if (world.now > until) throw user('release.check-failed');
      }
      await proc.sleep(100, both);
    }
  };
  const answered = well();
  for (const loser of [exited, answered]) loser.catch(() => {});
  try {
    await Promise.race([exited, answered]);
  } finally {
    over.abort();
  }
}
