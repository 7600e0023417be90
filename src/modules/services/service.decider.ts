import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { ExposedPort, LinkEvent, ServiceContainer, ServiceEvent, ServiceImage } from '../../events/types/service.events.js';

export interface Link { readonly app: string; /** the config var that has its DSN */ readonly key: string; /** appended to the DSN */ readonly query: string | null }

/** A login: its secrets, and which of its type's users it is. */
export interface Login { readonly secrets: Readonly<Record<string, Sealed>>; readonly turn: number }

/** One service. Stream `service-<id>`. */
export interface ServiceState {
  readonly status: 'none' | 'live' | 'doomed' | 'destroyed';
  readonly id: string;
  readonly type: string;
  /** that brought the type; absent: one of ours */
  readonly plugin?: string;
  readonly name: string;
  readonly image: ServiceImage;
  readonly settings: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, Sealed>>;
  readonly turn: number;
  /** the login of before, which is let in as well; null: it is not */
  readonly former: Login | null;
  readonly links: readonly Link[];
  readonly exposed: readonly ExposedPort[];
  /** null: it was never well yet, or was stopped */
  readonly container: ServiceContainer | null;
  readonly wanted: 'running' | 'stopped' | 'paused';
}

export type ServiceCommand =
  | { type: 'Create'; service: string; kind: string; plugin?: string; name: string; image: ServiceImage; settings: Record<string, string>; secrets: Record<string, Sealed> }
  | { type: 'Started'; image: ServiceImage; container: ServiceContainer }
  | { type: 'Stopped'; paused: boolean }
  | { type: 'Set'; key: string; value: string | null }
  | { type: 'Link'; app: string; appName: string; key: string; query: string | null }
  | { type: 'Unlink'; app: string; appName: string }
  | { type: 'Expose'; ports: readonly ExposedPort[] }
  | { type: 'Unexpose' }
  | { type: 'Rotate'; secrets: Record<string, Sealed>; turn: number; keeps: boolean }
  | { type: 'Retire' }
  | { type: 'Imported'; bytes: number }
  | { type: 'Doom' }
  | { type: 'Spare' }
  | { type: 'Destroy'; dump: string | null };

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/;

const live = ({ status, type, name }: ServiceState): void => {
  if (status === 'doomed') throw new Rejected('service.doomed', `${type} service ${name} is being destroyed`, `see: berth operations ${type}:${name}`);
  if (status !== 'live') throw new Rejected('service.missing', `${type} service ${name} does not exist any more`, `see: berth ${type}:list`, 20);
};

export const services: Decider<ServiceState, ServiceCommand, ServiceEvent> = {
  initial: { status: 'none', id: '', type: '', name: '', image: { source: 'packages', reference: '' }, settings: {}, secrets: {}, turn: 0, former: null, links: [], exposed: [], container: null, wanted: 'running' },
  decide(command, state) {
    const service = state.id;
    if (command.type === 'Create') {
      const { kind, plugin, name, image, settings, secrets } = command;
      if (!NAME.test(name)) throw new Rejected('service.name', `'${name.slice(0, 60)}' will not do for a service: lower-case letters, digits and hyphens, at most 40`, `for example: berth ${kind}:create blog`);
      return [{ type: 'ServiceCreated', data: { service: command.service, type: kind, ...(plugin !== undefined && { plugin }), name, image, settings, secrets } }];
    }
    const linked = state.links.find(({ app }) => 'app' in command && app === command.app);
    switch (command.type) {
      case 'Started': return [{ type: 'ServiceStarted', data: { service, image: command.image, container: command.container } }];
      case 'Stopped': return state.wanted === (command.paused ? 'paused' : 'stopped') ? [] : [{ type: 'ServiceStopped', data: { service, paused: command.paused } }];
      case 'Set': {
        live(state);
        const from = state.settings[command.key] ?? null;
        return from === command.value ? [] : [{ type: 'ServiceSettingChanged', data: { service, key: command.key, from, to: command.value } }];
      }
      case 'Link':
        live(state);
        if (linked) throw new Rejected('service.linked', `${state.type} service ${state.name} is linked to ${command.appName} as ${linked.key} already`, `first: berth ${state.type}:unlink ${state.name} ${command.appName}`);
        return [{ type: 'ServiceLinked', data: { service, app: command.app, key: command.key, query: command.query } }];
      case 'Unlink':
        if (!linked) throw new Rejected('service.not-linked', `${state.type} service ${state.name} is not linked to ${command.appName}`, `see: berth ${state.type}:links ${state.name}`);
        return [{ type: 'ServiceUnlinked', data: { service, app: command.app, key: linked.key } }];
      case 'Expose': return [{ type: 'ServiceExposed', data: { service, ports: [...command.ports] } }];
      case 'Unexpose': return state.exposed.length === 0 ? [] : [{ type: 'ServiceUnexposed', data: { service } }];
      case 'Rotate': {
        const { secrets, turn, keeps } = command;
        return [{ type: 'ServiceRotated', data: { service, secrets, ...(turn !== 0 && { turn }), ...(keeps && { keeps }) } }];
      }
      case 'Retire': return state.former === null ? [] : [{ type: 'ServiceLoginRetired', data: { service } }];
      case 'Imported': return [{ type: 'ServiceImported', data: { service, bytes: command.bytes } }];
      case 'Doom':
        live(state);
        return [{ type: 'ServiceDoomed', data: { service } }];
      case 'Spare': return state.status === 'doomed' ? [{ type: 'ServiceSpared', data: { service } }] : [];
      case 'Destroy': return state.status === 'destroyed' ? [] : [{ type: 'ServiceDestroyed', data: { service, type: state.type, name: state.name, dump: command.dump } }];
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'ServiceCreated': {
        const { service: id, ...rest } = event.data;
        return { ...state, ...rest, id, status: 'live' };
      }
      case 'ServiceStarted': return { ...state, image: event.data.image, container: event.data.container, wanted: 'running' };
      case 'ServiceStopped': return { ...state, container: event.data.paused ? state.container : null, wanted: event.data.paused ? 'paused' : 'stopped' };
      case 'ServiceSettingChanged': {
        const { [event.data.key]: _, ...settings } = state.settings;
        return { ...state, settings: event.data.to === null ? settings : { ...settings, [event.data.key]: event.data.to } };
      }
      case 'ServiceLinked': return { ...state, links: [...state.links, { app: event.data.app, key: event.data.key, query: event.data.query }] };
      case 'ServiceUnlinked': return { ...state, links: state.links.filter(({ app }) => app !== event.data.app) };
      case 'ServiceExposed': return { ...state, exposed: event.data.ports };
      case 'ServiceUnexposed': return { ...state, exposed: [] };
      case 'ServiceRotated': return { ...state, secrets: event.data.secrets, turn: event.data.turn ?? 0, former: event.data.keeps ? { secrets: state.secrets, turn: state.turn } : null };
      case 'ServiceLoginRetired': return { ...state, former: null };
      case 'ServiceImported': return state;
      case 'ServiceDoomed': return { ...state, status: 'doomed' };
      case 'ServiceSpared': return { ...state, status: 'live' };
      case 'ServiceDestroyed': return { ...state, status: 'destroyed', container: null };
      default: return never(event);
    }
  },
};

/** Services that one app is linked to: id → config var. Stream `links-<app id>`. */
export type LinksState = Readonly<Record<string, string>>;
export type LinksCommand = { type: 'Link'; app: string; service: string; key: string } | { type: 'Unlink'; app: string; service: string };

export const links: Decider<LinksState, LinksCommand, LinkEvent> = {
  initial: {},
  decide(command, state) {
    const { app, service } = command;
    if (command.type === 'Link') return [{ type: 'AppLinked', data: { app, service, key: command.key } }];
    const key = state[service];
    return key === undefined ? [] : [{ type: 'AppUnlinked', data: { app, service, key } }];
  },
  evolve(state, event) {
    const { [event.data.service]: _, ...others } = state;
    return event.type === 'AppLinked' ? { ...others, [event.data.service]: event.data.key } : others;
  },
};
