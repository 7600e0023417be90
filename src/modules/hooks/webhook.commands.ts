import { randomBytes } from 'node:crypto';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Min } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import { isPrivateHost } from '../../drivers/http/call.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget } from '../commands/command.js';
import { table } from '../commands/words.js';
import type { Core } from '../core.js';
import { change, operationsStream } from '../draft.js';
import { cancelAllOf } from '../operations/cancel-all.js';
import { deliveryRows, deliveryTable, type DeliveryRow } from '../operations/delivery-rows.js';
import { operations } from '../operations/operation.decider.js';
import { operate } from '../operations/operations.service.js';
import { WEBHOOK_KIND, type DeliveryInput, type DeliveryOutput } from './webhook.delivery.js';
import { eventsOf, missing, webhookGroup, webhooks, WEBHOOKS_SEAL, WEBHOOKS_STREAM, type Webhook } from './webhook.decider.js';

class AddInput {
  @IsOptional() @IsString() @Flag('types of events, with commas between; * for all (DeploySucceeded,DeployFailed,DeployCancelled,CrashLoopDetected)', { type: 'string', label: 'types' }) events?: string;
  @IsOptional() @Flag('it may stand at a private address: only root on the server can say so') private?: boolean;
  @IsString() @Arg('where to send them: http:// or https://') url!: string;
  @IsOptional() @IsString() @Arg('only events of this app; of all when there is none', { optional: true }) app?: string;
}
class OneInput {
  @IsString() @Arg('its id, as webhook:list says') webhook!: string;
}
class DeliveriesInput extends OneInput {
  @IsOptional() @Transform(({ value }) => (typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value)) @IsInt() @Min(1) @Flag('how many at most, the newest (20)', { type: 'number', short: 'n', label: 'n' }) num?: number;
}
class RedeliverInput extends OneInput {
  @Transform(({ value }) => (typeof value === 'string' && /^#?\d{1,9}$/.test(value) ? Number(value.replace('#', '')) : value)) @IsInt({ message: 'delivery: a number as webhook:deliveries lists it' }) @Min(1) @Arg('its number, as webhook:deliveries says') delivery!: number;
}
class ListInput {
  @IsOptional() @IsString() @Arg('those that are told of this app; all when there is none', { optional: true }) app?: string;
}

async function hookOf(core: Core, id: string): Promise<Webhook> {
  const { all } = (await core.repository.load(webhooks, WEBHOOKS_STREAM)).state;
  if (!Object.hasOwn(all, id)) throw missing(id);
  return all[id]!;
}

function checkUrl(text: string, anywhere: boolean): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (!url || !['http:', 'https:'].includes(url.protocol) || text.length > 2000) throw new Rejected('webhook.url', `'${shown(text)}' is not an address to call`, 'for example: https://ci.example.com/berth');
  if (url.username !== '' || url.password !== '') throw new Rejected('webhook.url', 'The address has a user or a password in it', 'calls are signed: check the signature where they arrive');
  if (!anywhere && isPrivateHost(url.hostname)) throw new Rejected('webhook.private', `${url.hostname} is a private address, which webhooks do not call`, 'as root on the server: berth webhook:add --private …');
  return url.href;
}

const add = command({
  name: 'webhook:add', summary: 'Call an address when something happens; the secret that signs the calls is shown once', example: 'berth webhook:add --events DeploySucceeded,DeployFailed https://ci.example.com/berth blog', input: AddInput, http: { method: 'POST', path: '/webhooks' }, shownOnce: true,
  run: async (context, { url: text, app, events: words, private: anywhere = false }) => {
    const { core } = context;
    const row = app === undefined ? null : await core.app(app);
    const events = eventsOf(words);
    if (anywhere && context.origin !== 'local') throw new Rejected('webhook.private', 'Only on the server itself can be said that private addresses may be called', 'as root on the server: berth webhook:add --private …');
    const url = checkUrl(text, anywhere);
    await core.box.requireKey(WEBHOOKS_SEAL);
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const sealed = { url: await core.box.seal(WEBHOOKS_SEAL, url), secret: await core.box.seal(WEBHOOKS_SEAL, secret) };
    const from = await core.store.head();
    const { answer } = await change(context, 'webhook:add', 'webhooks', (draft) => draft.decide(webhooks, WEBHOOKS_STREAM, { type: 'Add', app: row?.id ?? null, ...sealed, events, private: anywhere, from }));
    return { webhook: (answer[0]!.data as { webhook: string }).webhook, app: row?.name ?? null, url, events, secret };
  },
  render: ({ webhook, app, url, events, secret }, out) => {
    out.info(`Added webhook ${webhook}: ${url} is called for ${app ?? 'all apps'}`);
    out.detail(`events: ${events.join(' ')}`);
    out.detail(`secret, shown this once: ${secret}`);
    out.detail(`try it: berth webhook:test ${webhook}`);
  },
});

const remove = command({
  name: 'webhook:remove', summary: 'Call an address no more; deliveries that wait are cancelled', example: 'berth webhook:remove w1', input: OneInput, http: { method: 'DELETE', path: '/webhooks/:webhook' },
  run: async (context, { webhook }) => {
    await change(context, 'webhook:remove', 'webhooks', async (draft) => {
      await draft.decide(webhooks, WEBHOOKS_STREAM, { type: 'Remove', webhook });
      await cancelAllOf(draft, webhookGroup(webhook), context.actor, 'the webhook was removed');
    });
    return { webhook };
  },
  render: ({ webhook }, out) => out.info(`Removed webhook ${webhook}`),
});

const list = command({
  name: 'webhook:list', summary: 'List the webhooks', example: 'berth webhook:list', input: ListInput, http: { method: 'GET', path: '/webhooks' }, reads: true,
  run: async ({ core }, { app }) => {
    const only = app === undefined ? null : (await core.app(app)).id;
    const { all } = (await core.repository.load(webhooks, WEBHOOKS_STREAM)).state;
    const { apps } = await core.board.now();
    const wanted = Object.values(all).filter((hook) => only === null || hook.app === null || hook.app === only);
    return Promise.all(wanted.map(async (hook) => ({ webhook: hook.webhook, app: hook.app === null ? null : (apps[hook.app]?.name ?? `${hook.app} (destroyed)`), url: await core.box.unseal(hook.url), events: hook.events, private: hook.private })));
  },
  render: (rows, out) => {
    if (rows.length === 0) return out.info('There is no webhook: berth webhook:add https://…');
    for (const line of table(['ID', 'APP', 'ADDRESS', 'EVENTS'], rows.map((r) => [r.webhook, r.app ?? '(all)', `${r.url}${r.private ? ' (may be private)' : ''}`, r.events.join(' ')]))) out.line(line);
  },
});

export interface Delivery extends Omit<DeliveryRow, 'output' | 'heard'> { readonly status: number | null }

/** A webhook's deliveries, from the stream of its operations. Pure. */
export const deliveriesOf = (events: readonly Recorded[]): Delivery[] => deliveryRows(events).map(({ output, heard, ...row }) => {
  const { status = Number(/^it answered (\d{3})\b/.exec(heard ?? '')?.[1] ?? 0) || null, tookMs = row.tookMs } = (output ?? {}) as Partial<DeliveryOutput>;
  return { ...row, status, tookMs };
});

const deliveries = command({
  name: 'webhook:deliveries', summary: 'List what a webhook was told, and what it answered; the newest first', example: 'berth webhook:deliveries w1', input: DeliveriesInput, http: { method: 'GET', path: '/webhooks/:webhook/deliveries' }, reads: true,
  run: async ({ core }, { webhook, num = 20 }) => {
    await hookOf(core, webhook);
    const { last } = (await core.repository.load(operations, operationsStream(webhookGroup(webhook)))).state;
    return { webhook, last, deliveries: deliveriesOf(await core.store.readStream(operationsStream(webhookGroup(webhook)))).slice(0, num) };
  },
  render: ({ webhook, deliveries: rows }, out) => {
    if (rows.length === 0) return out.info(`Webhook ${webhook} was told nothing yet: berth webhook:test ${webhook}`);
    for (const line of deliveryTable(rows, ['STATUS', ({ status }) => (status === null ? '-' : String(status))])) out.line(line);
  },
});

interface Asked { readonly webhook: string; readonly delivery: number }
const asked = ({ webhook, delivery }: Asked): string => `Delivery ${delivery} of webhook ${webhook} was asked for: berth webhook:deliveries ${webhook}`;

const redeliver = command({
  name: 'webhook:redeliver', summary: 'Deliver once more, with the same delivery id', example: 'berth webhook:redeliver w1 7', input: RedeliverInput, http: { method: 'POST', path: '/webhooks/:webhook/deliveries/:delivery' },
  run: async (context, { webhook, delivery }): Promise<Asked> => {
    await hookOf(context.core, webhook);
    const group = webhookGroup(webhook);
    const found = (await context.core.store.readStream(operationsStream(group))).find((event) => event.type === 'OperationRequested' && (event.data as { operation: number }).operation === delivery);
    if (!found) throw new Rejected('webhook.delivery', `Webhook ${webhook} has no delivery ${delivery}`, `see: berth webhook:deliveries ${webhook}`);
    const { input } = found.data as { input: DeliveryInput };
    const { answer } = await change(context, 'webhook:redeliver', group, (draft) => operate(draft, group, { kind: WEBHOOK_KIND, subject: `webhook ${webhook}`, input, by: context.actor }));
    return { webhook, delivery: answer };
  },
  render: (answer, out) => out.info(asked(answer)),
});

const test = command({
  name: 'webhook:test', summary: 'Call a webhook once to see whether it answers', example: 'berth webhook:test w1', input: OneInput, http: { method: 'POST', path: '/webhooks/:webhook/test' },
  run: async (context, { webhook }): Promise<Asked> => {
    await hookOf(context.core, webhook);
    const group = webhookGroup(webhook);
    const input: DeliveryInput = { webhook, position: null, event: 'Test', delivery: `msg_${webhook}_${randomBytes(8).toString('hex')}` };
    const { answer } = await change(context, 'webhook:test', group, (draft) => operate(draft, group, { kind: WEBHOOK_KIND, subject: `webhook ${webhook}`, input, by: context.actor }));
    return { webhook, delivery: answer };
  },
  render: (answer, out) => out.info(asked(answer)),
});

export const webhookCommands = [forget(add), forget(remove), forget(list), forget(deliveries), forget(redeliver), forget(test)];
