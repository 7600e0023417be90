import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { storageStream } from '../apps/app-context.js';
import { Arg, command, Flag, forget, type DeployAnswer } from '../commands/command.js';
import { backupStanding } from '../copies/standing.js';
import { groupOf } from '../copies/subject.js';
import { report } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { parseMount, storage, volumeName } from './storage.decider.js';

class MountInput extends AppInput {
  @IsString() @Arg('a volume\'s name, and where the app\'s containers have it', { label: 'name:path' }) mount!: string;
}
class UnmountInput extends AppInput {
  @IsString() @Arg('the volume\'s name', { label: 'name' }) name!: string;
}
class DestroyInput extends UnmountInput {
  @IsOptional() @IsString() @Flag('the volume\'s name once more, instead of the question', { type: 'string', label: 'name' }) confirm?: string;
}
class ReportInput {
  @IsOptional() @IsString() @Arg('the app; all apps when there is none', { optional: true }) app?: string;
}

interface Entry { readonly name: string; /** null: kept, and mounted nowhere */ readonly path: string | null; readonly volume: string; readonly backup: string }

async function entriesOf(core: Core, row: Pick<AppRow, 'id'>): Promise<Entry[]> {
  const { mounts, kept, generations } = (await core.repository.load(storage, storageStream(row.id))).state;
  const of = async (name: string, path: string | null): Promise<Entry> => ({ name, path, volume: volumeName(core.config.instance, row.id, name, generations[name]), backup: await backupStanding(core, groupOf({ type: 'volume', app: row.id, name })) });
  return Promise.all([...mounts.map(({ name, path }) => of(name, path)), ...kept.map((name) => of(name, null))]);
}

const mount = command({
  name: 'storage:mount', summary: 'Mount a volume in all containers of an app; made when it is not there yet', example: 'berth storage:mount blog data:/app/data', input: MountInput, http: { method: 'POST', path: '/apps/:app/storage' },
  run: async (context, input): Promise<DeployAnswer & { mount: string }> => {
    const row = await context.core.app(input.app);
    const { name, path } = parseMount(input.mount);
    const { answer } = await change(context, 'storage:mount', row.id, async (draft) => {
      const events = await draft.decide(storage, storageStream(row.id), { type: 'Mount', app: row.id, name, path });
      return events.length > 0 ? draft.deploy(row.id, 'config', context.actor) : null;
    });
    return { app: row.id, name: input.app, deploy: answer, mount: `${name} at ${path}` };
  },
  render: ({ name, mount: what, deploy }, out) => {
    out.info(`Mounting ${what} in ${name}`);
    if (deploy === null) out.detail('the next deploy has it');
  },
});

const unmount = command({
  name: 'storage:unmount', summary: 'Mount a volume no more; its data is kept', example: 'berth storage:unmount blog data', input: UnmountInput, http: { method: 'DELETE', path: '/apps/:app/storage/:name' },
  run: async (context, { app, name: word }): Promise<DeployAnswer & { volume: string }> => {
    const row = await context.core.app(app);
    const name = word.split(':')[0]!; // as it was mounted
    const { answer } = await change(context, 'storage:unmount', row.id, async (draft) => {
      await draft.decide(storage, storageStream(row.id), { type: 'Unmount', app: row.id, name });
      return draft.deploy(row.id, 'config', context.actor);
    });
    return { app: row.id, name: app, deploy: answer, volume: name };
  },
  render: ({ name, volume }, out) => {
    out.info(`Unmounting ${volume} from ${name}`);
    out.detail(`its data is kept; to destroy it: berth storage:destroy ${name} ${volume}`);
  },
});

const destroy = command({
  name: 'storage:destroy', summary: 'Destroy the data of a volume that is not mounted any more', example: 'berth storage:destroy blog data', input: DestroyInput, http: { method: 'DELETE', path: '/apps/:app/storage/:name/data' },
  run: async (context, { app, name, confirm }) => {
    const { core } = context;
    const row = await core.app(app);
    if (!context.force) {
      if (confirm === undefined && context.origin === 'http') throw new Rejected('storage.confirm', `This destroys the data of ${name} for good`, `send confirm=${name}`);
      const typed = confirm ?? await context.ask('> ', ['WARNING: Potentially Destructive Action', `This command will destroy the data of volume ${name} of app ${app}.`, `To proceed, type "${name}"`]);
      if (typed.trim() !== name) throw new Rejected('storage.confirm', `Confirmation did not match ${name}. Aborted.`);
    }
    await change(context, 'storage:destroy', row.id, (draft) => draft.decide(storage, storageStream(row.id), { type: 'Destroy', app: row.id, name }));
    await core.sweep?.();
    return { app, name };
  },
  render: ({ app, name }, out) => out.info(`Destroying volume ${name} of ${app}`),
});

const list = command({
  name: 'storage:list', summary: 'List an app\'s volumes', example: 'berth storage:list blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/storage' }, reads: true,
  run: async ({ core }, { app }) => ({ app, volumes: await entriesOf(core, await core.app(app)) }),
  render: ({ app, volumes }, out) => {
    if (!out.quiet) out.section(`${app} volumes`);
    if (volumes.length === 0) return out.detail(`none: berth storage:mount ${app} data:/app/data`);
    for (const { name, path } of volumes) out.detail(path === null ? `${name} (not mounted)` : `${name}:${path}`);
  },
});

const reports = command({
  name: 'storage:report', summary: 'Show the volumes of one app or all of them', example: 'berth storage:report blog', input: ReportInput, http: { method: 'GET', path: '/reports/storage' }, reads: true,
  run: async ({ core }, { app }) => {
    const board = await core.board.now();
    const rows = app ? [await core.app(app)] : Object.keys(board.names).sort().map((name) => board.apps[board.names[name]!]!);
    return Promise.all(rows.map(async (row) => ({ app: row.name, volumes: await entriesOf(core, row) })));
  },
  render: (answers, out) => {
    for (const { app, volumes } of answers) {
      const of = (those: readonly Entry[]): string => those.map(({ name, path, volume }) => `${name}${path === null ? '' : `:${path}`} (${volume})`).join(' ') || 'none';
      for (const line of report(`${app} storage information`, { 'storage mounts': of(volumes.filter((v) => v.path !== null)), 'storage kept': of(volumes.filter((v) => v.path === null)), ...Object.fromEntries(volumes.map(({ name, backup }) => [`storage backup ${name}`, backup])) })) out.line(line);
    }
  },
});

export const storageCommands = [forget(mount), forget(unmount), forget(destroy), forget(list), forget(reports)];
