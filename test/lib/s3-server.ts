import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from './berth-fixture.ts';

const CACHE = '/var/tmp/berth-test-cache/s3';
const SERVER = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0';

/** A real S3 server (versitygw) on a folder of files: a bucket is a folder in it. Compiled once a machine. */
export class S3Server {
  private constructor(private readonly child: ChildProcess, readonly endpoint: string, readonly key: { readonly id: string; readonly secret: string }) {}

  static async start(folder: string): Promise<S3Server> {
    const binary = join(CACHE, 'versitygw');
    mkdirSync(CACHE, { recursive: true });
    if (!existsSync(binary)) execFileSync('go', ['install', SERVER], { env: { ...process.env, GOBIN: CACHE, CGO_ENABLED: '0' }, stdio: 'pipe' });
    const [port] = await freePorts(1) as [number];
    const key = { id: 'AKIATEST', secret: 'a-secret-of-tests' };
    const child = spawn(binary, ['--port', `127.0.0.1:${port}`, 'posix', folder], { stdio: 'ignore', env: { ...process.env, ROOT_ACCESS_KEY: key.id, ROOT_SECRET_KEY: key.secret } });
    process.on('exit', () => { child.kill('SIGKILL'); });
    for (let i = 0; ; i += 1) {
      const answers = await new Promise<boolean>((done) => {
        const socket = createConnection(port, '127.0.0.1', () => { socket.destroy(); done(true); });
        socket.on('error', () => done(false));
      });
      if (answers) return new S3Server(child, `http://127.0.0.1:${port}`, key);
      if (i > 300 || child.exitCode !== null) throw new Error(`versitygw does not answer (exit code ${child.exitCode})`);
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGKILL');
    await ended;
  }
}
