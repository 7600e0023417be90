import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BullDispatcher, takeTickets } from '../../src/drivers/queue/bull.js';

/** BullMQ on a real Redis that comes and goes. */
let folder: string;
let socket: string;
let server: ChildProcess | null = null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-queue-'));
  socket = join(folder, 'redis.sock');
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

function start(): void {
  server = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction', '--dir', folder], { stdio: 'ignore' });
}
async function stop(): Promise<void> {
  const child = server;
  server = null;
  if (!child || child.exitCode !== null) return;
  await new Promise((done) => { child.once('exit', done).kill('SIGKILL'); });
}
async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  for (let left = 200; left > 0; left -= 1) {
    if (await test()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`never: ${what}`);
}

it('a dispatcher that was first asked while Redis was away works when Redis is there, and after every further end of it', async () => {
  const got: string[] = [];
  const dispatcher = new BullDispatcher(socket, 'test', () => {});
  const taker = takeTickets(socket, 'test', 'clone', 2, async (id) => { got.push(id); }, () => {});
  const hand = (id: string): Promise<boolean> => dispatcher.dispatch([{ queue: 'clone', jobId: id, id }]).then(() => true, () => false);
  try {
    expect(await hand('away')).toBe(false);
    await expect(dispatcher.state('clone', 'away')).rejects.toThrow();
    for (const round of ['first', 'second', 'third']) {
      start();
      await until(`the ticket of the ${round} Redis to be handed out`, () => hand(round));
      await until(`the ticket of the ${round} Redis to arrive`, () => got.includes(round));
      expect(await dispatcher.state('clone', round)).toBe('gone');
      await stop();
      expect(await hand('lost')).toBe(false);
    }
  } finally {
    start();
    await until('Redis to answer', () => dispatcher.ping().then(() => true, () => false));
    await taker.close();
    await dispatcher.close();
  }
});
