import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { rolldown } from 'rolldown';

/** vitest and the bench are started here */
const REPO = process.cwd();

/** The child as one file that plain node runs; under node_modules, where `pg` is found and git does not look. */
export async function bundleChild(source = 'event-store.child.ts', name = 'event-store'): Promise<{ file: string; remove(): void }> {
  const parent = join(REPO, 'node_modules', '.cache');
  mkdirSync(parent, { recursive: true });
  const dir = mkdtempSync(join(parent, `${name}-`));
  const file = join(dir, 'child.mjs');
  const build = await rolldown({ input: join(REPO, 'test/contract', source), tsconfig: join(REPO, 'tsconfig.json'), platform: 'node', external: ['pg'] });
  await build.write({ file, format: 'esm', codeSplitting: false });
  await build.close();
  return { file, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

export interface Child {
  readonly process: ChildProcessWithoutNullStreams;
  readonly lines: string[];
  /** resolves with the first line that starts so, seen before or later */
  line(start: string): Promise<string>;
  /** the exit code, or the signal's name */
  readonly ended: Promise<number | string>;
}

export function startChild(file: string, ...args: readonly string[]): Child {
  const child = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const waiting = new Set<{ start: string; tell: (line: string) => void; fail: (error: Error) => void }>();
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => { complaint += text; });
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    for (const entry of waiting) if (line.startsWith(entry.start)) { waiting.delete(entry); entry.tell(line); }
  });
  const ended = new Promise<number | string>((done) => child.on('close', (code, signal) => {
    if (code) process.stderr.write(complaint);
    for (const entry of waiting) entry.fail(new Error(`child ended (${code ?? signal}) before it said ${entry.start}: ${complaint}`));
    done(code ?? signal ?? 'unknown');
  }));
  return {
    process: child, lines, ended,
    line: (start) => new Promise((tell, fail) => {
      const known = lines.find((line) => line.startsWith(start));
      if (known !== undefined) tell(known);
      else waiting.add({ start, tell, fail });
    }),
  };
}

/** A PostgreSQL of our own on a unix socket in a temporary folder. */
export class Cluster {
  readonly #dir: string;
  readonly #bin: string;
  readonly #settings: readonly string[];
  #server: ReturnType<typeof spawn> | null = null;
  #databases = 0;

  private constructor(dir: string, bin: string, settings: readonly string[]) {
    this.#dir = dir;
    this.#bin = bin;
    this.#settings = settings;
  }

  /** The folder of PostgreSQL's programs, or null where none is installed. */
  static programs(): string | null {
    const base = '/usr/lib/postgresql';
    if (!existsSync(base)) return null;
    const newest = readdirSync(base).filter((version) => existsSync(join(base, version, 'bin/initdb'))).sort((a, b) => Number(b) - Number(a))[0];
    return newest ? join(base, newest, 'bin') : null;
  }

  /** @param settings `fsync=off` and the like */
  static async create(...settings: readonly string[]): Promise<Cluster> {
    const bin = Cluster.programs();
    if (!bin) throw new Error('no PostgreSQL under /usr/lib/postgresql');
    const dir = mkdtempSync(join(tmpdir(), 'berth-pg-'));
    const cluster = new Cluster(dir, bin, settings);
    const user = cluster.#user();
    if (user) chownSync(dir, user.uid, user.gid);
    const made = spawnSync(join(bin, 'initdb'), ['-D', join(dir, 'data'), '-A', 'trust', '-U', 'berth', '-E', 'UTF8', '--locale=C', '--no-sync'], { ...user, encoding: 'utf8', cwd: dir });
    if (made.status !== 0) {
      rmSync(dir, { recursive: true, force: true });
      throw new Error(`initdb: ${made.stderr || made.error?.message}`);
    }
    await cluster.start();
    return cluster;
  }

  url(database: string): string {
    return `postgres://berth@localhost/${database}?host=${encodeURIComponent(this.#dir)}`;
  }

  async start(): Promise<void> {
    const args = ['-D', join(this.#dir, 'data'), '-k', this.#dir, '-c', 'listen_addresses=', ...this.#settings.flatMap((setting) => ['-c', setting])];
    const user = this.#user();
    // dies with us, whatever ends us
    this.#server = spawn('setpriv', ['--pdeathsig', 'INT', join(this.#bin, 'postgres'), ...args], { ...user, cwd: this.#dir, stdio: 'ignore' });
    for (const late = Date.now() + 20_000; ; await sleep(50)) {
      try {
        await this.#admin('SELECT 1');
        return;
      } catch (error) {
        if (Date.now() > late) throw error;
      }
    }
  }

  /** @param how SIGINT: orderly; SIGQUIT: at once, as in a crash */
  async stop(how: 'SIGINT' | 'SIGQUIT' = 'SIGINT'): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (!server || server.exitCode !== null) return;
    const gone = new Promise((done) => server.once('exit', done));
    server.kill(how);
    await gone;
  }

  /** Answers the URL of a new, empty database. */
  async database(): Promise<string> {
    const name = `t${++this.#databases}`;
    await this.#admin(`CREATE DATABASE ${name}`);
    return this.url(name);
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #admin(sql: string): Promise<void> {
    const client = new pg.Client(this.url('postgres'));
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query(sql);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** PostgreSQL refuses to run as root. */
  #user(): { uid: number; gid: number } | undefined {
    if (process.getuid?.() !== 0) return undefined;
    const id = (flag: string) => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
    return { uid: id('-u'), gid: id('-g') };
  }
}

