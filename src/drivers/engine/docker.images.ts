import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import tar from 'tar-stream';
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

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** An image's configuration as the engine's image store keeps it; null where there is no such store (containerd's), or it is not ours to read. */
async function storedConfig(rootDir: string, id: string): Promise<string | null> {
  const hex = id.replace('sha256:', '');
  for (const driver of await readdir(join(rootDir, 'image')).catch(() => [])) {
    const text = await readFile(join(rootDir, 'image', driver, 'imagedb/content/sha256', hex), 'utf8').catch(() => null);
    if (text !== null && sha256(text) === hex) return text;
  }
  return null;
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

  /** @param rootDir the engine's: an image's id is the digest of a file there, which no call of the engine tells and which `load` takes without layers that it has */
  async rewriteHistory(rootDir: string, id: string, tag: string, text: (line: string) => string): Promise<{ image: Image; config: string } | null> {
    const config = await storedConfig(rootDir, id);
    const before = await this.inspect(id);
    if (config === null || before === null) return null;
    const parsed = JSON.parse(config) as { config: object; history?: { created_by?: string }[]; rootfs: { diff_ids: string[] } };
    const history = (parsed.history ?? []).map((line) => (line.created_by === undefined ? line : { ...line, created_by: text(line.created_by) }));
    const result = (image: Image): { image: Image; config: string } => ({ image, config: JSON.stringify(parsed.config) });
    const made = JSON.stringify({ ...parsed, history });
    if (made === JSON.stringify(parsed)) return result(before);
    const hex = sha256(made);
    const archive = tar.pack();
    archive.entry({ name: `${hex}.json` }, made);
    archive.entry({ name: 'manifest.json' }, JSON.stringify([{ Config: `${hex}.json`, RepoTags: [tag], Layers: parsed.rootfs.diff_ids.map((_, at) => `${at}/layer.tar`) }]));
    archive.finalize();
    try {
      await this.load(archive as unknown as Readable, AbortSignal.timeout(60_000));
    } catch (error) {
      if (error instanceof StepFailure && error.code === 'image.load') return null;
      throw error;
    }
    const image = await this.inspect(`sha256:${hex}`);
    if (image === null) return null;
    // one with another name, too, is another deploy's
    if ((await this.inspect(id))?.tags.length === 0) await this.remove(id, false);
    return result(image);
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
      BuildCache?: readonly { ID: string; Size: number; Type: string; Description: string; CreatedAt: string; LastUsedAt?: string | null }[] | null;
      Volumes?: readonly { Name: string; Labels: Record<string, string> | null; UsageData?: { Size: number } | null }[] | null;
    };
    const ofBuildpacks = (volumes ?? []).flatMap(({ Name, Labels, UsageData }) => {
      const { instance, app, type } = readLabels(Labels);
      return type === CACHE_VOLUME && instance && app ? [{ id: `${VOLUME}${Name}`, bytes: Math.max(0, UsageData?.Size ?? 0), mark: `${instance}/${app}`, used: null }] : [];
    });
    const ofRuns = (found ?? []).flatMap(({ ID, Size, Type, Description, CreatedAt, LastUsedAt }) => {
      const mark = Type === 'exec.cachemount' ? / # ([^\s/]+\/[^\s/]+)$/.exec(Description)?.[1] : undefined;
      return mark === undefined ? [] : [{ id: ID, bytes: Size, mark, used: Date.parse(LastUsedAt ?? CreatedAt) || null }];
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
