import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { Sealed } from '../../events/sealed.js';
import type { AnyEvent, EventType } from '../../events/types/all.events.js';
import { config } from '../config/config.decider.js';

/** What brings back how it was before an event. */
export type Opposite =
  | { readonly kind: 'config'; readonly app: string; readonly set: Readonly<Record<string, Sealed>>; readonly unset: readonly string[] }
  | { readonly kind: 'scale'; readonly app: string; readonly changes: Readonly<Record<string, number>> }
  | { readonly kind: 'domain-add' | 'domain-remove'; readonly app: string; readonly domain: string }
  | { readonly kind: 'rename'; readonly app: string; readonly to: string }
  | { readonly kind: 'branch'; readonly app: string; readonly branch: string | null }
  | { readonly kind: 'setting'; readonly app: string; readonly key: string; readonly value: string | null }
  | { readonly kind: 'global-domains'; readonly domains: readonly string[] }
  | { readonly kind: 'trace'; readonly on: boolean }
  | { readonly kind: 'server-setting'; readonly key: string; readonly value: string | null }
  | { readonly kind: 'ssh-add'; readonly name: string; readonly key: string }
  | { readonly kind: 'ssh-remove'; readonly name: string };

type Data<T extends EventType> = Extract<AnyEvent, { type: T }>['data'];

/** Undone by its opposite; `touches` names what it changed, so that a later change of the same is seen. `before`: the stream until then. */
interface Can<T extends EventType> { readonly touches: (data: Data<T>) => readonly string[]; readonly opposite: (data: Data<T>, before: readonly AnyEvent[]) => Opposite | null }
interface Cannot { readonly why: string; readonly hint: string }
type Rules = { readonly [T in EventType]: Can<T> | Cannot };

/** The newest event of that type before, or undefined. */
const lastOf = <T extends EventType>(before: readonly AnyEvent[], type: T, is: (data: Data<T>) => boolean = () => true): Data<T> | undefined => {
  return before.findLast((event) => event.type === type && is(event.data as Data<T>))?.data as Data<T> | undefined;
};

/** The values that these keys had, and those of them that were not set. */
function formerly(app: string, keys: readonly string[], before: readonly AnyEvent[]): Opposite {
  const state = before.reduce((s, event) => config.evolve(s, event as never), config.initial);
  const had = keys.filter((key) => Object.hasOwn(state, key));
  return { kind: 'config', app, set: Object.fromEntries(had.map((key) => [key, state[key]!])), unset: keys.filter((key) => !Object.hasOwn(state, key)) };
}

const rollback: Cannot = { why: 'what serves is changed by another deploy, not by taking this one back', hint: 'berth rollback <app>, or berth rollback <app> vN: see berth releases <app>' };
const step: Cannot = { why: 'it is something that a deploy did or learnt, not a change that was asked for', hint: 'what serves: berth rollback <app>; the deploy: berth trace <app> <deploy>' };
const asked: Cannot = { why: 'a deploy that was asked for has begun, or is over', hint: 'while it runs: berth deploys:cancel <app>; afterwards: berth rollback <app>' };
const over: Cannot = { why: 'a deploy that is over stays so', hint: 'deploy again: berth deploys:create <app> <commit>' };
const claim: Cannot = { why: 'a name is given and taken together with a change of its app', hint: 'undo that one: it stands in the same transaction, see berth events --after <position before>' };
const seen: Cannot = { why: 'it says what was seen, which nobody decided', hint: 'what runs now: berth ps:report <app>' };

const operation: Cannot = { why: 'it is something that an operation did or learnt, not a change that was asked for', hint: 'while it runs: berth operations:cancel <group>; what it did: berth operations:show <group>' };

const own: Cannot = { why: 'it has its own command, and its secrets are not told', hint: 'see: berth help storage' };

/** Every type of event: how it is undone, or why it cannot be. */
export const UNDO: Rules = {
  ConfigSet: { touches: (d) => Object.keys(d.values), opposite: (d, before) => formerly(d.app, Object.keys(d.values), before) },
  ConfigUnset: { touches: (d) => d.keys, opposite: (d, before) => formerly(d.app, d.keys, before) },
  ContainerScaled: {
    touches: (d) => Object.keys(d.to).filter((type) => d.to[type] !== d.from[type]),
    // a type that nobody had scaled before had none
    opposite: (d) => ({ kind: 'scale', app: d.app, changes: Object.fromEntries(Object.keys(d.to).filter((type) => d.to[type] !== (d.from[type] ?? 0)).map((type) => [type, d.from[type] ?? 0])) }),
  },
  DomainAdded: { touches: (d) => [`domain ${d.domain}`], opposite: (d) => ({ kind: 'domain-remove', app: d.app, domain: d.domain }) },
  DomainRemoved: { touches: (d) => [`domain ${d.domain}`], opposite: (d) => ({ kind: 'domain-add', app: d.app, domain: d.domain }) },
  AppRenamed: { touches: () => ['name'], opposite: (d) => ({ kind: 'rename', app: d.app, to: d.from }) },
  DeployBranchSet: { touches: () => ['branch'], opposite: (d, before) => ({ kind: 'branch', app: d.app, branch: lastOf(before, 'DeployBranchSet')?.branch ?? null }) },
  AppSettingChanged: { touches: (d) => [`setting ${d.key}`], opposite: (d) => ({ kind: 'setting', app: d.app, key: d.key, value: d.from }) },
  GlobalDomainSet: { touches: () => ['global domains'], opposite: (_, before) => ({ kind: 'global-domains', domains: lastOf(before, 'GlobalDomainSet')?.domains ?? [] }) },
  TraceSwitched: { touches: () => ['trace'], opposite: (d) => ({ kind: 'trace', on: !d.on }) },
  ServerSettingChanged: { touches: (d) => [`setting ${d.key}`], opposite: (d) => ({ kind: 'server-setting', key: d.key, value: d.from }) },
  SshKeyAdded: { touches: (d) => [`ssh ${d.name}`], opposite: (d) => ({ kind: 'ssh-remove', name: d.name }) },
  SshKeyRemoved: {
    touches: (d) => [`ssh ${d.name}`],
    opposite: (d, before) => {
      const was = lastOf(before, 'SshKeyAdded', (key) => key.name === d.name && key.fingerprint === d.fingerprint);
      return was ? { kind: 'ssh-add', name: d.name, key: was.key } : null;
    },
  },
  TokenCreated: { why: 'a token is taken away by its own command', hint: 'berth tokens:revoke <name>' },
  TokenRevoked: { why: 'a revoked token may be in the wrong hands, and is never made good again', hint: 'make a new one: berth tokens:create <name>' },
  GitLoginSet: { why: 'a token is taken away by its own command', hint: 'berth git:auth <host>' }, GitLoginRemoved: { why: 'a token that was taken away may be in the wrong hands', hint: 'give a new one: berth git:auth <host> <user>' },
  GitHostAllowed: { why: 'what a server\'s keys are nobody here decides', hint: 'ask it again: berth git:allow-host <host>' }, DeployKeyMade: { why: 'the key before may be in the wrong hands', hint: 'make another: berth --force git:generate-deploy-key' },
  RegistryLoginSet: { why: 'a password is taken away by its own command', hint: 'berth registry:logout <server>' }, RegistryLoginRemoved: { why: 'a password that was taken away may be in the wrong hands', hint: 'give a new one: berth registry:login <server> <user>' },
  AppCreated: { why: 'an app is destroyed by its own command, which asks first', hint: 'berth apps:destroy <app>' },
  AppDestroyed: { why: 'its containers, images, repository, logs and the key of its secrets are gone', hint: 'as it was at its end: berth state <app> --at <position before>; make it anew: berth apps:create <app>' },
  NameClaimed: claim, NameReleased: claim,
  BuildRequested: asked, DeployRequested: asked, DeployStarted: asked,
  DeploySuperseded: over, DeployFailed: { why: 'it failed', hint: 'try its failed step again: berth jobs:retry <job>' }, DeployCancelled: over,
  ReleaseCreated: rollback, RouteSwitched: rollback, DeploySucceeded: rollback,
  StepQueued: step, StepStarted: step, StepGivenBack: step, StepExtended: step, SourceCloned: step, BuildpackDetected: step, ImageBuilt: step, ContainersStarted: step, StepFailed: step,
  JobRetried: { why: 'the step runs, or has run', hint: 'while it runs: berth deploys:cancel <app>' },
  JobDiscarded: { why: 'what its step had made was removed', hint: 'deploy again: berth deploys:create <app> <commit>' },
  ContainersLost: seen, DriftDetected: seen, DriftEnded: seen, RepairStarted: seen, CrashLoopDetected: seen,
  OperationRequested: operation, OperationStepQueued: operation, OperationStepStarted: operation, OperationStepGivenBack: operation, OperationStepDone: operation, OperationStepFailed: operation,
  OperationSucceeded: operation, OperationFailed: operation, OperationCancelled: operation, OperationRetried: operation, OperationDiscarded: operation,
  ServiceCreated: { why: 'a service is destroyed by its own command, which asks first', hint: 'berth <type>:destroy <service>' },
  ServiceStarted: operation, ServiceStopped: { why: 'it is started by its own command', hint: 'berth <type>:start <service>' },
  ServiceSettingChanged: { why: 'it is set by its own command, which makes a new container', hint: 'berth <type>:set <service> <key> <value>' },
  ServiceLinked: { why: 'a link is taken away by its own command', hint: 'berth <type>:unlink <service> <app>' }, ServiceUnlinked: { why: 'a link is made by its own command', hint: 'berth <type>:link <service> <app>' },
  AppLinked: { why: 'a link is taken away by its own command', hint: 'berth <type>:unlink <service> <app>' }, AppUnlinked: { why: 'a link is made by its own command', hint: 'berth <type>:link <service> <app>' },
  ServiceExposed: { why: 'it is taken back by its own command', hint: 'berth <type>:unexpose <service>' }, ServiceUnexposed: { why: 'it is exposed by its own command', hint: 'berth <type>:expose <service> <port>' },
  ServiceRotated: { why: 'the password before may be in the wrong hands', hint: 'make another: berth <type>:rotate <service>' }, ServiceLoginRetired: { why: 'the password before may be in the wrong hands', hint: 'the service has another: berth <type>:info <service> --dsn' },
  ServiceImported: { why: 'what was there before is gone', hint: 'import what you exported before: berth <type>:import <service> < dump' },
  ServiceDoomed: operation, ServiceSpared: operation, ServiceDestroyed: { why: 'its data is gone', hint: 'the event names its last dump: berth <type>:create, then berth <type>:import < dump' },
  RequestCarriedOut: { why: 'it only says that a request was carried out', hint: 'undo what it did: the events beside it' }, RequestAnswered: { why: 'it only says what a request was answered', hint: 'undo what it did' },
  AuditCheckpointTaken: { why: 'what was signed was so', hint: 'see: berth audit:verify' }, AuditFailed: seen,
  StorageMounted: { why: 'containers may have written into it since', hint: 'berth storage:unmount <app> <name>: its data is kept' },
  StorageUnmounted: { why: 'it may have been mounted elsewhere since', hint: 'its data is kept: berth storage:mount <app> <name>:<path>' },
  StorageDestroyed: { why: 'the data is gone', hint: 'a backup may have it: berth backup:list' },
  StorageReplaced: { why: 'containers have written into what took its place', hint: 'the data of before is in the safety copy: berth storage:backups <app> <name>, then berth storage:restore <app> <name> <backup>' },
  CopyAuthSet: own, CopyAuthUnset: own, CopyEncryptionSet: own, CopyEncryptionUnset: own, CopyScheduled: own, CopyUnscheduled: own, CopyRetentionSet: own,
  CopyDue: operation, CopyTaken: { why: 'it is there, and may be needed', hint: 'retention removes it: berth help storage:backup-retention' }, CopyFailed: operation, CopyVerified: operation,
  CopyExpired: { why: 'the file is gone', hint: 'keep more of them: berth help storage:backup-retention' }, CopyRestored: { why: 'what was there before is in the safety copy', hint: 'restore that one: berth storage:backups <app> <name>' },
  BackupTaken: { why: 'the file is yours', hint: 'remove it where it lies' }, BackupFailed: { why: 'it was not made', hint: 'try again: berth backup' },
  PluginInstalled: { why: 'a plugin is taken away by its own command', hint: 'berth plugin:uninstall <plugin>' }, PluginUpdated: { why: 'what was there before may be gone', hint: 'berth plugin:update <plugin> <committish>' },
  PluginEnabled: { why: 'it has its own command', hint: 'berth plugin:disable <plugin>' }, PluginDisabled: { why: 'it has its own command', hint: 'berth plugin:enable <plugin>' },
  PluginUninstalled: { why: 'its files are gone', hint: 'berth plugin:install <source>' }, PluginSettingChanged: { why: 'only the plugin knows what it means', hint: 'by the plugin\'s own commands: berth help <plugin>' },
  WebhookAdded: { why: 'a webhook is taken away by its own command', hint: 'berth webhook:remove <webhook>' }, WebhookRemoved: { why: 'its secret may be in the wrong hands', hint: 'berth webhook:add <url>' }, WebhookDue: operation,
  NotificationAdded: { why: 'a notification is taken away by its own command', hint: 'berth notify:remove <name>' }, NotificationRemoved: { why: 'its secrets may be in the wrong hands', hint: 'berth notify:add <name> <channel>' }, TroubleSeen: seen, TroubleEnded: seen,
  PushHookEnabled: { why: 'it has its own command', hint: 'berth github:disable <app>, or gitlab, or gitea' }, PushHookDisabled: { why: 'its secret may be in the wrong hands', hint: 'berth github:enable <app> <repository>, or gitlab, or gitea' }, PushReceived: seen, PushSettled: asked,
  RestoreBegun: { why: 'what was there before is gone', hint: 'berth --force restore FILE with another backup' }, AppRestored: asked, RestoreEnded: { why: 'it only says that a restore is over', hint: 'see: berth backup:list' },
};

type Entry = Can<EventType> | Cannot;
const ruleOf = (type: string): Entry => {
  const rule = Object.hasOwn(UNDO, type) ? (UNDO[type as EventType] as unknown as Entry) : undefined;
  if (!rule) throw new Rejected('undo.unknown', `This Berth does not know events of type ${type}`, 'a newer one wrote it');
  return rule;
};

/** What can be said without its stream. @throws Rejected when no event of its type can be undone */
export function undoable(event: Recorded): Extract<ReturnType<typeof ruleOf>, { opposite: unknown }> {
  const rule = ruleOf(event.type);
  if ('why' in rule) throw new Rejected('undo.cannot', `${event.type} cannot be undone: ${rule.why}`, rule.hint);
  return rule;
}

/**
 * How `event` is undone, and the first later event that changed the same, if one did. `stream` is the event's whole stream. Pure.
 * @throws Rejected when it cannot be undone, with why and what to do instead
 */
export function undoOf(event: Recorded, stream: readonly Recorded[]): { opposite: Opposite; overwritten: Recorded | null } {
  const rule = undoable(event);
  const opposite = rule.opposite(event.data as never, stream.filter((e) => e.version < event.version) as unknown as AnyEvent[]);
  if (opposite === null) throw new Rejected('undo.cannot', `${event.type} cannot be undone: what was there before is not in the log`, null);
  const touched = new Set(rule.touches(event.data as never));
  const overwritten = stream.find((later) => {
    const other = later.version > event.version && Object.hasOwn(UNDO, later.type) ? ruleOf(later.type) : null;
    return other !== null && 'touches' in other && other.touches(later.data as never).some((what) => touched.has(what));
  }) ?? null;
  return { opposite, overwritten };
}
