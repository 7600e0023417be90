import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readConfig } from '../../../src/config.js';
import { GitDriver } from '../../../src/drivers/git/git.driver.js';
import { GitTransferDriver } from '../../../src/drivers/git/git.transfer.js';
import { Core } from '../../../src/modules/core.js';

/** A Berth without processes below `root`, with real store and git; the engine has the images and containers that are put into it. */
export async function openMachine(root: string, options: { store?: string; images?: ReadonlySet<string>; containers?: ReadonlyMap<string, string> } = {}): Promise<Core> {
  mkdirSync(join(root, 'repos'), { recursive: true });
  const { images = new Set<string>(), containers = new Map<string, string>() } = options;
  const core = await Core.open({ ...readConfig({ BERTH_ROOT: root, BERTH_STORE: options.store ?? `sqlite:${join(root, 'berth.db')}`, BERTH_DOMAIN: 'test.localhost' }), host: basename(root) });
  const git = new GitDriver({ root, gitUser: null });
  core.transfer = new GitTransferDriver({ root, gitUser: null });
  core.git = { init: async (app) => { const path = join(root, 'repos', `${app}.git`); await git.initBare(path); return path; }, resolve: (app, commit) => git.resolve(join(root, 'repos', `${app}.git`), commit) };
  core.engine = { states: async () => containers, hasImage: async (id) => images.has(id), images: async () => [], cached: () => Promise.resolve(0), environments: async () => [], purge: async () => 0 };
  core.alone = (work) => work();
  return core;
}
