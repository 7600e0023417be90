import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { StepFailure } from '../../events/step.js';
import { BuildCgroup, type LimitGuard, cgroupLayout, configuredParent } from './build-cgroup.js';
import { buildFailure, exitCode, outOfMemory, timedOut } from './build-failure.js';
import type { BuildSession } from './buildkit/session.js';
import { BuildProgress, type FailedStep } from './buildkit/progress.js';
import { decodeStatus } from './buildkit/proto.js';
import type { EngineCalls } from './docker.call.js';
import { messages } from './messages.js';
import { reasonOf, statusOf } from './engine.errors.js';
import type { BuildRequest, BuiltImage, EngineInfo, Image } from './engine.port.js';
import { LegacyProgress } from './legacy-progress.js';
import { labels } from './labels.js';
import { loginAt, registryConfig, type RegistryLogins } from './registry-login.js';

interface Outcome { readonly imageId: string; readonly steps: number; readonly cached: number }

/** The limits of all builds of this process, by engine socket and cgroup root: several drivers may share them. */
const cgroups = new Map<string, BuildCgroup | null>();

export class DockerBuild {
  constructor(private readonly calls: EngineCalls, private readonly info: () => Promise<EngineInfo>, private readonly inspect: (id: string) => Promise<Image | null>, private readonly cgroupRoot: string, private readonly logins: RegistryLogins) {}

  async build(context: Readable, request: BuildRequest): Promise<BuiltImage> {
    const { limits, signal } = request;
    const started = performance.now();
    const deadline = limits.timeoutMs > 0 ? AbortSignal.timeout(limits.timeoutMs) : null;
    const stop = deadline ? AbortSignal.any([signal, deadline]) : signal;
    // an abort tears the context's pipe; nobody else listens
    context.on('error', () => {});
    const guard = await this.limit(request);
    const session = guard === 'legacy' ? null : await this.session(request).catch((error: unknown) => {
      if (guard !== null) guard.leave();
      context.destroy();
      throw error;
    });
    const builder = session === null ? 'legacy' : 'buildkit';
    const progress = builder === 'legacy' ? new LegacyProgress(request.onLine) : new BuildProgress(request.onLine);
    try {
      signal.throwIfAborted();
      const done = session === null ? await this.legacy(context, request, stop, progress as LegacyProgress) : await this.buildkit(context, request, stop, progress as BuildProgress, session);
      const image = await this.inspect(done.imageId);
      if (!image) throw new StepFailure('build.lost', `the image ${request.tag} is gone right after its build`, 'something else removes images on this machine', 'machine');
      return { ...image, steps: done.steps, cached: done.cached, builder };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (deadline?.aborted) throw timedOut(limits.timeoutMs, progress.running);
      if (error instanceof StepFailure && error.code.startsWith('build.') && limits.memory > 0) {
        const code = progress.failed && exitCode(progress.failed.error);
        const dead = session === null || guard === 'legacy' ? code === 137 : (guard?.outOfMemory(code) ?? false);
        if (dead) throw outOfMemory(limits.memory, progress.failed?.name ?? null);
      }
      throw error;
    } finally {
      context.destroy();
      if (guard && guard !== 'legacy') guard.leave();
      this.calls.report('image.build', performance.now() - started, request.tag);
    }
  }

  /** The cgroup that holds the limits; `legacy` when it cannot be set but the old builder can do it; null = there is nothing to hold. */
  private async limit(request: BuildRequest): Promise<LimitGuard | 'legacy' | null> {
    const { memory, cpus } = request.limits;
    const wanted = memory > 0 || cpus > 0;
    let why = 'the engine has no cgroups';
    try {
      const key = `${this.calls.socket} ${this.cgroupRoot}`;
      let cgroup = cgroups.get(key);
      if (cgroup === undefined) {
        const layout = cgroupLayout(await this.info(), configuredParent());
        cgroups.set(key, (cgroup = layout && new BuildCgroup(layout, this.cgroupRoot)));
      }
      if (cgroup) return cgroup.enter({ memory, cpus });
    } catch (error) {
      if (error instanceof StepFailure) throw error;
      why = reasonOf(error);
    }
    if (!wanted) return null;
    if (Object.keys(request.secrets).length > 0) {
      throw new StepFailure('build.no-limits', `the build's limits cannot be set (${why}), and the builder that could keep them has no secrets`, 'run the build worker as root on the engine\'s machine, or set BERTH_BUILD_MEMORY=0 and BERTH_BUILD_CPUS=0', 'machine');
    }
    request.onNote?.(`The limits of BuildKit cannot be set (${why}): using the engine's legacy builder, which has no RUN --mount`);
    return 'legacy';
  }

  /** BuildKit's way back to us; null when the engine has no BuildKit. */
  private async session(request: BuildRequest): Promise<BuildSession | null> {
    // gRPC is 4 MB of memory that only builds need
    const { openSession } = await import('./buildkit/session.js');
    try {
      return await this.calls.run('session.open', undefined, (docker) => openSession(docker, request.secrets, async (host) => loginAt(await this.logins(), host)));
    } catch (error) {
      if (statusOf(error) === null) throw error;
      if (Object.keys(request.secrets).length > 0) {
        throw new StepFailure('build.no-buildkit', `the engine has no BuildKit, and its legacy builder knows no secrets (${reasonOf(error)})`, 'update the engine (Docker 18.09 or newer), or build without build-secrets and without BERTH_BUILD_CA', 'machine');
      }
      request.onNote?.('The engine has no BuildKit: using its legacy builder, which has no RUN --mount and builds every stage');
      return null;
    }
  }

  private async buildkit(context: Readable, request: BuildRequest, stop: AbortSignal, progress: BuildProgress, session: BuildSession): Promise<Outcome> {
    let imageId: string | null = null;
    let failure: string | null = null;
    try {
      const stream = await this.dial(context, { ...this.query(request), version: '2', session: session.id }, stop);
      for await (const message of messages(stream)) {
        if (message.id === 'moby.buildkit.trace') progress.feed(decodeStatus(Buffer.from(String(message.aux ?? ''), 'base64')));
        else if (typeof message.aux === 'object' && message.aux.ID) imageId = message.aux.ID;
        else if (message.error) failure = message.error;
      }
    } catch (error) {
      throw this.refused(error);
    } finally {
      session.close();
    }
    if (failure !== null) throw buildFailure(failure, progress.failed);
    if (imageId === null) throw this.calls.lostStream(`the build of ${request.tag}`);
    return { imageId, steps: progress.steps, cached: progress.cached };
  }

  private async legacy(context: Readable, request: BuildRequest, stop: AbortSignal, progress: LegacyProgress): Promise<Outcome> {
    const { memory, cpus } = request.limits;
    const registryconfig = registryConfig(await this.logins());
    let imageId: string | null = null;
    try {
      const stream = await this.dial(context, {
        ...this.query(request), version: '1', rm: true, forcerm: true,
        ...(memory ? { memory, memswap: memory } : {}), ...(cpus ? { cpuperiod: 100_000, cpuquota: Math.round(cpus * 100_000) } : {}),
      }, stop, registryconfig);
      for await (const message of messages(stream)) {
        if (message.stream) progress.feed(message.stream);
        else if (typeof message.aux === 'object' && message.aux.ID) imageId = message.aux.ID;
        else if (message.error) progress.fail(message.error);
      }
    } catch (error) {
      throw this.refused(error);
    }
    progress.end();
    if (progress.failed) throw buildFailure(progress.failed.error, progress.failed.name ? progress.failed as FailedStep : null);
    if (imageId === null) throw this.calls.lostStream(`the build of ${request.tag}`);
    return { imageId, steps: progress.steps, cached: progress.cached };
  }

  private query(request: BuildRequest): Record<string, unknown> {
    return { t: request.tag, dockerfile: request.dockerfile, labels: JSON.stringify(labels(request.labels)), buildargs: JSON.stringify(request.buildArgs), ...(request.target !== undefined && { target: request.target }), ...(request.platform !== undefined && { platform: request.platform }) };
  }

  private dial(context: Readable, query: Record<string, unknown>, abortSignal: AbortSignal, registryconfig?: object): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      this.calls.docker.modem.dial({ path: '/build?', method: 'POST', file: context, options: query, ...(registryconfig && { registryconfig }), abortSignal, isStream: true, statusCodes: { 200: true, 400: 'bad parameter', 500: 'server error' } } as Docker.DockerOptions as never,
        (error: unknown, response: unknown) => (error ? reject(error) : resolve(response as IncomingMessage)));
    });
  }

  /** The builder refuses a Dockerfile that it cannot read by status instead of by a message. */
  private refused(error: unknown): unknown {
    const status = statusOf(error);
    if (status !== null) return buildFailure(reasonOf(error), null);
    return this.calls.translate(error);
  }
}
