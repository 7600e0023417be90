import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { join } from 'node:path';
import type { GitOptions } from './git.driver.js';
import type { Commit, GitImport, ImportFile } from './git.port.js';
import { gitEnvironment, spawnGit, type GitProcess } from './git.process.js';

const BRANCH = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
const SHA = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

/** `git fast-import`'s quoting: any bytes but NUL. @param path one character a byte */
export const quotePath = (path: string): string => `"${[...Buffer.from(path, 'latin1')].map((byte) => (byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c ? `\\${byte.toString(8).padStart(3, '0')}` : String.fromCharCode(byte))).join('')}"`;

/** Commits of files that were not pushed, and branches that our own commits move. */
export class GitImportDriver implements GitImport {
  constructor(private readonly options: Pick<GitOptions, 'root' | 'gitUser'>) {}

  async branch(repo: string, branch: string): Promise<string | null> {
    requireBranch(branch);
    const found = (await this.text(repo, ['for-each-ref', '--format=%(objectname)', `refs/heads/${branch}`])).trim();
    return SHA.test(found) ? found : null;
  }

  async moveBranch(repo: string, branch: string, sha: string): Promise<void> {
    requireBranch(branch);
    if (!SHA.test(sha)) throw new Error(`${JSON.stringify(sha)} is not a full commit id`);
    await this.text(repo, ['update-ref', `refs/heads/${branch}`, sha]);
  }

  async commit(repo: string, files: AsyncIterable<ImportFile>, commit: Commit, signal: AbortSignal): Promise<{ sha: string; changed: boolean }> {
    const ref = `refs/berth/incoming/${randomBytes(8).toString('hex')}`;
    try {
      const git = this.start(repo, ['fast-import', '--quiet', '--done', '--date-format=raw'], signal);
      git.child.stdout.resume();
      await pipeline(Readable.from(lines(ref, files, commit)), git.child.stdin!).catch(async (error: unknown) => {
        git.child.stdin!.destroy();
        git.kill();
        const { code, stderr } = await git.ended;
        // it writes down how it ended when the end of the files reaches it before the kill does
        await rm(join(repo, `fast_import_crash_${git.child.pid}`), { force: true });
        throw (error as NodeJS.ErrnoException).code === 'EPIPE' && code !== 0 ? new Error(`git fast-import ended with ${code}: ${stderr}`) : error;
      });
      await done(git, 'fast-import');
      const [sha = '', tree = '', before = ''] = (await this.text(repo, ['rev-parse', ref, `${ref}^{tree}`, ...(commit.parent === null ? [] : [`${commit.parent}^{tree}`])])).trim().split('\n');
      return commit.parent !== null && tree === before ? { sha: commit.parent, changed: false } : { sha, changed: true };
    } finally {
      await this.text(repo, ['update-ref', '-d', ref]);
    }
  }

  private start(repo: string, args: readonly string[], signal?: AbortSignal): GitProcess {
    return spawnGit(['-c', `safe.directory=${repo}`, '-c', 'gc.auto=0', '--git-dir=.', ...args], {
      cwd: repo, env: gitEnvironment(join(this.options.root, 'git', 'home')), user: this.options.gitUser, input: true, ...(signal && { signal }),
    });
  }

  private async text(repo: string, args: readonly string[]): Promise<string> {
    const git = this.start(repo, args);
    git.child.stdin!.on('error', () => undefined);
    git.child.stdin!.end();
    const pieces: Buffer[] = [];
    for await (const piece of git.child.stdout as AsyncIterable<Buffer>) pieces.push(piece);
    await done(git, args[0]!);
    return Buffer.concat(pieces).toString('utf8');
  }
}

async function* lines(ref: string, files: AsyncIterable<ImportFile>, { parent, author, committer, message, at }: Commit): AsyncGenerator<Buffer> {
  const when = `${Math.floor(at / 1000)} +0000`;
  const text = Buffer.from(message);
  yield Buffer.from(`commit ${ref}\nauthor ${author} ${when}\ncommitter ${committer} ${when}\ndata ${text.length}\n`);
  yield text;
  yield Buffer.from(`\n${parent === null ? '' : `from ${parent}\n`}deleteall\n`);
  for await (const { path, mode, bytes, content } of files) {
    yield Buffer.from(`M ${mode} inline ${quotePath(path)}\ndata ${bytes}\n`);
    let sent = 0;
    for await (const piece of content) {
      sent += piece.length;
      yield piece;
    }
    if (sent !== bytes) throw new Error(`a file of ${bytes} bytes gave ${sent}`);
    yield Buffer.from('\n');
  }
  yield Buffer.from('done\n');
}

async function done(git: GitProcess, what: string): Promise<void> {
  const { code, stderr } = await git.ended;
  if (code !== 0) throw new Error(`git ${what} ended with ${code}: ${stderr}`);
}

function requireBranch(branch: string): void {
  if (!BRANCH.test(branch) || branch.includes('..')) throw new Error(`${JSON.stringify(branch)} is not the name of a branch`);
}
