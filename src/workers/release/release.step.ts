import type { Config } from '../../config.js';
import { reasonOf, statusOf } from '../../drivers/engine/engine.errors.js';
import type { ContainerSpec, EnginePort, Image } from '../../drivers/engine/engine.port.js';
import { labels, readLabels } from '../../drivers/engine/labels.js';
import type { VolumePort } from '../../drivers/engine/volume.port.js';
import { binarySize } from '../../drivers/engine/units.js';
import type { LiveContainer, ReleaseInput } from '../../events/types/deploy.events.js';
import type { Additions } from '../../events/types/plugin.events.js';
import { type StepContext, StepFailure, type StepLog, type StepWork } from '../../events/step.js';
import { serviceNetwork } from '../../modules/services/service-names.js';
import { volumeName } from '../../modules/storage/storage.decider.js';
import { type HttpProbe, httpProbe } from './check.js';
import { shellCommand } from './command.js';
import { type Started, watchUntilLive } from './live.js';

export type ReadEnv = (app: string, configVersion: number) => Promise<Readonly<Record<string, string>>> | Readonly<Record<string, string>>;

export interface ReleaseDeps {
  readonly engine: EnginePort;
  readonly config: Pick<Config, 'instance' | 'networkPool'>;
  readonly env: ReadEnv;
  readonly volumes: Pick<VolumePort, 'ensure' | 'isEmpty' | 'own'>;
  readonly http?: HttpProbe;
}

/** containers started at the same time: half of a start is network set-up */
const PARALLEL = 4;
const PIDS = 4096;

type Context = StepContext<'release'>;

/** Runs the release command, starts the formation's containers and answers when all of them are well. */
export function releaseStep(deps: ReleaseDeps): StepWork<'release'> {
  return async (context) => {
    const { input, log, signal, job, attempt } = context;
    const engine = deps.engine.observed((name, ms, detail) => log.call(name, ms, detail));
    const { instance } = deps.config;
    // of earlier attempts only: this one may have stood still while a later one started what serves now
    for (const left of await engine.listContainers({ instance, job })) if (Number(readLabels(left.labels).attempt) < attempt) await engine.removeContainer(left.id);

    const image = await engine.inspectImage(input.imageId);
    if (!image) throw new StepFailure('release.no-image', `the image ${input.image} (${input.imageId.slice(7, 19)}) is not on this machine any more`, 'build it again: ps:rebuild, or push');
    const network = await engine.ensureNetwork({ name: networkName(instance, input.app), labels: { instance, app: input.app }, pool: deps.config.networkPool });
    const networks = await Promise.all((input.services ?? []).map((service) => serviceNetworkOf(engine, deps.config, service)));
    const added = context.added ?? {};
    const theirs = await thoseThere(engine, added.networks ?? [], log);
    const env = { ...added.env, ...(await deps.env(input.app, input.configVersion)) };
    const port = input.listen ?? chosenPort(image, input.port);
    const mounts = await mounted(deps, input, image, log, added.mounts ?? []);
    const make = (type: string, index: number, cmd: readonly string[] | null): ContainerSpec => ({
      name: `${input.name}.${type}.${index}.d${context.deploy}a${attempt}`, image: input.imageId, cmd, network: network.id, networks: [...networks, ...theirs],
      env: { ...env, PORT: String(port), DYNO: `${type}.${index}`, BERTH_APP: input.name, BERTH_RELEASE: `v${input.number}`, ...(input.sha ? { GIT_REV: input.sha } : {}) },
      labels: { instance, app: input.app, deploy: context.deploy, attempt, job, type, index, release: input.number }, ...(added.labels && { more: added.labels }),
      volumes: image.volumes.filter((path) => !mounts.some((mount) => mount.path === path)), mounts, memory: input.limits.memory, cpus: input.limits.cpus, pids: PIDS,
      // until they are well: a crash shall be seen, not hidden by a restart
      restart: 'no',
    });

    try {
      const releaseCommandExit = input.runReleaseCommand && input.releaseCommand ? await releaseCommand(engine, make('release', 1, shellCommand(input.releaseCommand)), context) : null;
      const keep = await stillRunning(engine, input, log);
      const started = await startAll(engine, missing(input.formation, keep), make, input, port, signal);
      await watchUntilLive(started, { engine, check: { ...input.check, ...added.checks }, http: deps.http ?? httpProbe, host: input.hosts[0] ?? 'localhost', log, signal });
      // the engine brings a crashed one back ten times, ever more slowly; after that, and after a reboot, the reconciler does
      await inParallel(started, (container) => engine.setRestart(container.id, 'on-failure'));
      signal.throwIfAborted();
      const live = started.map(({ id, name, type, index, ip }) => ({ id, name, type, index, ip, port }));
      return { number: input.number, formation: input.formation, containers: [...keep, ...live].toSorted(byPlace), releaseCommandExit };
    } catch (error) {
      await removeAttempt(engine, instance, context);
      throw error;
    }
  };
}

/** The app's volumes, made where they are not there yet; an empty one belongs to whom the image runs as, or its processes could not write into it. */
async function mounted({ volumes, config }: ReleaseDeps, input: ReleaseInput, image: Image, log: StepLog, added: NonNullable<Additions['mounts']>): Promise<{ name: string; path: string }[]> {
  const user = image.user ?? '';
  const [, uid, gid = uid] = /^(\d+)(?::(\d+))?$/.exec(user) ?? [];
  const own = input.mounts ?? [];
  // the app's own word counts; a plugin's volumes go with the app
  const theirs = added.filter(({ path }) => !own.some((mount) => mount.path === path));
  return Promise.all([...own.map((mount) => ({ ...mount, storage: mount.name, generation: mount.generation })), ...theirs.map((mount) => ({ ...mount, storage: undefined, generation: undefined }))].map(async ({ name, path, storage, generation }) => {
    const volume = volumeName(config.instance, input.app, name, generation);
    const made = await volumes.ensure(volume, labels({ instance: config.instance, app: input.app, ...(storage !== undefined && { storage }) }));
    if (made) log.detail(`Made the volume ${volume} for ${path}`);
    if (uid !== undefined && uid !== '0') {
      if (made || (await volumes.isEmpty(volume))) await volumes.own(volume, Number(uid), Number(gid));
    } else if (made && user !== '' && user !== 'root' && uid === undefined) log.warn(`The image runs as ${user}: where it has nothing at ${path}, the volume is root's`);
    return { name: volume, path };
  }));
}

/** Made here when its service has not got it yet: whoever comes first makes it. */
async function serviceNetworkOf(engine: EnginePort, { instance, networkPool }: ReleaseDeps['config'], service: string): Promise<string> {
  return (await engine.ensureNetwork({ name: serviceNetwork(instance, service), labels: { instance, service }, pool: networkPool })).id;
}

/** Networks that plugins named, as far as there are any: one that is wrong about it stops no deploy. */
async function thoseThere(engine: EnginePort, names: readonly string[], log: StepLog): Promise<readonly string[]> {
  if (names.length === 0) return names;
  const known = new Set((await engine.listNetworks({})).map(({ name }) => name));
  return names.filter((name) => {
    if (!known.has(name)) log.warn(`A plugin adds the network ${name}, which is not there: it is left out`);
    return known.has(name);
  });
}

/** By the app's id: it stays when the app is renamed. */
export function networkName(instance: string, app: string): string {
  return `${instance}-${app}`;
}

/** What the image exposes, unless it exposes the port that we would choose anyway. */
function chosenPort(image: Image, fallback: number): number {
  return image.exposed.includes(fallback) ? fallback : (image.exposed[0] ?? fallback);
}

function byPlace(a: LiveContainer, b: LiveContainer): number {
  return a.type === b.type ? a.index - b.index : a.type < b.type ? -1 : 1;
}

/** Of the containers that may stay, those that do run, with the address that they have now. */
async function stillRunning(engine: EnginePort, input: ReleaseInput, log: StepLog): Promise<LiveContainer[]> {
  const found = await Promise.all(input.keep.map(async (container) => ({ container, state: await engine.inspectContainer(container.id) })));
  return found.flatMap(({ container, state }) => {
    if (state?.running && !state.restarting && state.ip !== null) return [{ ...container, ip: state.ip }];
    log.detail(`${container.type}.${container.index} ${state === null ? 'is gone' : 'does not run'}: it is started anew`);
    return [];
  });
}

/** Places of the formation that no kept container has. */
function missing(formation: ReleaseInput['formation'], keep: readonly LiveContainer[]): { readonly type: string; readonly index: number }[] {
  const kept = new Set(keep.map(({ type, index }) => `${type}.${index}`));
  return Object.entries(formation).flatMap(([type, count]) => Array.from({ length: count }, (_, at) => ({ type, index: at + 1 }))).filter(({ type, index }) => !kept.has(`${type}.${index}`));
}

async function releaseCommand(engine: EnginePort, spec: ContainerSpec, { input, log, signal }: Context): Promise<number> {
  log.info(`Running the release command: ${input.releaseCommand}`);
  log.section(`Start of ${input.name} release task output`);
  let result;
  try {
    result = await engine.runContainer(spec, (line) => log.output(line, true), signal);
  } catch (error) {
    throw cannotStart(error, 'the release command');
  } finally {
    log.section(`End of ${input.name} release task output`);
  }
  if (result.exitCode !== 0) {
    const why = result.oomKilled ? `ran out of memory (limit ${binarySize(spec.memory)})` : `ended with exit code ${result.exitCode}`;
    throw new StepFailure('release.command-failed', `the release command ${why}: ${input.releaseCommand}`, 'the running release was not touched; mend the command and push again');
  }
  return result.exitCode;
}

async function startAll(engine: EnginePort, places: readonly { type: string; index: number }[], make: (type: string, index: number, cmd: readonly string[] | null) => ContainerSpec, input: ReleaseInput, port: number, signal: AbortSignal): Promise<Started[]> {
  return inParallel(places, async ({ type, index }) => {
    signal.throwIfAborted();
    if (!Object.hasOwn(input.processTypes, type)) {
      throw new StepFailure('release.no-process-type', `the app has no process type ${type}`, `it has ${Object.keys(input.processTypes).join(', ') || 'none'}: mend the Procfile, or ps:scale ${type}=0`);
    }
    const command = input.processTypes[type] ?? null;
    const spec = make(type, index, command === null ? null : shellCommand(command));
    const place = `${type}.${index}`;
    try {
      const { id, name } = await createFree(engine, spec);
      await engine.startContainer(id);
      const state = await engine.inspectContainer(id);
      return { id, name, type, index, place, ip: state?.ip ?? '', port, memory: spec.memory };
    } catch (error) {
      throw cannotStart(error, place);
    }
  });
}

/** A name that a container of another job holds (a retried deploy) is left to it. */
async function createFree(engine: EnginePort, spec: ContainerSpec): Promise<{ id: string; name: string }> {
  for (let again = 0; ; again += 1) {
    const name = again === 0 ? spec.name : `${spec.name}r${again}`;
    try {
      return { id: await engine.createContainer({ ...spec, name }), name };
    } catch (error) {
      if (statusOf(error) !== 409 || again >= 20) throw error;
    }
  }
}

/** The engine refuses to start what the image cannot run: the app's fault. The rest is ours. */
function cannotStart(error: unknown, place: string): unknown {
  const reason = reasonOf(error);
  if (statusOf(error) === null || !/exec|no such file|permission denied|no command specified|unable to find user|OCI runtime/i.test(reason)) return error;
  const shell = /"\/bin\/sh"/.test(reason);
  const short = /exec: (.*?)(?:: unknown)?$/.exec(reason)?.[1] ?? reason;
  return new StepFailure('release.cannot-start', `${place} cannot be started: ${short}`, shell ? 'the image has no /bin/sh, which a Procfile needs: use the image\'s CMD, or a base image with a shell' : 'look at CMD, ENTRYPOINT and USER of the image', 'user', { cause: error });
}

async function removeAttempt(engine: EnginePort, instance: string, { job, attempt, log }: Context): Promise<void> {
  try {
    const made = await engine.listContainers({ instance, job, attempt });
    await inParallel(made, (container) => engine.removeContainer(container.id));
  } catch (error) {
    // the next attempt removes them, and the failure that brought us here matters more
    warnLeft(log, error);
  }
}

function warnLeft(log: StepLog, error: unknown): void {
  log.warn(`The containers of this attempt could not be removed: ${reasonOf(error)}`);
}

/** At most PARALLEL at a time; waits for all that began, then throws the first error. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const errors: unknown[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, async () => {
    while (next < items.length && errors.length === 0) {
      const at = next++;
      try {
        results[at] = await work(items[at] as T);
      } catch (error) {
        errors.push(error);
      }
    }
  }));
  if (errors.length > 0) throw errors[0];
  return results;
}
