import type { Core } from '../core.js';
import { deliveryGroup } from '../operations/delivery.state.js';
import type { Subscriber } from '../operations/subscribers.js';
import { DELIVERY, type Delivery } from './delivery.kind.js';
import type { Plugins } from './plugins.service.js';

/** The plugins that are told what happens; of Berth's own only those that somebody has set up. */
export async function pluginSubscribers(core: Pick<Core, 'plugins'>, plugins: Pick<Plugins, 'enabled'>): Promise<Subscriber[]> {
  const { since } = await core.plugins.now();
  return (await plugins.enabled()).flatMap(({ name: plugin, manifest: { events } }): Subscriber[] => (events === null || since[plugin] === undefined ? [] : [{
    group: deliveryGroup('plugin', plugin), by: 'system:plugins', since: since[plugin], types: events.types, wants: () => true,
    delivery: ({ position, id, type }) => ({ kind: DELIVERY, subject: `${type} ${position}`, input: { plugin, position, id, type } satisfies Delivery }),
  }]));
}
