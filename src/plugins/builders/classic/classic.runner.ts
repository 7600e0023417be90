import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import type { EnginePort } from '../../../drivers/engine/engine.port.js';
import type { BuildOutput, BuildPlan, ClassicPlan, ProcessTypes } from '../../../events/types/deploy.events.js';
import { StepFailure, type StepContext } from '../../../events/step.js';
import type { Stack } from '../builder.port.js';
import { foreignStack } from '../foreign-stack.js';
import { parseProcfile } from '../procfile.js';
import type { BuildCa, BuildpackFetcher, FetchedBuildpack, Sandbox } from './classic.port.js';
import { composed, exported } from './compose.js';
import { BoundedOutput, masker } from './output.js';
import { parseReference, shown, SOURCES } from './reference.js';
import { parseRelease, type ReleaseInfo } from './release.js';
import { EXIT, PATHS, SCRIPT } from './script.js';
import { fileAsTar, inFront, slugDockerfile, smallFiles, tarOf, type TarFile } from './slug.js';
import { START, START_FILE } from './start.js';

export interface ClassicDeps {
  readonly engine: EnginePort;
  readonly sandbox: Sandbox;
  readonly fetcher: BuildpackFetcher;
  readonly stack: Stack;
  /** `config.instance` */
  readonly instance: string;
  /** the app's config of one version in the clear: becomes the files of ENV_DIR, never the container's environment */
  readonly env: (app: string, configVersion: number) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;
  readonly ca: () => Promise<BuildCa | null>;
  readonly proxy: Readonly<Record<string, string>>;
}

/** What the buildpacks of a mixed list made, for the one of ours that makes the image. */
export interface Before {
  readonly dockerfile: string;
  readonly processTypes: ProcessTypes;
  readonly releaseCommand: string | null;
  /** the tree that they left as a build context, with files in front of it; at most once */
  context(files: Readonly<Record<string, string>>): Promise<Readable>;
  dispose(): Promise<void>;
}

export interface ClassicBuilds {
  /** The image of a list without one of ours. */
  build(context: StepContext<'build'>): Promise<BuildOutput>;
  /** Runs the buildpacks in front of (and, as far as their place decides, behind) one of ours. */
  before(context: StepContext<'build'>): Promise<Before>;
}

interface Ran { readonly id: string; readonly files: ReadonlyMap<string, Buffer>; readonly releases: readonly (ReleaseInfo | null)[]; readonly mask: (line: string) => string }

/** Name of the volume in which an app's buildpacks keep what they want to find again; another one after `repo:purge-cache`. */
export const cacheVolume = (instance: string, app: string, generation?: string): string => `${instance}-buildpack-cache-${app}${generation === undefined ? '' : `.${generation}`}`;

/** What was recorded before plans had lists names one buildpack. */
const classicOf = (plan: BuildPlan): ClassicPlan => plan.classic ?? { buildpacks: [plan.buildpack ?? ''], ownAt: null, strict: true, stack: null, procfile: Object.keys(plan.processTypes).length > 0 ? 'source' : 'none' };

/**
 * Builds with third-party buildpacks of the classic API (`bin/detect`, `bin/compile`, `bin/release`), one after the other in one
 * container of the stack's build image; the image is made from the slug alone.
 * Throws StepFailure: `build.buildpack` (one can't be had, refuses the app, is none), `build.failed` (compile, release),
 * `build.out-of-memory`, `build.timeout`, `build.no-process`, and what the engine throws; an abort throws the signal's reason.
 */
export function classicBuilds(deps: ClassicDeps): ClassicBuilds {
  const { sandbox } = deps;
  const engineFor = ({ log }: StepContext<'build'>): EnginePort => deps.engine.observed((name, ms, detail) => log.call(name, ms, detail));
  const remove = (engine: EnginePort, { log }: StepContext<'build'>, id: string): Promise<void> =>
    engine.removeContainer(id).catch((error: unknown) => log.warn(`the build container stays until the next deploy: ${(error as Error).message}`));

  return {
    async build(context) {
      const engine = engineFor(context);
      const stack = stackFor(deps, context);
      const ran = await run(deps, engine, context);
      try {
        const { input, log, signal } = context;
        const { processTypes, releaseCommand } = processes(input.plan, ran);
        const slug = await sandbox.get(ran.id, PATHS.build);
        if (slug === null) throw new StepFailure('build.failed', 'the buildpack removed the app', 'this is the buildpack\'s fault');
        const tag = `${deps.instance}/${input.name}:${context.deploy}`;
        const files = { Dockerfile: { text: slugDockerfile(stack, processTypes['web'] ?? null), mode: 0o644 }, start: { text: START, mode: 0o755 } };
        const made = await engine.build(inFront(files, slug), {
          dockerfile: 'Dockerfile', tag, labels: { instance: deps.instance, app: input.app, deploy: context.deploy, attempt: context.attempt, job: context.job },
          buildArgs: {}, secrets: {}, signal, limits: input.limits, onLine: (line) => log.output(line), onNote: (text) => log.warn(text),
        });
        log.detail(`Process types: ${[...Object.keys(processTypes), ...(releaseCommand === null ? [] : ['release'])].join(', ')}`);
        return { image: tag, imageId: made.id, bytes: made.bytes, exposed: made.exposed, processTypes, releaseCommand };
      } finally { await remove(engine, context, ran.id); }
    },

    async before(context) {
      const engine = engineFor(context);
      const stack = stackFor(deps, context);
      const ran = await run(deps, engine, context);
      try {
        const { log, input } = context;
        const text = (name: string): string => ran.files.get(name)?.toString('utf8') ?? '';
        const { env, left } = exported(text('env.before'), text('env.after'), stack.user.home, (value) => ran.mask(value) !== value);
        if (left.length > 0) log.warn(`${left.join(', ')} can't be handed on to our own buildpack: secret, too long, or of several lines`);
        const added = (ran.files.get('added')?.toString('latin1') ?? '').split('\0').filter((path) => path !== '');
        if (added.length > 0) log.detail(`Added by the buildpacks: ${added.slice(0, 10).map((path) => JSON.stringify(path).slice(1, -1)).join(', ')}${added.length > 10 ? ` and ${added.length - 10} more` : ''}`);
        return {
          ...processes(input.plan, ran),
          dockerfile: composed(input.plan.dockerfile ?? '', { added, env }, stack.user.home, `${stack.user.uid}:${stack.user.uid}`),
          context: async (files) => {
            const tree = await sandbox.get(ran.id, `${PATHS.build}/.`);
            if (tree === null) throw new StepFailure('build.failed', 'the buildpacks removed the app', 'this is their fault');
            return inFront(Object.fromEntries(Object.entries({ ...files, [START_FILE]: START }).map(([name, content]): [string, TarFile] => [name, { text: content, mode: 0o644 }])), tree);
          },
          dispose: () => remove(engine, context, ran.id),
        };
      } catch (error) {
        await remove(engine, context, ran.id);
        throw error;
      }
    },
  };
}

const stackEnv = (stack: string | null): Record<string, string> => (stack === null ? {} : { STACK: stack });
const stackFor = ({ stack }: ClassicDeps, { input: { plan } }: StepContext<'build'>): Stack => (plan.stack === undefined ? stack : foreignStack(plan.stack, stack));

/** Fetches the buildpacks and runs them; the container has ended well and is still there. */
async function run(deps: ClassicDeps, engine: EnginePort, context: StepContext<'build'>): Promise<Ran> {
  const { input, log, signal } = context;
  const { sandbox } = deps;
  const stack = stackFor(deps, context);
  const plan = classicOf(input.plan);
  const packs: FetchedBuildpack[] = [];
  for (const text of plan.buildpacks) packs.push(await fetch(deps.fetcher, text, context));

  const marks = { instance: deps.instance, app: input.app, deploy: context.deploy, type: 'buildpack' };
  for (const old of await engine.listContainers({ ...marks })) await engine.removeContainer(old.id);
  const [env, ca] = await Promise.all([deps.env(input.app, input.configVersion), deps.ca()]);
  const mask = masker(Object.values(env));
  const proxy = Object.fromEntries(Object.entries(deps.proxy).flatMap(([name, value]) => [[name.toUpperCase(), value], [name.toLowerCase(), value]]));
  const id = await sandbox.create({
    name: `${deps.instance}.${input.name}.build.d${context.deploy}a${context.attempt}`, image: stack.build, cmd: ['/bin/bash', PATHS.script, String(packs.length), plan.strict ? 'strict' : 'lenient'],
    env: { HOME: stack.user.home, ...stackEnv(plan.stack ?? stack.name), REQUEST_ID: context.job, ...(input.sha === undefined ? {} : { SOURCE_VERSION: input.sha }), ...proxy, ...ca?.env },
    labels: { ...marks, attempt: context.attempt, job: context.job },
    memory: input.limits.memory, cpus: input.limits.cpus,
    cache: { volume: cacheVolume(deps.instance, input.app, input.caches), path: PATHS.cache },
  });
  try {
    await sandbox.put(id, '/', skeleton(ca?.files ?? {}, env));
    // unpacked inside: the engine refuses links that it thinks lead out, and nobody's names pass through our hands
    const put = async (name: string, file: string): Promise<void> => sandbox.put(id, PATHS.work, fileAsTar(name, (await stat(file)).size, createReadStream(file)));
    for (const [at, pack] of packs.entries()) await put(`buildpack.${at + 1}.tar`, pack.file);
    await put('source.tar', input.source);
    const output = new BoundedOutput((line) => log.output(line, true), mask);
    const code = await toItsEnd(engine, id, context, output).finally(() => output.close());
    const told = await sandbox.get(id, PATHS.out);
    const files = told === null ? new Map<string, Buffer>() : await smallFiles(told, (name) => /^(?:failure|Procfile|added|env\.(?:before|after)|release\.\d{1,2})$/.test(name));
    if (code !== 0) throw await failure(engine, id, context, code, files.get('failure')?.toString('utf8').split('\n') ?? [], plan, output.last);
    signal.throwIfAborted();
    return { id, files, mask, releases: packs.map((_, at) => release(files.get(`release.${at + 1}`)?.toString('utf8'), shown(plan.buildpacks[at]!), log)) };
  } catch (error) {
    await engine.removeContainer(id).catch((gone: unknown) => log.warn(`the build container stays until the next deploy: ${(gone as Error).message}`));
    throw error;
  }
}

async function fetch(fetcher: BuildpackFetcher, text: string, { log, signal }: StepContext<'build'>): Promise<FetchedBuildpack> {
  // who named it was judged when the plan was made
  const reference = parseReference(text, SOURCES.settings);
  if (reference.kind === 'own') throw new StepFailure('build.buildpack', `${text} is one of our own buildpacks`, 'deploy again: the plan is of an older version');
  const started = performance.now();
  const pack = await fetcher.fetch(reference, signal);
  const id = pack.id.replace(/^sha256-/, '').slice(0, 12);
  log.call('buildpack.fetch', performance.now() - started, `${shown(text)} ${pack.id}`);
  log.info(`Buildpack ${shown(text)} at ${id}${pack.cached ? ' (cached)' : ''}`);
  if (!pack.fresh) log.warn('Where it comes from could not be reached: the last known state is used');
  return pack;
}

/** Folders and files that must be there before the container starts. */
function skeleton(files: Readonly<Record<string, Buffer>>, env: Readonly<Record<string, string>>): Readable {
  const folders = ['tmp/build', 'tmp/buildpacks', 'tmp/env', 'tmp/out', 'tmp/berth', 'run/berth'];
  const named = Object.entries(env).filter(([name]) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  return tarOf({
    [PATHS.script.slice(1)]: { text: SCRIPT, mode: 0o755 },
    ...Object.fromEntries(named.map(([name, text]) => [`tmp/env/${name}`, { text, mode: 0o600 }])),
    ...Object.fromEntries(Object.entries(files).map(([name, text]) => [name, { text, mode: 0o644 }])),
  }, folders);
}

/** Runs the container to its end; its output is the deploy's. Answers the exit code. */
async function toItsEnd(engine: EnginePort, id: string, { input, signal }: StepContext<'build'>, output: BoundedOutput): Promise<number> {
  const late = new AbortController();
  const timer = input.limits.timeoutMs > 0 ? setTimeout(() => late.abort(), input.limits.timeoutMs) : undefined;
  const both = AbortSignal.any([signal, late.signal]);
  try {
    await engine.startContainer(id).catch((error: Error) => {
      if (input.plan.stack !== undefined && /\/bin\/bash/.test(error.message)) throw new StepFailure('build.stack', `the stack image ${input.plan.stack.build} has no /bin/bash, which buildpacks are run by`, `set another one: berth stack:set ${input.name} <build image> <run image>`);
      throw error;
    });
    const reading = (async () => { for await (const { text } of engine.logs(id, { follow: true, signal: both })) output.push(text); })();
    reading.catch(() => undefined);
    const code = await engine.waitContainer(id, both);
    await reading;
    return code;
  } catch (error) {
    if (late.signal.aborted && !signal.aborted) throw new StepFailure('build.timeout', `the buildpack did not end within ${Math.round(input.limits.timeoutMs / 1000)} s`, 'BERTH_BUILD_TIMEOUT is the limit, in seconds');
    throw error;
  } finally { clearTimeout(timer); }
}

/** `exit code 3`, `signal KILL (exit code 137)` */
function ended(code: number): string {
  const name = Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0];
  return name === undefined ? `exit code ${code}` : `signal ${name.slice(3)} (exit code ${code})`;
}

async function failure(engine: EnginePort, id: string, { input, signal }: StepContext<'build'>, code: number, [number = '', part = '', inner = '']: readonly string[], plan: ClassicPlan, last: string): Promise<Error> {
  signal.throwIfAborted();
  const state = await engine.inspectContainer(id);
  if (state?.oomKilled || code === 137) return new StepFailure('build.out-of-memory', `the buildpack ran out of memory${input.limits.memory ? ` (limit ${Math.round(input.limits.memory / 1024 ** 2)} MiB)` : ''}`, 'resource:limit <app> --build-memory <size> gives the app\'s builds more');
  const which = shown(plan.buildpacks[Number(number) - 1] ?? plan.buildpacks[0]!);
  const said = last === '' ? '' : `: ${last.slice(0, 200)}`;
  switch (code) {
    case EXIT.refused: return new StepFailure('build.buildpack', `the buildpack ${which} does not fit this app (bin/detect, ${ended(Number(inner))})${said}`, 'take it out of the list, or add what it looks for');
    case EXIT.shape: return new StepFailure('build.buildpack', `${which} is no buildpack of the classic API: bin/detect or bin/compile is missing`, 'correct its address');
    case EXIT.unpack: return new StepFailure('build.failed', `the source could not be unpacked${said}`, 'is the disk full?', 'machine');
    case EXIT.compile: case EXIT.release: return new StepFailure('build.failed', `${part} of the buildpack ${which} failed (${ended(Number(inner))})${said}`, 'its output above says why');
    default: return new StepFailure('build.failed', `the buildpack failed (${ended(code)})${said}`, 'its output above says why');
  }
}

function release(text: string | undefined, which: string, log: StepContext<'build'>['log']): ReleaseInfo | null {
  if (text === undefined || text.trim() === '') return null;
  try {
    const info = parseRelease(text);
    if (info.configVars.length > 0) log.detail(`bin/release of ${which} names config vars (${info.configVars.slice(0, 20).join(', ')}): they are not set, config:set does that`);
    return info;
  } catch (error) {
    throw new StepFailure('build.failed', `bin/release of the buildpack ${which} printed what is not YAML: ${(error as Error).message}`, 'this is the buildpack\'s fault', 'user', { cause: error });
  }
}

/** Defaults in the order of the list, later ones winning; a Procfile over them, the slug's (a buildpack may have written it) over the source's. */
function processes(plan: BuildPlan, { files, releases }: Ran): { readonly processTypes: ProcessTypes; readonly releaseCommand: string | null } {
  const { ownAt, procfile } = classicOf(plan);
  const own = ownAt ?? releases.length;
  const defaults = (some: readonly (ReleaseInfo | null)[]): Record<string, string> => Object.assign({}, ...some.map((info) => info?.processTypes ?? {})) as Record<string, string>;
  const text = procfile === 'setting' ? '' : files.get('Procfile')?.toString('utf8') ?? '';
  const written = text.trim() === '' ? null : parseProcfile(text);
  const [early, late] = [defaults(releases.slice(0, own)), defaults(releases.slice(own))];
  const processTypes = { ...(procfile === 'none' ? { ...early, ...plan.processTypes, ...late } : { ...early, ...late, ...plan.processTypes }), ...written?.processes };
  if (Object.keys(processTypes).length === 0) throw new StepFailure('build.no-process', 'neither a Procfile nor a buildpack says how to start this app', 'add a Procfile with the line "web: <command that listens on $PORT>"');
  return { processTypes, releaseCommand: written?.release ?? plan.releaseCommand ?? releases.findLast((info) => info?.release)?.release ?? null };
}
