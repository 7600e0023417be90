import { createHmac } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { edgeOf } from '../../drivers/router/router.settings.js';
import { answer, missingHandlers, type BundledPlugin } from '../contract/define.js';
import { readAnswer, type CommandAnswer, type HookAnswer } from '../contract/protocol.js';
import { httpAuth } from './http-auth/http-auth.plugin.js';
import { maintenance } from './maintenance/maintenance.plugin.js';
import { redirect } from './redirect/redirect.plugin.js';

/** An app, and what a plugin remembers of it. */
class Told {
  settings: Record<string, string> = {};
  constructor(readonly plugin: BundledPlugin) {}
  private get call() {
    const { name, version } = this.plugin.manifest;
    return { protocol: 1 as const, plugin: { name, version, data: '/nowhere' }, berth: { version: '0', instance: 'i' }, settings: {}, app: { id: 'a', name: 'blog', settings: this.settings } };
  }
  async command(command: string, input: Record<string, unknown> = {}, piped?: Buffer): Promise<CommandAnswer> {
    const given = readAnswer('command', await answer(this.plugin.handlers, { ...this.call, call: 'command', command, input: { app: 'blog', ...input }, by: 'test', ...(piped && { piped: piped.toString('base64') }) }));
    if (given.error === undefined) for (const [key, value] of Object.entries({ ...given.settings, ...given.secrets })) if (value === null) delete this.settings[key]; else this.settings[key] = value;
    return given;
  }
  async route(): Promise<HookAnswer> {
    return readAnswer('hook', await answer(this.plugin.handlers, { ...this.call, call: 'hook', hook: { step: 'route', when: 'before' }, deploy: 1, job: 'j', attempt: 1, input: {} as never }));
  }
}

describe('plugins that come with Berth', () => {
  it('do what they say of themselves', () => { for (const { manifest, handlers } of [maintenance, redirect, httpAuth]) expect(missingHandlers(manifest, handlers)).toEqual([]); });

  describe('maintenance', () => {
    const tar = (...files: [string, string][]): Promise<Buffer> => new Promise((resolve, reject) => {
      const packed = pack();
      for (const [name, text] of files) packed.entry({ name }, text);
      packed.finalize();
      const pieces: Buffer[] = [];
      packed.on('data', (piece) => pieces.push(piece as Buffer)).on('end', () => resolve(Buffer.concat(pieces))).on('error', reject);
    });

    it('is switched on and off, and routed once for each', async () => {
      const app = new Told(maintenance);
      expect(await app.route()).toEqual({});
      expect(await app.command('maintenance:enable')).toMatchObject({ deploy: 'domains' });
      expect(await app.command('maintenance:enable')).not.toHaveProperty('deploy');
      expect(await app.command('maintenance:status')).toMatchObject({ say: ['true'], data: { enabled: true } });
      expect(await app.route()).toEqual({ add: { router: { maintenance: { page: null } } } });
      expect(await app.command('maintenance:disable')).toMatchObject({ deploy: 'domains' });
      expect(app.settings).toEqual({});
    });
    it('has a page of the app, from HTML and from archives', async () => {
      const app = new Told(maintenance);
      const html = '<p>Bin gleich zurück</p>';
      const archive = await tar(['other.txt', 'x'], ['./maintenance.html', html]);
      for (const piped of [Buffer.from(html), archive, gzipSync(archive)]) {
        app.settings = { enabled: 'on' };
        expect(await app.command('maintenance:custom-page', {}, piped)).toMatchObject({ deploy: 'domains' });
        expect(await app.route()).toEqual({ add: { router: { maintenance: { page: html } } } });
      }
      await app.command('maintenance:custom-page', {}, Buffer.alloc(0));
      expect(app.settings).toEqual({ enabled: 'on' });
      for (const [piped, why] of [[Buffer.alloc(15_001, 'x'), /15001 bytes/], [Buffer.from([0xff, 0xfe, 0]), /UTF-8/], [Buffer.from('  '), /empty/], [await tar(['a.html', html]), /no maintenance\.html/], [gzipSync(archive).subarray(0, 60), /cannot be read/], [gzipSync(Buffer.alloc(20 << 20)), /cannot be read/]] as const) {
        expect((await app.command('maintenance:custom-page', {}, piped)).error).toMatch(why);
      }
      expect(app.settings).toEqual({ enabled: 'on' });
    });
  });

  describe('redirect', () => {
    it('is set, listed, carried out and unset', async () => {
      const app = new Told(redirect);
      expect(await app.command('redirect:set', { from: 'WWW.Example.com.', to: 'example.com' })).toMatchObject({ deploy: 'domains', say: ['-----> Redirecting www.example.com to example.com (301)'] });
      await app.command('redirect:set', { from: 'old.example.com', to: 'https://example.com:8443/', code: '308' });
      expect((await app.command('redirect')).data).toEqual([{ from: 'www.example.com', to: 'example.com', code: 301 }, { from: 'old.example.com', to: 'https://example.com:8443', code: 308 }]);
      const { add } = await app.route();
      expect(edgeOf(add!.router!, ['www.example.com', 'old.example.com']).rules).toEqual([{ table: 'redirects', key: 'www.example.com', value: '301|http://example.com' }, { table: 'redirects', key: 'old.example.com', value: '308|https://example.com:8443' }]);
      await app.command('redirect:unset', { from: 'www.example.com' });
      await app.command('redirect:unset', { from: 'old.example.com' });
      expect(app.settings).toEqual({});
      expect(await app.route()).toEqual({});
    });
    it('refuses what is no host, no code, or leads back', async () => {
      const app = new Told(redirect);
      await app.command('redirect:set', { from: 'a.x', to: 'b.x' });
      await app.command('redirect:set', { from: 'b.x', to: 'c.x' });
      for (const [from, to, code] of [['c.x', 'a.x'], ['d.x', 'D.x'], ['d.x', 'http://d.x:81'], ['*.x', 'a.x'], ['http://d.x', 'a.x'], ['d.x', 'a.x/path'], ['d.x', 'a.x:99999'], ['d.x', 'a..x'], ['d.x', 'a.x', '303'], ['d.x', 'a.x', 'x'], ['', 'a.x']] as const) expect((await app.command('redirect:set', { from, to, ...(code && { code }) })).error, `${from} ${to}`).toBeDefined();
      expect((await app.command('redirect:unset', { from: 'z.x' })).error).toMatch(/not redirected/);
      expect(Object.keys(JSON.parse(app.settings['redirects']!) as object)).toEqual(['a.x', 'b.x']);
    });
  });

  describe('http-auth', () => {
    it('shuts an app for whom it is told, keeps no password, and shows a made-up one once', async () => {
      const app = new Told(httpAuth);
      expect((await app.command('http-auth:enable')).error).toMatch(/Nobody could reach blog/);
      const first = await app.command('http-auth:enable', { user: 'ada' });
      const { password } = first.data as { password: string };
      expect(first).toMatchObject({ deploy: 'domains', settings: { enabled: 'on' } });
      expect(first.say!.join('\n')).toContain(password);
      await app.command('http-auth:add-user', { user: 'bob', password: 'correct horse' });
      await app.command('http-auth:add-allowed-ip', { address: '10.0.0.0/8' });
      await app.command('http-auth:add-allowed-ip', { address: 'FD00::1' });
      expect(JSON.stringify(app.settings)).not.toMatch(new RegExp(`${password}|correct horse`));
      const { auth } = (await app.route()).add!.router!;
      expect(auth!.allow).toEqual(['10.0.0.0/8', 'fd00::1']);
      for (const [name, clear] of [['ada', password], ['bob', 'correct horse']] as const) {
        const [salt, mac] = (auth!.users.find((user) => user.name === name)!.hash as string).split('|') as [string, string];
        expect(createHmac('sha256', Buffer.from(salt, 'base64')).update(clear).digest('hex').toUpperCase()).toBe(mac);
      }
      expect((await app.command('http-auth:report')).data).toEqual({ 'http-auth enabled': 'true', 'http-auth users': 'ada bob', 'http-auth allowed ips': '10.0.0.0/8 fd00::1' });
      expect((await app.command('http-auth:show-config')).say!.join('')).not.toContain(auth!.users[0]!.hash as string);
      await app.command('http-auth:remove-user', { user: 'ada' });
      await app.command('http-auth:remove-allowed-ip', { address: 'fd00::1' });
      expect((await app.route()).add!.router!.auth).toMatchObject({ users: [{ name: 'bob' }], allow: ['10.0.0.0/8'] });
      expect(await app.command('http-auth:disable')).toMatchObject({ deploy: 'domains' });
      expect(await app.route()).toEqual({});
      expect(await app.command('http-auth:add-user', { user: 'eve', password: 'long enough' })).not.toHaveProperty('deploy');
    });
    it('refuses what is no user, no password and no address', async () => {
      const app = new Told(httpAuth);
      for (const [word, input] of [['add-user', { user: 'a:b' }], ['add-user', { user: 'a|b' }], ['add-user', { user: '' }], ['add-user', { user: 'bob', password: 'short' }], ['add-user', { user: 'bob', password: 'tab\tinside' }], ['remove-user', { user: 'nobody' }], ['remove-user', { user: 'constructor' }], ['add-allowed-ip', { address: '10.0.0.0/33' }], ['add-allowed-ip', { address: 'x' }], ['add-allowed-ip', { address: '1.2.3.4/8/8' }], ['remove-allowed-ip', { address: '1.2.3.4' }]] as const) expect((await app.command(`http-auth:${word}`, input)).error, JSON.stringify(input)).toBeDefined();
      expect(app.settings).toEqual({});
    });
  });
});
