import type { Recorded } from '../../events/event.js';
import type { AppEvent, ConfigEvent, Formation, KeyEvent, Mount, ProcessEvent, ServerEvent, StorageEvent } from '../../events/types/app.events.js';
import { older, supersede } from '../deploys/pipeline.state.js';
import type { EventType } from '../../events/types/all.events.js';
import { COPY_EVENTS } from '../../events/types/copy.events.js';
import type { DeployKind, DeploySource, Failure, LiveContainer, PipelineEvent, ReleaseSpec, RouterSettings, Step } from '../../events/types/deploy.events.js';
import { OPERATION_EVENTS } from '../../events/types/operation.events.js';
import { SERVICE_EVENTS } from '../../events/types/service.events.js';
import type { Shape } from './projection.js';
import { queuedStep, stepDone, stepEnds, stepFailed, stepGivenBack, stepStarted, type StepRow } from './step-row.state.js';

export interface AppRow {
  id: string; name: string; createdAt: number; createdBy: string;
  branch: string | null; domains: string[]; settings: Record<string, string>; formation: Formation; mounts: Mount[];
  configVersion: number; configKeys: string[];
  live: { release: number; deploy: number; containers: LiveContainer[]; hosts: string[]; since: number; /** what the router does before it asks the app */ router?: RouterSettings } | null;
  running: number | null; last: number;
  releases: ReleaseRow[];
}
export interface ReleaseRow { number: number; deploy: number; kind: DeployKind; by: string; why: string; at: number; spec: ReleaseSpec; wasLive: boolean }

export type DeployStatus = 'waiting' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'superseded';
export interface DeployRow {
  app: string; deploy: number; kind: DeployKind; source: DeploySource; by: string; trace: string;
  status: DeployStatus; requestedAt: number; startedAt: number | null; endedAt: number | null;
  subject: string | null; release: number | null; failure: Failure | null; endedBy: string | null;
  /** the deploy whose failed step this one runs again */
  retryOf: number | null;
  /** the deploy that made its source: itself, or one that it retries */
  madeBy: number;
  /** what it built, or found built */
  imageId: string | null;
  steps: StepRow[];
  /** versions of the first and the last event of it in the app's pipeline stream; none from before board version 3 */
  span?: [first: number, last: number];
}
export interface FailedJob {
  job: string; app: string; deploy: number; kind: DeployKind; step: Step; failure: Failure; at: number; attempts: number;
  /** deploys of other code that failed since */
  newer: number;
  /** the first deploy that went well since */
  superseded: number | null;
}

/** What screens need to know, folded from the whole log; thrown away and rebuilt at will. */
export interface Board {
  apps: Record<string, AppRow>;
  /** live names only */
  names: Record<string, string>;
  deploys: Record<string, DeployRow[]>;
  failed: Record<string, FailedJob>;
  keys: { name: string; key: string; fingerprint: string; at: number }[];
  tokens: { name: string; hash: string; at: number; by: string }[];
  server: { domains: string[]; trace: boolean; settings: Record<string, string> };
  /** volumes whose data was said to be destroyed: `<app id>.<name>` */
  doomed: string[];
  /** which volume stands for `<app id>.<name>`, where it is not the first */
  generations: Record<string, number>;
}

export type BoardEvent = AppEvent | ConfigEvent | ProcessEvent | KeyEvent | ServerEvent | StorageEvent | PipelineEvent;

export const emptyBoard = (): Board => ({ apps: {}, names: {}, deploys: {}, failed: {}, keys: [], tokens: [], server: { domains: [], trace: false, settings: {} }, doomed: [], generations: {} });

function set(record: Record<string, string>, key: string, value: string | null): void {
  if (value === null) delete record[key];
  else record[key] = value;
}

/** Applies one event, changing `board` in place. Events of unknown types are passed over. */
export function applyToBoard(board: Board, event: Recorded): void {
  const known = event as unknown as Recorded & BoardEvent;
  switch (known.type) {
    case 'AppCreated': {
      const { app, name } = known.data;
      board.apps[app] = { id: app, name, createdAt: event.at, createdBy: event.meta.actor, branch: null, domains: [], settings: {}, formation: { web: 1 }, mounts: [], configVersion: 0, configKeys: [], live: null, running: null, last: 0, releases: [] };
      board.names[name] = app;
      board.deploys[app] = [];
      return;
    }
    case 'SshKeyAdded': board.keys.push({ ...known.data, at: event.at }); return;
    case 'SshKeyRemoved': board.keys = board.keys.filter((key) => key.name !== known.data.name); return;
    case 'TokenCreated': board.tokens.push({ ...known.data, at: event.at, by: event.meta.actor }); return;
    case 'TokenRevoked': board.tokens = board.tokens.filter((token) => token.name !== known.data.name); return;
    case 'GlobalDomainSet': board.server.domains = known.data.domains; return;
    case 'TraceSwitched': board.server.trace = known.data.on; return;
    case 'StorageDestroyed': board.doomed.push(`${known.data.app}.${known.data.name}`); return; // of apps that are gone, too
    case 'StorageReplaced': {
      const { app, name, generation } = known.data;
      board.generations[`${app}.${name}`] = generation;
      const row = board.apps[app];
      if (row) row.mounts = row.mounts.map((mount) => (mount.name === name ? { ...mount, generation } : mount));
      return;
    }
    case 'ServerSettingChanged': set(board.server.settings, known.data.key, known.data.to); return;
    default: {
      const app = board.apps[(known.data as { app?: string }).app ?? ''];
      if (app) applyToApp(board, app, known);
    }
  }
}

function applyToApp(board: Board, app: AppRow, event: Recorded & BoardEvent): void {
  switch (event.type) {
    case 'AppRenamed':
      delete board.names[event.data.from];
      board.names[event.data.to] = app.id;
      app.name = event.data.to;
      return;
    case 'AppDestroyed':
      delete board.names[app.name];
      delete board.apps[app.id];
      delete board.deploys[app.id];
      for (const [job, failed] of Object.entries(board.failed)) if (failed.app === app.id) delete board.failed[job];
      return;
    case 'DeployBranchSet': app.branch = event.data.branch; return;
    case 'AppSettingChanged': set(app.settings, event.data.key, event.data.to); return;
    case 'DomainAdded': app.domains.push(event.data.domain); return;
    case 'DomainRemoved': app.domains = app.domains.filter((domain) => domain !== event.data.domain); return;
    case 'ConfigSet':
      app.configVersion = event.version;
      if (!Object.keys(event.data.values).every((key) => app.configKeys.includes(key))) app.configKeys = [...new Set([...app.configKeys, ...Object.keys(event.data.values)])].sort();
      return;
    case 'ConfigUnset': {
      const gone = new Set(event.data.keys);
      app.configVersion = event.version;
      app.configKeys = app.configKeys.filter((key) => !gone.has(key));
      return;
    }
    case 'StorageMounted':
      app.mounts.push(mountOf(board, event.data));
      board.doomed = board.doomed.filter((name) => name !== `${app.id}.${event.data.name}`);
      return;
    case 'StorageUnmounted': app.mounts = app.mounts.filter((mount) => mount.name !== event.data.name); return;
    case 'ContainerScaled': app.formation = event.data.to; return;
    default: applyToDeploys(board, app, event as Recorded & PipelineEvent);
  }
}

function applyToDeploys(board: Board, app: AppRow, event: Recorded & PipelineEvent): void {
  const deploys = board.deploys[app.id]!;
  if (event.type === 'BuildRequested' || event.type === 'DeployRequested') {
    const { deploy, kind, source, by } = event.data;
    deploys.push({ app: app.id, deploy, kind, source, by, trace: event.meta.trace, status: 'waiting', requestedAt: event.at, startedAt: null, endedAt: null, subject: null, release: null, failure: null, endedBy: null, retryOf: null, madeBy: deploy, imageId: null, steps: [], span: [event.version, event.version] });
    app.last = deploy;
    return;
  }
  const row = deploys[event.data.deploy - 1];
  if (!row) return;
  if (row.span) row.span[1] = event.version;
  const end = (status: DeployStatus): void => {
    row.status = status;
    row.endedAt = event.at;
    if (app.running === row.deploy) app.running = null;
  };
  const step = 'job' in event.data ? row.steps.find((s) => s.job === (event.data as { job: string }).job) : undefined;
  switch (event.type) {
    case 'DeployStarted': Object.assign(row, { status: 'running', startedAt: event.at }); app.running = row.deploy; return;
    case 'DeploySuperseded': end('superseded'); row.endedBy = String(event.data.by); return;
    case 'StepQueued':
      row.steps.push(queuedStep(event.data, event.at));
      return;
    case 'StepStarted':
      if (step) stepStarted(step, event.data, event.at);
      return;
    case 'StepGivenBack':
      if (step) stepGivenBack(step);
      return;
    case 'SourceCloned': row.subject = event.data.output.subject; done(step, event); return;
    case 'ImageBuilt': row.imageId = event.data.output.imageId; done(step, event); return;
    case 'BuildpackDetected': case 'ContainersStarted': done(step, event); return;
    case 'RouteSwitched': {
      done(step, event);
      const number = row.release ?? app.live?.release ?? 0;
      const containers = [...(lastContainers(row) ?? app.live?.containers ?? [])];
      app.live = { release: number, deploy: row.deploy, containers, hosts: [...event.data.output.hosts], since: event.at, ...(event.data.output.router && { router: event.data.output.router }) };
      const release = app.releases.find((r) => r.number === number);
      if (release) release.wasLive = true;
      return;
    }
    case 'ReleaseCreated': {
      const { app: _, ...release } = event.data;
      row.release = release.number;
      app.releases.push({ ...release, at: event.at, wasLive: false });
      return;
    }
    case 'StepFailed':
      if (step) stepFailed(step, event.data, event.at);
      return;
    case 'DeploySucceeded':
      end('succeeded');
      row.release = event.data.release;
      row.failure = null;
      failedOf(board, app.id, (failed) => supersede(failed, row.deploy));
      return;
    case 'DeployFailed':
      end('failed');
      row.failure = event.data.failure;
      stepEnds(step, 'failed', event.at, event.data.failure);
      failedOf(board, app.id, (failed) => older(failed, row.kind));
      board.failed[event.data.job] = { job: event.data.job, app: app.id, deploy: row.deploy, kind: row.kind, step: event.data.step, failure: event.data.failure, at: event.at, attempts: step?.attempt ?? 0, newer: 0, superseded: null };
      return;
    case 'DeployCancelled': {
      end('cancelled');
      row.endedBy = event.data.by;
      stepEnds(row.steps.at(-1), 'cancelled', event.at);
      return;
    }
    case 'ContainersLost':
      if (app.live) app.live = { ...app.live, containers: app.live.containers.filter((c) => !event.data.containers.includes(c.id)) };
      return;
    case 'JobRetried':
      delete board.failed[event.data.job];
      if (event.data.as !== undefined) {
        const again = deploys[event.data.as - 1];
        if (again) Object.assign(again, { retryOf: row.deploy, madeBy: step?.step === 'clone' ? again.deploy : row.madeBy, imageId: row.imageId, subject: row.subject });
        return;
      }
      Object.assign(row, { status: 'running', endedAt: null });
      app.running = row.deploy;
      return;
    case 'JobDiscarded': delete board.failed[event.data.job]; return;
    default: return;
  }
}

/** Puts what `change` answers in the place of the app's failed jobs. */
function failedOf(board: Board, app: string, change: (failed: Record<string, FailedJob>) => Record<string, FailedJob>): void {
  const own = Object.fromEntries(Object.entries(board.failed).filter(([, failed]) => failed.app === app));
  for (const job of Object.keys(own)) delete board.failed[job];
  Object.assign(board.failed, change(own));
}

function mountOf(board: Board, { app, name, path }: { readonly app: string; readonly name: string; readonly path: string }): Mount {
  const generation = board.generations[`${app}.${name}`];
  return { name, path, ...(generation !== undefined && { generation }) };
}

function done(step: StepRow | undefined, event: Recorded & { data: { tookMs: number; output: unknown } }): void {
  if (!step) return;
  stepDone(step, event.data, event.at);
  const output = event.data.output as { containers?: LiveContainer[]; number?: number };
  if (step.step === 'release' && output.containers) step.containers = output.containers;
}

/** Containers that this deploy's release step answered, if it had one. */
function lastContainers(row: DeployRow): readonly LiveContainer[] | undefined {
  return row.steps.findLast((s) => s.step === 'release' && s.status === 'succeeded')?.containers;
}

const SKIPPED: readonly Exclude<EventType, BoardEvent['type']>[] = ['DriftDetected', 'DriftEnded', 'RepairStarted', 'CrashLoopDetected', 'RequestCarriedOut', 'RequestAnswered', 'NameClaimed', 'NameReleased', 'AuditCheckpointTaken', 'AuditFailed', 'BackupTaken', 'BackupFailed', 'RestoreBegun', 'AppRestored', 'RestoreEnded', 'WebhookAdded', 'WebhookRemoved', 'WebhookDue', 'PushHookEnabled', 'PushHookDisabled', 'PushReceived', 'PushSettled', 'NotificationAdded', 'NotificationRemoved', 'TroubleSeen', 'TroubleEnded', ...OPERATION_EVENTS, ...SERVICE_EVENTS, ...COPY_EVENTS];

/** `version`: bump it when the shape or the meaning of Board changes, and say how the former one is looked at until the new one is folded. */
export const BOARD: Shape<Board> = { version: '5', initial: emptyBoard, apply: applyToBoard, skips: SKIPPED, former: { version: '4', adopt: (state) => withGenerations(state as Board) } };

/** A board of before another volume could take one's place. */
function withGenerations(board: Board): Board {
  board.generations ??= {};
  return board;
}
