import type { Finding } from '../drift/drift.decider.js';
import type { Services } from './services.projection.js';

/** A container of a service, as the engine shows it. `type`: `service` or `ambassador` */
export interface ServiceContainerSeen { readonly id: string; readonly service: string; readonly type: string; readonly state: string }

/** Containers of services that nobody owns: neither what serves nor what an operation is at. Pure. */
export function strayContainers({ rows }: Readonly<Services>, busy: (service: string) => boolean, seen: readonly ServiceContainerSeen[]): string[] {
  return seen.filter(({ id, service, type }) => {
    const row = rows[service];
    if (!row) return true;
    if (busy(service)) return false;
    return type === 'ambassador' ? row.exposed.length === 0 : row.container?.id !== id;
  }).map(({ id }) => id);
}

/** What of a service does not run as the log says. Pure. */
export function serviceFindings(row: Services['rows'][string], seen: readonly ServiceContainerSeen[]): Finding[] {
  if (row.status !== 'live' || row.wanted !== 'running' || row.container === null) return [];
  const found = (subject: string, name: string, container: ServiceContainerSeen | undefined): Finding[] => {
    if (!container) return [{ what: 'container-missing', subject, detail: `${name} is not there any more` }];
    if (container.state === 'restarting') return [{ what: 'container-restarting', subject, detail: `${name} crashed and is being restarted` }];
    return container.state === 'running' || container.state === 'paused' ? [] : [{ what: 'container-stopped', subject, detail: `${name} is ${container.state}` }];
  };
  return [
    ...found('service.1', row.container.name, seen.find(({ id }) => id === row.container!.id)),
    ...(row.exposed.length === 0 ? [] : found('ambassador.1', 'the container that listens for it', seen.find(({ service, type }) => service === row.id && type === 'ambassador'))),
  ];
}
