import type { AppContext, BuildInput, BuildOutput, BuildPlan, DeploySource, LiveContainer, ProcessTypes, ReleaseInput, ReleaseSpec, Step, StepInput, StepIo } from '../../events/types/deploy.events.js';
import { listenOf } from '../apps/port-map.plan.js';
import { isSource, type PipelineState, type Run } from './pipeline.state.js';

const NO_CHECK = { path: null, timeoutMs: 5000, attempts: 3, waitMs: 5000 } as const;

/** What containers have beside their image and config. */
const besideConfig = ({ mounts, services }: AppContext): Pick<ReleaseSpec, 'mounts' | 'services'> => ({ ...(mounts.length > 0 && { mounts }), ...(services.length > 0 && { services }) });

/** The release a run makes live: what it built, what it rolls back to, or what is live already with today's config. */
function specOf(run: Run, context: AppContext, state: PipelineState): ReleaseSpec {
  const { build, clone } = run.learnt;
  const plan = planOf(run);
  if (plan && build) {
    return {
      image: build.image, imageId: build.imageId, sha: clone?.sha ?? null, configVersion: context.configVersion,
      processTypes: build.processTypes, releaseCommand: build.releaseCommand, check: plan.check, port: portOf(plan, build), ...(build.stack && { stack: build.stack }), ...besideConfig(context),
    };
  }
  const number = run.source.release ?? state.live?.release;
  const release = state.releases.find((r) => r.number === number);
  if (!release) throw new Error(`deploy ${run.deploy} of ${context.name} has no release to start from`);
  if (keepsRelease(run, context, state)) return release.spec;
  const { mounts: _, services: __, ...spec } = release.spec;
  return { ...spec, configVersion: context.configVersion, ...besideConfig(context) };
}

/** Found by detect; what needs no detecting brings its plan along. */
const planOf = (run: Run): BuildPlan | undefined => run.learnt.plan ?? (run.learnt.inputs?.build as BuildInput | undefined)?.plan;

const portOf = (plan: BuildPlan, build: BuildOutput): number => (build.exposed.includes(plan.port) ? plan.port : (build.exposed[0] ?? plan.port));

const PROCESS = 'process.';
/** Process types that were set for an app whose code does not name any: `process.worker` → its command. `web` is the image's own command unless said. */
export function setProcessTypes(settings: Readonly<Record<string, string>>): ProcessTypes {
  const set = Object.entries(settings).flatMap(([key, command]) => (key.startsWith(PROCESS) ? [[key.slice(PROCESS.length), command] as const] : []));
  return { web: null, ...Object.fromEntries(set) };
}

/** How an image becomes a release: there is nothing to find out about it. */
function imagePlan({ origin }: DeploySource, { settings }: AppContext): BuildPlan {
  if (origin?.type !== 'image') throw new Error('a deploy without a commit has no image either');
  const { image: reference, pull = false, loaded = false } = origin;
  return {
    builder: 'image', buildpack: null, summary: `image ${reference}`, dockerfilePath: null, dockerfile: null, buildArgs: [], processTypes: setProcessTypes(settings), releaseCommand: null,
    check: NO_CHECK, port: 5000, image: { reference, pull, loaded },
  };
}

/** Scale, repair and domains change nothing that a release is made of, nor does a restart, unless config or mounts were changed since (`--no-restart`). */
function keepsRelease(run: Pick<Run, 'kind'>, context: AppContext, state: PipelineState): boolean {
  if (run.kind === 'restart') {
    const spec = state.releases.find((r) => r.number === state.live?.release)?.spec;
    return spec?.configVersion === context.configVersion && JSON.stringify([spec.mounts ?? [], spec.services ?? []]) === JSON.stringify([context.mounts, context.services]);
  }
  return run.kind === 'scale' || run.kind === 'repair' || run.kind === 'domains';
}

/** The number that the next release gets. */
export const nextRelease = (state: PipelineState): number => Math.max(0, ...state.releases.map((r) => r.number)) + 1;

/** Live containers that a scale may keep: the first n of each type. */
function kept(live: readonly LiveContainer[], formation: AppContext['formation']): LiveContainer[] {
  return live.filter((container) => container.index <= (formation[container.type] ?? 0));
}

/** Only types that the release has; what the formation does not name is 0, `web` aside. */
function formationOf(context: AppContext, spec: ReleaseSpec): Record<string, number> {
  return Object.fromEntries(Object.keys(spec.processTypes).map((type) => [type, (Object.hasOwn(context.formation, type) ? context.formation[type]! : Number(type === 'web'))]));
}

function releaseInput(run: Run, context: AppContext, state: PipelineState): ReleaseInput {
  const spec = specOf(run, context, state);
  const keeps = keepsRelease(run, context, state);
  const formation = formationOf(context, spec);
  return {
    ...spec, ...listenOf(context.settings), app: context.app, name: context.name,
    number: keeps ? state.live!.release : nextRelease(state),
    isNew: !keeps, runReleaseCommand: run.kind === 'push' || run.kind === 'rebuild' || run.kind === 'link',
    formation, limits: context.limits, hosts: context.hosts,
    keep: (run.kind === 'scale' || run.kind === 'repair') && state.live ? kept(state.live.containers, formation) : [],
  };
}

function routeInput(run: Run, context: AppContext, state: PipelineState): StepIo['route']['input'] {
  const containers = run.learnt.release?.containers ?? state.live?.containers ?? [];
  const number = run.learnt.release?.number ?? state.live?.release ?? 0;
  const stay = new Set(containers.map((c) => c.id));
  return {
    app: context.app, name: context.name, number, hosts: context.hosts, containers,
    retire: (state.live?.containers ?? []).filter((c) => !stay.has(c.id)),
    check: planOf(run)?.check ?? state.releases.find((r) => r.number === number)?.spec.check ?? NO_CHECK,
  };
}

/** What a step is given; recorded, so that it can be run again from exactly this. */
export function inputFor(step: Step, run: Run, context: AppContext, state: PipelineState): StepInput {
  const { app, name, settings } = context;
  const { origin } = run.source;
  switch (step) {
    case 'clone': return {
      app, name, repo: context.repo, sha: run.source.sha!, quarantine: run.source.quarantine,
      ...(origin?.type === 'remote' && { remote: { url: origin.url, ref: origin.ref } }), ...(settings['build-dir'] !== undefined && { folder: settings['build-dir'] }),
    };
    case 'detect': return { app, name, source: run.learnt.clone!.source, configVersion: context.configVersion, settings };
    case 'build': return { app, name, source: run.learnt.clone?.source ?? '', plan: run.learnt.plan ?? imagePlan(run.source, context), configVersion: context.configVersion, limits: context.buildLimits, ...(run.learnt.clone && { sha: run.learnt.clone.sha }), ...(run.kind === 'rebuild' && { fresh: true }), ...(context.settings['cache-generation'] !== undefined && { caches: context.settings['cache-generation'] }) };
    case 'release': return releaseInput(run, context, state);
    case 'route': return routeInput(run, context, state);
  }
}

/** Which steps a kind of deploy runs. */
export function stepsOf(kind: Run['kind'], source?: DeploySource): readonly Step[] {
  if (kind === 'domains') return ['route'];
  if (source?.origin?.type === 'image') return ['build', 'release', 'route'];
  return isSource(kind) && kind !== 'rollback' ? ['clone', 'detect', 'build', 'release', 'route'] : ['release', 'route'];
}
