import { randomUUID } from 'node:crypto';
import { type FSWatcher, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, watch, writeFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { alive } from '../tool/alive.js';
import type { EngineInfo } from './engine.port.js';
import { lowestPriority } from './lowest-priority.js';

/**
 * BuildKit inside dockerd takes no limits from the API. Its RUN steps run in cgroups that we can find, so the limits are put there:
 * - cgroupfs driver: `<parent>/docker/buildkit/<id>`: a common parent, made before the build;
 * - systemd driver: no common parent of their own: `system.slice:docker:<id>` or `system.slice/docker-<id>.scope`: each
 *   one is limited when it appears. BuildKit's ids have 25 characters, containers' 64.
 *
 * So is the lowest weight of the disk, and each step's processes are the first to go when the machine's memory runs out.
 *
 * A step cannot be told from another build's: while ours run, builds that others start on this engine have our limits, too.
 * Several processes of ours may build at once: each build's limit lies in a file of the machine's run folder as long as it runs.
 */
export interface CgroupLayout {
  readonly version: 1 | 2;
  /** relative to the controller's root; null = steps have no parent of their own */
  readonly parent: string | null;
  /** folders where the steps' cgroups appear, and how they are called */
  readonly children: readonly { readonly dir: string; readonly name: RegExp }[];
}

/** @param configured dockerd's `--cgroup-parent`, or null */
export function cgroupLayout(info: Pick<EngineInfo, 'cgroupVersion' | 'cgroupDriver'>, configured: string | null): CgroupLayout | null {
  if (info.cgroupDriver === 'none') return null;
  if (info.cgroupDriver === 'cgroupfs') {
    const parent = join(configured ?? 'docker', 'buildkit').replace(/^\//, '');
    return { version: info.cgroupVersion, parent, children: [{ dir: parent, name: /^[a-z0-9]{20,32}$/ }] };
  }
  const slice = configured ?? 'system.slice';
  return { version: info.cgroupVersion, parent: null, children: [
    { dir: '', name: new RegExp(`^${slice.replaceAll('.', '\\.')}:docker:[a-z0-9]{20,32}$`) },
    { dir: slice, name: /^docker-[a-z0-9]{20,32}\.scope$/ },
  ] };
}

interface Limit { readonly memory: number; readonly cpus: number }
export interface LimitGuard {
  /** whether the kernel killed for memory in here since the build began. @param exitCode of the failed step */
  outOfMemory(exitCode: number | null): boolean;
  /** The limit goes when the last build does: other users of the engine shall not meet it. */
  leave(): void;
}

const PERIOD_US = 100_000;
/** of the machine's memory, for all builds that run */
const ALTOGETHER = 0.8;
/** of the disk: io.weight 1 to 10000, BFQ's 1 to 1000, blkio.weight 10 to 1000 (CFQ's default is 500) */
const WEIGHTS = [['io.weight', 1, 100], ['io.bfq.weight', 1, 100], ['blkio.bfq.weight', 1, 100], ['blkio.weight', 10, 500]] as const;

/** The builds that run on this machine, over all processes: a file each, named by the process that runs it. */
class RunningBuilds {
  constructor(private readonly folder: string) {}

  add(limit: Limit): string {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    const file = join(this.folder, `${process.pid}.${randomUUID()}`);
    writeFileSync(file, JSON.stringify(limit), { mode: 0o600 });
    return file;
  }

  remove(file: string): void {
    rmSync(file, { force: true });
  }

  /** Those of processes that are alive; a dead one's are taken away. */
  all(): Limit[] {
    if (!existsSync(this.folder)) return [];
    return readdirSync(this.folder).flatMap((name) => {
      const file = join(this.folder, name);
      if (!alive(Number(name.split('.')[0]))) {
        this.remove(file);
        return [];
      }
      try {
        return [JSON.parse(readFileSync(file, 'utf8')) as Limit];
      } catch {
        return []; // its build ended between the two looks
      }
    });
  }
}

/** Limits of all builds that run. The common parent holds their sum (of memory at most four fifths of the machine's, unless one build may have more), one step at most the largest. */
export class BuildCgroup {
  private readonly running: RunningBuilds;
  private mine = 0;
  private watchers: FSWatcher[] = [];

  constructor(private readonly layout: CgroupLayout, private readonly root = '/sys/fs/cgroup', folder = '/run/berth-builds') {
    this.running = new RunningBuilds(folder);
  }

  /** @throws when the cgroup cannot be set: not root, a cgroup namespace, a read-only mount */
  enter(limit: Limit): LimitGuard {
    const mine = { ...limit };
    const file = this.running.add(mine);
    try {
      this.prepare();
      this.apply();
    } catch (error) {
      this.running.remove(file);
      throw error;
    }
    this.mine += 1;
    const before = this.kills();
    if (this.running.all().length === 1 && this.layout.version === 1 && this.layout.parent !== null) this.attempt(join(this.memoryDir(this.layout.parent), 'memory.max_usage_in_bytes'), '0');
    let left = false;
    return {
      outOfMemory: (exitCode) => {
        if (this.kills() <= before) return false;
        if (this.layout.version === 2 && this.layout.parent !== null) return true;
        // the count is the machine's: it was us if the step was killed, or if we were at the limit
        return exitCode === 137 || (mine.memory > 0 && this.peak() >= mine.memory * 0.95);
      },
      leave: () => {
        if (left) return;
        left = true;
        this.running.remove(file);
        this.mine -= 1;
        if (this.mine === 0) for (const watcher of this.watchers.splice(0)) watcher.close();
        try {
          this.apply();
        } catch {
          // the cgroup went away with the engine
        }
      },
    };
  }

  private memoryDir(path: string): string {
    return this.layout.version === 2 ? join(this.root, path) : join(this.root, 'memory', path);
  }
  private cpuDir(path: string): string {
    if (this.layout.version === 2) return join(this.root, path);
    return join(this.root, existsSync(join(this.root, 'cpu')) ? 'cpu' : 'cpu,cpuacct', path);
  }

  private diskDir(path: string): string {
    return this.layout.version === 2 ? join(this.root, path) : join(this.root, 'blkio', path);
  }

  private prepare(): void {
    const { parent, version } = this.layout;
    if (parent !== null) {
      if (version === 1) {
        make(this.memoryDir(''), parent);
        make(this.cpuDir(''), parent);
        if (existsSync(this.diskDir(''))) make(this.diskDir(''), parent);
        this.attempt(join(this.memoryDir(parent), 'memory.use_hierarchy'), '1');
      } else {
        make(this.root, parent);
        let at = '';
        for (const part of parent.split('/')) {
          this.attempt(join(this.root, at, 'cgroup.subtree_control'), '+io');
          writeFileSync(join(this.root, at, 'cgroup.subtree_control'), '+memory +cpu');
          at = join(at, part);
        }
      }
    }
    if (this.watchers.length > 0) return;
    for (const { dir, name } of this.layout.children) {
      const folder = this.memoryDir(dir);
      if (!existsSync(folder)) continue;
      const watcher = watch(folder, (_type, file) => {
        if (file && name.test(file)) this.meetChild(join(dir, file));
      });
      watcher.on('error', () => {});
      this.watchers.push(watcher);
    }
    if (parent === null && this.watchers.length === 0) throw new Error(`no folder of ${this.layout.children.map((child) => child.dir || '/').join(', ')} below ${this.root}`);
  }

  private apply(): void {
    if (this.layout.parent === null) return;
    const limits = this.running.all();
    const sum = (of: (limit: Limit) => number): number => (limits.some((limit) => of(limit) === 0) ? 0 : limits.reduce((total, limit) => total + of(limit), 0));
    // several at once may be allowed more than the machine has
    const room = Math.max(ALTOGETHER * totalmem(), ...limits.map(({ memory }) => memory));
    this.set(this.layout.parent, Math.min(sum((limit) => limit.memory), Math.floor(room)), sum((limit) => limit.cpus));
    for (const { dir, name } of this.layout.children) {
      for (const file of readdirSync(this.memoryDir(dir))) if (name.test(file)) this.limitChild(join(dir, file));
    }
  }

  /** A step appeared, or its cgroup went. */
  private meetChild(path: string): void {
    this.limitChild(path);
    void lowestPriority(this.memoryDir(path));
  }

  private limitChild(path: string): void {
    const limits = this.running.all();
    const most = (of: (limit: Limit) => number): number => (limits.some((limit) => of(limit) === 0) ? 0 : Math.max(0, ...limits.map(of)));
    try {
      this.set(path, most((limit) => limit.memory), most((limit) => limit.cpus));
    } catch {
      // the step is over
    }
  }

  /** memory in bytes, 0 = none; cpus 0 = none */
  private set(path: string, memory: number, cpus: number): void {
    const memoryDir = this.memoryDir(path);
    const cpuDir = this.cpuDir(path);
    const quota = Math.round(cpus * PERIOD_US);
    const busy = this.running.all().length > 0;
    for (const [file, least, usual] of WEIGHTS) if (existsSync(join(this.diskDir(path), file))) this.attempt(join(this.diskDir(path), file), String(busy ? least : usual));
    if (this.layout.version === 2) {
      writeFileSync(join(memoryDir, 'memory.max'), memory ? String(memory) : 'max');
      this.attempt(join(memoryDir, 'memory.swap.max'), memory ? '0' : 'max');
      writeFileSync(join(cpuDir, 'cpu.max'), `${cpus ? quota : 'max'} ${PERIOD_US}`);
      return;
    }
    // memory plus swap may never be less than memory: open it, set, close it
    this.attempt(join(memoryDir, 'memory.memsw.limit_in_bytes'), '-1');
    writeFileSync(join(memoryDir, 'memory.limit_in_bytes'), memory ? String(memory) : '-1');
    if (memory) this.attempt(join(memoryDir, 'memory.memsw.limit_in_bytes'), String(memory));
    if (cpus || existsSync(cpuDir)) {
      this.attempt(join(cpuDir, 'cpu.cfs_period_us'), String(PERIOD_US));
      writeFileSync(join(cpuDir, 'cpu.cfs_quota_us'), cpus ? String(quota) : '-1');
    }
  }

  private attempt(file: string, text: string): void {
    try {
      writeFileSync(file, text);
    } catch {
      // not every kernel has this file
    }
  }

  /** The kernel's count of processes killed for memory. */
  private kills(): number {
    const { parent, version } = this.layout;
    if (parent !== null && version === 2) return readNumber(join(this.memoryDir(parent), 'memory.events'), /^oom_kill (\d+)/m);
    // v1 counts in the step's own cgroup, which is gone by the time we look
    return readNumber('/proc/vmstat', /^oom_kill (\d+)/m);
  }

  /** bytes, since the first of the running builds began */
  private peak(): number {
    return this.layout.parent === null ? 0 : readNumber(join(this.memoryDir(this.layout.parent), 'memory.max_usage_in_bytes'), /(\d+)/);
  }
}

function readNumber(file: string, pattern: RegExp): number {
  try {
    return Number(pattern.exec(readFileSync(file, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Folder by folder: node's own `recursive` never returns where the kernel answers ENOENT to a mkdir, as in /proc. */
function make(root: string, path: string): void {
  let at = root;
  for (const part of path.split('/')) {
    at = join(at, part);
    if (!existsSync(at)) mkdirSync(at);
  }
}

/** `cgroup-parent` of dockerd's configuration file; the engine's API does not tell it. */
export function configuredParent(file = '/etc/docker/daemon.json'): string | null {
  try {
    const parent = (JSON.parse(readFileSync(file, 'utf8')) as { 'cgroup-parent'?: unknown })['cgroup-parent'];
    return typeof parent === 'string' && parent !== '' ? parent : null;
  } catch {
    return null;
  }
}
