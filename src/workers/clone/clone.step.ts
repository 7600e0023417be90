import { mkdir, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../../config.js';
import { GitRefusal, type ArchivePart, type CommitRef, type Git, type GitProblem, type Submodule } from '../../drivers/git/git.port.js';
import { resolveSubmodule } from '../../drivers/git/submodule-url.js';
import type { Fault } from '../../events/types/deploy.events.js';
import { StepFailure, type StepLog, type StepWork } from '../../events/step.js';

export interface CloneParts { readonly git: Git; readonly config: Pick<Config, 'root'> }

/** Submodules of submodules, and all of them together. */
const MAX_DEPTH = 5;
const MAX_SUBMODULES = 100;

/** The folder of an attempt. Each has its own: one that stood still must not take away what a later one made. */
const folderOf = (job: string, attempt: number): string => (attempt === 1 ? job : `${job}.a${attempt}`);

/** The pushed commit as one tar archive, `<root>/sources/<job>/source.tar`. */
export function cloneStep({ git, config }: CloneParts): StepWork<'clone'> {
  return async ({ input, job, attempt, log, signal }) => {
    if (!/^[\w-][\w.-]*$/.test(job)) throw new Error(`${job} cannot be the name of a folder`);
    const folder = join(config.root, 'sources', folderOf(job, attempt));
    const source = join(folder, 'source.tar');
    const pushed: CommitRef = { repo: input.repo, sha: input.sha, quarantine: input.quarantine };
    const { remote } = input;
    try {
      if (remote && !(await git.exists(pushed))) {
        log.info(`Fetching ${remote.ref} from ${remote.url}`);
        await timed(log, 'git fetch', () => git.fetchCommit(input.repo, remote.url, input.sha, signal), remote.url);
      }
      const info = await timed(log, 'git log', () => git.commitInfo(pushed));
      const commit = input.folder === undefined ? pushed : await timed(log, 'git commit-tree', () => git.folder(pushed, input.folder!), input.folder);
      const links = await timed(log, 'git ls-tree', () => submodulesOf(git, pushed, input.folder));
      log.info(`Cloning ${input.name} at ${info.sha.slice(0, 7)} ("${shorten(info.subject)}")${input.folder === undefined ? '' : `, folder ${input.folder}`}`);
      const parts = links.length === 0 ? [] : await submodules(git, { ...commit, path: '', links, base: remote?.url ?? null }, log, signal);
      for (let earlier = 1; earlier <= attempt; earlier += 1) await rm(join(config.root, 'sources', folderOf(job, earlier)), { recursive: true, force: true });
      await mkdir(folder, { recursive: true, mode: 0o700 });
      let archive = await timed(log, 'git archive', () => git.archive(commit, parts, `${source}.part`, signal));
      if (archive.lfs > 0 && remote) {
        log.detail(`Fetching ${archive.lfs} ${archive.lfs === 1 ? 'file' : 'files'} that Git LFS keeps`);
        await timed(log, 'git lfs fetch', () => git.fetchLfs(input.repo, remote.url, input.sha, signal), remote.url);
        archive = await timed(log, 'git archive', () => git.archive(commit, parts, `${source}.part`, signal, true));
      }
      if (archive.files === 0) throw new StepFailure('clone.empty', 'the pushed commit holds no files', 'commit your app, then push again');
      await rename(`${source}.part`, source);
      log.detail(`${archive.files.toLocaleString('en')} ${archive.files === 1 ? 'file' : 'files'}, ${size(archive.bytes)}`);
      if (archive.lfs > 0) log.warn(`${archive.lfs} ${archive.lfs === 1 ? 'file is a Git LFS pointer' : 'files are Git LFS pointers'}: the app gets the pointers, not the files`);
      return {
        source, bytes: archive.bytes, files: archive.files, sha: info.sha, subject: info.subject, author: info.author,
        digest: archive.sha256, submodules: parts.map(({ path, sha }) => `${path}@${sha.slice(0, 12)}`),
      };
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw await failure(error, config.root);
    }
  };
}

/** A commit at its place in the archive, and the commits that stand in its tree. */
interface Level extends ArchivePart { readonly links: readonly Submodule[]; /** whence it came: what its relative addresses are relative to */ readonly base: string | null }

/** The submodules of a commit, or of a folder of it as they stand below that folder; `.gitmodules` is at the top in either case. */
async function submodulesOf(git: Git, commit: CommitRef, folder: string | undefined): Promise<Submodule[]> {
  const all = await git.submodules(commit);
  if (folder === undefined) return all;
  const prefix = `${folder.split('/').filter((part) => part !== '' && part !== '.').join('/')}/`;
  return all.flatMap((found) => (found.path.startsWith(prefix) ? [{ ...found, path: found.path.slice(prefix.length) }] : []));
}

/** Fetches what `.gitmodules` names, level by level. */
async function submodules(git: Git, top: Level, log: StepLog, signal: AbortSignal): Promise<ArchivePart[]> {
  const parts: ArchivePart[] = [];
  let level: Level[] = [top];
  for (let depth = 1; level.length > 0; depth += 1) {
    const below: Level[] = [];
    for (const above of level) {
      for (const found of above.links) {
        const path = above.path === '' ? found.path : `${above.path}/${found.path}`;
        if (found.url === null) {
          log.warn(`${path} is a repository of its own that .gitmodules does not name: its folder stays empty`);
          continue;
        }
        if (depth > MAX_DEPTH || parts.length >= MAX_SUBMODULES) {
          throw new StepFailure('clone.submodule', `there are more than ${MAX_SUBMODULES} submodules, or they are nested more than ${MAX_DEPTH} deep`, 'put their files into the repository');
        }
        const commit = await timed(log, 'git fetch', () => git.fetchSubmodule({ ...found, path }, signal, above.base), path);
        log.detail(`Submodule ${path} at ${found.sha.slice(0, 7)}`);
        const part = { ...commit, path };
        parts.push(part);
        below.push({ ...part, base: resolveSubmodule(found.url, above.base), links: await timed(log, 'git ls-tree', () => git.submodules(part), path) });
      }
    }
    level = below;
  }
  return parts;
}

const FATES: Readonly<Record<GitProblem, readonly [code: string, fault: Fault]>> = {
  gone: ['clone.commit-gone', 'user'],
  limit: ['clone.too-large', 'user'],
  path: ['clone.path', 'user'],
  submodule: ['clone.submodule', 'user'],
  remote: ['clone.remote', 'user'],
  folder: ['clone.folder', 'user'],
  lfs: ['clone.lfs', 'user'],
  network: ['clone.unreached', 'machine'],
};

async function failure(error: unknown, root: string): Promise<unknown> {
  if (error instanceof GitRefusal) {
    const [code, fault] = FATES[error.problem];
    if (error.problem === 'gone') return new StepFailure(code, 'the pushed commit is no longer there', 'push again', fault, { cause: error });
    return new StepFailure(code, error.message, error.hint, fault, { cause: error });
  }
  if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
    const left = await statfs(root).then(({ bavail, bsize, blocks }) => `: ${size(bavail * bsize)} of ${size(blocks * bsize)} are left`, () => '');
    return new StepFailure('clone.disk-full', `no space for the source on the disk of ${root}${left}`, 'free some space; the step is tried again by itself', 'machine', { cause: error });
  }
  return error;
}

async function timed<T>(log: StepLog, name: string, work: () => Promise<T>, detail?: string): Promise<T> {
  const started = performance.now();
  try {
    return await work();
  } finally {
    log.call(name, Math.round(performance.now() - started), detail);
  }
}

function shorten(subject: string): string {
  return [...subject].length > 60 ? `${[...subject].slice(0, 59).join('')}…` : subject;
}

/** `315 MB`, `1.5 kB`: decimal, as git and Docker print it. */
function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
