import { describe, expect, it } from 'vitest';
import { PAGES, pageHtml } from './haproxy.pages.js';
import { parseStats } from './haproxy.runtime.js';
import { digestOf, haproxyConfig, haproxyMaps, haproxyShape, ruleIn, tableInConfig, type HaproxySettings } from './haproxy.text.js';
import type { DesiredTable, RouterFixed, RouterRule, RouterServer } from './router.port.js';

const settings: HaproxySettings = { dir: '/r', socket: '/s/haproxy.sock', httpPort: 80, hooks: '/s/hooks.sock', ipv6: true, user: 'haproxy' };
const server = (name: string, over: Partial<RouterServer> = {}): RouterServer => ({ name, ip: '10.0.0.1', port: 5000, state: 'ready', weight: 100, ...over });
const table: DesiredTable = { apps: [
  { id: 'b', name: 'second\napp', hosts: ['b.test'], servers: [] },
  { id: 'a', name: 'blog', hosts: ['*.a.test', 'a.test'], servers: [server('web.1'), server('web.2', { ip: 'fd00::1', state: 'drain' }), server('web.3', { state: 'maint', weight: 7 })] },
] };
const text = haproxyConfig(table, settings);

describe('the config text', () => {
  it('a backend (golden)', () => {
    expect(text.slice(text.indexOf('backend app_a'), text.indexOf('backend app_b'))).toBe(`backend app_a
  # berth: {"id":"a","name":"blog","hosts":["*.a.test","a.test"],"servers":[{"name":"web.1","ip":"10.0.0.1","port":5000,"state":"ready","weight":100},{"name":"web.2","ip":"fd00::1","port":5000,"state":"drain","weight":100},{"name":"web.3","ip":"10.0.0.1","port":5000,"state":"maint","weight":7}]}
  balance roundrobin
  http-request return status 503 content-type "text/html; charset=utf-8" file /r/503.html hdr Retry-After 5 hdr Cache-Control no-store if !{ stopping } { nbsrv lt 1 } !{ var(txn.probe) -m found } { req.hdr(accept) -m sub text/html }
  http-request return status 503 content-type "text/plain; charset=utf-8" file /r/503.txt hdr Retry-After 5 hdr Cache-Control no-store if !{ stopping } { nbsrv lt 1 } !{ var(txn.probe) -m found }
  use-server %[var(txn.ask)] if { var(txn.ask) -m found }
  server web.1 10.0.0.1:5000 weight 100
  server web.2 [fd00::1]:5000 weight 0
  server web.3 10.0.0.1:5000 weight 7 disabled

`);
  });
  it('the head and the frontend (golden)', async () => { await expect(text.slice(0, text.indexOf('backend app_a'))).toMatchFileSnapshot('haproxy.golden.cfg'); });
  const none = { users: '', allow: '', auth: '', maintenance: '', redirects: '', fixed: '' };
  it('maps', () => expect(haproxyMaps(table)).toEqual({ ...none, hosts: 'a.test app_a\nb.test app_b\n', wildcards: 'a.test app_a\n' }));
  it('maps of rules, which can be read back', () => {
    const rules: RouterRule[] = [
      { table: 'maintenance', key: '', value: 'on' }, { table: 'users', key: 'bob', value: 'c2FsdA==|AB' }, { table: 'allow', key: '4/0A', value: '10.0.0.0/8' }, { table: 'redirects', key: 'a.test', value: '301|https://b.test:1' },
    ];
    const maps = haproxyMaps({ apps: [{ ...table.apps[1]!, rules, fixed: { page: '<p>' } }] });
    expect(maps).toMatchObject({ maintenance: 'app_a on\n', users: 'app_a|bob c2FsdA==|AB\n', allow: 'app_a|4/0A 10.0.0.0/8\n', redirects: 'a.test 301|https://b.test:1|app_a\n', fixed: `app_a page-${digestOf({ page: '<p>' })}\n` });
    for (const rule of rules) {
      const [key, value] = maps[rule.table]!.trim().split(' ') as [string, string];
      expect(ruleIn(rule.table, key, value)).toEqual({ ...rule, app: 'a' });
    }
    expect(ruleIn('maintenance', 'strange', 'on')).toBeNull();
  });
  it('what is fixed stands in the backend, quoted', () => {
    const with_ = (fixed: RouterFixed): string => haproxyConfig({ apps: [{ ...table.apps[0]!, fixed }] }, settings);
    expect(with_({ headers: { 'X-Odd': '"$HOME" 100% \\' } })).toContain('\n  http-after-response set-header X-Odd "\\"\\$HOME\\" 100%% \\\\"\n');
    expect(with_({ page: 'x' })).toContain(`file /r/pages/b-${digestOf({ page: 'x' })}.html`);
    expect(haproxyShape(with_({ page: 'x' }))).not.toBe(haproxyShape(with_({ page: 'y' })));
  });
  it('can be read back, whatever the order of apps', () => {
    expect(tableInConfig(text)?.apps).toEqual([table.apps[1], table.apps[0]]);
    expect(haproxyConfig(tableInConfig(text) ?? { apps: [] }, settings)).toBe(text);
    expect(haproxyConfig({ apps: table.apps.toReversed() }, settings)).toBe(text);
    expect(tableInConfig(text.replace('"id":"a"', '"id":"a b"'))).toBeNull();
    expect(tableInConfig('  # berth: {"id":1')).toBeNull();
  });
  it('has another shape when anything but servers differs', () => {
    const with_ = (apps: DesiredTable['apps'], over: Partial<HaproxySettings> = {}): string => haproxyShape(haproxyConfig({ apps }, { ...settings, ...over }));
    const [b, a] = table.apps;
    if (a === undefined || b === undefined) throw new Error('two apps');
    expect(with_([{ ...a, servers: [server('other')] }, b])).toBe(haproxyShape(text));
    expect(with_([a])).not.toBe(haproxyShape(text));
    expect(with_([a, b], { httpPort: 81 })).not.toBe(haproxyShape(text));
    expect(haproxyShape('')).not.toBe(haproxyShape(text));
  });
  it('pages are whole documents without anything from outside', () => {
    for (const page of PAGES) expect(pageHtml(page)).toMatch(/^<!doctype html>[\s\S]*<html lang="en">[\s\S]*<meta charset="utf-8">[\s\S]*<title>[^<]+<\/title>[\s\S]*<main>[\s\S]*<h1>[\s\S]*<\/html>\n$/);
    for (const page of PAGES) expect(pageHtml(page)).not.toMatch(/https?:|src=|href=/);
  });
  it('statistics by column name', () => {
    expect(parseStats('# pxname,svname,qcur,scur,stot,hrsp_2xx,hrsp_5xx,\napp_a,web.1,1,2,9,6,1,\nunknown_host,x,0,0,0,0,0,\n')).toEqual([{ app: 'a', server: 'web.1', inFlight: 3, sessions: 9, requests: 7 }]);
    expect(parseStats('')).toEqual([]);
  });
});
