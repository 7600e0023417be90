import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Config } from '../../config.js';
import { StepFailure } from '../../events/step.js';
import { putFile } from './atomic.js';
import { certificatesOf, type Certificate } from './haproxy.certificates.js';
import { PAGES, pageHtml, pageText } from './haproxy.pages.js';
import { HaproxyRuntime, parseStats } from './haproxy.runtime.js';
import { ask } from './haproxy.socket.js';
import { backendOf, digestOf, haproxyConfig, haproxyMaps, haproxyPages, haproxyShape, tableInConfig, type HaproxySettings } from './haproxy.text.js';
import { checkTable, planRoutes } from './router.plan.js';
import { RouterPort, type DesiredTable, type ProbeAnswer, type ProbeRequest, type RouterPlan, type RouterState, type ServerStats } from './router.port.js';

const run = promisify(execFile);
interface Workers { readonly current: readonly number[]; readonly old: readonly number[]; readonly failed: number }
const EMPTY: DesiredTable = { apps: [] };

export interface HaproxyOptions extends HaproxySettings {
  readonly masterSocket: string;
  readonly pidFile: string;
  /** the haproxy program */
  readonly program: string;
}

/** Paths as the bootstrap starts HAProxy: `haproxy -W -db -S <run>/haproxy-master.sock -f <root>/router/haproxy.cfg -p <run>/haproxy.pid`. */
export function haproxyOptions(config: Pick<Config, 'root' | 'run' | 'httpPort'>): HaproxyOptions {
  const program = ['/usr/sbin/haproxy', '/usr/local/sbin/haproxy'].find((path) => existsSync(path)) ?? 'haproxy';
  return {
    dir: join(config.root, 'router'), socket: join(config.run, 'haproxy.sock'), masterSocket: join(config.run, 'haproxy-master.sock'), pidFile: join(config.run, 'haproxy.pid'),
    httpPort: config.httpPort, hooks: join(config.run, 'hooks.sock'), ipv6: existsSync('/proc/net/if_inet6'), user: workerUser(), program,
  };
}

/** Who may read a map: hashes of passwords are for the router alone, which reads its files as root. */
const modeOf = (map: string): number => (map === 'users' ? 0o600 : 0o644);

/** Started as root, HAProxy's workers become the distribution's `haproxy` user after binding and reading their files. */
function workerUser(): string | null {
  return process.getuid?.() === 0 && existsSync('/etc/passwd') && /^haproxy:/m.test(readFileSync('/etc/passwd', 'utf8')) ? 'haproxy' : null;
}

/** HAProxy 2.6 and newer. New and vanished apps reload it; everything else goes through its runtime socket, and into its files in the same breath. */
export class HaproxyDriver extends RouterPort {
  private readonly runtime: HaproxyRuntime;
  private readonly file: string;

  constructor(private readonly options: HaproxyOptions) {
    super();
    this.runtime = new HaproxyRuntime(options.socket, options.dir);
    this.file = join(options.dir, 'haproxy.cfg');
  }

  override plan(desired: DesiredTable, actual: RouterState): RouterPlan { return planRoutes(desired, actual); }

  /**
   * Makes the folder startable: pages, token, maps, config. Keeps the routes of the config that is there when it is one of ours; otherwise it starts empty
   * (the reconciler fills it from the log). Needs no running HAProxy. @throws StepFailure `route.config-invalid`
   */
  async ensureFiles(): Promise<void> {
    const { dir } = this.options;
    await mkdir(dir, { recursive: true, mode: 0o755 });
    for (const name of await readdir(dir)) if (name.endsWith('.tmp')) await unlink(join(dir, name));
    for (const page of PAGES) {
      const name = page.name ?? page.status;
      await putFile(join(dir, `${name}.html`), pageHtml(page), 0o644);
      await putFile(join(dir, `${name}.txt`), pageText(page), 0o644);
    }
    const token = await readFile(this.tokenFile, 'utf8').catch(() => '');
    if (!/^[0-9a-f]{48}\n$/.test(token)) await putFile(this.tokenFile, `${randomBytes(24).toString('hex')}\n`, 0o600);
    const text = await readFile(this.file, 'utf8').catch(() => null);
    await this.write((text === null ? null : tableInConfig(text)) ?? EMPTY);
  }

  override async observe(): Promise<RouterState> {
    const [state, text, loaded] = await Promise.all([this.runtime.observe(), readFile(this.file, 'utf8').catch(() => ''), this.runtime.fixed()]);
    const inFile = new Map(tableInConfig(text)?.apps.map((app) => [app.id, app]));
    return { ...state, apps: state.apps.map((app) => {
      const { name = app.name, fixed } = inFile.get(app.id) ?? {};
      const same = loaded !== null && digestOf(fixed) === (loaded.get(app.id) ?? null);
      return { ...app, name, ...(fixed && { fixed }), ...(!same && { stale: true as const }) };
    }) };
  }

  /** What the running router serves TLS with; none when it speaks plain HTTP only. @throws StepFailure `route.router-down` */
  certificates(): Promise<readonly Certificate[]> { return certificatesOf((command) => this.runtime.ask(command)); }

  override async apply(plan: RouterPlan): Promise<void> {
    checkTable(plan.desired);
    await this.write(plan.desired);
    if (plan.changes.some((change) => change.do === 'app.add' || change.do === 'app.remove' || change.do === 'app.fix')) return this.reload();
    for (const change of plan.changes) await this.runtime.change(change);
  }

  override async stats(app?: string): Promise<readonly ServerStats[]> {
    const all = 'show stat -1 4 -1';
    const sum = new Map<string, ServerStats>();
    // workers that a reload replaced may still carry requests to a server that is being drained
    const older = (await this.workers()).old.map((pid) => this.askOld(pid, all)); // which may not know the app: all of theirs
    for (const row of (await Promise.all([this.runtime.ask(app === undefined ? all : `show stat ${backendOf(app)} 4 -1`), ...older])).flatMap(parseStats)) {
      if (app !== undefined && row.app !== app) continue;
      const key = `${row.app}/${row.server}`;
      const other = sum.get(key);
      sum.set(key, other === undefined ? row : { ...row, inFlight: row.inFlight + other.inFlight, sessions: row.sessions + other.sessions, requests: row.requests + other.requests });
    }
    return [...sum.values()];
  }

  override async probe(probe: ProbeRequest): Promise<ProbeAnswer> {
    const token = (await readFile(this.tokenFile, 'utf8')).trim();
    const host = probe.host.replace(/^\*/, 'berth-probe');
    return new Promise((resolve, reject) => {
      const signal = AbortSignal.any([AbortSignal.timeout(Math.ceil(probe.timeoutMs)), ...(probe.signal ? [probe.signal] : [])]);
      const outgoing = request({
        host: '127.0.0.1', port: this.options.httpPort, path: probe.path, agent: false, signal,
        headers: { host, 'user-agent': 'berth-probe', 'x-berth-probe': token, ...(probe.server === undefined ? {} : { 'x-berth-server': probe.server }) },
      }, (answer) => {
        const server = answer.headers['x-berth-server'];
        resolve({ status: answer.statusCode ?? 0, server: typeof server === 'string' ? server : null });
        answer.on('error', () => undefined);
        answer.destroy(); // the head is enough; the body may be endless
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  private get tokenFile(): string { return join(this.options.dir, 'probe-token'); }

  /** Maps first: a host whose backend is not there yet gets the 404 page, a backend without hosts nothing. */
  private async write(table: DesiredTable): Promise<void> {
    const maps = Object.entries(haproxyMaps(table));
    const pages = haproxyPages(table);
    const { dir } = this.options;
    for (const [name] of maps) if (!existsSync(join(dir, `${name}.map`))) await putFile(join(dir, `${name}.map`), '', modeOf(name));
    await mkdir(join(dir, 'pages'), { recursive: true, mode: 0o755 });
    for (const [name, html] of pages) await putFile(join(dir, 'pages', name), html, 0o644);
    const text = haproxyConfig(table, this.options);
    const inPlace = await readFile(this.file, 'utf8').catch(() => '');
    // only server lines differ: their grammar is closed (`faultOf`), and asking haproxy costs 30 to 100 ms in the middle of a switch
    const known = haproxyShape(text) === haproxyShape(inPlace);
    await putFile(this.file, text, 0o600, known ? undefined : (path) => this.validate(path));
    for (const [name, lines] of maps) await putFile(join(dir, `${name}.map`), lines, modeOf(name));
    for (const name of await readdir(join(dir, 'pages'))) if (!pages.has(name)) await unlink(join(dir, 'pages', name)).catch(() => undefined);
  }

  private async validate(path: string): Promise<void> {
    try {
      await run(this.options.program, ['-c', '-q', '-f', path], { timeout: 30_000 });
    } catch (error) {
      const text = error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
      const alert = text.split('\n').find((line) => line.includes('[ALERT]'))?.replace(/^.*?:\s*/, '') ?? text.split('\n')[0] ?? '';
      throw new StepFailure('route.config-invalid', `HAProxy refuses the new configuration, the old one stays: ${alert}`, null, 'machine', { cause: error });
    }
  }

  /** The master's children. It is away for some ms while it reloads: asked again until it answers. @throws StepFailure `route.router-down` */
  private async workers(): Promise<Workers> {
    for (let tries = 1; ; tries++) {
      const text = await ask(this.options.masterSocket, 'show proc').catch((error: unknown) => { if (tries >= 20) throw error; return ''; });
      const [now = '', old = ''] = text.split('# old workers');
      const pids = (part: string): number[] => [...part.matchAll(/^(\d+)\s+worker\b/gm)].map((match) => Number(match[1]));
      if (pids(now).length > 0) return { current: pids(now), old: pids(old), failed: Number(/\[failed: (\d+)\]/.exec(text)?.[1] ?? 0) };
      if (tries >= 20) throw new StepFailure('route.router-down', 'HAProxy\'s master names no running worker', 'Look at the HAProxy unit\'s log.', 'machine');
      await sleep(25);
    }
  }

  /** A worker that may just have gone: its answer, or nothing when it is no longer among the old ones. */
  private async askOld(pid: number, command: string): Promise<string> {
    for (let tries = 1; ; tries++) {
      const answer = await ask(this.options.masterSocket, `@!${pid} ${command}`).catch(() => '');
      if (answer.startsWith('# pxname') || answer.startsWith('Name:') || !(await this.workers()).old.includes(pid)) return answer;
      if (tries >= 10) throw new StepFailure('route.router-down', `HAProxy's old worker ${pid} does not say what it still carries`, null, 'machine');
      await sleep(25);
    }
  }

  /** Returns when a new worker answers and the one before takes no more connections. */
  private async reload(): Promise<void> {
    const before = await this.runtime.pid();
    const text = await ask(this.options.masterSocket, 'reload').catch(() => null);
    if (text === null) await this.signalMaster();
    else if (text.includes('Success=0')) throw new StepFailure('route.reload-failed', 'HAProxy could not load the new configuration and keeps the old one', 'Look at the HAProxy unit\'s log.', 'machine');
    const until = Date.now() + 15_000;
    for (let wait = 4; Date.now() < until; wait = Math.min(wait * 1.5, 100)) {
      await sleep(wait);
      const now = await this.runtime.pid().catch(() => 0);
      const { current, old, failed } = await this.workers().catch((): Workers => ({ current: [], old: [], failed: 0 }));
      if (failed > 0) break; // counts since the last good one
      if (now === before || !current.includes(now) || current.includes(before)) continue;
      if (!old.includes(before) || /^Stopping: 1$/m.test(await this.askOld(before, 'show info').catch(() => ''))) return;
    }
    throw new StepFailure('route.reload-failed', 'HAProxy did not come up with the new configuration', 'Look at the HAProxy unit\'s log.', 'machine');
  }

  private async signalMaster(): Promise<void> {
    const pid = Number(await readFile(this.options.pidFile, 'utf8').catch(() => '0'));
    try {
      if (!Number.isInteger(pid) || pid < 2) throw new Error(`no pid in ${this.options.pidFile}`);
      process.kill(pid, 'SIGUSR2');
    } catch (error) {
      throw new StepFailure('route.router-down', `HAProxy's master cannot be reached: ${error instanceof Error ? error.message : String(error)}`, 'Look at the HAProxy unit: is it running?', 'machine', { cause: error });
    }
  }
}
