import type { Builder } from './builder.port.js';
import { pythonBuildpack } from './python/python.buildpack.js';

/**
 * Our own buildpacks in the order in which they are asked. Node.js and what has no language of its own come last: many apps of
 * other languages keep a package.json for their assets.
 */
export const BUILDPACKS: readonly Builder[] = [
  pythonBuildpack,
];
