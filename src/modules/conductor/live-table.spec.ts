import { describe, expect, it } from 'vitest';
import type { RouterState } from '../../drivers/router/router.port.js';
import { emptyBoard, type AppRow, type Board, type DeployRow } from '../read/board.projection.js';
import { liveTable, overtaken, repaired } from './live-table.js';

const container = (name: string, type = 'web') => ({ id: `id-${name}`, name, type, index: 1, ip: '10.0.0.1', port: 5000 });
const row = (id: string, more: Partial<AppRow>): AppRow => ({ id, name: `app-${id}`, createdAt: 0, createdBy: '', branch: null, domains: [], settings: {}, formation: {}, mounts: [], configVersion: 0, configKeys: [], live: null, running: null, last: 1, releases: [], ...more });
const live = (hosts: string[], ...containers: ReturnType<typeof container>[]): AppRow['live'] => ({ release: 1, deploy: 1, containers, hosts, since: 0 });
const board = (...rows: AppRow[]): Board => ({ ...emptyBoard(), apps: Object.fromEntries(rows.map((r) => [r.id, r])) });
const server = (name: string, ip = '10.0.0.1') => ({ name, ip, port: 5000, state: 'ready' as const, weight: 100 });

describe('the table of live routes', () => {
  it('has every live app with its web containers, and nothing else', () => {
    const table = liveTable(board(row('a', { live: live(['a.x'], container('web.1'), container('worker.1', 'worker')) }), row('b', {})));
    expect(table).toEqual({ apps: [{ id: 'a', name: 'app-a', hosts: ['a.x'], servers: [server('web.1')] }] });
  });
  it('has the address that a container has now, where that is known', () => {
    const table = liveTable(board(row('a', { live: live([], container('web.1'), container('web.2')) })), (id) => (id === 'id-web.1' ? '10.0.0.9' : null));
    expect(table.apps[0]!.servers.map((s) => s.ip)).toEqual(['10.0.0.9', '10.0.0.1']);
  });
});

describe('rules', () => {
  const rule = { table: 'redirects' as const, key: 'www', value: '301|http://a.x' };
  const all = new Map([['a', { left: [], rules: [rule], fixed: { page: 'soon' } }]]);
  it('are those of the log for apps at rest, and go where a host of theirs goes', () => {
    const two = board(row('a', { live: live(['a.x', 'www'], container('web.1')) }), row('b', { running: 1, live: live(['www']) }));
    expect(liveTable(two, undefined, all).apps[0]).toMatchObject({ rules: [rule], fixed: { page: 'soon' } });
    const actual: RouterState = { apps: [{ id: 'b', name: 'app-b', servers: [] }], hosts: [{ host: 'www', app: 'b' }], rules: [{ ...rule, app: 'b' }, { ...rule, key: 'lost', app: 'b' }] };
    expect(repaired(two, actual, () => null, undefined, all).apps).toEqual([
      { id: 'b', name: 'app-b', servers: [], hosts: ['www'], rules: [rule] },
      { id: 'a', name: 'app-a', hosts: ['a.x'], servers: [server('web.1')], fixed: { page: 'soon' } },
    ]);
  });
});

describe('a repaired table', () => {
  const actual: RouterState = { apps: [{ id: 'a', name: 'app-a', servers: [server('web.new'), server('web.1')] }, { id: 'gone', name: 'gone', servers: [] }], hosts: [{ host: 'a.x', app: 'a' }, { host: 'gone.x', app: 'gone' }] };

  it('is what the log says for apps at rest; apps that the log does not know go', () => {
    expect(repaired(board(row('a', { live: live(['a.x', 'www'], container('web.1')) }), row('b', { live: live(['b.x']) })), actual, () => null)).toEqual({
      apps: [{ id: 'a', name: 'app-a', hosts: ['a.x', 'www'], servers: [server('web.1')] }, { id: 'b', name: 'app-b', hosts: ['b.x'], servers: [] }],
    });
  });
  it('leaves an app in the middle of a deploy as the router has it', () => {
    const table = repaired(board(row('a', { running: 2, live: live(['a.x'], container('web.1')) })), actual, () => null);
    expect(table).toEqual({ apps: [{ ...actual.apps[0], hosts: ['a.x'] }] });
  });
  it('brings an app that deploys back when the router has lost it', () => {
    const table = repaired(board(row('a', { running: 2, live: live(['a.x'], container('web.1')) })), { apps: [], hosts: [] }, () => null);
    expect(table.apps).toEqual([{ id: 'a', name: 'app-a', hosts: ['a.x'], servers: [server('web.1')] }]);
  });
  it('never gives one host to two apps: who is deploying has it', () => {
    const table = repaired(board(row('a', { running: 2, live: live(['a.x']) }), row('b', { live: live(['a.x', 'b.x']) })), actual, () => null);
    expect(table.apps.map((app) => [app.id, app.hosts])).toEqual([['a', ['a.x']], ['b', ['b.x']]]);
  });
});

describe('a deploy that ended is overtaken', () => {
  const deploy = (n: number, endedAt: number | null, ...steps: string[]): DeployRow => ({ app: 'a', deploy: n, endedAt, steps: steps.map((step) => ({ step })) }) as unknown as DeployRow;
  const at = (serves: number, since: number, more: Partial<AppRow> = {}, ...deploys: DeployRow[]): Board => ({ ...board(row('a', { live: { ...live(['a.x'], container('web.1'))!, deploy: serves, since }, ...more })), deploys: { a: deploys } });

  it('by one that was switched to since, whatever its number, and not by what was switched to before, nor by itself', () => {
    expect(overtaken(at(1, 200, {}, deploy(1, 200), deploy(2, 100)), 'a', 2)).toBe(true);
    expect(overtaken(at(1, 50, {}, deploy(1, 50), deploy(2, 100)), 'a', 2)).toBe(false);
    expect(overtaken(at(2, 100, {}, deploy(1, 50), deploy(2, 100)), 'a', 2)).toBe(false);
  });
  it('by one that is being switched to, and not by one that is built', () => {
    expect(overtaken(at(1, 50, { running: 3 }, deploy(1, 50), deploy(2, 100), deploy(3, null, 'clone', 'route')), 'a', 2)).toBe(true);
    expect(overtaken(at(1, 50, { running: 3 }, deploy(1, 50), deploy(2, 100), deploy(3, null, 'clone', 'build')), 'a', 2)).toBe(false);
  });
  it('by the end of its app', () => {
    expect(overtaken(board(), 'a', 2)).toBe(true);
  });
});
