import type { Stack } from '../../plugins/builders/builder.port.js';
import { STACK, stackImage, stackImages, type StackDefinition } from './stack.js';

/** The stack as builders see it. */
export function stackFor(definition: StackDefinition = STACK): Stack {
  const images = stackImages(definition);
  return { name: images.name, run: images.run, build: images.build, image: (kind, part) => stackImage(kind, part, definition), versions: definition.versions, user: definition.user };
}
