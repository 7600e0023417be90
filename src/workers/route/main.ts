import 'reflect-metadata';
import { DockerDriver } from '../../drivers/engine/docker.driver.js';
import { HaproxyDriver, haproxyOptions } from '../../drivers/router/haproxy.driver.js';
import { liveTable } from '../../modules/conductor/live-table.js';
import { withRouterLease } from '../../modules/conductor/router-lease.js';
import { startWorker } from '../start.js';
import { routeStep } from './route.step.js';

await startWorker('route', (core) => {
  const engine = new DockerDriver(core.config.dockerSocket);
  return routeStep({
    router: new HaproxyDriver(haproxyOptions(core.config)),
    engine: { stop: (id, seconds) => engine.stopContainer(id, seconds), remove: (id) => engine.removeContainer(id) },
    table: async () => liveTable(await core.board.now()),
    lease: (work) => withRouterLease(core, 'route', work),
  });
});
