import { spawnSync } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { LINE_MAX, LogStore, type LogLine, type NumberedLine } from '../../src/drivers/logs/log-store.js';

let root: string;
let logs: LogStore;
let dir: string;
let nth = 0;
let log: string;
beforeAll(async () => { root = await mkdtemp(join(tmpdir(), 'berth-logs-')); logs = new LogStore(root); });
afterAll(() => rm(root, { recursive: true }));
beforeEach(() => { log = `deploys/app/${nth += 1}`; dir = join(root, log); });

const line = (m: string, more: Partial<LogLine> = {}): LogLine => ({ t: 1, s: 'web.1', m, ...more });
async function write(...texts: string[]): Promise<void> {
  const writer = logs.writer(log);
  for (const text of texts) writer.append(line(text));
  await writer.close();
}
const shown = (lines: readonly NumberedLine[]): string[] => lines.map(({ n, m }) => `${n} ${m}`);
/** More than a chunk: 1 MiB. */
const big = (prefix: string): string[] => Array.from({ length: 110 }, (_, i) => `${prefix}${i} ${'x'.repeat(10_000)}`);

describe('a full disk', () => {
  it('loses lines, says how many, and goes on by itself; who waits for a log that has no room yet gets it later', async (context) => {
    const small = await mkdtemp(join(tmpdir(), 'berth-logs-small-'));
    onTestFinished(() => rm(small, { recursive: true, force: true }));
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]).status !== 0) return context.skip('mounting a small tmpfs needs root');
    onTestFinished(() => { spawnSync('umount', ['-l', small]); });
    const store = new LogStore(small);
    const writer = store.writer('apps/a');
    writer.append(line('first'));
    await writer.flush();
    const ballast = join(small, 'ballast');
    await writeFile(ballast, Buffer.alloc(1 << 20)).catch(() => undefined); // as much as there is room for
    for (let i = 0; i < 30; i += 1) writer.append(line('x'.repeat(10_000)));
    await expect(writer.flush()).rejects.toMatchObject({ code: 'ENOSPC' });
    writer.append(line('y'.repeat(10_000)));
    await expect(writer.flush()).rejects.toMatchObject({ code: 'ENOSPC' });
    const stop = new AbortController();
    const seen: string[] = [];
    const following = store.follow('apps/new/one', 0, stop.signal, (lines) => { seen.push(...lines.map((l) => l.m)); });
    await sleep(300); // it is refused its folder meanwhile
    await rm(ballast);
    writer.append(line('after'));
    await writer.close();
    const all = await store.read('apps/a');
    const told = all.findIndex(({ m }) => m.includes('missing here'));
    const whole = all.filter(({ m }) => /^[xy]{10000}$/.test(m)).length;
    const cut = all.filter(({ m, s }) => s === '?' && m.length > 0).length;
    expect(all[0]!.m).toBe('first');
    expect(all[told]).toMatchObject({ k: 'e', m: ` !     ${31 - whole - cut} lines are missing here: the disk was full` });
    expect(all.at(-1)).toMatchObject({ m: 'after', n: all.length });
    const other = store.writer('apps/new/one');
    other.append(line('there'));
    await other.close();
    await expect.poll(() => seen).toEqual(['there']);
    stop.abort();
    await following;
  });
});

describe('a log', () => {
  it('is empty before its first line', async () => {
    expect(await logs.read(log)).toEqual([]);
    expect(await logs.tail(log, 5)).toEqual([]);
    expect(await logs.last(log)).toBe(0);
  });

  it('keeps its lines as they were, numbered from 1', async () => {
    await write('one', '', 'zwei "drei" \\n é😀', '\u2028');
    expect(shown(await logs.read(log))).toEqual(['1 one', '2 ', '3 zwei "drei" \\n é😀', '4 \u2028']);
    expect(shown(await logs.read(log, 2))).toEqual(['3 zwei "drei" \\n é😀', '4 \u2028']);
    expect(shown(await logs.read(log, 1, 1))).toEqual(['2 ']);
    expect(await logs.read(log, 4)).toEqual([]);
    expect(await logs.last(log)).toBe(4);
  });

  it('cuts a line that is far too long, and says so', async () => {
    await write('x'.repeat(LINE_MAX + 1), 'y');
    const [cut, next] = await logs.read(log);
    expect(cut!.m).toBe(`${'x'.repeat(LINE_MAX)} … (${LINE_MAX + 1} characters)`);
    expect(next).toMatchObject({ n: 2, m: 'y' });
  });

  it('is numbered on over chunks and restarts of its writer', async () => {
    for (const part of ['a', 'b', 'c']) await write(...big(part));
    await write('end');
    expect((await readdir(dir)).length).toBeGreaterThanOrEqual(3);
    const all = await logs.read(log);
    expect(all.map((l) => l.n)).toEqual(Array.from({ length: 331 }, (_, i) => i + 1));
    expect(all.map((l) => l.m.split(' ')[0])).toEqual([...big('a'), ...big('b'), ...big('c'), 'end'].map((m) => m.split(' ')[0]));
    for (const after of [0, 109, 110, 111, 219, 220, 330]) expect((await logs.read(log, after, 1))[0]?.n).toBe(after + 1);
    expect(await logs.last(log)).toBe(331);
  });

  it('goes on cleanly behind a line that a dying writer cut', async () => {
    await write('one', 'two');
    const [file] = await readdir(dir);
    await appendFile(join(dir, file!), '{"t":1,"s":"web.1","m":"thr');
    expect(shown(await logs.read(log))).toEqual(['1 one', '2 two']); // not counted while it may still grow
    await write('four', 'five');
    expect(shown(await logs.read(log))).toEqual(['1 one', '2 two', '3 {"t":1,"s":"web.1","m":"thr', '4 four', '5 five']);
  });

  it('keeps its numbers when the cut line was the last of a full chunk', async () => {
    await write(...big('a'));
    const [file] = await readdir(dir);
    await appendFile(join(dir, file!), '{"cut');
    await write('next');
    expect(shown(await logs.read(log, 109)).map((text) => text.slice(0, 12))).toEqual(['110 a109 xxx', '111 {"cut', '112 next']);
  });

  it('refuses names that lead elsewhere', async () => {
    for (const name of ['../x', 'a/../../x', '/etc/x', 'a//b', '', '.hidden', 'a/.x', 'a\0b', 'a b']) await expect(logs.read(name), name).rejects.toThrow(/not the name of a log/);
  });

  it('that cannot be written says so on flush, and a later writer goes on', async () => {
    await mkdir(join(root, 'deploys', 'app'), { recursive: true });
    await writeFile(dir, 'a file where the folder should be');
    const writer = logs.writer(log);
    writer.append(line('lost'));
    await expect(writer.flush()).rejects.toThrow();
    await rm(dir);
    await write('kept');
    expect(shown(await logs.read(log))).toEqual(['1 kept']);
  });

  it('is removed whole', async () => {
    await write('one');
    await logs.remove(log);
    expect(await logs.read(log)).toEqual([]);
    await logs.remove(log);
  });
});

describe('the tail of a log', () => {
  it('is its last lines, oldest first, over chunks', async () => {
    await write(...big('a'));
    await write('b', 'c');
    expect(shown(await logs.tail(log, 3)).map((m) => m.slice(0, 8))).toEqual(['110 a109', '111 b', '112 c']);
    expect(await logs.tail(log, 1000)).toHaveLength(112);
    expect(await logs.tail(log, 0)).toEqual([]);
  });

  it('counts only what the filter accepts', async () => {
    const writer = logs.writer(log);
    for (let i = 1; i <= 20; i += 1) writer.append(line(`l${i}`, { s: i % 5 === 0 ? 'worker.1' : 'web.1' }));
    await writer.close();
    expect(shown(await logs.tail(log, 2, (l) => l.s === 'worker.1'))).toEqual(['15 l15', '20 l20']);
  });
});

describe('trimming', () => {
  it('removes whole chunks from the front; numbers stay, and the writer goes on', async () => {
    for (const part of ['a', 'b', 'c']) await write(...big(part));
    await logs.trim(log, 1_500_000);
    const [first] = await logs.read(log, 0, 1);
    expect(first!.n).toBeGreaterThan(100);
    await write('end');
    expect(shown(await logs.tail(log, 1))).toEqual(['331 end']);
    await logs.trim(log, 0);
    expect(await logs.last(log)).toBe(331);
  });
});

describe('following', () => {
  it('brings every line once and in order, while writers come and go and chunks change', async () => {
    const seen: number[] = [];
    const stop = new AbortController();
    const following = logs.follow(log, 0, stop.signal, (lines) => { seen.push(...lines.map((l) => l.n)); }); // before the log exists
    for (let round = 0; round < 4; round += 1) {
      const writer = logs.writer(log);
      for (let i = 0; i < 60; i += 1) {
        writer.append(line('x'.repeat(9000)));
        if (i % 20 === 0) await sleep(3);
      }
      await writer.close();
    }
    for (let i = 0; i < 100 && seen.length < 240; i += 1) await sleep(20);
    stop.abort();
    await following;
    expect(seen).toEqual(Array.from({ length: 240 }, (_, i) => i + 1));
  });

  it('goes on behind the line one has, and ends when it is told to', async () => {
    await write('one', 'two', 'three');
    const seen: string[] = [];
    const stop = new AbortController();
    const following = logs.follow(log, 2, stop.signal, (lines) => { seen.push(...shown(lines)); });
    await sleep(50);
    await write('four');
    for (let i = 0; i < 50 && seen.length < 2; i += 1) await sleep(10);
    stop.abort();
    await following;
    expect(seen).toEqual(['3 three', '4 four']);
  });

  it('tells of a new line soon', async () => {
    const stop = new AbortController();
    const writer = logs.writer(log);
    const took: number[] = [];
    const following = logs.follow(log, 0, stop.signal, (lines) => { for (const l of lines) took.push(performance.now() - l.t); });
    for (let i = 0; i < 20; i += 1) {
      writer.append(line('x', { t: performance.now() }));
      await sleep(25);
    }
    await writer.close();
    for (let i = 0; i < 50 && took.length < 20; i += 1) await sleep(10);
    stop.abort();
    await following;
    expect(took).toHaveLength(20);
    process.stdout.write(`a follower hears of a line after ${Math.round(took.toSorted((a, b) => a - b)[10]!)} ms\n`);
  });
});

describe('speed', () => {
  it('50 000 lines are written and read; how quickly is printed', async () => {
    const writer = logs.writer(log);
    const start = performance.now();
    for (let i = 0; i < 50_000; i += 1) writer.append(line(`request ${i} answered 200 in 12 ms for /some/path`));
    await writer.close();
    const written = performance.now() - start;
    expect(await logs.read(log, 0, 100_000)).toHaveLength(50_000);
    const read = performance.now() - start - written;
    process.stdout.write(`50000 lines: written in ${Math.round(written)} ms, read in ${Math.round(read)} ms\n`);
  });
});
