import { IsOptional, IsString } from 'class-validator';
import type { Recorded } from '../../events/event.js';
import { globalDomains, hostsOf } from '../apps/app-context.js';
import { Arg, command, Flag, forget, type Out } from '../commands/command.js';
import { when } from '../commands/words.js';
import type { Core } from '../core.js';
import type { Board, DeployRow } from '../read/board.projection.js';
import { appLog, boardOf, checkMoment, lastOf, merged, until, whoHad } from './app-log.js';
import { parseMoment, type Moment } from './moment.js';

class StateInput {
  @IsString() @Arg('the app, by the name it had then') app!: string;
  @IsOptional() @IsString() @Flag('when: 2h (ago), a date and time, or a position of the log; now when there is none', { type: 'string', label: 'time|position' }) at?: string;
}

interface Deploying { readonly deploy: number; readonly kind: string; readonly commit: string | null; readonly by: string; readonly since: string; readonly step: string | null }
export interface AppThen {
  readonly app: string; readonly id: string;
  /** the last event that is in it */
  readonly position: number; readonly at: string;
  readonly destroyed: boolean;
  readonly createdAt: string; readonly createdBy: string;
  readonly deployBranch: string | null;
  readonly hosts: readonly string[]; readonly domains: readonly string[];
  readonly formation: Readonly<Record<string, number>>;
  readonly settings: Readonly<Record<string, string>>;
  readonly config: { readonly version: number; readonly keys: readonly string[] };
  readonly live: { readonly release: number; readonly deploy: number; readonly commit: string | null; readonly imageId: string | null; readonly since: string; readonly hosts: readonly string[] } | null;
  readonly containers: readonly { readonly name: string; readonly id: string; readonly address: string }[];
  readonly running: Deploying | null; readonly waiting: readonly Deploying[];
  readonly failed: readonly { readonly job: string; readonly code: string; readonly message: string }[];
}

const iso = (ms: number): string => new Date(ms).toISOString();

function deploying(row: DeployRow): Deploying {
  const step = row.status === 'running' ? (row.steps.at(-1)?.step ?? null) : null;
  return { deploy: row.deploy, kind: row.kind, commit: row.source.sha, by: row.by, since: iso(row.startedAt ?? row.requestedAt), step };
}

/** The app on a board that was folded from its own events. Pure. */
export function appOn(board: Board, id: string, global: readonly string[], last: Pick<Recorded, 'position' | 'at'>, destroyed: boolean): AppThen {
  const row = board.apps[id]!;
  const release = row.releases.find((r) => r.number === row.live?.release);
  const deploys = board.deploys[id] ?? [];
  return {
    app: row.name, id, position: last.position, at: iso(last.at), destroyed, createdAt: iso(row.createdAt), createdBy: row.createdBy, deployBranch: row.branch,
    hosts: hostsOf(row, global), domains: row.domains, formation: row.formation, settings: row.settings, config: { version: row.configVersion, keys: row.configKeys },
    live: row.live && { release: row.live.release, deploy: row.live.deploy, commit: release?.spec.sha ?? null, imageId: release?.spec.imageId ?? null, since: iso(row.live.since), hosts: row.live.hosts },
    containers: (row.live?.containers ?? []).map((c) => ({ name: `${c.type}.${c.index}`, id: c.id.slice(0, 12), address: `${c.ip}:${c.port}` })),
    running: deploys.filter((d) => d.status === 'running').map(deploying)[0] ?? null, waiting: deploys.filter((d) => d.status === 'waiting').map(deploying),
    failed: Object.values(board.failed).filter((f) => f.app === id).map((f) => ({ job: f.job, code: f.failure.code, message: f.failure.message })),
  };
}

/** The app as it was then; one that has been destroyed by then as it was at its end. @throws Rejected */
export async function stateAt(core: Core, name: string, moment: Moment): Promise<AppThen> {
  await checkMoment(core.store, moment, core.now());
  const id = await whoHad(core.store, name, moment);
  const then = until(await appLog(core.store, id), moment);
  const end = then.findIndex((event) => event.type === 'AppDestroyed');
  const lived = end < 0 ? then : then.slice(0, end);
  const global = boardOf(until(await merged(core.store, ['server']), moment)).server;
  return appOn(boardOf(lived), id, globalDomains(global, core.config), then[end < 0 ? then.length - 1 : end]!, end >= 0);
}

/** The app as it is: from the board, which knows. Null when no app has that name now. */
async function stateNow(core: Core, name: string): Promise<AppThen | null> {
  const board = await core.board.now();
  const id = board.names[name];
  if (id === undefined) return null;
  const position = core.board.at;
  const now = appOn(board, id, globalDomains(board.server, core.config), { position, at: 0 }, false); // before any other await: the board goes on
  const last = (await lastOf(core.store, id, position))!;
  return { ...now, position: last.position, at: iso(last.at) };
}

function words(d: Deploying): string {
  return [`deploy ${d.deploy}`, d.kind, d.commit?.slice(0, 7), `by ${d.by}`, d.step && `in its step ${d.step}`].filter(Boolean).join(' ');
}

const pairs = (record: Readonly<Record<string, number | string>>): string => Object.entries(record).map(([key, value]) => `${key}=${value}`).join(' ') || 'none';

function render(s: AppThen, out: Out): void {
  out.section(`${s.app} as of event ${s.position} (${when(Date.parse(s.at))} UTC)`);
  const line = (label: string, value: string): void => out.detail(`${`${label}:`.padEnd(16)}${value}`.trimEnd());
  if (s.destroyed) out.warn('It had been destroyed by then: this is how it was at its end');
  line('Id', s.id);
  line('Created', `${when(Date.parse(s.createdAt))} UTC by ${s.createdBy}`);
  line('Deploy branch', s.deployBranch ?? 'not set yet');
  line('Live', s.live ? `v${s.live.release} of deploy ${s.live.deploy}, commit ${s.live.commit?.slice(0, 12) ?? 'unknown'}, since ${when(Date.parse(s.live.since))} UTC` : 'nothing yet');
  line('Hosts', (s.live?.hosts ?? s.hosts).join(' ') || 'none');
  line('Domains', s.domains.join(' ') || 'none of its own');
  line('Formation', pairs(s.formation));
  line('Settings', pairs(s.settings));
  line('Config', `version ${s.config.version}, ${s.config.keys.length === 0 ? 'no keys' : s.config.keys.map((key) => `${key}=(sealed)`).join(' ')}`);
  for (const c of s.containers) line('Container', `${c.name} ${c.id} ${c.address}`);
  if (s.running) line('Running', words(s.running));
  for (const d of s.waiting) line('Waiting', words(d));
  for (const f of s.failed) line('Failed', `${f.job}: ${f.message} (${f.code})`);
}

const state = command({
  name: 'state', summary: 'Show an app as it is now, or was at a time or position of the log', example: 'berth state blog --at 2h', input: StateInput, http: { method: 'GET', path: '/apps/:app/state' }, reads: true,
  run: async ({ core }, { app, at }) => (at === undefined ? await stateNow(core, app) : null) ?? stateAt(core, app, at === undefined ? { position: await core.store.head() } : parseMoment(at, core.now())),
  render,
});

export const stateCommands = [forget(state)];
