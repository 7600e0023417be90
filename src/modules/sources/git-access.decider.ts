import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { GitAccessEvent } from '../../events/types/app.events.js';
import { shown } from '../apps/app.decider.js';

export const GIT_ACCESS = 'git-access';

/** How other servers know us. Stream `git-access`. */
export interface GitAccessState {
  readonly logins: Readonly<Record<string, { readonly user: string; readonly token: Sealed }>>;
  /** host → lines of a known_hosts file */
  readonly hosts: Readonly<Record<string, readonly string[]>>;
  readonly deployKey: { readonly publicKey: string; readonly privateKey: Sealed } | null;
}
export type GitAccessCommand =
  | { type: 'SetLogin'; host: string; user: string; token: Sealed }
  | { type: 'RemoveLogin'; host: string }
  | { type: 'AllowHost'; host: string; keys: readonly string[] }
  | { type: 'MakeKey'; publicKey: string; privateKey: Sealed; again: boolean };

const HOST = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** The host in its one spelling. @throws Rejected for what is none */
export function checkHost(text: string): string {
  const host = text.toLowerCase();
  if (!HOST.test(host)) throw new Rejected('git.host', `'${shown(text)}' is not the name of a host`, 'for example: git.example.com, without https:// and without a path');
  return host;
}

/** Refuses what a netrc cannot hold. */
export function checkLogin(what: 'user' | 'token', text: string): void {
  if (!/^[\x21-\x7e]{1,4096}$/.test(text) || /["\\]/.test(text) || text.startsWith('#')) throw new Rejected(`git.${what}`, `The ${what} has to be printable characters without spaces, quotes and backslashes`, what === 'token' ? 'pipe in the token alone: printf %s "$TOKEN" | berth git:auth git.example.com ci' : null);
}

export const gitAccess: Decider<GitAccessState, GitAccessCommand, GitAccessEvent> = {
  initial: { logins: {}, hosts: {}, deployKey: null },
  decide(command, state) {
    switch (command.type) {
      case 'SetLogin': {
        const { host, user, token } = command;
        checkLogin('user', user);
        return [{ type: 'GitLoginSet', data: { host: checkHost(host), user, token } }];
      }
      case 'RemoveLogin':
        if (!Object.hasOwn(state.logins, command.host)) throw new Rejected('git.login-missing', `There is no login for ${command.host}`, 'see: berth git:auth-report');
        return [{ type: 'GitLoginRemoved', data: { host: command.host } }];
      case 'AllowHost': {
        const keys = [...command.keys].sort();
        return JSON.stringify(state.hosts[command.host]) === JSON.stringify(keys) ? [] : [{ type: 'GitHostAllowed', data: { host: checkHost(command.host), keys } }];
      }
      case 'MakeKey': {
        if (state.deployKey !== null && !command.again) throw new Rejected('git.key-there', 'There is a deploy key already, which other servers may know', 'see: berth git:public-key; for another one: berth --force git:generate-deploy-key');
        return [{ type: 'DeployKeyMade', data: { publicKey: command.publicKey, privateKey: command.privateKey } }];
      }
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'GitLoginSet': return { ...state, logins: { ...state.logins, [event.data.host]: { user: event.data.user, token: event.data.token } } };
      case 'GitLoginRemoved': {
        const { [event.data.host]: _, ...logins } = state.logins;
        return { ...state, logins };
      }
      case 'GitHostAllowed': return { ...state, hosts: { ...state.hosts, [event.data.host]: event.data.keys } };
      case 'DeployKeyMade': return { ...state, deployKey: event.data };
      default: return never(event);
    }
  },
};
