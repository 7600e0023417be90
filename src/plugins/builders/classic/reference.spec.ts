import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StepFailure } from '../../../events/step.js';
import { parseReference, shown, SOURCES, textOf, type BuildpackRef } from './reference.js';

const own = ['python', 'node', 'java'];
const read = (text: string, from: (typeof SOURCES)[keyof typeof SOURCES] = SOURCES.settings): BuildpackRef => parseReference(text, from, own);
const refused = (text: string, from?: (typeof SOURCES)[keyof typeof SOURCES]): StepFailure => {
  try { read(text, from); } catch (error) { if (error instanceof StepFailure) return error; throw error; }
  throw new Error(`${text} was taken`);
};

describe('what names a buildpack', () => {
  it.each([['python', 'python'], ['heroku/python', 'python'], ['heroku/nodejs', 'node'], ['nodejs', 'node'], ['heroku/gradle', 'java']])('%s is ours', (text, name) => { expect(read(text)).toEqual({ kind: 'own', name }); });
  it.each([['https://github.com/a/b.git#v1', 'v1'], ['git://h/x', null], ['ssh://git@h/x#main', 'main'], ['git@h:a/b#c0ffee', 'c0ffee'], ['https://h/a/b/#feature/x-1', 'feature/x-1']])('%s is git', (text, ref) => { expect(read(text)).toMatchObject({ kind: 'git', ref }); });
  it.each(['https://h/x.tgz', 'https://h/x.tar.gz?token', 'https://h/a.zip', 'https://h/x.TAR'])('%s is an archive', (text) => { expect(read(text)).toEqual({ kind: 'archive', url: text }); });
  it.each([['/srv/packs/a', '/srv/packs/a', null], ['/srv/a/', '/srv/a', null], ['file:///srv/a%20b#v1', '/srv/a b', 'v1'], ['/', '/', null]])('%s is on the server', (text, path, ref) => { expect(read(text)).toEqual({ kind: 'local', path, ref }); });
  it('knows a few short names', () => { expect(read('heroku-community/apt')).toEqual({ kind: 'git', url: 'https://github.com/heroku/heroku-buildpack-apt', ref: null }); });
  it('does not guess the others, and says what to write', () => {
    expect(refused('acme/thing').hint).toContain('https://github.com/acme/heroku-buildpack-thing');
    expect(refused('heroku/scala').hint).toMatch(/ours are python, node, java;.*heroku-buildpack-scala/);
    expect(refused('perl').hint).toContain('ours are python');
    expect(refused('urn:cnb:builder:heroku').message).toContain('Cloud Native Buildpack');
    expect(refused('https://h/x.tar.bz2').message).toContain("can't be read");
  });
  it.each(['http://h/x', 'ext::sh -c x', '--upload-pack=x', '-u', 'https://h/x#--y', 'https://h/x#a..b', 'file://h/x', '//h/x', '/a/../b', 'https://h/x y', 'https://h/\nx', 'ssh://-oProxyCommand=x/y', 'ssh://-o@h/y', 'a@b:-x', 'git@-h:x', 'https:///x#', 'x::y', '', '../x', './x', 'https://h/x.tgz#v1', 'constructor', '__proto__', 'heroku/constructor', 'a'.repeat(3000)])('refuses %j', (text) => { expect(refused(text).code).toBe('detect.buildpack-url'); });
  it.each([SOURCES.envFile, SOURCES.file, SOURCES.appJson])('%s may name nothing on the server, nor the server', (from) => {
    for (const text of ['/srv/x', 'file:///var/lib/berth/repos/other', 'https://localhost/x', 'https://127.0.0.1/x', 'git://[::1]/x', 'ssh://berth@localhost./x', 'root@localhost:x', 'https://169.254.169.254/x', 'git://0.0.0.0/x', 'https://2130706433/x']) expect(refused(text, from).code, text).toBe('detect.buildpack-url');
    expect(read('https://git.example.com/x', from).kind).toBe('git');
  });
  it('hides credentials', () => {
    expect(shown('https://user:secret@host/x')).toBe('https://***@host/x');
    expect(shown('ssh://git@host/x')).toBe('ssh://git@host/x');
    for (const url of ['https://u:secret@h/x', 'https://secret@h/x', 'ssh://u:secret@h/x']) expect(`${refused(url).message} ${refused(url).hint}`).not.toContain('secret');
  });
  it('has one spelling that is read as the same again', () => {
    const name = fc.stringMatching(/^[a-z0-9%#? .é-]{1,20}$/).map((part) => `/srv/${part.trim() || 'x'}`).filter((path) => !path.includes('..'));
    fc.assert(fc.property(fc.oneof(
      name.map((path): BuildpackRef => ({ kind: 'local', path, ref: null })), fc.constantFrom<BuildpackRef>({ kind: 'own', name: 'node' }, { kind: 'git', url: 'git@h:x', ref: 'v1' }, { kind: 'archive', url: 'https://h/x.zip' }, { kind: 'plugin', plugin: 'packs', name: 'cobol' }),
    ), (reference) => { expect(read(textOf(reference))).toEqual(reference); }));
  });
});
