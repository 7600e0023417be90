import { describe, expect, it } from 'vitest';
import { split } from '../../cli/words.js';
import { Rejected } from '../../events/decider.js';
import { parse, splitGlobal } from './argv.js';
import { fieldsOf, usage } from './command.js';
import { validated } from './door.js';
import { COMMANDS, find, groupAskedFor, helpAll, helpCommand, helpGroup } from './registry.js';

/** An example's words, without what a shell would do: `< file`, `> file`, `x |`. */
const wordsOf = (example: string): string[] => split(example.replace(/^.*\| */, '').replace(/ [<>] *\S+/g, '').replace(/^.*?berth /, ''));

describe.each(COMMANDS.map((c) => [c.name, c] as const))('%s', (name, command) => {
  it('says what it does and how, in words that fit', () => {
    expect(command.summary).toMatch(/^[A-Z].{5,110}[^.\s]$/);
    expect(usage(command)).toMatch(new RegExp(`^${name}( |$)`));
    const help = helpCommand(command).join('\n');
    for (const part of [command.summary, usage(command), command.example, `${command.http.method} /v1${command.http.path}`]) expect(help).toContain(part);
  });

  it('has an example that it takes', async () => {
    const { name: named, rest, global } = splitGlobal(wordsOf(command.example));
    expect(find(named!)).toBe(command);
    const { input } = parse(command, rest, global);
    await expect(validated(command, input)).resolves.toBeInstanceOf(command.input);
  });

  it('is either run or streamed, and shown', () => {
    if (name === 'help') return; // the door's own
    expect([command.run, command.stream].filter(Boolean)).toHaveLength(1);
    expect(command.stream ? command.renderItem : command.render).toBeTypeOf('function');
  });

  it('finds every part of its HTTP path in its input', () => {
    const fields = fieldsOf(command.input).map((field) => field.property);
    for (const [, part] of command.http.path.matchAll(/:(\w+)/g)) expect(fields).toContain(part);
  });

  it('reads when it is a GET, so that it has --format json', () => {
    if (command.http.method === 'GET' && name !== 'help') expect(command.reads).toBe(true);
  });
});

describe('the commands', () => {
  it('have names, methods and paths of their own', () => {
    const names = COMMANDS.map((c) => c.name);
    const routes = COMMANDS.map((c) => `${c.http.method} ${c.http.path.replace(/:\w+/g, ':')}`);
    expect(new Set(names).size).toBe(names.length);
    expect(routes.filter((route, i) => routes.indexOf(route) !== i)).toEqual([]);
  });

  it('are those that issue 3 asks for', () => {
    const asked = 'apps:create apps:list apps:exists apps:info apps:rename apps:destroy apps:report config:show config:get config:set config:unset config:keys config:export config:import ps:scale ps:report ps:restart logs git:set git:report deploys deploys:show deploys:follow deploys:cancel releases rollback trace trace:on trace:off jobs:failed jobs:retry jobs:discard events ssh-keys:add ssh-keys:list ssh-keys:remove domains:report domains:add domains:remove domains:set-global tokens:create tokens:list tokens:revoke workers version'.split(' ');
    for (const name of asked) expect(find(name).name).toBe(name);
  });

  it('have optional words last', () => {
    for (const command of COMMANDS) {
      const args = fieldsOf(command.input).filter((f) => f.kind !== 'flag').map((f) => f.optional);
      expect(args, command.name).toEqual([...args].sort());
    }
  });

  it('have other spellings', () => {
    expect(find('config').name).toBe('config:show');
    expect(find('jobs').name).toBe('jobs:list');
    expect(find('-v').name).toBe('version');
  });

  it('suggest the nearest one for a name that is none', () => {
    const said = (name: string): Rejected => {
      try { find(name); } catch (error) { return error as Rejected; }
      throw new Error('found');
    };
    expect(said('app:list')).toMatchObject({ code: 'command.unknown', hint: expect.stringContaining('did you mean apps:list?') });
    expect(said('deploy').hint).toContain('did you mean deploys?');
    for (const name of ['xyzzyxyzzy', '', 'constructor', '__proto__', 'x'.repeat(10_000), 'rm -rf /; $(id)', '\0', 'é😀']) {
      expect(said(name).code).toBe('command.unknown');
      expect(said(name).message.length).toBeLessThan(120);
    }
    expect(said('xyzzyxyzzy').hint).not.toContain('did you mean');
  });

  it('are grouped', () => {
    expect(groupAskedFor('ps')).toBe('ps');
    expect(groupAskedFor('ps:help')).toBe('ps');
    for (const name of ['logs', 'config', 'nothing', 'nothing:help', 'apps:list']) expect(groupAskedFor(name), name).toBeNull();
    expect(helpGroup('ps').join('\n')).toContain('ps:scale');
    const all = helpAll().join('\n');
    for (const command of COMMANDS) if (!all.includes(`    ${command.name.split(':')[0]}:<command> `)) expect(all).toContain(usage(command));
    // a group of many has its own page
    expect(all).toMatch(/ {4}postgres:<command> +Manage PostgreSQL services: berth help postgres\n/);
    expect(all).not.toContain('postgres:create');
    expect(helpGroup('postgres').join('\n')).toContain('postgres:create <service>');
  });
});
