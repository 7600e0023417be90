import type { AppEvent, ClaimEvent, ConfigEvent, DriftEvent, GitAccessEvent, KeyEvent, ProcessEvent, RegistryAccessEvent, RequestEvent, ServerEvent, StorageEvent } from './app.events.js';
import type { AuditEvent } from './audit.events.js';
import type { BackupEvent } from './backup.events.js';
import type { CopyEvent } from './copy.events.js';
import type { PipelineEvent } from './deploy.events.js';
import type { NotificationEvent, TroubleEvent } from './notification.events.js';
import type { OperationEvent } from './operation.events.js';
import type { LinkEvent, ServiceEvent } from './service.events.js';
import type { PluginEvent, PluginSettingEvent } from './plugin.events.js';
import type { PushHookEvent, WebhookEvent } from './webhook.events.js';

/** Everything that can stand in the log. */
export type AnyEvent = AppEvent | ClaimEvent | ConfigEvent | ProcessEvent | KeyEvent | GitAccessEvent | RegistryAccessEvent | ServerEvent | DriftEvent | RequestEvent | PipelineEvent | AuditEvent | BackupEvent | StorageEvent | PluginEvent | PluginSettingEvent | OperationEvent | ServiceEvent | LinkEvent | CopyEvent | WebhookEvent | PushHookEvent | NotificationEvent | TroubleEvent;
export type EventType = AnyEvent['type'];

/**
 * Every type of event and the newest version of its data's shape. A type that is missing here does not compile; a type or version
 * without a sample under `test/events/` fails the tests.
 */
export const SCHEMAS: Readonly<Record<EventType, number>> = {
  AppCreated: 1, AppRenamed: 1, AppDestroyed: 1, DeployBranchSet: 1, AppSettingChanged: 1, DomainAdded: 1, DomainRemoved: 1,
  NameClaimed: 1, NameReleased: 1,
  ConfigSet: 1, ConfigUnset: 1, ContainerScaled: 1,
  StorageMounted: 1, StorageUnmounted: 1, StorageDestroyed: 1, StorageReplaced: 1,
  SshKeyAdded: 1, SshKeyRemoved: 1, TokenCreated: 1, TokenRevoked: 1,
  GitLoginSet: 1, GitLoginRemoved: 1, GitHostAllowed: 1, DeployKeyMade: 1,
  RegistryLoginSet: 1, RegistryLoginRemoved: 1,
  GlobalDomainSet: 1, TraceSwitched: 1, ServerSettingChanged: 1,
  DriftDetected: 1, DriftEnded: 1, RepairStarted: 2, CrashLoopDetected: 1,
  BuildRequested: 1, DeployRequested: 1, DeployStarted: 1, DeploySuperseded: 1,
  StepQueued: 1, StepStarted: 1, StepGivenBack: 1, StepExtended: 1, SourceCloned: 1, BuildpackDetected: 1, ImageBuilt: 1, ContainersStarted: 1, ReleaseCreated: 1, RouteSwitched: 1, StepFailed: 1,
  DeploySucceeded: 1, DeployFailed: 1, DeployCancelled: 1, ContainersLost: 1, JobRetried: 1, JobDiscarded: 1,
  PluginInstalled: 1, PluginUpdated: 1, PluginEnabled: 1, PluginDisabled: 1, PluginUninstalled: 1, PluginSettingChanged: 1,
  OperationRequested: 1, OperationStepQueued: 1, OperationStepStarted: 1, OperationStepGivenBack: 1, OperationStepDone: 1, OperationStepFailed: 1, OperationSucceeded: 1, OperationFailed: 1, OperationCancelled: 1, OperationRetried: 1, OperationDiscarded: 1,
  ServiceCreated: 1, ServiceStarted: 1, ServiceStopped: 1, ServiceSettingChanged: 1, ServiceLinked: 1, ServiceUnlinked: 1, ServiceExposed: 1, ServiceUnexposed: 1, ServiceRotated: 1, ServiceLoginRetired: 1, ServiceImported: 1, ServiceDoomed: 1, ServiceSpared: 1, ServiceDestroyed: 1, AppLinked: 1, AppUnlinked: 1,
  CopyAuthSet: 1, CopyAuthUnset: 1, CopyEncryptionSet: 1, CopyEncryptionUnset: 1, CopyScheduled: 1, CopyUnscheduled: 1, CopyRetentionSet: 1, CopyDue: 1, CopyTaken: 1, CopyFailed: 1, CopyVerified: 1, CopyExpired: 1, CopyRestored: 1,
  WebhookAdded: 1, WebhookRemoved: 1, WebhookDue: 1, PushHookEnabled: 1, PushHookDisabled: 1, PushReceived: 1, PushSettled: 1,
  NotificationAdded: 1, NotificationRemoved: 1, TroubleSeen: 1, TroubleEnded: 1,
  RequestCarriedOut: 1, RequestAnswered: 1,
  AuditCheckpointTaken: 1, AuditFailed: 1,
  BackupTaken: 1, BackupFailed: 1, RestoreBegun: 1, AppRestored: 1, RestoreEnded: 1,
};
