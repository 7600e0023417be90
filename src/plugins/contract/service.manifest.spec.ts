import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import type { DeclaredService } from '../../events/types/plugin.events.js';
import { declaredType } from '../services/declared.js';
import type { RotationInstead, ServiceAccess, ServiceType } from '../services/service-type.js';
import { filled, PLACEHOLDERS, placeholdersIn, SECRETS } from '../services/placeholders.js';
import { accessOf, dsnOf, SERVICE_TYPES } from '../services/types.js';
import { readManifest, type Surroundings } from './manifest.js';
import { tellProblem } from './problems.js';

const around: Surroundings = { berth: '1.4.0', types: new Set(), isOurs: (name) => ['ps', 'postgres', 'postgresql'].includes(name) };
const service = {
  type: 'valkey', aliases: ['vk'], title: 'Valkey', version: '8',
  registry: { reference: 'valkey/valkey:8', volume: '/data', env: { PASSWORD: '{password}' }, command: ['valkey-server', '--port', '{port}'] },
  packaged: { packages: ['valkey-server'], lines: ['RUN touch /x', 'STOPSIGNAL SIGINT'], script: ['#!/bin/sh', 'exec valkey-server --dir "${data}" "$@"'], volume: '/data', env: { PASSWORD: '{password}' } },
  port: 6379, variable: 'VALKEY_URL', dsn: 'valkey://{user}:{password:url}@{host}:{port}/{database}',
  health: { argv: ['valkey-cli', '-h', '{host}', 'ping'], env: { AUTH: '{password}' } }, setup: [{ argv: ['valkey-cli'], stdin: "ACL SETUSER {user} '{password:sql}'" }],
  rotate: [{ argv: ['valkey-cli'], env: { AUTH: '{before}' }, stdin: 'SET {password}' }],
  tellVersion: { argv: ['valkey-server', '--version'] }, connect: { argv: ['valkey-cli', '-n', '0'], env: { AUTH: '{password}' } },
  dumps: { suffix: 'rdb', out: { argv: ['valkey-cli', '--rdb', '-'] }, in: { argv: ['sh', '-c', 'cat'] }, count: { argv: ['wc'] }, magic: 'REDIS' },
};
const read = (change: object) => readManifest(JSON.stringify({ name: 'cache', version: '1.0.0', description: 'd', berth: '*', protocol: 1, services: [{ ...service, ...change }] }), around);
const typeOf = (change: object = {}) => {
  const { manifest, problems } = read(change);
  expect(problems).toEqual([]);
  return declaredType('cache', manifest!.services![0]!);
};
const change = (type: ServiceType, access: ServiceAccess, before: ServiceAccess) => (type.rotation as RotationInstead).change(access, before);
/** what `--password` takes */
const passwords = fc.stringMatching(/^[!-~]{8,40}$/);

describe('a type of service in a manifest', () => {
  it('becomes one like ours', () => {
    const type = typeOf();
    const access = accessOf(type, 'my-db', "a'{host}/b");
    expect(access).toMatchObject({ host: 'berth-valkey-my-db', database: 'my_db', user: 'my_db', port: 6379 });
    expect(type).toMatchObject({ plugin: 'cache', stopSeconds: 30, ports: [], packaged: { script: '#!/bin/sh\nexec valkey-server --dir "${data}" "$@"\n' } });
    expect(dsnOf(type, 'my-db', "a'{host}/b", 'pool=5')).toBe("valkey://my_db:a'%7Bhost%7D%2Fb@berth-valkey-my-db:6379/my_db?pool=5");
    expect(type.setup(access)).toEqual([{ argv: ['valkey-cli'], stdin: "ACL SETUSER my_db 'a''{host}/b'" }]);
    expect(change(type, access, { ...access, password: 'old' })).toEqual([{ argv: ['valkey-cli'], env: { AUTH: 'old' }, stdin: "SET a'{host}/b" }]);
    expect([type.registry.command(access), type.packaged!.command(access), type.packaged!.env(access)]).toEqual([['valkey-server', '--port', '6379'], null, { PASSWORD: "a'{host}/b" }]);
    expect(type.connect(access, ['get', '{host}']).argv).toEqual(['valkey-cli', '-n', '0', 'get', '{host}']);
    expect([type.dumps!.refuse(Buffer.from('REDIS0011')), type.dumps!.refuse(Buffer.from('PGDMP'))]).toEqual([null, 'it does not begin with "REDIS"']);
    expect(change(declaredType('cache', { ...read({}).manifest!.services![0]!, rotate: undefined } as unknown as DeclaredService), access, access)).toBeNull();
  });

  it('has a user of none and no password when it is open', () => {
    const type = typeOf({ open: true, dsn: 'valkey://{host}:{port}', dumps: undefined, noDumps: 'it keeps nothing' });
    expect([dsnOf(type, 'a', 'secret-secret', null), type.user('a'), type.rotation, type.dumps, type.noDumps]).toEqual(['valkey://berth-valkey-a:6379', '', null, null, 'it keeps nothing']);
  });

  it('never shows a password where the list of processes does', () => {
    fc.assert(fc.property(passwords, passwords, (password, old) => {
      const type = typeOf();
      const access = accessOf(type, 'my-db', password);
      const before = accessOf(type, 'my-db', old);
      const words = [type.health(access), ...type.setup(access), ...change(type, access, before)!, type.connect(access, []), type.dumps!.out(access), type.dumps!.in(access), type.dumps!.count(access)].flatMap(({ argv }) => argv);
      const none = [type.health(accessOf(type, 'my-db', '')), ...type.setup(accessOf(type, 'my-db', '')), ...change(type, accessOf(type, 'my-db', ''), accessOf(type, 'my-db', ''))!, type.connect(accessOf(type, 'my-db', ''), []), type.dumps!.out(access), type.dumps!.in(access), type.dumps!.count(access)].flatMap(({ argv }) => argv);
      expect([...words, ...type.registry.command(access)!]).toEqual([...none, ...type.registry.command(accessOf(type, 'my-db', ''))!]);
      expect(decodeURIComponent(new URL(type.dsn(access)).password)).toBe(password);
    }));
    const places = ['health', 'connect', 'tellVersion'].flatMap((field) => SECRETS.map((name) => [field, name] as const));
    fc.assert(fc.property(fc.constantFrom(...places), fc.string(), ([field, name], text) => {
      const { problems } = read({ [field]: { argv: ['x', `${text.replaceAll(/[{}$\0]/g, '')}{${name}}`] } });
      expect(problems.map(tellProblem)).toEqual([expect.stringContaining(`services[0].${field}.argv[1] has {${name}}`)]);
    }));
  });

  it('placeholders round trip, each in one pass', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom(...PLACEHOLDERS, 'other')), passwords, (names, password) => {
      const access = { name: 'n', host: 'h', port: 1, database: 'd', user: 'u', password };
      const text = names.map((name) => `<{${name}}>`).join('');
      expect(placeholdersIn(text)).toEqual([...new Set(names)]);
      const values: Record<string, string> = { name: 'n', host: 'h', port: '1', database: 'd', user: 'u', password, 'password:url': encodeURIComponent(password), 'password:sql': password.replaceAll("'", "''"), before: password, 'before:sql': password.replaceAll("'", "''"), other: '{other}' };
      expect(filled(text, access)).toBe(names.map((name) => `<${values[name]!}>`).join(''));
    }));
    expect(filled('${host} {host}', { name: '', host: 'h', port: 1, database: '', user: '', password: '' })).toBe('${host} h');
  });

  it.each([
    [{ type: 'postgres' }, 'type is "postgres", which Berth itself has commands of: choose another name'],
    [{ aliases: ['ps'] }, 'aliases[0] is "ps", which Berth itself'],
    [{ aliases: ['valkey'] }, 'services has valkey twice'],
    [{ type: 'my-db' }, 'type is "my-db": lower-case letters and digits'],
    [{ title: undefined }, 'title is missing'],
    [{ port: 0 }, 'port is 0: a port'],
    [{ ports: ['a'] }, 'ports[0] is "a"'],
    [{ stopSeconds: 1.5 }, 'stopSeconds is 1.5'],
    [{ variable: 'valkey-url' }, 'variable is "valkey-url"'],
    [{ version: '8/9' }, 'version is "8/9"'],
    [{ dsn: 'valkey://{host}' }, 'dsn says no password: put {password:url} into it'],
    [{ dsn: 'valkey://:{password}@{host}' }, 'dsn has {password}: the password of a URL is {password:url}'],
    [{ dsn: 'valkey://:{password:url}@{hots}' }, 'dsn has {hots}: there are {name} {host}'],
    [{ user: '{password}' }, 'user has {password}: a password stands in env, stdin or dsn only'],
    [{ health: { argv: ['a', '--password={password:url}'] } }, 'health.argv[1] has {password:url}'],
    [{ health: { argv: [] } }, 'health.argv is empty'],
    [{ health: { argv: ['a'], env: { A: '{before}' } } }, 'health.env.A has {before}'],
    [{ health: { argv: ['a'], user: 'a b' } }, 'health.user is "a b"'],
    [{ health: undefined }, 'health is missing: a program'],
    [{ tellVersion: { argv: ['a', '{host}'] } }, 'tellVersion.argv[1] has {host}: there is none'],
    [{ connect: { argv: ['a'], stdin: 'x' } }, 'connect.stdin is there'],
    [{ dumps: { ...service.dumps, in: { argv: ['a'], stdin: 'x' } } }, 'dumps.in.stdin is there'],
    [{ dumps: { ...service.dumps, suffix: '../x' } }, 'dumps.suffix is "../x"'],
    [{ dumps: undefined }, 'services[0] says nothing of dumps'],
    [{ noDumps: 'x' }, 'services[0] has both dumps and noDumps'],
    [{ registry: undefined }, 'registry is missing'],
    [{ registry: { reference: 'A B', volume: null } }, 'registry.reference is "A B"'],
    [{ registry: { ...service.registry, command: ['a', '{password}'] } }, 'registry.command[1] has {password}'],
    [{ registry: { ...service.registry, volume: '/usr/lib' } }, 'registry.volume is "/usr/lib"'],
    [{ registry: { ...service.registry, volume: '/a/../b' } }, 'registry.volume is "/a/../b"'],
    [{ packaged: { ...service.packaged, packages: ['a; rm -rf /'] } }, 'packaged.packages[0] is "a; rm -rf /"'],
    [{ packaged: { ...service.packaged, packages: [] } }, 'packaged.packages is empty'],
    [{ packaged: { ...service.packaged, before: { '/etc/x': "a'; b" } } }, 'packaged.before./etc/x has a quote'],
    [{ packaged: { ...service.packaged, before: { '/etc/$(x)': 'a' } } }, 'packaged.before./etc/$(x) is not a name'],
    [{ packaged: { ...service.packaged, script: ['exec x'] } }, 'packaged.script[0] is "exec x"'],
    [{ packaged: { ...service.packaged, lines: ['FROM x'] } }, 'packaged.lines[0] is "FROM x": RUN, ENV'],
    [{ packaged: { ...service.packaged, lines: ['RUN --network=host x'] } }, 'packaged.lines[0]'],
    [{ packaged: { ...service.packaged, lines: ['RUN x \\'] } }, 'packaged.lines[0]'],
    [{ packaged: { ...service.packaged, lines: ['RUN cat <<E'] } }, 'packaged.lines[0]'],
    [{ pakaged: {} }, 'services[0].pakaged is not known'],
  ])('%j is refused with the field and the fix', (change, said) => {
    expect(read(change).problems.map(tellProblem)).toEqual([expect.stringContaining(said)]);
  });

  it('never throws, whatever stands in a field', () => {
    fc.assert(fc.property(fc.constantFrom(...Object.keys(service)), fc.jsonValue(), (field, value) => { read({ [field]: value }); }));
  });

  it('and a command of the plugin cannot be among its commands', () => {
    const { problems } = readManifest(JSON.stringify({ name: 'valkey', version: '1.0.0', description: 'd', berth: '*', protocol: 1, services: [service], commands: [{ name: 'valkey:create', summary: 's', run: ['./x'] }] }), around);
    expect(problems.map(tellProblem)).toEqual([expect.stringContaining('commands[0].name is "valkey:create", among the commands of its service type')]);
  });

  it('ours are none of a plugin', () => { expect(SERVICE_TYPES.every(({ plugin }) => plugin === undefined)).toBe(true); });
});
