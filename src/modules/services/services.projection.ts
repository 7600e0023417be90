import type { Recorded } from '../../events/event.js';
import { SCHEMAS, type EventType } from '../../events/types/all.events.js';
import { SERVICE_EVENTS, type ServiceEvent } from '../../events/types/service.events.js';
import type { Shape } from '../read/projection.js';
import { services, type ServiceState } from './service.decider.js';

export interface ServiceRow extends Omit<ServiceState, 'secrets'> { readonly createdAt: number; readonly createdBy: string; /** since when it runs in its container */ readonly since: number | null }

/** Services that there are: by id, and id by `<type>:<name>`. */
export interface Services { rows: Record<string, ServiceRow & Pick<ServiceState, 'secrets'>>; names: Record<string, string> }

export const serviceKey = (type: string, name: string): string => `${type}:${name}`;
const OWN: ReadonlySet<string> = new Set(SERVICE_EVENTS.filter((type) => !type.startsWith('App')));

function applyToServices(state: Services, event: Recorded): void {
  if (!OWN.has(event.type)) return;
  const own = event as unknown as Recorded & ServiceEvent;
  const { service } = own.data;
  const before = state.rows[service];
  const after = services.evolve(before ?? services.initial, own);
  if (own.type === 'ServiceDestroyed') {
    delete state.rows[service];
    delete state.names[serviceKey(after.type, after.name)];
    return;
  }
  if (own.type === 'ServiceCreated') state.names[serviceKey(after.type, after.name)] = service;
  state.rows[service] = { createdAt: before?.createdAt ?? event.at, createdBy: before?.createdBy ?? event.meta.actor, ...after, since: own.type === 'ServiceStarted' ? event.at : after.container ? (before?.since ?? null) : null };
}

export const SERVICES: Shape<Services> = { version: '2', initial: () => ({ rows: {}, names: {} }), apply: applyToServices, skips: (Object.keys(SCHEMAS) as EventType[]).filter((type) => !OWN.has(type)) };
