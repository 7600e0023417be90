import { hostname } from 'node:os';
import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import type { Recorded } from '../../events/event.js';
import { eventAt } from '../../events/event-at.js';
import { StepFailure, type OperationWork } from '../../events/step.js';
import type { Message } from '../../plugins/contract/protocol.js';
import { namer } from '../copies/subject.js';
import type { Core } from '../core.js';
import { urlsOf } from '../deploys/follow.js';
import type { Plugins } from '../plugins/plugins.service.js';
import { seenEvent } from '../plugins/seen-event.js';
import { CHANNELS, type Posting } from './channel.js';
import { messageOf, testMessage, type About } from './message.js';
import { NOTIFICATIONS, notifications, type Notification } from './notification.decider.js';
import type { NotifyInput, NotifyOutput } from './notify.kind.js';

type Sees = Pick<Core, 'repository' | 'store' | 'box' | 'board' | 'services' | 'copies' | 'works' | 'config' | 'now'>;
interface Row { readonly id: string; readonly name: string }

/** What an event is about, as people call it now, and the app if it is about one. */
async function aboutOf(core: Sees, event: Recorded): Promise<{ about: About; app: Row | null }> {
  const { app, service, group, operation } = event.data as { app?: string; service?: string; group?: string; operation?: number };
  const row = app === undefined ? undefined : (await core.board.now()).apps[app];
  const { rows } = await core.services.now();
  const other = rows[service ?? app ?? group ?? ''];
  const copied = group === undefined ? null : ((await core.copies.now()).groups[group]?.subject ?? null);
  const worked = group === undefined ? undefined : (await core.works.now()).groups[group]?.rows.find((one) => one.operation === operation)?.subject;
  const subject = row?.name ?? (other && `${other.type} ${other.name}`) ?? (copied && (await namer(core))(copied)) ?? worked ?? app ?? group ?? null;
  return { about: { subject, url: row?.live ? (urlsOf(row.live.hosts, core.config.httpPort)[0] ?? null) : null, host: hostname() }, app: row ? { id: row.id, name: row.name } : null };
}

/** The step of a message: it is sent by whatever the notification tells by. */
export function send(core: Sees, plugins: Pick<Plugins, 'enabled' | 'ask'>): OperationWork<NotifyInput, NotifyOutput> {
  return async ({ input, log, signal, attempt }) => {
    const { all } = (await core.repository.load(notifications, NOTIFICATIONS)).state;
    const one = Object.hasOwn(all, input.notification) ? all[input.notification]! : null;
    if (!one) throw new StepFailure('notify.gone', `notification ${input.notification} was removed`);
    const event = input.position === null ? null : await eventAt(core.store, input.position);
    if (input.position !== null && event === null) throw new StepFailure('notify.no-event', `event #${input.position} is not in the log`);
    const { about, app } = event ? await aboutOf(core, event) : { about: { subject: null, url: null, host: hostname() }, app: null };
    const message = event ? messageOf(event, about) : testMessage(one.name, core.now(), about);
    const secrets = Object.fromEntries(await Promise.all(Object.entries(one.secrets).map(async ([name, value]) => [name, await core.box.unseal(value)] as const)));
    const hidden = (text: string): string => Object.values(secrets).reduce((shown, secret) => shown.replaceAll(secret, '***'), text);
    log.info(`Telling ${one.name} (${one.channel}): ${message.title}${attempt > 1 ? `, attempt ${attempt}` : ''}`);
    const posting: Posting = { options: { ...one.options, ...secrets }, message, id: input.delivery, host: about.host, anywhere: one.private, signal };
    try {
      const said = hidden(one.channel.startsWith('plugin:') ? await byPlugin(plugins, one, posting, event, app, (line) => log.output(hidden(line))) : await byOwn(one, posting));
      log.detail(said);
      return { said };
    } catch (error) {
      if (!(error instanceof StepFailure)) throw error;
      // whoever tries it out is waiting: once is enough
      throw new StepFailure(error.code, hidden(error.message), error.hint, event === null ? 'user' : error.fault);
    }
  };
}

function byOwn({ channel }: Notification, posting: Posting): Promise<string> {
  const found = CHANNELS.find(({ name }) => name === channel);
  if (!found) throw new StepFailure('notify.channel', `this Berth has no channel ${channel}`, 'see: berth notify:channels');
  return found.send(posting);
}

async function byPlugin(plugins: Pick<Plugins, 'enabled' | 'ask'>, { channel }: Notification, { options, message, id, signal }: Pick<Posting, 'options' | 'id' | 'signal'> & { message: Message }, event: Recorded | null, app: Row | null, onLine: (line: string) => void): Promise<string> {
  const [, name = '', word = ''] = /^plugin:([^/]+)\/(.+)$/.exec(channel) ?? [];
  const plugin = (await plugins.enabled()).find((each) => each.name === name);
  if (!plugin?.manifest.channels?.some((each) => each.name === word)) throw new StepFailure('notify.channel', plugin ? `plugin ${name} has no channel ${word} any more` : `plugin ${name} is not there, or disabled`, `berth plugin:info ${name}; then: berth jobs:retry`);
  try {
    const { answer } = await plugins.ask(plugin, { call: 'notify', channel: { name: word, options }, message, id, event: event && seenEvent(event) }, app, signal, onLine);
    if (answer.error !== undefined) throw new StepFailure('notify.refused', `plugin ${name}: ${answer.error}`, null, answer.retry ? 'machine' : 'user');
    return (answer.say ?? []).join('; ') || `plugin ${name} told it`;
  } catch (error) {
    if (!(error instanceof PluginFault)) throw error;
    throw new StepFailure(`plugin.${error.code}`, `plugin ${name} did not tell it: ${error.message}`, null, 'machine', { cause: error });
  }
}
