import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { Writable } from 'node:stream';
import { Transform } from 'class-transformer';
import { IsArray, IsIn, IsInt, IsOptional, IsString, Min } from 'class-validator';
import { never, Rejected } from '../../events/decider.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type Out, type StreamItem } from '../commands/command.js';
import { takeCheckpoint } from '../audit/checkpoint.js';
import { shown } from '../apps/app.decider.js';
import { bytes, seconds, table, when } from '../commands/words.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { BackupEvent } from '../../events/types/backup.events.js';
import { explain } from '../commands/explain.js';
import { ArchiveWriter, type Manifest } from './archive.js';
import { backups, BACKUPS } from './backup.decider.js';
import { follow, type Missing } from './bring-back.js';
import { check } from './check.js';
import { load } from './load.js';
import { settle } from './settle.js';
import { isFull, sync } from './stage.js';
import { take } from './take.js';
import { chooseVolumes, DURING, refuseFull, type During } from './volumes.js';
import { passphraseOf, verifyBackupCommand } from './verify.command.js';
import { telling, type Say } from './telling.js';

const number = Transform(({ value }) => (typeof value === 'string' ? Number(value) : value));

class BackupInput {
  @IsString() @Arg('where to write it: an absolute path on the server, or - for standard output') file!: string;
  @IsOptional() @Flag('what apps and deploys printed, too') logs?: boolean;
  @IsOptional() @Flag('encrypt it (age) with the passphrase that is piped in') passphraseStdin?: boolean;
  @IsOptional() @Flag('the data in volumes, too: all of them, or those that are named behind the file') volumes?: boolean;
  @IsOptional() @IsIn(DURING) @Flag('what apps do while their volumes are read: paused (unless said), stopped, running', { type: 'string', label: 'how' }) volumesWhile?: During;
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('volumes, or apps whose volumes', { label: 'volume', optional: true }) names?: string[];
}
class ListInput {
  @IsOptional() @number @IsInt() @Min(1) @Flag('how many of the newest', { type: 'number', short: 'n', label: 'number' }) n?: number;
}
class RestoreInput {
  @IsString() @Arg('the backup: an absolute path on the server') file!: string;
  @IsOptional() @Flag('its passphrase is piped in') passphraseStdin?: boolean;
  @IsOptional() @Flag('only read it and say whether it is sound') check?: boolean;
  @IsOptional() @Flag('do not wait until the apps serve') detach?: boolean;
  @IsOptional() @Flag('volumes that have something in them are replaced by the backup\'s') overwriteVolumes?: boolean;
  @IsOptional() @Flag('leave volumes as they are') withoutVolumes?: boolean;
}

/** what must stay free on a disk that is written to, bytes */
const SPARE = 256 << 20;

function absolute(file: string): string {
  if (!isAbsolute(file)) throw new Rejected('backup.path', `'${file}': the server writes and reads it, in a folder of its own: an absolute path is needed`, 'for example: "$PWD/berth.tar.gz"');
  return file;
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  if (found === null) return 0;
  if (!found.isDirectory()) return found.size;
  let sum = 0;
  for (const name of await readdir(path).catch(() => [])) sum += await sizeOf(join(path, name));
  return sum;
}

async function requireFree(folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < needed + SPARE) throw new Rejected('disk.full', `There is not enough room in ${folder}: ${bytes(free)} free, ${bytes(needed + SPARE)} needed`, 'make room, or use another disk');
}

/** What a backup may come to at most, before it is compressed. */
async function estimate(core: Core, logs: boolean): Promise<number> {
  const { root, store } = core.config;
  const log = store.startsWith('sqlite:') ? await sizeOf(store.slice('sqlite:'.length)) : (await core.store.head()) * 1000;
  return log + await sizeOf(join(root, 'repos')) + (logs ? await sizeOf(join(root, 'logs')) : 0);
}

/** Takes one, and records that it is there or why it is not; what is recorded last is not in it. */
async function* backup(context: CommandContext, input: BackupInput): AsyncGenerator<StreamItem> {
  const { core, signal } = context;
  const passphrase = await passphraseOf(context, input.passphraseStdin);
  if (input.names?.length && !input.volumes) throw new Rejected('backup.volumes', `'${shown(input.names[0]!)}' is one word too many`, 'volumes are named behind --volumes: berth backup FILE --volumes blog');
  const file = input.file === '-' ? null : await target(core, input, context.force);
  yield* telling(async (say) => {
    const started = performance.now();
    try {
      if ((await core.store.head()) > 0) await takeCheckpoint(core, context.actor, true);
      const { manifest, sha256, size } = file === null ? await piped(core, passphrase, input, signal, say) : await kept(core, file, passphrase, input, signal, say);
      await record(context, { type: 'BackupTaken', data: {
        to: input.file, bytes: size, sha256, position: manifest.head.position, hash: manifest.head.hash, encrypted: passphrase !== null, logs: manifest.logs,
        volumes: manifest.volumes.map(({ name }) => name), tookMs: Math.round(performance.now() - started),
      } });
      if (file !== null) say.info(`Backed up ${manifest.apps.length} ${manifest.apps.length === 1 ? 'app' : 'apps'} to ${file}: ${bytes(size)} in ${seconds(performance.now() - started)}, ${manifest.parts.length + 1} files read back and as they were written`);
      const clear = 'holds this server\'s keys in the clear, and with them every secret of the apps: keep it as you keep them, or encrypt it: --passphrase-stdin';
      if (passphrase === null) say.warn(`${file === null ? 'The archive' : 'It'} ${clear}`);
      else if (file !== null) say.detail('it is encrypted, and worth nothing without the passphrase, which is kept nowhere');
      if (file === null) say.warn(`${manifest.events} events were written, sha256 ${sha256}; what arrived can be checked: berth backup:verify FILE`);
      return 0;
    } catch (error) {
      const { code, message } = explain(error);
      // on a full disk this cannot be written either; what failed is said in any case
      await record(context, { type: 'BackupFailed', data: { to: input.file, code: signal.aborted ? 'backup.interrupted' : code, message: message.slice(0, 500) } })
        .catch((again: unknown) => say.warn(`That it failed could not be recorded: ${(again as Error).message}`));
      throw error;
    }
  });
}

const record = (context: Pick<CommandContext, 'core' | 'actor'>, event: BackupEvent): Promise<unknown> => change(context, 'backup', BACKUPS, (draft) => draft.decide(backups, BACKUPS, event));

/** A place that a backup can be written to, with room for it. @throws Rejected */
async function target(core: Core, input: BackupInput, force: boolean): Promise<string> {
  const file = absolute(input.file);
  const there = await stat(file).catch(() => null);
  if (there?.isDirectory()) throw new Rejected('backup.exists', `${file} is a folder`, `name a file in it: ${join(file, 'berth.tar.gz')}`);
  if (there && !force) throw new Rejected('backup.exists', `${file} is there already`, 'choose another name, or say --force');
  if (!(await stat(dirname(file)).catch(() => null))?.isDirectory()) throw new Rejected('backup.folder', `There is no folder ${dirname(file)}`, `make it: mkdir -p ${dirname(file)}`);
  await requireFree(dirname(file), await estimate(core, input.logs ?? false));
  return file;
}

interface Written { readonly manifest: Manifest; readonly sha256: string; readonly size: number }

/** To whoever asked; what arrives there is theirs to check. */
async function piped(core: Core, passphrase: string | null, input: BackupInput, signal: AbortSignal, say: Say): Promise<Written> {
  const whole = createHash('sha256');
  let size = 0;
  const sink = new Writable({ highWaterMark: 1 << 20, write: (piece: Buffer, _encoding, done) => {
    whole.update(piece);
    size += piece.length;
    say.bytes(piece).then(() => done(), done);
  } });
  const manifest = await written(core, sink, passphrase, input, signal, { info: () => {}, detail: () => {}, warn: say.warn });
  return { manifest, sha256: whole.digest('hex'), size };
}

/** Beside its place, read back, then renamed: whole, or not there. */
async function kept(core: Core, file: string, passphrase: string | null, input: BackupInput, signal: AbortSignal, say: Say): Promise<Written> {
  const part = `${file}.part-${randomBytes(4).toString('hex')}`;
  try {
    const manifest = await written(core, createWriteStream(part, { mode: 0o600, flags: 'wx' }), passphrase, input, signal, say);
    await sync(part);
    say.info('Reading it back');
    const { manifest: { head }, sha256, size } = await check(part, passphrase);
    if (head.hash !== manifest.head.hash) throw new Error('what was read back is not what was written');
    await rename(part, file);
    await sync(dirname(file));
    return { manifest, sha256, size };
  } catch (error) {
    if (isFull(error)) throw new Rejected('disk.full', `There is no room left in ${dirname(file)}`, 'make room, or use another disk; nothing was left there');
    throw error;
  } finally {
    await rm(part, { force: true });
  }
}

async function written(core: Core, sink: Writable, passphrase: string | null, input: BackupInput, signal: AbortSignal, say: Pick<Say, 'info' | 'detail' | 'warn'>) {
  const writer = await ArchiveWriter.open(sink, passphrase, signal, core.now());
  try {
    const volumes = input.volumes ? await chooseVolumes(core, input.names ?? []) : [];
    return await take(core, writer, { logs: input.logs ?? false, volumes, during: input.volumesWhile ?? 'paused', signal }, say);
  } catch (error) {
    writer.abort();
    throw error;
  }
}

async function* restore(context: CommandContext, input: RestoreInput): AsyncGenerator<StreamItem> {
  const { core, signal } = context;
  const file = absolute(input.file);
  const passphrase = await passphraseOf(context, input.passphraseStdin);
  if (!core.alone || !core.engine || !core.git) throw new Rejected('restore.where', 'This process cannot restore anything');
  const alone = core.alone;
  yield* telling(async (say) => {
    const started = performance.now();
    const checked = await check(file, passphrase);
    const { manifest } = checked;
    say.info(`The backup of ${manifest.from.host}, ${when(Date.parse(manifest.takenAt))} UTC, is sound: ${manifest.parts.length} files, ${manifest.events} events, ${manifest.apps.length} apps`);
    if (input.check) return 0;
    if (checked.unknown.size > 0) throw new Rejected('backup.version', `This backup was made by a newer Berth (${manifest.from.berth}): its log has events that this one cannot read (${[...checked.unknown].slice(0, 5).join(', ')})`, 'install that version or a newer one first; nothing was changed');
    const before = await core.board.now();
    const here = Object.keys(before.names).sort();
    if (here.length > 0 && !context.force) {
      throw new Rejected('restore.not-empty', `There is something here already: ${here.length} ${here.length === 1 ? 'app' : 'apps'} (${here.slice(0, 5).join(', ')}${here.length > 5 ? ', …' : ''})`, '--force puts the backup in their place: apps that it does not have are destroyed');
    }
    const volumes = !input.withoutVolumes && manifest.volumes.length > 0;
    if (volumes && !input.overwriteVolumes) await refuseFull(core, manifest.volumes);
    await requireFree(core.config.root, manifest.parts.reduce((sum, { name, size }) => sum + (name.startsWith('volumes/') ? 0 : size), 0) * 2);
    await core.probes?.engine();
    let begun = false;
    const apps = await alone(async () => {
      await load(core, { path: file, passphrase, checked, volumes }, context.actor, signal, say);
      begun = true;
      return (await settle(core, say)) ?? [];
    }).catch((error: unknown) => {
      if (!begun && isFull(error)) throw new Rejected('disk.full', `There is no room left for it: ${(error as Error).message}`, 'make room in the server\'s data folder, or where the engine keeps its volumes; nothing was changed');
      if (begun) say.warn('The log is the backup\'s already: what is left to do is done as soon as it can be, by itself, also after a restart: berth backup:list');
      throw error;
    });
    const asked = apps.flatMap(({ app, name, deploy }) => (deploy === null ? [] : [{ app, name, deploy }]));
    const troubles = apps.flatMap(({ name, trouble }): Missing[] => (trouble ? [{ name, ...trouble }] : []));
    const board = await core.board.now();
    if (board.server.domains.length === 0 && manifest.from.domain !== core.config.domain) say.warn(`Apps were at <app>.${manifest.from.domain} there and are at <app>.${core.config.domain} here; to change that: berth domains:set-global ${manifest.from.domain}`);
    if (asked.length > 0) say.info(`Bringing back ${asked.map(({ name }) => name).join(', ')}`);
    for (const { name, why } of troubles) say.warn(`${name} does not come back by itself: ${why}`);
    const later = input.detach ? [] : await follow(core, asked, signal, say);
    const all = [...troubles, ...later];
    if (all.length === 0) say.info(input.detach ? 'Restored; the deploys go on: berth deploys <app>' : `Restored in ${seconds(performance.now() - started)}`);
    else {
      say.warn(`Restored in ${seconds(performance.now() - started)}, but for ${all.length} of ${manifest.apps.length} apps. What to do:`);
      for (const { name, todo } of all) say.warn(`  ${name}: ${todo}`);
    }
    return all.length === 0 ? 0 : 1;
  });
}

function render({ event, data }: StreamItem, out: Out): number | undefined {
  switch (event) {
    case 'info': out.info(String(data)); return undefined;
    case 'detail': out.detail(String(data)); return undefined;
    case 'warn': out.warn(String(data)); return undefined;
    case 'bytes':
      if (out.columns > 0) throw new Rejected('backup.terminal', 'A backup is nothing for a terminal', 'berth backup - > berth.tar.gz');
      out.bytes(data as Buffer);
      return undefined;
    default: return Number(data);
  }
}

const backupCommand = command({
  name: 'backup', summary: 'Write log, repositories and keys into one archive, while everything goes on', example: 'berth backup /var/backups/berth.tar.gz.age --passphrase-stdin < passphrase.txt', input: BackupInput, http: { method: 'POST', path: '/backups' }, local: true,
  stream: backup, renderItem: (item, out) => render(item, out),
});
const restoreCommand = command({
  name: 'restore', summary: 'Take a backup on an empty machine and bring every app back serving', example: 'berth restore /var/backups/berth.tar.gz.age --passphrase-stdin < passphrase.txt', input: RestoreInput, http: { method: 'POST', path: '/restores' }, local: true,
  stream: restore, renderItem: (item, out) => render(item, out),
});

interface Entry { readonly at: string; readonly what: BackupEvent['type']; readonly by: string; readonly data: BackupEvent['data'] }

const list = command({
  name: 'backup:list', summary: 'Backups that were taken, that failed, and restores, the newest first', example: 'berth backup:list', input: ListInput, http: { method: 'GET', path: '/backups' }, reads: true,
  run: async ({ core }, { n = 20 }): Promise<Entry[]> => (await core.store.readStream(BACKUPS)).slice(-n).reverse().map(({ at, type, meta, data }) => ({ at: new Date(at).toISOString(), what: type as BackupEvent['type'], by: meta.actor, data: data as BackupEvent['data'] })),
  render: (entries, out) => {
    if (entries.length === 0) return out.warn('No backup was ever taken: berth backup /var/backups/berth.tar.gz');
    for (const line of table(['AT (UTC)', 'WHAT', 'BY', 'DETAIL'], entries.map((e) => [when(Date.parse(e.at)), e.what, e.by, said({ type: e.what, data: e.data } as BackupEvent)]))) out.line(line);
  },
});

function said(event: BackupEvent): string {
  switch (event.type) {
    case 'BackupTaken': return `${event.data.to}, ${bytes(event.data.bytes)}, up to position ${event.data.position}, sha256 ${event.data.sha256.slice(0, 16)}…`;
    case 'BackupFailed': return `${event.data.to}: ${event.data.message} (${event.data.code})`;
    case 'RestoreBegun': return `from ${event.data.from}, taken at ${event.data.takenAt}, up to position ${event.data.position}`;
    case 'AppRestored': return `${event.data.name}: ${event.data.trouble ? `${event.data.trouble.why}: ${event.data.trouble.todo}` : event.data.deploy === null ? 'nothing to do' : `deploy ${event.data.deploy}`}`;
    case 'RestoreEnded': return `${event.data.apps} apps${event.data.troubles > 0 ? `, ${event.data.troubles} do not come back by themselves` : ''}`;
    default: return never(event);
  }
}

export const backupCommands = [forget(backupCommand), forget(verifyBackupCommand), forget(list), forget(restoreCommand)];
