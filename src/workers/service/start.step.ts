import { setTimeout as sleep } from 'node:timers/promises';
import { statusOf, reasonOf } from '../../drivers/engine/engine.errors.js';
import type { ContainerSpec, ContainerSummary, EnginePort } from '../../drivers/engine/engine.port.js';
import { labels, readLabels } from '../../drivers/engine/labels.js';
import { StepFailure, type OperationContext, type OperationWork } from '../../events/step.js';
import { parseSize } from '../../modules/apps/app-context.js';
import type { StartStepInput, StartStepOutput } from '../../modules/services/service.operations.js';
import { serviceNetwork, serviceVolume } from '../../modules/services/service-names.js';
import type { Config } from '../../config.js';
import { serverImage } from '../../plugins/services/types.js';
import type { ServiceAccess, ServiceType } from '../../plugins/services/service-type.js';
import { mustExec, observed, openSpec, runExec, type ServiceDeps } from './deps.js';

/** how long a server may take until it answers, ms: after a crash it first reads its log */
const READY_MS = 5 * 60_000;
const LOOK_MS = 100;
/** exits after which it is not waited for any longer: the engine starts it again each time */
const EXITS_MAX = 3;

type Context = OperationContext<StartStepInput>;

/** Starts a container on the service's data, in the place of one that is there, and answers when the server does. Where it does not, the old one is back. */
export function startStep(deps: ServiceDeps): OperationWork<StartStepInput, StartStepOutput> {
  return async (context) => {
    const { input, job, attempt, signal, log } = context;
    const { instance } = deps.config;
    const engine = observed(deps, context);
    const { type, access } = await openSpec(deps, input);
    const all = (await engine.listContainers({ instance, service: input.service })).filter(isServer);
    // of earlier attempts only: this one may have stood still while a later one started what serves now
    for (const left of all) if (left.labels['berth.job'] === job && Number(readLabels(left.labels).attempt) < attempt) await engine.removeContainer(left.id);
    const old = all.filter((c) => c.labels['berth.job'] !== job);
    const network = await engine.ensureNetwork({ name: serviceNetwork(instance, input.service), labels: { instance, service: input.service }, pool: deps.config.networkPool });
    const spec = containerOf(deps.config, context, type, access, network.name);
    for (const { name } of spec.mounts ?? []) await deps.volumes.ensure(name, labels({ instance, service: input.service }));

    for (const { id } of old) {
      log.detail(`Stopping ${input.type} ${input.name}`);
      await engine.stopContainer(id, type.stopSeconds);
    }
    let id = '';
    try {
      await unlessTaken(context);
      id = await engine.createContainer(spec);
      await engine.startContainer(id);
      await untilReady(engine, id, type, access, context);
      for (const exec of type.setup(access)) await mustExec(engine, id, exec, signal);
      const version = versionIn((await runExec(engine, id, type.tellVersion, signal)).stdout) ?? type.version;
      log.info(`${type.title} ${version} is ready`);
      const tidy = async (): Promise<void> => { for (const each of old) await engine.removeContainer(each.id); };
      const back = (): Promise<void> => bringBack(engine, id, old);
      if (context.after) context.after(tidy, back);
      else await tidy();
      return { id, name: spec.name, imageId: input.imageId, version };
    } catch (error) {
      if (old.length > 0) log.warn('The container before is started again');
      await bringBack(engine, id, old).catch((left: unknown) => log.warn(`What was before could not be brought back: ${reasonOf(left)}`));
      throw error;
    }
  };
}

const isServer = (container: ContainerSummary): boolean => readLabels(container.labels).type === 'service';

/** The container of a service. Pure. */
export function containerOf({ instance }: Pick<Config, 'instance'>, { input, job, attempt, operation }: Pick<Context, 'input' | 'job' | 'attempt' | 'operation'>, type: ServiceType, access: ServiceAccess, network: string): ContainerSpec {
  const image = serverImage(type, input.image.source);
  return {
    name: `${instance}.${input.type}.${input.name}.o${operation}a${attempt}`, image: input.imageId, cmd: image.command(access), env: image.env(access),
    labels: { instance, service: input.service, job, attempt, type: 'service', index: 1 }, network, aliases: [access.host, ...(type.hosts?.(access) ?? [])],
    memory: parseSize(input.settings['memory']), cpus: Number(input.settings['cpu'] ?? 0), pids: 0,
    // the engine brings it back after a crash and a reboot; what it does not, the reconciler does
    restart: 'unless-stopped', stopSeconds: type.stopSeconds, mounts: image.volume === null ? [] : [{ name: serviceVolume(instance, input.service), path: image.volume }],
  };
}

/** Whoever lost the work must not start a second server on the same data. */
async function unlessTaken({ holds, signal }: Context): Promise<void> {
  signal.throwIfAborted();
  const has = (await holds?.()) ?? 'mine';
  if (has !== 'mine') throw new StepFailure('service.taken', 'another worker has this step', null, 'machine');
}

/** Waits until the server answers. @throws StepFailure when it ends instead, or never does */
export async function untilReady(engine: EnginePort, id: string, type: ServiceType, access: ServiceAccess, { signal, log }: Pick<Context, 'signal' | 'log'>): Promise<void> {
  const until = performance.now() + READY_MS;
  let said = '';
  while (performance.now() < until) {
    signal.throwIfAborted();
    const state = await engine.inspectContainer(id);
    if (state === null) throw new StepFailure('service.container-gone', 'the container was removed while it started', null, 'machine');
    if (state.restartCount >= EXITS_MAX || (!state.running && !state.restarting && state.exitCode !== null)) {
      await showTail(engine, id, log);
      const why = state.oomKilled ? 'was killed: it used more memory than its limit' : state.error ?? `exited with code ${state.exitCode ?? '?'} again and again`;
      throw new StepFailure('service.exited', `the server ${why}`, state.oomKilled ? 'raise it: --memory' : 'its last lines are above');
    }
    if (state.running) {
      const answer = await runExec(engine, id, type.health(access), signal).catch((error: unknown) => {
        if (statusOf(error) === null) throw error;
        return { exitCode: 1, stderr: reasonOf(error), stdout: '' }; // it exits just now
      });
      if (answer.exitCode === 0) return;
      said = answer.stderr || answer.stdout;
    }
    await sleep(LOOK_MS, undefined, { signal });
  }
  await showTail(engine, id, log);
  throw new StepFailure('service.not-ready', `the server did not answer within ${READY_MS / 1000} s${said ? `: ${said}` : ''}`, 'its last lines are above');
}

async function showTail(engine: EnginePort, id: string, log: Context['log']): Promise<void> {
  try {
    for await (const line of engine.logs(id, { follow: false, tail: 20 })) log.output(line.text, true);
  } catch { /* the failure itself matters more */ }
}

async function bringBack(engine: EnginePort, id: string, old: readonly ContainerSummary[]): Promise<void> {
  if (id !== '') await engine.removeContainer(id);
  for (const each of old) await engine.startContainer(each.id).catch((error: unknown) => { if (statusOf(error) !== 404) throw error; });
}

/** The first thing in it that looks like a version. */
export const versionIn = (text: string): string | null => /\d+(?:\.\d+)+/.exec(text)?.[0] ?? null;
