import { describe, expect, it } from 'vitest';
import { BY, contextOf, MACHINE, outputOf, USER } from '../../../test/histories.js';
import { Rejected } from '../../events/decider.js';
import type { AppContext, DeployKind, Failure, PipelineEvent, ReleaseInput, RouteInput } from '../../events/types/deploy.events.js';
import { BACKOFF, CLAIMS_MAX, pipeline, type PipelineCommand } from './pipeline.decider.js';
import { KEEP_FAILED } from './pipeline.state.js';
import { workFor } from './pipeline.work.js';

/** One app's pipeline, told step by step. */
class Life {
  state = pipeline.initial;
  context: AppContext = contextOf();
  last: readonly PipelineEvent[] = [];
  rows: { work: { id: string; queue: string; notBefore?: number }[]; drop: string[] } = { work: [], drop: [] };

  when(command: PipelineCommand): string[] {
    this.last = pipeline.decide(command, this.state);
    this.rows = workFor(this.last, this.state);
    this.state = this.last.reduce(pipeline.evolve, this.state);
    return this.last.map((event) => `${event.type} ${event.data.deploy}${event.type === 'StepQueued' ? ` ${event.data.step}` : ''}`);
  }

  request(kind: DeployKind, release: number | null = null): string[] {
    const sha = kind === 'push' || kind === 'rebuild' ? 'c0ffee1234' : null;
    return this.when({ type: 'Request', kind, source: { sha, branch: null, quarantine: null, release }, by: BY, context: this.context });
  }

  get run() { return this.state.running!; }
  claim(): string[] { return this.when({ type: 'Claim', job: this.run.job, worker: 'w1', waitedMs: 3, context: this.context }); }
  complete(): string[] {
    const { job, attempt, step, input, deploy } = this.run;
    return this.when({ type: 'Complete', job, attempt, tookMs: 5, output: outputOf(step, input, deploy, attempt), context: this.context });
  }
  fail(failure: Failure): string[] { return this.when({ type: 'Fail', job: this.run.job, attempt: this.run.attempt, tookMs: 5, failure, now: 1000, context: this.context }); }
  giveBack(attempt = this.run.attempt): string[] { return this.when({ type: 'GiveBack', job: this.run.job, attempt, tookMs: 9 }); }
  cancel(deploy: number | null = null): string[] { return this.when({ type: 'Cancel', deploy, by: BY, reason: 'asked for', context: this.context }); }
  retry(job = Object.keys(this.state.failed)[0]!): string[] { return this.when({ type: 'Retry', job, by: BY, context: this.context }); }
  /** `steps` steps go well */
  work(steps: number): string[] {
    let told: string[] = [];
    for (let i = 0; i < steps; i += 1) {
      this.claim();
      told = this.complete();
    }
    return told;
  }
  /** one step fails by the app's fault */
  breaks(): string[] { this.claim(); return this.fail(USER); }
  change(more: Partial<AppContext>): this { this.context = { ...this.context, ...more }; return this; }
  get released(): ReleaseInput { return this.run.input as ReleaseInput; }
}

const live = (): Life => {
  const life = new Life();
  life.request('push');
  life.work(5);
  return life;
};

const BARE = { sha: null, branch: null, quarantine: null, release: null };

describe('a source that nobody pushed', () => {
  it('is an image: nothing is cloned nor detected, and the release says which', () => {
    const life = new Life().change({ settings: { 'process.worker': 'work', ports: 'http:80:3000' } });
    const asked = (): string[] => life.when({ type: 'Request', kind: 'push', source: { ...BARE, origin: { type: 'image', image: 'shop:1' } }, by: BY, context: life.context });
    expect(asked()).toEqual(['BuildRequested 1', 'DeployStarted 1', 'StepQueued 1 build']);
    expect(life.run.input).toMatchObject({ source: '', plan: { builder: 'image', image: { reference: 'shop:1', pull: false, loaded: false }, processTypes: { web: null, worker: 'work' } } });
    life.claim();
    const { job, attempt } = life.run;
    const output = { image: 'berth/blog:1', imageId: 'sha256:1', bytes: 1, exposed: [80, 5000], processTypes: { web: null, worker: 'work' }, releaseCommand: null, from: { reference: 'shop:1', digest: null } };
    expect(life.when({ type: 'Complete', job, attempt, tookMs: 1, output, context: life.context })).toEqual(['ImageBuilt 1', 'StepQueued 1 release']);
    expect(life.released).toMatchObject({ sha: null, port: 5000, listen: 3000, imageId: 'sha256:1', isNew: true });
    life.work(2);
    expect(life.state.releases).toMatchObject([{ why: 'image shop:1', spec: { port: 5000 }, wasLive: true }]);
    life.request('restart');
    expect(life.released).toMatchObject({ port: 5000, listen: 3000 });
  });

  it('is another server\'s commit, of which a folder is the app', () => {
    const life = new Life().change({ settings: { 'build-dir': 'apps/shop' } });
    life.when({ type: 'Request', kind: 'push', source: { ...BARE, sha: 'c0ffee', origin: { type: 'remote', url: 'https://git.example/shop', ref: 'main' } }, by: BY, context: life.context });
    expect(life.run.input).toMatchObject({ sha: 'c0ffee', remote: { url: 'https://git.example/shop', ref: 'main' }, folder: 'apps/shop' });
    life.work(5);
    expect(life.state.releases[0]!.why).toMatch(/^sync of c0ffee/);
  });
});

function refused(what: () => unknown): string | null {
  try {
    what();
    return null;
  } catch (error) {
    if (error instanceof Rejected) return error.code;
    throw error;
  }
}

describe('a push', () => {
  it('goes through five steps, each claimed and each with a work row of its own', () => {
    const life = new Life();
    expect(life.request('push')).toEqual(['BuildRequested 1', 'DeployStarted 1', 'StepQueued 1 clone']);
    expect(life.rows).toEqual({ work: [{ id: 'a.1.clone.t0', queue: 'clone', group: 'a', payload: { app: 'a', job: 'a.1.clone' } }], drop: [] });
    expect(life.claim()).toEqual(['StepStarted 1']);
    expect(life.last[0]!.data).toMatchObject({ job: 'a.1.clone', attempt: 1, worker: 'w1', waitedMs: 3 });
    expect(life.complete()).toEqual(['SourceCloned 1', 'StepQueued 1 detect']);
    expect(life.work(1)).toEqual(['BuildpackDetected 1', 'StepQueued 1 build']);
    expect(life.work(1)).toEqual(['ImageBuilt 1', 'StepQueued 1 release']);
    expect(life.work(1)).toEqual(['ContainersStarted 1', 'ReleaseCreated 1', 'StepQueued 1 route']);
    expect(life.rows.work.map((row) => row.id)).toEqual(['a.1.route.t0']);
    expect(life.work(1)).toEqual(['RouteSwitched 1', 'DeploySucceeded 1']);
    expect(life.rows).toEqual({ work: [], drop: [] });
    expect(life.state).toMatchObject({ running: null, last: 1, live: { release: 1, deploy: 1, hosts: ['h0'] }, releases: [{ number: 1, deploy: 1, wasLive: true, why: 'push of c0ffee1: change 1', spec: { imageId: 'sha256:1.1', sha: 'c0ffee1234', port: 5000 } }] });
  });

  it('runs the release command; only process types that the image has, web once and the others not at all until scaled', () => {
    const life = new Life().change({ formation: { cron: 4 } });
    life.request('push');
    life.work(3);
    expect(life.released).toMatchObject({ number: 1, isNew: true, runReleaseCommand: true, formation: { web: 1, worker: 0 }, keep: [] });
  });

  it('retires what was live, and only that', () => {
    const life = live();
    const old = life.state.live!.containers;
    life.request('push');
    life.work(4);
    expect(life.run.input as RouteInput).toMatchObject({ number: 2, retire: old });
    expect((life.run.input as RouteInput).containers).not.toContainEqual(old[0]);
  });
});

describe('while a deploy runs', () => {
  it('the next one waits and starts when that one succeeded', () => {
    const life = live();
    life.request('push');
    expect(life.request('push')).toEqual(['BuildRequested 3']);
    expect(life.rows.work).toEqual([]);
    expect(life.work(5)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2', 'DeployStarted 3', 'StepQueued 3 clone']);
  });

  it('a third takes the place of the one that waits', () => {
    const life = live();
    life.request('push');
    life.request('push');
    expect(life.request('rebuild')).toEqual(['DeploySuperseded 3', 'BuildRequested 4']);
    expect(life.last[0]!.data).toMatchObject({ by: 4 });
    expect(life.request('rollback', 1)).toEqual(['DeploySuperseded 4', 'DeployRequested 5']);
    expect(life.request('push')).toEqual(['DeploySuperseded 5', 'BuildRequested 6']);
    expect(life.state.waiting.source).toMatchObject({ deploy: 6, kind: 'push', steps: ['clone', 'detect', 'build', 'release', 'route'] });
  });

  it('other code and a change beside it wait in places of their own; the code goes first', () => {
    const life = live();
    life.request('restart');
    expect(life.request('config')).toEqual(['DeployRequested 3']);
    expect(life.request('push')).toEqual(['BuildRequested 4']);
    expect(life.work(2)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2', 'DeployStarted 4', 'StepQueued 4 clone']);
  });

  it.each<[DeployKind, DeployKind, DeployKind]>([
    ['config', 'domains', 'config'], ['config', 'scale', 'config'], ['config', 'restart', 'config'], ['restart', 'scale', 'restart'], ['restart', 'domains', 'restart'], ['scale', 'domains', 'scale'],
    ['domains', 'scale', 'scale'], ['scale', 'restart', 'restart'], ['restart', 'config', 'config'], ['link', 'config', 'link'], ['config', 'link', 'link'], ['domains', 'domains', 'domains'],
  ])('%s that waits, then %s: the newer one does the work of %s, so that neither is lost', (first, second, does) => {
    const life = live();
    life.request('push');
    life.request(first);
    expect(life.request(second)).toEqual(['DeploySuperseded 3', 'DeployRequested 4']);
    expect(life.state.waiting.converge).toMatchObject({ deploy: 4, kind: does, steps: does === 'domains' ? ['route'] : ['release', 'route'] });
  });

  it('a change asked for before the release step was queued is part of the deploy', () => {
    const life = live();
    life.request('push');
    life.change({ configVersion: 1 }).request('config');
    life.work(3);
    expect(life.released.configVersion).toBe(1);
    expect(life.work(2)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2', 'DeploySuperseded 3']);
    expect(life.last.at(-1)!.data).toEqual({ app: 'a', deploy: 3, by: 2 });
  });

  it('a change asked for later is carried out after it', () => {
    const life = live();
    life.request('push');
    life.work(3);
    life.change({ configVersion: 1 }).request('config');
    expect(life.work(2)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2', 'DeployStarted 3', 'StepQueued 3 release']);
    expect(life.released).toMatchObject({ configVersion: 1, number: 3, isNew: true, imageId: 'sha256:2.1' });
  });

  it('a change that was part of a deploy that failed is carried out by itself', () => {
    const life = live();
    life.request('push');
    life.request('config');
    life.work(3);
    expect(life.breaks()).toEqual(['StepFailed 2', 'DeployFailed 2', 'DeployStarted 3', 'StepQueued 3 release']);
  });
});

describe('before the first release', () => {
  it('there is nothing to bring in line: no deploy follows from a change', () => {
    for (const kind of ['config', 'scale', 'restart', 'domains'] as const) expect(new Life().request(kind)).toEqual([]);
    const life = new Life();
    life.request('push');
    life.work(2);
    expect(life.request('config')).toEqual([]);
  });

  it('a change that comes too late for the first release waits for it', () => {
    const life = new Life();
    life.request('push');
    life.work(3);
    expect(life.change({ configVersion: 1 }).request('config')).toEqual(['DeployRequested 2']);
    expect(life.work(2)).toEqual(['RouteSwitched 1', 'DeploySucceeded 1', 'DeployStarted 2', 'StepQueued 2 release']);
    expect(life.released.configVersion).toBe(1);
  });

  it('and ends with it when it fails', () => {
    const life = new Life();
    life.request('push');
    life.work(3);
    life.request('config');
    expect(life.breaks()).toEqual(['StepFailed 1', 'DeployFailed 1', 'DeployCancelled 2']);
    expect(life.state).toMatchObject({ running: null, waiting: { source: null, converge: null } });
  });
});

describe('what a change does', () => {
  it('scale keeps the containers that may stay, and the release with its config', () => {
    const life = live().change({ formation: { web: 3, worker: 1 }, configVersion: 7 });
    const [web] = life.state.live!.containers;
    expect(life.request('scale')).toEqual(['DeployRequested 2', 'DeployStarted 2', 'StepQueued 2 release']);
    expect(life.released).toMatchObject({ number: 1, isNew: false, runReleaseCommand: false, configVersion: 0, keep: [web], formation: { web: 3, worker: 1 } });
    expect(life.work(2)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2']);
    expect(life.state.releases).toHaveLength(1);
    expect(life.state.live!.containers.map((c) => `${c.type}.${c.index}`)).toEqual(['web.1', 'web.2', 'web.3', 'worker.1']);
    life.change({ formation: { web: 1, worker: 0 } }).request('scale');
    life.work(1);
    expect((life.run.input as RouteInput).retire.map((c) => `${c.type}.${c.index}`)).toEqual(['web.2', 'web.3', 'worker.1']);
  });

  it('restart replaces all containers of the same release', () => {
    const life = live();
    life.request('restart');
    expect(life.released).toMatchObject({ number: 1, isNew: false, keep: [] });
    expect(life.work(2)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2']);
    expect(life.state.releases).toHaveLength(1);
  });

  it('restart makes a new release when the config was changed without one since', () => {
    const life = live().change({ configVersion: 3 });
    life.request('restart');
    expect(life.released).toMatchObject({ number: 2, isNew: true, configVersion: 3, runReleaseCommand: false });
  });

  it('config makes a new release of the same image, without the release command', () => {
    const life = live().change({ configVersion: 3 });
    life.request('config');
    expect(life.released).toMatchObject({ number: 2, isNew: true, configVersion: 3, imageId: 'sha256:1.1', runReleaseCommand: false });
    expect(life.work(1)).toEqual(['ContainersStarted 2', 'ReleaseCreated 2', 'StepQueued 2 route']);
  });

  it('another database makes a new release of the same image, and the release command makes it ready', () => {
    const life = live().change({ configVersion: 3 });
    life.request('link');
    expect(life.released).toMatchObject({ number: 2, isNew: true, configVersion: 3, imageId: 'sha256:1.1', runReleaseCommand: true });
  });

  it('domains only switches routes', () => {
    const life = live().change({ hosts: ['h0', 'www'] });
    const before = life.state.live!;
    expect(life.request('domains')).toEqual(['DeployRequested 2', 'DeployStarted 2', 'StepQueued 2 route']);
    expect(life.run.input).toMatchObject({ number: 1, hosts: ['h0', 'www'], containers: before.containers, retire: [] });
    expect(life.work(1)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2']);
    expect(life.state.live).toEqual({ ...before, deploy: 2, hosts: ['h0', 'www'] });
  });
});

describe('a rollback', () => {
  it('makes an earlier image live again as a new release, with today\'s config', () => {
    const life = live();
    life.request('push');
    life.work(5);
    expect(life.change({ configVersion: 9 }).request('rollback', 1)).toEqual(['DeployRequested 3', 'DeployStarted 3', 'StepQueued 3 release']);
    expect(life.released).toMatchObject({ number: 3, isNew: true, imageId: 'sha256:1.1', configVersion: 9, runReleaseCommand: false });
    life.work(2);
    expect(life.state.releases.at(-1)).toMatchObject({ number: 3, why: 'rollback to v1', wasLive: true });
  });

  it('is refused to what never was, never was live, or is live', () => {
    const life = live();
    expect(refused(() => life.request('rollback', 2))).toBe('release.missing');
    expect(refused(() => life.request('rollback', 1))).toBe('release.live');
    life.request('push');
    life.work(4);
    life.breaks();
    expect(refused(() => life.request('rollback', 2))).toBe('release.never-live');
    expect(refused(() => new Life().request('rollback', 1))).toBe('release.missing');
  });

  it('to what is live may wait behind a push that will change that', () => {
    const life = live();
    life.request('push');
    expect(life.request('rollback', 1)).toEqual(['DeployRequested 3']);
    life.work(5);
    expect(life.released).toMatchObject({ imageId: 'sha256:1.1', number: 3 });
  });
});

describe('a fault', () => {
  it('of the app ends the deploy at once; its job can be retried', () => {
    const life = live();
    life.request('push');
    life.work(2);
    expect(life.breaks()).toEqual(['StepFailed 2', 'DeployFailed 2']);
    expect(life.last[0]!.data).toMatchObject({ retryAt: null, failure: USER });
    expect(life.rows.work).toEqual([]);
    expect(Object.keys(life.state.failed)).toEqual(['a.2.build']);
    expect(life.state.live).toMatchObject({ release: 1 });
  });

  it('of the machine is tried again after longer and longer waits, and is given up in the end', () => {
    const life = live();
    life.request('push');
    for (const [n, wait] of BACKOFF.entries()) {
      life.claim();
      expect(life.fail(MACHINE)).toEqual(['StepFailed 2']);
      expect(life.last[0]!.data).toMatchObject({ attempt: n + 1, retryAt: 1000 + wait });
      expect(life.rows.work).toMatchObject([{ id: `a.2.clone.t${n + 1}`, queue: 'clone', notBefore: 1000 + wait }]);
      expect(life.run.work).toBe(`a.2.clone.t${n + 1}`);
    }
    life.claim();
    expect(life.fail(MACHINE)).toEqual(['StepFailed 2', 'DeployFailed 2']);
  });

  it('is forgotten by the next step', () => {
    const life = live();
    life.request('push');
    for (let i = 0; i < 3; i += 1) { life.claim(); life.fail(MACHINE); }
    life.work(1);
    expect(life.run).toMatchObject({ step: 'detect', faults: 0, attempt: 0 });
  });

  it('that kills every worker is given up after so many claims, and the next deploy starts', () => {
    const life = live();
    life.request('push');
    life.request('push');
    for (let i = 0; i < CLAIMS_MAX; i += 1) expect(life.claim()).toEqual(['StepStarted 2']);
    expect(life.claim()).toEqual(['DeployFailed 2', 'DeployStarted 3', 'StepQueued 3 clone']);
    expect(life.last[0]!.data).toMatchObject({ job: 'a.2.clone', failure: { code: 'step.worker-died' } });
    expect(life.rows.work.map((row) => row.id)).toEqual(['a.3.clone.t0']);
  });

  it('only claims whose worker died count, one after the other: neither one that was given back nor any before a worker that reported', () => {
    const life = new Life();
    life.request('push');
    for (let i = 0; i < 3 * CLAIMS_MAX; i += 1) {
      expect(life.claim()).toEqual(['StepStarted 1']);
      expect(life.giveBack()).toEqual(['StepGivenBack 1']);
      expect(life.rows).toEqual({ work: [], drop: [] });
    }
    for (let i = 1; i < CLAIMS_MAX; i += 1) life.claim();
    life.claim();
    life.fail(MACHINE);
    for (let i = 0; i < CLAIMS_MAX; i += 1) expect(life.claim()).toEqual(['StepStarted 1']);
    expect(life.claim()).toEqual(['DeployFailed 1']);
    expect(life.last[0]!.data).toMatchObject({ failure: { message: `${CLAIMS_MAX} workers died in this step` } });
  });

  it('a step is given back by the claim that has it, once', () => {
    const life = new Life();
    life.request('push');
    expect(life.giveBack()).toEqual([]);
    life.claim();
    life.claim();
    expect(life.giveBack(1)).toEqual([]);
    expect(life.giveBack(2)).toEqual(['StepGivenBack 1']);
    expect(life.last[0]!.data).toEqual({ app: 'a', deploy: 1, job: 'a.1.clone', step: 'clone', attempt: 2, tookMs: 9 });
    expect(life.giveBack(2)).toEqual([]);
    expect(life.fail(USER)).toEqual([]);
  });
});

describe('a late report changes nothing', () => {
  const report = (life: Life, attempt: number): PipelineCommand => ({ type: 'Complete', job: 'a.1.clone', attempt, tookMs: 1, output: outputOf('clone', life.run.input, 1, attempt), context: life.context });

  it('from a worker whose step another one took over', () => {
    const life = new Life();
    life.request('push');
    life.claim();
    life.claim();
    expect(life.when(report(life, 1))).toEqual([]);
    expect(life.when(report(life, 2))).toEqual(['SourceCloned 1', 'StepQueued 1 detect']);
    expect(life.when(report(life, 2))).toEqual([]);
  });

  it('from nobody: a step that no one has claimed has no outcome', () => {
    const life = new Life();
    life.request('push');
    expect(life.when(report(life, 0))).toEqual([]);
  });

  it('from a worker that said already that it failed', () => {
    const life = new Life();
    life.request('push');
    life.claim();
    life.fail(MACHINE);
    expect(life.when(report(life, 1))).toEqual([]);
    expect(life.fail(MACHINE)).toEqual([]);
  });

  it('after the deploy\'s end, and a claim finds nothing to do', () => {
    const life = new Life();
    life.request('push');
    life.claim();
    const late = report(life, 1);
    life.cancel();
    expect(life.when(late)).toEqual([]);
    expect(life.when({ type: 'Claim', job: 'a.1.clone', worker: 'w', waitedMs: 0, context: life.context })).toEqual([]);
  });
});

describe('a cancel', () => {
  it('ends the running deploy and starts what waits; its row is dropped', () => {
    const life = live();
    life.request('push');
    life.claim();
    life.request('push');
    expect(life.cancel()).toEqual(['DeployCancelled 2', 'DeployStarted 3', 'StepQueued 3 clone']);
    expect(life.rows).toMatchObject({ drop: ['a.2.clone.t0'], work: [{ id: 'a.3.clone.t0' }] });
    expect(life.state.live).toMatchObject({ release: 1 });
    expect(life.state.failed).toEqual({});
  });

  it('of a deploy that waits to be tried again drops the row of that try', () => {
    const life = live();
    life.request('push');
    life.claim();
    life.fail(MACHINE);
    life.cancel(2);
    expect(life.rows).toEqual({ work: [], drop: ['a.2.clone.t1'] });
  });

  it('of a waiting deploy leaves the running one alone', () => {
    const life = live();
    life.request('push');
    life.request('config');
    expect(life.cancel(3)).toEqual(['DeployCancelled 3']);
    expect(life.rows).toEqual({ work: [], drop: [] });
    expect(life.run.deploy).toBe(2);
    expect(life.state.waiting.converge).toBeNull();
  });

  it('of what is not open is refused', () => {
    const life = live();
    expect(refused(() => life.cancel())).toBe('deploy.not-open');
    expect(refused(() => life.cancel(1))).toBe('deploy.not-open');
    life.request('push');
    expect(refused(() => life.cancel(1))).toBe('deploy.not-open');
    expect(refused(() => life.cancel(99))).toBe('deploy.not-open');
  });
});

describe('a retry', () => {
  it('runs the failed step from exactly its input, then the rest', () => {
    const life = live();
    life.request('push');
    life.work(2);
    const { input } = life.run;
    life.breaks();
    expect(life.change({ configVersion: 5 }).retry()).toEqual(['JobRetried 2', 'StepQueued 2 build']);
    expect(life.last[1]!.data).toMatchObject({ job: 'a.2.build.r1', input, retryOf: 'a.2.build' });
    expect(life.rows.work.map((row) => row.id)).toEqual(['a.2.build.r1.t0']);
    expect(life.work(3)).toEqual(['RouteSwitched 2', 'DeploySucceeded 2']);
    expect(life.state.failed).toEqual({});
  });

  it('of a failed switch starts containers again under the same release number, without the release command', () => {
    const life = live();
    life.request('push');
    life.work(4);
    life.breaks();
    expect(life.retry()).toEqual(['JobRetried 2', 'StepQueued 2 release']);
    expect(life.released).toMatchObject({ number: 2, runReleaseCommand: false });
    expect(life.work(1)).toEqual(['ContainersStarted 2', 'StepQueued 2 route']);
    life.work(1);
    expect(life.state.releases.map((r) => [r.number, r.wasLive])).toEqual([[1, true], [2, true]]);
  });

  it('takes a new release number when another deploy has got its own meanwhile', () => {
    const life = live();
    life.request('push'); // 2
    life.work(1);
    life.request('config'); // 3
    life.request('push'); // 4
    life.work(2);
    life.cancel(2); // 4 runs, 3 waits
    life.work(3);
    life.breaks(); // 4 fails in its release step, that was to be v2; 3 makes v2
    life.work(2);
    expect(life.state.live).toMatchObject({ release: 2, deploy: 3 });
    life.retry('a.4.release');
    expect(life.released).toMatchObject({ number: 3, imageId: 'sha256:4.1' });
    life.work(2);
    expect(life.state.releases.find((r) => r.number === life.state.live!.release)).toMatchObject({ deploy: 4, spec: { imageId: 'sha256:4.1' } });
  });

  it('of a change starts from what is live now when its containers are gone', () => {
    const life = live();
    life.request('push'); // 2
    life.work(2);
    life.breaks();
    life.change({ formation: { web: 2 } }).request('scale'); // 3
    life.breaks();
    life.retry('a.2.build');
    life.work(3);
    const now = life.state.live!.containers;
    life.retry('a.3.release');
    expect(life.released).toMatchObject({ number: 2, imageId: life.state.releases[1]!.spec.imageId, keep: now });
  });

  it('is refused while another deploy runs, and of a job that has not failed', () => {
    const life = live();
    expect(refused(() => life.retry('a.1.build'))).toBe('job.missing');
    life.request('push');
    life.breaks();
    life.request('push');
    expect(refused(() => life.retry('a.2.clone'))).toBe('job.busy');
  });

  it('can fail and be retried again, under a new id', () => {
    const life = live();
    life.request('push');
    life.breaks();
    life.retry();
    life.breaks();
    expect(Object.keys(life.state.failed)).toEqual(['a.2.clone.r1']);
    life.retry();
    expect(life.run.job).toBe('a.2.clone.r2');
  });
});

describe('a failed job', () => {
  it('is discarded, once', () => {
    const life = live();
    life.request('push');
    life.breaks();
    const discard: PipelineCommand = { type: 'Discard', job: 'a.2.clone', by: BY, reason: 'no use' };
    expect(life.when(discard)).toEqual(['JobDiscarded 2']);
    expect(life.last[0]!.data).toMatchObject({ by: BY, reason: 'no use' });
    expect(refused(() => life.when(discard))).toBe('job.missing');
    expect(refused(() => life.retry('a.2.clone'))).toBe('job.missing');
  });

  const failing = (life: Life, steps: number): Life => {
    life.request('push');
    life.work(steps);
    life.breaks();
    return life;
  };
  const going = (life: Life): Life => {
    life.request('push');
    life.work(5);
    return life;
  };

  it('stays listed once something newer is live, and says by what it was superseded', () => {
    const life = going(going(failing(live(), 2)));
    expect(life.state.failed).toMatchObject({ 'a.2.build': { deploy: 2, superseded: 3, failure: USER } });
    failing(life, 0);
    expect(life.state.failed['a.5.clone']).toMatchObject({ superseded: null });
  });

  it('that was superseded is retried as a new deploy from that step, with its code and today\'s config', () => {
    const life = going(failing(live(), 2));
    const { input } = life.state.failed['a.2.build']!;
    life.change({ configVersion: 7, formation: { web: 2 } }).request('config'); // 4
    life.work(2);
    expect(life.retry('a.2.build')).toEqual(['BuildRequested 5', 'DeployStarted 5', 'JobRetried 2', 'StepQueued 5 build']);
    expect(life.last.map(({ data }) => data)).toMatchObject([{ kind: 'push', steps: ['build', 'release', 'route'], source: { sha: 'c0ffee1234' }, by: BY }, {}, { job: 'a.2.build', as: 5, by: BY }, { job: 'a.5.build', retryOf: 'a.2.build', input }]);
    expect(life.rows).toMatchObject({ work: [{ id: 'a.5.build.t0' }], drop: [] });
    expect(life.state.failed).toEqual({});
    expect(life.work(1)).toEqual(['ImageBuilt 5', 'StepQueued 5 release']);
    expect(life.released).toMatchObject({ number: 4, configVersion: 7, formation: { web: 2 }, runReleaseCommand: true, imageId: 'sha256:5.1' });
    expect(life.work(2)).toEqual(['RouteSwitched 5', 'DeploySucceeded 5']);
    expect(life.state.releases.at(-1)).toMatchObject({ number: 4, deploy: 5, why: 'retry of deploy 2: push of c0ffee1: change 2' });
  });

  it('that was superseded and fails again fails under its new number, and goes on from there', () => {
    const life = going(failing(live(), 4));
    expect(life.retry('a.2.route')).toEqual(['BuildRequested 4', 'DeployStarted 4', 'JobRetried 2', 'StepQueued 4 release']);
    expect(life.released).toMatchObject({ imageId: 'sha256:2.1', number: 4, runReleaseCommand: false });
    life.breaks();
    expect(Object.keys(life.state.failed)).toEqual(['a.4.release']);
    expect(life.retry('a.4.release')).toEqual(['JobRetried 4', 'StepQueued 4 release']);
    expect(life.run.job).toBe('a.4.release.r1');
    life.work(2);
    expect(life.state.live).toMatchObject({ release: 4, deploy: 4 });
  });

  it('that was superseded can be retried with another input', () => {
    const life = going(failing(live(), 2));
    life.when({ type: 'Retry', job: 'a.2.build', by: BY, edits: { 'limits.memory': '4g' }, context: life.context });
    expect(life.run.input).toMatchObject({ limits: { memory: 4 * 1024 ** 3 } });
    expect(life.last[2]!.data).toMatchObject({ edits: { 'limits.memory': '4g' }, as: 4 });
  });

  it('keeps what it worked on until five newer deploys have failed, however those ended; before that there is nothing to keep', () => {
    const life = failing(failing(live(), 0), 2); // 2 in clone, 3 in build
    for (let i = 0; i < KEEP_FAILED; i += 1) {
      failing(life, 1);
      life.when({ type: 'Discard', job: Object.keys(life.state.failed).at(-1)!, by: BY, reason: '' });
    }
    expect(Object.keys(life.state.failed)).toEqual(['a.2.clone', 'a.3.build']);
    expect(refused(() => life.retry('a.3.build'))).toBe('job.not-kept');
    expect(life.retry('a.2.clone')).toEqual(['JobRetried 2', 'StepQueued 2 clone']);
  });

  it('of a repair is the last one only, and is forgotten once anything went well: nobody asked for it', () => {
    const life = live();
    life.request('repair');
    life.breaks();
    life.request('repair');
    life.breaks();
    expect(Object.keys(life.state.failed)).toEqual(['a.3.release']);
    life.request('restart');
    life.work(2);
    expect(life.state.failed).toEqual({});
  });
});

describe('live containers whose machine is gone', () => {
  it('are not live any more; the release is, and a scale starts all of it anew', () => {
    const life = live();
    const [first] = life.state.live!.containers;
    expect(life.when({ type: 'Lose', containers: [first!.id, 'never-ours'], by: BY, reason: 'restored' })).toEqual(['ContainersLost 1']);
    expect(life.last[0]!.data).toMatchObject({ containers: [first!.id] });
    expect(life.state.live).toMatchObject({ release: 1, containers: [] });
    expect(life.when({ type: 'Lose', containers: [first!.id], by: BY, reason: 'restored' })).toEqual([]);
    life.request('scale');
    expect(life.run.input).toMatchObject({ keep: [], number: 1 });
    expect(refused(() => life.when({ type: 'Lose', containers: [], by: BY, reason: 'restored' }))).toBe('deploy.running');
  });
});
