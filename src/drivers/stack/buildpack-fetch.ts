import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { StepFailure } from '../../events/step.js';
import { spawnGit } from '../git/git.process.js';

export interface FetchedBuildpack {
  /** full commit id */
  readonly commit: string;
  /** false when the remote could not be asked and an earlier answer is used */
  readonly fresh: boolean;
  /** the tree of that commit as a tar stream; fails when git does */
  tar(): Readable;
}

const PROTOCOLS = 'https:git:ssh:file';
/** Of our own environment only what reaching other servers needs. */
const INHERITED = ['PATH', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'GIT_SSL_CAINFO', 'SSL_CERT_FILE', 'SSH_AUTH_SOCK'];

/**
 * Buildpacks out of git, one bare repository a URL below `folder`: nothing is ever checked out on the host, and nothing that
 * is in a repository runs here. A commit that is there is not fetched again.
 */
export class BuildpackFetch {
  /** @param timeoutMs of one git command that talks to a remote */
  constructor(private readonly folder: string, private readonly timeoutMs = 120_000) {}

  /**
   * @param url checked by `parseBuildpackUrl`
   * @param ref branch, tag or commit; null = the default branch
   * @throws StepFailure `build.buildpack` when there is no such repository or ref, (machine) when it can't be reached
   */
  async fetch(url: string, ref: string | null, signal: AbortSignal): Promise<FetchedBuildpack> {
    const repo = join(this.folder, `${createHash('sha256').update(url).digest('hex').slice(0, 32)}.git`);
    await mkdir(repo, { recursive: true, mode: 0o700 });
    await this.git(repo, ['init', '--bare', '--quiet', '--template=', '.'], signal);
    const mark = `refs/berth/${createHash('sha256').update(ref ?? 'HEAD').digest('hex').slice(0, 32)}`;
    const tar = (commit: string): Readable => {
      const process = spawnGit(['-C', repo, 'archive', '--format=tar', commit], { cwd: repo, env: environment(), user: null, signal });
      process.ended.then(({ code, stderr }) => { if (code !== 0) process.child.stdout.destroy(new Error(`git archive: ${stderr}`)); }, (error: Error) => process.child.stdout.destroy(error));
      return process.child.stdout;
    };
    const commitOf = async (name: string): Promise<string | null> => {
      const { code, out } = await this.try(repo, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{commit}`], signal);
      return code === 0 ? out.trim() : null;
    };
    if (ref !== null && /^[0-9a-f]{40}$/.test(ref) && await commitOf(ref) !== null) return { commit: ref, fresh: true, tar: () => tar(ref) };

    const wanted = `+${ref ?? 'HEAD'}:${mark}`;
    let { code, err } = await this.remote(repo, ['fetch', '--quiet', '--no-tags', '--depth', '1', '--no-recurse-submodules', '--end-of-options', url, wanted], signal);
    // most servers do not hand out a commit by its id: everything is fetched, then it is looked for
    if (code !== 0 && ref !== null && /^[0-9a-f]{7,40}$/.test(ref)) {
      ({ code, err } = await this.remote(repo, ['fetch', '--quiet', '--tags', '--no-recurse-submodules', '--end-of-options', url, '+refs/heads/*:refs/remotes/*'], signal));
      if (code === 0) {
        const found = await commitOf(ref);
        if (found === null) throw new StepFailure('build.buildpack', `${hide(url)} has no commit ${ref}`, 'correct BUILDPACK_URL');
        await this.git(repo, ['update-ref', mark, found], signal);
      }
    }
    const commit = await commitOf(mark);
    if (code === 0 && commit !== null) return { commit, fresh: true, tar: () => tar(commit) };
    const why = err.split('\n').filter((line) => line.trim() !== '').slice(-2).join(' ').slice(0, 300);
    if (/couldn't find remote ref|Remote branch .* not found|no such ref/i.test(err)) throw new StepFailure('build.buildpack', `${hide(url)} has no ${ref ?? 'default branch'}`, 'name a branch, tag or commit after #');
    if (commit !== null) return { commit, fresh: false, tar: () => tar(commit) };
    const gone = /not found|does not exist|does not appear to be a git repository|Authentication failed|could not read Username|Permission denied|no such device/i.test(err);
    throw new StepFailure('build.buildpack', `the buildpack ${hide(url)} can't be fetched: ${hide(why)}`, gone ? 'correct BUILDPACK_URL' : 'can this server reach it? git ls-remote tells', gone ? 'user' : 'machine');
  }

  private async remote(repo: string, args: readonly string[], signal: AbortSignal): Promise<{ code: number; err: string }> {
    const late = AbortSignal.timeout(this.timeoutMs);
    try {
      const { code, err } = await this.try(repo, args, AbortSignal.any([signal, late]));
      return { code, err };
    } catch (error) {
      if (signal.aborted || !late.aborted) throw error;
      return { code: 137, err: `no answer within ${this.timeoutMs / 1000} s` };
    }
  }

  private async try(repo: string, args: readonly string[], signal: AbortSignal): Promise<{ code: number; out: string; err: string }> {
    const process = spawnGit(['-C', repo, ...args], { cwd: repo, env: environment(), user: null, signal });
    const [out, { code, stderr }] = await Promise.all([text(process.child.stdout), process.ended]);
    return { code, out, err: stderr };
  }

  private async git(repo: string, args: readonly string[], signal: AbortSignal): Promise<void> {
    const { code, err } = await this.try(repo, args, signal);
    if (code !== 0) throw new Error(`git ${args[0]}: ${err}`);
  }
}

function environment(): NodeJS.ProcessEnv {
  return {
    ...Object.fromEntries(INHERITED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))),
    LC_ALL: 'C.UTF-8', LANGUAGE: 'en', HOME: process.env['HOME'] ?? '/root',
    GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_ATTR_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: '/bin/false', GIT_ALLOW_PROTOCOL: PROTOCOLS,
    GIT_SSH_COMMAND: 'ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=15',
    // a buildpack in a local folder belongs to whoever made it; upload-pack reads this out of the environment only
    GIT_CONFIG_COUNT: '2', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*', GIT_CONFIG_KEY_1: 'core.hooksPath', GIT_CONFIG_VALUE_1: '/dev/null',
  };
}

const hide = (text: string): string => text.replace(/([a-z]+:\/\/)[^/@\s]*@/g, '$1***@');
