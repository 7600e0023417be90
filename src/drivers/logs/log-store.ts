import { watch } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

/** One line of output. */
export interface LogLine {
  /** ms since the epoch */
  readonly t: number;
  /** whose: a step (`build`) or a process (`web.1`) */
  readonly s: string;
  /** text without a newline */
  readonly m: string;
  /** o = output, e = warning or error, c = engine call */
  readonly k?: 'o' | 'e' | 'c';
  /** 1 = shown live only in trace mode */
  readonly v?: 0 | 1;
  /** attempt of the step, or release of the process */
  readonly a?: number;
}

export interface NumberedLine extends LogLine {
  /** 1 for a log's first line ever, no gaps; stays when older chunks are removed */
  readonly n: number;
}

/** bytes of a chunk after which a new one is begun */
const CHUNK = 1 << 20;
/** longest line that is kept whole, in characters */
export const LINE_MAX = 16_384;

const chunkName = (first: number): string => `${String(first).padStart(12, '0')}.log`;

async function chunks(dir: string): Promise<{ first: number; file: string }[]> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.filter((name) => /^\d{12}\.log$/.test(name)).sort().map((name) => ({ first: Number(name.slice(0, 12)), file: join(dir, name) }));
}

/** False when there is no room for it. */
async function made(dir: string): Promise<boolean> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o750 });
    return true;
  } catch (error) {
    if (noRoom(error)) return false;
    throw error;
  }
}

/** Whole lines of a chunk; a last line that a dying writer cut is not counted until it is ended. */
function whole(text: string): string[] {
  const end = text.lastIndexOf('\n');
  return end < 0 ? [] : text.slice(0, end).split('\n');
}

function parse(text: string): LogLine {
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    return { t: 0, s: '?', m: text }; // two writers or a crash in mid-line: shown as it is
  }
}

const noRoom = (error: unknown): boolean => ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');

/**
 * Appends to one log; one writer at a time. Lines are written in batches a few ms apart. What cannot be written is lost, not waited for;
 * when writing works again a line says how much that was.
 */
export class LogWriter {
  private buffer: string[] = [];
  private pending: Promise<void> = Promise.resolve();
  private timer: NodeJS.Timeout | null = null;
  private handle: FileHandle | null = null;
  private size = 0;
  private next = 1;
  private failed: Error | null = null;
  /** lines that a write failed with since `next` was `from` (null: not known then), and why */
  private lost: { readonly lines: number; readonly from: number | null; readonly why: string } | null = null;

  constructor(private readonly dir: string, private readonly delayMs = 15) {}

  append(line: LogLine): void {
    const text = line.m.length > LINE_MAX ? `${line.m.slice(0, LINE_MAX)} … (${line.m.length} characters)` : line.m;
    this.buffer.push(JSON.stringify({ ...line, m: text }));
    if (this.buffer.length > 2000) this.schedule(0);
    else this.schedule(this.delayMs);
  }

  /** All lines so far are in the file. Rejects when some could not be written (disk full). */
  async flush(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.pending = this.pending.then(() => this.write());
    await this.pending;
    const { failed } = this;
    this.failed = null;
    if (failed) throw failed;
  }

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.handle?.close();
      this.handle = null;
    }
  }

  private schedule(ms: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.pending = this.pending.then(() => this.write());
    }, ms);
  }

  private async write(): Promise<void> {
    if (this.buffer.length === 0) return;
    const batch = this.buffer;
    this.buffer = [];
    try {
      if (!this.handle || this.size > CHUNK) await this.begin();
      if (this.lost) this.confess(batch, this.lost);
      const bytes = Buffer.from(`${batch.join('\n')}\n`);
      await this.handle!.appendFile(bytes);
      this.size += bytes.length;
      this.next += batch.length;
      this.lost = null;
    } catch (error) {
      this.failed = error as Error;
      const before = this.lost ?? { lines: 0, from: this.handle ? this.next : null };
      this.lost = { lines: before.lines + batch.length, from: before.from, why: noRoom(error) ? 'the disk was full' : this.failed.message };
      // some of it may stand in the file: the next write counts anew, and ends a line that was cut
      await this.handle?.close().catch(() => {});
      this.handle = null;
    }
  }

  /** Puts a line before `batch` that says how many are missing. Some of them may have come into the file after all. */
  private confess(batch: string[], { lines, from, why }: NonNullable<LogWriter['lost']>): void {
    const missing = lines - (from === null ? 0 : this.next - from);
    if (missing <= 0) return;
    const { v: _, ...line } = JSON.parse(batch[0]!) as LogLine;
    batch.unshift(JSON.stringify({ ...line, m: ` !     ${missing} ${missing === 1 ? 'line is' : 'lines are'} missing here: ${why}`, k: 'e' }));
  }

  private async begin(): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o750 });
    if (!this.handle) {
      const last = (await chunks(this.dir)).at(-1);
      if (last) {
        const text = await readFile(last.file, 'utf8');
        this.next = last.first + whole(text).length;
        // a line cut by a crash is ended, so that the next one starts clean
        if (text.length > 0 && !text.endsWith('\n')) {
          const repair = await open(last.file, 'a');
          try { await repair.appendFile('\n'); } finally { await repair.close(); }
          this.next += 1;
        }
        if (Buffer.byteLength(text) <= CHUNK) {
          this.handle = await open(last.file, 'a', 0o640);
          this.size = Buffer.byteLength(text);
          return;
        }
      }
    }
    await this.handle?.close();
    this.handle = await open(join(this.dir, chunkName(this.next)), 'a', 0o640);
    this.size = 0;
  }
}

/** Chunked log files under one folder: a log is a name such as `deploys/<app>/7` or `apps/<app>`. */
export class LogStore {
  constructor(private readonly root: string) {}

  private dir(log: string): string {
    if (!/^[a-zA-Z0-9._-]+(?:\/[a-zA-Z0-9._-]+)*$/.test(log) || log.split('/').some((part) => part.startsWith('.'))) throw new Error(`not the name of a log: ${log}`);
    return join(this.root, log);
  }

  writer(log: string): LogWriter {
    return new LogWriter(this.dir(log));
  }

  /** Lines numbered > `after`, oldest first, at most `limit`. */
  async read(log: string, after = 0, limit = 10_000): Promise<NumberedLine[]> {
    const all = await chunks(this.dir(log));
    const from = Math.max(0, all.findLastIndex((chunk) => chunk.first <= after + 1));
    const lines: NumberedLine[] = [];
    for (const chunk of all.slice(from)) {
      const texts = whole(await readFile(chunk.file, 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return ''; // removed by retention meanwhile
        throw error;
      }));
      for (let i = Math.max(0, after + 1 - chunk.first); i < texts.length; i += 1) {
        lines.push({ ...parse(texts[i]!), n: chunk.first + i });
        if (lines.length >= limit) return lines;
      }
    }
    return lines;
  }

  /** The last `count` lines that `keep` accepts, oldest first. */
  async tail(log: string, count: number, keep: (line: LogLine) => boolean = () => true): Promise<NumberedLine[]> {
    const found: NumberedLine[] = [];
    for (const chunk of (await chunks(this.dir(log))).reverse()) {
      const texts = whole(await readFile(chunk.file, 'utf8'));
      for (let i = texts.length - 1; i >= 0 && found.length < count; i -= 1) {
        const line = parse(texts[i]!);
        if (keep(line)) found.push({ ...line, n: chunk.first + i });
      }
      if (found.length >= count) break;
    }
    return found.reverse();
  }

  /** Number of the last whole line; 0 for an empty log. */
  async last(log: string): Promise<number> {
    const chunk = (await chunks(this.dir(log))).at(-1);
    return chunk ? chunk.first - 1 + whole(await readFile(chunk.file, 'utf8')).length : 0;
  }

  /**
   * Calls `onLines` with lines > `after` as they come, in order and each once, until `signal` is aborted.
   * Waits for a log that does not exist yet. Woken by inotify, and every 250 ms in case a wake-up was lost.
   */
  async follow(log: string, after: number, signal: AbortSignal, onLines: (lines: NumberedLine[]) => void | Promise<void>): Promise<void> {
    const dir = this.dir(log);
    // a full disk has no room for a folder, either
    while (!signal.aborted && !(await made(dir))) await new Promise((resolve) => setTimeout(resolve, 250));
    if (signal.aborted) return;
    let wake: () => void = () => {};
    const watcher = watch(dir, () => wake());
    watcher.on('error', () => wake());
    const stop = (): void => wake();
    signal.addEventListener('abort', stop);
    try {
      let seen = after;
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => { wake = resolve; });
        const lines = await this.read(log, seen);
        if (lines.length > 0) {
          await onLines(lines);
          seen = lines.at(-1)!.n;
          continue;
        }
        let timer: NodeJS.Timeout | undefined;
        await Promise.race([woken, new Promise<void>((resolve) => { timer = setTimeout(resolve, 250); })]);
        clearTimeout(timer);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      watcher.close();
    }
  }

  /** Removes whole chunks, oldest first, until the log is at most `bytes`; the newest chunk always stays. */
  async trim(log: string, bytes: number): Promise<void> {
    const all = await chunks(this.dir(log));
    const sizes = await Promise.all(all.map(async ({ file }) => (await stat(file)).size));
    let total = sizes.reduce((sum, size) => sum + size, 0);
    for (let i = 0; i < all.length - 1 && total > bytes; i += 1) {
      await rm(all[i]!.file, { force: true });
      total -= sizes[i]!;
    }
  }

  async remove(log: string): Promise<void> {
    await rm(this.dir(log), { recursive: true, force: true });
  }
}
