import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, connect, type AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';

/** A real OpenSSH server on a free loopback port whose one key runs one command. */
export class Sshd {
  private constructor(private readonly daemon: ChildProcess, readonly port: number, readonly user: string, private readonly dir: string) {}

  /** @param command the forced command, as `authorized_keys` has it (no double quotes) */
  static async start(dir: string, command: string): Promise<Sshd> {
    mkdirSync(dir, { recursive: true });
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
    for (const key of ['host', 'user']) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, key)]);
    writeFileSync(join(dir, 'authorized_keys'), `restrict,pty,command="${command}" ${readFileSync(join(dir, 'user.pub'), 'utf8')}`);
    const port = await freePort();
    writeFileSync(join(dir, 'sshd_config'), [
      `Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${join(dir, 'host')}`, `PidFile ${join(dir, 'sshd.pid')}`, `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
      'StrictModes no', 'UsePAM no', 'PasswordAuthentication no', 'PermitRootLogin forced-commands-only', 'AcceptEnv GIT_PROTOCOL LANG', 'PrintMotd no', '',
    ].join('\n'));
    const daemon = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(dir, 'sshd_config')], { stdio: 'ignore' });
    for (let tries = 0; !(await answers(port)); tries += 1) {
      if (tries > 100) throw new Error('sshd does not start');
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    return new Sshd(daemon, port, userInfo().username, dir);
  }

  /** Arguments of `ssh` up to the host. */
  get options(): string[] {
    return ['-F', '/dev/null', '-i', join(this.dir, 'user'), '-p', String(this.port), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'BatchMode=yes'];
  }

  get host(): string {
    return `${this.user}@127.0.0.1`;
  }

  /** For `GIT_SSH_COMMAND`. */
  get gitSsh(): string {
    return `ssh ${this.options.join(' ')}`;
  }

  stop(): void {
    this.daemon.kill();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('data', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => { resolve(false); });
  });
}
