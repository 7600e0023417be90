import { IsArray, IsIn, IsInt, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { stackFor } from '../../drivers/stack/stack-for.js';
import { listed, SETTING, STACK_SETTING } from '../../plugins/builders/classic/named.js';
import { shown } from '../../plugins/builders/classic/reference.js';
import { appStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type Out } from '../commands/command.js';
import { report } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { lookAtApp } from './look.js';
import { planCommand } from './plan.command.js';
import { added, removed, replaced, whole, type BuildpackList } from './buildpack-list.js';

class OneInput extends AppInput {
  @IsOptional() @IsInt() @Flag('its place in the list, counted from 1', { type: 'number', label: 'n' }) index?: number;
  @IsString() @Arg('a git URL with #ref, the URL of a .tgz or .zip, a folder of the server, or one of ours such as heroku/python') buildpack!: string;
}
class SetInput extends AppInput {
  @IsOptional() @IsInt() @Flag('which one is replaced, counted from 1; the first unless said', { type: 'number', label: 'n' }) index?: number;
  @IsOptional() @Flag('replace the whole list') replace?: boolean;
  @IsArray() @IsString({ each: true }) @Rest('a git URL with #ref, the URL of a .tgz or .zip, a folder of the server, or one of ours such as heroku/python', { label: 'buildpack' }) buildpacks!: string[];
}
class RemoveInput extends AppInput {
  @IsOptional() @IsInt() @Flag('its place in the list, counted from 1', { type: 'number', label: 'n' }) index?: number;
  @IsOptional() @IsString() @Arg('which one; nothing when --index says it', { optional: true }) buildpack?: string;
}
class DetectInput extends AppInput {
  @IsOptional() @IsString() @Flag('look at this branch instead of the deploy branch', { type: 'string', label: 'branch' }) branch?: string;
}
class ReportInput {
  @IsOptional() @IsString() @Arg('the app; all apps when there is none', { optional: true }) app?: string;
}
class PropertyInput extends AppInput {
  @IsIn(['stack']) @Arg('what: stack', { label: 'property' }) property!: 'stack';
  @IsOptional() @IsString() @Arg('its value; nothing brings the default back', { optional: true }) value?: string;
}

interface Listed { readonly app: string; readonly buildpacks: BuildpackList; /** what is asked before the list, and set */ readonly over: string | null }

const listOf = (settings: Readonly<Record<string, string>>): BuildpackList => listed(settings[SETTING] ?? '');

async function edit(context: CommandContext, name: string, app: string, how: (list: BuildpackList) => BuildpackList): Promise<Listed> {
  const row = await context.core.app(app);
  const { answer } = await change(context, name, row.id, async (draft) => {
    const { state } = await draft.load(apps, appStream(row.id));
    const before = listOf(state.settings);
    const list = how(before);
    for (const text of list) if (!before.includes(text)) await requirePlugin(context.core, text);
    await draft.decide(apps, appStream(row.id), { type: 'Set', key: SETTING, value: list.length === 0 ? null : list.join('\n') });
    return list;
  });
  return { app, buildpacks: answer, over: row.configKeys.includes('BUILDPACK_URL') ? 'BUILDPACK_URL' : null };
}

/** One of a plugin must be there: a mistake is said now, not in the next deploy. */
async function requirePlugin(core: Core, text: string): Promise<void> {
  const [, plugin, name] = /^plugin:(.+)\/(.+)$/.exec(text) ?? [];
  if (plugin === undefined || !core.pluginHost) return;
  const found = (await core.pluginHost.all()).find((each) => each.name === plugin);
  if (found && Object.hasOwn(found.manifest.buildpacks, name!)) return;
  const brought = Object.keys(found?.manifest.buildpacks ?? {}).map((each) => `plugin:${plugin}/${each}`);
  throw new Rejected('buildpacks.bad', found ? `Plugin ${plugin} brings no buildpack ${name}` : `There is no plugin ${plugin}`, found ? `it brings: ${brought.join(' ') || 'none'}` : 'see: berth plugin:list');
}

function render({ app, buildpacks, over }: Listed, out: Out): void {
  out.info(`${app} buildpack urls`);
  for (const text of buildpacks) out.detail(shown(text));
  if (over !== null && buildpacks.length > 0) out.warn(`The config has a ${over}, which decides: berth config:unset ${app} ${over}`);
}

const add = command({
  name: 'buildpacks:add', summary: 'Add a buildpack to an app\'s list, at the end or at a place', example: 'berth buildpacks:add --index 1 blog https://github.com/heroku/heroku-buildpack-apt', input: OneInput, http: { method: 'POST', path: '/apps/:app/buildpacks' },
  run: (context, { app, buildpack, index }) => edit(context, 'buildpacks:add', app, (list) => added(list, buildpack, index)), render,
});

const set = command({
  name: 'buildpacks:set', summary: 'Replace the first buildpack of an app, another, or the whole list', example: 'berth buildpacks:set --replace blog heroku-community/apt heroku/python', input: SetInput, http: { method: 'PUT', path: '/apps/:app/buildpacks' },
  run: (context, { app, buildpacks, index, replace }) => edit(context, 'buildpacks:set', app, (list) => {
    if (replace && index !== undefined) throw new Rejected('buildpacks.which', '--replace and --index do not go together', 'one of the two');
    if (replace) return whole(buildpacks);
    const [one, ...more] = buildpacks;
    if (one === undefined || more.length > 0) throw new Rejected('buildpacks.which', 'One buildpack is set at a time', 'the whole list: berth buildpacks:set --replace <app> <buildpack>...');
    return replaced(list, one, index);
  }), render,
});

const remove = command({
  name: 'buildpacks:remove', summary: 'Take a buildpack out of an app\'s list', example: 'berth buildpacks:remove blog heroku/python', input: RemoveInput, http: { method: 'POST', path: '/apps/:app/buildpacks/remove' },
  run: (context, { app, buildpack, index }) => edit(context, 'buildpacks:remove', app, (list) => removed(list, buildpack, index)), render,
});

const clear = command({
  name: 'buildpacks:clear', summary: 'Empty an app\'s list of buildpacks: they are detected again', example: 'berth buildpacks:clear blog', input: AppInput, http: { method: 'DELETE', path: '/apps/:app/buildpacks' },
  run: (context, { app }) => edit(context, 'buildpacks:clear', app, () => []), render: ({ app }, out) => out.info(`Clearing the buildpacks of ${app}`),
});

const list = command({
  name: 'buildpacks:list', summary: 'Show the buildpacks that an app names, in order', example: 'berth buildpacks:list blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/buildpacks' }, reads: true,
  run: async ({ core }, { app }): Promise<Listed> => {
    const { settings, configKeys } = await core.app(app);
    return { app, buildpacks: listOf(settings), over: configKeys.includes('BUILDPACK_URL') ? 'BUILDPACK_URL' : null };
  },
  render,
});

const setProperty = command({
  name: 'buildpacks:set-property', summary: 'Set what STACK says to third-party buildpacks', example: 'berth buildpacks:set-property blog stack heroku-24', input: PropertyInput, http: { method: 'POST', path: '/apps/:app/buildpacks/properties' },
  run: async (context, { app, property, value }) => {
    const row = await context.core.app(app);
    if (value && !/^[a-z0-9][a-z0-9.-]{0,62}$/.test(value)) throw new Rejected('buildpacks.stack', 'The name of a stack has lower-case letters, digits, dots and hyphens', 'for example: heroku-24');
    await change(context, 'buildpacks:set-property', row.id, (draft) => draft.decide(apps, appStream(row.id), { type: 'Set', key: STACK_SETTING, value: value || null }));
    return { app, property, value: value || null };
  },
  render: ({ property, value }, out) => out.info(value === null ? `Unsetting ${property}` : `Setting ${property} to ${value}`),
});

/** What the next deploy would detect: the code that is in the repository, with today's settings and config. */
const detect = command({
  name: 'buildpacks:detect', summary: 'Show which buildpacks take an app\'s code, who was asked, and why', example: 'berth buildpacks:detect blog', input: DetectInput, http: { method: 'GET', path: '/apps/:app/buildpacks/detect' }, reads: true,
  run: ({ core, signal }, { app, branch }) => lookAtApp(core, app, branch, signal),
  render: ({ sha, title, reason, asked, details, warnings, plan }, out) => {
    out.info(`${title} (${plan.summary}), ${reason}, at ${sha?.slice(0, 7)}`);
    for (const line of details) out.detail(line);
    for (const { builder, answer } of asked) out.detail(`asked ${builder}: ${answer}`);
    for (const line of warnings) out.warn(line);
  },
});

const show = command({
  name: 'buildpacks:report', summary: 'Show the buildpacks and the stack of an app, or of all', example: 'berth buildpacks:report blog', input: ReportInput, http: { method: 'GET', path: '/reports/buildpacks' }, reads: true,
  run: async ({ core }, { app }) => {
    const board = await core.board.now();
    const rows = app ? [await core.app(app)] : Object.keys(board.names).sort().map((name) => board.apps[board.names[name]!]!);
    const { name } = stackFor();
    return rows.map((row) => ({ app: row.name, buildpacks: listOf(row.settings), stack: row.settings[STACK_SETTING] ?? null, computedStack: row.settings[STACK_SETTING] ?? name ?? '', buildpackUrl: row.configKeys.includes('BUILDPACK_URL') }));
  },
  render: (answers, out) => {
    for (const answer of answers) {
      const values = { 'buildpacks list': answer.buildpacks.map(shown).join(','), 'buildpacks stack': answer.stack ?? '', 'buildpacks computed stack': answer.computedStack, 'buildpacks BUILDPACK_URL': answer.buildpackUrl ? 'set, it decides' : '' };
      for (const line of report(`${answer.app} buildpacks information`, values)) out.line(line);
    }
  },
});

export const buildpackCommands = [forget(add), forget(set), forget(remove), forget(clear), forget(list), forget(detect), forget(show), forget(setProperty), forget(planCommand)];
