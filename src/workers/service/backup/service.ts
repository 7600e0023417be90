import type { EnginePort } from '../../../drivers/engine/engine.port.js';
import { labels } from '../../../drivers/engine/labels.js';
import { StepFailure, type OperationContext } from '../../../events/step.js';
import type { Count } from '../../../events/types/copy.events.js';
import type { ServiceSource } from '../../../modules/copies/backup.kinds.js';
import type { ServiceAccess, ServiceDumps, ServiceType } from '../../../plugins/services/service-type.js';
import { serverImage } from '../../../plugins/services/types.js';
import { mustExec, observed, openSpec, printed, type ServiceDeps } from '../deps.js';
import { containerOf, untilReady } from '../start.step.js';

/** Services as backups see them. */

interface Open { readonly type: ServiceType; readonly access: ServiceAccess; readonly dumps: ServiceDumps; readonly engine: EnginePort }

async function open(deps: ServiceDeps, { spec }: ServiceSource, context: OperationContext<unknown>): Promise<Open> {
  const { type, access } = await openSpec(deps, spec);
  if (type.dumps === null) throw new StepFailure('service.no-dumps', `${type.title} has no data that could be backed up`);
  return { type, access, dumps: type.dumps, engine: observed(deps, context) };
}

/** Nobody else starts it while an operation of the service runs. */
async function awake({ engine, type, access }: Open, container: string, { signal, log }: OperationContext<unknown>): Promise<void> {
  const state = await engine.inspectContainer(container);
  if (state === null || state.running) return;
  log.warn('Its server does not run: it is started');
  await engine.startContainer(container);
  await untilReady(engine, container, type, access, { signal, log });
}

async function countIn(engine: Pick<EnginePort, 'exec'>, container: string, dumps: ServiceDumps, access: ServiceAccess, signal: AbortSignal): Promise<Count> {
  const text = await mustExec(engine, container, dumps.count(access), signal);
  return Object.fromEntries(text.split('\n').flatMap((line) => { const [, name, n] = /^(\w+)\s+(\d+)$/.exec(line.trim()) ?? []; return name ? [[name, Number(n)]] : []; }));
}

/** Dumps it while it serves. Answers what is in it; null: that changed meanwhile, or was not to be counted, which reads all of it twice. */
export async function dumpService(deps: ServiceDeps, source: ServiceSource, context: OperationContext<unknown>, take: (dump: AsyncIterable<Buffer>) => Promise<void>, counted: boolean): Promise<Count | null> {
  const found = await open(deps, source, context);
  const { access, dumps, engine } = found;
  await awake(found, source.container, context);
  const count = (): Promise<Count> | null => (counted ? countIn(engine, source.container, dumps, access, context.signal) : null);
  const before = await count();
  await take(printed(engine, source.container, dumps.out(access), context.signal));
  const after = await count();
  return JSON.stringify(before) === JSON.stringify(after) ? after : null;
}

async function into(engine: EnginePort, container: string, dumps: ServiceDumps, access: ServiceAccess, dump: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
  const { stdin: _, ...exec } = dumps.in(access);
  const { exitCode, stderr } = await engine.exec(container, exec, { stdin: dump, signal });
  if (exitCode !== 0) throw new StepFailure('copies.restore', `${exec.argv[0]} ended with ${exitCode}: ${stderr.trim() || 'it said nothing'}`, 'this dump cannot be brought in; the data that serves was not touched');
}

/** A server of its own on an empty volume, that nobody can reach; it goes again. Answers what is in it with the dump. */
export async function drillService(deps: ServiceDeps, source: ServiceSource, context: OperationContext<unknown>, dump: AsyncIterable<Buffer>): Promise<Count> {
  const { type, access, dumps, engine } = await open(deps, source, context);
  const { instance } = deps.config;
  const { job, attempt, operation, signal, log } = context;
  const { service } = source.spec;
  const name = `${instance}-drill-${job}.${attempt}`;
  let id = '';
  try {
    const { aliases: _, mounts = [], ...spec } = containerOf(deps.config, { input: { ...source.spec, imageId: source.imageId }, job, attempt, operation }, type, access, 'none');
    if (mounts.length > 0) await deps.volumes.ensure(name, labels({ instance, drill: job }));
    const { trial } = serverImage(type, source.spec.image.source);
    id = await engine.createContainer({ ...spec, ...(trial && { cmd: trial }), name, labels: { instance, service, job, attempt, type: 'drill' }, restart: 'on-failure', stopSeconds: 1, mounts: mounts.map(({ path }) => ({ name, path })) });
    await engine.startContainer(id);
    await untilReady(engine, id, type, access, { signal, log });
    for (const exec of type.setup(access)) await mustExec(engine, id, exec, signal);
    await into(engine, id, dumps, access, dump, signal);
    return await countIn(engine, id, dumps, access, signal);
  } finally {
    // what stays is swept when the operation is over
    await (id === '' ? Promise.resolve() : engine.removeContainer(id)).then(() => deps.volumes.remove(name)).catch((error: unknown) => { log.warn(`The throw-away instance stays until it is swept: ${(error as Error).message}`); });
  }
}

/** Puts the dump in the place of what is in the service: all of it, or nothing. */
export async function importService(deps: ServiceDeps, source: ServiceSource, context: OperationContext<unknown>, dump: AsyncIterable<Buffer>): Promise<Count> {
  const found = await open(deps, source, context);
  const { access, dumps, engine } = found;
  await awake(found, source.container, context);
  await into(engine, source.container, dumps, access, dump, context.signal);
  return countIn(engine, source.container, dumps, access, context.signal);
}
