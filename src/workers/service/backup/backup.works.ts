import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { CopyStore } from '../../../drivers/copies/copy-store.port.js';
import { copiesAt } from '../../../drivers/copies/place.js';
import type { VolumePort } from '../../../drivers/engine/volume.port.js';
import type { Sealed } from '../../../events/sealed.js';
import { StepFailure, type OperationContext, type StepAround } from '../../../events/step.js';
import type { Count } from '../../../events/types/copy.events.js';
import type { CheckInput, DrillInput, Dumped, DumpInput, Fetched, FetchInput, ImportInput, LoadInput, Opened, PruneInput, Pruned, Safe, SafetyInput, Source, StoreInput } from '../../../modules/copies/backup.kinds.js';
import type { During } from '../../../modules/backup/volumes.js';
import { spoolFolder } from '../../../modules/copies/spool.js';
import { placeName, words } from '../../../modules/copies/words.js';
import { bytes } from '../../../modules/commands/words.js';
import type { Core } from '../../../modules/core.js';
import type { OperationWorks } from '../../operation-line.js';
import type { ServiceDeps } from '../deps.js';
import { drillService, dumpService, importService } from './service.js';
import { drain, encrypted, Measure, opened, spool, spooled, type Measured } from './streams.js';
import { compared, fill, readStill } from './volume.js';

type Around = Pick<StepAround, 'log' | 'signal'>;

/** The steps of backups, their trials, and restores. */
export function backupWorks(core: Core, volumes: VolumePort, services: ServiceDeps): OperationWorks {
  const { config } = core;
  const secret = async (sealed: Sealed | null): Promise<string | null> => sealed && core.box.unseal(sealed);
  const at = async ({ place, auth }: Opened): Promise<CopyStore> => copiesAt(place, auth && { id: auth.id, secret: await core.box.unseal(auth.secret) });
  const folder = ({ group, operation }: OperationContext<unknown>): string => spoolFolder(config.root, group, operation);
  /** no two attempts have the same */
  const fileOf = ({ group, job, attempt }: OperationContext<unknown>): string => `${job.slice(group.length + 1)}.${attempt}`;
  /** there is one file in it, of the step that was done last */
  const inSpool = (context: OperationContext<{ readonly spool: string } & Measured>): AsyncGenerator<Buffer> => spooled(join(folder(context), basename(context.input.spool)), context.input);

  /** Reads an object back and compares it. @throws StepFailure `copies.altered` */
  async function* asWritten(store: CopyStore, { key, bytes: size, sha256 }: Pick<FetchInput, 'key' | 'bytes' | 'sha256'>, signal: AbortSignal): AsyncGenerator<Buffer> {
    const measure = new Measure();
    yield* measure.through(store.get(key, signal));
    const found = measure.end();
    if (size === null || sha256 === null) return; // nobody knows what was written: whether it can be brought in is all that tells
    if (found.bytes !== size || found.sha256 !== sha256) throw new StepFailure('copies.altered', `${key} in ${store.place} is not what was written there: ${found.bytes === size ? 'its checksum is another one' : `${bytes(found.bytes)} instead of ${bytes(size)}`}`, 'choose another one; nothing was changed');
  }

  async function prune({ gone }: PruneInput, { log, signal }: Around): Promise<Pruned> {
    const removed: number[] = [];
    try {
      for (const { copy, key, ...where } of gone) {
        const store = await at(where);
        await store.remove(key, signal);
        log.detail(`Removed ${key}, by retention`);
        removed.push(copy);
      }
    } catch (error) {
      // a key that may not remove anything protects what is there: the new copy is good all the same
      if (!(error instanceof StepFailure) || error.fault !== 'user') throw error;
      log.warn(`Older ones stay: ${error.message}`);
      return { gone: removed, kept: error.message };
    }
    return { gone: removed, kept: null };
  }

  /** All of what is there now, to where `take` puts it. @param counted whether the answer matters: what was counted, null: unknown. @throws StepFailure when there is none */
  async function read(context: OperationContext<unknown>, source: Source, during: During, take: (content: AsyncIterable<Buffer>) => Promise<void>, counted = true): Promise<Count | null> {
    if (source.type === 'service') return dumpService(services, source, context, take, counted);
    if ((await volumes.inspect(source.volume)) === null) throw new StepFailure('storage.missing', `The volume ${source.volume} was not made yet`, 'it is made by the first deploy that mounts it');
    return readStill(core, volumes, source.volume, during, context.attempt > 1, context, take);
  }

  async function dump(context: OperationContext<DumpInput>): Promise<Dumped> {
    const { input: { source, during, passphrase, key }, log, signal } = context;
    log.info(source.type === 'volume' ? `Reading the volume ${source.volume}` : `Dumping ${source.spec.type} ${source.spec.name}`);
    const word = await secret(passphrase);
    const name = fileOf(context);
    let measured!: Measured;
    const count = await read(context, source, during, async (content) => { measured = await spool(folder(context), name, encrypted(content, word), signal); });
    log.detail(`${bytes(measured.bytes)}${count ? `: ${words(count)}` : ''}${passphrase ? ', encrypted' : ''}`);
    return { ...measured, count, passphrase, key, spool: name };
  }

  async function store(context: OperationContext<StoreInput>): Promise<{ bytes: number }> {
    const { input, log, signal } = context;
    const copies = await at(input);
    log.info(`Writing ${input.key} to ${copies.place}`);
    return { bytes: await copies.put(input.key, inSpool(context), signal) };
  }

  async function check({ input, log, signal }: OperationContext<CheckInput>): Promise<{ sha256: string }> {
    const copies = await at(input);
    await drain(asWritten(copies, input, signal));
    log.info(`Read back from ${copies.place}: sha256 ${input.sha256}`);
    return { sha256: input.sha256 };
  }

  async function drill(context: OperationContext<DrillInput>): Promise<{ count: Count }> {
    const { input: { source, passphrase, count }, log, signal, job, attempt } = context;
    const { instance } = config;
    // of earlier attempts: its containers first, for they have its volumes
    for (const left of await services.engine.listContainers({ instance, job })) await services.engine.removeContainer(left.id);
    for (const left of await volumes.list({ instance, drill: job })) await volumes.remove(left.name);
    const content = opened(inSpool(context), await secret(passphrase));
    let found: Count;
    if (source.type === 'service') found = await drillService(services, source, context, content);
    else {
      const name = `${instance}-drill-${job}.${attempt}`;
      try {
        found = await fill(volumes, name, { instance, drill: job }, content, signal);
      } finally {
        await volumes.remove(name).catch((error: unknown) => { log.warn(`The throw-away volume stays until it is swept: ${(error as Error).message}`); });
      }
    }
    log.info(`Restored into a throw-away ${source.type === 'volume' ? 'volume' : 'instance'}: ${words(found)}`);
    return { count: compared(found, count) };
  }

  async function bringIn(context: OperationContext<ImportInput>): Promise<{ count: Count }> {
    const { input: { source, passphrase }, log } = context;
    log.info(`Bringing it into ${source.spec.type} ${source.spec.name}`);
    const count = await importService(services, source, context, opened(inSpool(context), await secret(passphrase)));
    log.detail(words(count));
    return { count };
  }

  /** What was spooled is of no use any more. */
  const done = (context: OperationContext<unknown>): Promise<void> => rm(folder(context), { recursive: true, force: true });

  async function last<T>(context: OperationContext<unknown>, work: () => Promise<T>): Promise<T> {
    const result = await work();
    if (context.after) context.after(() => done(context), () => done(context));
    else await done(context);
    return result;
  }

  async function fetch(context: OperationContext<FetchInput>): Promise<Fetched> {
    const { input, log, signal } = context;
    const copies = await at(input);
    const name = fileOf(context);
    log.info(`Fetching ${input.key} from ${copies.place}`);
    const measured = await spool(folder(context), name, asWritten(copies, input, signal), signal);
    const word = await secret(input.passphrase);
    // the first piece shows whether it can be opened at all
    if (word !== null) for await (const _ of opened(spooled(join(folder(context), name), measured), word)) break;
    log.detail(`${bytes(measured.bytes)}${input.sha256 === null ? '' : ', as it was written'}`);
    return { spool: name, ...measured };
  }

  async function load(context: OperationContext<LoadInput>): Promise<{ count: Count }> {
    const { input: { source, target, count, passphrase }, log, signal } = context;
    const found = await fill(volumes, target, { instance: config.instance, app: source.app, storage: source.name }, opened(inSpool(context), await secret(passphrase)), signal);
    log.info(`Loaded beside what is there, into ${target}: ${words(found)}`);
    return { count: compared(found, count) };
  }

  async function safety(context: OperationContext<SafetyInput>): Promise<Safe> {
    const { input, log, signal } = context;
    const { source, place, key, passphrase, target } = input;
    if (target !== null && (await volumes.inspect(target)) === null) throw new StepFailure('copies.spool', 'What was loaded is not there any more', 'restore it again');
    if (source.type === 'volume' && (await volumes.inspect(source.volume)) === null) return { taken: null, gone: [], kept: null };
    const copies = await at({ place, auth: null });
    const measure = new Measure();
    const word = await secret(passphrase);
    await read(context, source, 'paused', async (content) => { await copies.put(key, measure.through(encrypted(content, word)), signal); }, false);
    const taken = { key, ...measure.end(), encrypted: word !== null };
    await drain(asWritten(copies, taken, signal));
    log.info(`What is there now was copied to ${placeName(place)}/${key}`);
    return { taken, ...await prune(input, context) };
  }

  return {
    backup: { dump, store, check, drill, prune: (context: OperationContext<PruneInput>) => last(context, () => prune(context.input, context)) },
    'backup-verify': { fetch, drill: (context: OperationContext<DrillInput>) => last(context, () => drill(context)) },
    restore: {
      fetch, load, drill, import: (context: OperationContext<ImportInput>) => last(context, () => bringIn(context)),
      // a service's dump is still to be brought in
      safety: (context: OperationContext<SafetyInput>) => (context.input.target === null ? safety(context) : last(context, () => safety(context))),
    },
  };
}
