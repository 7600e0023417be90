import { isIP } from 'node:net';
import { StepFailure } from '../../events/step.js';
import type { DesiredTable, RouterChange, RouterPlan, RouterServer, RouterState } from './router.port.js';

const HOST = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;
const APP = /^[A-Za-z0-9_-]{1,100}$/;
const SERVER = /^[A-Za-z0-9_.:-]{1,200}$/;

/** What makes the table unusable, or null. Everything that ends up in a router's file or command is checked here. */
export function faultOf(table: DesiredTable): string | null {
  const apps = new Set<string>();
  const hosts = new Map<string, string>();
  for (const app of table.apps) {
    if (!APP.test(app.id)) return `app id ${JSON.stringify(app.id)} is none`;
    if (apps.has(app.id)) return `app ${app.id} is there twice`;
    apps.add(app.id);
    for (const host of app.hosts) {
      if (host.length > 253 || !HOST.test(host)) return `${JSON.stringify(host)} is no host name (app ${app.name})`;
      const owner = hosts.get(host);
      if (owner !== undefined) return `host ${host} is claimed twice, by ${owner} and ${app.name}`;
      hosts.set(host, app.name);
    }
    const servers = new Set<string>();
    for (const server of app.servers) {
      if (!SERVER.test(server.name)) return `server name ${JSON.stringify(server.name)} is none (app ${app.name})`;
      if (servers.has(server.name)) return `server ${server.name} of ${app.name} is there twice`;
      servers.add(server.name);
      if (isIP(server.ip) === 0) return `${JSON.stringify(server.ip)} is no address (server ${server.name} of ${app.name})`;
      if (!Number.isInteger(server.port) || server.port < 1 || server.port > 65_535) return `${server.port} is no port (server ${server.name} of ${app.name})`;
      if (!Number.isInteger(server.weight) || server.weight < 1 || server.weight > 256) return `weight ${server.weight} of ${server.name} is not 1 to 256`;
    }
  }
  return null;
}

/** @throws StepFailure `route.table-invalid` */
export function checkTable(table: DesiredTable): void {
  const fault = faultOf(table);
  if (fault !== null) throw new StepFailure('route.table-invalid', `the routing table is unusable: ${fault}`, null, 'machine');
}

const standing = (a: RouterServer, b: RouterServer): boolean => a.state === b.state && (a.state !== 'ready' || a.weight === b.weight);

/**
 * From what runs to what shall run. Order: new backends, new servers, readying, moving, hosts, and only then draining and taking away.
 * @throws StepFailure `route.table-invalid`
 */
export function planRoutes(desired: DesiredTable, actual: RouterState): RouterPlan {
  checkTable(desired);
  const up: RouterChange[] = [];
  const ready: RouterChange[] = [];
  const move: RouterChange[] = [];
  const hosts: RouterChange[] = [];
  const down: RouterChange[] = [];
  const gone: RouterChange[] = [];
  const known = new Map(actual.apps.map((app) => [app.id, app]));
  const pointing = new Map(actual.hosts.map((entry) => [entry.host, entry.app]));
  const wanted = new Set<string>();

  for (const app of desired.apps) {
    wanted.add(app.id);
    const before = known.get(app.id);
    if (before === undefined) up.push({ do: 'app.add', app: app.id, name: app.name });
    const old = new Map(before?.servers.map((server) => [server.name, server]));
    for (const server of app.servers) {
      const was = old.get(server.name);
      old.delete(server.name);
      if (was === undefined) { up.push({ do: 'server.add', app: app.id, server }); continue; }
      if (was.ip !== server.ip || was.port !== server.port) move.push({ do: 'server.move', app: app.id, name: server.name, ip: server.ip, port: server.port });
      if (!standing(was, server)) (server.state === 'ready' ? ready : down).push({ do: 'server.set', app: app.id, name: server.name, state: server.state, weight: server.weight });
    }
    for (const name of old.keys()) gone.push({ do: 'server.remove', app: app.id, name });
    for (const host of app.hosts) {
      const at = pointing.get(host);
      pointing.delete(host);
      if (at !== app.id) hosts.push({ do: at === undefined ? 'host.add' : 'host.move', app: app.id, host });
    }
  }
  for (const host of pointing.keys()) hosts.push({ do: 'host.remove', host });
  for (const app of actual.apps) if (!wanted.has(app.id)) gone.push({ do: 'app.remove', app: app.id });
  // a moved server must stand at its new address before it is made ready
  return { desired, changes: [...up, ...move, ...ready, ...hosts, ...down, ...gone] };
}

/** What the router has after one change. Pure; throws when the change makes no sense in this state. */
export function reduceRoutes(state: RouterState, change: RouterChange): RouterState {
  const edit = (id: string, servers: (servers: readonly RouterServer[]) => readonly RouterServer[]): RouterState => {
    if (!state.apps.some((app) => app.id === id)) throw new Error(`${change.do}: no backend for ${id}`);
    return { ...state, apps: state.apps.map((app) => (app.id === id ? { ...app, servers: servers(app.servers) } : app)) };
  };
  const one = (id: string, name: string, with_: (server: RouterServer) => RouterServer): RouterState => edit(id, (servers) => {
    if (!servers.some((server) => server.name === name)) throw new Error(`${change.do}: no server ${name}`);
    return servers.map((server) => (server.name === name ? with_(server) : server));
  });
  switch (change.do) {
    case 'app.add':
      if (state.apps.some((app) => app.id === change.app)) throw new Error(`app ${change.app} is there`);
      return { ...state, apps: [...state.apps, { id: change.app, name: change.name, servers: [] }] };
    case 'app.remove': return { apps: state.apps.filter((app) => app.id !== change.app), hosts: state.hosts.filter((entry) => entry.app !== change.app) };
    case 'server.add': return edit(change.app, (servers) => {
      if (servers.some((server) => server.name === change.server.name)) throw new Error(`server ${change.server.name} is there`);
      return [...servers, change.server];
    });
    case 'server.move': return one(change.app, change.name, (server) => ({ ...server, ip: change.ip, port: change.port }));
    case 'server.set': return one(change.app, change.name, (server) => ({ ...server, state: change.state, weight: change.weight }));
    case 'server.remove': return edit(change.app, (servers) => servers.filter((server) => server.name !== change.name));
    case 'host.add': case 'host.move': return { ...edit(change.app, (servers) => servers), hosts: [...state.hosts.filter((entry) => entry.host !== change.host), { host: change.host, app: change.app }] };
    case 'host.remove': return { ...state, hosts: state.hosts.filter((entry) => entry.host !== change.host) };
  }
}
