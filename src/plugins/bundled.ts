import { httpAuth } from './bundled/http-auth/http-auth.plugin.js';
import { maintenance } from './bundled/maintenance/maintenance.plugin.js';
import { redirect } from './bundled/redirect/redirect.plugin.js';
import type { BundledPlugin } from './contract/define.js';

/** Plugins that come with Berth, in the order of their names. */
export const BUNDLED: readonly BundledPlugin[] = [httpAuth, maintenance, redirect];
