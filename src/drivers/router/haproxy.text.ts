import { createHash } from 'node:crypto';
import { RULE_TABLES, type DesiredTable, type RouterApp, type RouterFixed, type RouterRule, type RouterServer, type RuleTable } from './router.port.js';
import { faultOf, textOfFixed } from './router.plan.js';

/** What the file depends on besides the table. */
export interface HaproxySettings {
  /** folder of the config, the maps and the pages; absolute, no blanks */
  readonly dir: string;
  /** path of the runtime socket */
  readonly socket: string;
  readonly httpPort: number;
  /** path of the socket that takes calls of git servers */
  readonly hooks: string;
  readonly ipv6: boolean;
  /** user and group of the workers when the master is root, or null */
  readonly user: string | null;
}

export const backendOf = (app: string): string => `app_${app}`;
const MARK = '  # berth: ';

/** `web.1` → `server web.1 10.0.0.1:5000 weight 100`; drain is weight 0, as it is at run time. */
function serverLine(server: RouterServer): string {
  return `  server ${server.name} ${addressOf(server)} weight ${server.state === 'drain' ? 0 : server.weight}${server.state === 'maint' ? ' disabled' : ''}`;
}

/** `10.0.0.1:5000`; IPv6 with brackets. */
export const addressOf = (server: { readonly ip: string; readonly port: number }): string => `${server.ip.includes(':') ? `[${server.ip}]` : server.ip}:${server.port}`;

/** Tells what an app's fixed part is; null for none. */
export function digestOf(fixed: RouterFixed | null | undefined): string | null {
  const text = textOfFixed(fixed);
  return text === '' ? null : createHash('sha256').update(text).digest('hex').slice(0, 24);
}

/** Pages of apps: file name below `pages` → HTML. */
export function haproxyPages(table: DesiredTable): ReadonlyMap<string, string> {
  return new Map(table.apps.flatMap((app) => (app.fixed?.page === undefined ? [] : [[pageFile(app), app.fixed.page] as const])));
}
const pageFile = (app: RouterApp): string => `${app.id}-${digestOf(app.fixed)}.html`;

/** Quoted for the configuration file, and for what it takes as a log format. */
const quoted = (text: string): string => `"${text.replace(/[\\"$]/g, '\\$&').replace(/%/g, '%%')}"`;

function fixedLines(app: RouterApp, dir: string): string[] {
  const { page, headers = {} } = app.fixed ?? {};
  return [
    ...(page === undefined ? [] : [`  http-request return status 503 content-type "text/html; charset=utf-8" file ${dir}/pages/${pageFile(app)} hdr Retry-After 60 hdr Cache-Control no-store if { var(txn.maintenance) -m found }`]),
    ...Object.entries(headers).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => `  http-after-response set-header ${name} ${quoted(value)}`),
  ];
}

function backend(app: RouterApp, dir: string): string {
  return [
    `backend ${backendOf(app.id)}`,
    // the table itself, so that the file can be made anew from itself
    MARK + JSON.stringify(app),
    '  balance roundrobin',
    ...fixedLines(app, dir),
    // a probe names its server; everybody else gets the page when no server takes requests. A worker that was replaced by a reload
    // counts none any more, and serves what comes on its kept connections all the same
    `  http-request return status 503 content-type "text/html; charset=utf-8" file ${dir}/503.html hdr Retry-After 5 hdr Cache-Control no-store if !{ stopping } { nbsrv lt 1 } !{ var(txn.probe) -m found } { req.hdr(accept) -m sub text/html }`,
    `  http-request return status 503 content-type "text/plain; charset=utf-8" file ${dir}/503.txt hdr Retry-After 5 hdr Cache-Control no-store if !{ stopping } { nbsrv lt 1 } !{ var(txn.probe) -m found }`,
    '  use-server %[var(txn.ask)] if { var(txn.ask) -m found }',
    ...app.servers.map(serverLine),
  ].join('\n');
}

/** Suffixes of the host, longest first, until one is in the map of wildcards. */
function wildcards(dir: string, depth: number): string[] {
  const lines: string[] = [];
  for (let level = 0; level < depth; level++) {
    lines.push(
      `  http-request set-var(txn.rest) var(txn.${level === 0 ? 'host' : 'rest'}),regsub('^[^.]*\\.?','') if !{ var(txn.be) -m found }`,
      `  http-request set-var(txn.be) var(txn.rest),map_str(${dir}/wildcards.map) if !{ var(txn.be) -m found }`,
    );
  }
  return lines;
}

/** File of a table of rules. */
export const ruleMap = (dir: string, table: RuleTable): string => `${dir}/${table}.map`;
/** File that says which fixed part each app was loaded with. */
export const fixedMap = (dir: string): string => `${dir}/fixed.map`;

/** `app_k3v9|bob`, for redirects the host itself. */
export const ruleKey = (app: string, rule: RouterRule): string => (rule.table === 'redirects' ? rule.key : rule.key === '' ? backendOf(app) : `${backendOf(app)}|${rule.key}`);
export const ruleValue = (app: string, rule: RouterRule): string => (rule.table === 'redirects' ? `${rule.value}|${backendOf(app)}` : rule.value);
/** From a map's entry; null when it is not one of ours. */
export function ruleIn(table: RuleTable, key: string, value: string): (RouterRule & { readonly app: string }) | null {
  const cut = (text: string, at: number): [string, string] => (at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]);
  const [rest, backendName] = table === 'redirects' ? cut(value, value.lastIndexOf('|')) : [value, cut(key, key.indexOf('|'))[0]];
  if (!backendName.startsWith('app_')) return null;
  return { app: backendName.slice(4), table, key: table === 'redirects' ? key : cut(key, key.indexOf('|'))[1], value: rest };
}

/** What happens before an app is asked. A probe of ours passes: it looks at one server. */
function rules(dir: string): string {
  const map = (table: RuleTable): string => `map_str(${ruleMap(dir, table)})`;
  const asked = '!{ var(txn.probe) -m found }';
  const guarded = '{ var(txn.auth) -m found }';
  const refused = `${guarded} !{ var(txn.allowed) -m found } !{ var(txn.is),secure_memcmp(txn.must) -m bool }`;
  const page = (status: number, more: string, when: string): string[] => [
    `  http-request return status ${status} content-type "text/html; charset=utf-8" file ${dir}/${status === 503 ? 'maintenance' : status}.html ${more} hdr Cache-Control no-store if ${when} { req.hdr(accept) -m sub text/html }`,
    `  http-request return status ${status} content-type "text/plain; charset=utf-8" file ${dir}/${status === 503 ? 'maintenance' : status}.txt ${more} hdr Cache-Control no-store if ${when}`,
  ];
  return [
    `  http-request set-var(txn.to) var(txn.host),${map('redirects')} if ${asked}`,
    ...[301, 302, 307, 308].map((code) => `  http-request redirect prefix %[var(txn.to),field(2,|)] code ${code} if { var(txn.to) -m beg ${code} }`),
    `  http-request set-var(txn.maintenance) var(txn.be),${map('maintenance')} if ${asked}`,
    // an app's own page stands in its backend, when this process has loaded it
    `  http-request set-var(txn.fixed) var(txn.be),map_str(${fixedMap(dir)}) if { var(txn.maintenance) -m found }`,
    ...page(503, 'hdr Retry-After 60', '{ var(txn.maintenance) -m found } !{ var(txn.fixed) -m beg page }'),
    `  http-request set-var(txn.auth) var(txn.be),${map('auth')} if ${asked} !{ var(txn.maintenance) -m found }`,
    `  http-request set-var(txn.src) src,hex if ${guarded}`,
    `  http-request set-var(txn.family) str(|4/) if ${guarded} { var(txn.src) -m len 8 }`,
    `  http-request set-var(txn.family) str(|6/) if ${guarded} !{ var(txn.src) -m len 8 }`,
    `  http-request set-var(txn.allowed) var(txn.be),concat(,txn.family,),concat(,txn.src,),map_beg(${ruleMap(dir, 'allow')}) if ${guarded}`,
    // the password's keyed hash is compared with the user's: no crypt(3), which would hold all other requests up
    // in a variable of its own: a name that is not found must not stand where the entry would
    `  http-request set-var(txn.name) http_auth_user if ${guarded} !{ var(txn.allowed) -m found }`,
    `  http-request set-var(txn.user) var(txn.be),concat(|,txn.name),${map('users')} if { var(txn.name) -m found }`,
    '  http-request set-var(txn.salt) var(txn.user),field(1,|) if { var(txn.user) -m found }',
    '  http-request set-var(txn.must) var(txn.user),field(2,|) if { var(txn.user) -m found }',
    '  http-request set-var(txn.is) http_auth_pass,hmac(sha256,txn.salt),hex if { var(txn.must) -m found }',
    ...page(401, 'hdr WWW-Authenticate "Basic realm=\\"Restricted\\", charset=\\"UTF-8\\""', refused),
  ].join('\n');
}

/** The whole config file. Pure; the same for the same input, whatever the order of apps. */
export function haproxyConfig(table: DesiredTable, settings: HaproxySettings): string {
  const { dir } = settings;
  const apps = table.apps.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return `# Written by Berth whenever routes change. Changes made here are lost.
global
  stats socket ${settings.socket} mode 600 level admin expose-fd listeners
${settings.user === null ? '' : `  user ${settings.user}\n  group ${settings.user}\n`}  # what upgraded connections of replaced workers get
  hard-stop-after 1h

defaults
  mode http
  balance roundrobin
  # a refused connection is tried on another server at once, on the only one after a second: a container that restarts is waited for
  option redispatch 1
  retries 3
  retry-on conn-failure
  timeout connect 3s
  timeout http-request 30s
  timeout http-keep-alive 60s
  timeout queue 30s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  # half-closed tunnels must not linger for the hour
  timeout client-fin 30s
  timeout server-fin 30s
${[502, 503, 504].map((status) => `  http-error status ${status} content-type "text/html; charset=utf-8" file ${dir}/${status}.html`).join('\n')}

frontend http
  bind 0.0.0.0:${settings.httpPort}
${settings.ipv6 ? `  bind [::]:${settings.httpPort} v6only\n` : ''}  http-request set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.)
  http-request set-var(txn.be) var(txn.host),map_str(${dir}/hosts.map)
  http-request set-var(txn.be) str(berth_hooks) if !{ var(txn.be) -m found } { var(txn.host) -m beg berth. } { path_beg /hooks/ }
${wildcards(dir, 4).join('\n')}
  http-request set-var(txn.probe) bool(true) if { req.hdr(x-berth-probe) -m str -f ${dir}/probe-token }
  http-request set-var(txn.ask) req.hdr(x-berth-server) if { var(txn.probe) -m found } { req.hdr(x-berth-server) -m found }
  http-request del-header x-berth-probe
  http-request del-header x-berth-server
${rules(dir)}
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request del-header Forwarded
  http-response del-header x-berth-server
  http-response set-header x-berth-server %[srv_name] if { var(txn.probe) -m found }
  use_backend %[var(txn.be)] if { var(txn.be) -m found }
  default_backend unknown_host

backend unknown_host
  http-request return status 404 content-type "text/html; charset=utf-8" file ${dir}/404.html hdr Cache-Control no-store if { req.hdr(accept) -m sub text/html }
  http-request return status 404 content-type "text/plain; charset=utf-8" file ${dir}/404.txt hdr Cache-Control no-store

backend berth_hooks
  server api unix@${settings.hooks}

${apps.map((app) => `${backend(app, dir)}\n`).join('\n')}`;
}

/** File name → text: exact hosts, wildcards by what follows `*.`, the rules, the fixed parts. A line each, sorted. */
export function haproxyMaps(table: DesiredTable): Readonly<Record<string, string>> {
  const lines = (wild: boolean): string => table.apps
    .flatMap((app) => app.hosts.filter((host) => host.startsWith('*.') === wild).map((host) => `${wild ? host.slice(2) : host} ${backendOf(app.id)}\n`))
    .toSorted().join('');
  const of = (name: RuleTable): string => table.apps.flatMap((app) => (app.rules ?? []).filter((rule) => rule.table === name).map((rule) => `${ruleKey(app.id, rule)} ${ruleValue(app.id, rule)}\n`)).toSorted().join('');
  const fixed = table.apps.flatMap((app) => (digestOf(app.fixed) === null ? [] : [`${backendOf(app.id)} ${app.fixed?.page === undefined ? '' : 'page'}-${digestOf(app.fixed)}\n`])).toSorted().join('');
  return { hosts: lines(false), wildcards: lines(true), ...Object.fromEntries(RULE_TABLES.map((name) => [name, of(name)])), fixed };
}

/** The table that a config file was made from; null when it is not one of ours or was spoiled. */
export function tableInConfig(text: string): DesiredTable | null {
  try {
    const apps = text.split('\n').filter((line) => line.startsWith(MARK)).map((line) => JSON.parse(line.slice(MARK.length)) as RouterApp);
    return faultOf({ apps }) === null ? { apps } : null;
  } catch {
    return null;
  }
}

/** The file without what changes in a switch: server lines and the table's own lines. Two files of one shape are both valid or both not. */
export const haproxyShape = (text: string): string => text.split('\n').filter((line) => !line.startsWith('  server ') && !line.startsWith(MARK)).join('\n');
