import { resolve } from 'node:path';
import { IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { Arg, command, Flag, type OfflineContext } from '../commands/command.js';
import { bytes, when } from '../commands/words.js';
import { check } from './check.js';

class VerifyBackupInput {
  @IsString() @Arg('the backup') file!: string;
  @IsOptional() @Flag('its passphrase is piped in') passphraseStdin?: boolean;
}

/** The passphrase that is piped in, where one is `wanted`. @throws Rejected when it is empty */
export async function passphraseOf(context: OfflineContext, wanted: boolean | undefined): Promise<string | null> {
  if (!wanted) return null;
  const text = (await context.stdin(4096)).toString('utf8').replace(/\r?\n$/, '');
  if (text === '') throw new Rejected('backup.passphrase', 'The passphrase is empty', 'for example: … --passphrase-stdin < passphrase.txt');
  return text;
}

/** What a sound backup holds. */
interface Sound {
  readonly file: string; readonly sha256: string; readonly bytes: number; readonly takenAt: string; readonly host: string; readonly berth: string; readonly encrypted: boolean;
  readonly files: number; readonly events: number; readonly head: { readonly position: number; readonly hash: string };
  readonly apps: readonly string[]; readonly volumes: readonly { readonly name: string; readonly bytes: number }[]; readonly logs: boolean;
}

export const verifyBackupCommand = command({
  name: 'backup:verify', summary: 'Read a backup back whole: every checksum, every event; needs no running Berth', example: 'berth backup:verify /var/backups/berth.tar.gz.age --passphrase-stdin < passphrase.txt', input: VerifyBackupInput, http: { method: 'GET', path: '/backups/verify' }, reads: true, local: true,
  offline: () => true,
  run: async (context, { file, passphraseStdin }): Promise<Sound> => {
    const passphrase = await passphraseOf(context, passphraseStdin);
    const { manifest, sha256, size } = await check(resolve(file), passphrase);
    return {
      file, sha256, bytes: size, takenAt: manifest.takenAt, host: manifest.from.host, berth: manifest.from.berth, encrypted: passphrase !== null,
      files: manifest.parts.length + 1, events: manifest.events, head: manifest.head, apps: manifest.apps.map((app) => app.name), volumes: manifest.volumes.map(({ name, bytes: size_ }) => ({ name, bytes: size_ })), logs: manifest.logs,
    };
  },
  render: (sound, out) => {
    out.info(`The backup of ${sound.host}, ${when(Date.parse(sound.takenAt))} UTC, is sound: ${sound.files} files are as they were written`);
    out.detail(`${sound.events} events, the chain ends in ${sound.head.hash}`);
    out.detail(`apps: ${sound.apps.join(', ') || 'none'}`);
    if (sound.volumes.length > 0) out.detail(`volumes: ${sound.volumes.map(({ name, bytes: size }) => `${name} (${bytes(size)})`).join(', ')}`);
    out.detail(`sha256 ${sound.sha256}, ${bytes(sound.bytes)}`);
  },
});
