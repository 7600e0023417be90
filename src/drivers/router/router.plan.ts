import { isIP } from 'node:net';
import { StepFailure } from '../../events/step.js';
import { RULE_TABLES, type DesiredTable, type RouterApp, type RouterChange, type RouterFixed, type RouterPlan, type RouterRule, type RouterServer, type RouterState } from './router.port.js';

const HOST = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;
const APP = /^[A-Za-z0-9_-]{1,100}$/;
const SERVER = /^[A-Za-z0-9_.:-]{1,200}$/;

/** what an entry of each table looks like: it stands in a line of a file and in a command of the router's socket */
const RULES: Readonly<Record<RouterRule['table'], { readonly key: RegExp; readonly value: RegExp }>> = {
  maintenance: { key: /^$/, value: /^on$/ },
  auth: { key: /^$/, value: /^on$/ },
  users: { key: /^[A-Za-z0-9._@-]{1,64}$/, value: /^[A-Za-z0-9+/]{16,88}={0,2}\|[0-9A-F]{64}$/ },
  allow: { key: /^(?:4\/[0-9A-F]{0,8}|6\/[0-9A-F]{0,32})$/, value: /^[0-9a-f.:]{2,45}\/\d{1,3}$/ },
  redirects: { key: HOST, value: /^(?:301|302|307|308)\|https?:\/\/[a-z0-9._-]{1,253}(?::\d{1,5})?$/ },
};
/** bytes of an answer that the router gives by itself: it must fit its buffer together with the head */
export const PAGE_MAX = 15_000;

function faultOfRules(app: RouterApp): string | null {
  const there = new Set<string>();
  for (const rule of app.rules ?? []) {
    const { key, value } = RULES[rule.table] ?? {};
    const what = `${rule.table} ${JSON.stringify(rule.key)} of ${app.name}`;
    if (!key?.test(rule.key) || !value?.test(rule.value)) return `${what} is not an entry of that table`;
    if (there.has(identity(app.id, rule))) return `${what} is there twice`;
    there.add(identity(app.id, rule));
    if (rule.table === 'redirects' && !app.hosts.includes(rule.key)) return `${what} redirects a host that is not the app's`;
  }
  const { page, headers = {} } = app.fixed ?? {};
  if (page !== undefined && (page === '' || Buffer.byteLength(page) > PAGE_MAX)) return `the page of ${app.name} has ${Buffer.byteLength(page)} bytes, not 1 to ${PAGE_MAX}`;
  for (const [name, value] of Object.entries(headers)) if (!/^[A-Za-z0-9-]{1,100}$/.test(name) || !/^[\x20-\x7e]{0,1000}$/.test(value)) return `header ${JSON.stringify(name)} of ${app.name} is none`;
  return null;
}

/** Two rules with the same one cannot be there together. */
const identity = (app: string, rule: RouterRule): string => (rule.table === 'redirects' ? `redirects ${rule.key}` : `${rule.table} ${app} ${rule.key}`);

/** The same whatever the order of headers; empty for nothing. */
export const textOfFixed = (fixed: RouterFixed | null | undefined): string => {
  const { page, headers = {} } = fixed ?? {};
  const pairs = Object.entries(headers).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return page === undefined && pairs.length === 0 ? '' : JSON.stringify([page ?? null, pairs]);
};

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
  for (const app of table.apps) {
    const fault = faultOfRules(app);
    if (fault !== null) return fault;
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
 * From what runs to what shall run. Order: new backends, new servers, new rules (those who may enter before the door is shut), readying, moving,
 * hosts, and only then draining and taking away (the door is opened before the list of who may enter goes).
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
  const rules = planRules(desired, actual);
  const known = new Map(actual.apps.map((app) => [app.id, app]));
  const pointing = new Map(actual.hosts.map((entry) => [entry.host, entry.app]));
  const wanted = new Set<string>();

  for (const app of desired.apps) {
    wanted.add(app.id);
    const before = known.get(app.id);
    if (before === undefined) up.push({ do: 'app.add', app: app.id, name: app.name });
    if (before?.stale || textOfFixed(before?.fixed) !== textOfFixed(app.fixed)) up.push({ do: 'app.fix', app: app.id, fixed: app.fixed ?? null });
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
  return { desired, changes: [...up, ...rules.put, ...move, ...ready, ...hosts, ...down, ...rules.drop, ...gone] };
}

function planRules(desired: DesiredTable, actual: RouterState): { readonly put: RouterChange[]; readonly drop: RouterChange[] } {
  const there = new Map((actual.rules ?? []).map((rule) => [identity(rule.app, rule), rule]));
  const put: Extract<RouterChange, { rule: RouterRule }>[] = [];
  for (const app of desired.apps) {
    for (const rule of app.rules ?? []) {
      const was = there.get(identity(app.id, rule));
      there.delete(identity(app.id, rule));
      if (was?.value !== rule.value || was.app !== app.id) put.push({ do: was ? 'rule.set' : 'rule.add', app: app.id, rule });
    }
  }
  const drop = [...there.values()].map(({ app, ...rule }) => ({ do: 'rule.remove' as const, app, rule }));
  const rank = ({ rule }: { readonly rule: RouterRule }): number => RULE_TABLES.indexOf(rule.table);
  return { put: put.toSorted((a, b) => rank(a) - rank(b)), drop: drop.toSorted((a, b) => rank(b) - rank(a)) };
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
    case 'app.remove': return { ...state, apps: state.apps.filter((app) => app.id !== change.app), hosts: state.hosts.filter((entry) => entry.app !== change.app) };
    case 'app.fix': return { ...edit(change.app, (servers) => servers), apps: state.apps.map((app) => {
      if (app.id !== change.app) return app;
      const { fixed: _, stale: __, ...rest } = app;
      return { ...rest, ...(change.fixed && { fixed: change.fixed }) };
    }) };
    case 'rule.add': case 'rule.set': case 'rule.remove': {
      const rules = state.rules ?? [];
      const others = rules.filter((rule) => identity(rule.app, rule) !== identity(change.app, change.rule));
      if ((change.do === 'rule.add') !== (others.length === rules.length)) throw new Error(`${change.do}: ${identity(change.app, change.rule)} ${change.do === 'rule.add' ? 'is there' : 'is not there'}`);
      return { ...state, rules: change.do === 'rule.remove' ? others : [...others, { ...change.rule, app: change.app }] };
    }
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
