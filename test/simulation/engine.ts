import { EnginePort, type ContainerState, type ContainerSummary, type Image } from '../../src/drivers/engine/engine.port.js';
import { labels as labelled, readLabels, type LabelValues } from '../../src/drivers/engine/labels.js';
import { StepFailure } from '../../src/events/step.js';
import type { Proc, World } from './world.js';

export interface SimContainer {
  readonly id: string; readonly name: string; readonly imageId: string; readonly labels: Readonly<Record<string, string>>;
  readonly app: string; readonly deploy: number; readonly type: string;
  state: 'created' | 'running' | 'exited';
  ip: string | null;
  policy: string;
  /** answers from then on */
  wellAt: number;
  exitCode: number | null;
  waiters: ((code: number) => void)[];
  starts: number;
}
export interface SimImage { readonly id: string; readonly tags: string[]; readonly labels: Readonly<Record<string, string>>; readonly app: string; readonly deploy: number }

const down = (): StepFailure => new StepFailure('engine.down', 'the engine does not answer', null, 'machine');

/** Containers and images, and what may become of them. */
export class Engine {
  readonly containers = new Map<string, SimContainer>();
  readonly images = new Map<string, SimImage>();
  /** folders of sources */
  readonly sources = new Set<string>();
  downUntil = 0;
  flakyUntil = 0;
  private serial = 0;
  private lastIp = 0;
  private readonly reuses: boolean;
  /** what steps have done to the outside: `build a1` → how often */
  readonly effects = new Map<string, number>();
  /** something about containers changed */
  changed = false;
  /** a process stops or removes a container */
  onTaken: (container: SimContainer, by: Proc) => void = () => {};
  onCrash: (app: string) => void = () => {};
  /** what becomes of the containers of this deploy once they run */
  fate: (app: string, deploy: number) => 'well' | 'crash' | 'sick' = () => 'well';

  constructor(private readonly world: World) { this.reuses = world.rng.chance(0.6); }

  get down(): boolean { return this.world.now < this.downUntil; }

  /** A name is one image's: whoever had it has it no more. */
  name(image: SimImage, tag: string): void {
    for (const other of this.images.values()) if (other.tags.includes(tag)) other.tags.splice(other.tags.indexOf(tag), 1);
    image.tags.push(tag);
  }

  did(what: string, app: string): void { this.effects.set(`${what} ${app}`, (this.effects.get(`${what} ${app}`) ?? 0) + 1); }

  id(prefix: string): string { return `${prefix}${++this.serial}`; }

  private address(): string {
    const used = new Set([...this.containers.values()].map((c) => c.ip));
    let n = this.reuses ? 1 : ++this.lastIp;
    while (used.has(`10.208.${n >> 8}.${n & 255}`)) n += 1;
    this.lastIp = n;
    return `10.208.${n >> 8}.${n & 255}`;
  }

  byIp(ip: string): SimContainer | undefined {
    for (const c of this.containers.values()) if (c.ip === ip && c.state === 'running') return c;
    return undefined;
  }

  well(c: SimContainer | undefined): boolean { return c !== undefined && c.state === 'running' && this.world.now >= c.wellAt; }

  start(c: SimContainer): void {
    if (c.state === 'running') return;
    c.state = 'running';
    c.exitCode = null;
    c.ip = this.address();
    const { rng } = this.world;
    const fate = this.fate(c.app, c.deploy);
    c.wellAt = fate === 'sick' ? Infinity : this.world.now + rng.between(20, 800);
    this.changed = true;
    if (fate === 'crash' && (c.starts += 1) === 1) this.world.after(rng.between(10, 300), () => {
      if (c.state === 'running') this.onCrash(c.app);
      this.exit(c, 1);
    });
  }

  exit(c: SimContainer, code: number): void {
    if (c.state !== 'running') return;
    c.state = 'exited';
    c.ip = null;
    c.exitCode = code;
    this.changed = true;
    for (const waiter of c.waiters.splice(0)) waiter(code);
    // the engine's own restarts; after its own death it does not
    if (c.policy === 'on-failure' && code !== 0 && code !== 137) this.world.after(this.world.rng.between(100, 900), () => { if (this.containers.get(c.id) === c && c.policy === 'on-failure') this.start(c); });
  }

  remove(c: SimContainer): void {
    c.policy = 'no';
    this.exit(c, 137);
    this.containers.delete(c.id);
    this.changed = true;
  }

  /** The engine dies, its containers with it. */
  crash(): void { for (const c of this.containers.values()) this.exit(c, 137); }

  handle(proc: Proc): Handle { return new Handle(this, proc, this.world); }
}

const of = (labels: Readonly<Record<string, string>>): { app: string; deploy: number; type: string } => {
  const read = readLabels(labels);
  return { app: read.app ?? '', deploy: Number(read.deploy ?? 0), type: read.type ?? '' };
};

/** One process's hand on the engine. Only what is used here is there. */
export class Handle extends EnginePort {
  constructor(private readonly engine: Engine, private readonly proc: Proc, private readonly world: World) { super(); }

  private ask<T>(what: string, effect: () => T): Promise<T> {
    return this.proc.call(`engine.${what}`, () => {
      if (this.engine.down) throw down();
      const flaky = this.world.now < this.engine.flakyUntil && this.world.rng.chance(0.3);
      // it fails before, or after it has done it
      if (flaky && this.world.rng.chance(0.5)) throw down();
      const value = effect();
      if (flaky) throw down();
      return value;
    }, 4);
  }

  override observed(): EnginePort { return this; }
  override ping(): Promise<void> { return this.ask('ping', () => {}); }
  override info(): never { throw new Error('not simulated'); }
  override space(): Promise<{ path: string; free: number; total: number }> { return this.ask('space', () => ({ path: '/', free: 1e12, total: 2e12 })); }
  override canPull(): Promise<boolean> { return Promise.resolve(false); }
  override build(): never { throw new Error('not simulated'); }
  override pullImage(): never { throw new Error('not simulated'); }
  override rewriteHistory(): never { throw new Error('not simulated'); }
  override loadImage(): never { throw new Error('not simulated'); }
  override listCaches(): Promise<readonly []> { return this.ask('listCaches', () => [] as const); }
  override removeCaches(): never { throw new Error('not simulated'); }

  private image(image: SimImage): Image {
    return { id: image.id, tags: [...image.tags], bytes: 100, labels: image.labels, exposed: [], volumes: [], cmd: null, entrypoint: null, created: 0 };
  }
  override inspectImage(reference: string): Promise<Image | null> {
    return this.ask('inspectImage', () => {
      const found = this.engine.images.get(reference) ?? [...this.engine.images.values()].findLast((i) => i.tags.includes(reference));
      return found ? this.image(found) : null;
    });
  }
  override listImages(): Promise<readonly Image[]> { return this.ask('listImages', () => [...this.engine.images.values()].map((i) => this.image(i))); }
  override removeImage(reference: string, force = false): Promise<void> {
    return this.ask('removeImage', () => {
      if (!force && (this.engine.images.get(reference)?.tags.length ?? 0) > 1) throw Object.assign(new Error('it has several names'), { statusCode: 409 });
      this.engine.images.delete(reference);
    });
  }
  override tagImage(reference: string, tag: string): Promise<void> {
    return this.ask('tagImage', () => {
      const image = this.engine.images.get(reference);
      if (!image) throw Object.assign(new Error('no such image'), { statusCode: 404 });
      this.engine.name(image, tag);
    });
  }
  /** In one piece; asked again while it is being built, it goes on. */
  async make(tag: string, labels: LabelValues, ms: number, signal: AbortSignal): Promise<Image> {
    await this.ask('build.start', () => {});
    await this.proc.sleep(ms, signal);
    return this.ask('build.end', () => {
      const made: SimImage = { id: this.engine.id('sha256:'), tags: [], labels: labelled(labels), ...of(labelled(labels)) };
      this.engine.images.set(made.id, made);
      this.engine.name(made, tag);
      this.engine.did('build', made.app);
      return this.image(made);
    });
  }

  create(spec: { name: string; image: string; labels: LabelValues }): Promise<string> {
    return this.ask('create', () => {
      if ([...this.engine.containers.values()].some((c) => c.name === spec.name)) throw Object.assign(new Error(`name ${spec.name} is taken`), { statusCode: 409 });
      if (!this.engine.images.has(spec.image)) throw Object.assign(new Error('no such image'), { statusCode: 404 });
      const labels = labelled(spec.labels);
      const id = this.engine.id('c');
      this.engine.did('create', of(labels).app);
      this.engine.containers.set(id, { id, name: spec.name, imageId: spec.image, labels, ...of(labels), state: 'created', ip: null, policy: 'no', wellAt: Infinity, exitCode: null, waiters: [], starts: 0 });
      return id;
    });
  }
  override createContainer(): never { throw new Error('see create'); }
  override startContainer(id: string): Promise<void> {
    return this.ask('start', () => {
      const c = this.engine.containers.get(id);
      if (!c) throw Object.assign(new Error('no such container'), { statusCode: 404 });
      this.engine.start(c);
      this.engine.did('start', c.app);
    });
  }
  override inspectContainer(id: string): Promise<ContainerState | null> {
    return this.ask('inspect', () => {
      const c = this.engine.containers.get(id);
      return c ? { id, name: c.name, imageId: c.imageId, labels: c.labels, ip: c.ip, running: c.state === 'running', restarting: false, pid: 1, exitCode: c.exitCode, oomKilled: false, startedAt: 0, restartCount: 0, error: null } : null;
    });
  }
  override environment(): never { throw new Error('nothing in it has a service'); }
  override setRestart(id: string, policy: string): Promise<void> {
    return this.ask('setRestart', () => {
      const c = this.engine.containers.get(id);
      if (!c) throw Object.assign(new Error('no such container'), { statusCode: 404 });
      c.policy = policy;
    });
  }
  override async stopContainer(id: string): Promise<void> {
    await this.ask('stop', () => {
      const c = this.engine.containers.get(id);
      if (!c) return;
      this.engine.onTaken(c, this.proc);
      c.policy = 'no';
      this.engine.exit(c, 0);
    });
    await this.proc.sleep(this.world.rng.int(100));
  }
  override removeContainer(id: string): Promise<void> {
    return this.ask('remove', () => {
      const c = this.engine.containers.get(id);
      if (!c) return;
      this.engine.onTaken(c, this.proc);
      this.engine.remove(c);
    });
  }
  override listContainers(wanted: LabelValues): Promise<readonly ContainerSummary[]> {
    return this.ask('list', () => {
      const filter = Object.entries(labelled(wanted)).filter(([name]) => name !== 'berth.instance');
      return [...this.engine.containers.values()].filter((c) => filter.every(([name, value]) => c.labels[name] === value))
        .map((c) => ({ id: c.id, name: c.name, image: c.imageId, imageId: c.imageId, state: c.state, ip: c.ip, labels: c.labels, created: 0 }));
    });
  }
  override waitContainer(id: string, signal?: AbortSignal): Promise<number> {
    return this.proc.wait('engine.wait', (resolve, reject) => {
      const c = this.engine.containers.get(id);
      if (!c || c.state === 'exited') return resolve(c?.exitCode ?? 0);
      c.waiters.push(resolve);
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
    });
  }
  override runContainer(): never { throw new Error('not simulated'); }
  override exec(): never { throw new Error('not simulated'); }
  // oxlint-disable-next-line require-yield
  override async *logs(): AsyncIterable<never> { return; }
  override events(): never { throw new Error('not simulated'); }
  override ensureNetwork(): never { throw new Error('not simulated'); }
  override removeNetwork(): Promise<void> { return Promise.resolve(); }
  override listNetworks(): Promise<readonly never[]> { return Promise.resolve([]); }
  override listIdleVolumes(): Promise<readonly never[]> { return Promise.resolve([]); }
  override removeVolume(): Promise<void> { return Promise.resolve(); }

  /** A request straight to a container. */
  probe(ip: string): Promise<number> {
    return this.proc.call('http.check', () => {
      const c = this.engine.byIp(ip);
      if (!this.engine.well(c)) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
      return 200;
    });
  }
}
