import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import Docker from 'dockerode';
import { extract, pack } from 'tar-stream';
import { EngineCalls } from './docker.call.js';
import { DockerContainers } from './docker.containers.js';
import { statusOf } from './engine.errors.js';
import { LABEL, labelFilter, type LabelValues } from './labels.js';
import { VolumePort, type Volume, type VolumeUser } from './volume.port.js';

/** where the throw-away container has the volume; the names in its tar begin so */
const AT = 'volume';
/** hex of anonymous volumes: they go with their container */
const ANONYMOUS = /^[0-9a-f]{64}$/;
/** a volume may be large */
const HOURS_MS = 12 * 3_600_000;

/** Volumes through containers that are made, never started and thrown away: the engine itself packs and unpacks what they mount. */
export class DockerVolumeDriver extends VolumePort {
  private readonly calls: EngineCalls;
  private readonly containers: DockerContainers;

  private readonly holders: string;

  /**
   * @param instance marks the throw-away containers; the sweeper does not know them
   * @param owner whose they are, where it is not the API: each tidies up after itself
   */
  constructor(socket: string, private readonly instance: string, owner?: string) {
    super();
    this.holders = owner === undefined ? instance : `${instance}.${owner}`;
    this.calls = new EngineCalls(new Docker({ socketPath: socket }), socket, null);
    this.containers = new DockerContainers(this.calls);
  }

  override async list(wanted: LabelValues): Promise<readonly Volume[]> {
    const { Volumes } = await this.calls.run('volume.list', undefined, (docker) => docker.listVolumes({ filters: { label: labelFilter(wanted) } as never }));
    return (Volumes ?? []).map(toVolume).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  override async inspect(name: string): Promise<Volume | null> {
    const found = await this.calls.find('volume.inspect', name, (docker) => docker.getVolume(name).inspect());
    return found && toVolume(found);
  }

  override async ensure(name: string, marks: Readonly<Record<string, string>>): Promise<boolean> {
    if (await this.inspect(name)) return false;
    await this.calls.run('volume.create', name, (docker) => docker.createVolume({ Name: name, Labels: { ...marks } }));
    return true;
  }

  override async remove(name: string): Promise<void> {
    await this.calls.find('volume.remove', name, (docker) => docker.getVolume(name).remove());
  }

  override async users(name: string): Promise<readonly VolumeUser[]> {
    // the filter also finds other names that begin so, and paths
    const like = await this.calls.run('container.list', name, (docker) => docker.listContainers({ all: true, filters: { volume: [name] } }));
    return like.filter((c) => c.Mounts.some((m) => m.Name === name)).map((c) => ({ id: c.Id, name: (c.Names[0] ?? '').slice(1), state: c.State, labels: c.Labels }));
  }

  override async mounted(wanted: LabelValues): Promise<readonly string[]> {
    const found = await this.calls.run('container.list', undefined, (docker) => docker.listContainers({ all: true, filters: { label: labelFilter(wanted) } }));
    // only apps' own: what a build mounts is a cache
    return [...new Set(found.filter((c) => c.Labels[LABEL.type] !== undefined).flatMap((c) => c.Mounts.flatMap((m) => (m.Type === 'volume' && m.Name && !ANONYMOUS.test(m.Name) ? [m.Name] : []))))].sort();
  }

  override async isEmpty(name: string): Promise<boolean> {
    let entries = 0;
    const tar = extract().on('entry', (_header, content, next) => {
      entries += 1;
      content.resume();
      next();
    });
    tar.on('error', () => {}); // cut off where we stop
    for await (const piece of this.read(name, new AbortController().signal)) {
      tar.write(piece);
      if (entries > 1) break; // the first is the folder itself
    }
    tar.destroy();
    return entries <= 1;
  }

  override async *read(name: string, signal: AbortSignal): AsyncIterable<Buffer> {
    const id = await this.holder(name);
    try {
      const stream = (await this.calls.run('volume.read', name, (docker) => docker.getContainer(id).getArchive({ path: `/${AT}`, abortSignal: signal } as never))) as unknown as Readable;
      for await (const piece of stream as AsyncIterable<Buffer>) yield piece;
    } catch (error) {
      throw this.calls.translate(error);
    } finally {
      await this.containers.remove(id);
    }
  }

  override async write(name: string, tar: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    const id = await this.holder(name);
    try {
      // at the root, so that the folder itself gets its owner and mode, too
      await this.calls.run('volume.write', name, (docker) => docker.getContainer(id).putArchive(Readable.from(tar), { path: '/', abortSignal: signal } as never), HOURS_MS);
    } finally {
      await this.containers.remove(id);
    }
  }

  override async own(name: string, uid: number, gid: number): Promise<void> {
    const tar = pack();
    tar.entry({ name: `${AT}/`, type: 'directory', uid, gid, mode: 0o755, mtime: new Date(0) });
    tar.finalize();
    await this.write(name, tar as AsyncIterable<Buffer>, new AbortController().signal);
  }

  override async pause(container: string): Promise<void> { await this.calls.find('container.pause', container, (docker) => docker.getContainer(container).pause()); }
  /** One that goes on already, or was replaced meanwhile, is left alone. */
  override async unpause(container: string): Promise<void> {
    await this.calls.find('container.unpause', container, (docker) => docker.getContainer(container).unpause().catch((error: unknown) => {
      if (statusOf(error) !== 409 && statusOf(error) !== 500) throw error;
    }));
  }
  override stop(container: string, timeoutS: number): Promise<void> { return this.containers.stop(container, timeoutS); }
  override async start(container: string): Promise<void> {
    await this.containers.start(container).catch((error: unknown) => {
      if (statusOf(error) !== 404) throw error;
    });
  }
  override removeContainer(container: string): Promise<void> { return this.containers.remove(container); }

  override async tidy(): Promise<void> {
    const left = await this.calls.run('container.list', undefined, (docker) => docker.listContainers({ all: true, filters: { label: [`${LABEL.holder}=${this.holders}`] } }));
    for (const { Id } of left) await this.containers.remove(Id);
  }

  override async paused(wanted: LabelValues): Promise<readonly Pick<VolumeUser, 'id' | 'labels'>[]> {
    return (await this.containers.list(wanted)).filter((c) => c.state === 'paused');
  }

  override async unpauseAll(wanted: LabelValues): Promise<void> {
    for (const { id } of await this.paused(wanted)) await this.unpause(id);
  }

  private async holder(volume: string): Promise<string> {
    const image = await this.emptyImage();
    const made = await this.calls.run('container.create', volume, (docker) => docker.createContainer({
      name: `${this.instance}-volume-${randomBytes(4).toString('hex')}`, Image: image, Cmd: ['none'], Labels: { [LABEL.holder]: this.holders }, NetworkDisabled: true,
      HostConfig: { NetworkMode: 'none', Mounts: [{ Type: 'volume', Source: volume, Target: `/${AT}`, VolumeOptions: { NoCopy: true } } as never] },
    }));
    return made.id;
  }

  /** Nothing is ever run in it: an image without a single file will do. */
  private async emptyImage(): Promise<string> {
    const name = 'berth/empty:1';
    if ((await this.calls.find('image.inspect', name, (docker) => docker.getImage(name).inspect())) === null) {
      const tar = pack();
      tar.finalize();
      await this.calls.run('image.import', name, async (docker) => {
        const answer = await docker.importImage(tar as unknown as NodeJS.ReadableStream as never, { repo: 'berth/empty', tag: '1' } as never);
        for await (const _ of answer as unknown as AsyncIterable<Buffer>) { /* until it is there */ }
      });
    }
    return name;
  }
}

const toVolume = (found: { Name: string; Driver: string; Labels: Record<string, string> | null }): Volume => ({ name: found.Name, driver: found.Driver, labels: found.Labels ?? {} });
