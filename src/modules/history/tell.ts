import type { Recorded } from '../../events/event.js';
import type { AnyEvent, EventType } from '../../events/types/all.events.js';
import { bytes, seconds, when } from '../commands/words.js';
import { brief, masked } from './mask.js';

type Data<T extends EventType> = Extract<AnyEvent, { type: T }>['data'];
type Words = { readonly [T in EventType]?: (data: Data<T>) => string };

const short = (sha: string | null): string => sha?.slice(0, 7) ?? '';
const step = (d: { deploy: number; step: string }): string => `deploy ${d.deploy} ${d.step}`;
const did = (d: { deploy: number; step: string; attempt: number; tookMs: number }): string => `${step(d)} in ${seconds(d.tookMs)}${d.attempt > 1 ? `, attempt ${d.attempt}` : ''}`;
const counts = (record: Readonly<Record<string, number>>): string => Object.entries(record).map(([type, n]) => `${type}=${n}`).join(' ') || 'none';
const asked = (d: Data<'BuildRequested'>): string => [`deploy ${d.deploy}, ${d.kind}`, d.source.sha && `of ${short(d.source.sha)}`, d.source.branch && `on ${d.source.branch}`, d.source.release && `to v${d.source.release}`].filter(Boolean).join(' ');
const fromTo = (d: { key: string; from: string | null; to: string | null }): string => `${d.key}: ${d.from ?? 'not set'} → ${d.to ?? 'not set'}`;

/** What happened, for people. A type that is not here is shown as its data. */
const WORDS: Words = {
  AppCreated: (d) => d.name,
  AppRenamed: (d) => `${d.from} → ${d.to}`,
  AppDestroyed: (d) => d.name,
  NameClaimed: (d) => d.name,
  NameReleased: (d) => d.name,
  DeployBranchSet: (d) => `${d.branch ?? 'none'}${d.why === 'first-push' ? ', by the first push' : ''}`,
  AppSettingChanged: fromTo,
  DomainAdded: (d) => d.domain,
  DomainRemoved: (d) => d.domain,
  ConfigSet: (d) => Object.keys(d.values).map((key) => `${key}=(sealed)`).join(' '),
  ConfigUnset: (d) => d.keys.join(' '),
  ContainerScaled: (d) => `${counts(d.from)} → ${counts(d.to)}`,
  SshKeyAdded: (d) => `${d.name} ${d.fingerprint}`,
  SshKeyRemoved: (d) => `${d.name} ${d.fingerprint}`,
  TokenCreated: (d) => d.name,
  TokenRevoked: (d) => d.name,
  GlobalDomainSet: (d) => d.domains.join(' '),
  TraceSwitched: (d) => (d.on ? 'on' : 'off'),
  ServerSettingChanged: fromTo,
  DriftDetected: (d) => `${d.subject}: ${d.what.replace('container-', '')}, ${d.detail}`,
  DriftEnded: (d) => `${d.subject}: ${d.what.replace('container-', '')}, after ${seconds(d.lastedMs)}`,
  RepairStarted: (d) => `attempt ${d.attempt}: ${d.subjects.join(', ')}`,
  CrashLoopDetected: (d) => `${d.repairs} repairs within ${seconds(d.withinMs)}; the next try at ${when(d.nextTry)}`,
  BuildRequested: asked,
  DeployRequested: asked,
  DeployStarted: (d) => `deploy ${d.deploy}`,
  DeploySuperseded: (d) => `deploy ${d.deploy}, by deploy ${d.by}`,
  StepQueued: (d) => `${step(d)}${d.retryOf ? `, again after ${d.retryOf}` : ''}`,
  StepStarted: (d) => `${step(d)}, attempt ${d.attempt} by ${d.worker}, waited ${seconds(d.waitedMs)}`,
  SourceCloned: (d) => `${did(d)}: ${short(d.output.sha)} "${d.output.subject}", ${d.output.files} ${d.output.files === 1 ? 'file' : 'files'}, ${bytes(d.output.bytes)}`,
  BuildpackDetected: (d) => `${did(d)}: ${d.output.summary}`,
  ImageBuilt: (d) => `${did(d)}: ${d.output.image}, ${bytes(d.output.bytes)}`,
  ContainersStarted: (d) => `${did(d)}: ${d.output.containers.map((c) => `${c.type}.${c.index}`).join(' ') || 'none'}`,
  ReleaseCreated: (d) => `v${d.number} by deploy ${d.deploy}: ${d.why}`,
  RouteSwitched: (d) => `${did(d)}: ${d.output.hosts.join(' ')}`,
  StepFailed: (d) => `${did(d)}: ${d.failure.message} (${d.failure.code})${d.retryAt === null ? '' : `; again at ${when(d.retryAt).slice(11)}`}`,
  DeploySucceeded: (d) => `deploy ${d.deploy}${d.release === null ? '' : `, v${d.release} serves`}`,
  DeployFailed: (d) => `${step(d)}: ${d.failure.message} (${d.failure.code})`,
  DeployCancelled: (d) => `deploy ${d.deploy}: ${d.reason}`,
  ContainersLost: (d) => `${d.containers.length} of deploy ${d.deploy}: ${d.reason}`,
  JobRetried: (d) => `${d.job}${d.edits ? ` with ${Object.entries(d.edits).map(([path, value]) => `${path}=${value}`).join(' ')}` : ''}`,
  JobDiscarded: (d) => `${d.job}${d.reason ? `: ${d.reason}` : ''}`,
  WebhookAdded: (d) => `${d.webhook}: ${d.events.join(' ')}${d.app === null ? '' : ` of ${d.app}`}`,
  WebhookRemoved: (d) => d.webhook,
  WebhookDue: (d) => `${d.webhook}: #${d.position}`,
  NotificationAdded: (d) => `${d.name}: ${d.channel}, ${d.events.join(' ')}${d.app === null ? '' : ` of ${d.app}`}`,
  NotificationRemoved: (d) => d.name,
  TroubleSeen: (d) => `${d.check}: ${d.detail}`,
  TroubleEnded: (d) => `${d.check}: ${d.detail}, after ${seconds(d.lastedMs)}`,
  PushHookEnabled: (d) => `${d.provider}: ${d.url}${d.branch === null ? '' : ` ${d.branch}`}`,
  PushHookDisabled: (d) => d.provider,
  PushReceived: (d) => `${d.provider} ${d.ref} ${short(d.commit)}: ${d.reason ?? `operation ${d.operation}`}`,
  PushSettled: (d) => `${d.provider} ${d.delivery}: ${d.deploy === null ? d.reason : `deploy ${d.deploy}`}`,
  StepExtended: (d) => `${step(d)}, ${d.when} it: ${d.replies.map((r) => `${r.plugin} ${r.fault !== undefined ? 'failed' : r.refuse !== undefined ? 'refused' : r.add ? `added ${Object.keys(r.add).join(', ')}` : 'answered'}`).join('; ')}`,
  PluginInstalled: (d) => `${d.plugin} ${d.version} (${short(d.pin)})`,
  PluginUpdated: (d) => `${d.plugin} ${d.from} → ${d.version} (${short(d.pin)})`,
  PluginEnabled: (d) => d.plugin,
  PluginDisabled: (d) => `${d.plugin}: ${d.reason}`,
  PluginUninstalled: (d) => d.plugin,
  PluginSettingChanged: (d) => `${d.plugin}${d.app === null ? '' : ` of ${d.app}`}: ${d.key}${d.value === null ? ' not set' : typeof d.value === 'string' ? `=${d.value}` : '=(sealed)'}`,
  OperationRequested: (d) => `${d.subject}: operation ${d.operation}, ${d.kind}`,
  OperationStepQueued: (d) => `operation ${d.operation} ${d.step}${d.retryOf === null ? '' : `, retry of ${d.retryOf}`}`,
  OperationStepStarted: (d) => `operation ${d.operation} ${d.step}, attempt ${d.attempt} on ${d.worker}`,
  OperationStepGivenBack: (d) => `operation ${d.operation} ${d.step}`,
  OperationStepDone: (d) => `operation ${d.operation} ${d.step} in ${seconds(d.tookMs)}${d.attempt > 1 ? `, attempt ${d.attempt}` : ''}`,
  OperationStepFailed: (d) => `operation ${d.operation} ${d.step}: ${d.failure.message} (${d.failure.code})${d.retryAt === null ? '' : `, tried again at ${when(d.retryAt)}`}`,
  OperationSucceeded: (d) => `operation ${d.operation}`,
  OperationFailed: (d) => `operation ${d.operation} ${d.step}: ${d.failure.message} (${d.failure.code})`,
  OperationCancelled: (d) => `operation ${d.operation} by ${d.by}: ${d.reason}`,
  OperationRetried: (d) => `operation ${d.operation} from ${d.step} by ${d.by}`,
  OperationDiscarded: (d) => `operation ${d.operation} ${d.step} by ${d.by}${d.reason === '' ? '' : `: ${d.reason}`}`,
  ServiceCreated: (d) => `${d.type} ${d.name}`,
  ServiceStarted: (d) => `${d.container.name}, version ${d.container.version}`,
  ServiceStopped: (d) => (d.paused ? 'paused' : 'stopped'),
  ServiceSettingChanged: fromTo,
  ServiceLinked: (d) => `to ${d.app} as ${d.key}`,
  ServiceUnlinked: (d) => `from ${d.app}, which had it as ${d.key}`,
  ServiceExposed: (d) => d.ports.map(({ host, container }) => `${host} → ${container}`).join(', '),
  ServiceUnexposed: (d) => d.service,
  ServiceRotated: (d) => d.service,
  ServiceLoginRetired: (d) => d.service,
  ServiceImported: (d) => bytes(d.bytes),
  ServiceDoomed: (d) => d.service,
  ServiceSpared: (d) => d.service,
  ServiceDestroyed: (d) => `${d.type} ${d.name}${d.dump === null ? ', without a last dump' : `, last dump ${d.dump}`}`,
  AppLinked: (d) => `${d.service} as ${d.key}`,
  AppUnlinked: (d) => `${d.service}, which was ${d.key}`,
  AuditCheckpointTaken: (d) => `up to event ${d.position}, hash ${d.chain.slice(0, 12)}`,
  AuditFailed: (d) => `${d.message} (${d.kind} at position ${d.position})`,
  BackupTaken: (d) => `${d.to}, ${bytes(d.bytes)} in ${seconds(d.tookMs)}${d.encrypted ? ', encrypted' : ''}`,
  BackupFailed: (d) => `${d.to}: ${d.message} (${d.code})`,
};

/** An event in one line of at most `max` characters; nothing that is sealed or hidden is in it. */
export function tell({ type, data }: Pick<Recorded, 'type' | 'data'>, max = 160): string {
  const words = WORDS[type as EventType] as ((data: never) => string) | undefined;
  let text: string;
  try {
    text = words ? words(masked(data) as never).replace(/\s+/g, ' ') : brief(data, max);
  } catch {
    text = brief(data, max); // an event of an older shape
  }
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}
