import { IsArray, IsIn, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { configStream } from '../apps/app-context.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type DeployAnswer, type Out } from '../commands/command.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { checkKey, checkValue, config } from './config.decider.js';
import { exportAs, FORMATS, parseEnvFile, parseJsonVars, type Format } from './env-file.js';

class KeyInput extends AppInput {
  @IsString() @Arg('the name of the variable', { label: 'KEY' }) key!: string;
}
class SetInput extends AppInput {
  @IsOptional() @Flag('do not restart the app') noRestart?: boolean;
  @IsOptional() @Flag('the values are given as base64') encoded?: boolean;
  @IsArray() @IsString({ each: true }) @Rest('what to set', { label: 'KEY=value' }) pairs!: string[];
}
class UnsetInput extends AppInput {
  @IsOptional() @Flag('do not restart the app') noRestart?: boolean;
  @IsArray() @IsString({ each: true }) @Rest('what to remove', { label: 'KEY' }) keys!: string[];
}
class ExportInput extends AppInput {
  @IsOptional() @IsIn(FORMATS) @Flag(`how: ${FORMATS.join(', ')}`, { type: 'string', label: 'format' }) as?: Format;
}
class ImportInput extends AppInput {
  @IsOptional() @Flag('do not restart the app') noRestart?: boolean;
  @IsOptional() @Flag('remove what is not in the file') replace?: boolean;
  @IsOptional() @IsIn(['envfile', 'json']) @Flag('envfile (default) or json', { type: 'string', label: 'format' }) as?: 'envfile' | 'json';
  @IsString() @Arg('a file, or - for standard input', { label: 'file' }) file!: string;
}

interface Changed extends DeployAnswer { readonly set: readonly string[]; readonly removed: readonly string[]; readonly skipped: readonly string[]; readonly restart: boolean }

/** Seals, writes what differs, and asks for a restart in the same transaction. */
async function apply(context: CommandContext, name: string, row: AppRow, values: Readonly<Record<string, string>>, remove: readonly string[], noRestart: boolean): Promise<Changed> {
  const { core } = context;
  const now = await core.env(row.id);
  const fresh = Object.entries(values).filter(([key, value]) => now[key] !== value);
  for (const [key, value] of Object.entries(values)) {
    checkKey(key);
    checkValue(key, value);
  }
  const removed = remove.filter((key) => Object.hasOwn(now, key));
  const { answer } = await change(context, name, row.id, async (draft) => {
    const sealed = Object.fromEntries(await Promise.all(fresh.map(async ([key, value]) => [key, await core.box.seal(row.id, value)] as const)));
    const set = await draft.decide(config, configStream(row.id), { type: 'Set', app: row.id, values: sealed });
    const unset = await draft.decide(config, configStream(row.id), { type: 'Unset', app: row.id, keys: removed });
    return set.length + unset.length > 0 && !noRestart ? draft.deploy(row.id, 'config', context.actor) : null;
  });
  return { app: row.id, name: row.name, deploy: answer, set: fresh.map(([key]) => key), removed, skipped: remove.filter((key) => !removed.includes(key)), restart: !noRestart };
}

function renderChanged(answer: Changed, out: Out): void {
  if (answer.set.length > 0) {
    out.info('Setting config vars');
    for (const key of answer.set) out.detail(`${key}:  (sealed)`);
  }
  for (const key of answer.removed) out.info(`Unsetting ${key}`);
  for (const key of answer.skipped) out.info(`Skipping ${key}, it is not set in the environment`);
  if (answer.set.length + answer.removed.length === 0) out.info('Nothing differs, nothing was changed');
  else if (answer.deploy !== null) out.info(`Restarting app ${answer.name}`);
}

const show = command({
  name: 'config:show', summary: 'Show an app\'s config vars with their values', example: 'berth config:show blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/config' }, reads: true,
  run: async ({ core }, { app }) => {
    const row = await core.app(app);
    return { app: row.name, vars: await core.env(row.id) };
  },
  render: ({ app, vars }, out) => {
    if (!out.quiet) out.section(`${app} env vars`);
    for (const line of exportAs('pretty', vars)) out.line(line);
  },
});

const get = command({
  name: 'config:get', summary: 'Print one config var; exit 1 when it is not set', example: 'berth config:get blog SECRET_KEY', input: KeyInput, http: { method: 'GET', path: '/apps/:app/config/:key' }, reads: true,
  run: async ({ core }, { app, key }) => {
    const vars = await core.env((await core.app(app)).id);
    return { key, value: Object.hasOwn(vars, key) ? vars[key]! : null };
  },
  render: ({ value }, out) => {
    if (value === null) return 1;
    out.line(value);
    return 0;
  },
});

const set = command({
  name: 'config:set', summary: 'Set config vars and restart the app', example: 'berth config:set blog DEBUG=0 GREETING="hello there"', input: SetInput, http: { method: 'POST', path: '/apps/:app/config' },
  run: async (context, { app, pairs, noRestart, encoded }) => {
    const row = await context.core.app(app);
    const values: Record<string, string> = {};
    for (const pair of pairs) {
      const equals = pair.indexOf('=');
      if (equals < 1) throw new Rejected('config.pair', `'${shown(pair.slice(0, 40))}' is not of the form KEY=value`, 'for example: berth config:set blog DEBUG=0');
      const key = pair.slice(0, equals);
      const text = pair.slice(equals + 1);
      checkKey(key);
      if (encoded && !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text)) throw new Rejected('config.base64', `The value of ${key} is not base64`);
      values[key] = encoded ? Buffer.from(text, 'base64').toString('utf8') : text;
    }
    return apply(context, 'config:set', row, values, [], noRestart ?? false);
  },
  render: renderChanged,
});

const unset = command({
  name: 'config:unset', summary: 'Remove config vars and restart the app', example: 'berth config:unset blog DEBUG', input: UnsetInput, http: { method: 'DELETE', path: '/apps/:app/config' },
  run: async (context, { app, keys, noRestart }) => {
    keys.forEach(checkKey);
    return apply(context, 'config:unset', await context.core.app(app), {}, keys, noRestart ?? false);
  },
  render: renderChanged,
});

const keys = command({
  name: 'config:keys', summary: 'List the names of an app\'s config vars', example: 'berth config:keys blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/config-keys' }, reads: true,
  run: async ({ core }, { app }) => (await core.app(app)).configKeys,
  render: (names, out) => names.forEach((name) => out.line(name)),
});

const exportVars = command({
  name: 'config:export', summary: 'Print config vars for a shell, a file or a program', example: 'berth config:export blog --as envfile > .env', input: ExportInput, http: { method: 'GET', path: '/apps/:app/config-export' }, reads: true,
  run: async (context, { app, as }) => {
    const vars = await context.core.env((await context.core.app(app)).id);
    return { format: as ?? 'exports', vars };
  },
  render: ({ format, vars }, out) => exportAs(format, vars).forEach((line) => out.line(line)),
});

const importVars = command({
  name: 'config:import', summary: 'Set config vars from a file or standard input', example: 'berth config:import blog - < .env', input: ImportInput, http: { method: 'POST', path: '/apps/:app/config-import' },
  run: async (context, { app, file, as, replace, noRestart }) => {
    const row = await context.core.app(app);
    const text = (file === '-' ? await context.stdin(8 << 20) : await context.file(file, 8 << 20)).toString('utf8');
    const values = as === 'json' ? parseJsonVars(text) : parseEnvFile(text);
    const remove = replace ? row.configKeys.filter((key) => !Object.hasOwn(values, key)) : [];
    return apply(context, 'config:import', row, values, remove, noRestart ?? false);
  },
  render: renderChanged,
});

export const configCommands = [forget(show), forget(get), forget(set), forget(unset), forget(keys), forget(exportVars), forget(importVars)];
