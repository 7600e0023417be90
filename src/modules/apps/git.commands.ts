import { IsIn, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, forget } from '../commands/command.js';
import { report } from '../commands/words.js';
import { change } from '../draft.js';
import { server } from '../server/server.decider.js';
import { appStream, parseSize } from './app-context.js';
import { AppInput } from './apps.commands.js';
import { apps, shown } from './app.decider.js';

/** Settings of an app that are kept as they were typed: name → check and meaning. */
const GIT_SETTINGS = ['deploy-branch', 'archive-max-size', 'archive-max-files'] as const;
const SIZE = { about: 'a size such as 512m or 2g', ok: (v: string) => parseSize(v) > 0 };
const CPU = { about: 'a number of CPUs such as 0.5', ok: (v: string) => Number(v) > 0 && Number(v) <= 256 };
const LIMITS: Readonly<Record<string, { about: string; ok: (value: string) => boolean }>> = { memory: SIZE, cpu: CPU, 'build-memory': SIZE, 'build-cpu': CPU };

class GitSetInput extends AppInput {
  @IsIn(GIT_SETTINGS) @Arg(`what: ${GIT_SETTINGS.join(', ')}`, { label: 'property' }) property!: (typeof GIT_SETTINGS)[number];
  @IsOptional() @IsString() @Arg('its value; nothing brings the default back', { optional: true }) value?: string;
}
class ReportInput {
  @IsOptional() @IsString() @Arg('the app; all apps when there is none', { optional: true }) app?: string;
}
class AppsSetInput {
  @IsOptional() @Flag('for the whole server') global?: boolean;
  @IsIn(['disable-autocreation']) @Arg('what: disable-autocreation', { label: 'property' }) property!: string;
  @IsOptional() @IsIn(['true', 'false']) @Arg('true or false', { optional: true }) value?: string;
}
class LimitInput extends AppInput {
  @IsOptional() @IsString() @Flag('memory of each container, such as 512m', { type: 'string', label: 'size' }) memory?: string;
  @IsOptional() @IsString() @Flag('CPUs of each container, such as 0.5', { type: 'string', label: 'n' }) cpu?: string;
  @IsOptional() @IsString() @Flag('memory of a build', { type: 'string', label: 'size' }) buildMemory?: string;
  @IsOptional() @IsString() @Flag('CPUs of a build', { type: 'string', label: 'n' }) buildCpu?: string;
}

const gitSet = command({
  name: 'git:set', summary: 'Set which branch deploys, and how much an archive may hold', example: 'berth git:set blog deploy-branch main', input: GitSetInput, http: { method: 'POST', path: '/apps/:app/git' },
  run: async (context, { app, property, value }) => {
    const row = await context.core.app(app);
    const wanted = property === 'deploy-branch' ? value?.replace(/^refs\/heads\//, '') || null : (value ?? null);
    if (property === 'archive-max-size' && value !== undefined && !SIZE.ok(value)) throw new Rejected('git.size', `${property} ${shown(value)}: ${SIZE.about} is needed`);
    if (property === 'archive-max-files' && value !== undefined && !/^[1-9]\d{0,6}$/.test(value)) throw new Rejected('git.files', `${property} ${shown(value)}: a number from 1 to 9999999 is needed`);
    await change(context, 'git:set', row.id, (draft) => draft.decide(apps, appStream(row.id), property === 'deploy-branch' ? { type: 'SetBranch', branch: wanted, why: 'set' } : { type: 'Set', key: property, value: wanted }));
    return { app, property, value: wanted, branch: property === 'deploy-branch' ? wanted : undefined };
  },
  render: ({ property, value, branch }, out) => out.info(property !== 'deploy-branch' ? (value === null ? `Unsetting ${property}` : `Setting ${property} to ${value}`) : branch === null ? 'Unsetting deploy-branch: the first of main or master that is pushed becomes it' : `Setting deploy-branch to ${branch}`),
});

const gitReport = command({
  name: 'git:report', summary: 'Show an app\'s deploy branch and what is deployed', example: 'berth git:report blog', input: ReportInput, http: { method: 'GET', path: '/reports/git' }, reads: true,
  run: async ({ core }, { app }) => {
    const board = await core.board.now();
    const rows = app ? [await core.app(app)] : Object.keys(board.names).sort().map((name) => board.apps[board.names[name]!]!);
    return rows.map((row) => {
      const release = row.releases.find((r) => r.number === row.live?.release);
      return { app: row.name, deployBranch: row.branch, sha: release?.spec.sha ?? null, lastUpdatedAt: row.live ? new Date(row.live.since).toISOString() : null };
    });
  },
  render: (answers, out) => {
    for (const answer of answers) {
      const values = { 'git deploy branch': answer.deployBranch ?? '', 'git sha': answer.sha ?? '', 'git last updated at': answer.lastUpdatedAt ?? '' };
      for (const line of report(`${answer.app} git information`, values)) out.line(line);
    }
  },
});

const appsSet = command({
  name: 'apps:set', summary: 'Switch off (or on again) that a push creates the app', example: 'berth apps:set --global disable-autocreation true', input: AppsSetInput, http: { method: 'POST', path: '/settings/apps' }, local: true,
  run: async (context, { property, value, global }) => {
    if (!global) throw new Rejected('apps.global', `${property} is a setting of the whole server`, `berth apps:set --global ${property} ${value ?? 'true'}`);
    await change(context, 'apps:set', 'server', (draft) => draft.decide(server, 'server', { type: 'Set', key: property, value: value ?? null }));
    return { property, value: value ?? 'false' };
  },
  render: ({ property, value }, out) => out.info(`Setting ${property} to ${value}`),
});

const limit = command({
  name: 'resource:limit', summary: 'Show or set memory and CPU limits of an app\'s containers and builds', example: 'berth resource:limit blog --memory 512m', input: LimitInput, http: { method: 'POST', path: '/apps/:app/limits' }, reads: true,
  run: async (context, input) => {
    const row = await context.core.app(input.app);
    const wanted = { memory: input.memory, cpu: input.cpu, 'build-memory': input.buildMemory, 'build-cpu': input.buildCpu };
    const given = Object.entries(wanted).filter((pair): pair is [string, string] => pair[1] !== undefined);
    for (const [key, value] of given) {
      const rule = LIMITS[key]!;
      if (value !== 'clear' && !rule.ok(value)) throw new Rejected('limit.value', `--${key} ${value}: ${rule.about} is needed, or clear`);
    }
    const restarts = given.some(([key]) => !key.startsWith('build-'));
    const { answer } = await change(context, 'resource:limit', row.id, async (draft) => {
      const events = [];
      for (const [key, value] of given) events.push(...await draft.decide(apps, appStream(row.id), { type: 'Set', key, value: value === 'clear' ? null : value }));
      return events.length > 0 && restarts ? draft.deploy(row.id, 'restart', context.actor) : null;
    });
    const { settings } = await context.core.app(input.app);
    const limits = Object.fromEntries(Object.keys(LIMITS).map((key) => [key, settings[key] ?? '']));
    return { app: row.id, name: row.name, deploy: answer, limits };
  },
  render: ({ name, limits }, out) => report(`${name} resource information`, limits).forEach((line) => out.line(line)),
});

export const gitCommands = [forget(gitSet), forget(gitReport), forget(appsSet), forget(limit)];
