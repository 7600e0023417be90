import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { readManifest, type Surroundings } from './manifest.js';
import { tellProblem } from './problems.js';
import { BadAnswer, merged, readAnswer } from './protocol.js';

const around: Surroundings = { berth: '1.4.0', types: new Set(['DeploySucceeded']), isOurs: (name) => ['ps', 'ps:scale', 'apps'].includes(name) };
const good = {
  name: 'hello', version: '1.0.0', description: 'says hello', berth: '^1.2.0', protocol: 1,
  commands: [{ name: 'hello:greet', summary: 'greets', run: ['./greet.sh'], arguments: [{ name: 'app', about: 'the app' }, { name: 'loud', about: 'louder', kind: 'flag', type: 'boolean', short: 'l' }] }],
  hooks: [{ step: 'build', when: 'before', run: ['python3', 'hook.py'], timeout: 5, mayRefuse: true }], events: { types: ['DeploySucceeded'], run: ['./event.sh'] },
};
const problems = (change: object): string[] => readManifest(JSON.stringify({ ...good, ...change }), around).problems.map(tellProblem);

describe('a manifest', () => {
  it('is taken with every list there', () => {
    const { manifest } = readManifest(JSON.stringify(good), around);
    expect(manifest).toMatchObject({ name: 'hello', needs: [], main: null, buildpacks: {}, commands: [{ arguments: [{ name: 'app', kind: 'argument', type: 'string', optional: false }, { name: 'loud', kind: 'flag', optional: true }] }] });
  });

  it('has channels only where it brings some: what was recorded before is the same', () => {
    expect(readManifest(JSON.stringify(good), around).manifest).not.toHaveProperty('channels');
    const channels = [{ name: 'sms', title: 'A text message', options: [{ name: 'to', about: 'whom' }, { name: 'key', about: 'the key', secret: true, optional: true }], run: ['./sms.sh'], timeout: 5 }];
    expect(readManifest(JSON.stringify({ ...good, commands: [], hooks: [], events: undefined, channels }), around).manifest).toMatchObject({ channels });
  });

  it.each([
    [{ name: 'ps', commands: [] }, 'name is "ps", which Berth itself has commands of: choose another name'],
    [{ name: 'constructor', commands: [] }, 'name is "constructor"'],
    [{ name: 'Hello', commands: [] }, 'name is "Hello": lower-case'],
    [{ description: 'a\u001b[2Jb' }, 'description has characters that cannot be printed'],
    [{ version: '1' }, 'version is "1": three numbers'],
    [{ berth: '>=2' }, 'berth wants Berth >=2: this is Berth 1.4.0'],
    [{ protocol: 2 }, 'protocol is 2: this Berth speaks protocol 1'],
    [{ hook: [] }, 'hook is not known: known are'],
    [{ services: {} }, 'services is an object: a list'],
    [{ builders: [{ name: 'cobol', title: 'COBOL', run: ['./b'] }] }, 'builders[0].looksFor is missing'],
    [{ builders: [{ name: 'cobol', title: 'COBOL', looksFor: '*.cob', reads: ['/etc/passwd'], run: ['./b'] }] }, 'builders[0].reads[0] is "/etc/passwd"'],
    [{ needs: ['a b'] }, 'needs[0] is "a b"'],
    [{ commands: [{ ...good.commands[0], name: 'ps:scale' }] }, 'commands[0].name is "ps:scale", which is a command of Berth: name it hello:<word>'],
    [{ commands: [{ ...good.commands[0], name: 'other:greet' }] }, 'commands[0].name is "other:greet": hello, or hello:<word>'],
    [{ commands: [{ name: 'hello', summary: 's' }] }, 'commands[0].run is missing: an argument array'],
    [{ commands: [{ ...good.commands[0], run: 'rm -rf /' }] }, 'commands[0].run is text'],
    [{ commands: [{ ...good.commands[0], run: ['/bin/sh'] }] }, 'commands[0].run[0] is "/bin/sh": a file of the plugin'],
    [{ commands: [{ ...good.commands[0], timeout: 1e6 }] }, 'commands[0].timeout is 1000000: seconds, at most 3600'],
    [{ commands: [good.commands[0], good.commands[0]] }, 'commands has hello:greet twice'],
    [{ commands: [{ ...good.commands[0], arguments: [{ name: 'a', about: '', optional: true }, { name: 'b', about: '' }] }] }, 'commands[0].arguments b must be given, and stands behind one'],
    [{ hooks: [{ ...good.hooks[0], step: 'deploy' }] }, 'hooks[0].step is "deploy": one of clone'],
    [{ hooks: [{ ...good.hooks[0], step: 'route', when: 'after' }] }, 'a refusal comes too late'],
    [{ events: { types: ['Nothing'], run: ['x'] } }, 'events.types[0] is "Nothing", which no event is'],
    [{ buildpacks: { cobol: '../x' } }, 'buildpacks.cobol is "../x"'],
    [{ projections: [{ name: 'Times', types: ['DeploySucceeded'], run: ['./fold.sh'] }] }, 'projections[0].name is "Times": lower-case'],
    [{ projections: [{ name: 'times', types: ['DeploySucceeded'] }] }, 'projections[0].run is missing: an argument array'],
    [{ projections: [{ name: 'times', types: [], run: ['./fold.sh'] }] }, 'projections[0].types is empty'],
    [{ projections: [{ name: 'times', types: ['Nothing'], run: ['./fold.sh'] }] }, 'projections[0].types[0] is "Nothing", which no event is'],
    [{ projections: [1, 2].map(() => ({ name: 'times', types: ['DeploySucceeded'], run: ['./fold.sh'] })) }, 'projections has times twice'],
    [{ channels: [{ name: 'SMS', title: 't', run: ['./sms.sh'] }] }, 'channels[0].name is "SMS"'],
    [{ channels: [{ name: 'sms', run: ['./sms.sh'] }] }, 'channels[0].title is missing'],
    [{ channels: [{ name: 'sms', title: 't' }] }, 'channels[0].run is missing: an argument array'],
    [{ channels: [{ name: 'sms', title: 't', run: ['./sms.sh'], options: [{ name: 'To', about: 'a' }] }] }, 'channels[0].options[0].name is "To"'],
    [{ channels: [{ name: 'sms', title: 't', run: ['./sms.sh'], options: [{ name: 'to', about: 'a', secret: 'yes' }] }] }, 'channels[0].options[0].secret is text'],
    [{ channels: [{ name: 'sms', title: 't', run: ['./sms.sh'], timeout: 601 }] }, 'channels[0].timeout is 601: seconds, at most 600'],
    [{ channels: [1, 2].map(() => ({ name: 'sms', title: 't', run: ['./sms.sh'] })) }, 'channels has sms twice'],
    [{ commands: [], hooks: [], events: undefined }, 'it does nothing'],
  ])('%j is refused with the field and the fix', (change, said) => {
    expect(problems(change)).toEqual([expect.stringContaining(said)]);
  });

  it('never throws, whatever it is', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => { expect(readManifest(JSON.stringify(value), around).manifest).toBeNull(); }));
    fc.assert(fc.property(fc.constantFrom(...Object.keys(good)), fc.jsonValue(), (key, value) => { readManifest(JSON.stringify({ ...good, [key]: value }), around); }));
    expect(readManifest('{', around).problems[0]!.what).toContain('is not JSON');
  });
});

describe('an answer', () => {
  it('is taken, long lines cut', () => {
    expect(readAnswer('hook', { add: { env: { A: '1' }, mounts: [{ name: 'data', path: '/data' }] }, say: ['a\nb', 'x'.repeat(5000)] }).say).toEqual(['a', 'b', 'x'.repeat(2000)]);
  });

  it.each([
    ['hook', [], 'it is a list'], ['hook', { ad: {} }, 'ad is not known'], ['hook', { add: { env: { 'A-B': '1' } } }, 'add.env.A-B'], ['hook', { add: { env: { A: 1 } } }, 'add.env.A is a number'],
    ['hook', { add: { labels: { 'berth.app': 'x' } } }, "berth. are Berth's own"], ['hook', { add: { networks: ['host'] } }, 'add.networks[0] is "host"'], ['hook', { add: { mounts: [{ name: '/etc', path: '/etc' }] } }, 'add.mounts[0].name'],
    ['hook', { add: { mounts: [{ name: 'a', path: '/a/../b' }] } }, 'add.mounts[0].path'], ['hook', { refuse: ' ' }, 'refuse is empty'], ['hook', { add: { router: { redirects: [{ from: '/', to: 'x\r\ny', code: 301 }] } } }, 'add.router.redirects[0].to'],
    ['notify', { error: ' ' }, 'error is empty'], ['notify', { retry: 'yes' }, 'retry is text'], ['notify', { refuse: 'x' }, 'refuse is not known'],
    ['command', { deploy: 'now' }, 'deploy is not a kind'], ['command', { settings: { 'a b': 'x' } }, 'settings.a b'], ['event', { add: {} }, 'add is not known'], ['project', {}, 'state is missing'], ['project', { state: 1, events: [] }, 'events is not known'],
  ] as const)('of a %s: %j is refused', (kind, value, said) => {
    expect(() => readAnswer(kind, value)).toThrow(BadAnswer);
    expect(() => readAnswer(kind, value)).toThrow(said);
  });

  it('of a projection is any JSON, null too', () => {
    fc.assert(fc.property(fc.jsonValue(), (state) => { expect(readAnswer('project', { state })).toEqual({ state }); }));
  });

  it('of several plugins: the later name counts, lists are joined', () => {
    expect(merged([{ env: { A: '1', B: '1' }, networks: ['n'], router: { headers: { X: '1' }, redirects: [{ from: '/a', to: '/b', code: 301 }] } }, { env: { B: '2' }, networks: ['n', 'm'], router: { headers: { Y: '2' }, maintenance: { page: null } } }])).toEqual({
      env: { A: '1', B: '2' }, networks: ['n', 'm'], router: { headers: { X: '1', Y: '2' }, redirects: [{ from: '/a', to: '/b', code: 301 }], maintenance: { page: null } },
    });
  });
});
