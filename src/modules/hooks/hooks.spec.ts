import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import { WorkStore } from '../../../test/work-store.js';
import type { Config } from '../../config.js';
import type { Recorded } from '../../events/event.js';
import type { OperationContext, StepLog } from '../../events/step.js';
import { PROVIDERS, type Provider, type PushHookEvent, type WebhookEvent } from '../../events/types/webhook.events.js';
import { Core } from '../core.js';
import { change } from '../draft.js';
import { operate } from '../operations/operations.service.js';
import { Subscribers } from '../operations/subscribers.js';
import { server } from '../server/server.decider.js';
import { isGenuine, pathOf, readCall, whyNot } from './push.call.js';
import { pushHooks } from './push.decider.js';
import { deliveriesOf } from './webhook.commands.js';
import { eventsOf, webhooks, WEBHOOKS_SEAL, WEBHOOKS_STREAM, USUAL } from './webhook.decider.js';
import { bodyOf, deliver, signatures, WEBHOOK_KIND, type DeliveryInput } from './webhook.delivery.js';
import { webhookSubscribers } from './webhook.subscribed.js';

const sealed = { k: 'webhooks', iv: '', ct: '', tag: '' };
const log: StepLog = new Proxy({} as StepLog, { get: () => () => {} });

describe('calls of git servers', () => {
  const secret = 'a secret';
  const of = (provider: Provider, body: Buffer, key = secret): Record<string, string> => {
    const mac = createHmac('sha256', key).update(body).digest('hex');
    return { github: { 'x-hub-signature-256': `sha256=${mac}` }, gitea: { 'x-gitea-signature': mac }, gitlab: { 'x-gitlab-token': key } }[provider] as Record<string, string>;
  };
  it('are genuine when who sent them knows the secret, and only then', () => {
    fc.assert(fc.property(fc.constantFrom(...PROVIDERS), fc.uint8Array({ maxLength: 200 }), fc.string(), fc.nat(), (provider, bytes, other, at) => {
      const body = Buffer.from(bytes);
      expect(isGenuine(provider, of(provider, body), body, secret)).toBe(true);
      if (other !== secret) expect(isGenuine(provider, of(provider, body, other), body, secret)).toBe(false);
      expect(isGenuine(provider, {}, body, secret)).toBe(false);
      if (provider === 'gitlab' || body.length === 0) return;
      const changed = Buffer.from(body);
      changed[at % body.length]! ^= 1;
      expect(isGenuine(provider, of(provider, body), changed, secret)).toBe(false);
    }));
  });
  it('are read in the shape of each server, and as a form', () => {
    const payload = { ref: 'refs/heads/main', after: 'a'.repeat(40), repository: { full_name: 'team/blog' }, project: { path_with_namespace: 'team/blog' } };
    const body = Buffer.from(JSON.stringify(payload));
    const call = { event: 'push', ref: 'refs/heads/main', commit: 'a'.repeat(40), repository: 'team/blog', deleted: false };
    expect(readCall('github', { 'x-github-event': 'push', 'x-github-delivery': 'd' }, body)).toEqual({ ...call, delivery: 'd' });
    expect(readCall('gitlab', { 'x-gitlab-event': 'Push Hook', 'idempotency-key': 'd' }, body)).toEqual({ ...call, delivery: 'd' });
    expect(readCall('gitea', { 'x-gitea-event': 'push', 'x-gitea-delivery': 'd' }, body)).toEqual({ ...call, delivery: 'd' });
    expect(readCall('github', { 'x-github-event': 'push', 'x-github-delivery': 'd', 'content-type': 'application/x-www-form-urlencoded' }, Buffer.from(`payload=${encodeURIComponent(body.toString())}`))).toEqual({ ...call, delivery: 'd' });
    // without an id it is known by what it says
    expect(readCall('github', { 'x-github-event': 'push' }, body)!.delivery).toBe(readCall('github', { 'x-github-event': 'push' }, body)!.delivery);
    expect(readCall('gitlab', {}, Buffer.from(JSON.stringify({ ...payload, after: '0'.repeat(40) })))).toMatchObject({ deleted: true });
    for (const bad of ['', '{', 'null', '1', '[1', '"x"']) expect(readCall('github', {}, Buffer.from(bad)), bad).toBeNull();
    fc.assert(fc.property(fc.json(), (text) => { readCall('github', {}, Buffer.from(text)); }));
  });
  it('that deploy nothing have a reason', () => {
    const hook = { url: 'https://git.example.com/Team/blog.git', branch: 'main' };
    const call = { delivery: 'd', event: 'push', ref: 'refs/heads/main', commit: '', repository: 'team/Blog', deleted: false };
    expect(whyNot(call, hook)).toBeNull();
    for (const [over, why] of [[{ event: 'ping' }, /works/], [{ event: '' }, /nameless event/], [{ repository: 'x/y' }, /x\/y/], [{ ref: 'refs/heads/dev' }, /to dev/], [{ ref: 'refs/tags/v1' }, /only branches/], [{ ref: '' }, /only branches/], [{ deleted: true }, /deleted/]] as const) expect(whyNot({ ...call, ...over }, hook)).toMatch(why);
    for (const [url, path] of [['https://h/team/blog.git', 'team/blog'], ['git@h:Team/Blog', 'team/blog'], ['ssh://git@h:22/team/blog.git/', 'team/blog']] as const) expect(pathOf(url)).toBe(path);
  });
  it('that come again change nothing', () => {
    const receive = { type: 'Receive', app: 'a', provider: 'github', delivery: 'd', event: 'push', ref: 'r', commit: '', operation: 1, reason: null } as const;
    const { type: _, ...data } = receive;
    const came: PushHookEvent = { type: 'PushReceived', data };
    given(pushHooks).when(receive).then(came);
    given(pushHooks, [came]).when(receive).then();
    given(pushHooks, [came]).when({ ...receive, provider: 'gitea' }).then({ type: 'PushReceived', data: { ...data, provider: 'gitea' } });
    given(pushHooks).when({ type: 'Disable', app: 'a', provider: 'github' }).rejects('push.disabled');
  });
});

describe('webhooks', () => {
  const added: WebhookEvent = { type: 'WebhookAdded', data: { webhook: 'w1', app: null, url: sealed, secret: sealed, events: ['TraceSwitched'], private: true, from: 3 } };
  it('are known by an id that is never given twice', () => {
    given(webhooks, [added]).when({ type: 'Remove', webhook: 'constructor' }).rejects('webhook.missing');
    const { webhook: _, ...rest } = added.data;
    given(webhooks, [added, { type: 'WebhookRemoved', data: { webhook: 'w1' } }]).when({ type: 'Add', ...rest }).then({ type: 'WebhookAdded', data: { ...rest, webhook: 'w2' } });
  });
  it('are told of what was chosen', () => {
    expect(eventsOf(undefined)).toEqual(USUAL);
    expect(eventsOf('DeployFailed, DeploySucceeded DeployFailed')).toEqual(['DeployFailed', 'DeploySucceeded']);
    expect(eventsOf('*')).toEqual(expect.arrayContaining(['ConfigSet', 'AppCreated']));
    for (const bad of ['Nonsense', 'OperationRequested', 'WebhookDue']) expect(() => eventsOf(bad)).toThrow(/not a type of event/);
  });
  it('say nothing that is secret, and nothing endless', () => {
    const input: DeliveryInput = { webhook: 'w1', position: 5, event: 'ConfigSet', delivery: 'msg' };
    const event = { position: 5, at: 0, type: 'ConfigSet', data: { app: 'a', values: { KEY: { k: 'a', iv: 'i', ct: 'ciphertext', tag: 't' } } }, meta: { actor: 'me' } } as unknown as Recorded;
    expect(JSON.parse(bodyOf(input, event, 'blog', 'i'))).toMatchObject({ id: 'msg', type: 'ConfigSet', app: 'blog', by: 'me', data: { values: { KEY: '(sealed)' } } });
    expect(bodyOf(input, { ...event, data: 'x'.repeat(300_000) }, null, 'i').length).toBeLessThan(500);
  });

  /** A server with one webhook at a receiver of our own. */
  async function world(work: (core: Core, store: WorkStore, got: { headers: IncomingHttpHeaders; body: string }[], answer: (status: number) => void, secret: string) => Promise<void>): Promise<void> {
    const dir = mkdtempSync(join(tmpdir(), 'berth-hooks-'));
    const got: { headers: IncomingHttpHeaders; body: string }[] = [];
    let status = 200;
    const receiver = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (piece: string) => { body += piece; }).on('end', () => { got.push({ headers: request.headers, body }); response.writeHead(status).end('said'); });
    });
    await new Promise<void>((resolve) => { receiver.listen(0, '127.0.0.1', resolve); });
    const store = new WorkStore();
    const core = new Core({ root: dir, instance: 'x' } as unknown as Config, store);
    try {
      await core.box.createKey(WEBHOOKS_SEAL);
      const secret = `whsec_${Buffer.from('k'.repeat(32)).toString('base64')}`;
      const url = await core.box.seal(WEBHOOKS_SEAL, `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`);
      await change({ core, actor: 'me' }, 'test', 'x', async (draft) => draft.decide(webhooks, WEBHOOKS_STREAM, { type: 'Add', app: null, url, secret: await core.box.seal(WEBHOOKS_SEAL, secret), events: ['TraceSwitched'], private: true, from: await store.head() }));
      await work(core, store, got, (next) => { status = next; }, secret);
    } finally {
      receiver.closeAllConnections();
      receiver.close();
      rmSync(dir, { recursive: true });
    }
  }
  const trace = (core: Core, on: boolean): Promise<unknown> => change({ core, actor: 'me' }, 'trace', 'x', (draft) => draft.decide(server, 'server', { type: 'Trace', on }));

  const rowsOf = async (store: WorkStore): Promise<(number | null)[]> => deliveriesOf(await store.readStream('operations-webhook-w1')).map(({ position }) => position);
  const tracesOf = ({ log: all }: WorkStore): number[] => all.filter(({ type }) => type === 'TraceSwitched').map(({ position }) => position).reverse();
  const looker = (core: Core): Subscribers => new Subscribers(core, [() => webhookSubscribers(core)]);

  it('are asked to be told once, by however many look, and whatever was looked at before', () => world(async (core, store) => {
    const one = looker(core);
    await one.pump();
    await trace(core, true);
    await trace(core, false);
    await Promise.all([one.pump(), looker(core).pump()]);
    await trace(core, true);
    await looker(core).pump();
    await one.pump();
    const rows = deliveriesOf(await store.readStream('operations-webhook-w1'));
    expect(rows.map(({ number, event, position }) => [number, event, position])).toEqual([3, 2, 1].map((n) => [n, 'TraceSwitched', store.log.filter(({ type }) => type === 'TraceSwitched')[n - 1]!.position]));
    expect(new Set(rows.map(({ id }) => id)).size).toBe(3);
  }));

  it('go on from the last one that was asked for, whatever people asked for since', () => world(async (core, store) => {
    await trace(core, true);
    await trace(core, false);
    await looker(core).pump();
    // webhook:redeliver of the first, webhook:test
    for (const position of [tracesOf(store)[1]!, null]) {
      await change({ core, actor: 'me' }, 'test', 'x', (draft) => operate(draft, 'webhook-w1', { kind: WEBHOOK_KIND, subject: 'webhook w1', input: { webhook: 'w1', position, event: 'TraceSwitched', delivery: 'msg' } satisfies DeliveryInput, by: 'me' }));
    }
    await looker(core).pump();
    const [second, first] = tracesOf(store);
    expect(await rowsOf(store)).toEqual([null, first, second, first]);
  }));

  it('of a log of before are not told again what they were told', () => world(async (core, store) => {
    for (const on of [true, false, true]) await trace(core, on);
    const [, told] = tracesOf(store);
    const version = (await store.readStream(WEBHOOKS_STREAM)).length;
    await store.transact({ appends: [{ stream: WEBHOOKS_STREAM, expected: version, events: [{ type: 'WebhookDue', data: { webhook: 'w1', position: told! } }] }], meta: { actor: 'system:webhooks', command: 'webhook', correlation: 'x', causation: null, trace: '' }, now: 0 });
    await looker(core).pump();
    expect(await rowsOf(store)).toEqual(tracesOf(store).slice(0, 1));
  }));

  it('are called with a signature, and what they answer is judged', () => world(async (core, store, got, answer, secret) => {
    await trace(core, true);
    const position = await store.head();
    const input: DeliveryInput = { webhook: 'w1', position, event: 'TraceSwitched', delivery: 'msg_1' };
    const run = (over: Partial<DeliveryInput> = {}) => deliver(core)({ input: { ...input, ...over }, log, signal: new AbortController().signal, attempt: 1 } as unknown as OperationContext<DeliveryInput>);
    expect(await run()).toMatchObject({ status: 200 });
    const [{ headers, body }] = got as [typeof got[number]];
    expect(JSON.parse(body)).toMatchObject({ id: 'msg_1', type: 'TraceSwitched', position, data: { on: true } });
    // as standardwebhooks.com describes it
    const mac = createHmac('sha256', Buffer.from('k'.repeat(32))).update(`msg_1.${String(headers['webhook-timestamp'])}.${body}`).digest('base64');
    expect(headers).toMatchObject({ 'webhook-id': 'msg_1', 'webhook-signature': `v1,${mac}`, 'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}` });
    expect(signatures(secret, 'a', 1, 'b')['webhook-signature']).not.toBe(signatures(secret, 'a', 2, 'b')['webhook-signature']);
    for (const [status, fault] of [[500, 'machine'], [503, 'machine'], [429, 'machine'], [400, 'user'], [410, 'user'], [302, 'user']] as const) {
      answer(status);
      await expect(run(), String(status)).rejects.toMatchObject({ code: 'webhook.status', fault, message: expect.stringContaining(`it answered ${status}`) });
    }
    await expect(run({ webhook: 'w9' })).rejects.toMatchObject({ code: 'webhook.gone', fault: 'user' });
  }));
});
