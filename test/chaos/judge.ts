import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { HaproxyDriver, haproxyOptions } from '../../src/drivers/router/haproxy.driver.js';
import { upcast } from '../../src/events/upcast.js';
import { applyToBoard, emptyBoard, type Board } from '../../src/modules/read/board.projection.js';
import type { Fixture } from '../lib/berth-fixture.js';
import type { Seen } from './log-watch.js';

const OUTCOMES = new Set(['SourceCloned', 'BuildpackDetected', 'ImageBuilt', 'ContainersStarted', 'RouteSwitched', 'StepFailed']);
const ENDS = new Set(['DeploySucceeded', 'DeployFailed', 'DeployCancelled', 'DeploySuperseded']);

/** What is wrong in the log: a step's effect twice, an end twice, something after an end. */
export function wrongInLog(events: readonly Seen[]): string[] {
  const wrong: string[] = [];
  const once = new Set<string>();
  const say = (key: string): void => {
    if (once.has(key)) wrong.push(`twice: ${key}`);
    once.add(key);
  };
  const ended = new Set<string>();
  for (const { stream, type, version, data } of events) {
    say(`version ${version} of ${stream}`);
    if (!stream.startsWith('pipeline-')) continue;
    const deploy = `${data.app}.${data.deploy}`;
    if (OUTCOMES.has(type)) say(`outcome of ${data.job}, attempt ${data.attempt}`);
    if (type === 'RouteSwitched' || type === 'ReleaseCreated') say(`${type} of ${deploy}`);
    if (ended.has(deploy) && type !== 'JobRetried') wrong.push(`${type} after the end of ${deploy}`);
    if (ENDS.has(type)) ended.add(deploy);
  }
  return wrong;
}

export function boardOf(events: readonly Seen[]): Board {
  const board = emptyBoard();
  for (const event of events) applyToBoard(board, upcast(event));
  return board;
}

/**
 * Everything that is there and that no live release owns, and everything that is live and is not there. By the promise, not by the sweeper's
 * own plan. On a private engine everything counts, with a label or without.
 */
export async function leftovers(berth: Fixture, events: readonly Seen[], base: string): Promise<string[]> {
  const board = boardOf(events);
  const apps = Object.values(board.apps);
  const found: string[] = [];
  const filters = berth.ownEngine ? '' : `&filters=${encodeURIComponent(JSON.stringify({ label: [`berth.instance=${berth.instance}`] }))}`;

  const live = new Map(apps.flatMap((app) => (app.live?.containers ?? []).map((c) => [c.id, `${app.name} ${c.type}.${c.index}`] as const)));
  const containers = await berth.engine<{ Id: string; Names: string[]; State: string; Mounts: { Type: string; Name?: string }[] }[]>('GET', `/containers/json?all=1${filters}`);
  for (const { Id, Names, State } of containers) {
    if (!live.has(Id)) found.push(`container ${Names[0]} (${State})`);
    else if (State !== 'running') found.push(`container ${Names[0]} is live, and ${State}`);
  }
  for (const [id, what] of live) if (!containers.some((c) => c.Id === id)) found.push(`${what}: its container ${id.slice(0, 12)} is not there`);

  // the one that serves, and five earlier ones for a rollback
  const images = new Set([base]);
  for (const app of apps) {
    const ids = [...new Set(app.releases.filter((r) => r.wasLive).map((r) => r.spec.imageId).reverse())];
    const current = app.releases.find((r) => r.number === app.live?.release)?.spec.imageId;
    for (const id of [...(current === undefined ? [] : [current]), ...ids.filter((one) => one !== current).slice(0, 5)]) images.add(id);
  }
  for (const job of Object.values(board.failed)) for (const { Id } of await imagesOf(berth, job.app, job.deploy)) images.add(Id);
  for (const { Id, RepoTags } of await berth.engine<{ Id: string; RepoTags: string[] | null }[]>('GET', `/images/json?x=1${filters}`)) if (!images.has(Id)) found.push(`image ${(RepoTags ?? []).join(' ')} ${Id.slice(7, 19)}`);

  const networks = new Set(apps.map((app) => `${berth.instance}-${app.id}`));
  for (const { Name, Driver } of await berth.engine<{ Name: string; Driver: string }[]>('GET', `/networks?x=1${filters}`)) {
    if (networks.delete(Name) || ['bridge', 'host', 'none'].includes(Name)) continue;
    found.push(`network ${Name} (${Driver})`);
  }
  const used = new Set(containers.filter((c) => live.has(c.Id)).flatMap((c) => c.Mounts.map((mount) => mount.Name ?? '')));
  const { Volumes } = await berth.engine<{ Volumes: { Name: string; Labels: Record<string, string> | null }[] | null }>('GET', `/volumes?x=1${filters}`);
  // an app's own, for all its deploys: the cache of its builds
  for (const { Name, Labels } of Volumes ?? []) if (!used.has(Name) && !(board.apps[Labels?.['berth.app'] ?? ''] && Labels?.['berth.deploy'] === undefined)) found.push(`volume ${Name.slice(0, 20)}`);

  const retriable = new Set(Object.values(board.failed).map((job) => `${job.app}.${job.deploy}`));
  for (const folder of names(berth, 'sources')) {
    const [app = '', deploy = ''] = folder.split('.');
    if (board.apps[app]?.live?.deploy !== Number(deploy) && !retriable.has(`${app}.${deploy}`)) found.push(`source ${folder}`);
    else for (const file of names(berth, 'sources', folder)) if (file !== 'source.tar') found.push(`source ${folder}/${file}`);
  }
  for (const repository of names(berth, 'repos')) {
    if (!board.apps[repository.slice(0, -4)]) found.push(`repository ${repository}`);
    for (const name of names(berth, 'repos', repository, 'objects')) if (name.startsWith('tmp_') || name.startsWith('incoming-')) found.push(`pushed objects of nobody: ${repository}/objects/${name}`);
  }
  for (const folder of ['deploys', 'apps']) for (const app of names(berth, 'logs', folder)) if (!board.apps[app]) found.push(`log ${folder}/${app}`);
  for (const name of names(berth, 'tmp')) found.push(`temporary ${name}`);

  const router = new HaproxyDriver(haproxyOptions({ root: berth.root, run: berth.runDir, httpPort: berth.httpPort }));
  const table = await router.observe();
  for (const { id, name, servers } of table.apps) {
    const wanted = board.apps[id]?.live?.containers.filter((c) => c.type === 'web').map((c) => `${c.name} ready`).sort().join(', ') ?? '';
    const have = servers.map((server) => `${server.name} ${server.state}`).sort().join(', ');
    if (have !== wanted) found.push(`the router has ${have || 'nothing'} of ${name}, the log ${wanted || 'nothing'}`);
  }
  const pids = berth.ownEngine?.strays(containers.map((c) => c.Id)) ?? [];
  for (const { pid, what } of pids) found.push(`process ${pid} of a build or container that is gone: ${what}`);
  return found;
}

async function imagesOf(berth: Fixture, app: string, deploy: number): Promise<{ Id: string }[]> {
  return berth.engine('GET', `/images/json?filters=${encodeURIComponent(JSON.stringify({ label: [`berth.instance=${berth.instance}`, `berth.app=${app}`, `berth.deploy=${deploy}`] }))}`);
}

function names(berth: Fixture, ...path: string[]): string[] {
  const folder = join(berth.root, ...path);
  return existsSync(folder) ? readdirSync(folder) : [];
}
