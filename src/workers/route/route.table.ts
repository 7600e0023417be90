import type { LiveContainer, RouteInput } from '../../events/types/deploy.events.js';
import { hosted, tableOf, type DesiredTable, type RouterApp, type RouterServer, type RouterState } from '../../drivers/router/router.port.js';

export const WEIGHT = 100;
export const isWeb = (container: LiveContainer): boolean => container.type === 'web';
export const label = (container: LiveContainer): string => `${container.type}.${container.index}`;

export const serverOf = (container: LiveContainer, state: RouterServer['state']): RouterServer => ({ name: container.name, ip: container.ip, port: container.port, state, weight: WEIGHT });

/**
 * The whole table with one app replaced. Other apps stay as the router has them, for they may be in the middle of their own switch;
 * those it does not have yet come from the log (`others`). A host goes to the app whose deploy says so.
 */
export function tableWith(actual: RouterState, others: DesiredTable, app: RouterApp): DesiredTable {
  const running = tableOf(actual).apps;
  const have = new Set(running.map((entry) => entry.id));
  const rest = [...running, ...others.apps.filter((entry) => !have.has(entry.id))].filter((entry) => entry.id !== app.id);
  const taken = new Set(app.hosts);
  const apps = rest.map((entry) => {
    const hosts = entry.hosts.filter((host) => !taken.has(host));
    for (const host of hosts) taken.add(host);
    return hosted(entry, hosts);
  });
  return { apps: [...apps, app] };
}

const serversIn = (actual: RouterState, app: string): readonly RouterServer[] => actual.apps.find((entry) => entry.id === app)?.servers ?? [];

/** New ones beside the old: reachable for probes, taking no traffic yet. What is there already keeps its state. */
export function beside(input: RouteInput, actual: RouterState): RouterApp {
  const there = new Map(serversIn(actual, input.app).map((server) => [server.name, server]));
  const fresh = input.containers.filter(isWeb).map((container) => {
    const was = there.get(container.name);
    there.delete(container.name);
    // also where it was restarted at another address: it is the same container
    return serverOf(container, was?.state === 'ready' ? 'ready' : 'drain');
  });
  return { id: input.app, name: input.name, hosts: input.hosts, servers: [...there.values(), ...fresh] };
}

/** New ones ready, all others drained. */
export function switched(input: RouteInput, actual: RouterState): RouterApp {
  const fresh = input.containers.filter(isWeb).map((container) => serverOf(container, 'ready'));
  const names = new Set(fresh.map((server) => server.name));
  const old = serversIn(actual, input.app).filter((server) => !names.has(server.name)).map((server) => ({ ...server, state: server.state === 'ready' ? 'drain' as const : server.state }));
  return { id: input.app, name: input.name, hosts: input.hosts, servers: [...fresh, ...old] };
}

/** All new ones take requests, and nothing else does. */
export function onlyNew(input: RouteInput, actual: RouterState): boolean {
  const ready = serversIn(actual, input.app).filter((server) => server.state === 'ready').map((server) => server.name);
  const fresh = input.containers.filter(isWeb).map((container) => container.name);
  return ready.length === fresh.length && fresh.every((name) => ready.includes(name));
}

/** With the addresses that the router has now: a container may have been restarted meanwhile, and the sweeper has seen to it. */
export function where(app: RouterApp, actual: RouterState): RouterApp {
  const now = new Map(serversIn(actual, app.id).map((server) => [server.name, server]));
  return { ...app, servers: app.servers.map((server) => ({ ...server, ip: now.get(server.name)?.ip ?? server.ip, port: now.get(server.name)?.port ?? server.port })) };
}

/** As it is, without these servers; null when the router does not have the app any more. The next deploy may have begun. */
export function without(input: RouteInput, actual: RouterState, names: ReadonlySet<string>): RouterApp | null {
  const there = tableOf(actual).apps.find((entry) => entry.id === input.app);
  return there ? { ...there, servers: there.servers.filter((server) => !names.has(server.name)) } : null;
}

/**
 * As it was before the step began: old ones ready, new ones gone. Only those that answer count, for an earlier attempt may have stopped old ones and made new
 * ones ready; when none answers, whatever is there is kept and the old ones are ready.
 */
export function putBack(input: RouteInput, before: RouterState, answering: ReadonlySet<string>): RouterApp {
  const retired = new Set(input.retire.map((container) => container.name));
  const fresh = new Set(input.containers.map((container) => container.name));
  const was = serversIn(before, input.app);
  // not what a cancelled deploy left: it belongs to nobody, and may be gone by now
  const old = was.filter((server) => retired.has(server.name) && !fresh.has(server.name));
  const kept = was.filter((server) => fresh.has(server.name) && server.state === 'ready');
  const revive = (all: boolean): readonly RouterServer[] => old.map((server) => (all || answering.has(server.name) ? { ...server, state: 'ready', weight: WEIGHT } : server));
  const servers = [...revive(false), ...kept.filter((server) => answering.has(server.name))];
  const there = tableOf(before).apps.find((entry) => entry.id === input.app) ?? { hosts: before.hosts.filter((entry) => entry.app === input.app).map((entry) => entry.host) };
  return { ...there, id: input.app, name: input.name, servers: servers.some((server) => server.state === 'ready' && answering.has(server.name)) ? servers : [...revive(true), ...kept] };
}
