import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { HaproxyDriver, haproxyOptions } from '../../drivers/router/haproxy.driver.js';
import { liveTable, overtaken } from '../../modules/conductor/live-table.js';
import { withRouterLease } from '../../modules/conductor/router-lease.js';
import { startWorker } from '../start.js';
import { routeStep } from './route.step.js';

await startWorker('route', (core) => {
  const engine = new DockerDriver(core.config.dockerSocket);
  return routeStep({
    router: new HaproxyDriver(haproxyOptions(core.config)),
    engine: { stop: (id, seconds) => engine.stopContainer(id, seconds), remove: (id) => engine.removeContainer(id), address: async (id) => (await engine.inspectContainer(id))?.ip ?? null, start: (id) => engine.startContainer(id) },
    table: async () => liveTable(await core.board.now()),
    overtaken: async (app, deploy) => overtaken(await core.board.now(), app, deploy),
    lease: (work) => withRouterLease(core, 'route', work),
  });
});
