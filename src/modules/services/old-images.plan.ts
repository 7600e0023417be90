import { isOverOperation, type Works } from '../operations/works.projection.js';

/** how old an image must be that nobody uses, ms: another Berth of this engine may be about to, or stop its services over night */
export const OLD_MS = 7 * 24 * 3_600_000;

const NAME = /^berth\/service-([a-z0-9-]+):[a-zA-Z0-9._-]+-[0-9a-f]{8}$/;

/** Types of which an operation is under way or may be retried: it may know an image by its id. Pure. */
export function typesAtWork({ groups, failed }: Readonly<Works>): ReadonlySet<string> {
  const open = Object.values(groups).flatMap(({ rows }) => rows.filter(({ status }) => !isOverOperation(status)));
  return new Set([...open, ...Object.values(failed)].map(({ subject }) => subject.split(' ')[0]!));
}

/** `made`: it bears the mark of those that Berth makes for services; `created`: ms since the epoch */
export interface ImageSeen { readonly id: string; readonly tags: readonly string[]; readonly made: boolean; readonly bytes: number; readonly created: number }
export interface OldImage { readonly id: string; /** what is to be taken away: its names, or its id where it has none */ readonly references: readonly string[]; readonly bytes: number }

/**
 * Images of services that no container of this engine has, whoever's it is, and that this Berth would not make today: of definitions before,
 * and those that were made anew under their names. They have no owner, and other Berths on the engine may have other definitions: one that
 * misses its image makes it again. Nothing else is looked at: what has another name, too, is somebody's. Pure.
 * @param today names of the images that this Berth makes today
 * @param images all of the engine's
 * @param containers all of the engine's, stopped ones too
 */
export function oldImages(images: readonly ImageSeen[], containers: readonly { readonly imageId: string }[], today: ReadonlySet<string>, atWork: ReadonlySet<string>, now: number): OldImage[] {
  const used = new Set(containers.map(({ imageId }) => imageId));
  return images.filter(({ id, tags, made, created }) => {
    const names = tags.map((tag) => NAME.exec(tag));
    const ours = tags.length === 0 ? made : names.every((name) => name !== null);
    const needed = tags.some((tag) => today.has(tag)) || (tags.length === 0 ? atWork.size > 0 : names.some((name) => atWork.has(name?.[1] ?? '')));
    return ours && !needed && !used.has(id) && now - created >= OLD_MS;
  }).map(({ id, tags, bytes }) => ({ id, references: tags.length === 0 ? [id] : tags, bytes }));
}
