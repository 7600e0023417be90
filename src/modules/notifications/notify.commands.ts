import { randomBytes } from 'node:crypto';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Min } from 'class-validator';
import { isPrivateHost } from '../../drivers/http/call.js';
import { Rejected } from '../../events/decider.js';
import type { ChannelOption } from '../../events/types/plugin.events.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type OperationAnswer } from '../commands/command.js';
import { table } from '../commands/words.js';
import type { Core } from '../core.js';
import { change, operationsStream } from '../draft.js';
import { cancelAllOf } from '../operations/cancel-all.js';
import { deliveryRows, deliveryTable } from '../operations/delivery-rows.js';
import { operate } from '../operations/operations.service.js';
import { CHANNELS, type Channel } from './channel.js';
import { ROOT } from './channels/calling.js';
import { missing, NOTIFICATIONS, notifications, notifyGroup, NOTIFY_SEAL, wishesOf, type Notification } from './notification.decider.js';
import { NOTIFY_KIND, type NotifyInput, type NotifyOutput } from './notify.kind.js';
import { chosen, secretsFrom } from './options.js';

class AddInput {
  @IsOptional() @IsString() @Flag('only of this app, its volumes and its pushes', { type: 'string', label: 'app' }) app?: string;
  @IsOptional() @IsString() @Flag('failures (unless said), all, or types of events, with commas between', { type: 'string', label: 'events' }) events?: string;
  @IsOptional() @Flag('it may stand at a private address: only root on the server can say so') private?: boolean;
  @IsOptional() @Flag('what is secret is piped in: the secret itself, or lines of name=value where there are several; otherwise it is asked for') secretStdin?: boolean;
  @IsString() @Arg('what to call it') name!: string;
  @IsString() @Arg('by what: email, ntfy, slack, telegram, plugin:<plugin>/<channel>; see notify:channels') channel!: string;
  @IsOptional() @IsString({ each: true }) @Rest('its options that are not secret', { label: 'key=value', optional: true }) options?: string[];
}
class OneInput {
  @IsString() @Arg('its name, as notify:list says') name!: string;
}
class DeliveriesInput extends OneInput {
  @IsOptional() @Transform(({ value }) => (typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value)) @IsInt() @Min(1) @Flag('how many at most, the newest (20)', { type: 'number', short: 'n', label: 'n' }) num?: number;
}
class NoInput {}

interface Known { readonly channel: string; readonly title: string; readonly options: readonly ChannelOption[]; /** of Berth's own */ readonly own?: Channel }

/** Every channel that can be chosen now. */
async function channelsOf({ pluginHost }: Pick<Core, 'pluginHost'>): Promise<Known[]> {
  const theirs = ((await pluginHost?.enabled()) ?? []).flatMap(({ name, manifest }) => (manifest.channels ?? []).map((each): Known => ({ channel: `plugin:${name}/${each.name}`, title: each.title, options: each.options })));
  return [...CHANNELS.map((own): Known => ({ channel: own.name, title: own.title, options: own.options, own })), ...theirs];
}

async function oneOf(core: Core, name: string): Promise<Notification> {
  const { all } = (await core.repository.load(notifications, NOTIFICATIONS)).state;
  if (!Object.hasOwn(all, name)) throw missing(name);
  return all[name]!;
}

const add = command({
  name: 'notify:add', summary: 'Tell people when something happens (secrets piped in or typed)', example: 'berth notify:add ops slack --secret-stdin < url.txt', input: AddInput, http: { method: 'POST', path: '/notifications' },
  run: async (context, { name, channel, app, events: words, private: anywhere = false, secretStdin = false, options: given = [] }) => {
    const { core } = context;
    const known = await channelsOf(core);
    const found = known.find((each) => each.channel === channel);
    if (!found) throw new Rejected('notify.channel', `There is no channel '${channel.slice(0, 60)}'`, `there are: ${known.map((each) => each.channel).join(', ')}`);
    const row = app === undefined ? null : await core.app(app);
    const events = wishesOf(words);
    if (anywhere && context.origin !== 'local') throw new Rejected('notify.private', 'Only on the server itself can be said that private addresses may be called', 'as root on the server: berth notify:add --private …');
    const options = chosen(channel, found.options, given);
    const secrets = await secretsFrom(context, channel, found.options, options, secretStdin);
    const all = { ...options, ...secrets };
    const wrong = found.own?.check(all) ?? null;
    if (wrong !== null) throw new Rejected('notify.option', `${channel}: ${wrong}`, 'see: berth notify:channels');
    const host = found.own?.host(all) ?? '';
    if (!anywhere && isPrivateHost(host)) throw new Rejected('notify.private', `${host} is a private address, which is not called`, `as root on the server: ${ROOT}`);
    await core.box.requireKey(NOTIFY_SEAL);
    const sealed = Object.fromEntries(await Promise.all(Object.entries(secrets).map(async ([key, value]) => [key, await core.box.seal(NOTIFY_SEAL, value)] as const)));
    const from = await core.store.head();
    await change(context, 'notify:add', NOTIFICATIONS, (draft) => draft.decide(notifications, NOTIFICATIONS, { type: 'Add', name, channel, app: row?.id ?? null, events, options, secrets: sealed, private: anywhere, from }));
    return { name, channel, app: row?.name ?? null, events };
  },
  render: ({ name, channel, app, events }, out) => {
    out.info(`${name} is told by ${channel} of ${events.join(', ')}, of ${app ?? 'all apps and the server'}`);
    out.detail(`try it: berth notify:test ${name}`);
  },
});

const remove = command({
  name: 'notify:remove', summary: 'Tell no more; messages that wait are cancelled', example: 'berth notify:remove ops', input: OneInput, http: { method: 'DELETE', path: '/notifications/:name' },
  run: async (context, { name }) => {
    await change(context, 'notify:remove', NOTIFICATIONS, async (draft) => {
      await draft.decide(notifications, NOTIFICATIONS, { type: 'Remove', name });
      await cancelAllOf(draft, notifyGroup(name), context.actor, 'the notification was removed');
    });
    return { name };
  },
  render: ({ name }, out) => out.info(`Removed notification ${name}`),
});

const list = command({
  name: 'notify:list', summary: 'List who is told what, and how', example: 'berth notify:list', input: NoInput, http: { method: 'GET', path: '/notifications' }, reads: true,
  run: async ({ core }) => {
    const { all } = (await core.repository.load(notifications, NOTIFICATIONS)).state;
    const { apps } = await core.board.now();
    return Object.values(all).map(({ name, channel, app, events, options, secrets, private: anywhere }) => ({ name, channel, app: app === null ? null : (apps[app]?.name ?? `${app} (destroyed)`), events, options: { ...options, ...Object.fromEntries(Object.keys(secrets).map((key) => [key, '(sealed)'])) }, private: anywhere }));
  },
  render: (rows, out) => {
    if (rows.length === 0) return out.info('Nobody is told anything: berth notify:add <name> <channel>; berth notify:channels');
    for (const line of table(['NAME', 'CHANNEL', 'OF', 'EVENTS', 'OPTIONS'], rows.map((r) => [r.name, r.channel, r.app ?? '(all)', r.events.join(','), Object.entries(r.options).map(([key, value]) => `${key}=${value}`).join(' ') + (r.private ? ' (may be private)' : '')]))) out.line(line);
  },
});

const channels = command({
  name: 'notify:channels', summary: 'List the channels, those of plugins too, and what each is set up with', example: 'berth notify:channels', input: NoInput, http: { method: 'GET', path: '/notification-channels' }, reads: true,
  run: async ({ core }) => (await channelsOf(core)).map(({ channel, title, options }) => ({ channel, title, options })),
  render: (all, out) => {
    for (const { channel, title, options } of all) {
      out.line(`${channel}: ${title}`);
      for (const { name, about, secret, optional } of options) out.line(`    ${name.padEnd(12)}${about}${secret ? ' (secret: piped in or typed)' : ''}${optional ? ' (may be left out)' : ''}`);
    }
  },
});

const deliveries = command({
  name: 'notify:deliveries', summary: 'List what was told, and what went wrong; the newest first', example: 'berth notify:deliveries ops', input: DeliveriesInput, http: { method: 'GET', path: '/notifications/:name/deliveries' }, reads: true,
  run: async ({ core }, { name, num = 20 }) => {
    const { from } = await oneOf(core, name);
    // not those of another that was called so before
    const events = (await core.store.readStream(operationsStream(notifyGroup(name)))).filter(({ position }) => position > from);
    return { name, deliveries: deliveryRows(events).slice(0, num).map(({ output, heard: _, ...row }) => ({ ...row, said: (output as NotifyOutput | null)?.said ?? null })) };
  },
  render: ({ name, deliveries: rows }, out) => {
    if (rows.length === 0) return out.info(`${name} was told nothing yet: berth notify:test ${name}`);
    for (const line of deliveryTable(rows, ['SAID', ({ said }) => said ?? '-'])) out.line(line);
  },
});

const test = command({
  name: 'notify:test', summary: 'Send a message to see whether it arrives', example: 'berth notify:test ops', input: OneInput, http: { method: 'POST', path: '/notifications/:name/test' },
  run: async (context: CommandContext, { name }): Promise<OperationAnswer & { name: string; channel: string }> => {
    const { channel } = await oneOf(context.core, name);
    const group = notifyGroup(name);
    const input: NotifyInput = { notification: name, position: null, event: 'Test', delivery: `msg_${name}_${randomBytes(8).toString('hex')}` };
    const { answer } = await change(context, 'notify:test', group, (draft) => operate(draft, group, { kind: NOTIFY_KIND, subject: `notification ${name}`, input, by: context.actor }));
    return { name, channel, group, operation: answer };
  },
  render: ({ name, channel }, out) => out.info(`Telling ${name} by ${channel}`),
  finish: async (_, { name }, out) => { out.info(`${name} was told`); },
});

export const notifyCommands = [forget(add), forget(remove), forget(list), forget(channels), forget(deliveries), forget(test)];
