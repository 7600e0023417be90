import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import { SCHEMAS, type EventType } from '../../events/types/all.events.js';
import type { NotificationEvent } from '../../events/types/notification.events.js';
import { OPERATION_EVENTS } from '../../events/types/operation.events.js';
import { deliveryGroup } from '../operations/delivery.state.js';
import { DOES_NOT_LOAD } from '../plugins/plugin.decider.js';

export const NOTIFICATIONS = 'notifications';
/** id of the key that seals their secrets */
export const NOTIFY_SEAL = 'notifications';
export const notifyGroup = (name: string): string => deliveryGroup('notify', name);

export type Notification = Extract<NotificationEvent, { type: 'NotificationAdded' }>['data'];
/** Stream `notifications`, by name. */
export interface NotificationsState { readonly all: Readonly<Record<string, Notification>> }
export type NotificationCommand = ({ type: 'Add' } & Notification) | { type: 'Remove'; name: string };

const MOST = 100;
const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

/** What people are told when nothing else is said: what went wrong while nobody looked, and that it is over. */
export const FAILURES: readonly EventType[] = ['DeployFailed', 'CrashLoopDetected', 'CopyFailed', 'BackupFailed', 'AuditFailed', 'PluginDisabled', 'OperationFailed', 'TroubleSeen', 'TroubleEnded'];
/** What else one may like to hear of. */
const MORE: readonly EventType[] = ['DeploySucceeded', 'DeployCancelled', 'AppCreated', 'AppRenamed', 'AppDestroyed', 'CopyTaken', 'CopyRestored', 'BackupTaken', 'RestoreEnded', 'ServiceCreated', 'ServiceDestroyed', 'PluginInstalled', 'PluginUpdated', 'PluginEnabled', 'PluginUninstalled'];
/** what nobody is told: what makes notifications, and steps by the dozen */
const NEVER: readonly string[] = [...OPERATION_EVENTS.filter((type) => type !== 'OperationFailed'), 'NotificationAdded', 'NotificationRemoved', 'WebhookDue', 'RequestCarriedOut', 'RequestAnswered'];
export const SAYABLE: readonly string[] = Object.keys(SCHEMAS).filter((type) => !NEVER.includes(type)).sort();

/** `failures`, `all` and types of events from a list of words. @throws Rejected for one that there is not */
export function wishesOf(text: string | undefined): readonly string[] {
  const words = (text ?? '').split(/[\s,]+/).filter(Boolean);
  for (const word of words) if (!['failures', 'all', ...SAYABLE].includes(word)) throw new Rejected('notify.event', `'${word.slice(0, 60)}' is nothing that people are told`, `failures, all, or some of: ${SAYABLE.join(' ')}`);
  return words.length > 0 ? [...new Set(words)] : ['failures'];
}

/** Types of events that were wished for. */
export function typesOf(wishes: readonly string[]): readonly string[] {
  return [...new Set(wishes.flatMap((wish): readonly string[] => (wish === 'failures' ? FAILURES : wish === 'all' ? [...FAILURES, ...MORE] : [wish])))];
}

/** Whether `failures` means this one, too: not what somebody did on purpose, and nothing twice. */
export function isFailure({ type, data }: Pick<Recorded, 'type' | 'data'>): boolean {
  if (type === 'PluginDisabled') return (data as { reason: string }).reason.startsWith(DOES_NOT_LOAD);
  // of the others somebody waits for the end, or there is an event of its own (backups)
  if (type === 'OperationFailed') return (data as { group: string }).group.startsWith('push-');
  return true;
}

/** Names of those that tell by a channel of this plugin. */
export const tellingBy = ({ all }: NotificationsState, plugin: string): string[] => Object.values(all).filter(({ channel }) => channel.startsWith(`plugin:${plugin}/`)).map(({ name }) => name);

export const missing = (name: string): Rejected => new Rejected('notify.missing', `There is no notification ${name.slice(0, 60)}`, 'see: berth notify:list');

export const notifications: Decider<NotificationsState, NotificationCommand, NotificationEvent> = {
  initial: { all: {} },
  decide(command, { all }) {
    switch (command.type) {
      case 'Add': {
        const { type: _, ...data } = command;
        if (!NAME.test(data.name) || data.name.length > 40 || data.name === 'constructor') throw new Rejected('notify.name', `'${data.name.slice(0, 60)}' will not do as a name`, 'lower-case letters, digits and hyphens, a letter first, at most 40: ops');
        if (Object.hasOwn(all, data.name)) throw new Rejected('notify.exists', `There is a notification ${data.name} already, by ${all[data.name]!.channel}`, `give this one another name, or first: berth notify:remove ${data.name}`);
        if (Object.keys(all).length >= MOST) throw new Rejected('notify.most', `There are ${MOST} notifications already`, 'see: berth notify:list');
        return [{ type: 'NotificationAdded', data }];
      }
      case 'Remove':
        if (!Object.hasOwn(all, command.name)) throw missing(command.name);
        return [{ type: 'NotificationRemoved', data: { name: command.name } }];
      default: return never(command);
    }
  },
  evolve({ all }, event) {
    const { [event.data.name]: _, ...others } = all;
    switch (event.type) {
      case 'NotificationAdded': return { all: { ...others, [event.data.name]: event.data } };
      case 'NotificationRemoved': return { all: others };
      default: return never(event);
    }
  },
};
