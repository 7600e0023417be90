import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureServiceImage, serviceImageName } from '../../drivers/stack/service-image.js';
import type { EnginePort } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import { StepFailure, type OperationWork } from '../../events/step.js';
import type { CopyStepInput, DumpStepInput, DumpStepOutput, ExposeStepInput, ImageStepInput, ImageStepOutput, RemoveStepInput, RotateStepInput, StopStepInput } from '../../modules/services/service.operations.js';
import { serviceNetwork, serviceVolume } from '../../modules/services/service-names.js';
import { AMBASSADOR } from '../../plugins/services/ambassador.js';
import type { ServiceExec } from '../../plugins/services/service-type.js';
import { hostOf } from '../../plugins/services/types.js';
import { tcpProbe } from '../tcp-probe.js';
import { mustExec, observed, openSpec, printed, type ServiceDeps } from './deps.js';

/** longest that the way into a service takes to be there, ms */
const AMBASSADOR_MS = 15_000;

/** Waits until the ambassador takes connections: the engine's own end of a published port takes them before anybody is behind it. */
async function answering(engine: EnginePort, id: string, port: number, signal: AbortSignal): Promise<void> {
  for (const until = Date.now() + AMBASSADOR_MS; ;) {
    signal.throwIfAborted();
    const state = await engine.inspectContainer(id);
    try {
      if (!state?.running || state.ip === null) throw new Error(`its container ${state === null ? 'is gone' : `ended with ${state.exitCode}`}`);
      return await tcpProbe(state.ip, port, 1000);
    } catch (error) {
      if (Date.now() > until) throw new StepFailure('service.not-exposed', `nothing answers behind port ${port}: ${(error as Error).message}`, null, 'machine', { cause: error });
      await sleep(100);
    }
  }
}

/** The image is made of packages, or pulled. */
export function imageStep(deps: ServiceDeps): OperationWork<ImageStepInput, ImageStepOutput> {
  return async (context) => {
    const { input, log, signal, job } = context;
    const engine = observed(deps, context);
    const type = await deps.typeOf(input);
    const { source, reference } = input.image;
    if (source === 'packages') {
      if (type.packaged === null) throw new StepFailure('service.no-packages', `${type.title} is not among the distribution's packages`, `name an image: --image ${type.registry.reference}`);
      const imageId = await ensureServiceImage(engine, serviceImageName(type.type, type.version, type.packaged), type.packaged, { config: deps.config, log, signal, fresh: input.fresh ? job : null, ...(type.plugin !== undefined && { plugin: type.plugin }) });
      return { imageId };
    }
    if (input.fresh || (await engine.inspectImage(reference)) === null) {
      log.info(`Pulling ${reference}`);
      await engine.pullImage(reference, signal, (line) => log.output(line));
    }
    const image = await engine.inspectImage(reference);
    if (image === null) throw new StepFailure('image.gone', `the image ${reference} is gone right after it came`, 'something else removes images on this machine', 'machine');
    return { imageId: image.id };
  };
}

export function stopStep(deps: ServiceDeps): OperationWork<StopStepInput, null> {
  return async (context) => {
    const { input, log } = context;
    const engine = observed(deps, context);
    if (input.container === null) return null;
    log.info(input.paused ? 'Stopping its container' : 'Stopping and removing its container');
    await engine.stopContainer(input.container, (await deps.typeOf(input)).stopSeconds);
    if (!input.paused) await engine.removeContainer(input.container);
    return null;
  };
}

/** Another password in the place of the one before: of a type that cannot have two, or asked for by an earlier Berth. */
export function rotateStep(deps: ServiceDeps): OperationWork<RotateStepInput, null> {
  return async (context) => {
    const { input, signal, log } = context;
    const { type, access } = await openSpec(deps, input);
    const { access: before } = await openSpec(deps, { ...input, secrets: input.before });
    const programs = type.rotation?.how === 'beside' ? type.rotation.admit(access) : (type.rotation?.change(access, before) ?? []);
    for (const exec of programs) await mustExec(observed(deps, context), input.container, exec, signal);
    log.info(`${type.title} ${input.name} has another password`);
    return null;
  };
}

/** The last dump of a service, in a file that only root reads: written beside, and renamed when it is whole and on the disk. */
export function dumpStep(deps: ServiceDeps): OperationWork<DumpStepInput, DumpStepOutput> {
  return async (context) => {
    const { input, log, group, operation, signal } = context;
    const { type, access } = await openSpec(deps, input);
    if (!input.dump || type.dumps === null) {
      log.detail(input.dump ? `${type.title} has no dumps` : 'No last dump is taken');
      return { file: null };
    }
    const folder = join(deps.config.root, 'dumps');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = join(folder, `${input.type}-${input.name}-${group}.${operation}.${type.dumps.suffix}`);
    const part = `${file}.part`;
    try {
      const bytes = await dumpTo(observed(deps, context), input.container, part, type.dumps.out(access), signal);
      await rename(part, file);
      log.info(`Took a last dump: ${file} (${bytes} bytes)`);
      return { file };
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
  };
}

async function dumpTo(engine: EnginePort, container: string, file: string, exec: ServiceExec, signal: AbortSignal): Promise<number> {
  const out = await open(file, 'w', 0o600);
  try {
    let bytes = 0;
    for await (const piece of printed(engine, container, exec, signal)) {
      await out.appendFile(piece);
      bytes += piece.length;
    }
    await out.sync();
    return bytes;
  } finally {
    await out.close();
  }
}

/** Containers, network and data of the service. */
export function removeStep(deps: ServiceDeps): OperationWork<RemoveStepInput, null> {
  return async (context) => {
    const { input: { service }, log } = context;
    const { instance } = deps.config;
    const engine = observed(deps, context);
    for (const { id } of await engine.listContainers({ instance, service })) await engine.removeContainer(id);
    await engine.removeNetwork(serviceNetwork(instance, service));
    await deps.volumes.remove(serviceVolume(instance, service));
    log.info('Removed its containers, its network and its data');
    return null;
  };
}

/** What one service's dump says goes straight into the other. */
export function copyStep(deps: ServiceDeps): OperationWork<CopyStepInput, null> {
  return async (context) => {
    const { input, log } = context;
    const engine = observed(deps, context);
    const over = new AbortController();
    const signal = AbortSignal.any([context.signal, over.signal]);
    const { type, access } = await openSpec(deps, input);
    const from = await openSpec(deps, input.from);
    if (type.dumps === null) throw new StepFailure('service.no-dumps', `${type.title} has no data that could be copied`);
    log.info(`Copying the data of ${input.from.name}`);
    const dump = printed(engine, input.from.container, type.dumps.out(from.access), signal);
    const into = type.dumps.in(access);
    try {
      const { exitCode, stderr } = await engine.exec(input.container, into, { signal, stdin: dump });
      if (exitCode !== 0) throw new StepFailure('service.import', `${into.argv[0]} ended with ${exitCode}: ${stderr.trim()}`, null, 'machine');
    } finally {
      over.abort();
    }
    return null;
  };
}

/** The host's ports lead to the service through a small container beside it, so that the service itself goes on. */
export function exposeStep(deps: ServiceDeps): OperationWork<ExposeStepInput, null> {
  return async (context) => {
    const { input, job, attempt, log, signal, operation } = context;
    const { instance } = deps.config;
    const engine = observed(deps, context);
    for (const c of await engine.listContainers({ instance, service: input.service })) if (readLabels(c.labels).type === 'ambassador') await engine.removeContainer(c.id);
    if (input.ports.length === 0) return null;
    const image = await ensureServiceImage(engine, serviceImageName(AMBASSADOR.type, AMBASSADOR.version, AMBASSADOR.packaged), AMBASSADOR.packaged, { config: deps.config, log, signal, fresh: null });
    const network = await engine.ensureNetwork({ name: serviceNetwork(instance, input.service), labels: { instance, service: input.service }, pool: deps.config.networkPool });
    const id = await engine.createContainer({
      name: `${instance}.${input.type}.${input.name}.ambassador.o${operation}a${attempt}`, image, cmd: [hostOf(input.type, input.name), ...new Set(input.ports.map((p) => String(p.container)))], env: {},
      labels: { instance, service: input.service, job, attempt, type: 'ambassador', index: 1 }, network: network.name, memory: 0, cpus: 0, pids: 0, restart: 'unless-stopped',
      ports: input.ports.map(({ host, container }) => ({ address: '0.0.0.0', host, container })),
    });
    await engine.startContainer(id).catch(async (error: unknown) => {
      await engine.removeContainer(id);
      if (/port is already allocated|address already in use/i.test((error as Error).message)) throw new StepFailure('service.port-taken', `a port of ${input.ports.map(({ host }) => host).join(', ')} is in use on this server`, 'choose another: berth <type>:expose <service> <port>', 'user', { cause: error });
      throw error;
    });
    for (const { container } of input.ports) await answering(engine, id, container, signal);
    log.info(`Listening on ${input.ports.map(({ host, container }) => `${host} for ${container}`).join(', ')}`);
    return null;
  };
}

