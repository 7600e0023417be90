import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { StepFailure } from '../../events/step.js';
import type { EngineCalls } from './docker.call.js';
import { reasonOf, statusOf } from './engine.errors.js';
import { messages } from './messages.js';
import { pullFailure } from './pull-failure.js';
import type { BuildCache, Image } from './engine.port.js';
import { authConfig, authFor, type AuthConfig, type RegistryLogin, type RegistryLogins } from './registry-login.js';
import { CACHE_VOLUME, type LabelValues, labelFilter, readLabels } from './labels.js';

/** a tree of many small files takes the engine a while */
const REMOVE_MS = 600_000;
/** what a cache's id begins with when it is a volume */
const VOLUME = 'volume:';

function toImage(found: Docker.ImageInspectInfo): Image {
  const config = found.Config;
  const ports = Object.keys((config?.ExposedPorts ?? {}) as object).filter((port) => !port.endsWith('/udp') && !port.endsWith('/sctp')).map((port) => parseInt(port, 10));
  const words = (value: string | string[] | undefined | null): string[] | null => (value === undefined || value === null || value.length === 0 ? null : typeof value === 'string' ? [value] : value);
  return {
    id: found.Id, tags: found.RepoTags ?? [], bytes: found.Size, labels: config?.Labels ?? {},
    exposed: ports.toSorted((a, b) => a - b), volumes: Object.keys((config?.Volumes ?? {}) as object).toSorted(), cmd: words(config?.Cmd), entrypoint: words(config?.Entrypoint), user: config?.User ?? '',
    digests: found.RepoDigests ?? [], onBuild: ((config as { OnBuild?: string[] | null } | undefined)?.OnBuild) ?? [], created: Date.parse(found.Created) || 0,
  };
}

/** `host:5000/a/b:tag` → repository and tag; `a@sha256:…` → repository and digest. */
function splitReference(reference: string): { fromImage: string; tag: string } {
  const at = reference.indexOf('@');
  if (at > 0) return { fromImage: reference.slice(0, at).replace(/:[^:/]+$/, ''), tag: reference.slice(at + 1) };
  const { repo, tag } = splitTag(reference);
  return { fromImage: repo, tag };
}

function splitTag(tag: string): { repo: string; tag: string } {
  const colon = tag.lastIndexOf(':');
  return colon > tag.lastIndexOf('/') ? { repo: tag.slice(0, colon), tag: tag.slice(colon + 1) } : { repo: tag, tag: 'latest' };
}

export class DockerImages {
  constructor(private readonly calls: EngineCalls, private readonly logins: RegistryLogins) {}

  async inspect(reference: string): Promise<Image | null> {
    const found = await this.calls.find('image.inspect', reference, (docker) => docker.getImage(reference).inspect());
    return found && toImage(found);
  }

  async list(labels: LabelValues): Promise<readonly Image[]> {
    const found = await this.calls.run('image.list', undefined, (docker) => docker.listImages({ filters: { label: labelFilter(labels) } }));
    return found.map((image) => ({
      id: image.Id, tags: (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>'), bytes: image.Size, labels: image.Labels ?? {},
      exposed: [], volumes: [], cmd: null, entrypoint: null, created: image.Created * 1000,
    }));
  }

  async remove(reference: string, force: boolean): Promise<void> {
    await this.calls.find('image.remove', reference, (docker) => docker.getImage(reference).remove({ force }), REMOVE_MS);
  }

  async tag(reference: string, tag: string): Promise<void> {
    await this.calls.run('image.tag', `${reference} ${tag}`, (docker) => docker.getImage(reference).tag(splitTag(tag)));
  }

  async pull(reference: string, signal: AbortSignal, onLine: (line: string) => void): Promise<void> {
    const authconfig = authFor(await this.logins(), reference);
    const started = performance.now();
    try {
      for await (const message of messages(await this.stream('/images/create?', splitReference(reference), undefined, signal, authconfig))) {
        if (message.error) throw pullFailure(reference, message.error);
        // a line for each layer and each of its ends, not for each of its bytes
        if (message.status && !/^(Downloading|Extracting|Waiting|Verifying)/.test(message.status)) onLine(message.id ? `${message.id}: ${message.status}` : message.status);
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw statusOf(error) === null ? this.calls.translate(error) : pullFailure(reference, reasonOf(error), statusOf(error));
    } finally {
      this.calls.report('image.pull', performance.now() - started, reference);
    }
  }

  async load(archive: Readable, signal: AbortSignal): Promise<readonly string[]> {
    const started = performance.now();
    const names: string[] = [];
    archive.on('error', () => {}); // an abort tears it; its own errors come by the request
    const refused = (why: string): StepFailure => new StepFailure('image.load', `The engine cannot load this image: ${why}`, 'pipe in what docker save writes: docker save shop:1 | berth git:load-image shop shop:1');
    try {
      for await (const message of messages(await this.stream('/images/load?', { quiet: true }, archive, signal))) {
        if (message.error) throw refused(message.error);
        const name = /^Loaded image(?: ID)?: (\S+)/.exec(message.stream ?? '')?.[1];
        if (name) names.push(name);
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw statusOf(error) === null ? this.calls.translate(error) : refused(reasonOf(error));
    } finally {
      archive.destroy();
      this.calls.report('image.load', performance.now() - started);
    }
    return names;
  }

  private stream(path: string, options: object, file: Readable | undefined, abortSignal: AbortSignal, authconfig?: AuthConfig): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => reject(error);
      file?.on('error', fail);
      this.calls.docker.modem.dial({ path, method: 'POST', ...(file && { file }), ...(authconfig && { authconfig }), options, abortSignal, isStream: true, statusCodes: { 200: true, 400: 'bad parameter', 404: 'not found', 500: 'server error' } } as Docker.DockerOptions as never,
        (error: unknown, response: unknown) => (error ? fail(error) : resolve(response as IncomingMessage)));
    });
  }

  async caches(): Promise<readonly BuildCache[]> {
    const { BuildCache: found, Volumes: volumes } = (await this.calls.run('cache.list', undefined, (docker) => docker.df(), REMOVE_MS)) as {
      BuildCache?: readonly { ID: string; Size: number; Type: string; Description: string }[] | null;
      Volumes?: readonly { Name: string; Labels: Record<string, string> | null; UsageData?: { Size: number } | null }[] | null;
    };
    const ofBuildpacks = (volumes ?? []).flatMap(({ Name, Labels, UsageData }) => {
      const { instance, app, type } = readLabels(Labels);
      return type === CACHE_VOLUME && instance && app ? [{ id: `${VOLUME}${Name}`, bytes: Math.max(0, UsageData?.Size ?? 0), mark: `${instance}/${app}` }] : [];
    });
    const ofRuns = (found ?? []).flatMap(({ ID, Size, Type, Description }) => {
      const mark = Type === 'exec.cachemount' ? / # ([^\s/]+\/[^\s/]+)$/.exec(Description)?.[1] : undefined;
      return mark === undefined ? [] : [{ id: ID, bytes: Size, mark }];
    });
    return [...ofRuns, ...ofBuildpacks];
  }

  async removeCaches(ids: readonly string[]): Promise<number> {
    let freed = 0;
    const sizes = ids.some((id) => id.startsWith(VOLUME)) ? new Map((await this.caches()).map(({ id, bytes }) => [id, bytes])) : null;
    for (const id of ids) {
      if (id.startsWith(VOLUME)) {
        if (await this.removeVolume(id.slice(VOLUME.length))) freed += sizes?.get(id) ?? 0;
        continue;
      }
      // dockerode's own call leaves its options out
      const told = await this.calls.run('cache.remove', id, (docker) => new Promise<{ SpaceReclaimed?: number }>((resolve, reject) => {
        docker.modem.dial({ path: '/build/prune?', method: 'POST', options: { all: true, filters: JSON.stringify({ id: { [id]: true } }) }, statusCodes: { 200: true, 500: 'server error' } } as never,
          (error: unknown, answer: unknown) => (error ? reject(error as Error) : resolve(answer as { SpaceReclaimed?: number })));
      }), REMOVE_MS);
      freed += told.SpaceReclaimed ?? 0;
    }
    return freed;
  }

  /** @returns false when it was gone, or a build has it */
  private async removeVolume(name: string): Promise<boolean> {
    try {
      await this.calls.run('volume.remove', name, (docker) => docker.getVolume(name).remove());
      return true;
    } catch (error) {
      if (statusOf(error) === 404 || statusOf(error) === 409) return false;
      throw error;
    }
  }

  /** Shows a login to its registry, by the engine. @throws what the engine says, statusCode 401 when the registry refuses it */
  async checkLogin(login: RegistryLogin): Promise<void> {
    await this.calls.run('registry.login', login.server, (docker) => docker.checkAuth(authConfig(login)), 30_000);
  }

  /** Asks the engine to ask the registry, so that its proxies, mirrors and certificates count. */
  async canPull(reference: string): Promise<boolean> {
    const authconfig = authFor(await this.logins(), reference);
    try {
      await this.calls.run('image.registry', reference, (docker) => docker.getImage(reference).distribution({ ...(authconfig && { authconfig }) }), 3000);
      return true;
    } catch (error) {
      // the registry spoke: it is there, but not this image or not for us
      return statusOf(error) === 401 || statusOf(error) === 404;
    }
  }
}
