import type { BundledPlugin } from './contract/define.js';

/** Plugins that come with Berth, in the order of their names. */
export const BUNDLED: readonly BundledPlugin[] = [];
