import type { DesiredTable, RouterApp, RouterServer } from './router.port.js';
import { faultOf } from './router.plan.js';

/** What the file depends on besides the table. */
export interface HaproxySettings {
  /** folder of the config, the maps and the pages; absolute, no blanks */
  readonly dir: string;
  /** path of the runtime socket */
  readonly socket: string;
  readonly httpPort: number;
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

function backend(app: RouterApp, dir: string): string {
  return [
    `backend ${backendOf(app.id)}`,
    // the table itself, so that the file can be made anew from itself
    MARK + JSON.stringify(app),
    '  balance roundrobin',
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
${wildcards(dir, 4).join('\n')}
  http-request set-var(txn.probe) bool(true) if { req.hdr(x-berth-probe) -m str -f ${dir}/probe-token }
  http-request set-var(txn.ask) req.hdr(x-berth-server) if { var(txn.probe) -m found } { req.hdr(x-berth-server) -m found }
  http-request del-header x-berth-probe
  http-request del-header x-berth-server
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

${apps.map((app) => `${backend(app, dir)}\n`).join('\n')}`;
}

/** The two maps: exact hosts, and wildcards by what follows `*.`. A line each, sorted. */
export function haproxyMaps(table: DesiredTable): { readonly hosts: string; readonly wildcards: string } {
  const lines = (wild: boolean): string => table.apps
    .flatMap((app) => app.hosts.filter((host) => host.startsWith('*.') === wild).map((host) => `${wild ? host.slice(2) : host} ${backendOf(app.id)}\n`))
    .toSorted().join('');
  return { hosts: lines(false), wildcards: lines(true) };
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
