import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold, Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { ServiceEvent } from '../../events/types/service.events.js';
import type { ServiceAccess, ServiceExec, ServiceType } from '../../plugins/services/service-type.js';
import { SERVICE_TYPES, accessOf, dsnOf, nextTurn } from '../../plugins/services/types.js';
import { aliasKey, COLOURS, freeKey } from './link.js';
import { links, services, type ServiceCommand, type ServiceState } from './service.decider.js';
import { serviceFindings, strayContainers } from './service-sweep.plan.js';
import { SERVICES } from './services.projection.js';

const sealed = { k: 's', iv: '', ct: '', tag: '' };
const create: ServiceCommand = { type: 'Create', service: 's1', kind: 'postgres', name: 'blog', image: { source: 'packages', reference: '17' }, settings: {}, secrets: { password: sealed } };
const container = { id: 'c1', name: 'x', imageId: 'i', version: '17.1' };
const started: ServiceCommand = { type: 'Started', image: { source: 'packages', reference: '17' }, container };
const after = (...commands: ServiceCommand[]): ServiceState => commands.reduce((state, command) => fold(services, services.decide(command, state), state), services.initial);
const link = (app: string): ServiceCommand => ({ type: 'Link', app, appName: app, key: 'DATABASE_URL', query: null });

describe('a service', () => {
  it('is linked once to an app, and not when it is being destroyed', () => {
    const state = after(create, started, link('a'));
    expect(() => services.decide(link('a'), state)).toThrow('linked to a as DATABASE_URL already');
    expect(() => services.decide({ type: 'Unlink', app: 'b', appName: 'b' }, state)).toThrow('is not linked');
    expect(() => services.decide(link('b'), after(create, started, { type: 'Doom' }))).toThrow('is being destroyed');
    expect(after(create, started, { type: 'Doom' }, { type: 'Spare' }).status).toBe('live');
    expect(() => services.decide({ type: 'Doom' }, after(create, { type: 'Doom' }, { type: 'Destroy', dump: null }))).toThrow(Rejected);
  });

  it('is what the projection says of it, whatever happens', () => {
    const command = fc.oneof<fc.Arbitrary<ServiceCommand>[]>(
      fc.constant(started), fc.record({ type: fc.constant('Stopped' as const), paused: fc.boolean() }), fc.constantFrom('a', 'b').map(link), fc.constantFrom('a', 'b').map((app) => ({ type: 'Unlink' as const, app, appName: app })),
      fc.constantFrom<ServiceCommand>({ type: 'Doom' }, { type: 'Spare' }, { type: 'Unexpose' }, { type: 'Expose', ports: [{ host: 1, container: 2 }] }, { type: 'Imported', bytes: 1 }, { type: 'Set', key: 'memory', value: '1g' }, { type: 'Set', key: 'memory', value: null }),
    );
    fc.assert(fc.property(fc.array(command, { maxLength: 40 }), fc.boolean(), (commands, destroyed) => {
      const projected = SERVICES.initial();
      let state = services.initial;
      const take = (each: ServiceCommand): void => {
        let events: readonly ServiceEvent[] = [];
        try { events = services.decide(each, state); } catch (error) { if (!(error instanceof Rejected)) throw error; }
        state = fold(services, events, state);
        for (const event of events) SERVICES.apply(projected, { ...event, at: 1, meta: { actor: 'me' } } as unknown as Recorded);
      };
      for (const each of [create, ...commands]) take(each);
      expect(projected.rows['s1']).toMatchObject(state as unknown as Record<string, unknown>);
      expect(projected.names).toEqual({ 'postgres:blog': 's1' });
      if (destroyed) take({ type: 'Destroy', dump: null });
      if (destroyed) expect(projected).toEqual({ rows: {}, names: {} });
      expect(JSON.parse(JSON.stringify(state))).toEqual(state);
    }));
  });

  it('has names that are host names, too', () => {
    for (const name of ['', 'Blog', 'a_b', '-a', 'a-', 'x'.repeat(41), 'a:b', '../a']) expect(() => services.decide({ ...create, name } as ServiceCommand, services.initial), name).toThrow('will not do');
  });
});

describe('logins that take turns', () => {
  it.each(SERVICE_TYPES.flatMap((type) => (type.rotation?.how === 'beside' ? [[type.type, type] as const] : [])))('%s: the next is another user, or the same with two passwords; what there is belongs to the first', (_, type) => {
    for (const name of ['my-db', 'mysql', 'pg-stat', 'x'.repeat(40)]) {
      const next = accessOf(type, name, 'new', nextTurn(type, 0), { password: 'old', turn: 0 });
      expect(next.former).toEqual({ user: accessOf(type, name, 'old').user, password: 'old' });
      expect(next.owner).toBe(accessOf(type, name, 'old').owner);
      expect(next.user === next.former!.user).toBe(type.rotation?.how === 'beside' && !type.rotation.second);
      expect(accessOf(type, name, 'newer', nextTurn(type, nextTurn(type, 0))).user).toBe(next.owner);
      if (type.type === 'mysql') expect(next.user.length).toBeLessThanOrEqual(32);
    }
  });
});

describe('links of an app', () => {
  it('are those that were made and not taken away', () => {
    const made = fold(links, [...links.decide({ type: 'Link', app: 'a', service: 's', key: 'K' }, {}), ...links.decide({ type: 'Link', app: 'a', service: 't', key: 'L' }, {})]);
    expect(made).toEqual({ s: 'K', t: 'L' });
    expect(fold(links, links.decide({ type: 'Unlink', app: 'a', service: 's' }, made), made)).toEqual({ t: 'L' });
    expect(links.decide({ type: 'Unlink', app: 'a', service: 'z' }, made)).toEqual([]);
  });

  it('get the usual config var, then a colour', () => {
    const type = { type: 'postgres', title: 'PostgreSQL', variable: 'DATABASE_URL' };
    const taken = new Set<string>();
    for (const wanted of ['DATABASE_URL', ...COLOURS.map((colour) => `POSTGRES_${colour}_URL`)]) {
      expect(freeKey(type, (key) => taken.has(key))).toBe(wanted);
      taken.add(wanted);
    }
    expect(() => freeKey(type, (key) => taken.has(key))).toThrow('is taken');
    expect([aliasKey('blue_database'), aliasKey('X_URL')]).toEqual(['BLUE_DATABASE_URL', 'X_URL']);
    expect(() => aliasKey('1-2')).toThrow(Rejected);
  });
});

describe('what runs of services', () => {
  const all = SERVICES.initial();
  for (const event of [...services.decide(create, services.initial), ...services.decide(started, after(create))]) SERVICES.apply(all, { ...event, at: 1, meta: { actor: 'me' } } as unknown as Recorded);
  const seen = (id: string, more: object = {}) => ({ id, service: 's1', type: 'service', state: 'running', ...more });

  it('is left alone while an operation is at it; what is of nobody goes', () => {
    const list = [seen('c1'), seen('old'), seen('amb', { type: 'ambassador' }), seen('other', { service: 'gone' })];
    expect(strayContainers(all, () => false, list)).toEqual(['old', 'amb', 'other']);
    expect(strayContainers(all, () => true, list)).toEqual(['other']);
  });

  it('is drift when it is not what the log says', () => {
    const row = all.rows['s1']!;
    expect(serviceFindings(row, [seen('c1')])).toEqual([]);
    expect(serviceFindings(row, [seen('c1', { state: 'exited' })])).toMatchObject([{ what: 'container-stopped', subject: 'service.1' }]);
    expect(serviceFindings(row, [])).toMatchObject([{ what: 'container-missing' }]);
    expect(serviceFindings({ ...row, wanted: 'stopped' }, [])).toEqual([]);
    expect(serviceFindings({ ...row, exposed: [{ host: 1, container: 2 }] }, [seen('c1')])).toMatchObject([{ subject: 'ambassador.1' }]);
  });
});

const rotationOf = ({ rotation }: ServiceType, access: ServiceAccess): readonly ServiceExec[] => {
  if (rotation?.how === 'beside') return [...rotation.admit(access), ...[true, false].flatMap((atOnce) => rotation.retire(access, access.former!, atOnce)), rotation.login(access, access.former!)];
  return rotation?.change(access, access) ?? [];
};

describe('every type', () => {
  it.each(SERVICE_TYPES.map((type) => [type.type, type] as const))('%s: no secret in a program\'s arguments, and a DSN that is a URL', (_, type) => {
    const secret = 'S3cret&pass/word';
    const access = accessOf(type, 'my-db', secret);
    const programs = [type.health(access), ...type.setup(access), ...rotationOf(type, accessOf(type, 'my-db', secret, 1, { password: `${secret}2`, turn: 0 })), type.connect(access, ['x']), ...(type.dumps ? [type.dumps.out(access), type.dumps.in(access)] : [])];
    for (const { argv } of programs) expect(argv.join(' ')).not.toContain(secret);
    for (const image of [type.registry, ...(type.packaged ? [type.packaged] : [])]) expect((image.command(access) ?? []).join(' ')).not.toContain(secret);
    const url = new URL(dsnOf(type, 'my-db', secret, 'a=b'));
    expect([url.hostname, url.port]).toEqual([`berth-${type.type}-my-db`, String(type.port)]);
    expect(url.searchParams.get('a')).toBe('b');
    if (url.password) expect(decodeURIComponent(url.password)).toMatch(new RegExp(`${secret}$`));
  });
});
