import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants, existsSync } from 'node:fs';
import { access, chown, mkdir, readdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { alive } from '../tool/alive.js';
import { PluginFault, type PluginPrograms, type PluginRun } from './plugin.port.js';
import { keptIn, PLUGIN_DISK, requireRoom } from './plugin.room.js';

/** programs of the server that a plugin may name */
export const PROGRAM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** bytes that a program may write to standard output, and to standard error */
export const OUTPUT_MAX = 1024 * 1024;
const ERRORS_MAX = 256 * 1024;
/** lines of standard error that are passed on, and characters of one */
const LINES_MAX = 1000;
const LINE_MAX = 2000;
/** what a program has after its time to end by itself, ms */
const GRACE_MS = 1000;
/** how long those that it started may hold its output open after its end, ms */
const CLOSE_MS = 500;
/** how often it is looked at what a program keeps while it runs, ms */
const ROOM_MS = 500;
/** of everything that runs as one plugin's user; bytes of one file */
const LIMITS = ['--nproc=256:256', '--core=0:0', `--fsize=${1024 ** 3}:${1024 ** 3}`];
const PRLIMIT = '/usr/bin/prlimit';
const LOWEST = ['/usr/bin/nice', '-n', '19'];
const MARK = 'BERTH_PLUGIN_RUN';

/** Absolute path of a program of the server, or null. */
export async function findProgram(name: string, path = PROGRAM_PATH): Promise<string | null> {
  for (const folder of path.split(':')) {
    const file = join(folder, name);
    if (await access(file, constants.X_OK).then(() => true, () => false)) return file;
  }
  return null;
}

async function ownFolder(folder: string, uid: number | null): Promise<void> {
  const there = await stat(folder).catch(() => null);
  if (there && (uid === null || there.uid === uid)) return;
  await mkdir(dirname(folder), { recursive: true, mode: 0o711 });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (uid !== null) await chown(folder, uid, uid);
}

/** Programs of plugins as processes of their own user, in a group of their own. */
export class PluginDriver implements PluginPrograms {
  private readonly limits = existsSync(PRLIMIT) ? [PRLIMIT, ...LIMITS, '--'] : [];

  /** @param disk bytes that one may keep in its folder */
  constructor(private readonly disk: number = PLUGIN_DISK) {}

  async run({ argv, code, data, uid, env, input, timeoutMs, low = false, signal, onLine }: PluginRun): Promise<{ code: number; stdout: string }> {
    signal.throwIfAborted();
    const [program = '', ...rest] = argv;
    const file = program.startsWith('/') ? program : program.includes('/') ? join(code, program) : await findProgram(program);
    if (file === null) throw new PluginFault('start', `${program} is not on this server`);
    await ownFolder(data, uid);
    await requireRoom(data, this.disk);
    const run = `${process.pid}.${randomBytes(8).toString('hex')}`;
    const [first, ...words] = [...(low ? LOWEST : []), ...(uid === null ? [] : this.limits), file, ...rest];
    const child = spawn(first!, words, {
      cwd: code, detached: true, stdio: ['pipe', 'pipe', 'pipe'], ...(uid !== null && { uid, gid: uid }),
      env: { PATH: PROGRAM_PATH, HOME: data, TMPDIR: data, LANG: 'C.UTF-8', ...env, [MARK]: run },
    });
    const kill = (name: NodeJS.Signals): void => { try { if (child.pid !== undefined) process.kill(-child.pid, name); } catch { /* it has ended */ } };
    let fault: PluginFault | null = null;
    const timers: NodeJS.Timeout[] = [];
    const end = (why: PluginFault | null, name: NodeJS.Signals): void => {
      fault ??= why;
      kill(name);
      if (name !== 'SIGKILL') timers.push(setTimeout(() => kill('SIGKILL'), GRACE_MS));
    };
    const stop = (): void => end(null, 'SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    timers.push(setTimeout(() => end(new PluginFault('timeout', `it did not end within ${timeoutMs / 1000} s, and was killed`), 'SIGTERM'), timeoutMs));
    let running = true;
    const watch = async (): Promise<void> => {
      const { over } = await keptIn(data, this.disk);
      if (!running) return;
      if (over !== null) return end(new PluginFault('disk', `${over}; it was killed`), 'SIGKILL');
      timers.push(setTimeout(() => void watch(), ROOM_MS));
    };
    timers.push(setTimeout(() => void watch(), ROOM_MS));

    const pieces: Buffer[] = [];
    /** passes on what comes, up to `most` bytes; more is a flood, and is read no further */
    const take = (stream: Readable, what: string, most: number, piece: (bytes: Buffer) => void): void => {
      let size = 0;
      stream.on('data', (bytes: Buffer) => {
        size += bytes.length;
        if (size <= most) return piece(bytes);
        stream.destroy();
        end(new PluginFault('flood', `it wrote more than ${most / 1024} KiB to standard ${what}, and was killed`), 'SIGKILL');
      });
    };
    take(child.stdout, 'output', OUTPUT_MAX, (bytes) => { pieces.push(bytes); });
    const lines = lineByLine(onLine);
    take(child.stderr, 'error', ERRORS_MAX, lines);
    child.stdin.on('error', () => {}); // it need not read what it is told
    child.stdin.end(input);
    if (child.pid !== undefined) void writeFile(`/proc/${child.pid}/oom_score_adj`, '900').catch(() => {}); // before Berth, should memory run out

    try {
      const [status, by] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (...how) => resolve(how));
        child.on('exit', (...how) => {
          timers.push(setTimeout(() => { kill('SIGKILL'); child.stdout.destroy(); child.stderr.destroy(); resolve(how); }, CLOSE_MS));
        });
      });
      lines();
      kill('SIGKILL'); // whatever it left behind in its group
      if (fault !== null && uid !== null) await killMarked((each) => each === uid, (mark) => mark === run); // those that left the group
      signal.throwIfAborted();
      if (fault !== null) throw fault as PluginFault;
      if (status === null) throw new PluginFault('signal', `it was killed by ${by}`);
      return { code: status, stdout: Buffer.concat(pieces).toString('utf8') };
    } catch (error) {
      const { code: errno } = error as NodeJS.ErrnoException;
      if (errno === 'ENOENT' || errno === 'EACCES' || errno === 'ENOEXEC') throw new PluginFault('start', `${program} cannot be started (${errno})`);
      throw error;
    } finally {
      running = false;
      timers.forEach(clearTimeout);
      signal.removeEventListener('abort', stop);
    }
  }
}

/** Cuts what comes into lines; called without bytes at the end. */
function lineByLine(onLine: (line: string) => void): (bytes?: Buffer) => void {
  const decoder = new StringDecoder('utf8');
  let [rest, said] = ['', 0];
  const say = (line: string): void => {
    said += 1;
    if (said <= LINES_MAX) onLine(line.length > LINE_MAX ? `${line.slice(0, LINE_MAX)}…` : line);
    else if (said === LINES_MAX + 1) onLine(`… more than ${LINES_MAX} lines`);
  };
  return (bytes) => {
    if (bytes === undefined) {
      if (rest !== '') say(rest);
      rest = '';
      return;
    }
    const parts = (rest + decoder.write(bytes)).split('\n');
    rest = parts.pop()!;
    for (const part of parts) if (said <= LINES_MAX) say(part);
  };
}

/** Kills the processes of plugins of which `ours` says so, by the mark in their environment. */
async function killMarked(isPlugin: (uid: number) => boolean, ours: (mark: string) => boolean): Promise<number> {
  const space = await readlink('/proc/self/ns/pid');
  let killed = 0;
  await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(async (pid) => {
    try {
      if (!isPlugin((await stat(`/proc/${pid}`)).uid)) return;
      const mark = (await readFile(`/proc/${pid}/environ`, 'latin1')).split('\0').find((each) => each.startsWith(`${MARK}=`))?.slice(MARK.length + 1);
      // in a container beside us the numbers of processes mean others
      if (mark === undefined || !ours(mark) || (await readlink(`/proc/${pid}/ns/pid`)) !== space) return;
      process.kill(Number(pid), 'SIGKILL');
      killed += 1;
    } catch (error) {
      if (!['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error; // it has ended, or is not ours to look at
    }
  }));
  return killed;
}

/** What plugins were doing for processes of ours that died: nobody waits for it, and nobody else would end it. Answers how many were killed. */
export const killOrphans = (uids: { readonly from: number; readonly to: number }): Promise<number> => killMarked((uid) => uid >= uids.from && uid <= uids.to, (mark) => !alive(Number(mark.split('.')[0])));
