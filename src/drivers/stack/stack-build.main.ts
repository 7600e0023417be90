import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createInterface } from 'node:readline';
import Docker from 'dockerode';
import { extract, pack } from 'tar-stream';
import { readConfig, type Config } from '../../config.js';
import { contentVersion, installed, releaseDate, undatedShadow } from './packages.js';
import { DEFAULT_MIRRORS, EXCLUDED, LABEL_DEFINITION, LABEL_FROM, LABEL_MIRROR, LABEL_VERSION, STACK, baseFiles, buildDockerfile, definitionHashes, hostMirrors, partDockerfile, partHash, partImages, runDockerfile, stackImages, type Mirrors } from './stack.js';

/**
 * Makes the stack's images in the engine: `stack-build [--force] [--check] [--all | image…]`. The common ones always; what single
 * languages need beyond them only when they are named (`berth/stack-build-go:13-1`, or `go` for both of a part), or with `--all`.
 * Exit codes: 0 made or there already, 1 failed (the reason and what to do are on stderr), 2 `--check` found something missing.
 * What is made anew from the packages that are there already stays as it is. Runs that overlap wait for each other. Environment: `BERTH_DEBIAN_MIRROR` (and `BERTH_DEBIAN_SECURITY_MIRROR`) override the
 * mirror, which is the host's own when the host is Debian.
 */

const NEED_BYTES = { work: 600e6, engine: 1500e6 };
const USAGE = 'stack-build [--force] [--check] [--verbose] [--all | part or image…]';
const LOCK = '/run/lock/berth-stack.lock';

/** TERM or INT: children end, the work folder goes */
const stop = new AbortController();

/** Something the administrator can mend. */
class Unusable extends Error {
  constructor(message: string, readonly hint: string) { super(message); }
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const from = performance.now();
  say(`-----> ${what}`);
  const result = await work();
  say(`       done in ${((performance.now() - from) / 1000).toFixed(1)} s`);
  return result;
}

/** Runs a program with its output kept; throws its last lines. */
async function run(file: string, args: readonly string[], onLine: (line: string) => void = () => undefined): Promise<void> {
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive', PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' } });
  // the whole group: what a program has started must not write into a folder that is being removed
  const kill = (): void => { try { if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL'); } catch { /* it has ended */ } };
  stop.signal.addEventListener('abort', kill, { once: true });
  const tail: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => { tail.push(line); if (tail.length > 15) tail.shift(); onLine(line); });
  }
  const code = await new Promise<number | string>((resolve, reject) => { child.on('error', reject); child.on('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown')); }).finally(() => stop.signal.removeEventListener('abort', kill));
  stop.signal.throwIfAborted();
  if (code !== 0) throw new Error(`${file} ended with ${code}:\n${tail.map((line) => `         ${line}`).join('\n')}`);
}

function mirrors(env: NodeJS.ProcessEnv): Mirrors {
  const own = env['BERTH_DEBIAN_MIRROR'];
  if (own) return { main: own.replace(/\/+$/, ''), security: env['BERTH_DEBIAN_SECURITY_MIRROR']?.replace(/\/+$/, '') ?? DEFAULT_MIRRORS.security };
  let release = '';
  try { release = readFileSync('/etc/os-release', 'utf8'); } catch { return DEFAULT_MIRRORS; }
  const codename = /^VERSION_CODENAME=(\w+)/m.exec(release)?.[1];
  if (!/^ID=debian$/m.test(release) || codename === undefined) return DEFAULT_MIRRORS;
  const texts: string[] = [];
  if (existsSync('/etc/apt/sources.list')) texts.push(readFileSync('/etc/apt/sources.list', 'utf8'));
  if (existsSync('/etc/apt/sources.list.d')) {
    for (const name of readdirSync('/etc/apt/sources.list.d')) if (/\.(list|sources)$/.test(name)) texts.push(readFileSync(join('/etc/apt/sources.list.d', name), 'utf8'));
  }
  const host = hostMirrors(texts, codename);
  return { main: host.main ?? DEFAULT_MIRRORS.main, security: host.security ?? DEFAULT_MIRRORS.security };
}

async function room(path: string, bytes: number, what: string): Promise<void> {
  let at = path;
  while (!existsSync(at)) at = dirname(at);
  const fs = await statfs(at);
  const free = fs.bavail * fs.bsize;
  if (free < bytes) throw new Unusable(`${what} needs ${Math.round(bytes / 1e6)} MB at ${at}, ${Math.round(free / 1e6)} MB are free`, 'free some space, then run this again');
}

/** What a killed run left at work in its folder (debootstrap is a process group of its own) must end before the folder goes. */
function killThoseIn(folder: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let words = '', root = '';
    try { words = readFileSync(`/proc/${pid}/cmdline`, 'utf8'); root = readlinkSync(`/proc/${pid}/root`); } catch { continue; }
    if (!root.startsWith(`${folder}/`) && !words.split('\0').some((word) => word === folder || word.startsWith(`${folder}/`))) continue;
    try { process.kill(Number(pid), 'SIGKILL'); } catch { /* it has ended */ }
  }
}

const AWAY = new Set(['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH', 'ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT']);

/** Without a network apt tries for minutes, in words that lead nowhere. Behind a proxy nobody knows before. */
async function requireMirror(mirror: string, config: Config): Promise<void> {
  const proxied = Object.keys(config.buildProxy).length > 0 || ['http_proxy', 'https_proxy', 'all_proxy'].some((name) => process.env[name] || process.env[name.toUpperCase()]);
  if (proxied) return;
  try { await (await fetch(`${mirror}/dists/${STACK.suite}/InRelease`, { method: 'HEAD', signal: stop.signal })).body?.cancel(); }
  catch (error) {
    stop.signal.throwIfAborted();
    const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code ?? '';
    // whatever else is wrong, apt may know better
    if (AWAY.has(code)) throw new Unusable(`${mirror} cannot be reached (${code})`, 'check the network, name a mirror that this machine reaches (BERTH_DEBIAN_MIRROR, then stack-build --force), or bring the images from another server: docker save and docker load, see docs/air-gapped.md');
  }
}

/** Whatever debootstrap left mounted below the folder must go before the folder does. */
async function remove(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${folder}/`));
  for (const path of mounts.toReversed()) await new Promise<void>((resolve) => { spawn('umount', ['-l', path], { stdio: 'ignore' }).on('close', () => resolve()).on('error', () => resolve()); });
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

async function inspect(docker: Docker, image: string): Promise<Docker.ImageInspectInfo | null> {
  try { return await docker.getImage(image).inspect(); }
  catch (error) { if ((error as { statusCode?: number }).statusCode === 404) return null; throw error; }
}

/** Engine streams end normally when the work failed: the `error` line is the only word of it. */
async function drain(stream: NodeJS.ReadableStream, onText: (text: string) => void): Promise<void> {
  let failed: string | null = null;
  const tail: string[] = [];
  for await (const line of createInterface({ input: stream })) {
    if (line.trim() === '') continue;
    const event = JSON.parse(line) as { stream?: string; error?: string };
    if (event.error !== undefined) failed = event.error;
    for (const text of (event.stream ?? '').split('\n')) if (text.trim() !== '') { tail.push(text); if (tail.length > 15) tail.shift(); onText(text); }
  }
  if (failed !== null) throw new Error(`${failed}\n${tail.map((line) => `         ${line}`).join('\n')}`);
}

async function bootstrapBase(docker: Docker, config: Config, from: Mirrors, image: string, verbose: (line: string) => void): Promise<void> {
  if (process.getuid?.() !== 0) throw new Unusable('making the base image needs root (debootstrap)', 'run it as root: sudo deploy/exec.sh stack-build');
  if (!existsSync('/usr/sbin/debootstrap')) throw new Unusable('debootstrap is not installed', 'apt-get install debootstrap debian-archive-keyring');
  const keyring = ['/usr/share/keyrings/debian-archive-keyring.gpg', '/usr/share/keyrings/debian-archive-keyring.pgp'].find((path) => existsSync(path));
  if (keyring === undefined) throw new Unusable("the archive's keys are not installed", 'apt-get install debian-archive-keyring');
  // an older debootstrap does not know the suite by name; all of them since 2005 are made the same way
  const script = existsSync(`/usr/share/debootstrap/scripts/${STACK.suite}`) ? [] : ['/usr/share/debootstrap/scripts/sid'];
  const parent = join(config.root, 'cache');
  await mkdir(parent, { recursive: true });
  // what a killed run left: nobody else is at work, we hold the lock
  for (const name of readdirSync(parent)) if (name.startsWith('stack-')) { killThoseIn(join(parent, name)); await remove(join(parent, name)); }
  await room(parent, NEED_BYTES.work, 'the base system');
  const work = await mkdtemp(join(parent, 'stack-'));
  const target = join(work, 'root');
  try {
    await step(`Fetching Debian ${STACK.debian} (${STACK.suite}) from ${from.main}`, async () => {
      try { await run('debootstrap', ['--variant=minbase', `--keyring=${keyring}`, `--include=${STACK.base.join(',')}`, STACK.suite, target, from.main, ...script], verbose); }
      catch (error) {
        const text = (error as Error).message;
        if (/Failed getting release|Couldn't download|Couldn't retrieve|Failed to fetch|Failed getting/i.test(text)) throw new Unusable(`${from.main} could not be read:\n${text}`, 'check the network, or set BERTH_DEBIAN_MIRROR to a mirror that this machine reaches');
        if (/No space left/i.test(text)) throw new Unusable(`the disk is full at ${work}`, 'free some space, then run this again');
        throw error;
      }
    });
    await step(`Importing it as ${image}`, async () => {
      await rm(join(target, 'etc/apt/sources.list'), { force: true });
      for (const [path, text] of Object.entries(baseFiles(from))) {
        await mkdir(dirname(join(target, path)), { recursive: true });
        await writeFile(join(target, path), text);
      }
      await chmod(join(target, 'usr/sbin/policy-rc.d'), 0o755);
      const date = await datedByRelease(target);
      const drop = ['/var/cache/apt/*', '/var/lib/apt/lists/*', '/var/log/*', '/etc/hostname', '/etc/resolv.conf', '/etc/machine-id', '/var/cache/ldconfig/aux-cache', '/dev/*', '/proc/*', '/sys/*', ...EXCLUDED.filter((path) => !path.includes('/doc/'))];
      const tar = spawn('tar', ['-C', target, '--numeric-owner', '--sort=name', ...(date === null ? [] : [`--mtime=@${date}`, '--clamp-mtime']), ...drop.map((path) => `--exclude=.${path}`), '-c', '.'], { stdio: ['ignore', 'pipe', 'pipe'] });
      let complaint = '';
      tar.stderr.on('data', (chunk: Buffer) => { complaint += chunk.toString(); });
      const ended = new Promise<number | null>((resolve) => tar.on('close', resolve));
      const [repo, tag] = image.split(':') as [string, string];
      // one string: dockerode would send an array as JSON, the engine splits at newlines
      const changes = ['CMD ["/bin/bash"]', 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'].join('\n');
      const body = tar.stdout.pipe(new PassThrough());
      await drain(await docker.importImage(body, { repo, tag, changes }) as NodeJS.ReadableStream, verbose);
      if (await ended !== 0) throw new Error(`tar failed: ${complaint}`);
    });
  } finally { await remove(work); }
}

/** What the bootstrap dates by the clock is dated by the release that it took: the same release gives the same bytes. Answers its seconds since the epoch. */
async function datedByRelease(target: string): Promise<number | null> {
  const lists = join(target, 'var/lib/apt/lists');
  const name = (await readdir(lists).catch(() => [])).find((each) => each.endsWith('Release'));
  const date = name === undefined ? null : releaseDate(await readFile(join(lists, name), 'utf8'));
  if (date === null) return null;
  for (const file of ['etc/shadow', 'etc/shadow-']) {
    const path = join(target, file);
    if (existsSync(path)) await writeFile(path, undatedShadow(await readFile(path, 'utf8'), date));
  }
  return date;
}

/** What is installed in an image. Nothing of it is run. */
async function packagesOf(docker: Docker, image: string): Promise<string[]> {
  const name = 'berth-stack-reader';
  await docker.getContainer(name).remove({ force: true }).catch(gone); // of a run that was killed
  const container = await docker.createContainer({ name, Image: image, Cmd: ['true'] });
  try {
    const parser = extract();
    const texts: Buffer[] = [];
    parser.on('entry', (_, stream, next) => { stream.on('data', (chunk) => texts.push(chunk as Buffer)).on('end', next); });
    await pipeline(await container.getArchive({ path: '/var/lib/dpkg/status' }), parser);
    return installed(Buffer.concat(texts).toString());
  } finally { await container.remove({ force: true }); }
}
const gone = (error: unknown): void => { if ((error as { statusCode?: number }).statusCode !== 404) throw error; };

/**
 * An image is made under another name and gets its own when it is known to differ from the one that has it: what was made from the same
 * packages stays, and with it what stands on it.
 */
async function settled(docker: Docker, config: Config, image: string, labels: Readonly<Record<string, string>> & { readonly [LABEL_DEFINITION]: string }, make: (name: string) => Promise<void>, verbose: (line: string) => void): Promise<void> {
  const name = `${image}.new`;
  try {
    await make(name);
    const packages = await packagesOf(docker, name);
    const all = { ...labels, [LABEL_VERSION]: contentVersion(labels[LABEL_DEFINITION], packages) };
    const before = await inspect(docker, image);
    if (before !== null && Object.entries(all).every(([label, value]) => before.Config.Labels?.[label] === value)) { say(`       the same ${packages.length} packages as before: it stays (version ${all[LABEL_VERSION]})`); return; }
    await build(docker, config, image, `FROM ${name}\n`, all, verbose);
    // the one before, and those below it that only it stood on; what containers or other images need stays
    if (before !== null) await docker.getImage(before.Id).remove().catch((error: { statusCode?: number }) => { if (error.statusCode !== 404 && error.statusCode !== 409) throw error; });
    say(`       version ${all[LABEL_VERSION]}: ${packages.length} packages`);
  } finally { await docker.getImage(name).remove({ force: true }).catch(gone); }
}

async function build(docker: Docker, config: Config, image: string, dockerfile: string, labels: Record<string, string>, verbose: (line: string) => void): Promise<void> {
  const context = pack();
  context.entry({ name: 'Dockerfile' }, dockerfile);
  context.finalize();
  const proxies = Object.fromEntries(Object.entries(config.buildProxy).flatMap(([name, value]) => [[name, value], [name.toLowerCase(), value]]));
  const stream = await docker.buildImage(context as unknown as NodeJS.ReadableStream, { t: image, labels, buildargs: proxies, nocache: true, rm: true, forcerm: true, version: '1', abortSignal: stop.signal });
  try { await drain(stream, verbose); }
  catch (error) {
    const text = (error as Error).message;
    if (/Temporary failure resolving|Unable to fetch|Failed to fetch|Could not connect/i.test(text)) throw new Unusable(`packages could not be fetched from within a container:\n${text}`, 'check that containers reach the network (DNS, proxy: BERTH_BUILD_HTTP_PROXY), or set BERTH_DEBIAN_MIRROR');
    if (/No space left/i.test(text)) throw new Unusable('the disk of the engine is full', 'docker system df; free some space, then run this again');
    throw error;
  }
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  const has = (flag: string): boolean => args.includes(flag);
  const parts = [...partImages()];
  const asked = args.filter((arg) => !arg.startsWith('-'));
  const known = (arg: string): boolean => arg.startsWith('-') ? ['--force', '--check', '--locked', '--verbose', '--help', '--all'].includes(arg) : parts.some(([image, { part }]) => arg === image || arg === part);
  const odd = args.find((arg) => !known(arg));
  if (odd !== undefined) throw new Unusable(`unknown argument ${odd}`, `${USAGE}; parts: ${[...new Set(parts.map(([, { part }]) => part))].join(' ')}`);
  if (has('--help')) { say(`${USAGE}\n  makes the images that buildpacks stand on: the common ones, and those of the parts that are named; --check only says what is missing (exit 2)`); return 0; }
  const wanted = parts.filter(([image, { part }]) => has('--all') || asked.includes(image) || asked.includes(part));
  if (!has('--locked') && !has('--check')) return await locked(args);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  const started = performance.now();
  const config = readConfig();
  const docker = new Docker({ socketPath: config.dockerSocket });
  let info: { DockerRootDir: string };
  try { info = await docker.info() as { DockerRootDir: string }; }
  catch (error) { throw new Unusable(`the engine does not answer at ${config.dockerSocket}: ${(error as Error).message}`, 'start dockerd, or set BERTH_DOCKER'); }
  const images = stackImages();
  const hashes = definitionHashes();
  const verbose = has('--verbose') ? (line: string): void => say(`         ${line}`) : (): void => undefined;
  const [base, runs, builds] = await Promise.all([inspect(docker, images.base), inspect(docker, images.run), inspect(docker, images.build)]);
  const fresh = (image: Docker.ImageInspectInfo | null, hash: string, from?: string): image is Docker.ImageInspectInfo =>
    image !== null && image.Config.Labels?.[LABEL_DEFINITION] === hash && (from === undefined || image.Config.Labels?.[LABEL_FROM] === from);
  const have = { base: fresh(base, hashes.base), run: base !== null && fresh(runs, hashes.run, base.Id), build: runs !== null && fresh(builds, hashes.build, runs.Id) };
  if (has('--check')) {
    for (const kind of ['base', 'run', 'build'] as const) say(`${images[kind]} ${have[kind] ? 'there' : 'missing or old'}`);
    const missing = await Promise.all(wanted.map(async ([image, { kind, part }]) => {
      const there = fresh(await inspect(docker, image), partHash(kind, part), (kind === 'run' ? runs : builds)?.Id);
      say(`${image} ${there ? 'there' : 'missing or old'}`);
      return !there;
    }));
    return have.base && have.run && have.build && !missing.includes(true) ? 0 : 2;
  }
  const force = has('--force');
  // what is named is what is forced
  if (!(force && wanted.length === 0) && have.base && have.run && have.build) say(`-----> Stack ${images.name} version ${STACK.version} is there`);
  else {
    await common();
    say(`=====> Stack ${images.name} version ${STACK.version} made in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
  for (const [image, { kind, part }] of wanted) {
    const under = await inspect(docker, images[kind]);
    if (under === null) throw new Error(`${images[kind]} vanished`);
    if (!force && fresh(await inspect(docker, image), partHash(kind, part), under.Id)) { say(`-----> ${image} is there`); continue; }
    await requireMirror((await inspect(docker, images.base))?.Config.Labels?.[LABEL_MIRROR] ?? mirrors(process.env).main, config);
    await step(`Making ${image}`, () => settled(docker, config, image, { [LABEL_DEFINITION]: partHash(kind, part), [LABEL_FROM]: under.Id }, (name) => build(docker, config, name, partDockerfile(kind, part), {}, verbose), verbose));
  }
  return 0;

  async function common(): Promise<void> {
    if (existsSync(info.DockerRootDir)) await room(info.DockerRootDir, NEED_BYTES.engine, 'the stack');
    const from = mirrors(process.env);
    await requireMirror(from.main, config);
    if (force || !have.base) await settled(docker, config, images.base, { [LABEL_DEFINITION]: hashes.base, [LABEL_MIRROR]: from.main }, (name) => bootstrapBase(docker, config, from, name, verbose), verbose);
    for (const [kind, below, text] of [['run', 'base', runDockerfile()], ['build', 'run', buildDockerfile()]] as const) {
      const under = await inspect(docker, images[below]);
      if (under === null) throw new Error(`${images[below]} vanished`);
      if (!force && fresh(await inspect(docker, images[kind]), hashes[kind], under.Id)) continue;
      await step(`Making ${images[kind]}`, () => settled(docker, config, images[kind], { [LABEL_DEFINITION]: hashes[kind], [LABEL_FROM]: under.Id }, (name) => build(docker, config, name, text, {}, verbose), verbose));
      const made = await inspect(docker, images[kind]);
      say(`       ${Math.round((made?.Size ?? 0) / 1e6)} MB, ${Math.round(((made?.Size ?? 0) - under.Size) / 1e6)} MB of it its own`);
    }
  }
}

/** The kernel's lock, taken by `flock` before it becomes ourselves: it cannot outlive a killed run. */
async function locked(args: readonly string[]): Promise<number> {
  await mkdir(dirname(LOCK), { recursive: true });
  const child = spawn('flock', ['--no-fork', '-w', '3600', '-E', '75', LOCK, process.execPath, process.argv[1]!, ...args, '--locked'], { stdio: 'inherit' });
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exit) => resolve(exit ?? 1));
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  });
  if (code === 75) throw new Unusable('another run has been making the stack for an hour', `see who holds ${LOCK}`);
  return code;
}

main().then((code) => { process.exitCode = code; }, (error: unknown) => {
  process.stderr.write(` !     ${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof Unusable) process.stderr.write(`       ${error.hint}\n`);
  process.exitCode = 1;
});
