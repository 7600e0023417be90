import { NestFactory } from '@nestjs/core';
import { readConfig } from '../config.js';
import type { Step } from '../events/types/deploy.events.js';
import { OPERATION_QUEUES } from '../events/types/operation.events.js';
import { reporter, type Report } from '../modules/commands/report.js';
import { Core } from '../modules/core.js';
import { deployLog } from '../modules/deploys/follow.js';
import { operationLog } from '../modules/operations/follow.js';
import type { WorkerKind } from '../modules/server/worker-status.js';
import type { StepWork } from '../events/step.js';
import { deployLine } from './deploy-line.js';
import type { Line } from './line.js';
import { operationLine, type OperationWorks } from './operation-line.js';
import { openStepLog } from './step-log.js';
import { PluginDriver } from '../drivers/plugin/plugin.driver.js';
import { Plugins } from '../modules/plugins/plugins.service.js';
import { BUNDLED } from '../plugins/bundled.js';
import { withPlugins } from './with-plugins.js';
import { WorkerHost } from './worker-host.js';
import { WorkerModule } from './worker.module.js';

const pluginsOf = (core: Core): Plugins => new Plugins(core, new PluginDriver(core.config.pluginDisk), BUNDLED);

/** The worker of one step of the deploys. */
export function startWorker<S extends Step>(kind: S, work: (core: Core, report: Report, plugins: Plugins) => StepWork<S>): Promise<void> {
  return start(kind, [kind], (core, report) => {
    const plugins = pluginsOf(core);
    return deployLine(kind, withPlugins(plugins, core.box, work(core, report, plugins)), core.pipelines, (app, deploy, step, attempt) => openStepLog(core.logs, deployLog(app, deploy), step, attempt, core.now));
  });
}

/** The worker of all operations. */
export function startOperations(works: (core: Core, report: Report, plugins: Plugins) => OperationWorks): Promise<void> {
  return start('service', OPERATION_QUEUES, (core, report) => operationLine(works(core, report, pluginsOf(core)), core.operations, (group, operation, step, attempt) => openStepLog(core.logs, operationLog(group, operation), step, attempt, core.now)));
}

/**
 * The whole of a worker process. `BERTH_WORKER_NAME` tells instances of one kind apart (`build-1`); two processes must never share a name.
 */
async function start(kind: WorkerKind, queues: readonly string[], line: (core: Core, report: Report) => Line): Promise<void> {
  const name = process.env['BERTH_WORKER_NAME'] ?? `${kind}-1`;
  const report = reporter(name);
  process.on('unhandledRejection', (error) => report('unhandled', error));
  try {
    if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(name)) throw new Error(`BERTH_WORKER_NAME=${name}: lower-case letters, digits and hyphens only`);
    const core = await Core.opened(readConfig(), report);
    const host = new WorkerHost(core, kind, name, queues, line(core, report), report);
    const app = await NestFactory.createApplicationContext(WorkerModule.with(core, host), { logger: ['error', 'warn'], abortOnError: false });
    app.enableShutdownHooks();
    process.stderr.write(`${new Date().toISOString()} ${name} ready in ${Math.round(performance.now())} ms\n`);
  } catch (error) {
    process.stderr.write(` !     worker ${name} could not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}
