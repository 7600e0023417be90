import type Docker from 'dockerode';
import type { EngineCalls } from './docker.call.js';
import { statusOf } from './engine.errors.js';
import type { Image } from './engine.port.js';
import { type LabelValues, labelFilter } from './labels.js';

/** a tree of many small files takes the engine a while */
const REMOVE_MS = 600_000;

function toImage(found: Docker.ImageInspectInfo): Image {
  const config = found.Config;
  const ports = Object.keys((config?.ExposedPorts ?? {}) as object).filter((port) => !port.endsWith('/udp') && !port.endsWith('/sctp')).map((port) => parseInt(port, 10));
  const words = (value: string | string[] | undefined | null): string[] | null => (value === undefined || value === null || value.length === 0 ? null : typeof value === 'string' ? [value] : value);
  return {
    id: found.Id, tags: found.RepoTags ?? [], bytes: found.Size, labels: config?.Labels ?? {},
    exposed: ports.toSorted((a, b) => a - b), cmd: words(config?.Cmd), entrypoint: words(config?.Entrypoint), created: Date.parse(found.Created) || 0,
  };
}

function splitTag(tag: string): { repo: string; tag: string } {
  const colon = tag.lastIndexOf(':');
  return colon > tag.lastIndexOf('/') ? { repo: tag.slice(0, colon), tag: tag.slice(colon + 1) } : { repo: tag, tag: 'latest' };
}

export class DockerImages {
  constructor(private readonly calls: EngineCalls) {}

  async inspect(reference: string): Promise<Image | null> {
    const found = await this.calls.find('image.inspect', reference, (docker) => docker.getImage(reference).inspect());
    return found && toImage(found);
  }

  async list(labels: LabelValues): Promise<readonly Image[]> {
    const found = await this.calls.run('image.list', undefined, (docker) => docker.listImages({ filters: { label: labelFilter(labels) } }));
    return found.map((image) => ({
      id: image.Id, tags: (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>'), bytes: image.Size, labels: image.Labels ?? {},
      exposed: [], cmd: null, entrypoint: null, created: image.Created * 1000,
    }));
  }

  async remove(reference: string, force: boolean): Promise<void> {
    await this.calls.find('image.remove', reference, (docker) => docker.getImage(reference).remove({ force }), REMOVE_MS);
  }

  async tag(reference: string, tag: string): Promise<void> {
    await this.calls.run('image.tag', `${reference} ${tag}`, (docker) => docker.getImage(reference).tag(splitTag(tag)));
  }

  /** Asks the engine to ask the registry, so that its proxies, mirrors and certificates count. */
  async canPull(reference: string): Promise<boolean> {
    try {
      await this.calls.run('image.registry', reference, (docker) => docker.getImage(reference).distribution(), 3000);
      return true;
    } catch (error) {
      // the registry spoke: it is there, but not this image or not for us
      return statusOf(error) === 401 || statusOf(error) === 404;
    }
  }
}
