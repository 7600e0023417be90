import type { Recorded } from '../../events/event.js';
import type { Core } from '../core.js';
import { appOfGroup } from '../copies/subject.js';
import type { Subscriber } from '../operations/subscribers.js';
import { isFailure, NOTIFICATIONS, notifications, notifyGroup, typesOf, type Notification } from './notification.decider.js';
import { NOTIFY_KIND, type NotifyInput } from './notify.kind.js';

/** App of an event: its own, or that of the volume or the pushes whose operations it is of. */
function appOf({ data }: Recorded): string | null {
  const { app, group } = data as { app?: string; group?: string };
  return app ?? (group === undefined ? null : (appOfGroup(group) ?? /^push-([a-z0-9]+)$/.exec(group)?.[1] ?? null));
}

function wants({ app, events }: Notification, event: Recorded): boolean {
  if (app !== null && appOf(event) !== app) return false;
  return isFailure(event) || events.includes(event.type) || (events.includes('all') && event.type !== 'OperationFailed');
}

/** The notifications, as they are told what happens. */
export async function notifySubscribers({ repository }: Pick<Core, 'repository'>): Promise<Subscriber[]> {
  const { state } = await repository.load(notifications, NOTIFICATIONS);
  return Object.values(state.all).map((one): Subscriber => ({
    group: notifyGroup(one.name), by: 'system:notify', since: one.from, types: typesOf(one.events), wants: (event) => wants(one, event),
    delivery: ({ position, id, type }) => ({ kind: NOTIFY_KIND, subject: `notification ${one.name}`, input: { notification: one.name, position, event: type, delivery: `msg_${one.name}_${id}` } satisfies NotifyInput & { position: number } }),
  }));
}
