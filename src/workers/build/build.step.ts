import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { Config } from '../../config.js';
import { contextPath, packContext, scanSource } from '../../drivers/engine/build-context.js';
import { asWritten, CONFIG_SECRET, shellExports, withConfig } from '../../drivers/engine/dockerfile-config.js';
import { withHostCa, withoutSyntax } from '../../drivers/engine/dockerfile-ca.js';
import { hostCa } from '../../drivers/engine/host-ca.js';
import { withOwnCaches } from '../../drivers/engine/dockerfile-caches.js';
import { refusedIn } from '../../drivers/engine/dockerfile-refused.js';
import type { EnginePort, Image } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import { versionOf } from '../../drivers/stack/stack.js';
import { binarySize, size } from '../../drivers/engine/units.js';
import type { BuildOutput, BuildPlan, StandsOn } from '../../events/types/deploy.events.js';
import { type StepContext, StepFailure, type StepWork } from '../../events/step.js';
import { BUILD_ROOM } from '../../modules/server/room.js';
import type { ClassicBuilds } from '../../plugins/builders/classic/classic.runner.js';
import { SLUGIGNORE, slugignore } from '../../plugins/builders/classic/slugignore.js';
import { isForeign } from '../../plugins/builders/foreign.builder.js';
import { START, START_FILE } from '../../plugins/builders/classic/start.js';
import { LastWords } from './last-words.js';
import { takeImage } from './image.build.js';

/** where a generated Dockerfile lies in the context */
const GENERATED = '.berth/Dockerfile';

/** The app's config of one version, in the clear: name → value. */
export type ReadEnv = (app: string, configVersion: number) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;

export interface BuildDeps {
  readonly engine: EnginePort;
  readonly config: Pick<Config, 'instance' | 'buildCa' | 'buildProxy'>;
  readonly env: ReadEnv;
  /** equal for equal texts; tells nothing about them */
  readonly mark: (text: string) => string;
  /** carries out plans of third-party buildpacks */
  readonly classic?: ClassicBuilds;
  /** the stack's images that a plan stands on */
  readonly stackImages?: (plan: BuildPlan) => readonly string[];
  /** carries out plans of builders that are programs of their own */
  readonly external?: (context: StepContext<'build'>) => Promise<BuildOutput>;
}

/** Turns a source archive and a plan into an image. */
export function buildStep(deps: BuildDeps): StepWork<'build'> {
  return async (context) => {
    const { input, log, signal } = context;
    const { plan } = input;
    const third = plan.builder === 'classic-buildpack' || plan.classic !== undefined;
    if (third && !deps.classic) throw new StepFailure('build.no-builder', 'this server has no builder for third-party buildpacks', 'use a Dockerfile or one of the built-in buildpacks');
    if (plan.builder === 'classic-buildpack') {
      await checkSpace(deps.engine, (await stat(input.source)).size);
      const stack = await standsOn(deps.engine, deps.stackImages?.(plan) ?? []);
      return { ...await deps.classic!.build(context), stack };
    }
    if (plan.builder === 'external') {
      if (!deps.external) throw new StepFailure('build.no-builder', `this server does not run ${plan.buildpack}`, 'use a Dockerfile or one of the built-in buildpacks');
      await checkSpace(deps.engine, (await stat(input.source)).size);
      return { ...await deps.external(context), stack: {} };
    }
    const engine = deps.engine.observed((name, ms, detail) => log.call(name, ms, detail));
    if (plan.builder === 'image') return { ...await takeImage(engine, deps.config.instance, context), stack: {} };
    const tag = `${deps.config.instance}/${input.name}:${context.deploy}`;
    const path = contextPath(plan.dockerfilePath ?? GENERATED);
    const own = `${path}.dockerignore`;
    const root = plan.context === undefined ? '' : `${contextPath(plan.context)}/`;
    const ignores = `${root}.dockerignore`;
    // as the builder finds it: below the context, or put there
    const inside = path.startsWith(root) ? path.slice(root.length) : GENERATED;
    const scan = await scanSource(input.source, [path, ignores, own, SLUGIGNORE], signal);
    // a stack that was made anew makes another image
    const stands = await standsOn(engine, deps.stackImages?.(plan) ?? []);
    const stack = Object.entries(stands).map(([image, version]) => `${image} ${version}`);
    const more = context.added?.buildArgs ?? {};
    const source = createHash('sha256').update(JSON.stringify([scan.digest, plan, input.configVersion, ...(stack.length > 0 ? [stack] : []), ...(Object.keys(more).length > 0 ? [deps.mark(JSON.stringify(more))] : [])])).digest('hex');

    // what third-party buildpacks said of its processes is in no image
    const left = third ? null : await earlier(engine, tag, context.job, source);
    const values = plan.buildArgs.length + (plan.secrets ?? []).length > 0 ? await deps.env(input.app, input.configVersion) : {};
    const args = { ...more, ...pick(values, plan.buildArgs) };
    if (left) {
      log.detail(`Reusing the image of an earlier attempt (${size(left.bytes)})`);
      return output(tag, await withoutArgs(engine, left, tag, args, context), context, stands);
    }
    const same = third || input.fresh ? null : await unchanged(engine, deps.config.instance, input.app, source);
    if (same) {
      await engine.tagImage(same.id, tag);
      log.detail(`Nothing was built: source, plan and config are those of deploy ${readLabels(same.labels).deploy}, its image is used again`);
      return output(tag, same, context, stands);
    }
    await checkSpace(engine, scan.bytes);

    const ca = await hostCa(deps.config.buildCa);
    const before = third ? await deps.classic!.before(context) : null;
    let dockerfile = before?.dockerfile ?? plan.dockerfile ?? scan.texts.get(path);
    if (dockerfile === undefined) throw new StepFailure('build.dockerfile', `there is no ${path} in the source`, 'commit it, or set the path of your Dockerfile with builder:set <app> dockerfile-path <path>');
    // what is not ours, the repository's or a plugin's
    const refused = plan.dockerfile === null || (plan.builder === 'buildpack' && plan.buildpack !== null && isForeign(plan.buildpack)) ? refusedIn(dockerfile) : null;
    if (refused) throw new StepFailure('build.dockerfile', `the Dockerfile cannot be used: line ${refused.line}: ${refused.what}`, refused.hint);
    const plain = withoutSyntax(dockerfile);
    if (plain && !(await engine.canPull(plain.image))) {
      log.detail(`Leaving out "# syntax=${plain.image}": no registry can be reached, the engine's own syntax is used`);
      dockerfile = plain.text;
    }
    const caches = input.caches === undefined ? input.app : `${input.app}.${input.caches}`;
    dockerfile = withOwnCaches(dockerfile, caches, `${deps.config.instance}/${input.app}`);
    const ours = plan.dockerfile !== null;
    if (ours) dockerfile = withConfig(dockerfile, Object.keys(args), deps.mark(JSON.stringify(args)));
    if (ca !== null) dockerfile = withHostCa(dockerfile);
    // the app's ignore rules are written for its own Dockerfile: under a generated one they would take files that it needs
    const ignore = plan.builder === 'dockerfile' ? (scan.texts.get(own) ?? scan.texts.get(ignores) ?? null) : null;
    const leave = plan.builder === 'dockerfile' ? null : slugignore(scan.texts.get(SLUGIGNORE));
    const start = dockerfile.includes(START_FILE) ? [[START_FILE, START] as const] : [];
    const packed = before === null ? packContext(input.source, { ignore, leave, put: new Map([...Object.entries(plan.files ?? {}), [inside, dockerfile], ...start]), ...(plan.context !== undefined && { root: plan.context }) }) : await before.context({ ...plan.files, [path]: dockerfile });

    const room = watchRoom(engine);
    const words = new LastWords();
    const secret = plan.secrets ?? [];
    for (const name of secret) if (!Object.hasOwn(values, name)) log.warn(`build-secrets names ${name}, which is not set: berth config:set ${input.name} ${name}=…`);
    const hidden = hiding([...Object.values(pick(values, secret)), ...Object.values(args).filter((value) => !PLAIN.test(value))]);
    const started = performance.now();
    const image = await engine.build(packed, {
      dockerfile: before === null ? inside : path, tag, signal, limits: input.limits, ...(plan.target !== undefined && { target: plan.target }), ...(plan.platform !== undefined && { platform: plan.platform }),
      labels: { instance: deps.config.instance, app: input.app, deploy: context.deploy, attempt: context.attempt, job: context.job, source },
      buildArgs: { ...deps.config.buildProxy, ...(ours ? {} : args) },
      secrets: { ...pick(values, secret), ...(ours && Object.keys(args).length > 0 && { [CONFIG_SECRET]: shellExports(args) }), ...ca },
      onLine: (line) => {
        if (NO_SPACE.test(line)) room.look();
        if (ours) words.hear(hidden(line));
        log.output(hidden(asWritten(line)));
      },
      onNote: (text) => log.warn(text),
    }).catch(async (error: unknown) => { throw words.explain(await room.explain(error)); }).finally(async () => { room.stop(); await before?.dispose(); });
    const took = ((performance.now() - started) / 1000).toFixed(1);
    log.detail(`Built image ${size(image.bytes)} in ${took} s${image.steps > 0 ? ` (${image.cached} of ${image.steps} steps from cache)` : ''}`);
    const told = ours ? image : await withoutArgs(engine, image, tag, args, context);
    return { ...output(tag, told, context, stands), ...(before === null ? {} : { processTypes: before.processTypes, releaseCommand: before.releaseCommand }) };
  };
}

/** words like `production` and `20.11`, which a log may show */
const PLAIN = /^(?:[a-z]+|[\d.]+)$/;

/**
 * The image without the values of build arguments in its history, where the engine writes them. Its ENV and LABEL lines
 * are the app's own, and so are its files.
 */
async function withoutArgs(engine: EnginePort, image: Image, tag: string, args: Readonly<Record<string, string>>, { log }: StepContext<'build'>): Promise<Image> {
  const names = Object.keys(args);
  if (names.length === 0) return image;
  const hidden = hiding(Object.values(args).filter((value) => !PLAIN.test(value)));
  const made = await engine.rewriteHistory(image.id, tag, (line) => hidden(names.reduce((text, name) => text.replaceAll(` ${name}=${args[name]} `, ` ${name}=*** `), line)));
  if (made === null) {
    log.warn(`build-args (${names.join(', ')}) can be read in the image's history, which this engine does not let us mend: for secrets there is build-secrets`);
    return image;
  }
  const written = names.filter((name) => !PLAIN.test(args[name]!) && args[name]!.length >= 5 && made.config.includes(JSON.stringify(args[name]).slice(1, -1)));
  if (written.length > 0) log.warn(`the Dockerfile writes ${written.join(', ')} into the image (ENV, LABEL, CMD): for secrets there is build-secrets`);
  return made.image;
}

/** Takes values out of a line: a build may print what it should not. Shorter ones would take away half of every line. */
function hiding(values: readonly string[]): (line: string) => string {
  const shown = values.flatMap((value) => value.split(/\r?\n/)).filter((part) => part.length >= 5);
  return (line) => shown.reduce((text, part) => text.replaceAll(part, '***'), line);
}

/** The image that this very job made from this very source before its outcome could be recorded. */
async function earlier(engine: EnginePort, tag: string, job: string, source: string): Promise<Image | null> {
  const found = await engine.inspectImage(tag);
  const mark = readLabels(found?.labels);
  return found && mark.job === job && mark.source === source ? found : null;
}

/** The newest image of the app that was made from exactly this. One without a name may be swept away meanwhile: a second name is what saves it. */
async function unchanged(engine: EnginePort, instance: string, app: string, source: string): Promise<Image | null> {
  const [newest] = (await engine.listImages({ instance, app, source })).filter((image) => image.tags.length > 0).toSorted((a, b) => b.created - a.created);
  return newest === undefined ? null : engine.inspectImage(newest.id);
}

/** What a build is about to stand on, as it is now: read before it begins, so that a stack that is made anew meanwhile is not taken for the one it used. */
async function standsOn(engine: EnginePort, images: readonly string[]): Promise<StandsOn> {
  const found = await Promise.all(images.map(async (image) => [image, await engine.inspectImage(image)] as const));
  return Object.fromEntries(found.flatMap(([image, is]) => (is === null ? [] : [[image, versionOf(image, is)]])));
}

function output(tag: string, image: Image, { input }: StepContext<'build'>, stack: StandsOn): BuildOutput {
  return { stack, image: tag, imageId: image.id, bytes: image.bytes, exposed: image.exposed, processTypes: input.plan.processTypes, releaseCommand: input.plan.releaseCommand };
}

function pick(values: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (Object.hasOwn(values, name) ? [[name, values[name] as string]] : [])));
}

const NO_SPACE = /no space left on device/i;
/** bytes below which a program that found no space found it on this disk, and not in a small file system of its own */
const RUN_OUT = 256 * 1024 ** 2;

/**
 * Looks at the engine's disk during a build: a program that fails for want of space has failed by the machine's fault, and when its
 * step is over what it wrote is gone again.
 */
function watchRoom(engine: EnginePort): { look(): void; explain(error: unknown): Promise<unknown>; stop(): void } {
  let least = { path: '', free: Number.POSITIVE_INFINITY };
  let looking: Promise<void> = Promise.resolve();
  const look = (): void => {
    // an engine that is away is the build's own error
    looking = looking.then(() => engine.space()).then((now) => { if (now.free < least.free) least = now; }, () => undefined);
  };
  const timer = setInterval(look, 1000);
  return {
    look,
    stop: () => clearInterval(timer),
    explain: async (error) => {
      await looking;
      if (!(error instanceof StepFailure) || error.code !== 'build.failed' || least.free > RUN_OUT) return error;
      return new StepFailure('build.disk-full', `the disk filled up while building, ${binarySize(least.free)} were left on ${least.path}: ${error.message}`, 'make room on the server: see berth doctor', 'machine', { cause: error });
    },
  };
}

async function checkSpace(engine: EnginePort, source: number): Promise<void> {
  const needed = Math.max(BUILD_ROOM, 2 * source);
  const { path, free } = await engine.space();
  if (free < needed) {
    throw new StepFailure('build.disk-full', `there is not enough room to build: ${binarySize(free)} free on ${path}, ${binarySize(needed)} needed`, 'remove old images (docker image prune, docker builder prune) or give the disk more room', 'machine');
  }
}
