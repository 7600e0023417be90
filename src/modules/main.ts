import 'reflect-metadata';
import { chmodSync, chownSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { readConfig } from '../config.js';
import { FRAMES, NDJSON } from '../cli/protocol.js';
import { DockerDriver } from '../drivers/engine/docker.driver.js';
import { PluginDriver } from '../drivers/plugin/plugin.driver.js';
import { PluginFetch } from '../drivers/plugin/plugin.source.js';
import { StackImages } from '../drivers/stack/stack-images.js';
import { VERSION } from '../version.js';
import { BUNDLED } from '../plugins/bundled.js';
import { ApiModule } from './api.module.js';
import type { Origin } from './commands/command.js';
import { markOrigin } from './commands/origin.js';
import { isOurs } from './commands/registry.js';
import { reporter } from './commands/report.js';
import { Conductor } from './conductor/conductor.js';
import { Core } from './core.js';
import { PushServer } from './hooks/push.server.js';
import { loginsOf } from './registries/registry-access.js';
import { PluginInstaller } from './plugins/install.js';
import { Plugins } from './plugins/plugins.service.js';
import { settlePlugins } from './plugins/settle.js';
import { around } from './plugins/test.command.js';
import { accessOf } from './sources/git-access.js';

const report = reporter('api');

/** Listens by one door; requests that come in there carry its origin. */
function door(handler: RequestListener, origin: Origin): Server {
  const server = createServer((request, response) => handler(request, response));
  server.on('connection', (socket) => markOrigin(socket, origin));
  // commands may follow for hours; a body may come for as long as its command runs
  server.requestTimeout = 0;
  server.keepAliveTimeout = 5000;
  return server;
}

async function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

/** Listens on a unix socket with the given mode; takes over the file of a process that is gone, never of one that answers. */
async function listenUnix(server: Server, path: string, mode: number, gid: number | null): Promise<void> {
  if (await answers(path)) throw new Error(`another Berth listens on ${path}`);
  rmSync(path, { force: true });
  const mask = process.umask(0o177);
  await new Promise<void>((resolve, reject) => { server.once('error', reject).listen(path, resolve); });
  process.umask(mask);
  if (gid !== null) chownSync(path, 0, gid);
  chmodSync(path, mode);
}

async function main(): Promise<void> {
  const config = readConfig();
  mkdirSync(config.root, { recursive: true });
  mkdirSync(config.run, { recursive: true });
  const core = await Core.opened(config, report);
  const engine = new DockerDriver(config.dockerSocket, { logins: () => loginsOf(core) });
  core.registries = { check: (login) => engine.checkLogin(login) };
  core.stack = new StackImages(engine, fileURLToPath(new URL('./stack-build.mjs', import.meta.url)));
  const programs = new PluginDriver(config.pluginDisk);
  core.pluginHost = new Plugins(core, programs, BUNDLED);
  core.pluginInstaller = new PluginInstaller(config.root, new PluginFetch({ root: config.root, gitUser: null, access: () => accessOf(core) }), programs, around(isOurs));
  const conductor = await Conductor.create(core, report);

  let handler: RequestListener = (_, response) => response.writeHead(503).end();
  const adapter = new FastifyAdapter({ bodyLimit: 16 << 20, serverFactory: (listener: RequestListener) => { handler = listener; return createServer(listener); } });
  adapter.getInstance().addContentTypeParser([FRAMES, NDJSON], (_request: unknown, _payload: unknown, done: (error: null) => void) => done(null));
  // no body is no input, whatever type it would have had
  adapter.getInstance().addHook('onRequest', (request: { headers: Record<string, unknown> }, _reply: unknown, done: () => void) => {
    if (!request.headers['transfer-encoding'] && !Number(request.headers['content-length'] ?? 0)) delete request.headers['content-type'];
    done();
  });
  // archives and images: read by the command itself, as they come
  adapter.getInstance().addContentTypeParser('application/octet-stream', (_request: unknown, payload: unknown, done: (error: null, body: unknown) => void) => done(null, payload));
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule.with(core, report), adapter, { logger: ['error', 'warn'], abortOnError: false });
  const document = new DocumentBuilder().setTitle('Berth').setDescription('The one door for the command line, the git hook and everything else.').setVersion(VERSION).addBearerAuth().build();
  SwaggerModule.setup('v1/docs', app, () => SwaggerModule.createDocument(app, document, { autoTagControllers: false }), { jsonDocumentUrl: 'v1/openapi.json', yamlDocumentUrl: 'v1/openapi.yaml' });
  await app.init();
  await adapter.getInstance().ready();

  const gid = process.env['BERTH_SSH_GID'] ? Number(process.env['BERTH_SSH_GID']) : null;
  const servers: Server[] = [];
  const open = async (origin: Origin, listen: (server: Server) => Promise<void>): Promise<void> => {
    const server = door((request, response) => handler(request, response), origin);
    await listen(server);
    servers.push(server);
  };
  await open('ssh', (server) => listenUnix(server, join(config.run, 'ssh.sock'), gid === null ? 0o600 : 0o660, gid));
  if (config.apiPort > 0) await open('http', (server) => new Promise((resolve, reject) => { server.once('error', reject).listen(config.apiPort, '127.0.0.1', resolve); }));
  // the router passes calls of git servers on to it, and to nothing else of us; whoever is on this machine may call as the world may
  const hooks = new PushServer(core, report).listener();
  await listenUnix(hooks, join(config.run, 'hooks.sock'), 0o666, null);
  servers.push(hooks);
  await conductor.start();
  // last, for whoever waits for us waits for this one
  await open('local', (server) => listenUnix(server, join(config.run, 'admin.sock'), 0o600, null));
  void settlePlugins(core).catch((error: unknown) => { report('plugins', error); });
  process.stderr.write(`${new Date().toISOString()} api ready in ${Math.round(performance.now())} ms\n`);

  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    await conductor.stop();
    await Promise.all(servers.map((server) => new Promise<void>((resolve) => {
      server.close(() => resolve());
      setTimeout(() => server.closeAllConnections(), 500);
    })));
    await app.close();
    await core.close();
    process.exit(0);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => { stop().catch((error: unknown) => { report('stopping', error); process.exit(1); }); });
}

process.on('unhandledRejection', (error) => { report('unhandled', error); });
main().catch((error: unknown) => {
  process.stderr.write(` !     the API could not start: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
