import { IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { storageStream } from '../apps/app-context.js';
import { AppInput } from '../apps/apps.commands.js';
import { Arg } from '../commands/command.js';
import { storage } from '../storage/storage.decider.js';
import { copyCommands } from './copy.commands.js';

class VolumeInput extends AppInput {
  @IsString() @Arg('the volume\'s name', { label: 'name' }) name!: string;
}

/** Backups of apps' volumes. */
export const storageCopyCommands = copyCommands({
  prefix: 'storage', input: VolumeInput, path: '/apps/:app/storage/:name', example: 'blog data', what: 'a volume', pauses: true,
  find: async (core, { app, name }) => {
    const row = await core.app(app);
    const { mounts, kept } = (await core.repository.load(storage, storageStream(row.id))).state;
    if (!mounts.some((mount) => mount.name === name) && !kept.includes(name)) throw new Rejected('storage.missing', `There is no volume ${name.slice(0, 60)}`, `see: berth storage:list ${app}`);
    return { subject: { type: 'volume', app: row.id, name }, name: `volume ${app}/${name}`, seal: row.id };
  },
});
