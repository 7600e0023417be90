import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { IsIn, IsOptional, IsString } from 'class-validator';
import { ARCHIVE_TYPES, archiveFiles, inspectArchive, type ArchiveType } from '../../drivers/archive/archive.js';
import { archiveUrl, download, withoutQuery } from '../../drivers/archive/download.js';
import type { ArchiveLimits } from '../../drivers/archive/members.js';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { parseSize } from '../apps/app-context.js';
import { Arg, command, Flag, type CommandContext, type DeployAnswer } from '../commands/command.js';
import { bytes } from '../commands/words.js';
import type { Core } from '../core.js';
import type { AppRow } from '../read/board.projection.js';
import { requireRoom } from '../server/room.js';
import { settleBranch } from './branches.js';
import { authorOf, deployCommit, sourcesOf } from './deploy-source.js';

class FromArchiveInput extends AppInput {
  @IsOptional() @IsIn(ARCHIVE_TYPES) @Flag(`what it is: ${ARCHIVE_TYPES.join(', ')}; seen by itself when it is not said`, { type: 'string', label: 'type' }) archiveType?: ArchiveType;
  @IsOptional() @Flag('do not wait for the end of the deploy') detach?: boolean;
  @IsString() @Arg('its https URL, or - for standard input', { label: 'url' }) url!: string;
  @IsOptional() @IsString() @Arg('whose commit it becomes; whoever asks when it is not said', { optional: true, label: 'author name' }) authorName?: string;
  @IsOptional() @IsString() @Arg('their mail address', { optional: true, label: 'author mail' }) authorMail?: string;
}

const LIMITS: ArchiveLimits = { bytes: 1024 ** 3, files: 10_000 };

export const limitsOf = ({ settings }: AppRow): ArchiveLimits => ({ bytes: parseSize(settings['archive-max-size']) || LIMITS.bytes, files: Number(settings['archive-max-files'] ?? LIMITS.files) });

/** Runs `work` on a file with everything that comes; the file goes with it. */
export async function spooled<T>(core: Core, pieces: AsyncIterable<Buffer>, limit: number, signal: AbortSignal, work: (file: string) => Promise<T>): Promise<T> {
  const folder = join(core.config.root, 'incoming', randomBytes(8).toString('hex'));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    const file = join(folder, 'archive');
    let size = 0;
    await pipeline(pieces, async function* (source: AsyncIterable<Buffer>) {
      for await (const piece of source) {
        size += piece.length;
        if (size > limit) throw new Rejected('archive.size', `The archive is larger than ${bytes(limit)}`, 'leave large files out, or raise it: berth git:set <app> archive-max-size <size>');
        yield piece;
      }
    }, createWriteStream(file, { mode: 0o600 }), { signal }).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOSPC' ? new Rejected('disk.full', `There is no room for the archive on the disk of ${core.config.root}`, 'see: berth doctor') : error;
    });
    if (size === 0) throw new Rejected('archive.empty', 'Nothing came: the archive is empty', 'for example: git archive HEAD | berth git:from-archive <app> -');
    return await work(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Taken extends DeployAnswer { readonly commit: string; readonly files: number; readonly bytes: number; readonly left: number; readonly changed: boolean }

async function fromArchive(context: CommandContext, input: FromArchiveInput): Promise<Taken> {
  const { core, signal } = context;
  const row = await core.app(input.app);
  const { commits } = sourcesOf(core);
  const author = authorOf(context, input.authorName, input.authorMail);
  const url = input.url === '-' ? null : archiveUrl(input.url);
  const from = url === null ? 'standard input' : withoutQuery(url);
  const limits = limitsOf(row);
  await requireRoom(core);
  return spooled(core, url === null ? context.input() : download(url, signal), limits.bytes, signal, async (file) => {
    const found = await inspectArchive(file, input.archiveType ?? null, limits, signal);
    const repo = await core.git!.init(row.id);
    await settleBranch(core, row.id);
    const branch = row.branch ?? 'main';
    const { sha, changed } = await commits.commit(repo, archiveFiles(file, found, limits, signal), {
      parent: await commits.branch(repo, branch), author, committer: authorOf(context), message: `${found.type} from ${from}\n`, at: core.now(),
    }, signal);
    const deploy = await deployCommit(context, 'git:from-archive', row, { sha, branch, origin: { type: 'archive', from } });
    return { app: row.id, name: row.name, deploy, commit: sha, files: found.files, bytes: found.bytes, left: found.left, changed };
  });
}

export const fromArchiveCommand = command({
  name: 'git:from-archive', summary: 'Make an archive a commit of the app\'s repository, and deploy it', example: 'berth git:from-archive blog - < blog.tar.gz', input: FromArchiveInput,
  http: { method: 'POST', path: '/apps/:app/archives' }, piped: 'the archive, when `url` is `-`',
  run: fromArchive,
  render: (taken, out) => {
    out.info(taken.changed ? `Commit ${taken.commit.slice(0, 7)}: ${taken.files} ${taken.files === 1 ? 'file' : 'files'}, ${bytes(taken.bytes)}` : `Nothing differs from commit ${taken.commit.slice(0, 7)}, which is deployed again`);
    if (taken.left > 0) out.detail(`left out: ${taken.left} members below .git`);
  },
});
