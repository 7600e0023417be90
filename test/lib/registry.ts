import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

const digest = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const TYPE = 'application/vnd.docker.distribution.manifest.v2+json';

/** A registry on the loopback that has one image of one layer, under any name and tag `7`. What it was asked for is kept. */
export async function startRegistry(layer: Buffer, config: object): Promise<{ readonly host: string; readonly digest: string; readonly asked: string[]; readonly close: () => void }> {
  const packed = gzipSync(layer);
  const settings = Buffer.from(JSON.stringify({ architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux', config, rootfs: { type: 'layers', diff_ids: [digest(layer)] }, history: [{ created: '2026-01-01T00:00:00Z', created_by: 'test' }] }));
  const manifest = Buffer.from(JSON.stringify({
    schemaVersion: 2, mediaType: TYPE, config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: settings.length, digest: digest(settings) },
    layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: packed.length, digest: digest(packed) }],
  }));
  const blobs = new Map([[digest(settings), settings], [digest(packed), packed]]);
  const asked: string[] = [];
  const server: Server = createServer((request, reply) => {
    asked.push(`${request.method} ${request.url}`);
    const [, what, name] = /^\/v2\/.+\/(manifests|blobs)\/([^/]+)$/.exec(request.url!) ?? [];
    const send = (bytes: Buffer, type: string): void => {
      reply.writeHead(200, { 'content-type': type, 'content-length': bytes.length, 'docker-content-digest': digest(bytes) }).end(request.method === 'HEAD' ? undefined : bytes);
    };
    if (request.url === '/v2/') reply.writeHead(200, { 'docker-distribution-api-version': 'registry/2.0' }).end('{}');
    else if (what === 'manifests' && (name === '7' || name === digest(manifest))) send(manifest, TYPE);
    else if (what === 'blobs' && blobs.has(name!)) send(blobs.get(name!)!, 'application/octet-stream');
    else reply.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify({ errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown' }] }));
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, digest: digest(manifest), asked, close: () => { server.closeAllConnections(); server.close(); } };
}
