import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { chown, mkdir, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { finished, pipeline } from 'node:stream/promises';
import { simpleGit, type SimpleGit } from 'simple-git';
import { withAccess, type GitAccess } from './git.access.js';
import { GitRefusal, type Archive, type ArchivePart, type CommitInfo, type CommitRef, type Git, type RemoteRef, type Submodule } from './git.port.js';
import { gitEnvironment, spawnGit, type GitProcess } from './git.process.js';
import { readSubmoduleUrl, resolveSubmodule, withoutPassword } from './submodule-url.js';
import { TarFilter, TarTally, type TarLimits } from './tar-filter.js';

export interface GitOptions {
  /** Berth's data; `<root>/git/` keeps submodules, their credentials (`netrc`, `id_ed25519`) and git's home */
  readonly root: string;
  readonly gitUser: { readonly uid: number; readonly gid: number } | null;
  readonly limits?: TarLimits;
  /** what other servers want to see; asked for each fetch */
  readonly access?: () => Promise<GitAccess>;
  /** tests only: submodules from `file://` */
  readonly allowFile?: boolean;
}

const LIMITS: TarLimits = { bytes: 2 * 1024 ** 3, files: 200_000 };
const SHA = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;
const UNREACHED = /could not resolve|(couldn't|could not|failed to) connect|connection (timed out|refused|reset|closed)|timed out|no route to host|network is unreachable|early eof|the requested url returned error: 5\d\d/i;

const REF_NAME = /^[A-Za-z0-9][A-Za-z0-9._/+@-]{0,200}$/;
/** longest that a remote may take to name its branches, and to give a commit, ms */
const ASK_MS = 30_000;
const FETCH_MS = 10 * 60_000;

const settingsFor = (protocol: string): string[] => ['protocol.allow=never', `protocol.${protocol}.allow=always`, 'gc.auto=0', 'credential.helper=', 'http.lowSpeedLimit=1000', 'http.lowSpeedTime=60', 'fetch.fsckObjects=false'].flatMap((setting) => ['-c', setting]);

/** git by argument arrays: simple-git where a short text comes back, plain processes for streams. */
export class GitDriver implements Git {
  private readonly home: string;

  constructor(private readonly options: GitOptions) {
    this.home = join(options.root, 'git', 'home');
  }

  async initBare(path: string): Promise<void> {
    await this.own(path);
    await this.short(path, null).raw('init', '--bare', '--quiet', '--initial-branch=main', '--template=', '.').catch(asGit);
  }

  async exists(commit: CommitRef): Promise<boolean> {
    try {
      await this.commitInfo(commit);
      return true;
    } catch (error) {
      if (error instanceof GitRefusal && error.problem === 'gone') return false;
      throw error;
    }
  }

  async resolve(repo: string, prefix: string): Promise<string | null> {
    if (!/^[0-9a-f]{4,64}$/.test(prefix)) return null;
    const sha = await this.short(repo, null).raw('rev-parse', '--verify', '--quiet', `${prefix}^{commit}`).catch(() => '');
    return SHA.test(sha.trim()) ? sha.trim() : null;
  }

  async commitInfo({ repo, sha, quarantine }: CommitRef): Promise<CommitInfo> {
    requireSha(sha);
    const git = this.short(repo, await objectsBeside(repo, quarantine));
    const text = await git.raw('log', '-1', '--no-show-signature', '--no-notes', '--format=%H%x00%s%x00%aN <%aE>', `${sha}^{commit}`, '--')
      .catch((error: Error) => { throw gone(error.message, sha) ?? asError(error); });
    const [found = '', subject = '', author = ''] = text.trimEnd().split('\0');
    return { sha: found, subject: printable(subject), author: printable(author) };
  }

  async submodules(commit: CommitRef): Promise<Submodule[]> {
    const links = await this.gitlinks(commit);
    if (links.length === 0) return [];
    const urls = await this.gitmodules(commit);
    return links.map(({ path, sha }) => ({ path, sha, url: urls.get(path) ?? null }));
  }

  async fetchSubmodule({ path, sha, url: written }: Submodule, signal: AbortSignal, base: string | null = null): Promise<CommitRef> {
    requireSha(sha);
    const url = written === null ? null : resolveSubmodule(written, base);
    const what = `the submodule ${JSON.stringify(path)}`;
    const checked = readSubmoduleUrl(url ?? '', this.options.allowFile === true);
    if (!checked.ok || url === null) {
      throw new GitRefusal('submodule', `${what} (${JSON.stringify(withoutPassword(url ?? ''))}) is not fetched: ${checked.ok ? 'it has no address' : checked.why}`,
        'give it an https:// or ssh:// address in .gitmodules, or put its files into the repository');
    }
    const repo = join(this.options.root, 'git', 'modules', `${createHash('sha256').update(url).digest('hex').slice(0, 24)}.git`);
    await this.initBare(repo);
    const commit: CommitRef = { repo, sha, quarantine: null };
    if (await this.exists(commit)) return commit;
    // most servers give a commit by its id; others only what a branch or a tag leads to
    const only = await this.fetch(repo, url, checked.protocol, ['--depth=1'], [sha], signal);
    if (only.code === 0 && await this.exists(commit)) return commit;
    const all = UNREACHED.test(only.stderr) ? only : await this.fetch(repo, url, checked.protocol, [], ['+refs/heads/*:refs/berth/heads/*', '+refs/tags/*:refs/berth/tags/*'], signal);
    if (all.code === 0 && await this.exists(commit)) return commit;
    if (all.code === 0) throw new GitRefusal('submodule', `${what} (${withoutPassword(url)}) has no commit ${sha.slice(0, 12)}`, 'push the submodule first');
    throw notFetched(what, url, all, 'submodule');
  }

  async remoteRef(url: string, ref: string | null, signal: AbortSignal): Promise<RemoteRef> {
    const protocol = this.remoteProtocol(url);
    if (ref !== null && (!REF_NAME.test(ref) || ref.includes('..') || ref.endsWith('.lock') || ref.endsWith('/'))) throw new GitRefusal('remote', `${JSON.stringify(ref).slice(0, 100)} is not the name of a branch or a tag, nor a commit id`, 'for example: main, v1.2, or a full commit id');
    if (ref !== null && SHA.test(ref)) return { ref, sha: ref };
    const wanted = ref ?? 'HEAD';
    const limit = AbortSignal.timeout(ASK_MS);
    const result = await this.reach(url, limit, () => this.outside(['ls-remote', '--', url, wanted, `${wanted}^{}`], protocol, AbortSignal.any([signal, limit])), ASK_MS);
    if (result.code !== 0) throw notFetched('the remote', url, result, 'remote');
    const found = new Map(result.stdout.split('\n').map((line) => line.split('\t').reverse() as [string, string]));
    for (const name of [`refs/heads/${wanted}`, `refs/tags/${wanted}^{}`, `refs/tags/${wanted}`, `${wanted}^{}`, wanted]) {
      const sha = found.get(name) ?? '';
      if (SHA.test(sha)) return { ref: wanted, sha };
    }
    throw new GitRefusal('remote', ref === null ? `${withoutPassword(url)} has no commit yet` : `${withoutPassword(url)} has no branch and no tag ${ref}`, ref === null ? 'push something to it first' : `see: git ls-remote ${withoutPassword(url)}; a commit is named by its full id`);
  }

  async fetchCommit(repo: string, url: string, sha: string, signal: AbortSignal): Promise<void> {
    requireSha(sha);
    const protocol = this.remoteProtocol(url);
    const commit: CommitRef = { repo, sha, quarantine: null };
    const limit = AbortSignal.timeout(FETCH_MS);
    const stop = AbortSignal.any([signal, limit]);
    const only = await this.reach(url, limit, () => this.fetch(repo, url, protocol, [], [sha], stop), FETCH_MS);
    if (only.code === 0 && await this.exists(commit)) return;
    const all = UNREACHED.test(only.stderr) ? only : await this.reach(url, limit, () => this.fetch(repo, url, protocol, [], ['+refs/heads/*:refs/berth/remote/heads/*', '+refs/tags/*:refs/berth/remote/tags/*'], stop), FETCH_MS);
    if (all.code === 0 && await this.exists(commit)) return;
    if (all.code === 0) throw new GitRefusal('remote', `${withoutPassword(url)} has no commit ${sha.slice(0, 12)} any more`, 'was it pushed over? sync again: berth git:sync');
    throw notFetched('the remote', url, all, 'remote');
  }

  async fetchLfs(repo: string, url: string, sha: string, signal: AbortSignal): Promise<void> {
    requireSha(sha);
    const protocol = this.remoteProtocol(url);
    const known = await this.outside(['lfs', 'version'], protocol, signal);
    if (known.code !== 0) throw new GitRefusal('lfs', 'files of the commit are kept by Git LFS, and git-lfs is not installed on this server', 'install it: apt-get install git-lfs; then deploy again');
    // what a repository says in .lfsconfig does not send us elsewhere
    const where = protocol === 'https' ? ['-c', `lfs.url=${url.replace(/\/+$/, '').replace(/(\.git)?$/, '.git')}/info/lfs`] : [];
    const limit = AbortSignal.timeout(FETCH_MS);
    const result = await this.reach(url, limit, () => withAccess(this.options, async (env) => {
      const git = await this.long(repo, [...settingsFor(protocol), ...where, '-c', `remote.origin.url=${url}`, '-c', 'lfs.activitytimeout=60', 'lfs', 'fetch', 'origin', sha], null, AbortSignal.any([signal, limit]), env);
      git.child.stdout.resume();
      return git.ended;
    }), FETCH_MS);
    if (result.code !== 0) throw notFetched('what Git LFS keeps', url, result, 'remote');
  }

  async folder(commit: CommitRef, path: string): Promise<CommitRef> {
    const { repo, sha, quarantine } = commit;
    requireSha(sha);
    const clean = path.split('/').filter((part) => part !== '' && part !== '.').join('/');
    const objects = await objectsBeside(repo, quarantine);
    const tree = clean.split('/').includes('..') ? '' : await this.output(repo, ['--literal-pathspecs', 'ls-tree', '-d', '-z', sha, '--', clean], objects);
    const id = /^040000 tree ([0-9a-f]+)\t/.exec(tree)?.[1];
    if (id === undefined) throw new GitRefusal('folder', `the commit has no folder ${JSON.stringify(clean)}`, 'commit it, or correct it: builder:set <app> build-dir <folder>');
    // as a commit of its own with the same people and times, so that the same folder gives the same archive
    const [author = '', mail = '', at = '', message = ''] = (await this.output(repo, ['log', '-1', '--no-show-signature', '--no-notes', '--format=%an%x00%ae%x00%ct%x00%s', sha, '--'], objects)).trimEnd().split('\0');
    const who = { GIT_AUTHOR_NAME: author || 'nobody', GIT_AUTHOR_EMAIL: mail || 'nobody', GIT_AUTHOR_DATE: `${at} +0000`, GIT_COMMITTER_NAME: author || 'nobody', GIT_COMMITTER_EMAIL: mail || 'nobody', GIT_COMMITTER_DATE: `${at} +0000` };
    const made = (await this.output(repo, ['commit-tree', id, '-m', message || 'folder'], objects, who)).trim();
    return { repo, sha: made, quarantine };
  }

  async archive(commit: CommitRef, parts: readonly ArchivePart[], destination: string, signal: AbortSignal, lfs = false): Promise<Archive> {
    const tally = new TarTally(this.options.limits ?? LIMITS);
    const file = createWriteStream(destination, { mode: 0o600 });
    try {
      await this.append(commit, null, tally, file, signal, lfs);
      for (const part of parts) await this.append(part, part.path, tally, file, signal);
      file.end(tally.finish());
      await finished(file);
      return tally.result();
    } catch (error) {
      file.destroy();
      throw error;
    }
  }

  private async append({ repo, sha, quarantine }: CommitRef, path: string | null, tally: TarTally, file: NodeJS.WritableStream, signal: AbortSignal, lfs = false): Promise<void> {
    requireSha(sha);
    signal.throwIfAborted();
    const prefix = path === null ? [] : [`--prefix=${path}/`];
    const filter = lfs ? ['-c', 'filter.lfs.smudge=git-lfs smudge -- %f', '-c', 'filter.lfs.required=true'] : [];
    const git = await this.long(repo, [...filter, 'archive', '--format=tar', ...prefix, `${sha}^{commit}`], quarantine, signal);
    try {
      await pipeline(git.child.stdout, new TarFilter(tally), file, { end: false, signal });
    } catch (error) {
      if (error instanceof GitRefusal || signal.aborted || (error as NodeJS.ErrnoException).code === 'ENOSPC') throw error;
      const { code, stderr } = await git.ended;
      throw code === 0 ? error : ended(code, stderr, sha, error);
    } finally {
      git.kill();
    }
    const { code, stderr } = await git.ended;
    if (code !== 0) throw ended(code, stderr, sha);
  }

  /** Every commit in the tree, read as a stream: the tree may be large, its submodules are few. */
  private async gitlinks({ repo, sha, quarantine }: CommitRef): Promise<{ path: string; sha: string }[]> {
    requireSha(sha);
    const git = await this.long(repo, ['ls-tree', '-r', '-z', '--full-tree', `${sha}^{commit}`], quarantine);
    const links: { path: string; sha: string }[] = [];
    let held: Buffer = Buffer.alloc(0);
    for await (const piece of git.child.stdout as AsyncIterable<Buffer>) {
      const data = held.length === 0 ? piece : Buffer.concat([held, piece]);
      let from = 0;
      for (let at = data.indexOf(0); at !== -1; at = data.indexOf(0, from)) {
        // `<mode> <type> <id>\t<path>`
        if (data.toString('latin1', from, from + 7) === '160000 ') {
          const [head = '', ...path] = data.toString('utf8', from, at).split('\t');
          links.push({ path: path.join('\t'), sha: head.slice('160000 commit '.length) });
        }
        from = at + 1;
      }
      held = data.subarray(from);
    }
    const { code, stderr } = await git.ended;
    if (code !== 0) throw gone(stderr, sha) ?? new Error(`git ls-tree ended with ${code}: ${printable(stderr)}`);
    return links;
  }

  /** path → address, as `.gitmodules` of the commit has it; a file that git cannot read says nothing. */
  private async gitmodules({ repo, sha, quarantine }: CommitRef): Promise<Map<string, string>> {
    const git = await this.long(repo, ['config', '--no-includes', '--blob', `${sha}:.gitmodules`, '-z', '--get-regexp', '^submodule\\.'], quarantine);
    const pieces: Buffer[] = [];
    for await (const piece of git.child.stdout as AsyncIterable<Buffer>) pieces.push(piece);
    await git.ended;
    const modules = new Map<string, { path?: string; url?: string }>();
    for (const entry of Buffer.concat(pieces).toString('utf8').split('\0')) {
      const [, name, key, value] = /^submodule\.([^]*)\.([a-z]+)\n([^]*)$/.exec(entry) ?? [];
      if (name === undefined || value === undefined || (key !== 'path' && key !== 'url')) continue;
      const module = modules.get(name) ?? {};
      module[key] ??= value;
      modules.set(name, module);
    }
    return new Map([...modules.values()].flatMap(({ path, url }) => (path !== undefined && url !== undefined ? [[path, url] as const] : [])));
  }

  private async fetch(repo: string, url: string, protocol: string, flags: readonly string[], refs: readonly string[], signal: AbortSignal): Promise<{ code: number; stderr: string }> {
    const args = [...settingsFor(protocol), 'fetch', '--quiet', '--no-tags', '--no-recurse-submodules', '--no-write-fetch-head', '--no-auto-maintenance', ...flags, '--', url, ...refs];
    for (let attempt = 1; ; attempt += 1) {
      const result = await withAccess(this.options, async (env) => {
        const git = await this.long(repo, args, null, signal, env);
        git.child.stdout.resume();
        return git.ended;
      });
      // another worker fetches into the same folder
      if (result.code === 0 || attempt === 5 || !/\.lock': File exists|unable to create .*\.lock/i.test(result.stderr)) return result;
      await new Promise((resolve) => { setTimeout(resolve, 500 * attempt); });
    }
  }

  private remoteProtocol(url: string): string {
    const checked = readSubmoduleUrl(url, this.options.allowFile === true);
    if (!checked.ok) throw new GitRefusal('remote', `${JSON.stringify(withoutPassword(url)).slice(0, 200)} is not fetched: ${checked.why}`, 'for example: https://git.example/team/shop.git or git@git.example:team/shop.git');
    return checked.protocol;
  }

  /** A remote that says nothing is given up. */
  private async reach<T>(url: string, limit: AbortSignal, work: () => Promise<T>, ms: number): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (limit.aborted) throw new GitRefusal('network', `${withoutPassword(url)} did not answer within ${ms / 1000} s`, 'is it reachable from this server?');
      throw error;
    }
  }

  /** git outside of any repository. */
  private outside(args: readonly string[], protocol: string, signal: AbortSignal): Promise<{ code: number; stderr: string; stdout: string }> {
    return withAccess(this.options, async (env) => {
      const git = spawnGit([...settingsFor(protocol), ...args], { cwd: env['HOME']!, env: { ...this.environment(null), ...env }, user: this.options.gitUser, signal });
      const pieces: Buffer[] = [];
      let size = 0;
      for await (const piece of git.child.stdout as AsyncIterable<Buffer>) {
        size += piece.length;
        if (size > 1 << 20) git.kill();
        else pieces.push(piece);
      }
      return { ...(await git.ended), stdout: Buffer.concat(pieces).toString('utf8') };
    });
  }

  /** What git prints; throws what it ends with otherwise. */
  private async output(repo: string, args: readonly string[], objects: string | null, more: NodeJS.ProcessEnv = {}): Promise<string> {
    const git = spawnGit(['-c', `safe.directory=${repo}`, '--git-dir=.', ...args], { cwd: repo, env: { ...this.environment(objects), ...more }, user: this.options.gitUser });
    const pieces: Buffer[] = [];
    for await (const piece of git.child.stdout as AsyncIterable<Buffer>) pieces.push(piece);
    const { code, stderr } = await git.ended;
    if (code !== 0) throw gone(stderr, args.join(' ')) ?? new Error(`git ${args[0]} ended with ${code}: ${printable(stderr)}`);
    return Buffer.concat(pieces).toString('utf8');
  }

  private environment(objects: string | null): NodeJS.ProcessEnv {
    return {
      ...gitEnvironment(this.home),
      ...(objects !== null && { GIT_ALTERNATE_OBJECT_DIRECTORIES: objects }),
    };
  }

  /** simple-git for one short answer. Its guards let pass only what is named here: no configuration of the user's, no templates with hooks. */
  private short(repo: string, objects: string | null): SimpleGit {
    const env = this.environment(objects);
    return simpleGit({
      baseDir: repo, maxConcurrentProcesses: 1, trimmed: false, config: [`safe.directory=${repo}`],
      allowEnvironment: Object.keys(env).filter((name) => name.startsWith('GIT_')), unsafe: { allowUnsafeConfigPaths: true, allowUnsafeTemplateDir: true },
      ...(this.options.gitUser && { spawnOptions: this.options.gitUser }),
    }).env(env);
  }

  private async long(repo: string, args: readonly string[], quarantine: string | null, signal?: AbortSignal, more: NodeJS.ProcessEnv = {}): Promise<GitProcess> {
    const objects = await objectsBeside(repo, quarantine);
    return spawnGit(['-c', `safe.directory=${repo}`, '--git-dir=.', ...args], {
      cwd: repo, env: { ...this.environment(objects), ...more }, user: this.options.gitUser, ...(signal && { signal }),
    });
  }

  /** A folder that git's user owns. */
  private async own(path: string): Promise<void> {
    const made = await mkdir(path, { recursive: true, mode: 0o755 });
    const { gitUser } = this.options;
    if (made === undefined || gitUser === null || process.getuid?.() !== 0) return;
    for (let at = path; at.length >= made.length; at = at.slice(0, at.lastIndexOf(sep))) await chown(at, gitUser.uid, gitUser.gid);
  }
}

/** The quarantine as an object folder beside the repository's, if it is one of this repository; null when there is none (any more). */
async function objectsBeside(repo: string, quarantine: string | null): Promise<string | null> {
  if (quarantine === null) return null;
  let real: string;
  try {
    real = await realpath(quarantine);
    if (!(await stat(real)).isDirectory()) return null;
  } catch {
    return null; // the push has ended: the objects are in the repository, or gone
  }
  const objects = await realpath(join(repo, 'objects'));
  if (!real.startsWith(objects + sep) || /[:"\n]/.test(real)) throw new GitRefusal('gone', 'the pushed objects do not lie in the app\'s repository', 'push again');
  return real;
}

/** What git says of another server, and what to do about it. */
function notFetched(what: string, url: string, { code, stderr }: { code: number; stderr: string }, problem: 'submodule' | 'remote'): GitRefusal {
  const shown = withoutPassword(url);
  const said = stderr.split('\n').filter((line) => line !== '' && !/^(hint:|warning: Permanently added|Please make sure|and the repository exists)/i.test(line));
  // of what ssh and git say, the line that says why
  const last = said.find((line) => /denied|host key|authentication failed|could not read|not found/i.test(line)) ?? said.at(-1) ?? `git ended with ${code}`;
  const host = /^(?:[a-z]+:\/\/)?(?:[^@/]+@)?([^:/]+)/.exec(url)?.[1] ?? '<host>';
  const ssh = !url.startsWith('https:');
  const hint = /host key/i.test(last) ? `its host key is another one than before: if that is right, berth git:allow-host ${host}`
    : ssh ? `if it is private, let this server in there: berth git:public-key shows its key (berth git:generate-deploy-key makes one)` : `if it is private: berth git:auth ${host} <user>, with a token piped in`;
  return new GitRefusal(UNREACHED.test(stderr) ? 'network' : problem, `${what} (${shown}) could not be fetched: ${printable(last).replaceAll(url, shown)}`, hint);
}

function requireSha(sha: string): void {
  if (!SHA.test(sha)) throw new GitRefusal('gone', `${JSON.stringify(sha)} is not a full commit id`);
}

const GONE = /not a valid object name|bad object|bad revision|unknown revision|invalid object|missing (blob|tree|commit)|unable to read (tree|[0-9a-f]{40})|could not (get object|read)|loose object .* missing|not a tree object|expected commit type/i;

/** The refusal that git's words mean when they say that objects are not there. */
function gone(stderr: string, sha: string): GitRefusal | null {
  return GONE.test(stderr) ? new GitRefusal('gone', `the commit ${sha.slice(0, 12)} is not in the repository`, 'push again') : null;
}

/** What `git archive` ended with, as a refusal where the commit is to blame. */
function ended(code: number, stderr: string, sha: string, cause?: unknown): Error {
  const path = /invalid path '([^]*)'/.exec(stderr);
  if (path !== null) return new GitRefusal('path', `the commit holds a file with the path ${JSON.stringify(path[1])}`, 'git fsck shows which commit it came with');
  return gone(stderr, sha) ?? new Error(`git archive ended with ${code}: ${printable(stderr)}`, { cause });
}

function asError(error: Error): Error {
  return new Error(`git: ${printable(error.message)}`, { cause: error });
}

function asGit(error: Error): never {
  throw asError(error);
}

/** One line without control characters: it goes to terminals. */
function printable(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim();
}
