import { describe, expect, it } from 'vitest';
import { authFor, loginAt, registryConfig, registryServer, serverOf } from './registry-login.js';

const logins = [{ server: 'docker.io', user: 'h', password: 'x' }, { server: 'reg.example:5000', user: 'ci', password: 'y' }];

describe('whose login a registry is shown', () => {
  it('one spelling of a server', () => {
    for (const [text, server] of [['REG.example:5000', 'reg.example:5000'], ['https://ghcr.io/', 'ghcr.io'], ['https://index.docker.io/v1/', 'docker.io'], ['registry-1.docker.io', 'docker.io'], ['127.0.0.1:5000', '127.0.0.1:5000'], ['[::1]:5000', '[::1]:5000'], ['localhost', 'localhost']]) expect(registryServer(text!)).toBe(server);
    for (const text of ['', 'a b', 'ghcr.io/team', 'user@host', '-x', 'a..b', 'x:port', 'a\nb']) expect(registryServer(text)).toBeNull();
  });
  it('an image\'s registry', () => {
    for (const [image, server] of [['nginx', 'docker.io'], ['nginx:1.27', 'docker.io'], ['team/shop:7', 'docker.io'], ['localhost/x', 'localhost'], ['ghcr.io/a/b@sha256:1', 'ghcr.io'], ['reg.example:5000/a', 'reg.example:5000'], ['docker.io/library/nginx', 'docker.io']]) expect(serverOf(image!)).toBe(server);
  });
  it('its own login and nobody else\'s', () => {
    expect(authFor(logins, 'reg.example:5000/a:1')).toEqual({ username: 'ci', password: 'y', serveraddress: 'reg.example:5000' });
    expect(authFor(logins, 'nginx')).toMatchObject({ username: 'h', serveraddress: 'https://index.docker.io/v1/' });
    for (const other of ['reg.example/a', 'evil.example/reg.example:5000/a', 'reg.example:5000.evil/a']) expect(authFor(logins, other)).toBeUndefined();
    expect(loginAt(logins, 'registry-1.docker.io')?.user).toBe('h');
    expect(loginAt(logins, 'other.example')).toBeUndefined();
    expect(registryConfig(logins)).toEqual({ 'https://index.docker.io/v1/': { username: 'h', password: 'x' }, 'reg.example:5000': { username: 'ci', password: 'y' } });
    expect(registryConfig([])).toBeUndefined();
  });
});
