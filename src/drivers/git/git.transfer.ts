import { existsSync } from 'node:fs';
import { chown, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GitDriver, type GitOptions } from './git.driver.js';
import type { GitTransfer, RepositoryRefs } from './git.port.js';
import { gitEnvironment, spawnGit, type GitProcess } from './git.process.js';

const REF = /^refs\/[^\s\0-\x1f\x7f~^:?*[\\]+$/;
const SHA = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

/** Repositories as one pack each: git reads its own files, so that a push or a repack meanwhile does no harm. */
export class GitTransferDriver implements GitTransfer {
  private readonly git: GitDriver;

  constructor(private readonly options: GitOptions) {
    this.git = new GitDriver(options);
  }

  async refs(repo: string): Promise<RepositoryRefs> {
    const refs: Record<string, string> = {};
    for (const line of (await this.text(repo, ['for-each-ref', '--format=%(objectname) %(refname)'])).split('\n').filter(Boolean)) refs[line.slice(line.indexOf(' ') + 1)] = line.slice(0, line.indexOf(' '));
    const head = (await this.text(repo, ['symbolic-ref', '--quiet', 'HEAD'])).trim();
    const shallow = existsSync(join(repo, 'shallow')) ? (await readFile(join(repo, 'shallow'), 'utf8')).split('\n').filter((line) => SHA.test(line)) : [];
    return { refs, head, shallow };
  }

  async present(repo: string, commits: readonly string[]): Promise<string[]> {
    const wanted = commits.filter((commit) => SHA.test(commit));
    if (wanted.length === 0) return [];
    const answer = await this.text(repo, ['cat-file', '--batch-check=%(objectname) %(objecttype)'], `${wanted.join('\n')}\n`);
    return answer.split('\n').filter((line) => line.endsWith(' commit')).map((line) => line.slice(0, -' commit'.length));
  }

  async *pack(repo: string, commits: readonly string[], signal: AbortSignal): AsyncIterable<Buffer> {
    const git = this.start(repo, ['pack-objects', '--revs', '--stdout', '--delta-base-offset', '--quiet', '--threads=1'], signal);
    git.child.stdin!.on('error', () => undefined); // its exit code says more
    git.child.stdin!.end(commits.map((commit) => `${commit}\n`).join(''));
    try {
      for await (const piece of git.child.stdout as AsyncIterable<Buffer>) yield piece;
      await done(git, 'pack-objects');
    } finally {
      git.kill();
    }
  }

  async unpack(repo: string, { refs, head, shallow }: RepositoryRefs, pack: AsyncIterable<Buffer> | null, signal: AbortSignal): Promise<void> {
    const broken = Object.entries(refs).find(([name, id]) => !REF.test(name) || !SHA.test(id)) ?? (REF.test(head) ? undefined : ['HEAD', head]);
    if (broken) throw new Error(`${JSON.stringify(broken.join(' '))} is not the name of a commit`);
    if (existsSync(repo)) throw new Error(`${repo} is there already`);
    try {
      await this.git.initBare(repo);
      if (shallow.length > 0) {
        await writeFile(join(repo, 'shallow'), shallow.map((id) => `${id}\n`).join(''), { mode: 0o644 });
        if (this.options.gitUser && process.getuid?.() === 0) await chown(join(repo, 'shallow'), this.options.gitUser.uid, this.options.gitUser.gid);
      }
      if (pack) {
        const git = this.start(repo, ['index-pack', '--stdin', '--threads=1'], signal);
        git.child.stdout.resume();
        await pipeline(Readable.from(pack), git.child.stdin!).catch(async (error: unknown) => {
          const { code, stderr } = await git.ended.catch(() => ({ code: 0, stderr: '' }));
          throw code === 0 ? error : new Error(`git index-pack ended with ${code}: ${stderr}`);
        }).finally(() => { git.child.stdin!.destroy(); });
        await done(git, 'index-pack');
      }
      await this.text(repo, ['update-ref', '--stdin'], Object.entries(refs).map(([name, id]) => `create ${name} ${id}\n`).join(''));
      await this.text(repo, ['symbolic-ref', 'HEAD', head]);
    } catch (error) {
      await rm(repo, { recursive: true, force: true });
      throw error;
    }
  }

  private start(repo: string, args: readonly string[], signal?: AbortSignal): GitProcess {
    return spawnGit(['-c', `safe.directory=${repo}`, '-c', 'gc.auto=0', '--git-dir=.', ...args], {
      cwd: repo, env: gitEnvironment(join(this.options.root, 'git', 'home')), user: this.options.gitUser, input: true, ...(signal && { signal }),
    });
  }

  private async text(repo: string, args: readonly string[], input = ''): Promise<string> {
    const git = this.start(repo, args);
    git.child.stdin!.on('error', () => undefined);
    git.child.stdin!.end(input);
    const pieces: Buffer[] = [];
    for await (const piece of git.child.stdout as AsyncIterable<Buffer>) pieces.push(piece);
    await done(git, args[0]!);
    return Buffer.concat(pieces).toString('utf8');
  }
}

async function done(git: GitProcess, what: string): Promise<void> {
  const { code, stderr } = await git.ended;
  if (code !== 0) throw new Error(`git ${what} ended with ${code}: ${stderr}`);
}
