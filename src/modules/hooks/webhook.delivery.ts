import { createHmac } from 'node:crypto';
import { told } from '../../drivers/http/answered.js';
import type { Recorded } from '../../events/event.js';
import { eventAt } from '../../events/event-at.js';
import { StepFailure, type OperationWork } from '../../events/step.js';
import { VERSION } from '../../version.js';
import type { Core } from '../core.js';
import { masked } from '../history/mask.js';
import type { OperationKind } from '../operations/operation.kind.js';
import { webhooks, WEBHOOKS_STREAM } from './webhook.decider.js';

/** What a delivery is asked for with; `position` null: only a test. */
export interface DeliveryInput { readonly webhook: string; readonly position: number | null; readonly event: string; /** the same for every try of the same delivery, and when it is asked for again */ readonly delivery: string }
export interface DeliveryOutput { readonly status: number; readonly tookMs: number }

export const WEBHOOK_KIND = 'webhook';
/** One webhook's deliveries are made in order: one that is tried again holds those behind it up for a quarter of an hour at most. */
export const webhookKind: OperationKind = {
  queue: 'plugin', steps: ['deliver'], input: async (_, __, run) => run.input,
  deadlines: { deliver: 60_000 }, backoff: [5000, 30_000, 120_000, 600_000],
};

const TIMEOUT_MS = 10_000;
const BODY_MAX = 256 * 1024;

/** Standard Webhooks' header (standardwebhooks.com), and GitHub's. */
export function signatures(secret: string, id: string, timestamp: number, body: string): Record<string, string> {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  return {
    'webhook-id': id, 'webhook-timestamp': String(timestamp), 'webhook-signature': `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
    'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
  };
}

/** What is told about an event; secrets are not in it. Pure. */
export function bodyOf({ delivery, event: type }: DeliveryInput, event: Recorded | null, name: string | null, instance: string): string {
  const told = { id: delivery, type, instance, app: name, ...(event && { position: event.position, at: new Date(event.at).toISOString(), by: event.meta.actor }) };
  const whole = JSON.stringify({ ...told, data: event ? masked(event.data) : { test: true } });
  return Buffer.byteLength(whole) <= BODY_MAX ? whole : JSON.stringify({ ...told, data: null, truncated: true });
}

/** The step of a delivery. */
export function deliver(core: Core): OperationWork<DeliveryInput, DeliveryOutput> {
  return async ({ input, log, signal, attempt }) => {
    const { state } = await core.repository.load(webhooks, WEBHOOKS_STREAM);
    const hook = Object.hasOwn(state.all, input.webhook) ? state.all[input.webhook]! : null;
    if (!hook) throw new StepFailure('webhook.gone', `webhook ${input.webhook} was removed`);
    const event = input.position === null ? null : await eventAt(core.store, input.position);
    if (input.position !== null && event === null) throw new StepFailure('webhook.no-event', `event #${input.position} is not in the log`);
    const [url, secret] = await Promise.all([core.box.unseal(hook.url), core.box.unseal(hook.secret)]);
    const app = (event?.data as { app?: string } | undefined)?.app ?? hook.app;
    const body = bodyOf(input, event, app === null ? null : ((await core.board.now()).apps[app]?.name ?? null), core.config.instance);
    log.info(`Telling ${new URL(url).origin} of ${input.event}${attempt > 1 ? `, attempt ${attempt}` : ''}`);
    const timestamp = Math.floor(core.now() / 1000);
    const { status, tookMs } = await told({
      url, body, timeoutMs: TIMEOUT_MS, signal, anywhere: hook.private,
      headers: { 'content-type': 'application/json', 'user-agent': `Berth/${VERSION}`, 'x-berth-event': input.event, ...signatures(secret, input.delivery, timestamp, body) },
    }, { code: 'webhook', root: 'berth webhook:add --private' });
    log.detail(`it answered ${status} after ${tookMs} ms`);
    return { status, tookMs };
  };
}
