import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { faultOf, planRoutes, reduceRoutes } from './router.plan.js';
import type { DesiredTable, RouterApp, RouterServer, RouterState } from './router.port.js';

const server = fc.record<RouterServer>({
  name: fc.constantFrom('web.1', 'web.2', 'web.3', 'web.4'), ip: fc.constantFrom('10.0.0.1', '10.0.0.2', 'fd00::1'), port: fc.constantFrom(80, 5000),
  state: fc.constantFrom('ready', 'drain', 'maint'), weight: fc.constantFrom(1, 100, 256),
});
const servers = fc.uniqueArray(server, { selector: (s) => s.name, maxLength: 4 });
const rule = fc.oneof(
  fc.record({ table: fc.constantFrom('maintenance' as const, 'auth' as const), key: fc.constant(''), value: fc.constant('on') }),
  fc.record({ table: fc.constant('users' as const), key: fc.constantFrom('bob', 'eve'), value: fc.constantFrom('A', 'B').map((c) => `${'c2FsdHNhbHRzYWx0c2FsdA'}==|${c.repeat(64)}`) }),
  fc.record({ table: fc.constant('allow' as const), key: fc.constantFrom('4/', '4/0A', '6/FD00'), value: fc.constant('10.0.0.0/8') }),
);
const ruleSet = fc.uniqueArray(rule, { selector: (r) => `${r.table} ${r.key}`, maxLength: 6 });
const fixed = fc.constantFrom<RouterApp['fixed']>(undefined, { page: '<p>soon</p>' }, { headers: { 'x-a': '1' } });
const ids = ['a', 'b', 'c', 'd'];
const names = ['x', 'y.x', '*.x', 'z', 'q.z', '*.z'];
const table: fc.Arbitrary<DesiredTable> = fc.tuple(fc.subarray(ids), fc.array(fc.nat(3), { minLength: names.length, maxLength: names.length }), fc.array(servers, { minLength: 4, maxLength: 4 }), fc.array(ruleSet, { minLength: 4, maxLength: 4 }), fc.array(fixed, { minLength: 4, maxLength: 4 }), fc.nat(15))
  .map(([apps, owners, all, rules, parts, moved]) => ({ apps: apps.map((id, at): RouterApp => {
    const hosts = names.filter((_, n) => ids[owners[n] ?? 0] === id);
    const redirects = hosts.filter((host, n) => !host.startsWith('*') && ((moved >> n) & 1) === 1).map((host) => ({ table: 'redirects' as const, key: host, value: `301|http://${id}.test` }));
    const part = parts[at];
    return { id, name: `app ${id}`, hosts, servers: all[at] ?? [], rules: [...rules[at] ?? [], ...redirects], ...(part && { fixed: part }) };
  }) }));
const stateOf = (t: DesiredTable): RouterState => ({
  apps: t.apps.map(({ id, name, servers: s, fixed: part }) => ({ id, name, servers: s, ...(part && { fixed: part }) })), hosts: t.apps.flatMap((app) => app.hosts.map((host) => ({ host, app: app.id }))),
  rules: t.apps.flatMap((app) => (app.rules ?? []).map((r) => ({ ...r, app: app.id }))),
});
const ruled = (list: RouterState['rules']): string[] => (list ?? []).map((r) => `${r.app} ${r.table} ${r.key} ${r.value}`).toSorted();
/** Any state, also ones no plan would make: hosts that point to nowhere. */
const state: fc.Arbitrary<RouterState> = fc.tuple(table, fc.array(fc.record({ host: fc.constantFrom('lost', '*.lost'), app: fc.constantFrom('a', 'nobody') }), { maxLength: 1 }))
  .map(([t, lost]) => ({ ...stateOf(t), hosts: [...t.apps.flatMap((app) => app.hosts.map((host) => ({ host, app: app.id }))), ...lost] }));

const serving = (list: readonly RouterServer[] | undefined): boolean => list?.some((s) => s.state === 'ready') ?? false;
const runs = { numRuns: 1000 };

describe('planRoutes', () => {
  it('arrives: planning again after its changes plans nothing', () => fc.assert(fc.property(table, state, (desired, actual) => {
    const after = planRoutes(desired, actual).changes.reduce(reduceRoutes, actual);
    expect(planRoutes(desired, after).changes).toEqual([]);
    const plain = (apps: readonly { readonly id: string; readonly servers: readonly RouterServer[] }[]): unknown => apps.map((app) => [app.id, app.servers.map((s) => `${s.name} ${s.ip} ${s.port} ${s.state} ${s.state === 'ready' ? s.weight : ''}`).toSorted()]).toSorted();
    expect(plain(after.apps)).toEqual(plain(desired.apps));
    expect(ruled(after.rules)).toEqual(ruled(stateOf(desired).rules));
    expect(after.apps.map((app) => [app.id, app.fixed]).toSorted()).toEqual(desired.apps.map((app) => [app.id, app.fixed]).toSorted());
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

  it('an app that is guarded before and after is guarded at every moment, and who may enter before and after always may', () => fc.assert(fc.property(table, state, (desired, actual) => {
    const there = (now: RouterState, table_: string, key = ''): boolean => (now.rules ?? []).some((r) => `${r.app} ${r.table} ${r.key}` === `${table_} ${key}`);
    const after = stateOf(desired);
    const kept = [...after.rules ?? []].filter((r) => r.table !== 'redirects' && there(actual, `${r.app} ${r.table}`, r.key));
    const came = desired.apps.flatMap((app) => (app.rules ?? []).filter((r) => r.table === 'users' || r.table === 'allow').map((r) => ({ ...r, app: app.id })));
    let now = actual;
    for (const change of planRoutes(desired, actual).changes) {
      now = reduceRoutes(now, change);
      for (const r of kept) expect(there(now, `${r.app} ${r.table}`, r.key)).toBe(true);
      // nobody is asked for a password before those who have one are known
      for (const r of came) if (there(now, `${r.app} auth`) && !there(actual, `${r.app} auth`)) expect(there(now, `${r.app} ${r.table}`, r.key)).toBe(true);
    }
  }), runs));

  it('a host does not come before the rules of its app', () => fc.assert(fc.property(table, state, (desired, actual) => {
    let now = actual;
    for (const change of planRoutes(desired, actual).changes) {
      now = reduceRoutes(now, change);
      if (change.do !== 'host.add' && change.do !== 'host.move') continue;
      const wanted = desired.apps.find((app) => app.id === change.app)!.rules!.map((r) => `${change.app} ${r.table} ${r.key} ${r.value}`);
      expect(ruled(now.rules)).toEqual(expect.arrayContaining(wanted));
    }
  }), runs));

  it('loads anew what was loaded otherwise', () => {
    const one: RouterApp = { id: 'a', name: 'a', hosts: [], servers: [] };
    const { changes } = planRoutes({ apps: [one] }, { apps: [{ ...one, stale: true }], hosts: [] });
    expect(changes).toEqual([{ do: 'app.fix', app: 'a', fixed: null }]);
    expect(reduceRoutes({ apps: [{ ...one, stale: true }], hosts: [] }, changes[0]!).apps[0]).not.toHaveProperty('stale');
  });

  it('only touches what differs', () => fc.assert(fc.property(table, (desired) => {
    const actual = stateOf(desired);
    expect(planRoutes(desired, actual).changes).toEqual([]);
  }), runs));

  it('refuses tables that contradict themselves or would break out of a line of the file', () => {
    const app = (over: Partial<RouterApp>): RouterApp => ({ id: 'a', name: 'a', hosts: [], servers: [], ...over });
    const one: RouterServer = { name: 'web.1', ip: '10.0.0.1', port: 80, state: 'ready', weight: 100 };
    expect(faultOf({ apps: [app({ hosts: ['x'] }), app({ id: 'b', name: 'b', hosts: ['x'] })] })).toMatch(/claimed twice, by a and b/);
    for (const host of ['X', 'a b', 'a\nb', '', '*', '*.', 'a.*.b', '-a', 'a..b', `${'a'.repeat(300)}`, 'a:80', 'a;b', '#']) expect(faultOf({ apps: [app({ hosts: [host] })] }), host).not.toBeNull();
    for (const bad of [{ name: 'a b' }, { name: 'a;b' }, { name: '' }, { ip: 'localhost' }, { ip: '10.0.0.1\n' }, { port: 0 }, { port: 65_536 }, { port: 1.5 }, { weight: 0 }, { weight: 257 }]) expect(faultOf({ apps: [app({ servers: [{ ...one, ...bad }] })] }), JSON.stringify(bad)).not.toBeNull();
    const user = `${'c2FsdHNhbHRzYWx0c2FsdA=='}|${'A'.repeat(64)}`;
    const with_ = ([table_, key, value]: readonly [string, string, string]): string | null => faultOf({ apps: [app({ hosts: ['x.test'], rules: [{ table: table_ as 'users', key, value }] }), app({ id: 'b', name: 'b', hosts: ['b.test'] })] });
    for (const good of [['users', 'bob', user], ['allow', '4/', '0.0.0.0/0'], ['allow', '6/FD00', 'fd00::/16'], ['redirects', 'x.test', '301|https://y.test:8443'], ['maintenance', '', 'on']] as const) expect(with_(good), good.join(' ')).toBeNull();
    for (const bad of [['redirects', 'y.test', '308|http://y.z'], ['users', 'b b', user], ['users', 'b|b', user], ['users', 'bob', `${user}\n`], ['users', 'bob', 'x|y'], ['allow', '4/zz', '0.0.0.0/0'], ['allow', '4/0A', 'x y'], ['redirects', 'b.test', '301|http://y'], ['redirects', 'x.test', '303|http://y'], ['redirects', 'x.test', '301|http://y/z'], ['redirects', 'x.test', '301|http://y|app_b'], ['maintenance', 'x', 'on'], ['nothing', '', 'on']] as const) expect(with_(bad), bad.join(' ')).not.toBeNull();
    for (const part of [{ page: '' }, { page: 'é'.repeat(8000) }, { headers: { 'a b': '1' } }, { headers: { a: 'x\ny' } }] as RouterApp['fixed'][]) expect(faultOf({ apps: [app({ fixed: part })] }), JSON.stringify(part).slice(0, 40)).not.toBeNull();
    expect(faultOf({ apps: [app({ id: 'a/b' })] })).not.toBeNull();
    expect(faultOf({ apps: [app({ hosts: ['*.a.b', 'xn--bcher-kva.de', 'blog.localhost'], servers: [one] })] })).toBeNull();
    expect(() => planRoutes({ apps: [app({}), app({})] }, { apps: [], hosts: [] })).toThrow(/there twice/);
  });
});
