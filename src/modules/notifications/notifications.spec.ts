import fc from 'fast-check';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import type { Recorded } from '../../events/event.js';
import type { ChannelOption } from '../../events/types/plugin.events.js';
import { CHANNELS } from './channel.js';
import { messageOf, testMessage } from './message.js';
import { isFailure, notifications, SAYABLE, tellingBy, typesOf, wishesOf, type Notification } from './notification.decider.js';
import { notifySubscribers } from './notify.subscribed.js';
import { chosen, secretsFrom, secretsIn } from './options.js';

const sealed = { k: 'notifications', iv: '', ct: 'ciphertext', tag: '' };
const one: Notification = { name: 'ops', channel: 'slack', app: null, events: ['failures'], options: {}, secrets: { url: sealed }, private: false, from: 3 };
const event = (type: string, data: object, more: object = {}): Recorded => ({ position: 9, id: 'e', at: Date.UTC(2026, 10, 23, 4), type, data, meta: { actor: 'key:ada' }, stream: 's', version: 1, schema: 1, ...more }) as unknown as Recorded;

describe('notifications', () => {
  it('have a name that is theirs alone, until they are removed', () => {
    given(notifications).when({ type: 'Add', ...one }).then({ type: 'NotificationAdded', data: one });
    given(notifications, [{ type: 'NotificationAdded', data: one }]).when({ type: 'Add', ...one }).rejects('notify.exists');
    given(notifications, [{ type: 'NotificationAdded', data: one }, { type: 'NotificationRemoved', data: { name: 'ops' } }]).when({ type: 'Add', ...one }).then({ type: 'NotificationAdded', data: one });
    for (const name of ['', 'Ops', 'a b', 'a.b', '-a', 'constructor', 'x'.repeat(41)]) given(notifications).when({ type: 'Add', ...one, name }).rejects('notify.name');
    for (const name of ['ops', 'constructor']) given(notifications).when({ type: 'Remove', name }).rejects('notify.missing');
    expect(tellingBy({ all: { a: { ...one, name: 'a', channel: 'plugin:sms/text' }, ops: one } }, 'sms')).toEqual(['a']);
    expect(tellingBy({ all: { a: { ...one, name: 'a', channel: 'plugin:sms-two/text' } } }, 'sms')).toEqual([]);
  });

  it('are of failures, of all, or of types', () => {
    expect(wishesOf(undefined)).toEqual(['failures']);
    expect(wishesOf('failures, DeploySucceeded failures')).toEqual(['failures', 'DeploySucceeded']);
    expect(typesOf(['failures'])).toEqual(expect.arrayContaining(['DeployFailed', 'CrashLoopDetected', 'CopyFailed', 'TroubleSeen']));
    expect(typesOf(['failures'])).not.toContain('DeploySucceeded');
    expect(typesOf(['all'])).toEqual(expect.arrayContaining(['DeployFailed', 'DeploySucceeded']));
    expect(typesOf(['ConfigSet', 'ConfigSet'])).toEqual(['ConfigSet']);
    for (const bad of ['Nonsense', 'OperationRequested', 'NotificationAdded', 'constructor']) expect(() => wishesOf(bad)).toThrow(/nothing that people are told/);
    expect(typesOf(['failures', 'all']).every((type) => SAYABLE.includes(type))).toBe(true);
    expect(isFailure(event('PluginDisabled', { plugin: 'p', reason: 'by key:ada' }))).toBe(false);
    expect(isFailure(event('PluginDisabled', { plugin: 'p', reason: 'it does not load: no curl' }))).toBe(true);
    expect(isFailure(event('OperationFailed', { group: 'push-abc' }))).toBe(true);
    expect(isFailure(event('OperationFailed', { group: 'volume-abc-data' }))).toBe(false);
  });

  it('of one app hear of that app, its volumes and its pushes; what was asked for by its name comes however it came about', async () => {
    const told = async (more: Partial<Notification>, happened: Recorded): Promise<boolean> => {
      const [subscriber] = await notifySubscribers({ repository: { load: async () => ({ state: { all: { ops: { ...one, ...more } } }, version: 1 }) } as never });
      expect(subscriber).toMatchObject({ group: 'notify-ops', since: 3 });
      return subscriber!.types.includes(happened.type) && subscriber!.wants(happened);
    };
    const [failed, other] = [event('DeployFailed', { app: 'abc' }), event('DeployFailed', { app: 'other' })];
    expect([await told({}, failed), await told({}, other), await told({ app: 'abc' }, failed), await told({ app: 'abc' }, other)]).toEqual([true, true, true, false]);
    expect(await told({ app: 'abc' }, event('CopyFailed', { group: 'volume-abc-data' }))).toBe(true);
    expect(await told({ app: 'abc' }, event('CopyFailed', { group: 'volume-other-data' }))).toBe(false);
    expect(await told({ app: 'abc' }, event('OperationFailed', { group: 'push-abc' }))).toBe(true);
    expect(await told({ app: 'abc' }, event('BackupFailed', { to: '-' }))).toBe(false);
    const byHand = event('PluginDisabled', { plugin: 'p', reason: 'by key:ada' });
    expect([await told({}, byHand), await told({ events: ['PluginDisabled'] }, byHand), await told({ events: ['all'] }, byHand)]).toEqual([false, true, true]);
    const backup = event('OperationFailed', { group: 'volume-abc-data' });
    expect([await told({}, backup), await told({ events: ['all'] }, backup), await told({ events: ['OperationFailed'] }, backup)]).toEqual([false, false, true]);
  });
});

describe('a message', () => {
  const about = { subject: 'blog', url: 'http://blog.test', host: 'server' };
  it('says what failed, why, and what to do', () => {
    const failure = { code: 'release.exit', message: 'the release command ended with exit code 1', hint: 'see its output', fault: 'user' };
    expect(messageOf(event('DeployFailed', { app: 'abc', deploy: 7, job: 'abc.7.release', step: 'release', failure }), about)).toEqual({
      title: 'blog: deploy 7 failed in release', level: 'error', url: 'http://blog.test',
      text: 'the release command ended with exit code 1\nsee its output\nWhat served before goes on serving.\nLook: berth trace blog 7; once more: berth jobs:retry abc.7.release\n2026-11-23 04:00:00 UTC, server, by key:ada',
    });
    expect(messageOf(event('DeploySucceeded', { app: 'abc', deploy: 7, release: 3 }), about)).toMatchObject({ title: 'blog: deploy 7 is live, v3', level: 'good' });
    expect(messageOf(event('CopyFailed', { group: 'g', what: 'backup', step: 'dump', failure }), { ...about, subject: 'postgres shop' })).toMatchObject({ title: 'postgres shop was not backed up' });
    expect(messageOf(event('TroubleSeen', { check: 'disk (log)', health: 'bad', detail: '1 GB free', means: 'm', todo: 't', at: 0 }), { ...about, subject: null, url: null })).toMatchObject({ title: 'disk (log): 1 GB free', text: expect.stringMatching(/^m\nt\n/), level: 'error' });
    expect(testMessage('ops', 0, about)).toMatchObject({ title: 'Berth tells you by ops', level: 'info' });
  });

  it('can be made of every event that ever was, is short, one line and a text, and says nothing that is sealed', () => {
    const folder = new URL('../../../test/events/', import.meta.url);
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
      const sample = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Recorded;
      const { title, text } = messageOf(sample, about);
      expect(title, name).toMatch(/^[^\n]{3,200}$/);
      expect(text.length, name).toBeLessThanOrEqual(3000);
      expect(title + text, name).not.toMatch(/undefined|\[object|"ct"|NaN/);
    }
    expect(messageOf(event('ConfigSet', { app: 'abc', values: { KEY: sealed } }), about)).toMatchObject({ title: 'blog: config set', text: expect.stringMatching(/^KEY=\(sealed\)\n/) });
    expect(messageOf(event('BackupFailed', { to: '-', code: 'x', message: 'y'.repeat(9000) }), about).text.length).toBe(3000);
  });
});

describe('a channel over HTTP', () => {
  it('is called as its server has it; what it answers is judged', async () => {
    const got: { url: string; body: Record<string, unknown> }[] = [];
    let status = 200;
    const server = createServer((request, response) => {
      let text = '';
      request.setEncoding('utf8').on('data', (piece: string) => { text += piece; }).on('end', () => { got.push({ url: request.url!, body: JSON.parse(text) as Record<string, unknown> }); response.writeHead(status).end('said'); });
    });
    await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
    try {
      const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const message = { title: 'blog <b> & co', text: 'why\nwhat to do', level: 'warning', url: 'http://blog.test' } as const;
      const send = (channel: string, options: Record<string, string>): Promise<string> => CHANNELS.find(({ name }) => name === channel)!.send({ options, message, id: 'msg', host: 'here', anywhere: true, signal: new AbortController().signal });
      expect(await send('telegram', { chat: '-100123', token: '1:abc', server: `${base}/` })).toMatch(/^it answered 200 after \d+ ms$/);
      await send('slack', { url: `${base}/services/T/B/x` });
      await send('ntfy', { url: `${base}/my-topic` });
      expect(got).toEqual([
        { url: '/bot1:abc/sendMessage', body: { chat_id: '-100123', text: '⚠️ blog <b> & co\nwhy\nwhat to do\nhttp://blog.test', link_preview_options: { is_disabled: true } } },
        { url: '/services/T/B/x', body: { text: '*blog &lt;b&gt; &amp; co*', attachments: [{ color: '#f9a825', fallback: 'why\nwhat to do', text: 'why\nwhat to do', title: 'http://blog.test', title_link: 'http://blog.test' }] } },
        { url: '/', body: { topic: 'my-topic', title: 'blog <b> & co', message: 'why\nwhat to do', priority: 4, tags: ['warning'], click: 'http://blog.test' } },
      ]);
      for (const [code, fault] of [[500, 'machine'], [429, 'machine'], [404, 'user'], [302, 'user']] as const) {
        status = code;
        await expect(send('ntfy', { url: `${base}/t` })).rejects.toMatchObject({ code: 'notify.status', fault, message: expect.stringMatching(new RegExp(`^it answered ${code} .*: said$`)) });
      }
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

describe('options', () => {
  const options: ChannelOption[] = [{ name: 'to', about: 'whom' }, { name: 'via', about: 'how', optional: true }, { name: 'key', about: 'the key', secret: true }];
  it('are words; what is secret never is, and no word is shown back', () => {
    expect(chosen('sms', options, ['to=a=b', 'via=x'])).toEqual({ to: 'a=b', via: 'x' });
    for (const [words, said] of [[['to=a', 'key=s3cret'], /key of sms is a secret/], [['to=a', 's3cret'], /Options are key=value/], [[], /sms wants to \(whom\)/], [['to=a', 'to=b'], /twice/], [['to='], /empty/], [['to=a\nb'], /more than one line/], [['to=a', 'x=y'], /no option 'x'/]] as const) {
      const refusal = ((): Error => { try { chosen('sms', options, words); } catch (error) { return error as Error; } throw new Error(`${words.join(' ')} was taken`); })();
      expect(refusal.message).toMatch(said);
      expect(`${refusal.message} ${String((refusal as { hint?: string }).hint)}`).not.toContain('s3cret');
    }
  });

  it('that are secret are piped in: the one that there is, or lines', () => {
    const [, , key] = options as [ChannelOption, ChannelOption, ChannelOption];
    expect(secretsIn('sms', [key], 'https://x?a=b\n')).toEqual({ key: 'https://x?a=b' });
    expect(secretsIn('sms', [key, { name: 'pin', about: '', secret: true }], 'pin=12\r\nkey=a=b\n')).toEqual({ pin: '12', key: 'a=b' });
    expect(() => secretsIn('sms', [key, { name: 'pin', about: '', secret: true }], 's3cret')).toThrow(/Line 1 of what was piped in names no secret of sms$/);
    expect(secretsIn('sms', [key], '')).toEqual({});
    fc.assert(fc.property(fc.string(), (text) => { try { secretsIn('sms', [key], text); } catch (error) { expect(error).toMatchObject({ code: 'notify.option' }); } }));
  });

  it('that are secret are asked for one after another where somebody sits', async () => {
    const asked: string[] = [];
    const context = (typed: readonly string[], over: object = {}) => ({ hasStdin: false, stdin: async () => Buffer.from(''), askSecret: async (prompt: string) => { asked.push(prompt); return typed[asked.length - 1] ?? ''; }, ...over });
    const email = CHANNELS.find(({ name }) => name === 'email')!.options;
    expect(await secretsFrom(context(['pw']), 'email', email, { user: 'u' }, false)).toEqual({ password: 'pw' });
    expect(await secretsFrom(context([]), 'email', email, {}, false)).toEqual({}); // no user: nobody is asked
    expect(asked).toHaveLength(1);
    await expect(secretsFrom(context(['']), 'sms', options, {}, false)).rejects.toThrow(/sms wants key \(the key\), piped in or typed/);
    await expect(secretsFrom(context([]), 'sms', options, {}, true)).rejects.toThrow(/Nothing is piped in/);
    expect(await secretsFrom(context([], { hasStdin: true, stdin: async () => Buffer.from('k\n') }), 'sms', options, {}, true)).toEqual({ key: 'k' });
  });

  it('of Berth\'s own channels are judged before anything is kept', () => {
    const wrong = (channel: string, given: Record<string, string>): string | null => CHANNELS.find(({ name }) => name === channel)!.check(given);
    const mail = { server: 'mail.example.com', from: 'a@b.c', to: 'd@e.f, g@h.i' };
    expect([wrong('email', mail), wrong('email', { ...mail, server: '[::1]:465', user: 'u', password: 'p' }), wrong('slack', { url: 'https://hooks.slack.com/services/T/B/x' }), wrong('ntfy', { url: 'https://ntfy.sh/my-topic' }), wrong('telegram', { chat: '-100123', token: '123456:ABCdefghij-_k' })]).toEqual([null, null, null, null, null]);
    for (const [given, said] of [[{ server: 'a b' }, /server/], [{ server: 'x:99999' }, /server/], [{ to: 'nobody' }, /not an address of mail/], [{ to: ' , ' }, /names nobody/], [{ from: 'a@b\nc' }, /not an address/], [{ security: 'ssl' }, /one of/], [{ user: 'u' }, /no password/], [{ password: 'p' }, /no user/], [{ user: 'u', password: 'p', security: 'none' }, /in clear/]] as const) expect(wrong('email', { ...mail, ...given })).toMatch(said);
    for (const url of ['ftp://x/y', 'x', '', 'http://u:p@h/']) expect(wrong('slack', { url })).toMatch(/not an address to call/);
    expect(wrong('ntfy', { url: 'https://ntfy.sh/' })).toMatch(/no topic/);
    expect(wrong('telegram', { chat: 'me', token: '1:x' })).toMatch(/chat/);
    expect(wrong('telegram', { chat: '1', token: 'x' })).toMatch(/token/);
  });
});
