import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { faultOf, planRoutes, reduceRoutes } from './router.plan.js';
import type { DesiredTable, RouterApp, RouterServer, RouterState } from './router.port.js';

const server = fc.record<RouterServer>({
  name: fc.constantFrom('web.1', 'web.2', 'web.3', 'web.4'), ip: fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1'), port: fc.constantFrom(80, 5000),
  state: fc.constantFrom('ready', 'drain', 'maint'), weight: fc.constantFrom(1, 100, 256),
});
const servers = fc.uniqueArray(server, { selector: (s) => s.name, maxLength: 4 });
const ids = ['a', 'b', 'c', 'd'];
const names = ['x', 'y.x', '*.x', 'z', 'q.z', '*.z'];
const table: fc.Arbitrary<DesiredTable> = fc.tuple(fc.subarray(ids), fc.array(fc.nat(3), { minLength: names.length, maxLength: names.length }), fc.array(servers, { minLength: 4, maxLength: 4 }))
  .map(([apps, owners, all]) => ({ apps: apps.map((id, at): RouterApp => ({ id, name: `app ${id}`, hosts: names.filter((_, n) => ids[owners[n] ?? 0] === id), servers: all[at] ?? [] })) }));
/** Any state, also ones no plan would make: hosts that point to nowhere. */
const state: fc.Arbitrary<RouterState> = fc.tuple(table, fc.array(fc.record({ host: fc.constantFrom('lost', '*.lost'), app: fc.constantFrom('a', 'nobody') }), { maxLength: 1 }))
  .map(([t, lost]) => ({ apps: t.apps.map(({ id, name, servers: s }) => ({ id, name, servers: s })), hosts: [...t.apps.flatMap((app) => app.hosts.map((host) => ({ host, app: app.id }))), ...lost] }));

const serving = (list: readonly RouterServer[] | undefined): boolean => list?.some((s) => s.state === 'ready') ?? false;
const runs = { numRuns: 1000 };

describe('planRoutes', () => {
  it('arrives: planning again after its changes plans nothing', () => fc.assert(fc.property(table, state, (desired, actual) => {
    const after = planRoutes(desired, actual).changes.reduce(reduceRoutes, actual);
    expect(planRoutes(desired, after).changes).toEqual([]);
    const plain = (apps: readonly { readonly id: string; readonly servers: readonly RouterServer[] }[]): unknown => apps.map((app) => [app.id, app.servers.map((s) => `${s.name} ${s.ip} ${s.port} ${s.state} ${s.state === 'ready' ? s.weight : ''}`).toSorted()]).toSorted();
    expect(plain(after.apps)).toEqual(plain(desired.apps));
    expect(new Map(after.hosts.map((h) => [h.host, h.app]))).toEqual(new Map(desired.apps.flatMap((app) => app.hosts.map((host) => [host, app.id]))));
  }), runs));

  it('never leaves an app that had a ready server, and shall have one, with none', () => fc.assert(fc.property(table, state, (desired, actual) => {
    let now = actual;
    for (const change of planRoutes(desired, actual).changes) {
      now = reduceRoutes(now, change);
      for (const app of desired.apps) {
        const had = serving(actual.apps.find((a) => a.id === app.id)?.servers);
        if (had && serving(app.servers)) expect(serving(now.apps.find((a) => a.id === app.id)?.servers)).toBe(true);
      }
    }
  }), runs));

  it('a host points to its owner of before or of after at every moment, and is never lost between', () => fc.assert(fc.property(table, state, (desired, actual) => {
    const before = new Map(actual.hosts.map((h) => [h.host, h.app]));
    const after = new Map(desired.apps.flatMap((app) => app.hosts.map((host) => [host, app.id] as const)));
    let now = actual;
    for (const change of planRoutes(desired, actual).changes) {
      now = reduceRoutes(now, change);
      const at = new Map(now.hosts.map((h) => [h.host, h.app]));
      for (const [host, app] of at) expect([before.get(host), after.get(host)]).toContain(app);
      for (const host of before.keys()) if (after.has(host)) expect(at.has(host)).toBe(true);
    }
  }), runs));

  it('only touches what differs', () => fc.assert(fc.property(table, (desired) => {
    const actual: RouterState = { apps: desired.apps, hosts: desired.apps.flatMap((app) => app.hosts.map((host) => ({ host, app: app.id }))) };
    expect(planRoutes(desired, actual).changes).toEqual([]);
  }), runs));

  it('refuses tables that contradict themselves or would break out of a line of the file', () => {
    const app = (over: Partial<RouterApp>): RouterApp => ({ id: 'a', name: 'a', hosts: [], servers: [], ...over });
    const one: RouterServer = { name: 'web.1', ip: '10.0.0.1', port: 80, state: 'ready', weight: 100 };
    expect(faultOf({ apps: [app({ hosts: ['x'] }), app({ id: 'b', name: 'b', hosts: ['x'] })] })).toMatch(/claimed twice, by a and b/);
    for (const host of ['X', 'a b', 'a\nb', '', '*', '*.', 'a.*.b', '-a', 'a..b', `${'a'.repeat(300)}`, 'a:80', 'a;b', '#']) expect(faultOf({ apps: [app({ hosts: [host] })] }), host).not.toBeNull();
    for (const bad of [{ name: 'a b' }, { name: 'a;b' }, { name: '' }, { ip: 'localhost' }, { ip: '10.0.0.1\n' }, { port: 0 }, { port: 65_536 }, { port: 1.5 }, { weight: 0 }, { weight: 257 }]) expect(faultOf({ apps: [app({ servers: [{ ...one, ...bad }] })] }), JSON.stringify(bad)).not.toBeNull();
    expect(faultOf({ apps: [app({ id: 'a/b' })] })).not.toBeNull();
    expect(faultOf({ apps: [app({ hosts: ['*.a.b', 'xn--bcher-kva.de', 'blog.localhost'], servers: [one] })] })).toBeNull();
    expect(() => planRoutes({ apps: [app({}), app({})] }, { apps: [], hosts: [] })).toThrow(/there twice/);
  });
});
