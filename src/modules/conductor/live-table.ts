import { hosted, tableOf, type DesiredTable, type RouterState } from '../../drivers/router/router.port.js';
import type { Edge } from '../../drivers/router/router.settings.js';
import type { AppRow, Board } from '../read/board.projection.js';

/** The routes that the log says should be: every app that is live, with its web containers. `ip` corrects addresses that changed with a restart. */
export function liveTable(board: Readonly<Board>, ip: (container: string) => string | null = () => null, edges: ReadonlyMap<string, Edge> = new Map()): DesiredTable {
  const apps = Object.values(board.apps).flatMap((app) => (app.live ? [{
    id: app.id, name: app.name, hosts: app.live.hosts,
    servers: app.live.containers.filter((c) => c.type === 'web').map((c) => ({ name: c.name, ip: ip(c.id) ?? c.ip, port: c.port, state: 'ready' as const, weight: 100 })),
    ...ruled(edges.get(app.id)),
  }] : []));
  return { apps };
}

const ruled = ({ rules, fixed }: Partial<Edge> = {}): Pick<DesiredTable['apps'][number], 'rules' | 'fixed'> => ({ ...(rules && { rules }), ...(fixed && { fixed }) });

/** The app's deploy that is in its route step, which alone may change its routes; null: none. */
function routing(board: Readonly<Board>, app: string): number | null {
  const running = board.apps[app]?.running ?? null;
  const step = running === null ? null : (board.deploys[app]?.[running - 1]?.steps.at(-1)?.step ?? 'route');
  return step === 'route' ? running : null;
}

/** Since this deploy ended another one is being switched to, or was; or the app is gone. Their numbers do not say which came later. */
export function overtaken(board: Readonly<Board>, app: string, deploy: number): boolean {
  const row = board.apps[app];
  const other = routing(board, app);
  const ended = board.deploys[app]?.[deploy - 1]?.endedAt ?? null;
  return row === undefined || (other !== null && other !== deploy) || (ended !== null && row.live !== null && row.live.deploy !== deploy && row.live.since >= ended);
}

/**
 * What the router should have, given what it has: apps that the log does not know go, apps at rest are as the log says,
 * apps in the middle of a switch are left to their route step. A switch that was cancelled is thereby put back. An app of which nothing
 * `runs` that should is left, too, until it does: what the router has may be all that serves it.
 */
export function repaired(board: Readonly<Board>, actual: RouterState, ip: (container: string) => string | null, runs: (container: string) => boolean = () => true, edges: ReadonlyMap<string, Edge> = new Map()): DesiredTable {
  const all = liveTable(board, ip, edges);
  // the others take its requests until it runs again
  const wanted: DesiredTable = { apps: all.apps.map((app) => {
    const down = new Set(board.apps[app.id]?.live?.containers.filter((c) => !runs(c.id)).map((c) => c.name));
    return { ...app, servers: app.servers.filter((server) => !down.has(server.name)) };
  }) };
  const fallen = (app: AppRow): boolean => {
    const web = app.live?.containers.filter((c) => c.type === 'web') ?? [];
    return web.length > 0 && !web.some((c) => runs(c.id));
  };
  const busy = new Set(Object.values(board.apps).filter((app) => routing(board, app.id) !== null || fallen(app)).map((app) => app.id));
  const kept = tableOf(actual).apps.filter((app) => busy.has(app.id));
  const have = new Set(kept.map((app) => app.id));
  const taken = new Set(kept.flatMap((app) => app.hosts));
  const rest = wanted.apps.filter((app) => !have.has(app.id)).map((app) => hosted(app, app.hosts.filter((host) => !taken.has(host))));
  return { apps: [...kept, ...rest] };
}
