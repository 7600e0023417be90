import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import { Rejected } from '../../events/decider.js';
import type { KeyEvent } from '../../events/types/app.events.js';
import { keys, parsePublicKey } from './key.decider.js';

// made by ssh-keygen for this test; the fingerprints are what `ssh-keygen -l` says
const ED25519 = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP1qnjpt5/36mT26MlBafCQsVzFWznDYbbM63lTPgl59';
const ECDSA = 'ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBG3wm7MjgmFXFJOcDelM6hTkl/DlVfrUpmqq91UtStYGK1r4NDVIckwZD9YPkLUMk7cyhmdL3P0XiHwkuBvDndo=';
const RSA = 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCXPy0grzXBXnwLbULF8pYoKfVfHEpGt/oNU/jFLDGV9jv19og0i9gZiH9qJSFqpXZKp2K1tReBphVoBBf/v/4KaroMubVUrAkVj3W6lFWc3p/fXoPmWuQFZ+sbPTMmmYuNlyQXuji0WBKUXWj2cYb7WdGhQyMy10Y0vQ7Fe8uxmQkSGYDs5MmeuHq3OMtzJZAWMhBttw1T+FDUTjrtQMwuDimYxdB/CDmICN/QNLrSk/xC3pxqfKiJrKSzluQRIcz6kW5NcxhLQiFZsm3JqfCW0BgUg3RlDF7t9Koj0kjDu6dePaQkNOf2Ch9H+QGtDD+avARqGcf4Zw1nd/CtuY/j';
const FINGERPRINT = 'SHA256:0xj1kekcJk1iWbttMUzzv7bSrKApEB2+94ZyfvCuokk';
const PRIVATE = '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n';

const added: KeyEvent = { type: 'SshKeyAdded', data: { name: 'admin', key: ED25519, fingerprint: FINGERPRINT } };
const add = (text: string, name = 'admin') => ({ type: 'AddSsh' as const, name, text });

describe('an SSH key', () => {
  it('is added as sshd needs it: kind and key, without its comment', () => {
    given(keys).when(add(`${ED25519} me@laptop\n`)).then(added);
    given(keys).when(add(`# mine\r\n\r\n  ${ED25519} a comment "; rm -rf /"\r\n`)).then(added);
  });

  it.each([['ed25519', ED25519, FINGERPRINT], ['ecdsa', ECDSA, 'SHA256:YoEsiCRiyZpgn2MBn2FXtPbahKaDT93TQEkM94Ift+Y'], ['rsa', RSA, 'SHA256:GW8UmfUzm/rYuS3sD8BNVeNz1+DH+JGugYigb1JFDw4']])('of kind %s has the fingerprint that ssh-keygen shows', (_, key, fingerprint) => {
    expect(parsePublicKey(key)).toEqual({ key, fingerprint });
  });

  it('is refused when its name or itself is here already', () => {
    given(keys, [added]).when(add(RSA)).rejects('key.exists');
    expect(given(keys, [added]).when(add(ED25519, 'other')).rejects('key.exists').message).toMatch(/as admin/);
  });

  it('is refused when it is the private one, and is not repeated to anybody', () => {
    const refusal = given(keys).when(add(PRIVATE)).rejects('key.private');
    expect(`${refusal.message} ${refusal.hint}`).not.toContain('b3BlbnNzaC1');
  });

  it('is refused when it is cut, wherever', () => {
    for (const key of [ED25519, ECDSA, RSA]) {
      const start = key.indexOf(' ') + 1;
      for (let end = start; end < key.length - 2; end += 1) { // the last two may be padding
        expect(() => parsePublicKey(key.slice(0, end)), key.slice(0, end)).toThrow(expect.objectContaining({ code: 'key.broken' }) as Rejected);
      }
    }
  });

  it('is refused with bytes left over, with another kind in front, or with what is no base64', () => {
    const body = ED25519.split(' ')[1]!;
    const more = Buffer.concat([Buffer.from(body, 'base64'), Buffer.from('more')]).toString('base64');
    for (const text of [`ssh-ed25519 ${more}`, `ssh-rsa ${body}`, `ssh-ed25519 ${body.slice(0, -4)}!!!!`, 'ssh-ed25519']) given(keys).when(add(text)).rejects('key.broken');
  });

  it.each(['command="sh" ', 'no-pty,command="sh" ', 'from="*" '])('is refused with the option %s in front: it would say what this server runs', (options) => {
    given(keys).when(add(`${options}${ED25519}`)).rejects('key.type');
  });

  it('is refused when there is none, or more than one', () => {
    for (const text of ['', ' \n', '# only a comment']) given(keys).when(add(text)).rejects('key.empty');
    given(keys).when(add(`${ED25519}\n${RSA}`)).rejects('key.many');
    given(keys).when(add('ssh-dss AAAA')).rejects('key.type');
    given(keys).when(add('constructor AAAA')).rejects('key.type');
  });

  it.each(['', '../x', 'a b', '-a', 'a"b', 'a\nssh-rsa AAAA', 'é', 'x'.repeat(65)])('may not be called %j', (name) => { given(keys).when(add(ED25519, name)).rejects('key.name'); });

  it('is removed by its name or its fingerprint', () => {
    const removed: KeyEvent = { type: 'SshKeyRemoved', data: { name: 'admin', fingerprint: FINGERPRINT } };
    given(keys, [added]).when({ type: 'RemoveSsh', by: 'name', value: 'admin' }).then(removed);
    given(keys, [added]).when({ type: 'RemoveSsh', by: 'fingerprint', value: FINGERPRINT }).then(removed);
    given(keys, [added]).when({ type: 'RemoveSsh', by: 'fingerprint', value: 'admin' }).rejects('key.missing');
    given(keys, [added, removed]).when({ type: 'RemoveSsh', by: 'name', value: 'admin' }).rejects('key.missing');
    given(keys, [added, removed]).when(add(ED25519)).then(added);
  });
});

describe('a token', () => {
  const created: KeyEvent = { type: 'TokenCreated', data: { name: 'ci', hash: 'h' } };
  it('is made once a name and can be revoked', () => {
    given(keys).when({ type: 'CreateToken', name: 'ci', hash: 'h' }).then(created);
    given(keys, [created]).when({ type: 'CreateToken', name: 'ci', hash: 'i' }).rejects('token.exists');
    given(keys, [created]).when({ type: 'RevokeToken', name: 'ci' }).then({ type: 'TokenRevoked', data: { name: 'ci' } });
    given(keys, [created, { type: 'TokenRevoked', data: { name: 'ci' } }]).when({ type: 'RevokeToken', name: 'ci' }).rejects('token.missing');
    given(keys).when({ type: 'CreateToken', name: '../ci', hash: 'h' }).rejects('key.name');
  });
  it('may have a name that JavaScript knows', () => {
    given(keys).when({ type: 'CreateToken', name: 'constructor', hash: 'h' }).then({ type: 'TokenCreated', data: { name: 'constructor', hash: 'h' } });
    given(keys).when({ type: 'RevokeToken', name: 'toString' }).rejects('token.missing');
  });
});
