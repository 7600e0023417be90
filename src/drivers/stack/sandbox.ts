import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { BuildCa, Sandbox, SandboxSpec } from '../../plugins/builders/classic/classic.port.js';
import { CA_ARG } from '../engine/dockerfile-ca.js';
import { jks } from '../engine/jks.js';
import { FIRST_TO_DIE } from '../engine/lowest-priority.js';
import { CACHE_VOLUME, labels } from '../engine/labels.js';

const statusOf = (error: unknown): number | null => (error as { statusCode?: number }).statusCode ?? null;

/** What the engine port does not do because only builds in containers need it: files in and out, and a cache volume. */
export class DockerSandbox implements Sandbox {
  constructor(private readonly docker: Docker) {}

  async create(spec: SandboxSpec): Promise<string> {
    const marks = labels(spec.labels);
    await this.docker.createVolume({ Name: spec.cache.volume, Labels: labels({ instance: spec.labels.instance, app: spec.labels.app, type: CACHE_VOLUME }) });
    const made = await this.docker.createContainer({
      name: spec.name, Image: spec.image, Entrypoint: spec.cmd.slice(0, 1), Cmd: spec.cmd.slice(1), User: '0:0', WorkingDir: '/', Labels: marks,
      Env: Object.entries(spec.env).map(([name, value]) => `${name}=${value}`),
      HostConfig: {
        Init: true, Binds: [`${spec.cache.volume}:${spec.cache.path}`],
        CapDrop: ['NET_RAW', 'MKNOD', 'AUDIT_WRITE'], SecurityOpt: ['no-new-privileges'],
        LogConfig: { Type: 'json-file', Config: { 'max-size': '20m', 'max-file': '2' } },
        OomScoreAdj: FIRST_TO_DIE, BlkioWeight: 10, PidsLimit: 4096,
        ...(spec.memory ? { Memory: spec.memory, MemorySwap: spec.memory } : {}),
        ...(spec.cpus ? { NanoCpus: Math.round(spec.cpus * 1e9) } : {}),
      },
    });
    return made.id;
  }

  async put(id: string, path: string, tar: Readable): Promise<void> { await this.docker.getContainer(id).putArchive(tar, { path }); }

  async get(id: string, path: string): Promise<Readable | null> {
    try { return await this.docker.getContainer(id).getArchive({ path }) as unknown as Readable; }
    catch (error) { if (statusOf(error) === 404) return null; throw error; }
  }
}

/** The host's certificates for a container that builds, from `config.buildCa`; null when there are none to pass. */
export async function buildCa(path: string | null): Promise<BuildCa | null> {
  if (path === null) return null;
  const pem = await readFile(path, 'utf8');
  const env = Object.fromEntries([...CA_ARG.matchAll(/(\w+)=(?:"([^"]*)"|(\S+))/g)].map((match) => [match[1]!, match[2] ?? match[3]!]));
  return { env, files: { 'run/berth/ca.pem': Buffer.from(pem), 'run/berth/ca.jks': jks(pem) } };
}
