import type { Core } from '../core.js';
import type { Subscriber } from '../operations/subscribers.js';
import { WEBHOOK_KIND, type DeliveryInput } from './webhook.delivery.js';
import { webhookGroup, webhooks, WEBHOOKS_STREAM } from './webhook.decider.js';

/** The webhooks, as they are told what happens. */
export async function webhookSubscribers({ repository }: Pick<Core, 'repository'>): Promise<Subscriber[]> {
  const { state } = await repository.load(webhooks, WEBHOOKS_STREAM);
  return Object.values(state.all).map(({ webhook, app, events, since }): Subscriber => ({
    group: webhookGroup(webhook), by: 'system:webhooks', since, types: events, wants: ({ data }) => app === null || (data as { app?: string }).app === app,
    delivery: ({ position, id, type }) => ({ kind: WEBHOOK_KIND, subject: `webhook ${webhook}`, input: { webhook, position, event: type, delivery: `msg_${webhook}_${id}` } satisfies DeliveryInput & { position: number } }),
  }));
}
