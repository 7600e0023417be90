import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Program, freePorts, run } from './berth-fixture.ts';

/** Debian's registry (package docker-registry) on the loopback, for those who have the login. Engines take it without TLS there. */
export interface DockerRegistry {
  readonly host: string;
  readonly user: string;
  readonly password: string;
  /** of everybody who asked */
  log(): string;
  /** An image of this machine's engine into the registry, under a name below `host`; the name goes again. */
  push(image: string, name: string): Promise<string>;
  stop(): Promise<void>;
}

const USER = 'ci';
const PASSWORD = 's3cret-of-ci-7f31';
/** of that password, by bcrypt */
const HTPASSWD = `${USER}:$2y$05$fYuqOIlpUUbDVXVt8ac6t.dNVTMwmWxF4KUXRhdPnLek4bZyM4vOq\n`;

export async function startDockerRegistry(): Promise<DockerRegistry> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-registry-'));
  const [port] = await freePorts(1) as [number];
  const host = `127.0.0.1:${port}`;
  writeFileSync(join(dir, 'htpasswd'), HTPASSWD);
  writeFileSync(join(dir, 'config.yml'), `version: 0.1
storage:
  filesystem:
    rootdirectory: ${join(dir, 'data')}
http:
  addr: ${host}
auth:
  htpasswd:
    realm: test
    path: ${join(dir, 'htpasswd')}
`);
  mkdirSync(join(dir, 'docker'));
  writeFileSync(join(dir, 'docker/config.json'), JSON.stringify({ auths: { [host]: { auth: Buffer.from(`${USER}:${PASSWORD}`).toString('base64') } } }));
  const program = new Program('docker-registry', join(dir, 'log'), () => ({ file: 'docker-registry', args: ['serve', join(dir, 'config.yml')], env: process.env }));
  program.start();
  for (const end = Date.now() + 30_000; ; await sleep(50)) {
    if ((await fetch(`http://${host}/v2/`).then(({ status }) => status, () => 0)) === 401) break;
    if (Date.now() > end) throw new Error(`docker-registry does not answer (test/run installs it):\n${program.log()}`);
  }
  const docker = async (...args: string[]): Promise<string> => {
    const { code, out, err } = await run('docker', ['--config', join(dir, 'docker'), ...args], { timeoutMs: 300_000 });
    if (code !== 0) throw new Error(`docker ${args[0]}: ${err}`);
    return out;
  };
  return {
    host, user: USER, password: PASSWORD,
    log: () => program.log(100_000),
    push: async (image, name) => {
      const full = `${host}/${name}`;
      await docker('tag', image, full);
      try { await docker('push', full); } finally { await docker('rmi', full); }
      return full;
    },
    stop: async () => { await program.stop(); rmSync(dir, { recursive: true, force: true }); },
  };
}
