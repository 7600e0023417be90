import { Rejected } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { CopyFacts, CopyPlace, CopySubject, Count } from '../../events/types/copy.events.js';
import { appStream, storageStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import type { During } from '../backup/volumes.js';
import { operationsStream, type Draft } from '../draft.js';
import { operations } from '../operations/operation.decider.js';
import type { OperationKind } from '../operations/operation.kind.js';
import type { OperationRun } from '../operations/operation.state.js';
import { services } from '../services/service.decider.js';
import { serviceStream } from '../services/service-names.js';
import { running, specOf, type ServiceSpec } from '../services/service.operations.js';
import { typeOf } from '../services/type-of.js';
import { storage, volumeName } from '../storage/storage.decider.js';
import { condemned, copies, type CopyAuth, type KnownCopy } from './copies.decider.js';
import { copiesStream, groupOf, keyOf } from './subject.js';

/** What a backup is asked with. `folder`: parts of the key before its last; `at`: ms since the epoch */
export interface BackupWish { readonly subject: CopySubject; readonly place: CopyPlace; readonly folder: readonly string[]; readonly at: number; readonly during?: During }
/**
 * `passphrase`: of the copy, where it is another one than today's; `from`: the group whose copy it is, where that is another one;
 * `object`: what no log knows, in the place of a copy, which is 0 then
 */
export interface CopyWish { readonly subject: CopySubject; readonly copy: number; readonly folder: readonly string[]; readonly passphrase?: Sealed; readonly from?: string; readonly object?: { readonly place: CopyPlace; readonly key: string } }

/** What is read and written, as a worker finds it. */
export interface VolumeSource { readonly type: 'volume'; readonly app: string; readonly name: string; readonly volume: string }
export interface ServiceSource { readonly type: 'service'; readonly spec: ServiceSpec; readonly container: string; readonly imageId: string }
export type Source = VolumeSource | ServiceSource;

export interface Opened { readonly place: CopyPlace; readonly auth: CopyAuth | null }
export interface DumpInput { readonly source: Source; readonly during: During; readonly passphrase: Sealed | null; readonly key: string }
/** `spool`: the file in the operation's folder */
export interface Dumped { readonly bytes: number; readonly sha256: string; /** null: it changed while it was dumped */ readonly count: Count | null; readonly passphrase: Sealed | null; readonly key: string; readonly spool: string }
export interface CheckInput extends Opened { readonly key: string; readonly bytes: number; readonly sha256: string }
export interface StoreInput extends CheckInput { readonly spool: string }
export interface DrillInput { readonly source: Source; readonly spool: string; readonly bytes: number; readonly sha256: string; readonly passphrase: Sealed | null; /** as it was counted when it was dumped; null: not compared */ readonly count: Count | null }
export interface PruneInput { readonly gone: readonly ({ readonly copy: number; readonly key: string } & Opened)[] }
export interface Pruned { readonly gone: readonly number[]; readonly kept: string | null }
/** `bytes`, `sha256` null: they are not known */
export interface FetchInput extends Opened { readonly key: string; readonly bytes: number | null; readonly sha256: string | null; readonly passphrase: Sealed | null }
/** without what was measured in answers of earlier versions */
export interface Fetched { readonly spool: string; readonly bytes?: number; readonly sha256?: string }
export interface LoadInput extends DrillInput { readonly source: VolumeSource; /** the volume that is filled */ readonly target: string }
export interface ImportInput extends DrillInput { readonly source: ServiceSource }
export interface SafetyInput extends PruneInput { readonly source: Source; /** the volume that was filled; null: none was */ readonly target: string | null; readonly place: CopyPlace; readonly key: string; readonly passphrase: Sealed | null }
/** null: there was nothing to be copied */
export interface Safe extends Pruned { readonly taken: Pick<CopyFacts, 'key' | 'bytes' | 'sha256' | 'encrypted'> | null }

async function stateOf(draft: Draft, subject: CopySubject) {
  return (await draft.load(copies, copiesStream(groupOf(subject)))).state;
}

/** @throws Rejected when it is not there any more */
export async function sourceOf(draft: Draft, subject: CopySubject): Promise<Source> {
  if (subject.type === 'service') return serviceSource(draft, subject.service);
  return volumeSource(draft, subject);
}

async function serviceSource(draft: Draft, service: string): Promise<ServiceSource> {
  const { state } = await draft.load(services, serviceStream(service));
  if (state.status !== 'live') throw new Rejected('service.missing', `${state.type} service ${state.name} does not exist any more`, null, 20);
  const container = running(state);
  return { type: 'service', spec: specOf(state), container, imageId: state.container!.imageId };
}

/** Ending of its dumps: `.tar`, `.dump` */
const suffixOf = async ({ core }: Draft, source: Source): Promise<string> => (source.type === 'volume' ? '.tar' : `.${(await typeOf(core, source.spec)).dumps?.suffix ?? 'dump'}`);

async function volumeSource(draft: Draft, { app, name }: Extract<CopySubject, { type: 'volume' }>): Promise<VolumeSource> {
  const { state: owner } = await draft.load(apps, appStream(app));
  const { mounts, kept, generations } = (await draft.load(storage, storageStream(app))).state;
  if (owner.status !== 'live') throw new Rejected('app.missing', `App ${owner.name || app} does not exist any more`, 'see: berth apps:list', 20);
  if (!mounts.some((mount) => mount.name === name) && !kept.includes(name)) throw new Rejected('storage.missing', `There is no volume ${name}`, `see: berth storage:list ${owner.name}`);
  return { type: 'volume', app, name, volume: volumeName(draft.core.config.instance, app, name, generations[name]) };
}

/** What opens that place. @throws Rejected for a bucket without a key */
function opened(place: CopyPlace, auth: CopyAuth | null): Opened {
  if (place.type === 's3' && auth === null) throw new Rejected('copies.key', `There is no key for s3://${place.bucket}`, 'give one: …:backup-auth');
  return { place, auth: place.type === 's3' ? auth : null };
}

const removable = (all: readonly KnownCopy[], auth: CopyAuth | null): PruneInput => ({ gone: all.map(({ copy, key, place }) => ({ copy, key, ...opened(place, auth) })) });
const learnt = <T>(run: OperationRun, step: string): T => run.learnt[step] as T;
const facts = ({ place }: BackupWish, run: OperationRun): CopyFacts => {
  const { key, bytes, sha256, passphrase } = learnt<Dumped>(run, 'dump');
  return { copy: run.operation, safety: false, place, key, bytes, sha256, encrypted: passphrase !== null, count: learnt<{ count: Count }>(run, 'drill').count };
};
/** where safety copies are */
export const safetyPlace = (root: string): CopyPlace => ({ type: 'folder', path: `${root}/copies` });

function failing(what: 'backup' | 'verify' | 'restore', copyOf: (run: OperationRun) => number | null): NonNullable<OperationKind['undone']> {
  return async (draft, run) => {
    const { subject } = run.input as { subject: CopySubject };
    const group = groupOf(subject);
    const { state } = await draft.load(operations, operationsStream(group));
    const failed = Object.values(state.failed).findLast((one) => one.operation === run.operation);
    if (failed) await draft.decide(copies, copiesStream(group), { type: 'Fail', group, subject, what, operation: run.operation, copy: copyOf(run), step: failed.step ?? failed.steps.at(-1)!, failure: failed.failure });
  };
}

/** A copy as a restore finds it; `bytes` and `sha256` null: nobody has written them down. */
type Wanted = Pick<KnownCopy, 'place' | 'key' | 'encrypted' | 'count'> & { readonly what: string; readonly bytes: number | null; readonly sha256: string | null };

/** @throws Rejected when it was removed meanwhile */
async function copyOf(draft: Draft, { subject, copy, from, object }: CopyWish): Promise<{ known: Wanted; auth: CopyAuth | null; passphrase: Sealed | null }> {
  const own = await stateOf(draft, subject);
  if (object) return { known: { ...object, what: `The backup ${object.key}`, bytes: null, sha256: null, encrypted: object.key.endsWith('.age'), count: null }, auth: own.auth, passphrase: own.passphrase };
  const { copies: all, auth, passphrase } = from === undefined ? own : (await draft.load(copies, copiesStream(from))).state;
  const known = all.find((one) => one.copy === copy);
  if (!known) throw new Rejected('backup.missing', `There is no backup ${copy} any more`);
  return { known: { ...known, what: `Backup ${copy}` }, auth: auth ?? own.auth, passphrase };
}
async function fetchInput(draft: Draft, wish: CopyWish): Promise<FetchInput> {
  const { known, auth, passphrase } = await copyOf(draft, wish);
  if (known.encrypted && !wish.passphrase && !passphrase) throw new Rejected('backup.passphrase', `${known.what} is encrypted, and its passphrase is not known here${wish.object ? '' : ' any more'}`, 'give it: --passphrase-stdin');
  return { ...opened(known.place, auth), key: known.key, bytes: known.bytes, sha256: known.sha256, passphrase: known.encrypted ? (wish.passphrase ?? passphrase) : null };
}
async function tryInput(draft: Draft, run: OperationRun): Promise<DrillInput> {
  const wish = run.input as CopyWish;
  const { bytes, sha256, passphrase } = await fetchInput(draft, wish);
  const { known: { count } } = await copyOf(draft, wish);
  const fetched = learnt<Fetched>(run, 'fetch');
  return { source: await sourceOf(draft, wish.subject), spool: fetched.spool, bytes: bytes ?? fetched.bytes!, sha256: sha256 ?? fetched.sha256!, passphrase, count };
}

/** Something that waits for a disk or a server is tried for a quarter of an hour. */
const BACKOFF = [5_000, 30_000, 120_000, 300_000, 600_000];
/** a large one takes its time, ms */
const LONG = 12 * 3_600_000;
const DEADLINES = { dump: LONG, store: LONG, check: LONG, drill: LONG, fetch: LONG, load: LONG, safety: LONG, import: LONG };

/** dumped → written → read back → restored into a throw-away instance and counted → older ones removed */
const backup: OperationKind = {
  queue: 'service', steps: ['dump', 'store', 'check', 'drill', 'prune'], deadlines: DEADLINES, backoff: BACKOFF,
  async input(draft, step, run): Promise<DumpInput | CheckInput | StoreInput | DrillInput | PruneInput> {
    const wish = run.input as BackupWish;
    const state = await stateOf(draft, wish.subject);
    if (step === 'dump') {
      opened(wish.place, state.auth); // now rather than when all is dumped
      const { passphrase } = state;
      const source = await sourceOf(draft, wish.subject);
      return { source, during: wish.during ?? 'paused', passphrase, key: keyOf(wish.folder, wish.at, run.operation, `${await suffixOf(draft, source)}${passphrase ? '.age' : ''}`) };
    }
    if (step === 'prune') return removable(condemned(state, facts(wish, run)), state.auth);
    const { key, bytes, sha256, passphrase, count, spool } = learnt<Dumped>(run, 'dump');
    if (step === 'drill') return { source: await sourceOf(draft, wish.subject), spool, bytes, sha256, passphrase, count };
    return { ...opened(wish.place, state.auth), key, bytes, sha256, ...(step === 'store' && { spool }) };
  },
  async ending(draft, run) {
    const wish = run.input as BackupWish;
    const group = groupOf(wish.subject);
    await draft.decide(copies, copiesStream(group), { type: 'Take', group, subject: wish.subject, facts: facts(wish, run), ...learnt<Pruned>(run, 'prune') });
  },
  undone: failing('backup', () => null),
};

/** read back → restored into a throw-away instance and counted */
const verify: OperationKind = {
  queue: 'service', steps: ['fetch', 'drill'], deadlines: DEADLINES, backoff: BACKOFF,
  input: (draft, step, run) => (step === 'fetch' ? fetchInput(draft, run.input as CopyWish) : tryInput(draft, run)),
  async ending(draft, run) {
    const { subject, copy } = run.input as CopyWish;
    const group = groupOf(subject);
    await draft.decide(copies, copiesStream(group), { type: 'Verify', group, copy, ...learnt<{ count: Count }>(run, 'drill') });
  },
  undone: failing('verify', (run) => (run.input as CopyWish).copy),
};

/** A volume: loaded beside what is there, exchanged by a deploy. A service: tried in a throw-away instance, then brought in whole. A safety copy right before. */
const restore: OperationKind = {
  queue: 'service', steps: ({ subject }: CopyWish) => (subject.type === 'volume' ? ['fetch', 'load', 'safety'] : ['fetch', 'drill', 'safety', 'import']), deadlines: DEADLINES, backoff: BACKOFF,
  async input(draft, step, run): Promise<FetchInput | DrillInput | LoadInput | SafetyInput> {
    const wish = run.input as CopyWish;
    if (step === 'fetch') return fetchInput(draft, wish);
    const source = await sourceOf(draft, wish.subject);
    const target = source.type === 'volume' ? volumeName(draft.core.config.instance, source.app, source.name, run.operation) : null;
    if (step !== 'safety') return { ...await tryInput(draft, run), ...(target !== null && { target }) };
    const state = await stateOf(draft, wish.subject);
    const fresh = { copy: run.operation, safety: true, place: safetyPlace(draft.core.config.root), key: keyOf(wish.folder, draft.core.now(), run.operation, `${await suffixOf(draft, source)}${state.passphrase ? '.age' : ''}`) };
    return { source, target, place: fresh.place, key: fresh.key, passphrase: state.passphrase, ...removable(condemned(state, fresh), state.auth) };
  },
  async ending(draft, run) {
    const { subject, copy, from, object } = run.input as CopyWish;
    const group = groupOf(subject);
    const { taken, gone, kept } = learnt<Safe>(run, 'safety');
    if (taken) await draft.decide(copies, copiesStream(group), { type: 'Take', group, subject, facts: { copy: run.operation, safety: true, place: safetyPlace(draft.core.config.root), ...taken, count: null }, gone, kept });
    await draft.decide(copies, copiesStream(group), { type: 'Restore', group, copy, operation: run.operation, safety: taken && run.operation, ...(from !== undefined && { from }), ...(object && { object }) });
    if (subject.type === 'service') {
      const bytes = (await copyOf(draft, run.input as CopyWish)).known.bytes ?? learnt<Fetched>(run, 'fetch').bytes!;
      return void await draft.decide(services, serviceStream(subject.service), { type: 'Imported', bytes });
    }
    const { app, name } = await volumeSource(draft, subject);
    await draft.decide(storage, storageStream(app), { type: 'Replace', app, name, generation: run.operation });
    const deploy = await draft.deploy(app, 'config', run.by);
    return deploy === null ? [] : [{ app, deploy }];
  },
  undone: failing('restore', (run) => {
    const { copy, from, object } = run.input as CopyWish;
    return from === undefined && !object ? copy : null; // only its own have a number here
  }),
};

export const backupKinds: Readonly<Record<string, OperationKind>> = { backup, 'backup-verify': verify, restore };
