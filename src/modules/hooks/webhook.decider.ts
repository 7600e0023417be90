import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import { SCHEMAS } from '../../events/types/all.events.js';
import { OPERATION_EVENTS } from '../../events/types/operation.events.js';
import type { WebhookEvent } from '../../events/types/webhook.events.js';
import { deliveryGroup } from '../operations/delivery.state.js';

export const WEBHOOKS_STREAM = 'webhooks';
/** id of the key that seals their addresses and secrets */
export const WEBHOOKS_SEAL = 'webhooks';
export const webhookGroup = (webhook: string): string => deliveryGroup('webhook', webhook);

export interface Webhook {
  readonly webhook: string; readonly app: string | null; readonly url: Sealed; readonly secret: Sealed; readonly events: readonly string[];
  /** it may stand at a private address */
  readonly private: boolean;
  /** events behind this position; further on the last delivery that was asked for counts */
  readonly since: number;
}
/** Stream `webhooks`. */
export interface WebhooksState { readonly all: Readonly<Record<string, Webhook>>; readonly last: number }
export type WebhookCommand =
  | { type: 'Add'; app: string | null; url: Sealed; secret: Sealed; events: readonly string[]; private: boolean; from: number }
  | { type: 'Remove'; webhook: string };

/** what a webhook is told when nothing is said */
export const USUAL: readonly string[] = ['DeploySucceeded', 'DeployFailed', 'DeployCancelled', 'CrashLoopDetected'];
/** what nobody is told: deliveries are operations themselves */
const NEVER: readonly string[] = [...OPERATION_EVENTS, 'WebhookAdded', 'WebhookRemoved', 'WebhookDue', 'NotificationAdded', 'NotificationRemoved', 'RequestCarriedOut', 'RequestAnswered'];
export const TELLABLE: readonly string[] = Object.keys(SCHEMAS).filter((type) => !NEVER.includes(type)).sort();
const MOST = 100;

/** Types of events from a list of words. @throws Rejected for one that there is not */
export function eventsOf(text: string | undefined): readonly string[] {
  const words = (text ?? '').split(/[\s,]+/).filter(Boolean);
  if (words.includes('*')) return TELLABLE;
  for (const word of words) if (!TELLABLE.includes(word)) throw new Rejected('webhook.event', `'${word.slice(0, 60)}' is not a type of event that is told`, `* for all, or some of: ${TELLABLE.join(' ')}`);
  return words.length > 0 ? [...new Set(words)] : USUAL;
}

export const webhooks: Decider<WebhooksState, WebhookCommand, WebhookEvent> = {
  initial: { all: {}, last: 0 },
  decide(command, { all, last }) {
    switch (command.type) {
      case 'Add': {
        const { type: _, ...data } = command;
        if (Object.keys(all).length >= MOST) throw new Rejected('webhook.most', `There are ${MOST} webhooks already`, 'see: berth webhook:list');
        return [{ type: 'WebhookAdded', data: { webhook: `w${last + 1}`, ...data } }];
      }
      case 'Remove':
        if (!Object.hasOwn(all, command.webhook)) throw missing(command.webhook);
        return [{ type: 'WebhookRemoved', data: { webhook: command.webhook } }];
      default: return never(command);
    }
  },
  evolve({ all, last }, event) {
    const { webhook } = event.data;
    const { [webhook]: hook, ...others } = all;
    switch (event.type) {
      case 'WebhookAdded': {
        const { from, ...rest } = event.data;
        return { all: { ...all, [webhook]: { ...rest, since: from } }, last: last + 1 };
      }
      case 'WebhookRemoved': return { all: others, last };
      // deliveries of before it stood beside each of them
      case 'WebhookDue': return hook ? { all: { ...all, [webhook]: { ...hook, since: event.data.position } }, last } : { all, last };
      default: return never(event);
    }
  },
};

export const missing = (webhook: string): Rejected => new Rejected('webhook.missing', `There is no webhook ${webhook.slice(0, 60)}`, 'see: berth webhook:list');
