import { join } from 'node:path';
import type { Config } from '../../config.js';
import { Rejected } from '../../events/decider.js';
import type { Repository } from '../../events/repository.js';
import type { AppContext, Limits } from '../../events/types/deploy.events.js';
import { config as configDecider } from '../config/config.decider.js';
import { processes } from '../processes/process.decider.js';
import { server, type ServerState } from '../server/server.decider.js';
import { linksStream } from '../services/service-names.js';
import { links } from '../services/service.decider.js';
import { storage } from '../storage/storage.decider.js';
import { apps, type AppState } from './app.decider.js';

export const appStream = (id: string): string => `app-${id}`;
export const configStream = (id: string): string => `config-${id}`;
export const processStream = (id: string): string => `processes-${id}`;
export const storageStream = (id: string): string => `storage-${id}`;
export const pipelineStream = (id: string): string => `pipeline-${id}`;

/** Hosts of an app: `<name>.<domain>` for each global domain (the name alone where it ends in it already), then its own. */
export function hostsOf(app: Pick<AppState, 'name' | 'domains' | 'settings'>, global: readonly string[]): string[] {
  const defaults = app.settings['domains-default'] === 'off' ? [] : global.map((domain) => `${app.name}.${domain}`);
  return [...new Set([...defaults, ...app.domains])];
}

export const globalDomains = (state: ServerState, config: Pick<Config, 'domain'>): readonly string[] => (state.domains.length > 0 ? state.domains : [config.domain]);

/** Sizes as `512m`, `2g`, `1073741824`; 0 for anything that is none (checked where it is set). */
export function parseSize(text: string | undefined): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$/i.exec(text ?? '');
  if (!match) return 0;
  const power = { '': 0, k: 1, m: 2, g: 3, t: 4 }[match[2]!.toLowerCase()]!;
  return Math.round(Number(match[1]) * 1024 ** power);
}

function limitsOf(settings: Readonly<Record<string, string>>, prefix: string, fallback: Limits): Limits {
  return { memory: parseSize(settings[`${prefix}memory`]) || fallback.memory, cpus: Number(settings[`${prefix}cpu`] ?? 0) || fallback.cpus };
}

/** The app's settings; what the whole server says about the stack counts where the app says nothing. */
export function withGlobalStack(settings: Readonly<Record<string, string>>, { settings: { stack } }: Pick<ServerState, 'settings'>): Readonly<Record<string, string>> {
  return stack === undefined || settings['stack'] !== undefined ? settings : { ...settings, stack };
}

/** Loads the app as a deploy sees it now. @throws Rejected when the app does not exist */
export async function loadContext(repository: Pick<Repository, 'load'>, config: Config, id: string): Promise<AppContext> {
  const [app, vars, formation, global, mounts, linked] = await Promise.all([
    repository.load(apps, appStream(id)),
    repository.load(configDecider, configStream(id)),
    repository.load(processes, processStream(id)),
    repository.load(server, 'server'),
    repository.load(storage, storageStream(id)),
    repository.load(links, linksStream(id)),
  ]);
  if (app.state.status === 'none') throw new Rejected('app.missing', `App ${id} does not exist`, null, 20);
  const settings = withGlobalStack(app.state.settings, global.state);
  return {
    app: id, name: app.state.name, configVersion: vars.version, formation: formation.state,
    hosts: hostsOf(app.state, globalDomains(global.state, config)), settings,
    repo: join(config.root, 'repos', `${id}.git`),
    buildLimits: { ...limitsOf(settings, 'build-', { memory: config.buildMemory, cpus: config.buildCpus }), timeoutMs: config.buildTimeoutMs },
    limits: limitsOf(settings, '', { memory: 0, cpus: 0 }),
    mounts: mounts.state.mounts,
    services: Object.keys(linked.state).toSorted(),
  };
}
