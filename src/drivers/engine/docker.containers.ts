import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import type { EngineCalls } from './docker.call.js';
import { statusOf } from './engine.errors.js';
import { Demuxer, LineSplitter } from './docker.logs.js';
import type { ContainerSpec, ContainerState, ContainerSummary, RestartPolicy, RunResult } from './engine.port.js';
import { type LabelValues, labelFilter, labels } from './labels.js';

const NEVER = Date.parse('0001-01-01T00:00:00Z');
/** how often a wait looks for itself: an engine that died with our request open never answers it */
const LOOK_MS = 2000;

function restart(policy: RestartPolicy): Docker.HostRestartPolicy {
  return policy === 'on-failure' ? { Name: 'on-failure', MaximumRetryCount: 10 } : { Name: policy };
}
const bare = (name: string | undefined): string => (name ?? '').replace(/^\//, '');
type Networks = Record<string, { IPAddress?: string; NetworkID?: string } | undefined> | undefined;
/** In the network that it was made in; one that it joined does not count. @param mode that network's name or id */
function address(networks: Networks, mode: string | undefined): string | null {
  const all = Object.entries(networks ?? {});
  const own = all.find(([name, network]) => mode !== undefined && (name === mode || network?.NetworkID === mode));
  return (own ?? all.find(([, network]) => network?.IPAddress))?.[1]?.IPAddress || null;
}

function toState(found: Docker.ContainerInspectInfo): ContainerState {
  const { State: state } = found;
  const startedAt = Date.parse(state.StartedAt);
  const started = Number.isFinite(startedAt) && startedAt > NEVER;
  return {
    id: found.Id, name: bare(found.Name), imageId: found.Image, labels: found.Config.Labels ?? {}, ip: state.Running ? address(found.NetworkSettings.Networks as Networks, found.HostConfig.NetworkMode) : null,
    running: state.Running && !state.Restarting, restarting: state.Restarting, pid: state.Pid, exitCode: state.Running || (!started && !state.Error) ? null : state.ExitCode, oomKilled: state.OOMKilled,
    startedAt: started ? startedAt : null, restartCount: found.RestartCount, error: state.Error || null,
  };
}

export class DockerContainers {
  constructor(private readonly calls: EngineCalls) {}

  async create(spec: ContainerSpec): Promise<string> {
    const made = await this.calls.run('container.create', spec.name, (docker) => docker.createContainer({
      name: spec.name, Image: spec.image, Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`), Labels: { ...spec.more, ...labels(spec.labels) },
      ...(spec.cmd ? { Cmd: [...spec.cmd] } : {}),
      ...(spec.stopSeconds ? { StopTimeout: spec.stopSeconds } : {}),
      ...(spec.aliases && spec.network !== null ? { NetworkingConfig: { EndpointsConfig: { [spec.network]: { Aliases: [...spec.aliases] } } } } : {}),
      ...(spec.ports ? { ExposedPorts: Object.fromEntries(spec.ports.map(({ container }) => [`${container}/tcp`, {}])) } : {}),
      HostConfig: {
        // pid 1 must hear TERM, and somebody must bury orphans
        Init: true,
        RestartPolicy: restart(spec.restart),
        LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '3' } },
        ...(spec.network === null ? {} : { NetworkMode: spec.network }),
        ...(spec.ports ? { PortBindings: Object.fromEntries([...Map.groupBy(spec.ports, ({ container }) => `${container}/tcp`)].map(([port, bound]) => [port, bound.map((b) => ({ HostIp: b.address, HostPort: String(b.host) }))])) } : {}),
        ...(spec.memory ? { Memory: spec.memory, MemorySwap: spec.memory } : {}),
        ...(spec.cpus ? { NanoCpus: Math.round(spec.cpus * 1e9) } : {}),
        ...(spec.pids ? { PidsLimit: spec.pids } : {}),
        // the image's own would have no label: what an engine that dies leaves of them could not be told from anybody's
        Mounts: [
          ...(spec.volumes ?? []).map((path) => ({ Type: 'volume', Target: path, VolumeOptions: { Labels: labels(spec.labels) } })),
          ...(spec.mounts ?? []).map(({ name, path }) => ({ Type: 'volume', Source: name, Target: path })),
        ] as unknown as Docker.MountConfig,
      },
    }));
    for (const network of spec.networks ?? []) await this.calls.run('network.connect', network, (docker) => docker.getNetwork(network).connect({ Container: made.id }));
    return made.id;
  }

  async start(id: string): Promise<void> {
    await this.calls.run('container.start', id.slice(0, 12), (docker) => docker.getContainer(id).start()).catch((error: unknown) => {
      if (statusOf(error) !== 304) throw error;
    });
  }

  async inspect(id: string): Promise<ContainerState | null> {
    const found = await this.calls.find('container.inspect', id.slice(0, 12), (docker) => docker.getContainer(id).inspect());
    return found && toState(found);
  }

  async environment(id: string): Promise<readonly string[] | null> {
    const found = await this.calls.find('container.inspect', id.slice(0, 12), (docker) => docker.getContainer(id).inspect());
    return found && (found.Config.Env ?? []);
  }

  async setRestart(id: string, policy: RestartPolicy): Promise<void> {
    await this.calls.run('container.update', id.slice(0, 12), (docker) => docker.getContainer(id).update({ RestartPolicy: restart(policy) }));
  }

  async stop(id: string, timeoutS: number): Promise<void> {
    await this.calls.find('container.stop', id.slice(0, 12), async (docker) => docker.getContainer(id).stop({ t: timeoutS }).catch((error: unknown) => {
      if (statusOf(error) !== 304) throw error;
    }), (timeoutS + 60) * 1000);
  }

  async remove(id: string): Promise<void> {
    await this.calls.find('container.remove', id.slice(0, 12), (docker) => docker.getContainer(id).remove({ force: true, v: true }).catch(async (error: unknown) => {
      // somebody else is removing it: it is gone when they are done
      if (statusOf(error) !== 409) throw error;
      for (let left = 100; left > 0; left -= 1) {
        await sleep(50);
        await docker.getContainer(id).inspect();
      }
      throw error;
    }));
  }

  async list(wanted: LabelValues): Promise<readonly ContainerSummary[]> {
    const found = await this.calls.run('container.list', undefined, (docker) => docker.listContainers({ all: true, filters: { label: labelFilter(wanted) } }));
    return found.map((container) => ({
      id: container.Id, name: bare(container.Names[0]), image: container.Image, imageId: container.ImageID, state: container.State,
      ip: address(container.NetworkSettings?.Networks as Networks, container.HostConfig?.NetworkMode), labels: container.Labels, created: container.Created * 1000,
    }));
  }

  /** @param condition `next-exit` before the start, or a short-lived container is missed */
  async wait(id: string, signal: AbortSignal | undefined, condition: 'not-running' | 'next-exit' = 'not-running'): Promise<number> {
    signal?.throwIfAborted();
    const started = performance.now();
    const over = new AbortController();
    const both = signal ? AbortSignal.any([signal, over.signal]) : over.signal;
    const told = this.exit(id, condition, both);
    const looked = (async () => {
      for (;;) {
        await sleep(LOOK_MS, undefined, { signal: both });
        const state = await this.inspect(id);
        if (!state) throw new Error(`container ${id.slice(0, 12)} was removed while we waited for it`);
        if (!state.running && !state.restarting && (condition === 'not-running' || state.startedAt !== null)) return state.exitCode ?? 0;
      }
    })();
    looked.catch(() => {});
    try {
      return await Promise.race([told, looked]);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw this.calls.translate(error);
    } finally {
      over.abort();
      told.catch(() => {});
      this.calls.report('container.wait', performance.now() - started, id.slice(0, 12));
    }
  }

  /** As a stream: docker-modem never tells that an answer broke off after its head, which an engine sends at once here. */
  private async exit(id: string, condition: string, abortSignal: AbortSignal): Promise<number> {
    const reply = await new Promise<AsyncIterable<Buffer>>((resolve, reject) => {
      this.calls.docker.modem.dial({ path: `/containers/${id}/wait?`, method: 'POST', options: { condition }, abortSignal, isStream: true, statusCodes: { 200: true, 404: 'no such container', 500: 'server error' } } as Docker.DockerOptions as never,
        (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer as AsyncIterable<Buffer>)));
    });
    let text = '';
    for await (const piece of reply) text += piece.toString('utf8');
    if (text === '') throw this.calls.lostStream(`the wait for ${id.slice(0, 12)}`);
    return (JSON.parse(text) as { StatusCode: number }).StatusCode;
  }

  async run(spec: ContainerSpec, onLine: (line: string, stream: 'stdout' | 'stderr') => void, signal: AbortSignal): Promise<RunResult> {
    signal.throwIfAborted();
    const id = await this.create(spec);
    try {
      const output = await this.calls.run('container.attach', spec.name, (docker) => docker.getContainer(id).attach({ stream: true, stdout: true, stderr: true }));
      const read = this.readLines(output, onLine);
      const exited = this.wait(id, signal, 'next-exit');
      exited.catch(() => {});
      await this.start(id);
      const exitCode = await exited;
      // the stream ends with the container; a child that it left behind may hold it open
      await Promise.race([read, sleep(2000, undefined, { ref: false })]);
      (output as unknown as { destroy(): void }).destroy();
      const state = await this.inspect(id);
      return { exitCode, oomKilled: state?.oomKilled ?? false };
    } finally {
      await this.remove(id);
    }
  }

  private async readLines(output: NodeJS.ReadableStream, onLine: (line: string, stream: 'stdout' | 'stderr') => void): Promise<void> {
    const demuxer = new Demuxer();
    const splitters = { stdout: new LineSplitter(), stderr: new LineSplitter() };
    try {
      for await (const chunk of output as AsyncIterable<Buffer>) for (const { stream, data } of demuxer.push(chunk)) for (const line of splitters[stream].push(data)) onLine(line, stream);
    } catch {
      // cut off: the exit code tells
    }
    for (const stream of ['stdout', 'stderr'] as const) for (const line of splitters[stream].end()) onLine(line, stream);
  }
}
