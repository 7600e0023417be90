import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { RegistryAccessEvent } from '../../events/types/app.events.js';
import { shown } from '../apps/app.decider.js';

export const REGISTRY_ACCESS = 'registry-access';

/** How image registries know us: server → login. Stream `registry-access`. */
export type RegistryAccessState = Readonly<Record<string, { readonly user: string; readonly password: Sealed }>>;
export type RegistryAccessCommand =
  /** `server` in its one spelling: see checkServer */
  | { type: 'Login'; server: string; user: string; password: Sealed }
  | { type: 'Logout'; server: string };

/** @throws Rejected for a user that no registry takes: HTTP's basic authentication ends it at the colon */
export function checkUser(text: string): void {
  if (!/^[^:\p{Cc}]{1,255}$/u.test(text)) throw new Rejected('registry.user', `'${shown(text)}' is not the name of a user`, 'without a colon and without control characters');
}

/** @throws Rejected */
export function checkPassword(text: string): void {
  if (text === '' || text.length > 16_384 || /\p{Cc}/u.test(text)) throw new Rejected('registry.password', text === '' ? 'The password is empty' : 'The password has to be one line', 'pipe in the password or token alone: printf %s "$TOKEN" | berth registry:login --password-stdin <server> <user>');
}

export const registryAccess: Decider<RegistryAccessState, RegistryAccessCommand, RegistryAccessEvent> = {
  initial: {},
  decide(command, state) {
    switch (command.type) {
      case 'Login': {
        const { server, user, password } = command;
        checkUser(user);
        return [{ type: 'RegistryLoginSet', data: { server, user, password } }];
      }
      case 'Logout':
        if (!Object.hasOwn(state, command.server)) throw new Rejected('registry.login-missing', `There is no login for ${command.server}`, 'see: berth registry:list');
        return [{ type: 'RegistryLoginRemoved', data: { server: command.server } }];
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'RegistryLoginSet': return { ...state, [event.data.server]: { user: event.data.user, password: event.data.password } };
      case 'RegistryLoginRemoved': {
        const { [event.data.server]: _, ...left } = state;
        return left;
      }
      default: return never(event);
    }
  },
};
