import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A Docker engine of a test's own, which may be killed: containerd and dockerd in a network namespace, with folders, a containerd namespace
 * and a cgroup of their own. Whoever shall reach its containers must run in the namespace, too (`inside`); the test reaches the namespace
 * at `address`.
 */
export class PrivateEngine {
  readonly socket: string;
  readonly address: string;
  private readonly near: string;

  constructor(readonly name: string, readonly dir: string, private liveRestore: boolean) {
    this.socket = join(dir, 'docker.sock');
    // 100.64.0.0/10 is what carriers use behind their NAT: nobody's own network
    const net = `100.${64 + Number.parseInt(name.slice(-6, -4), 16) % 64}.${Number.parseInt(name.slice(-4, -2), 16)}.${Number.parseInt(name.slice(-2), 16) & 0xfc}`.split('.');
    const host = (n: number): string => [...net.slice(0, 3), Number(net[3]) + n].join('.');
    [this.near, this.address] = [host(1), host(2)];
  }

  get netns(): string { return `/run/netns/${this.name}`; }
  private get cgroup(): string { return this.name; }
  /** of the pair that joins the namespace with the test; interface names have 15 characters at most */
  private get link(): string { return `v${this.name.slice(-12)}`; }

  /** How a program is started inside; it keeps its process id. */
  inside(file: string, args: readonly string[]): { file: string; args: readonly string[] } {
    return { file: 'nsenter', args: [`--net=${this.netns}`, '--', file, ...args] };
  }

  /** The network namespace, as a machine has it after it was switched on. */
  network(): void {
    const ip = (...args: string[]): void => { execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] }); };
    ip('netns', 'add', this.name);
    ip('link', 'add', this.link, 'type', 'veth', 'peer', 'name', 'up0', 'netns', this.name);
    ip('addr', 'add', `${this.near}/30`, 'dev', this.link);
    ip('link', 'set', this.link, 'up');
    ip('-n', this.name, 'link', 'set', 'lo', 'up');
    ip('-n', this.name, 'addr', 'add', `${this.address}/30`, 'dev', 'up0');
    ip('-n', this.name, 'link', 'set', 'up0', 'up');
  }

  setLiveRestore(on: boolean): void { this.liveRestore = on; }

  containerd(): { file: string; args: readonly string[] } {
    mkdirSync(this.dir, { recursive: true });
    const config = join(this.dir, 'containerd.toml');
    writeFileSync(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    return this.inside('containerd', ['--config', config, '--root', join(this.dir, 'containerd'), '--state', join(this.dir, 'run/containerd'), '--address', join(this.dir, 'containerd.sock')]);
  }

  dockerd(): { file: string; args: readonly string[] } {
    mkdirSync(this.dir, { recursive: true });
    const config = join(this.dir, 'docker.json'); // not the machine's
    writeFileSync(config, '{}\n');
    return this.inside('dockerd', [
      '--config-file', config, '--data-root', join(this.dir, 'data'), '--exec-root', join(this.dir, 'run/docker'), '--pidfile', join(this.dir, 'docker.pid'), '-H', `unix://${this.socket}`,
      '--containerd', join(this.dir, 'containerd.sock'), '--containerd-namespace', this.name, '--containerd-plugins-namespace', `${this.name}-plugins`,
      '--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `/${this.cgroup}`, ...(this.liveRestore ? ['--live-restore'] : []),
    ]);
  }

  answers(): Promise<boolean> {
    return new Promise((done) => {
      const sent = request({ socketPath: this.socket, path: '/_ping', timeout: 2000 }, (reply) => { reply.resume().on('end', () => done(reply.statusCode === 200)); });
      sent.on('error', () => done(false)).on('timeout', () => sent.destroy()).end();
    });
  }

  async ready(withinMs = 30_000): Promise<void> {
    for (const end = Date.now() + withinMs; !(await this.answers());) {
      if (Date.now() > end) throw new Error(`the private engine does not answer on ${this.socket} after ${withinMs / 1000} s`);
      await sleep(50);
    }
  }

  /** Processes of containers and of builds: pid → the cgroup where it was found. */
  private inCgroups(): Map<number, string> {
    const found = new Map<number, string>();
    const walk = (dir: string): void => {
      let names: string[];
      try { names = readdirSync(dir, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name); } catch { return; }
      try { for (const pid of readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean)) found.set(Number(pid), dir); } catch { /* it went away */ }
      for (const name of names) walk(join(dir, name));
    };
    for (const root of this.cgroups()) walk(root);
    return found;
  }

  /** containerd's own, one for each container; a containerd that is killed leaves some without a container, for ever */
  private shims(): number[] {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return words[0]?.includes('containerd-shim') && words.includes(join(this.dir, 'containerd.sock'));
      } catch {
        return false; // it ended
      }
    });
  }

  /** Processes of no container that is there. */
  strays(containers: readonly string[]): { pid: number; what: string }[] {
    return [...this.inCgroups()].filter(([, where]) => !containers.some((id) => where.includes(id))).map(([pid, what]) => ({ pid, what }));
  }

  private cgroups(): string[] {
    const root = '/sys/fs/cgroup';
    return [join(root, this.cgroup), ...readdirSync(root).map((controller) => join(root, controller, this.cgroup))].filter((dir) => existsSync(dir));
  }

  /** What a machine's end takes: every process, mount, interface and whatever lies in /run. dockerd and containerd are dead already. */
  async powerOff(): Promise<void> {
    for (let again = 0; again < 100; again += 1) {
      const pids = [...this.inCgroups().keys(), ...this.shims()].filter((pid) => pid > 1);
      if (pids.length === 0) break;
      for (const pid of pids) try { process.kill(pid, 'SIGKILL'); } catch { /* it ended */ }
      await sleep(50);
    }
    const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((path) => path.startsWith(`${this.dir}/`));
    for (const path of mounts.toReversed()) spawnSync('umount', ['-l', path], { stdio: 'ignore' });
    spawnSync('ip', ['link', 'del', this.link], { stdio: 'ignore' });
    spawnSync('ip', ['netns', 'del', this.name], { stdio: 'ignore' });
    for (const path of ['run', 'docker.sock', 'containerd.sock', 'containerd.sock.ttrpc', 'docker.pid']) rmSync(join(this.dir, path), { recursive: true, force: true });
    const drop = (dir: string): void => {
      try {
        for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) drop(join(dir, entry.name));
        rmdirSync(dir);
      } catch { /* the kernel has not let go of it yet */ }
    };
    for (let again = 0; again < 20 && this.cgroups().length > 0; again += 1) {
      for (const dir of this.cgroups()) drop(dir);
      await sleep(50);
    }
  }
}
