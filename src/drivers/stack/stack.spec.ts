import { describe, expect, it } from 'vitest';
import { DEFAULT_MIRRORS, STACK, aptSources, buildDockerfile, definitionHashes, hostMirrors, runDockerfile, stackImages, versionOf } from './stack.js';

describe('stack', () => {
  it('is pinned: what is in here is what people run on', () => {
    expect(stackImages()).toEqual({ base: 'berth/stack-base:13-1', run: 'berth/stack-run:13-1', build: 'berth/stack-build:13-1', name: 'berth-13' });
    expect(runDockerfile()).toMatchSnapshot();
    expect(buildDockerfile()).toMatchSnapshot();
    expect(aptSources(DEFAULT_MIRRORS)).toMatchSnapshot();
  });
  it('keeps compilers out of the run image', () => { for (const name of ['build-essential', 'git', 'python3-dev', 'python3-pip']) expect(STACK.run).not.toContain(name); });
  it('a change below changes all above, a mirror changes nothing', () => {
    const one = definitionHashes();
    const other = definitionHashes({ ...STACK, base: [...STACK.base, 'x'] });
    for (const kind of ['base', 'run', 'build'] as const) expect(other[kind]).not.toBe(one[kind]);
    const top = definitionHashes({ ...STACK, build: [...STACK.build, 'x'] });
    expect([top.base === one.base, top.run === one.run, top.build === one.build]).toEqual([true, true, false]);
  });
  it('has the version of its content; what is made upon one of ours elsewhere has its own', () => {
    const image = { id: `sha256:${'a'.repeat(64)}`, labels: { 'berth.stack.version': 'v1' } };
    expect([versionOf('berth/stack-run:13-1', image), versionOf('reg.example/x:1', image), versionOf('berth/stack-run:13-1', { ...image, labels: {} })]).toEqual(['v1', 'aaaaaaaaaaaa', 'aaaaaaaaaaaa']);
  });
  it('a mirror without a security archive', () => { expect(aptSources({ main: 'http://m/debian', security: null })).not.toContain('security'); });
  it('reads the host\'s mirror', () => {
    expect(hostMirrors(['deb cdrom:[x]/ bookworm main\n# deb http://no/debian bookworm main\ndeb [arch=amd64 signed-by=/x] http://mirror/debian/ bookworm main contrib\ndeb http://mirror/sec bookworm-security main'], 'bookworm')).toEqual({ main: 'http://mirror/debian', security: 'http://mirror/sec' });
    expect(hostMirrors(['Types: deb deb-src\n# c\nURIs: https://m/debian\nSuites: trixie trixie-updates\nComponents: main\n\nTypes: deb\nEnabled: no\nURIs: http://s/\nSuites: trixie-security\nComponents: main'], 'trixie')).toEqual({ main: 'https://m/debian', security: null });
    expect(hostMirrors(['Types: deb\nURIs: https://deb.nodesource.com/node\nSuites: nodistro\nComponents: main'], 'bookworm')).toEqual({ main: null, security: null });
  });
});
