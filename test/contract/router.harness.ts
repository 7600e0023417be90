import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { Agent, createServer, request, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTcp, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HaproxyDriver, haproxyOptions, type HaproxyOptions } from '../../src/drivers/router/haproxy.driver.js';
import type { DesiredTable } from '../../src/drivers/router/router.port.js';

export interface Upstream { readonly ip: string; readonly port: number; requests: number; stop(): Promise<void> }
export interface Answer { readonly status: number; readonly body: string; readonly headers: IncomingMessage['headers'] }

export const PORT = 7311;

/** An app's container: answers its own name; `/slow` takes 2 s, `/headers` echoes, `/boom` is a 500, an upgrade echoes. */
export async function upstream(ip: string, name: string, port = PORT): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const state = { requests: 0 };
  const server: Server = createServer((incoming, answer) => {
    state.requests++;
    const body = incoming.url === '/headers' ? JSON.stringify(incoming.headers) : name;
    answer.setHeader('x-berth-server', 'forged');
    if (incoming.url === '/boom') answer.statusCode = 500;
    setTimeout(() => answer.end(body), incoming.url === '/slow' ? 2000 : 0);
  });
  server.on('connection', (socket: Socket) => { sockets.add(socket); socket.on('close', () => sockets.delete(socket)); });
  server.on('upgrade', (_, socket) => { socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'); socket.on('data', (data: Buffer) => socket.write(`${name}:${data.toString()}`)); socket.on('end', () => socket.end()); socket.on('error', () => undefined); });
  await new Promise<void>((resolve, reject) => { server.once('error', reject); server.listen(port, ip, resolve); });
  return {
    ip, port, get requests() { return state.requests; },
    // SIGTERM to a container: nothing new, and what is open is cut hard
    stop: () => new Promise((resolve) => { server.close(() => resolve()); for (const socket of sockets) socket.destroy(); }),
  };
}

export async function freePort(): Promise<number> {
  const server = createTcp();
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A real HAProxy in a folder of its own, started as the bootstrap does. */
export class Bench {
  child: ChildProcess | null = null;
  errors = '';
  private constructor(readonly root: string, readonly options: HaproxyOptions, readonly driver: HaproxyDriver) {}

  static async make(): Promise<Bench> {
    const root = await mkdtemp(join(tmpdir(), 'berth-router-'));
    await mkdir(join(root, 'run'));
    const options = haproxyOptions({ root, run: join(root, 'run'), httpPort: await freePort() });
    const bench = new Bench(root, options, new HaproxyDriver(options));
    await bench.driver.ensureFiles();
    await bench.start();
    return bench;
  }

  async start(): Promise<void> {
    const { options } = this;
    const child = spawn(options.program, ['-W', '-db', '-S', options.masterSocket, '-f', join(options.dir, 'haproxy.cfg'), '-p', options.pidFile], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (data: Buffer) => { this.errors += data.toString(); });
    this.child = child;
    for (let tries = 0; tries < 200; tries++) {
      if (await this.driver.observe().then(() => true, () => false)) return;
      await sleep(20);
    }
    throw new Error(`haproxy did not start: ${this.errors}`);
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.child;
    if (child === null) return;
    this.child = null;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  async set(table: DesiredTable): Promise<void> { await this.driver.apply(this.driver.plan(table, await this.driver.observe())); }

  get(host: string, path = '/', headers: Record<string, string> = {}, agent: Agent | false = false): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port: this.options.httpPort, path, agent, headers: { host, ...headers } }, (incoming) => {
        let body = '';
        incoming.setEncoding('utf8').on('data', (part: string) => { body += part; }).on('end', () => resolve({ status: incoming.statusCode ?? 0, body, headers: incoming.headers })).on('error', reject);
      });
      outgoing.on('error', reject).end();
    });
  }

  async remove(): Promise<void> {
    await this.stop('SIGTERM');
    await rm(this.root, { recursive: true, force: true });
  }
}
