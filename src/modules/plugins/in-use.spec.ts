import { describe, expect, it } from 'vitest';
import type { DeclaredService } from '../../events/types/plugin.events.js';
import { valuesOf } from '../commands/plugins.controller.js';
import { misfit } from './in-use.js';

const argv = { argv: ['x'] };
const before: DeclaredService = {
  type: 'valkey', aliases: [], title: 'Valkey', version: '8', registry: { reference: 'valkey:8', volume: '/data', env: {} }, packaged: { packages: ['valkey'], lines: [], script: ['#!/bin/sh'], volume: '/data', env: {} },
  port: 6379, ports: [], stopSeconds: 30, variable: 'VALKEY_URL', user: '', dsn: 'valkey://:{password:url}@{host}:{port}', health: argv, setup: [], tellVersion: argv, connect: argv, noDumps: 'x',
};
const of = (change: Partial<DeclaredService>, source: 'packages' | 'registry' = 'packages'): string | null => misfit('cache', before, { ...before, ...change }, source);

describe('a service whose plugin is updated', () => {
  it.each([
    [{ title: 'V', version: '9', health: { argv: ['y'] }, variable: 'OTHER_URL', stopSeconds: 5, packaged: { ...before.packaged!, packages: ['valkey-server'] } }, 'packages', null],
    [{ packaged: undefined }, 'packages', 'is not made of packages any more'],
    [{ packaged: undefined }, 'registry', null],
    [{ packaged: { ...before.packaged!, volume: null } }, 'packages', 'has its data at no place, not at /data'],
    [{ packaged: { ...before.packaged!, volume: '/other' } }, 'registry', null],
    [{ registry: { ...before.registry, volume: '/other' } }, 'registry', 'has its data at /other, not at /data'],
    [{ port: 7000 }, 'packages', 'listens on port 7000, not on 6379'],
    [{ user: '{database}' }, 'packages', null],
    [{ dsn: 'valkey://{user}:{password:url}@{host}:{port}/0' }, 'packages', 'has another DSN, which linked apps would not know'],
  ] as const)('%j, made of %s: %s', (change, source, why) => { expect(of(change as Partial<DeclaredService>, source)).toBe(why); });

  it('whose type is gone, and one that never was of packages', () => {
    expect(misfit('cache', before, undefined, 'registry')).toBe('is not among its types any more');
    const { packaged: _, ...plain } = before;
    expect(misfit('cache', plain, { ...plain, title: 'V' }, 'packages')).toBeNull();
  });
});

describe('paths of the HTTP API for types of plugins', () => {
  it.each([
    ['/services/valkey', '/services/valkey', {}], ['/services/valkey/:service', '/services/valkey/my%20db', { service: 'my db' }], ['/services/valkey/:service', '/services/valkey', null], ['/services/valkey/:service', '/services/redis/a', null],
    ['/apps/:app/services/valkey', '/apps/blog/services/valkey', { app: 'blog' }], ['/services/valkey/:service/links/:app', '/services/valkey/a/links/b', { service: 'a', app: 'b' }], ['/services/valkey/:service', '/services/valkey/%', null],
  ])('%s is %s: %j', (path, asked, values) => { expect(valuesOf(path, asked)).toEqual(values); });
});
