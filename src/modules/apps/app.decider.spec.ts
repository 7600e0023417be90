import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import { Rejected } from '../../events/decider.js';
import type { AppEvent } from '../../events/types/app.events.js';
import { apps, checkBranch, checkDomain } from './app.decider.js';

const created: AppEvent = { type: 'AppCreated', data: { app: 'a1', name: 'blog' } };
const destroyed: AppEvent = { type: 'AppDestroyed', data: { app: 'a1', name: 'blog' } };

describe('an app', () => {
  it('is created once', () => {
    given(apps).when({ type: 'Create', app: 'a1', name: 'blog' }).then(created);
    given(apps, [created]).when({ type: 'Create', app: 'a1', name: 'blog' }).rejects('app.exists');
    given(apps, [created, destroyed]).when({ type: 'Create', app: 'a1', name: 'blog' }).rejects('app.exists');
  });

  it.each(['a', '7', 'my-blog', 'x'.repeat(50), '0-0'])('may be called %j', (name) => {
    given(apps).when({ type: 'Create', app: 'a1', name }).then({ type: 'AppCreated', data: { app: 'a1', name } });
  });

  it.each(['', '../etc', '..', '/', 'a/b', 'a b', ' a', 'a\n', 'x'.repeat(51), 'x'.repeat(200), 'блог', 'café', 'ａ', '😀', 'Blog', '-a', 'a-', 'a_b', 'a.b', 'a;b', '$(id)', "a'b", 'a\0b', '--force', 'all', 'global', 'berth', 'constructor'])('may not be called %j', (name) => {
    const create = given(apps).when({ type: 'Create', app: 'a1', name }).rejects('app.name');
    expect(create.message.length).toBeLessThan(250);
    expect(create.message).not.toMatch(/[\0\n]/);
    given(apps, [created]).when({ type: 'Rename', to: name }).rejects('app.name');
  });

  it('is renamed, and nothing happens when that is its name', () => {
    given(apps, [created]).when({ type: 'Rename', to: 'journal' }).then({ type: 'AppRenamed', data: { app: 'a1', from: 'blog', to: 'journal' } });
    given(apps, [created]).when({ type: 'Rename', to: 'blog' }).then();
    given(apps, [created, { type: 'AppRenamed', data: { app: 'a1', from: 'blog', to: 'journal' } }]).when({ type: 'Destroy' }).then({ type: 'AppDestroyed', data: { app: 'a1', name: 'journal' } });
  });

  it('takes no command before it is there, nor after it was destroyed', () => {
    const commands = [{ type: 'Destroy' }, { type: 'Rename', to: 'b' }, { type: 'SetBranch', branch: 'main', why: 'set' }, { type: 'Set', key: 'memory', value: '1g' }, { type: 'AddDomain', domain: 'a.b' }, { type: 'RemoveDomain', domain: 'a.b' }] as const;
    for (const command of commands) for (const events of [[], [created, destroyed]]) expect(given(apps, events).when(command).rejects('app.missing').exit).toBe(20);
  });

  it('has a deploy branch, which can be taken away again', () => {
    const set: AppEvent = { type: 'DeployBranchSet', data: { app: 'a1', branch: 'main', why: 'first-push' } };
    given(apps, [created]).when({ type: 'SetBranch', branch: 'main', why: 'first-push' }).then(set);
    given(apps, [created, set]).when({ type: 'SetBranch', branch: 'main', why: 'set' }).then();
    given(apps, [created, set]).when({ type: 'SetBranch', branch: null, why: 'set' }).then({ type: 'DeployBranchSet', data: { app: 'a1', branch: null, why: 'set' } });
    for (const branch of ['feature/x-1', 'v1.2']) expect(() => checkBranch(branch)).not.toThrow();
    for (const branch of ['', '-f', '../x', 'a..b', 'a b', 'a/', 'x.lock', 'é', 'a\nb', 'x'.repeat(300)]) given(apps, [created]).when({ type: 'SetBranch', branch, why: 'set' }).rejects('git.branch');
  });

  it('keeps settings; null takes one away', () => {
    const set: AppEvent = { type: 'AppSettingChanged', data: { app: 'a1', key: 'memory', from: null, to: '1g' } };
    given(apps, [created]).when({ type: 'Set', key: 'memory', value: '1g' }).then(set);
    given(apps, [created]).when({ type: 'Set', key: 'memory', value: null }).then();
    given(apps, [created, set]).when({ type: 'Set', key: 'memory', value: '1g' }).then();
    given(apps, [created, set]).when({ type: 'Set', key: 'memory', value: null }).then({ type: 'AppSettingChanged', data: { app: 'a1', key: 'memory', from: '1g', to: null } });
  });

  it('has domains, each once and in one spelling', () => {
    const added: AppEvent = { type: 'DomainAdded', data: { app: 'a1', domain: 'www.example.com' } };
    given(apps, [created]).when({ type: 'AddDomain', domain: 'WWW.Example.com.' }).then(added);
    given(apps, [created, added]).when({ type: 'AddDomain', domain: 'www.example.com' }).then();
    given(apps, [created, added]).when({ type: 'RemoveDomain', domain: 'www.EXAMPLE.com' }).then({ type: 'DomainRemoved', data: { app: 'a1', domain: 'www.example.com' } });
    given(apps, [created]).when({ type: 'RemoveDomain', domain: 'www.example.com' }).rejects('domain.missing');
    expect(checkDomain('*.example.com')).toBe('*.example.com');
  });

  it.each(['', '.', 'http://a.b', 'a.b:80', 'a b', 'a..b', '-a.b', 'a-.b', '*', '*.', 'a.*', `${'x'.repeat(64)}.b`, 'a.'.repeat(130), 'a_b.c', 'bücher.de', 'a\n', 'a;b', '../x'])('%j is no domain', (domain) => {
    given(apps, [created]).when({ type: 'AddDomain', domain }).rejects('domain.bad');
    expect(() => checkDomain(domain)).toThrow(Rejected);
  });
});
