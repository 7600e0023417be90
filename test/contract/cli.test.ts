import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { encode, headOf } from '../../src/cli/protocol.js';
import { FakeApi, type Talk } from './support/fake-api.js';
import { install } from './support/install.js';

let dir: string;
let bin: string;
let api: FakeApi;

interface Ran { readonly code: number | null; readonly signal: string | null; readonly out: string; readonly err: string }

function start(args: readonly string[], options: { stdin?: 'pipe' | 'ignore'; env?: NodeJS.ProcessEnv; program?: string } = {}): { child: ChildProcess; done: Promise<Ran> } {
  const child = spawn(options.program ?? bin, args, { stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'], env: { ...process.env, BERTH_RUN: dir, ...options.env } });
  const done = new Promise<Ran>((resolve) => {
    let out = '';
    let err = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => { out += text; });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { err += text; });
    child.on('close', (code, signal) => { resolve({ code, signal, out, err }); });
  });
  return { child, done };
}
const berth = (...args: string[]): Promise<Ran> => start(args).done;
/** one whose output is read when the test says */
const unread = (...args: string[]) => spawn(bin, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, BERTH_RUN: dir } });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-cli-'));
  ({ bin } = install(join(dir, 'install')));
  api = new FakeApi(join(dir, 'admin.sock'));
  await api.listen();
});
afterEach(() => { api.script = {}; });
afterAll(async () => {
  await api.close();
  rmSync(dir, { recursive: true, force: true });
});

describe('berth', () => {
  it('hands its words over as they are, through symlinks and a path with blanks', async () => {
    const argv = ['config:set', 'blog', '', '*', '$HOME', 'a\nb', '"\'', '-x', '--', 'Ünï', '`id`'];
    let hello: unknown;
    api.script.cli = (talk) => {
      hello = talk.hello;
      talk.send({ o: 'out\n' }, { e: 'err\n' }, { exit: 0 });
    };
    mkdirSync(join(dir, 'with blank'));
    symlinkSync(bin, join(dir, 'with blank', 'one'));
    symlinkSync('one', join(dir, 'with blank', 'berth'));
    const ran = await start(argv, { program: join(dir, 'with blank', 'berth') }).done;
    expect(ran).toEqual({ code: 0, signal: null, out: 'out\n', err: 'err\n' });
    expect(hello).toEqual({ argv, stdin: false, columns: 0, color: false });
    expect((await start([], { program: 'sh', env: { PATH: `${join(dir, 'with blank')}:${process.env['PATH']}` } }).done).code).toBe(0);
  });

  it.each([0, 1, 20, 137, 255])('ends with the command\'s code %i', async (exit) => {
    api.script.cli = (talk) => { talk.send({ exit }); };
    expect((await berth('x')).code).toBe(exit);
  });

  it('writes text whole, however its bytes arrive, and skips heartbeats and frames it does not know', async () => {
    const text = 'Grüße 日本 🚀\n'.repeat(200);
    api.script.cli = async ({ reply }) => {
      const bytes = Buffer.from(`\n${encode({ o: text })}\n\n{"later":1}\n${encode({ e: 'ü' })}${encode({ exit: 3 })}`);
      for (let at = 0; at < bytes.length; at += 61) {
        reply.write(bytes.subarray(at, at + 61));
        if (at % 610 === 0) await new Promise((resolve) => { setTimeout(resolve, 1); });
      }
      reply.end();
    };
    expect(await berth('x')).toEqual({ code: 3, signal: null, out: text, err: 'ü' });
  });

  it('shows output at once', async () => {
    let go = (): void => {};
    api.script.cli = async (talk) => {
      talk.send({ o: 'first\n' });
      await new Promise<void>((resolve) => { go = resolve; });
      talk.send({ exit: 0 });
    };
    const { child, done } = start(['logs', '-t']);
    await new Promise<void>((resolve) => { child.stdout?.once('data', () => { resolve(); }); });
    go();
    expect((await done).out).toBe('first\n');
  });

  it('sends a large binary stdin without holding it, and no faster than it is taken', async () => {
    const piece = randomBytes(1024 * 1024);
    const rounds = 200;
    const sent = createHash('sha256');
    const got = createHash('sha256');
    let size = 0;
    let peak = 0;
    api.script.cli = async (talk) => {
      expect(talk.hello.stdin).toBe(true);
      talk.send({ need: 'stdin' });
      const failure = await talk.all((bytes) => {
        got.update(bytes);
        size += bytes.length;
      });
      talk.send({ o: `${failure}\n` }, { exit: 0 });
    };
    const { child, done } = start(['db:import'], { stdin: 'pipe' });
    const watch = setInterval(() => {
      try { peak = Math.max(peak, Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0)); } catch { /* ended */ }
    }, 20);
    for (let round = 0; round < rounds; round += 1) {
      sent.update(piece);
      if (!child.stdin?.write(piece)) await new Promise((resolve) => child.stdin?.once('drain', resolve));
    }
    child.stdin?.end();
    expect(await done).toMatchObject({ code: 0, out: 'null\n', err: '' });
    clearInterval(watch);
    expect(size).toBe(rounds * piece.length);
    expect(got.digest('hex')).toBe(sent.digest('hex'));
    console.log(`200 MB of stdin: client at most ${Math.round(peak / 1024)} MB`);
    expect(peak).toBeLessThan(160 * 1024);
  });

  it('writes bytes as they are, between text, without holding them', async () => {
    const piece = randomBytes(1024 * 1024);
    const rounds = 200;
    const sent = createHash('sha256');
    api.script.cli = async (talk) => {
      talk.send({ o: 'first\n' });
      sent.update('first\n');
      for (let round = 0; round < rounds; round += 1) {
        sent.update(piece);
        if (!talk.bytes(piece)) await Promise.race([new Promise((resolve) => talk.reply.once('drain', resolve)), talk.gone]);
      }
      talk.send({ e: 'said\n' }, { exit: 7 });
    };
    const child = unread('db:export');
    const got = createHash('sha256');
    let [size, peak, err] = [0, 0, ''];
    child.stderr.on('data', (text: Buffer) => { err += text.toString(); });
    child.stdout.on('data', (bytes: Buffer) => {
      got.update(bytes);
      size += bytes.length;
      if (size % 50 === 0) peak = Math.max(peak, Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0));
    });
    expect(await new Promise((resolve) => { child.on('close', resolve); })).toBe(7);
    expect([size, err]).toEqual([rounds * piece.length + 6, 'said\n']);
    expect(got.digest('hex')).toBe(sent.digest('hex'));
    expect(peak).toBeLessThan(160 * 1024);
  });

  it('never takes bytes that were cut off for all of them', async () => {
    api.script.cli = (talk) => {
      talk.reply.write(headOf(Buffer.alloc(100)));
      // what would be a frame, were it not among the bytes
      talk.reply.write(`half of it\n${encode({ exit: 0 })}`);
      setTimeout(() => { talk.reply.end(); }, 30);
    };
    expect(await berth('x')).toEqual({ code: 1, signal: null, out: `half of it\n${encode({ exit: 0 })}`, err: ' !     the connection to Berth ended before the command did\n' });
  });

  it('stops sending when the command ends before the input does', async () => {
    api.script.cli = async (talk) => {
      talk.send({ need: 'stdin' });
      await talk.next();
      talk.send({ e: ' !     enough\n' }, { exit: 4 });
    };
    const { child, done } = start(['x'], { stdin: 'pipe' });
    child.stdin?.on('error', () => {});
    const feed = setInterval(() => child.stdin?.write(Buffer.alloc(64 * 1024)), 1);
    expect(await done).toMatchObject({ code: 4, err: ' !     enough\n' });
    clearInterval(feed);
  });

  it('reads the file that is asked for, or says why not', async () => {
    const content = randomBytes(300_000);
    writeFileSync(join(dir, 'cert.pem'), content);
    const seen: (string | null | Buffer)[] = [];
    api.script.cli = async (talk) => {
      for (const path of talk.hello.argv) {
        talk.send({ need: 'file', path });
        const pieces: Buffer[] = [];
        seen.push(await talk.all((piece) => pieces.push(piece)), Buffer.concat(pieces));
      }
      talk.send({ exit: 0 });
    };
    expect(await berth(join(dir, 'cert.pem'), '/no/such', dir)).toMatchObject({ code: 0, err: '' });
    expect(seen).toEqual([null, content, '/no/such: no such file', Buffer.alloc(0), `${dir}: is a directory`, Buffer.alloc(0)]);
  });

  it('asks, and keeps what was piped in behind the answer', async () => {
    const seen: unknown[] = [];
    api.script.cli = async (talk) => {
      for (let turn = 0; turn < 2; turn += 1) {
        talk.send({ ask: '> ' });
        seen.push(await talk.next());
      }
      talk.send({ need: 'stdin' });
      await talk.all((piece) => seen.push(piece.toString()));
      talk.send({ exit: 0 });
    };
    const { child, done } = start(['apps:destroy', 'blog'], { stdin: 'pipe' });
    child.stdin?.end('blog\r\n\nrest\nof it');
    expect(await done).toMatchObject({ code: 0, err: '> > ' });
    expect(seen).toEqual([{ answer: 'blog' }, { answer: '' }, 'rest\nof it']);
  });

  it('answers a question with an error when nobody is there', async () => {
    let seen: unknown;
    api.script.cli = async (talk) => {
      talk.send({ ask: '> ' });
      seen = await talk.next();
      talk.send({ exit: 1 });
    };
    expect((await berth('apps:destroy', 'blog')).code).toBe(1);
    expect(seen).toEqual({ error: 'no terminal' });
  });

  it('takes no more than a slow reader does', async () => {
    let written = 0;
    let talkOf: Talk | null = null;
    api.script.cli = async (talk) => {
      talkOf = talk;
      const text = encode({ o: 'x'.repeat(64 * 1024) });
      while (!talk.closed) {
        written += text.length;
        if (!talk.reply.write(text)) await Promise.race([new Promise((resolve) => talk.reply.once('drain', resolve)), talk.gone]);
      }
    };
    const child = spawn(bin, ['logs'], { stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, BERTH_RUN: dir } });
    await new Promise((resolve) => { setTimeout(resolve, 700); });
    expect(written).toBeGreaterThan(64 * 1024);
    expect(written).toBeLessThan(4e6);
    child.stdout.destroy();
    expect(await new Promise((resolve) => { child.on('exit', (code) => { resolve(code); }); })).toBe(141);
    await (talkOf as Talk | null)?.gone;
  });

  describe('when the API dies in the middle of what it writes', () => {
    /** Writes without an end, and is gone once the client can take no more. */
    const flood = async (talk: Talk): Promise<void> => {
      let full = false;
      void talk.waits.then(() => { full = true; });
      while (!full && !talk.closed) if (!talk.bytes(Buffer.alloc(64 * 1024))) await Promise.race([new Promise((resolve) => talk.reply.once('drain', resolve)), talk.gone, talk.waits]);
      talk.reply.destroy();
    };
    const LOST = ' !     the connection to Berth ended before the command did\n';
    const code = (of: ChildProcess): Promise<number | null> => new Promise((resolve) => { of.on('exit', (got) => { resolve(got); }); });

    it('and its reader never reads: it says so, and ends', async () => {
      api.script.cli = flood;
      const run = unread('db:export');
      let err = '';
      run.stderr.on('data', (text: Buffer) => { err += text.toString(); });
      expect(await code(run)).toBe(1);
      expect(err).toBe(LOST);
    });

    it('and its reader goes away meanwhile', async () => {
      api.script.cli = flood;
      const run = unread('db:export');
      await new Promise<void>((resolve) => { run.stdout.once('readable', () => { resolve(); }); });
      run.stdout.destroy();
      expect(await code(run)).toBe(141);
    });

    it('and large input is on its way', async () => {
      api.script.cli = async (talk) => {
        talk.send({ need: 'stdin' });
        await talk.next();
        await flood(talk);
      };
      const run = spawn('sh', ['-c', `"${bin}" db:import < /dev/zero | sleep 3`], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, BERTH_RUN: dir } });
      let err = '';
      run.stderr.on('data', (text: Buffer) => { err += text.toString(); });
      expect(await code(run)).toBe(0); // sleep's
      expect(['', LOST]).toContain(err);
    });

    it('and nobody reads its errors: those are not waited for', async () => {
      const ended = new Promise<void>((resolve) => {
        api.script.cli = async (talk) => {
          talk.send(...Array.from({ length: 200 }, () => ({ e: 'x'.repeat(64 * 1024) })), { o: 'all\n' }, { exit: 5 });
          await talk.gone;
          resolve();
        };
      });
      const run = unread('db:export');
      run.stderr.destroy();
      let out = '';
      run.stdout.on('data', (text: Buffer) => { out += text.toString(); });
      expect([await code(run), out]).toEqual([5, 'all\n']);
      await ended;
    });
  });

  it('says nothing of its own about thousands of small lines that wait for a slow reader', async () => {
    api.script.cli = (talk) => { talk.send({ o: Array.from({ length: 20_000 }, (_, n) => `line ${n}\n`).join('') }, ...Array.from({ length: 20_000 }, (_, n) => ({ o: `line ${n}\n` })), { exit: 0 }); };
    const run = await start(['-c', `"${bin}" logs | { sleep 0.3; wc -l; }`], { program: 'sh' }).done;
    expect(run).toMatchObject({ code: 0, out: '40000\n', err: '' });
  });

  it('waits for a reader that is slower than the API\'s patience', async () => {
    // the API keeps the connection for as long as it hears the client
    const waits = new Promise<void>((resolve) => {
      api.script.cli = (talk) => {
        talk.send(...Array.from({ length: 100 }, () => ({ o: 'x'.repeat(64 * 1024) })), { exit: 0 });
        void talk.waits.then(resolve);
      };
    });
    const run = unread('logs');
    await waits;
    let size = 0;
    run.stdout.on('data', (piece: Buffer) => { size += piece.length; });
    expect(await new Promise((resolve) => { run.on('close', resolve); })).toBe(0);
    expect(size).toBe(100 * 64 * 1024);
  });

  it('ends quietly when its reader has enough', async () => {
    let gone: Promise<void> | null = null;
    api.script.cli = (talk) => {
      ({ gone } = talk);
      const tick = setInterval(() => { if (!talk.closed) talk.send({ o: 'line\n' }); }, 5);
      void talk.gone.then(() => { clearInterval(tick); });
    };
    expect(await start(['-c', `"${bin}" logs -t | head -n 2`], { program: 'sh' }).done).toEqual({ code: 0, signal: null, out: 'line\nline\n', err: '' });
    await gone;
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('dies of %s as any program (a shell shows 130, 143), and the command hears of it', async (signal) => {
    let gone: Promise<void> | null = null;
    api.script.cli = (talk) => {
      ({ gone } = talk);
      talk.send({ o: '.' });
    };
    const { child, done } = start(['logs', '-t']);
    await new Promise<void>((resolve) => { child.stdout?.once('data', () => { resolve(); }); });
    child.kill(signal);
    expect((await done).signal).toBe(signal);
    await gone;
  });

  it('says when the connection ends before the command', async () => {
    api.script.cli = (talk) => {
      talk.send({ o: 'half\n' });
      talk.reply.write('{"o":"cut o');
      setTimeout(() => { talk.reply.destroy(); }, 30);
    };
    expect(await berth('x')).toEqual({ code: 1, signal: null, out: 'half\n', err: ' !     the connection to Berth ended before the command did\n' });
    api.script.cli = (talk) => { talk.reply.end(); };
    expect((await berth('x')).err).toContain('ended before the command did');
  });

  it('shows what the API refuses, and a reply that is not its own', async () => {
    api.script.raw = (_request, reply) => { reply.writeHead(403, { 'content-type': 'application/json' }).end('{"message":"not yours","hint":"ask"}'); };
    expect(await berth('x')).toMatchObject({ code: 1, err: ' !     not yours\n       ask\n' });
    api.script.raw = (_request, reply) => { reply.writeHead(415, { 'content-type': 'application/json' }).end('{"message":"Unsupported Media Type"}'); };
    expect(await berth('x')).toMatchObject({ code: 1, err: expect.stringContaining("Berth's API is of another version than this program") });
    api.script.raw = (_request, reply) => { reply.writeHead(500).end('<html>'); };
    expect(await berth('x')).toMatchObject({ code: 1, err: " !     Berth's API answered 500\n" });
  });

  it('says that the API does not run, with the socket\'s path', async () => {
    const none = await start(['x'], { env: { BERTH_RUN: '/no/such' } }).done;
    expect(none.code).toBe(1);
    expect(none.err).toMatch(/^ !     Berth's API is not running \(\/no\/such\/admin\.sock\)\n {7}start it: /);
    const stale = join(dir, 'stale');
    mkdirSync(stale);
    const server = new FakeApi(join(stale, 'admin.sock'));
    await server.listen();
    await server.close();
    expect((await start(['x'], { env: { BERTH_RUN: stale } }).done).err).toContain('is not running');
  });

  it('starts, answers and ends fifteen times; how quickly is printed', async () => {
    api.script.cli = (talk) => { talk.send({ o: 'a\n' }, { exit: 0 }); };
    const took: number[] = [];
    for (let round = 0; round < 15; round += 1) {
      const began = performance.now();
      expect((await berth('apps:list')).code).toBe(0);
      took.push(performance.now() - began);
    }
    took.sort((a, b) => a - b);
    console.log(`berth apps:list, start of the program included: median ${took[7]?.toFixed(1)} ms`);
  });
});
