/** A long life of a server, decided by the real rules and written by the real store: what speed is measured in. */
import { randomBytes } from 'node:crypto';
import type { Config } from '../src/config.js';
import { fold, type Decider } from '../src/events/decider.js';
import type { NewEvent } from '../src/events/event.js';
import { metaOf, type Loaded, type Repository } from '../src/events/repository.js';
import type { SecretBox } from '../src/events/seal.js';
import type { EventStore, Transaction } from '../src/events/store.port.js';
import type { BuildOutput, BuildPlan, CloneOutput, DeployKind, DeploySource, Failure, LiveContainer, ReleaseInput, RouteInput, Step, StepOutput } from '../src/events/types/deploy.events.js';
import { appStream, configStream, processStream } from '../src/modules/apps/app-context.js';
import { apps } from '../src/modules/apps/app.decider.js';
import { claims } from '../src/modules/apps/claim.decider.js';
import { requests } from '../src/modules/commands/request.decider.js';
import { config as configDecider } from '../src/modules/config/config.decider.js';
import type { Core } from '../src/modules/core.js';
import { NO_SOURCE, Pipelines } from '../src/modules/deploys/deploys.service.js';
import { Draft } from '../src/modules/draft.js';
import { drift, type Finding } from '../src/modules/drift/drift.decider.js';
import { driftStream } from '../src/modules/drift/reconciler.js';
import { processes } from '../src/modules/processes/process.decider.js';
import { server } from '../src/modules/server/server.decider.js';
import { random as dice } from '../test/lib/random.js';

export interface Life { readonly apps: number; readonly deploys: number; readonly events: number; /** ms since the epoch */ readonly from: number; readonly to: number; readonly seed: number }

const hex = (bytes: number): string => randomBytes(bytes).toString('hex');

type AnyDecider = Decider<unknown, never, NewEvent>;

/** States in memory; transactions go to the store in the order of their times, many at once, so that it commits them in groups. */
class Memory {
  readonly streams = new Map<string, Loaded<unknown> & { decider: AnyDecider }>();
  written = 0;
  private readonly open = new Set<Promise<unknown>>();
  private failed: unknown = null;

  constructor(private readonly store: EventStore) {}

  async load(decider: unknown, stream: string): Promise<Loaded<never>> {
    let known = this.streams.get(stream);
    if (!known) this.streams.set(stream, known = { state: (decider as AnyDecider).initial, version: 0, decider: decider as AnyDecider });
    return known as unknown as Loaded<never>;
  }

  async transact(decide: () => Promise<Transaction | null>): Promise<NewEvent[]> {
    const tx = await decide();
    if (tx === null) return [];
    await this.write(tx);
    return tx.appends.flatMap((append) => append.events);
  }

  async write(tx: Transaction): Promise<void> {
    for (const { stream, events } of tx.appends) {
      const { state, version, decider } = this.streams.get(stream)!;
      this.streams.set(stream, { state: fold(decider, events, state), version: version + events.length, decider });
      this.written += events.length;
    }
    const done = this.store.transact(tx).catch((error: unknown) => { this.failed = error; });
    this.open.add(done);
    void done.finally(() => this.open.delete(done));
    if (this.open.size >= 256) await done;
    if (this.failed) throw this.failed;
  }

  async end(): Promise<void> {
    await Promise.all(this.open);
    if (this.failed) throw this.failed;
  }
}

const USER: Failure = { code: 'build.exit', message: 'the build ended with exit code 1: ModuleNotFoundError: No module named \'settings\'', hint: 'see the output above', fault: 'user' };
const MACHINE: Failure = { code: 'engine.away', message: 'the engine does not answer: connect ECONNREFUSED /var/run/docker.sock', hint: null, fault: 'machine' };
const KEYS = ['DATABASE_URL', 'SECRET_KEY', 'REDIS_URL', 'SENTRY_DSN', 'LOG_LEVEL', 'WEB_CONCURRENCY', 'SMTP_HOST', 'SMTP_PASSWORD', 'S3_BUCKET', 'S3_SECRET', 'FEATURE_SEARCH', 'FEATURE_PAY', 'TZ', 'CACHE_TTL'];
const SUBJECTS = ['Say hello', 'Fix the login of users without a name', 'Bump dependencies', 'Add an index for the search page', 'Revert "Add an index for the search page"', 'Cache avatars'];
const PEOPLE = ['key:admin', 'key:anna', 'key:ben', 'token:ci', 'root@host'];

interface App { id: string; name: string; domains: number }

export async function live(store: EventStore, box: SecretBox, settings: Config, life: Life, told: (events: number) => void = () => {}): Promise<{ apps: App[]; deploys: number; written: number }> {
  const random = dice(life.seed);
  const below = (n: number): number => Math.floor(random() * n);
  const one = <T>(of: readonly T[]): T => of[below(of.length)]!;
  const memory = new Memory(store);
  const repository = memory as unknown as Repository;
  const core = { repository, config: settings } as unknown as Core;
  let now = life.from;
  const pipelines = new Pipelines(repository, settings, () => Math.round(now));

  const change = async <T>(actor: string, command: string, correlation: string, decide: (draft: Draft) => Promise<T>): Promise<T> => {
    const draft = new Draft(core);
    const answer = await decide(draft);
    const { appends, work, drop } = draft.transaction();
    if (appends.length > 0) await memory.write({ appends, work, drop, meta: metaOf(actor, command, correlation), now: Math.round(now) });
    return answer;
  };

  const all: App[] = [];
  for (let n = 0; n < life.apps; n += 1) {
    const app = { id: hex(5), name: `app-${String(n).padStart(3, '0')}`, domains: 0 };
    await box.createKey(app.id);
    await change(one(PEOPLE), 'apps:create', app.id, async (draft) => {
      await draft.decide(apps, appStream(app.id), { type: 'Create', app: app.id, name: app.name });
      await draft.decide(claims, `name-${app.name}`, { type: 'Claim', name: app.name, app: app.id });
    });
    all.push(app);
    now += 1000;
  }
  // the busiest of 200 has some 3 % of everything
  const weights = all.map((_, n) => 1 / (n + 10));
  const total = weights.reduce((a, b) => a + b, 0);
  const someApp = (): App => {
    let left = random() * total;
    return all.find((_, n) => (left -= weights[n]!) < 0) ?? all[0]!;
  };

  const outputOf = (app: App, step: Step, deploy: number): StepOutput => {
    const run = (memory.streams.get(`pipeline-${app.id}`)!.state as { running: { input: unknown } }).running;
    switch (step) {
      case 'clone': return { source: `/var/lib/berth/sources/${app.id}.${deploy}.clone/source.tar`, bytes: 100_000 + below(1e6), files: 40 + below(400), sha: (run.input as { sha: string }).sha, subject: one(SUBJECTS), author: 'Anna <anna@example.com>', digest: hex(32), submodules: [] } satisfies CloneOutput;
      case 'detect': return { builder: 'buildpack', buildpack: 'python', summary: 'Python 3.13 (.python-version), requirements.txt', dockerfilePath: null, dockerfile: 'FROM berth/stack-build:13-1 AS build\nCOPY requirements.txt /app/\nRUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt\nFROM berth/stack-run:13-1\nCOPY --from=build /app /app\nCOPY . /app\nCMD ["web"]\n', buildArgs: [], processTypes: { web: 'gunicorn blog.wsgi', worker: 'celery -A blog worker' }, releaseCommand: 'python manage.py migrate', check: { path: '/healthz', timeoutMs: 5000, attempts: 3, waitMs: 5000 }, port: 5000 } satisfies BuildPlan;
      case 'build': return { image: `berth/${app.name}:${deploy}`, imageId: `sha256:${hex(32)}`, bytes: 90_000_000 + below(1e8), exposed: [], processTypes: { web: 'gunicorn blog.wsgi', worker: 'celery -A blog worker' }, releaseCommand: 'python manage.py migrate' } satisfies BuildOutput;
      case 'release': {
        const { keep, formation, number, runReleaseCommand } = run.input as ReleaseInput;
        const have = new Set(keep.map((c) => `${c.type}.${c.index}`));
        const made = Object.entries(formation).flatMap(([type, n]) => Array.from({ length: n }, (_, at) => ({ type, index: at + 1 }))).filter((p) => !have.has(`${p.type}.${p.index}`))
          .map((p): LiveContainer => ({ ...p, id: hex(32), name: `${settings.instance}.${app.name}.${p.type}.${p.index}.d${deploy}`, ip: `10.80.${below(250)}.${2 + below(250)}`, port: 5000 }));
        return { number, formation, containers: [...keep, ...made], releaseCommandExit: runReleaseCommand ? 0 : null };
      }
      case 'route': {
        const { hosts, containers, retire } = run.input as RouteInput;
        return { hosts, upstreams: containers.map((c) => c.id), seen: `web.1 answered 200 through the router at http://${hosts[0]!}/healthz`, retired: retire.length };
      }
    }
  };

  let deploys = 0;
  let ticket = 0;
  /** Works off whatever runs in the app's pipeline; the running deploy may fail at a step, be cancelled, meet faults of the machine. */
  const workOff = async (app: App, fate: { failAt: Step | null; cancelAt: Step | null; faultAt: Step | null }): Promise<void> => {
    for (let left = 60; left > 0; left -= 1) {
      const { running } = await pipelines.state(app.id);
      if (!running) return;
      const { job, step, work } = running;
      const worker = `${step}-${1 + below(2)}`;
      const who = { actor: `worker:${worker}`, command: `step:${step}` };
      const owner = `${worker}:${(ticket += 1)}`;
      now += 3 + below(20);
      await pipelines.handle(app.id, { type: 'Claim', job, worker, waitedMs: 2 + below(9) }, who, { claim: { id: work, owner, leaseMs: 5000 } });
      const attempt = (await pipelines.state(app.id)).running!.attempt;
      const tookMs = step === 'build' ? 3000 + below(40_000) : 60 + below(2500);
      now += tookMs;
      if (fate.cancelAt === step) {
        fate.cancelAt = null;
        await pipelines.handle(app.id, { type: 'Cancel', deploy: null, by: one(PEOPLE), reason: 'asked for' }, { actor: one(PEOPLE), command: 'deploys:cancel' });
      } else if (fate.faultAt === step || fate.failAt === step) {
        const failure = fate.faultAt === step ? MACHINE : USER;
        if (failure === MACHINE) fate.faultAt = null;
        else fate.failAt = null;
        await pipelines.handle(app.id, { type: 'Fail', job, attempt, tookMs, failure, now: Math.round(now) }, who, { finish: { id: work, owner } });
        now += 1500;
      } else {
        await pipelines.handle(app.id, { type: 'Complete', job, attempt, tookMs, output: outputOf(app, step, running.deploy) }, who, { finish: { id: work, owner } });
      }
    }
  };

  const values = async (app: App): Promise<Record<string, Awaited<ReturnType<SecretBox['seal']>>>> => {
    const keys = Array.from({ length: 1 + below(3) }, () => one(KEYS));
    return Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await box.seal(app.id, `${key.toLowerCase()}-${hex(8)}`)] as const)));
  };

  const deploy = async (app: App): Promise<void> => {
    const by = one(PEOPLE);
    const { live: serving, releases } = await pipelines.state(app.id);
    const kind: DeployKind = !serving || random() < 0.5 ? 'push' : one(['config', 'config', 'config', 'scale', 'restart', 'domains', 'rollback', 'repair'] as const);
    const fateOf = random();
    const steps: readonly Step[] = ['clone', 'detect', 'build', 'release', 'route'];
    const fate = { failAt: kind === 'push' && fateOf < 0.07 ? one(['build', 'build', 'detect', 'release'] as const) : null, cancelAt: fateOf > 0.98 ? one(steps) : null, faultAt: random() < 0.04 ? one(steps) : null };
    const push = (): DeploySource => ({ ...NO_SOURCE, sha: hex(20), branch: 'main', quarantine: `/var/lib/berth/repos/${app.id}.git/objects/tmp_objdir-incoming-${hex(3)}` });
    const old = releases.filter((r) => r.wasLive && r.number !== serving?.release).at(-1 - below(3));
    const source: DeploySource = kind === 'push' ? push() : kind === 'rollback' && old ? { ...NO_SOURCE, release: old.number } : NO_SOURCE;
    const before = (await pipelines.state(app.id)).last;
    await change(kind === 'repair' ? 'system:reconciler' : by, kind === 'push' ? 'git push' : kind, app.id, async (draft) => {
      if (kind === 'config') await draft.decide(configDecider, configStream(app.id), { type: 'Set', app: app.id, values: await values(app) });
      if (kind === 'scale') await draft.decide(processes, processStream(app.id), { type: 'Scale', app: app.id, changes: { web: 1 + below(3), worker: below(2) }, known: null });
      if (kind === 'domains') {
        const domain = `www${(app.domains += 1) % 4}.${app.name}.example.com`;
        const had = (await draft.load(apps, appStream(app.id))).state.domains.includes(domain);
        await draft.decide(apps, appStream(app.id), { type: had ? 'RemoveDomain' : 'AddDomain', domain });
        await draft.decide(claims, `domain-${domain}`, { type: had ? 'Release' : 'Claim', name: domain, app: app.id });
      }
      if (kind === 'repair') await draft.decide(drift, driftStream(app.id), { type: 'Observe', app: app.id, findings: [{ what: 'container-missing', subject: 'web.1', detail: `${app.name}.web.1 is not there any more` }], now: Math.round(now), busy: false });
      await draft.deploy(app.id, kind === 'rollback' && !old ? 'restart' : kind, kind === 'repair' ? 'system:reconciler' : by, source);
    });
    if (kind === 'push' && random() < 0.03) await change(by, 'git push', app.id, (draft) => draft.deploy(app.id, 'push', by, push())); // waits for the first
    if (!serving && kind === 'push') await change(by, 'git push', app.id, (draft) => draft.decide(apps, appStream(app.id), { type: 'SetBranch', branch: 'main', why: 'first-push' }));
    await workOff(app, fate);
    if (kind === 'repair') await change('system:reconciler', 'reconcile', app.id, (draft) => draft.decide(drift, driftStream(app.id), { type: 'Observe', app: app.id, findings: [], now: Math.round(now), busy: false }));
    // a job that failed is now and then retried or discarded by hand
    const [failed] = Object.keys((await pipelines.state(app.id)).failed);
    if (failed && random() < 0.3) {
      now += 60_000;
      await pipelines.handle(app.id, random() < 0.5 ? { type: 'Retry', job: failed, by } : { type: 'Discard', job: failed, by, reason: 'known' }, { actor: by, command: 'jobs' });
      await workOff(app, { failAt: null, cancelAt: null, faultAt: null });
    }
    deploys += (await pipelines.state(app.id)).last - before;
  };

  const small = async (app: App): Promise<void> => {
    const what = random();
    if (what < 0.4) { // an engine that restarts a container, seen twice
      const found: Finding = { what: 'container-restarting', subject: `web.${1 + below(2)}`, detail: `${app.name}.web.1 crashed and is being restarted` };
      for (const findings of [[found], []]) {
        await change('system:reconciler', 'reconcile', app.id, (draft) => draft.decide(drift, driftStream(app.id), { type: 'Observe', app: app.id, findings, now: Math.round(now), busy: false }));
        now += 15_000;
      }
    } else if (what < 0.8) { // CI sets a variable under an Idempotency-Key
      const [stream, inputHash] = [`request-${hex(32)}`, hex(32)];
      const sealed = await values(app);
      await change('token:ci', 'config:set', app.id, async (draft) => {
        await draft.decide(requests, stream, { type: 'CarryOut', command: 'config:set', inputHash });
        await draft.decide(configDecider, configStream(app.id), { type: 'Set', app: app.id, values: sealed });
      });
      await change('token:ci', 'config:set', app.id, (draft) => draft.decide(requests, stream, { type: 'Answer', command: 'config:set', inputHash, status: 200, body: { app: app.id, name: app.name, keys: Object.keys(sealed), deploy: null } }));
      memory.streams.delete(stream);
    } else if (what < 0.9) {
      await change(one(PEOPLE), 'config:unset', app.id, (draft) => draft.decide(configDecider, configStream(app.id), { type: 'Unset', app: app.id, keys: [one(KEYS)] }));
    } else if (what < 0.999) {
      await change(one(PEOPLE), 'resource:limit', app.id, (draft) => draft.decide(apps, appStream(app.id), { type: 'Set', key: one(['memory', 'build-memory', 'cpu']), value: `${128 + below(8) * 64}m` }));
    } else {
      await change('root@host', 'trace', 'server', (draft) => draft.decide(server, 'server', { type: 'Trace', on: random() < 0.5 }));
    }
  };

  for (const app of all) await deploy(app);
  while (memory.written < life.events) {
    const left = life.deploys - deploys;
    const smalls = Math.max(1, (life.events - memory.written - left * 15.5) / 2);
    const next = life.from + (life.to - life.from) * (memory.written / life.events);
    now = Math.min(Math.max(now + 500, next), life.to - 1000);
    if (left > 0 && random() < left / (left + smalls)) await deploy(someApp());
    else await small(someApp());
    if (memory.written % 1000 < 3) told(memory.written);
  }
  await memory.end();
  return { apps: all, deploys, written: memory.written };
}
