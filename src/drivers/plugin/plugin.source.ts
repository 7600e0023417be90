import { homedir } from 'node:os';
import { cp, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Rejected } from '../../events/decider.js';
import type { PluginSource } from '../../events/types/plugin.events.js';
import { archiveFiles, inspectArchive } from '../archive/archive.js';
import { archiveUrl, download } from '../archive/download.js';
import { withAccess, type AccessOptions } from '../git/git.access.js';
import { gitEnvironment, spawnGit } from '../git/git.process.js';
import { withoutPassword } from '../git/submodule-url.js';
import { usedBy } from '../disk/used.js';
import { HostTools } from '../tool/tool.driver.js';
import { PLUGIN_LIMITS, saveStream, unpackFiles } from './plugin.files.js';

const LIMIT_MS = 5 * 60_000;
const ARCHIVE = /\.(?:tgz|tar\.gz|tar|zip)$/i;
const NPM = /^(?:npm:)?((?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*(?:@[A-Za-z0-9.^~<>=*| -]{1,60})?)$/;
const FORMS = 'a git URL (https://…, git@host:path, file:///…), an npm package (npm:<name>), the https URL or the path of a .tar.gz, or the path of a folder';

const SMALL = 'a plugin is small: leave out what it does not need';

/** What was asked for, told apart. @throws Rejected */
export async function readSource(asked: string, committish: string | null): Promise<PluginSource> {
  const refuse = (why: string, hint = FORMS): Rejected => new Rejected('plugin.source', `'${withoutPassword(asked).slice(0, 100)}' ${why}`, hint);
  if (committish !== null && (!/^[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}$/.test(committish) || committish.includes('..'))) throw new Rejected('plugin.committish', `'${committish.slice(0, 60)}' is not a branch, tag or commit`, 'for example: --committish v1.2.0');
  if (asked === '' || asked.startsWith('-') || /[\0-\x20\x7f]/.test(asked) || asked.length > 2000) throw refuse('is not a source of a plugin');
  const only = (source: PluginSource): PluginSource => {
    if (committish !== null && source.type !== 'git') throw refuse('is not a git repository, which is what --committish is for', source.type === 'npm' ? 'say the version: npm:name@1.2.0' : 'leave --committish out');
    return source;
  };
  if (/^\.\.?(?:\/|$)/.test(asked)) throw refuse('is a path from where you are, which the server does not know', 'give the whole path, from / on');
  if (asked.startsWith('/')) {
    const found = await stat(asked).catch(() => null);
    if (found === null) throw refuse('is not there', /^\/(?:home|root)\b/.test(asked) ? 'the service does not see /home and /root: put it elsewhere, below /srv for example' : FORMS);
    if (found.isDirectory()) return only({ type: 'folder', path: asked.replace(/(.)\/+$/, '$1') });
    if (!ARCHIVE.test(asked)) throw refuse('is neither a folder nor a .tar.gz');
    return only({ type: 'tarball', from: asked });
  }
  if (asked.startsWith('https:') && URL.canParse(asked) && ARCHIVE.test(new URL(asked).pathname)) return only({ type: 'tarball', from: archiveUrl(asked).href });
  if (/^(?:https|ssh|git|file):\/\/./.test(asked) || /^[\w.-]+@[\w.-]+:[^:]/.test(asked)) return { type: 'git', url: asked, committish };
  if (asked.startsWith('http:')) {
    if (!/^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])[:/]/.test(asked)) throw refuse('would come unencrypted: anybody on the way could put something else into it', 'use https://');
    return { type: 'git', url: asked, committish };
  }
  const npm = NPM.exec(asked);
  if (npm) return only({ type: 'npm', spec: npm[1]! });
  throw refuse('is not a source of a plugin');
}

/** Whatever else was named by mistake is not copied first: it may be all of a disk. @throws Rejected */
async function requirePlugin(folder: string): Promise<void> {
  if (!(await stat(join(folder, 'berth-plugin.json')).catch(() => null))) throw new Rejected('plugin.source', `There is no berth-plugin.json in ${folder}`, 'a plugin has it at its top; see docs/plugins.md');
  const { bytes, files } = await usedBy(folder, PLUGIN_LIMITS, ['.git']);
  if (bytes > PLUGIN_LIMITS.bytes || files > PLUGIN_LIMITS.files) throw new Rejected('plugin.size', `${folder} has more than ${PLUGIN_LIMITS.bytes / 1024 ** 2} MiB or ${PLUGIN_LIMITS.files} files`, SMALL);
}

/** Brings a plugin's files into an empty folder; nothing of them is run. */
export class PluginFetch {
  private readonly tools = new HostTools();

  constructor(private readonly options: AccessOptions) {}

  /** Answers the commit or npm's integrity; null where only the files tell. @throws Rejected */
  async fetch(source: PluginSource, into: string, signal: AbortSignal): Promise<string | null> {
    const limit = AbortSignal.timeout(LIMIT_MS);
    const stop = AbortSignal.any([signal, limit]);
    try {
      switch (source.type) {
        case 'git': return await this.git(source.url, source.committish, into, stop);
        case 'npm': return await this.npm(source.spec, into, stop);
        case 'tarball': return await this.tarball(source.from, into, stop);
        case 'folder':
          if (!(await stat(source.path).catch(() => null))?.isDirectory()) throw new Rejected('plugin.source', `There is no folder ${source.path} any more`, 'install it from elsewhere: berth plugin:uninstall, then plugin:install');
          await requirePlugin(source.path);
          await cp(source.path, into, { recursive: true, verbatimSymlinks: true, filter: (file) => basename(file) !== '.git' }).catch((error: NodeJS.ErrnoException) => {
            throw error.code?.startsWith('ERR_FS_CP') ? new Rejected('plugin.files', `It holds what is no file, folder or link: ${error.message.slice(0, 200)}`, 'leave it out') : error;
          });
          return null;
      }
    } catch (error) {
      if (limit.aborted && !signal.aborted) throw new Rejected('plugin.fetch', `It was not there within ${LIMIT_MS / 60_000} minutes`, 'can this server reach it?');
      throw error;
    }
  }

  private async git(url: string, committish: string | null, into: string, signal: AbortSignal): Promise<string> {
    const settings = ['protocol.allow=never', ...['https', 'http', 'ssh', 'git', 'file'].map((name) => `protocol.${name}.allow=always`), 'core.hooksPath=/dev/null', 'core.fsmonitor=false', 'safe.directory=*', 'credential.helper=', 'http.lowSpeedLimit=1000', 'http.lowSpeedTime=60'].flatMap((each) => ['-c', each]);
    await mkdir(into, { recursive: true });
    return withAccess(this.options, async (env) => {
      const run = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
        const { child, ended } = spawnGit([...settings, ...args], { cwd: into, env: { ...gitEnvironment('/nonexistent'), ...env }, user: null, signal });
        const [out, { code, stderr }] = await Promise.all([text(child.stdout), ended]);
        return { code, out: out.trim(), err: stderr };
      };
      const failed = (what: string, err: string): Rejected => {
        const why = err.split('\n').findLast((line) => /^(?:fatal|error|remote)|denied|not found/i.test(line)) ?? err.split('\n').at(-1) ?? '';
        return new Rejected('plugin.fetch', `${what}: ${why.replaceAll(url, withoutPassword(url)).slice(0, 300)}`, `is the address right, and may this server read it? git ls-remote ${withoutPassword(url)}; for a private one: berth git:auth, berth git:public-key`);
      };
      const made = await run('init', '--quiet', '--template=', '.');
      if (made.code !== 0) throw new Error(`git init: ${made.err}`);
      const fetch = ['fetch', '--quiet', '--no-tags', '--no-recurse-submodules'];
      const shallow = await run(...fetch, '--depth=1', '--', url, committish ?? 'HEAD');
      const one = shallow.code !== 0 && /shallow/.test(shallow.err) ? await run(...fetch, '--', url, committish ?? 'HEAD') : shallow;
      let found = one.code === 0 ? await run('rev-parse', '--verify', '--quiet', 'FETCH_HEAD^{commit}') : one;
      if (one.code !== 0) {
        // a commit by its id, which not every server hands out; anything else is what it said
        if (committish === null || !/^[0-9a-f]{7,40}$/.test(committish)) throw failed(`${withoutPassword(url)}${committish === null ? '' : ` at ${committish}`} could not be fetched`, one.err);
        const all = await run(...fetch, '--', url, '+refs/heads/*:refs/berth/heads/*', '+refs/tags/*:refs/berth/tags/*');
        if (all.code !== 0) throw failed(`${withoutPassword(url)} could not be fetched`, all.err);
        found = await run('rev-parse', '--verify', '--quiet', `${committish}^{commit}`);
        if (found.code !== 0) throw new Rejected('plugin.fetch', `${withoutPassword(url)} has no commit ${committish}`, 'see: git log');
      }
      const out = await run('checkout', '--quiet', '--detach', found.out);
      if (out.code !== 0) throw failed(`${withoutPassword(url)} could not be checked out`, out.err);
      await rm(join(into, '.git'), { recursive: true, force: true });
      return found.out;
    });
  }

  private async tarball(from: string, into: string, signal: AbortSignal): Promise<null> {
    const file = from.startsWith('/') ? from : `${into}.archive`;
    try {
      if (file !== from) await saveStream(file, download(new URL(from), signal), PLUGIN_LIMITS.bytes).catch((error: unknown) => {
        throw error instanceof Rejected && error.code !== 'plugin.size' ? new Rejected(error.code, error.message, 'is the address right? Or fetch it yourself, and give its path') : error;
      });
      await this.unpack(file, into, signal);
      return null;
    } finally {
      if (file !== from) await rm(file, { force: true });
    }
  }

  private async unpack(file: string, into: string, signal: AbortSignal): Promise<void> {
    const found = await inspectArchive(file, null, PLUGIN_LIMITS, signal).catch((error: unknown) => {
      throw error instanceof Rejected && error.hint?.includes('git:set') ? new Rejected(error.code, error.message, SMALL) : error;
    });
    await mkdir(into, { recursive: true });
    await unpackFiles(into, archiveFiles(file, found, PLUGIN_LIMITS, signal));
  }

  private async npm(spec: string, into: string, signal: AbortSignal): Promise<string> {
    const work = `${into}.npm`;
    await mkdir(work, { recursive: true });
    try {
      const said = await this.runNpm(['pack', '--json', '--ignore-scripts', spec], work, signal, `npm could not fetch ${spec}`);
      const [packed] = JSON.parse(said) as { filename: string; integrity: string }[];
      const [file] = (await readdir(work)).filter((name) => name.endsWith('.tgz'));
      if (!packed || !file) throw new Rejected('plugin.fetch', `npm has packed nothing of ${spec}`, 'see: npm view');
      await this.unpack(join(work, file), into, signal);
      return packed.integrity;
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** The packages that its package.json names, without running anything of theirs. */
  async dependencies(into: string, signal: AbortSignal): Promise<void> {
    const named = await readFile(join(into, 'package.json'), 'utf8').then((found) => JSON.parse(found) as { dependencies?: object }, (error: NodeJS.ErrnoException): { dependencies?: object } => { if (error.code === 'ENOENT') return {}; throw new Rejected('plugin.package', `package.json cannot be read: ${error.message.slice(0, 200)}`, 'mend it'); });
    if (Object.keys(named.dependencies ?? {}).length === 0 || await stat(join(into, 'node_modules')).catch(() => null)) return;
    const locked = await stat(join(into, 'package-lock.json')).catch(() => null);
    await this.runNpm([locked ? 'ci' : 'install', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund', ...(locked ? [] : ['--no-package-lock'])], into, AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]), 'Its dependencies cannot be installed');
  }

  private async runNpm(args: readonly string[], cwd: string, signal: AbortSignal, what: string): Promise<string> {
    const npm = await this.tools.find('npm');
    if (npm === null) throw new Rejected('plugin.npm', 'npm is not on this server', 'install it (apt install npm), or give the plugin as a folder with its node_modules');
    const lines: string[] = [];
    const home = homedir(); // who configured npm for this server, did it there
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(?:npm_config_|https?_proxy$|no_proxy$|NODE_EXTRA_CA_CERTS$|SSL_CERT_FILE$)/i.test(name)).map(([name, value]) => [name, value ?? '']));
    const code = await this.tools.run(npm, ['--loglevel=error', ...args], { cwd, env: { ...own, HOME: home, npm_config_cache: join(cwd, '.npm-cache'), npm_config_update_notifier: 'false' }, signal, onLine: (line) => { lines.push(line); } });
    await rm(join(cwd, '.npm-cache'), { recursive: true, force: true });
    if (code !== 0) throw new Rejected('plugin.npm', `${what}: ${(lines.find((line) => /npm error (?!code |errno |syscall |A complete log|Log files)/.test(line)) ?? lines.at(-1) ?? '').replace(/^npm error (?:(?:404|notarget|network) )?/, '').trim().slice(0, 300)}`, 'see: npm view <package>; does this server reach the registry?');
    const begin = lines.findIndex((line) => line.startsWith('['));
    return begin < 0 ? '' : lines.slice(begin, lines.findLastIndex((line) => line.startsWith(']')) + 1).join('\n');
  }
}
