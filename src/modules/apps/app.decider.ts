import { never, Rejected, type Decider } from '../../events/decider.js';
import type { AppEvent } from '../../events/types/app.events.js';

/** One app: its name, deploy branch, domains and settings. Stream `app-<id>`. */
export interface AppState {
  readonly status: 'none' | 'live' | 'destroyed';
  readonly id: string;
  readonly name: string;
  readonly branch: string | null;
  readonly domains: readonly string[];
  readonly settings: Readonly<Record<string, string>>;
}

export type AppCommand =
  | { type: 'Create'; app: string; name: string }
  | { type: 'Rename'; to: string }
  | { type: 'Destroy' }
  | { type: 'SetBranch'; branch: string | null; why: 'first-push' | 'set' }
  | { type: 'Set'; key: string; value: string | null }
  | { type: 'AddDomain'; domain: string }
  | { type: 'RemoveDomain'; domain: string };

const NAME = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;
const NAME_MAX = 50;
const HOST = /^(?:\*\.)?(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** names that would be mistaken for something else on the command line or in a domain */
const RESERVED = new Set(['global', 'all', 'berth', 'constructor']);

/** Shortens text that is shown back to whoever sent it; control characters are made visible. */
export function shown(text: string, max = 60): string {
  const clean = JSON.stringify(text).slice(1, -1);
  return clean.length > max ? `${clean.slice(0, max)}…` : clean;
}

/** Refuses what cannot be an app's name: it becomes a host name, an image name and a container name. */
export function checkAppName(name: string): void {
  if (name.length === 0) throw new Rejected('app.name', 'An app name is needed', 'for example: berth apps:create blog');
  if (name.length > NAME_MAX) throw new Rejected('app.name', `App name '${shown(name, 20)}' has ${name.length} characters, at most ${NAME_MAX} fit`, 'choose a shorter name');
  if (!NAME.test(name)) {
    throw new Rejected('app.name', `App name '${shown(name)}' will not do: lower-case letters, digits and hyphens only, with a letter or digit first and last`, 'for example: berth apps:create my-blog');
  }
  if (RESERVED.has(name)) throw new Rejected('app.name', `App name '${name}' is reserved`, 'choose another name');
}

/** The domain in its one spelling (lower case, no trailing dot); refuses what is none. */
export function checkDomain(domain: string): string {
  const host = domain.toLowerCase().replace(/\.$/, '');
  if (!HOST.test(host)) throw new Rejected('domain.bad', `'${shown(domain)}' is not a domain name`, 'for example: www.example.com or *.example.com, without http:// and without a port');
  return host;
}

export function checkBranch(branch: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,200}$/.test(branch) || branch.includes('..') || branch.endsWith('/') || branch.endsWith('.lock')) {
    throw new Rejected('git.branch', `'${shown(branch)}' is not a branch name`, 'for example: berth git:set blog deploy-branch main');
  }
}

export const apps: Decider<AppState, AppCommand, AppEvent> = {
  initial: { status: 'none', id: '', name: '', branch: null, domains: [], settings: {} },

  decide(command, state) {
    if (command.type === 'Create') {
      checkAppName(command.name);
      if (state.status !== 'none') throw new Rejected('app.exists', `App ${command.name} exists already`);
      return [{ type: 'AppCreated', data: { app: command.app, name: command.name } }];
    }
    if (state.status !== 'live') throw new Rejected('app.missing', 'The app does not exist', null, 20);
    const app = state.id;
    switch (command.type) {
      case 'Rename':
        checkAppName(command.to);
        return command.to === state.name ? [] : [{ type: 'AppRenamed', data: { app, from: state.name, to: command.to } }];
      case 'Destroy':
        return [{ type: 'AppDestroyed', data: { app, name: state.name } }];
      case 'SetBranch':
        if (command.branch !== null) checkBranch(command.branch);
        return command.branch === state.branch ? [] : [{ type: 'DeployBranchSet', data: { app, branch: command.branch, why: command.why } }];
      case 'Set': {
        const from = state.settings[command.key] ?? null;
        return from === command.value ? [] : [{ type: 'AppSettingChanged', data: { app, key: command.key, from, to: command.value } }];
      }
      case 'AddDomain': {
        const domain = checkDomain(command.domain);
        return state.domains.includes(domain) ? [] : [{ type: 'DomainAdded', data: { app, domain } }];
      }
      case 'RemoveDomain': {
        const domain = checkDomain(command.domain);
        if (!state.domains.includes(domain)) throw new Rejected('domain.missing', `${domain} is not a domain of ${state.name}`, `see: berth domains:report ${state.name}`);
        return [{ type: 'DomainRemoved', data: { app, domain } }];
      }
      default:
        return never(command);
    }
  },

  evolve(state, event) {
    switch (event.type) {
      case 'AppCreated': return { ...state, status: 'live', id: event.data.app, name: event.data.name };
      case 'AppRenamed': return { ...state, name: event.data.to };
      case 'AppDestroyed': return { ...state, status: 'destroyed' };
      case 'DeployBranchSet': return { ...state, branch: event.data.branch };
      case 'AppSettingChanged': {
        const { [event.data.key]: _, ...rest } = state.settings;
        return { ...state, settings: event.data.to === null ? rest : { ...rest, [event.data.key]: event.data.to } };
      }
      case 'DomainAdded': return { ...state, domains: [...state.domains, event.data.domain] };
      case 'DomainRemoved': return { ...state, domains: state.domains.filter((d) => d !== event.data.domain) };
      default: return never(event);
    }
  },
};
