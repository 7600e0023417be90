import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, realpath, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { spawn } from 'node:child_process';
import { StepFailure } from '../../events/step.js';
import type { FetchedBuildpack } from '../../plugins/builders/classic/classic.port.js';
import type { BuildpackRef } from '../../plugins/builders/classic/reference.js';
import { spawnGit } from '../git/git.process.js';
import { download } from './buildpack-download.js';
import { LIMITS, openArchive, writeTar, type BuildpackLimits } from './buildpack-tar.js';

const PROTOCOLS = 'https:git:ssh:file';
/** Of our own environment only what reaching other servers needs. */
const INHERITED = ['PATH', 'HTTPS_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'GIT_SSL_CAINFO', 'SSL_CERT_FILE', 'SSH_AUTH_SOCK'];
/** bytes of all that is kept; the least recently used goes */
const CACHE = 1024 ** 3;
/** what was used within this time stays: another worker may be reading it */
const IN_USE_MS = 3600_000;

export interface FetchOptions {
  /** of one talk with a remote */
  readonly timeoutMs?: number;
  readonly limits?: BuildpackLimits;
  /** folders out of which nothing is taken: our own data */
  readonly forbidden?: readonly string[];
  /** PEM certificates to trust for archives instead of the system's */
  readonly ca?: readonly string[];
  /** bytes of the whole cache */
  readonly cache?: number;
}

/** Says what an address last led to. */
interface Latest { readonly id: string; readonly etag: string | null }

/**
 * Buildpacks out of git, archives and folders. Each is kept as one tar, `<folder>/<hash of its address>/<commit or digest>.tar`, that appears
 * whole or not at all, so that any number of workers may fetch at once. Nothing that is in one is unpacked or run on the host.
 */
export class BuildpackFetch {
  constructor(private readonly folder: string, private readonly options: FetchOptions = {}) {}

  async fetch(reference: Exclude<BuildpackRef, { kind: 'own' | 'plugin' }>, signal: AbortSignal): Promise<FetchedBuildpack> {
    const fetched = await this.take(reference, signal);
    await this.evict(fetched.file);
    return fetched;
  }

  private async take(reference: Exclude<BuildpackRef, { kind: 'own' | 'plugin' }>, signal: AbortSignal): Promise<FetchedBuildpack> {
    switch (reference.kind) {
      case 'git': return this.git(reference.url, reference.ref, signal);
      case 'archive': return this.archive(reference.url, signal);
      case 'local': return this.local(reference.path, reference.ref, signal);
    }
  }

  // ---- git

  private async git(url: string, ref: string | null, signal: AbortSignal): Promise<FetchedBuildpack> {
    const place = await this.place(url);
    const fullCommit = ref !== null && /^[0-9a-f]{40}$/.test(ref);
    if (fullCommit && await there(join(place, `${ref}.tar`))) return this.used(place, ref, true);
    let commit = fullCommit ? ref : null;
    if (!fullCommit) {
      const { code, out, err } = await this.remote(this.folder, ['ls-remote', '--quiet', '--end-of-options', url, ...(ref === null ? ['HEAD'] : [`refs/heads/${ref}`, `refs/tags/${ref}`, `refs/tags/${ref}^{}`, ...(ref.startsWith('refs/') ? [ref] : [])])], signal);
      if (code !== 0) {
        const last = await latest(place, ref ?? 'HEAD');
        const failure = unreachable(url, err);
        if (last !== null && failure.fault === 'machine' && await there(join(place, `${last.id}.tar`))) return this.used(place, last.id, false);
        throw failure;
      }
      const refs = new Map(out.split('\n').filter((line) => line.includes('\t')).map((line) => line.split('\t').reverse() as [string, string]));
      commit = ref === null ? refs.get('HEAD') ?? null : refs.get(`refs/heads/${ref}`) ?? refs.get(`refs/tags/${ref}^{}`) ?? refs.get(`refs/tags/${ref}`) ?? refs.get(ref) ?? null;
      if (commit === null && !(ref !== null && /^[0-9a-f]{7,39}$/.test(ref))) throw new StepFailure('build.buildpack', `${hide(url)} has no ${ref ?? 'default branch'}`, 'name a branch, tag or commit after #');
      if (commit !== null && await there(join(place, `${commit}.tar`))) {
        await note(place, ref ?? 'HEAD', { id: commit, etag: null });
        return this.used(place, commit, true);
      }
    }
    return this.inTemporary(place, async (work) => {
      const found = await this.clone(join(work, 'git'), url, ref, commit, signal);
      await this.keepCommit(join(work, 'git'), url, found, join(work, 'tar'), signal);
      await rename(join(work, 'tar'), join(place, `${found}.tar`));
      await note(place, ref ?? 'HEAD', { id: found, etag: null });
      return { ...await this.used(place, found, true), cached: false };
    });
  }

  /** Fetches one commit, all of them where the server does not hand out one by its id. Answers its full id. */
  private async clone(repo: string, url: string, ref: string | null, commit: string | null, signal: AbortSignal): Promise<string> {
    await mkdir(repo, { recursive: true });
    await this.must(repo, ['init', '--bare', '--quiet', '--template=', '.'], signal);
    const wanted = ref === null || /^[0-9a-f]{40}$/.test(ref) || commit === null ? commit ?? ref : ref;
    const shallow = commit === null ? null : await this.fetched(repo, url, ['fetch', '--quiet', '--no-tags', '--depth', '1', '--no-recurse-submodules', '--end-of-options', url, `+${ref === null ? 'HEAD' : wanted}:refs/berth/wanted`], signal);
    if (shallow?.code === 0) {
      const { out } = await this.try(repo, ['rev-parse', '--verify', '--quiet', 'refs/berth/wanted^{commit}'], signal);
      return out.trim();
    }
    if (ref === null || !/^[0-9a-f]{7,40}$/.test(ref)) throw unreachable(url, shallow?.err ?? '');
    const { code, err } = await this.fetched(repo, url, ['fetch', '--quiet', '--tags', '--no-recurse-submodules', '--end-of-options', url, '+refs/heads/*:refs/remotes/*'], signal);
    if (code !== 0) throw unreachable(url, err);
    const found = await this.try(repo, ['rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`], signal);
    if (found.code !== 0) throw new StepFailure('build.buildpack', `${hide(url)} has no commit ${ref}`, 'correct what stands after #');
    return found.out.trim();
  }

  private async keepCommit(repo: string, url: string, commit: string, file: string, signal: AbortSignal): Promise<void> {
    const process = spawnGit(['-C', repo, 'archive', '--format=tar', commit], { cwd: repo, env: environment(), user: null, signal });
    process.ended.then(({ code, stderr }) => { if (code !== 0) process.child.stdout.destroy(new Error(`git archive: ${stderr}`)); }, (error: Error) => process.child.stdout.destroy(error));
    try { await writeTar(hide(url), process.child.stdout, file, signal, this.limits); } finally { process.kill(); }
  }

  // ---- archives and folders

  private async archive(url: string, signal: AbortSignal): Promise<FetchedBuildpack> {
    const place = await this.place(url);
    const last = await latest(place, 'archive');
    const kept = last !== null && await there(join(place, `${last.id}.tar`)) ? last : null;
    return this.inTemporary(place, async (work) => {
      const packed = join(work, 'packed');
      let answer;
      try {
        answer = await download(url, packed, { most: this.limits.bytes, timeoutMs: this.timeoutMs, ca: this.options.ca, etag: kept?.etag ?? null }, signal);
      } catch (error) {
        if (kept !== null && error instanceof StepFailure && error.fault === 'machine') return this.used(place, kept.id, false);
        throw error;
      }
      if (answer === null) return this.used(place, kept!.id, true);
      return this.keepArchive(url, packed, place, work, answer.etag, signal);
    });
  }

  private async keepArchive(what: string, packed: string, place: string, work: string, etag: string | null, signal: AbortSignal): Promise<FetchedBuildpack> {
    const { digest } = await writeTar(what, await openArchive(what, packed, signal, this.limits), join(work, 'tar'), signal, this.limits);
    const id = `sha256-${digest}`;
    const cached = await there(join(place, `${id}.tar`));
    await rename(join(work, 'tar'), join(place, `${id}.tar`));
    await note(place, 'archive', { id, etag });
    return { ...await this.used(place, id, true), cached };
  }

  private async local(given: string, ref: string | null, signal: AbortSignal): Promise<FetchedBuildpack> {
    const missing = (): StepFailure => new StepFailure('build.buildpack', `there is no buildpack ${given} on this server`, 'correct its path');
    const path = await realpath(given).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'ELOOP') return null;
      throw error;
    });
    if (path === null) {
      // a repository that was there: what it last led to
      const place = await this.place(`file://${given}`);
      const last = await latest(place, ref ?? 'HEAD');
      const id = ref !== null && await there(join(place, `${ref}.tar`)) ? ref : last?.id ?? null;
      if (id !== null && await there(join(place, `${id}.tar`))) return this.used(place, id, id === ref);
      throw missing();
    }
    for (const folder of this.options.forbidden ?? []) {
      const own = await realpath(folder).catch(() => folder);
      if (path === own || path.startsWith(`${own}/`) || own.startsWith(path === '/' ? '/' : `${path}/`)) throw new StepFailure('build.buildpack', `${given} belongs to Berth itself: no buildpack can be there`, 'put the buildpack into a folder of its own');
    }
    const what = await stat(path);
    if (what.isDirectory() && (await isRepository(path))) return this.git(`file://${given}`, ref, signal);
    if (ref !== null) throw new StepFailure('build.buildpack', `${given} is no git repository: nothing may stand after #`, 'correct its path');
    const place = await this.place(`file://${given}`);
    return this.inTemporary(place, async (work) => {
      if (what.isFile()) return this.keepArchive(given, path, place, work, null, signal);
      if (!what.isDirectory()) throw missing();
      const { child, ended } = packFolder(path, signal);
      try {
        const { digest } = await writeTar(given, child.stdout, join(work, 'tar'), signal, this.limits);
        const { code, said } = await ended;
        if (code !== 0) throw new Error(`tar of ${given}: ${said}`);
        const id = `sha256-${digest}`;
        const cached = await there(join(place, `${id}.tar`));
        await rename(join(work, 'tar'), join(place, `${id}.tar`));
        return { ...await this.used(place, id, true), cached };
      } finally { child.kill('SIGKILL'); }
    });
  }

  // ---- the cache

  private get limits(): BuildpackLimits { return this.options.limits ?? LIMITS; }
  private get timeoutMs(): number { return this.options.timeoutMs ?? 120_000; }

  private async place(address: string): Promise<string> {
    const place = join(this.folder, createHash('sha256').update(address).digest('hex').slice(0, 32));
    await mkdir(place, { recursive: true, mode: 0o700 });
    return place;
  }

  private async used(place: string, id: string, fresh: boolean): Promise<FetchedBuildpack> {
    const file = join(place, `${id}.tar`);
    await utimes(file, new Date(), new Date());
    return { id, file, fresh, cached: true };
  }

  /** A folder for one attempt, beside what it becomes; gone in any case. */
  private async inTemporary<T>(place: string, work: (folder: string) => Promise<T>): Promise<T> {
    const folder = join(place, `.${process.pid}-${randomBytes(6).toString('hex')}`);
    await mkdir(folder, { mode: 0o700 });
    try { return await work(folder); } finally { await rm(folder, { recursive: true, force: true }); }
  }

  /** Removes what was not used for longest, and what a worker that died has left, until the rest fits. */
  private async evict(keep: string): Promise<void> {
    const now = Date.now();
    const found: { path: string; bytes: number; at: number }[] = [];
    for (const place of await readdir(this.folder)) {
      for (const name of await readdir(join(this.folder, place)).catch(() => [])) {
        const path = join(this.folder, place, name);
        const info = await lstat(path).catch(() => null);
        if (info === null) continue;
        if (name.startsWith('.') && now - info.mtimeMs > 24 * IN_USE_MS) await rm(path, { recursive: true, force: true });
        if (name.endsWith('.tar')) found.push({ path, bytes: info.size, at: info.mtimeMs });
      }
    }
    let total = found.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const { path, bytes, at } of found.toSorted((a, b) => a.at - b.at)) {
      if (total <= (this.options.cache ?? CACHE)) return;
      if (path === keep || now - at < IN_USE_MS) continue;
      await rm(path, { force: true });
      total -= bytes;
    }
  }

  // ---- git's own

  private async remote(repo: string, args: readonly string[], signal: AbortSignal): Promise<{ code: number; out: string; err: string }> {
    const late = AbortSignal.timeout(this.timeoutMs);
    try {
      return await this.try(repo, args, AbortSignal.any([signal, late]));
    } catch (error) {
      if (signal.aborted || !late.aborted) throw error;
      return { code: 137, out: '', err: `no answer within ${this.timeoutMs / 1000} s` };
    }
  }

  /** A fetch that ends when more comes than any buildpack has, its history included. */
  private async fetched(repo: string, url: string, args: readonly string[], signal: AbortSignal): Promise<{ code: number; err: string }> {
    const most = 4 * this.limits.bytes;
    const large = new AbortController();
    const packs = join(repo, 'objects', 'pack');
    const look = setInterval(() => {
      void readdir(packs).then(async (names) => {
        const sizes = await Promise.all(names.map((name) => stat(join(packs, name)).then(({ size }) => size, () => 0)));
        if (sizes.reduce((sum, size) => sum + size, 0) > most) large.abort();
      }).catch(() => undefined);
    }, 250);
    try {
      return await this.remote(repo, args, AbortSignal.any([signal, large.signal]));
    } catch (error) {
      if (large.signal.aborted && !signal.aborted) throw new StepFailure('build.buildpack', `${hide(url)} is larger than ${Math.floor(most / 1024 / 1024)} MiB`, 'this is no buildpack');
      throw error;
    } finally { clearInterval(look); }
  }

  private async try(repo: string, args: readonly string[], signal: AbortSignal): Promise<{ code: number; out: string; err: string }> {
    const process = spawnGit(['-C', repo, ...args], { cwd: repo, env: environment(), user: null, signal });
    const [out, { code, stderr }] = await Promise.all([text(process.child.stdout), process.ended]);
    return { code, out, err: stderr };
  }

  private async must(repo: string, args: readonly string[], signal: AbortSignal): Promise<void> {
    const { code, err } = await this.try(repo, args, signal);
    if (code !== 0) throw new Error(`git ${args[0]}: ${err}`);
  }
}


const there = (path: string): Promise<boolean> => stat(path).then(() => true, (error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return false; throw error; });
const isRepository = async (path: string): Promise<boolean> => await there(join(path, '.git')) || await there(join(path, 'HEAD')) && await there(join(path, 'objects'));
const noteName = (ref: string): string => `${createHash('sha256').update(ref).digest('hex').slice(0, 32)}.latest`;

async function latest(place: string, ref: string): Promise<Latest | null> {
  const found = await readFile(join(place, noteName(ref)), 'utf8').catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return null; throw error; });
  if (found === null) return null;
  const [id = '', etag = ''] = found.split('\n');
  return /^(?:sha256-)?[0-9a-f]{40,64}$/.test(id) ? { id, etag: etag || null } : null;
}

async function note(place: string, ref: string, { id, etag }: Latest): Promise<void> {
  const file = join(place, noteName(ref));
  const own = `${file}.${process.pid}-${randomBytes(6).toString('hex')}`;
  await writeFile(own, `${id}\n${(etag ?? '').replace(/[\r\n]/g, '')}\n`, { mode: 0o600 });
  await rename(own, file);
}

/** A folder as it is: links stay links, names are bytes. */
function packFolder(path: string, signal: AbortSignal): { child: { readonly stdout: Readable; kill(signal: 'SIGKILL'): boolean }; ended: Promise<{ code: number | null; said: string }> } {
  const child = spawn('tar', ['--create', '--format=pax', '--sort=name', '--exclude=./.git', '--directory', path, '--file', '-', '.'], { stdio: ['ignore', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' });
  const said = text(child.stderr);
  const ended = new Promise<{ code: number | null; said: string }>((resolve, reject) => { child.once('error', reject); child.once('close', (code) => { void said.then((words) => { resolve({ code, said: words.slice(0, 300) }); }); }); });
  ended.catch(() => undefined);
  return { child, ended };
}

function unreachable(url: string, err: string): StepFailure {
  const why = err.split('\n').filter((line) => line.trim() !== '').slice(-2).join(' ').slice(0, 300);
  const gone = /not found|does not exist|does not appear to be a git repository|Authentication failed|could not read Username|Permission denied|no such device/i.test(err);
  return new StepFailure('build.buildpack', `the buildpack ${hide(url)} can't be fetched: ${hide(why)}`, gone ? 'correct its address' : 'can this server reach it? git ls-remote tells', gone ? 'user' : 'machine');
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
