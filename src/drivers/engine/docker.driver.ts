import { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import { spaceOf, type Space } from '../disk/space.js';
import { DockerBuild } from './docker.build.js';
import { EngineCalls } from './docker.call.js';
import { DockerContainers } from './docker.containers.js';
import { DockerExec } from './docker.exec.js';
import { DockerImages } from './docker.images.js';
import { DockerLogs } from './docker.logs.js';
import { DockerNetworks } from './docker.networks.js';
import { DockerVolumes } from './docker.volumes.js';
import {
  type BuildCache, type BuildRequest, type BuiltImage, type CallObserver, type ContainerSpec, type ContainerState, type ContainerSummary, type EngineEvent, type EngineInfo, EnginePort,
  type Exec, type ExecIo, type EventOptions, type Image, type LogLine, type LogOptions, type Network, type NetworkSpec, type RestartPolicy, type RunResult, type Volume,
} from './engine.port.js';
import type { LabelValues } from './labels.js';
import type { RegistryLogin, RegistryLogins } from './registry-login.js';

export interface DockerOptions {
  readonly observer?: CallObserver;
  /** where the machine's cgroups are mounted */
  readonly cgroupRoot?: string;
  readonly docker?: Docker;
  /** what registries want to see; nobody's when absent */
  readonly logins?: RegistryLogins;
}

const none: RegistryLogins = () => Promise.resolve([]);

/** The Docker engine through its API on a unix socket. One object a process is enough; it holds no connection open. */
export class DockerDriver extends EnginePort {
  private readonly calls: EngineCalls;
  private readonly images: DockerImages;
  private readonly containers: DockerContainers;
  private readonly networks: DockerNetworks;
  private readonly volumes: DockerVolumes;
  private readonly execs: DockerExec;
  private readonly streams: DockerLogs;
  private readonly builds: DockerBuild;
  /** asked once: the question costs 10 ms and more. Shared with the observed ones, which live as long as a step */
  private known: { info: EngineInfo | null } = { info: null };

  constructor(private readonly socket: string, private readonly options: DockerOptions = {}) {
    super();
    this.calls = new EngineCalls(options.docker ?? new Docker({ socketPath: socket }), socket, options.observer ?? null);
    this.images = new DockerImages(this.calls, options.logins ?? none);
    this.containers = new DockerContainers(this.calls);
    this.networks = new DockerNetworks(this.calls);
    this.volumes = new DockerVolumes(this.calls);
    this.execs = new DockerExec(this.calls);
    this.streams = new DockerLogs(this.calls);
    this.builds = new DockerBuild(this.calls, () => this.info(), (id) => this.inspectImage(id), options.cgroupRoot ?? '/sys/fs/cgroup', options.logins ?? none);
  }

  override observed(observer: CallObserver): EnginePort {
    const driver = new DockerDriver(this.socket, { ...this.options, docker: this.calls.docker, observer });
    driver.known = this.known;
    return driver;
  }

  override async ping(): Promise<void> {
    // by a connection of its own: an engine that is being stopped takes no new ones
    const docker = this.options.docker ?? new Docker({ socketPath: this.socket, agent: new Agent({ keepAlive: false }) } as Docker.DockerOptions);
    await this.calls.run('ping', undefined, () => docker.ping(), 5000);
  }

  override async info(): Promise<EngineInfo> {
    if (this.known.info) return this.known.info;
    const info = (await this.calls.run('info', undefined, (docker) => docker.info())) as { ServerVersion: string; CgroupVersion?: string; CgroupDriver?: string; DockerRootDir: string };
    const driver = info.CgroupDriver === 'systemd' || info.CgroupDriver === 'cgroupfs' ? info.CgroupDriver : 'none';
    return (this.known.info = { version: info.ServerVersion, cgroupVersion: info.CgroupVersion === '2' ? 2 : 1, cgroupDriver: driver, rootDir: info.DockerRootDir });
  }

  override async space(): Promise<Space> {
    return spaceOf((await this.info()).rootDir);
  }

  /** @throws what the engine says: statusCode 401 when the registry refuses it */
  checkLogin(login: RegistryLogin): Promise<void> { return this.images.checkLogin(login); }
  override canPull(reference: string): Promise<boolean> { return this.images.canPull(reference); }
  override build(context: Readable, request: BuildRequest): Promise<BuiltImage> { return this.builds.build(context, request); }
  override inspectImage(reference: string): Promise<Image | null> { return this.images.inspect(reference); }
  override pullImage(reference: string, signal: AbortSignal, onLine: (line: string) => void): Promise<void> { return this.images.pull(reference, signal, onLine); }
  override loadImage(archive: Readable, signal: AbortSignal): Promise<readonly string[]> { return this.images.load(archive, signal); }
  override listImages(labels: LabelValues): Promise<readonly Image[]> { return this.images.list(labels); }
  override removeImage(reference: string, force = false): Promise<void> { return this.images.remove(reference, force); }
  override listCaches(): Promise<readonly BuildCache[]> { return this.images.caches(); }
  override removeCaches(ids: readonly string[]): Promise<number> { return this.images.removeCaches(ids); }
  override async rewriteHistory(id: string, tag: string, text: (line: string) => string): Promise<{ image: Image; config: string } | null> { return this.images.rewriteHistory((await this.info()).rootDir, id, tag, text); }
  override tagImage(reference: string, tag: string): Promise<void> { return this.images.tag(reference, tag); }

  override createContainer(spec: ContainerSpec): Promise<string> { return this.containers.create(spec); }
  override startContainer(id: string): Promise<void> { return this.containers.start(id); }
  override inspectContainer(id: string): Promise<ContainerState | null> { return this.containers.inspect(id); }
  override environment(id: string): Promise<readonly string[] | null> { return this.containers.environment(id); }
  override setRestart(id: string, policy: RestartPolicy): Promise<void> { return this.containers.setRestart(id, policy); }
  override stopContainer(id: string, timeoutS: number): Promise<void> { return this.containers.stop(id, timeoutS); }
  override removeContainer(id: string): Promise<void> { return this.containers.remove(id); }
  override listContainers(labels: LabelValues): Promise<readonly ContainerSummary[]> { return this.containers.list(labels); }
  override waitContainer(id: string, signal?: AbortSignal): Promise<number> { return this.containers.wait(id, signal); }
  override runContainer(spec: ContainerSpec, onLine: (line: string, stream: 'stdout' | 'stderr') => void, signal: AbortSignal): Promise<RunResult> { return this.containers.run(spec, onLine, signal); }
  override exec(id: string, exec: Exec, io: ExecIo): Promise<{ exitCode: number; stderr: string }> { return this.execs.run(id, exec, io); }
  override logs(id: string, options: LogOptions): AsyncIterable<LogLine> { return this.streams.logs(id, options); }
  override events(options: EventOptions): AsyncIterable<EngineEvent> { return this.streams.events(options); }

  override ensureNetwork(spec: NetworkSpec): Promise<Network> { return this.networks.ensure(spec); }
  override removeNetwork(name: string): Promise<void> { return this.networks.remove(name); }
  override listNetworks(labels: LabelValues): Promise<readonly Network[]> { return this.networks.list(labels); }

  override listIdleVolumes(labels: LabelValues): Promise<readonly Volume[]> { return this.volumes.listIdle(labels); }
  override removeVolume(name: string): Promise<void> { return this.volumes.remove(name); }
}
