import { createServer, type Server, type ServerResponse } from 'node:http';

/** A container as the stand-in shows it: what the log says that runs. */
export interface Shown { readonly id: string; readonly name: string; readonly ip: string; readonly labels: Readonly<Record<string, string>> }

/**
 * Stands in for the engine where a bench needs hundreds of apps that run and nothing of them: it lists the containers, all running, and
 * answers that there is nothing else. Without it the reconciler would repair every app of the log. Close with `close`.
 */
export function standIn(path: string, containers: () => readonly Shown[]): Promise<Server> {
  const streams = new Set<ServerResponse>();
  const json = (response: ServerResponse, value: unknown, status = 200): void => { response.writeHead(status, { 'content-type': 'application/json', 'api-version': '1.41', ostype: 'linux' }).end(JSON.stringify(value)); };
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://engine');
    const what = url.pathname.replace(/^\/v[\d.]+/, '');
    if (what === '/_ping') return void response.writeHead(200, { 'api-version': '1.41', ostype: 'linux' }).end('OK');
    if (what === '/version') return json(response, { Version: '20.10.24', ApiVersion: '1.41', Os: 'linux', Arch: 'amd64' });
    if (what === '/info') return json(response, { ServerVersion: '20.10.24', NCPU: 2, MemTotal: 2 ** 34, Driver: 'overlay2', DockerRootDir: '/var/lib/docker' });
    if (what === '/containers/json') {
      const now = Math.floor(Date.now() / 1000);
      return json(response, containers().map((c) => ({ Id: c.id, Names: [`/${c.name}`], Image: 'x', ImageID: 'sha256:x', State: 'running', Status: 'Up', Created: now, Labels: c.labels, NetworkSettings: { Networks: { n: { IPAddress: c.ip } } } })));
    }
    if (what === '/images/json' || what === '/networks') return json(response, []);
    if (what === '/events' || what.endsWith('/logs')) { // follows for ever, says nothing
      streams.add(response);
      response.on('close', () => streams.delete(response));
      return void response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    }
    json(response, { message: `the stand-in knows no ${request.method} ${what}` }, 404);
  });
  server.on('close', () => { for (const stream of streams) stream.destroy(); });
  return new Promise((yes, no) => { server.once('error', no).listen(path, () => { yes(server); }); });
}
