import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';

/** stream `app-<id>` */
export type AppEvent =
  | NewEvent<'AppCreated', { app: string; name: string }>
  | NewEvent<'AppRenamed', { app: string; from: string; to: string }>
  | NewEvent<'AppDestroyed', { app: string; name: string }>
  | NewEvent<'DeployBranchSet', { app: string; branch: string | null; why: 'first-push' | 'set' }>
  | NewEvent<'AppSettingChanged', { app: string; key: string; from: string | null; to: string | null }>
  | NewEvent<'DomainAdded', { app: string; domain: string }>
  | NewEvent<'DomainRemoved', { app: string; domain: string }>;

/** stream `name-<app name>` and `domain-<host>`: a name belongs to one app at a time */
export type ClaimEvent = NewEvent<'NameClaimed', { name: string; app: string }> | NewEvent<'NameReleased', { name: string; app: string }>;

/** stream `config-<app id>`; values are sealed with the app's key before they come here */
export type ConfigEvent =
  | NewEvent<'ConfigSet', { app: string; values: Record<string, Sealed> }>
  | NewEvent<'ConfigUnset', { app: string; keys: string[] }>;

/** How many containers run of each process type. */
export type Formation = Readonly<Record<string, number>>;

/** stream `processes-<app id>` */
export type ProcessEvent = NewEvent<'ContainerScaled', { app: string; from: Formation; to: Formation }>;

/** A volume of an app, and where its containers have it. */
export interface Mount {
  /** what the app calls it */
  readonly name: string;
  /** absolute path in the containers */
  readonly path: string;
  /** which of its volumes: the operation that restored it; absent: the first one */
  readonly generation?: number;
}

/** stream `storage-<app id>`: what is not mounted any more is kept until it is said to be destroyed */
export type StorageEvent =
  | NewEvent<'StorageMounted', { app: string; name: string; path: string }>
  | NewEvent<'StorageUnmounted', { app: string; name: string; path: string }>
  | NewEvent<'StorageDestroyed', { app: string; name: string }>
  /** a volume that was filled beside it takes its place, with the next deploy; `generation`: the operation that filled it */
  | NewEvent<'StorageReplaced', { app: string; name: string; generation: number }>;

/** stream `keys` */
export type KeyEvent =
  | NewEvent<'SshKeyAdded', { name: string; key: string; fingerprint: string }>
  | NewEvent<'SshKeyRemoved', { name: string; fingerprint: string }>
  | NewEvent<'TokenCreated', { name: string; hash: string }>
  | NewEvent<'TokenRevoked', { name: string }>;

/** stream `git-access`: how other servers know us; secrets are sealed with the key `git` */
export type GitAccessEvent =
  | NewEvent<'GitLoginSet', { host: string; user: string; token: Sealed }>
  | NewEvent<'GitLoginRemoved', { host: string }>
  | NewEvent<'GitHostAllowed', { host: string; keys: string[] }>
  | NewEvent<'DeployKeyMade', { publicKey: string; privateKey: Sealed }>;

/** stream `registry-access`: how image registries know us; passwords are sealed with the key `registry` */
export type RegistryAccessEvent =
  | NewEvent<'RegistryLoginSet', { server: string; user: string; password: Sealed }>
  | NewEvent<'RegistryLoginRemoved', { server: string }>;

/** stream `server` */
export type ServerEvent =
  | NewEvent<'GlobalDomainSet', { domains: string[] }>
  | NewEvent<'TraceSwitched', { on: boolean }>
  | NewEvent<'ServerSettingChanged', { key: string; from: string | null; to: string | null }>;

export type DriftKind = 'container-missing' | 'container-stopped' | 'container-restarting' | 'route';

/** the containers that stopped are started again, or a deploy makes new ones */
export type RepairBy = 'start' | 'deploy';

/** stream `drift-<app id>`: what the reconciler saw that is not as the log says, and what it did about it */
export type DriftEvent =
  | NewEvent<'DriftDetected', { app: string; what: DriftKind; subject: string; detail: string; at: number }>
  | NewEvent<'DriftEnded', { app: string; what: DriftKind; subject: string; lastedMs: number }>
  | NewEvent<'RepairStarted', { app: string; attempt: number; subjects: string[]; by: RepairBy; at: number }>
  | NewEvent<'CrashLoopDetected', { app: string; repairs: number; withinMs: number; nextTry: number }>;

/** stream `request-<hash of actor and Idempotency-Key>`: a request that is carried out once, however often it comes */
export type RequestEvent =
  | NewEvent<'RequestCarriedOut', { command: string; inputHash: string }>
  | NewEvent<'RequestAnswered', { command: string; inputHash: string; status: number; body: unknown }>;
