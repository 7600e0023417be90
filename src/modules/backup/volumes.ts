import { CACHE_VOLUME, labels, LABEL, readLabels } from '../../drivers/engine/labels.js';
import type { Volume, VolumePort } from '../../drivers/engine/volume.port.js';
import { Rejected } from '../../events/decider.js';
import { bytes } from '../commands/words.js';
import type { Core } from '../core.js';
import { generationOf, volumeName } from '../storage/storage.decider.js';
import type { VolumePart } from './archive.js';
import type { Say } from './telling.js';

/** What containers do while a volume that they mount is read. */
export const DURING = ['paused', 'stopped', 'running'] as const;
export type During = (typeof DURING)[number];

const STOP_SECONDS = 30;
/** stale marks of an earlier restore are not carried along */
const carried = ({ [LABEL.restore]: _, ...rest }: Readonly<Record<string, string>>): Record<string, string> => rest;

export function portOf(core: Core): VolumePort {
  if (!core.volumes) throw new Rejected('volumes.none', 'This process has no engine at hand');
  return core.volumes;
}

/** A container's own, or a build's cache: nothing that a new machine would look for. */
const goesWithIts = ({ name, labels: marks }: Volume): boolean => /^[0-9a-f]{64}$/.test(name) || readLabels(marks).deploy !== undefined || readLabels(marks).type === CACHE_VOLUME || readLabels(marks).drill !== undefined;

/**
 * Volumes that belong to this Berth, or that containers of its apps mount. @param names of volumes, or of apps for all of an app's; empty: all
 * @throws Rejected for a name that is neither
 */
export async function chooseVolumes(core: Core, names: readonly string[]): Promise<Volume[]> {
  const port = portOf(core);
  const { instance } = core.config;
  const found = new Map((await port.list({ instance })).filter((volume) => !goesWithIts(volume)).map((volume) => [volume.name, volume]));
  for (const name of await port.mounted({ instance })) {
    const volume = found.get(name) ?? (await port.inspect(name));
    if (volume) found.set(name, volume);
  }
  const all = [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (names.length === 0) return all;
  const board = await core.board.now();
  const of = (name: string): Volume[] => all.filter((volume) => volume.name === name || (board.names[name] !== undefined && readLabels(volume.labels).app === board.names[name]));
  const stray = names.find((name) => of(name).length === 0);
  if (stray !== undefined) throw new Rejected('volumes.missing', `${stray} is neither a volume of this Berth nor an app that has one`, `there are: ${all.map(({ name }) => name).join(', ') || 'none'}`);
  return all.filter((volume) => names.some((name) => of(name).includes(volume)));
}

/** Runs `work` while the containers that mount the volume hold still. Answers whether nothing could have written into it meanwhile. */
export async function heldStill(core: Core, name: string, during: During, say: Pick<Say, 'warn'>, work: () => Promise<void>): Promise<boolean> {
  const port = portOf(core);
  const running = async (): Promise<{ id: string; name: string; ours: boolean }[]> => (await port.users(name)).filter((user) => user.state === 'running' || user.state === 'restarting')
    .map((user) => ({ id: user.id, name: user.name, ours: readLabels(user.labels).instance === core.config.instance }));
  const before = await running();
  const strangers = before.filter((user) => !user.ours);
  if (strangers.length > 0) say.warn(`${strangers.map((user) => user.name).join(', ')} mounts ${name}, too, is not Berth's, and goes on`);
  const ours = during === 'running' ? [] : before.filter((user) => user.ours);
  const held: string[] = [];
  try {
    for (const { id } of ours) {
      held.push(id);
      core.held.add(id); // what is held still is no drift
      await (during === 'paused' ? port.pause(id) : port.stop(id, STOP_SECONDS));
    }
    await work();
    // a deploy may have replaced them
    return strangers.length === 0 && (await running()).length === 0 && (during !== 'running' || before.length === 0);
  } finally {
    for (const id of held) {
      await (during === 'paused' ? port.unpause(id) : port.start(id)).catch((error: unknown) => say.warn(`The container ${id.slice(0, 12)} does not go on: ${(error as Error).message}`));
      core.held.delete(id);
    }
  }
}

/** Reads volumes into the archive, one after the other. @param put writes what comes in pieces, answers how many bytes */
export async function readVolumes(core: Core, chosen: readonly Volume[], during: During, signal: AbortSignal, say: Pick<Say, 'info' | 'warn'>, put: (folder: string, pieces: AsyncIterable<Buffer>) => Promise<number>): Promise<VolumePart[]> {
  const parts: VolumePart[] = [];
  for (const { name, labels: marks } of chosen) {
    signal.throwIfAborted();
    let size = 0;
    const still = await heldStill(core, name, during, say, async () => { size = await put(folderOf(parts.length), portOf(core).read(name, signal)); });
    const { app, storage } = readLabels(marks);
    parts.push({ name, bytes: size, labels: carried(marks), storage: app && storage ? { app, name: storage, ...(generationOf(name) > 0 && { generation: generationOf(name) }) } : null, still });
    say.info(`Volume ${name}, ${bytes(size)}`);
    if (!still) say.warn(`${name} was read while something may have written into it: not every program can read such a copy`);
  }
  return parts;
}

export const folderOf = (index: number): string => `volumes/${String(index + 1).padStart(6, '0')}`;

/** An app's storage has this Berth's name for it; every other volume keeps its own. */
const targetOf = (core: Core, { name, storage }: VolumePart): string => (storage ? volumeName(core.config.instance, storage.app, storage.name, storage.generation) : name);

/** @throws Rejected naming the volumes that have something in them */
export async function refuseFull(core: Core, parts: readonly VolumePart[]): Promise<void> {
  const full: string[] = [];
  for (const part of parts) {
    const target = targetOf(core, part);
    if ((await portOf(core).inspect(target)) && !(await portOf(core).isEmpty(target))) full.push(target);
  }
  if (full.length > 0) throw new Rejected('restore.volumes', `There is data in ${full.join(', ')} already`, '--overwrite-volumes puts the backup\'s in its place; --without-volumes leaves it as it is. Nothing was changed');
}

/** A volume that was filled beside the one whose place it takes. */
export interface Waiting { readonly from: string; readonly target: string }

/**
 * Fills a volume before anything else is changed: itself, when it was not there; otherwise another one that takes its place later. Both carry
 * the restore's mark, by which `dropVolumes` finds them.
 */
export async function fillVolume(core: Core, restore: string, index: number, part: VolumePart, tar: AsyncIterable<Buffer>, signal: AbortSignal): Promise<Waiting | null> {
  const port = portOf(core);
  const target = targetOf(core, part);
  const there = (await port.inspect(target)) !== null;
  const name = there ? `${core.config.instance}-restoring-${restore}-${index + 1}` : target;
  await port.ensure(name, { ...marksOf(core, part), ...labels({ restore }) });
  await port.write(name, tar, signal);
  return there ? { from: name, target } : null;
}

const marksOf = (core: Core, { labels: marks, storage }: VolumePart): Record<string, string> => (storage || readLabels(marks).instance ? { ...marks, [LABEL.instance]: core.config.instance } : { ...marks });

/** Volumes of a restore that never began. */
export async function dropVolumes(core: Core, restore: string): Promise<void> {
  for (const { name } of await core.volumes?.list({ restore }) ?? []) await core.volumes!.remove(name);
}

/** Puts what waits in its place; done again from the start when this dies in the middle, until what waits is gone. Containers that mount the old one go with it. */
export async function placeVolumes(core: Core, waiting: readonly Waiting[], say: Pick<Say, 'warn'>): Promise<void> {
  for (const { from, target } of waiting) {
    const port = portOf(core);
    const source = await port.inspect(from);
    if (!source) continue;
    const users = await port.users(target);
    const strangers = users.filter((user) => readLabels(user.labels).instance !== core.config.instance);
    if (strangers.length > 0) {
      say.warn(`${target} is mounted by ${strangers.map((user) => user.name).join(', ')}, which is not Berth's: it was left as it is, and the backup's lies in ${from}`);
      continue;
    }
    for (const { id } of users) await port.removeContainer(id);
    await port.remove(target);
    await port.ensure(target, carried(source.labels));
    const { signal } = new AbortController();
    await port.write(target, port.read(from, signal), signal);
    await port.remove(from);
  }
}
