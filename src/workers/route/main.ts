import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { statusOf } from '../../drivers/engine/engine.errors.js';
import { HaproxyDriver, haproxyOptions } from '../../drivers/router/haproxy.driver.js';
import { edges, opened } from '../../modules/conductor/edges.js';
import { liveTable, overtaken } from '../../modules/conductor/live-table.js';
import { withRouterLease } from '../../modules/conductor/router-lease.js';
import { startWorker } from '../start.js';
import { routeStep } from './route.step.js';

/** It is waited for in vain, and that says so. */
function unlessGone(error: unknown): void {
  if (statusOf(error) !== 404) throw error;
}

await startWorker('route', (core) => {
  const engine = new DockerDriver(core.config.dockerSocket);
  return routeStep({
    router: new HaproxyDriver(haproxyOptions(core.config)),
    engine: { stop: (id, seconds) => engine.stopContainer(id, seconds), remove: (id) => engine.removeContainer(id), address: async (id) => (await engine.inspectContainer(id))?.ip ?? null, start: (id) => engine.startContainer(id).catch(unlessGone) },
    table: async () => {
      const board = await core.routes.now();
      return liveTable(board, undefined, await edges(core.box, board));
    },
    open: (hash) => opened(core.box, hash),
    overtaken: async (app, deploy) => overtaken(await core.routes.now(), app, deploy),
    lease: (work) => withRouterLease(core, 'route', work),
  });
});
