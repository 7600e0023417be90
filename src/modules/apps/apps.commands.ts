import { randomInt } from 'node:crypto';
import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, forget, type CommandContext, type DeployAnswer, type Out } from '../commands/command.js';
import { report } from '../commands/words.js';
import { change, type Draft } from '../draft.js';
import type { AppRow, Board } from '../read/board.projection.js';
import { urlsOf } from '../deploys/follow.js';
import { appStream, globalDomains, hostsOf, storageStream } from './app-context.js';
import { unlinkAll } from '../services/link.js';
import { storage, volumeName } from '../storage/storage.decider.js';
import { apps } from './app.decider.js';
import { claims } from './claim.decider.js';

const ALPHABET = 'abcdefghijkmnpqrstuvwxyz23456789';
const newAppId = (): string => Array.from({ length: 10 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');

/** Makes the app with its own sealing key. @throws Rejected when the name is taken or is none */
export async function createApp(context: Pick<CommandContext, 'core' | 'actor'>, name: string, command = 'apps:create'): Promise<string> {
  const { core } = context;
  const app = newAppId();
  // the key first: an app whose key is missing could not take a secret; a key without an app hurts nobody
  await core.box.createKey(app);
  try {
    await change(context, command, app, async (draft) => {
      await draft.decide(apps, appStream(app), { type: 'Create', app, name });
      const holder = (await draft.load(claims, `name-${name}`)).state;
      if (holder !== null) throw new Rejected('app.exists', 'Name is already taken', `see: berth apps:info ${name}`);
      await draft.decide(claims, `name-${name}`, { type: 'Claim', name, app });
    });
  } catch (error) {
    await core.box.destroyKey(app);
    throw error;
  }
  return app;
}

/** Gives the app another name; answers the deploy that routes its new address. @throws Rejected when the name is taken or is none */
export async function renameApp(draft: Draft, actor: string, row: AppRow, to: string): Promise<number | null> {
  const events = await draft.decide(apps, appStream(row.id), { type: 'Rename', to });
  if (events.length === 0) return null;
  if ((await draft.load(claims, `name-${to}`)).state !== null) throw new Rejected('app.exists', 'Name is already taken', `see: berth apps:info ${to}`);
  await draft.decide(claims, `name-${to}`, { type: 'Claim', name: to, app: row.id });
  await draft.decide(claims, `name-${row.name}`, { type: 'Release', name: row.name, app: row.id });
  return draft.deploy(row.id, 'domains', actor);
}

export class AppInput {
  @IsString() @Arg('the app') app!: string;
}
class NameInput {
  @IsString() @Arg('the new app: lower-case letters, digits, hyphens; it becomes part of its address', { label: 'app' }) app!: string;
}
class RenameInput extends AppInput {
  @IsString() @Arg('its new name', { label: 'new name' }) to!: string;
}
class NoInput {}
class ReportInput {
  @IsOptional() @IsString() @Arg('the app; all apps when there is none', { optional: true }) app?: string;
}
class DestroyInput extends AppInput {
  @IsOptional() @IsString() @Flag('the app\'s name once more, instead of the question', { type: 'string', label: 'app' }) confirm?: string;
  @IsOptional() @Flag('the data of its volumes, too; they are kept otherwise') storage?: boolean;
}

interface AppInfo { app: string; id: string; createdAt: string; createdBy: string; urls: string[]; release: number | null; deployBranch: string | null; running: boolean; processes: Record<string, number> }

function info({ core }: CommandContext, board: Readonly<Board>, row: AppRow): AppInfo {
  const hosts = hostsOf(row, globalDomains(board.server, core.config));
  const processes: Record<string, number> = {};
  for (const container of row.live?.containers ?? []) processes[container.type] = (processes[container.type] ?? 0) + 1;
  return {
    app: row.name, id: row.id, createdAt: new Date(row.createdAt).toISOString(), createdBy: row.createdBy, urls: urlsOf(hosts, core.config.httpPort),
    release: row.live?.release ?? null, deployBranch: row.branch, running: row.running !== null, processes,
  };
}

function renderInfo(answer: AppInfo, out: Out): void {
  const values = {
    'app created at': answer.createdAt, 'app created by': answer.createdBy, 'app id': answer.id, 'app urls': answer.urls.join(' '),
    'app deployed release': answer.release === null ? 'none yet' : `v${answer.release}`, 'app deploy branch': answer.deployBranch ?? 'the first of main or master that is pushed',
    'app deploy running': String(answer.running), 'app processes': Object.entries(answer.processes).map(([type, n]) => `${type}=${n}`).join(' ') || 'none',
  };
  for (const line of report(`${answer.app} app information`, values)) out.line(line);
}

const create = command({
  name: 'apps:create', summary: 'Create an app', example: 'berth apps:create blog', input: NameInput, http: { method: 'POST', path: '/apps' },
  run: async (context, { app }) => ({ app, id: await createApp(context, app) }),
  render: ({ app }, out) => {
    out.info(`Creating ${app}...`);
    out.detail(`deploy it: git remote add berth berth@<this server>:${app} && git push berth main`);
  },
});

const list = command({
  name: 'apps:list', summary: 'List the apps', example: 'berth apps:list', input: NoInput, http: { method: 'GET', path: '/apps' }, reads: true,
  run: async ({ core }) => Object.keys((await core.board.now()).names).sort(),
  render: (names, out) => {
    if (!out.quiet) out.section('My Apps');
    if (names.length === 0) return out.warn('There is no app yet: berth apps:create <app>, or just push one');
    out.raw(`${names.join('\n')}\n`);
  },
});

const exists = command({
  name: 'apps:exists', summary: 'Say whether an app exists: exit 0 if so, 20 if not', example: 'berth apps:exists blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/exists' }, reads: true,
  run: async ({ core }, { app }) => ({ app: (await core.app(app)).name, exists: true }),
  render: () => undefined,
});

const show = command({
  name: 'apps:info', summary: 'Show an app: addresses, release, processes', example: 'berth apps:info blog', input: AppInput, http: { method: 'GET', path: '/apps/:app' }, reads: true,
  run: async (context, { app }) => info(context, await context.core.board.now(), await context.core.app(app)),
  render: renderInfo,
});

const reportApps = command({
  name: 'apps:report', summary: 'Show one app or all of them', example: 'berth apps:report', input: ReportInput, http: { method: 'GET', path: '/reports/apps' }, reads: true,
  run: async (context, { app }) => {
    const board = await context.core.board.now();
    const rows = app ? [await context.core.app(app)] : Object.keys(board.names).sort().map((name) => board.apps[board.names[name]!]!);
    return rows.map((row) => info(context, board, row));
  },
  render: (answers, out) => {
    if (answers.length === 0) return out.warn('You haven\'t deployed any applications yet');
    for (const answer of answers) renderInfo(answer, out);
  },
});

const rename = command({
  name: 'apps:rename', summary: 'Rename an app; its default address changes with it', example: 'berth apps:rename blog journal', input: RenameInput, http: { method: 'POST', path: '/apps/:app/rename' },
  run: async (context, { app, to }): Promise<DeployAnswer & { from: string }> => {
    const row = await context.core.app(app);
    const { answer } = await change(context, 'apps:rename', row.id, (draft) => renameApp(draft, context.actor, row, to));
    return { app: row.id, name: to, from: app, deploy: answer };
  },
  render: ({ from, name }, out) => out.info(`Renaming ${from} to ${name}`),
});

const destroy = command({
  name: 'apps:destroy', summary: 'Destroy an app: its containers, images, repository, logs and secrets', example: 'berth apps:destroy blog', input: DestroyInput, http: { method: 'DELETE', path: '/apps/:app' },
  run: async (context, { app, confirm, storage: data }) => {
    const { core } = context;
    const row = await core.app(app);
    const { mounts, kept, generations } = (await core.repository.load(storage, storageStream(row.id))).state;
    const volumes = [...mounts.map(({ name }) => name), ...kept];
    if (!context.force) {
      if (confirm === undefined && context.origin === 'http') throw new Rejected('app.confirm', `This destroys app ${app} for good`, `send confirm=${app}`);
      const typed = confirm ?? await context.ask('> ', ['WARNING: Potentially Destructive Action', `This command will destroy app ${app}${data && volumes.length > 0 ? ` and the data of its volumes ${volumes.join(', ')}` : ''}.`, `To proceed, type "${app}"`]);
      if (typed.trim() !== app) throw new Rejected('app.confirm', `Confirmation did not match ${app}. Aborted.`);
    }
    await change(context, 'apps:destroy', row.id, async (draft) => {
      await draft.cancelAll(row.id, context.actor, 'the app was destroyed');
      await unlinkAll(draft, row.id);
      if (data) {
        const { state } = await draft.load(storage, storageStream(row.id));
        for (const { name } of state.mounts) await draft.decide(storage, storageStream(row.id), { type: 'Unmount', app: row.id, name });
        for (const name of volumes) await draft.decide(storage, storageStream(row.id), { type: 'Destroy', app: row.id, name });
      }
      await draft.decide(apps, appStream(row.id), { type: 'Destroy' });
      await draft.decide(claims, `name-${row.name}`, { type: 'Release', name: row.name, app: row.id });
      for (const domain of row.domains) await draft.decide(claims, `domain-${domain}`, { type: 'Release', name: domain, app: row.id });
    });
    await core.box.destroyKey(row.id);
    await core.sweep?.();
    return { app, destroyed: true, kept: data ? [] : volumes.map((name) => volumeName(core.config.instance, row.id, name, generations[name])) };
  },
  render: ({ app, kept }, out) => {
    out.info(`Destroying ${app} (including all add-ons)`);
    if (kept.length > 0) out.detail(`its data is kept; to destroy that, too: docker volume rm ${kept.join(' ')}`);
  },
});

export const appCommands = [forget(create), forget(list), forget(exists), forget(show), forget(reportApps), forget(rename), forget(destroy)];
