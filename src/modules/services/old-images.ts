import type { EnginePort } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import { serviceImageName } from '../../drivers/stack/service-image.js';
import { AMBASSADOR } from '../../plugins/services/ambassador.js';
import { SERVICE_TYPES } from '../../plugins/services/types.js';
import type { ServiceType } from '../../plugins/services/service-type.js';
import type { Core } from '../core.js';
import { typesOf } from './type-of.js';
import { type OldImage, oldImages, typesAtWork } from './old-images.plan.js';

/** Names of the images that this Berth makes for services today. @param more types of plugins */
export const todaysImages = (more: readonly ServiceType[] = []): ReadonlySet<string> => new Set([...SERVICE_TYPES, ...more, AMBASSADOR].flatMap(({ type, version, packaged }) => (packaged === null ? [] : [serviceImageName(type, version, packaged)])));

/** Those that are to go now. The images are looked at before the containers: what was started from one meanwhile is seen. */
export async function findOldImages({ works, plugins, now }: Pick<Core, 'works' | 'plugins' | 'now'>, engine: Pick<EnginePort, 'listImages' | 'listContainers'>): Promise<readonly OldImage[]> {
  const images = (await engine.listImages({})).map(({ id, tags, labels, bytes, created }) => ({ id, tags, made: readLabels(labels).made === 'service', bytes, created }));
  const containers = await engine.listContainers({});
  return oldImages(images, containers, todaysImages(typesOf(await plugins.now())), typesAtWork(await works.now()), now());
}
