import { BlockList } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StepFailure } from '../../events/step.js';
import { faultOf } from './router.plan.js';
import { edgeOf, openSettings, prefixesOf, readCidr } from './router.settings.js';

describe('settings of an app at the router', () => {
  const byte = fc.nat(255);
  const ip4 = fc.tuple(byte, byte, byte, byte).map((parts) => parts.join('.'));
  const ip6 = fc.array(fc.nat(65_535), { minLength: 8, maxLength: 8 }).map((words) => words.map((word) => word.toString(16)).join(':'));
  const hex = (ip: string): string => { const { bits, family } = readCidr(ip)!; return `${family}/${bits.toString(16).toUpperCase().padStart(family === 4 ? 8 : 32, '0')}`; };

  it('a net holds exactly the addresses that begin with one of its prefixes', () => {
    const near = (ip: fc.Arbitrary<string>, family: 'ipv4' | 'ipv6', most: number): void => fc.assert(fc.property(ip, ip, fc.nat(most), fc.boolean(), (net, other, length, same) => {
      const list = new BlockList();
      list.addSubnet(net, length, family);
      const asked = same ? net : other;
      const prefixes = prefixesOf(`${net}/${length}`);
      expect(prefixes.length).toBeLessThanOrEqual(8);
      expect(prefixes.some((prefix) => hex(asked).startsWith(prefix))).toBe(list.check(asked, family));
    }));
    near(ip4, 'ipv4', 32);
    near(ip6, 'ipv6', 128);
  });
  it('addresses in all spellings', () => {
    expect(prefixesOf('10.0.0.0/7')).toEqual(['4/0A', '4/0B']);
    expect(prefixesOf('0.0.0.0/0')).toEqual(['4/']);
    expect(prefixesOf('192.0.2.1')).toEqual(['4/C0000201']);
    expect(prefixesOf('::1')).toEqual([`6/${'0'.repeat(31)}1`]);
    expect(prefixesOf('::ffff:1.2.3.4')).toEqual(['6/00000000000000000000FFFF01020304']);
    expect(prefixesOf('2001:DB8::/32')).toEqual(['6/20010DB8']);
    for (const bad of ['', 'x', '1.2.3', '1.2.3.4/33', '::/129', '1.2.3.4/-1', '1.2.3.4/8/8', '1.2.3.4\n']) expect(readCidr(bad), bad).toBeNull();
    expect(() => prefixesOf('nonsense')).toThrow(StepFailure);
  });
  it('become rules that the table check takes', () => {
    const hash = `c2FsdHNhbHRzYWx0c2FsdA==|${'A'.repeat(64)}`;
    const edge = edgeOf({ maintenance: { page: '<p>' }, redirects: [{ from: 'www.a.x', to: 'a.x', code: 301 }, { from: 'not.mine', to: 'a.x', code: 301 }], auth: { users: [{ name: 'bob', hash }], allow: ['10.1.2.3', 'FD00::/8'] }, headers: { 'X-A': '1' } }, ['a.x', 'www.a.x']);
    expect(edge).toEqual({
      left: ['not.mine'], fixed: { page: '<p>', headers: { 'X-A': '1' } },
      rules: [
        { table: 'redirects', key: 'www.a.x', value: '301|http://a.x' }, { table: 'maintenance', key: '', value: 'on' }, { table: 'auth', key: '', value: 'on' }, { table: 'users', key: 'bob', value: hash },
        { table: 'allow', key: '4/0A010203', value: '10.1.2.3/32' }, { table: 'allow', key: '6/FD', value: 'fd00::/8' },
      ],
    });
    expect(faultOf({ apps: [{ id: 'a', name: 'a', hosts: ['a.x', 'www.a.x'], servers: [], ...edge }] })).toBeNull();
    expect(edgeOf({}, [])).toEqual({ left: [] });
    for (const bad of [{ redirects: [{ from: 'a.x', to: 'b/c', code: 301 }] }, { redirects: [{ from: 'a.x', to: 'b', code: 200 }] }, { maintenance: { page: 'x'.repeat(15_001) } }, { auth: { users: [], allow: ['x'] } }]) expect(() => edgeOf(bad, ['a.x']), JSON.stringify(bad).slice(0, 60)).toThrow(StepFailure);
  });
  it('who has a hash that cannot be opened cannot log in, and the app stays shut', async () => {
    const sealed = { k: 'a', iv: '', ct: '', tag: '' };
    expect(await openSettings({ auth: { users: [{ name: 'bob', hash: sealed }], allow: [] } }, () => Promise.resolve(null))).toEqual({ auth: { users: [], allow: [] } });
    expect(await openSettings({ auth: { users: [{ name: 'bob', hash: sealed }, { name: 'eve', hash: 'h' }], allow: [] } }, () => Promise.resolve('opened'))).toEqual({ auth: { users: [{ name: 'bob', hash: 'opened' }, { name: 'eve', hash: 'h' }], allow: [] } });
    expect(edgeOf({ auth: { users: [], allow: [] } }, [])).toEqual({ left: [], rules: [{ table: 'auth', key: '', value: 'on' }] });
  });
});
