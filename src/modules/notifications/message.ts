import type { Recorded } from '../../events/event.js';
import type { AnyEvent, EventType } from '../../events/types/all.events.js';
import type { Message } from '../../plugins/contract/protocol.js';
import { seconds, when } from '../commands/words.js';
import { tell } from '../history/tell.js';

type Data<T extends EventType> = Extract<AnyEvent, { type: T }>['data'];
/** What an event is about, as people call it (`blog`, `postgres shop`, `volume blog/data`), and where it answers. */
export interface About { readonly subject: string | null; readonly url: string | null; /** the server */ readonly host: string }
interface Said { readonly title: string; readonly lines?: readonly (string | null)[]; readonly level: Message['level'] }
type Sayings = { readonly [T in EventType]?: (data: Data<T>, subject: string) => Said };

const TITLE_MAX = 200;
const TEXT_MAX = 3000;

const COPY = { backup: 'was not backed up', verify: 'has a backup that cannot be brought back', restore: 'was not restored' } as const;

/** What is said in words of its own; of other types what `berth events` shows. */
const SAYINGS: Sayings = {
  DeployFailed: ({ deploy, step, failure, job }, app) => ({ title: `${app}: deploy ${deploy} failed in ${step}`, lines: [failure.message, failure.hint, 'What served before goes on serving.', `Look: berth trace ${app} ${deploy}; once more: berth jobs:retry ${job}`], level: 'error' }),
  DeploySucceeded: ({ deploy, release }, app) => ({ title: `${app}: deploy ${deploy} is live${release === null ? '' : `, v${release}`}`, level: 'good' }),
  DeployCancelled: ({ deploy, by, reason }, app) => ({ title: `${app}: deploy ${deploy} was cancelled`, lines: [`by ${by}: ${reason}`], level: 'info' }),
  CrashLoopDetected: ({ repairs, withinMs, nextTry }, app) => ({ title: `${app} ends again and again`, lines: [`It was started ${repairs} times within ${seconds(withinMs)} and did not stay up; the next try is at ${when(nextTry)} UTC.`, `Look: berth logs ${app}; then push a fix, or roll back.`], level: 'error' }),
  CopyFailed: ({ what, step, failure }, subject) => ({ title: `${subject} ${COPY[what]}`, lines: [`It failed in ${step}: ${failure.message}`, failure.hint], level: 'error' }),
  BackupFailed: ({ to, message }) => ({ title: 'The server was not backed up', lines: [`To ${to}: ${message}`, 'See: berth backup:list'], level: 'error' }),
  AuditFailed: ({ message, position }) => ({ title: 'The event log is not as it was written', lines: [`${message} (at event ${position})`, 'Look: berth audit:verify'], level: 'error' }),
  PluginDisabled: ({ plugin, reason }) => ({ title: `Plugin ${plugin} was disabled`, lines: [reason, `Bring it up to date: berth plugin:update ${plugin}`], level: 'warning' }),
  OperationFailed: ({ operation, step, failure, group }, subject) => ({ title: `${subject}: operation ${operation} failed in ${step}`, lines: [failure.message, failure.hint, `Look: berth operations:show ${group} ${operation}`], level: 'error' }),
  TroubleSeen: ({ check, health, detail, means, todo }) => ({ title: `${check}: ${detail}`, lines: [means, todo], level: health === 'bad' ? 'error' : 'warning' }),
  TroubleEnded: ({ check, detail, lastedMs }) => ({ title: `${check}: well again`, lines: [detail, `It lasted ${seconds(lastedMs)}.`], level: 'good' }),
};

const short = (text: string, max: number): string => (text.length > max ? `${text.slice(0, max - 1)}…` : text);
/** `ServiceCreated` → `service created` */
const spelt = (type: string): string => type.replaceAll(/(?<=[a-z])[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`).toLowerCase();

/** What people are told of an event: plain words, and nothing that is sealed. Pure. */
export function messageOf(event: Recorded, { subject, url, host }: About): Message {
  const say = SAYINGS[event.type as EventType] as ((data: never, subject: string) => Said) | undefined;
  const { title, lines = [], level } = say?.(event.data as never, subject ?? 'it') ?? { title: `${subject === null ? '' : `${subject}: `}${spelt(event.type)}`, lines: [tell(event, 500)], level: /Failed|Lost/.test(event.type) ? 'error' as const : 'info' as const };
  const text = [...lines.filter((line) => line !== null && line !== ''), `${when(event.at)} UTC, ${host}, by ${event.meta.actor}`].join('\n');
  return { title: short(title.replace(/\s+/g, ' '), TITLE_MAX), text: short(text, TEXT_MAX), level, ...(url !== null && { url }) };
}

/** What a test says. */
export const testMessage = (name: string, now: number, { host }: Pick<About, 'host'>): Message => ({ title: `Berth tells you by ${name}`, text: `This is a test: nothing happened.\n${when(now)} UTC, ${host}`, level: 'info' });
