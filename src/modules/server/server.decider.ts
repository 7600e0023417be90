import { never, type Decider } from '../../events/decider.js';
import type { ServerEvent } from '../../events/types/app.events.js';
import { checkDomain } from '../apps/app.decider.js';

/** Settings of the whole server. Stream `server`. `domains` empty = the one of the environment. */
export interface ServerState { readonly domains: readonly string[]; readonly trace: boolean; readonly settings: Readonly<Record<string, string>> }
export type ServerCommand = { type: 'SetDomains'; domains: readonly string[] } | { type: 'Trace'; on: boolean } | { type: 'Set'; key: string; value: string | null };

export const server: Decider<ServerState, ServerCommand, ServerEvent> = {
  initial: { domains: [], trace: false, settings: {} },
  decide(command, state) {
    switch (command.type) {
      case 'SetDomains': {
        const domains = [...new Set(command.domains.map(checkDomain))];
        return JSON.stringify(domains) === JSON.stringify(state.domains) ? [] : [{ type: 'GlobalDomainSet', data: { domains } }];
      }
      case 'Trace': return command.on === state.trace ? [] : [{ type: 'TraceSwitched', data: { on: command.on } }];
      case 'Set': {
        const from = state.settings[command.key] ?? null;
        return from === command.value ? [] : [{ type: 'ServerSettingChanged', data: { key: command.key, from, to: command.value } }];
      }
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'GlobalDomainSet': return { ...state, domains: event.data.domains };
      case 'TraceSwitched': return { ...state, trace: event.data.on };
      case 'ServerSettingChanged': {
        const { [event.data.key]: _, ...rest } = state.settings;
        return { ...state, settings: event.data.to === null ? rest : { ...rest, [event.data.key]: event.data.to } };
      }
      default: return never(event);
    }
  },
};
