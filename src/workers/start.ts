import { NestFactory } from '@nestjs/core';
import { readConfig } from '../config.js';
import type { Step } from '../events/types/deploy.events.js';
import { reporter, type Report } from '../modules/commands/report.js';
import { Core } from '../modules/core.js';
import type { StepWork } from '../events/step.js';
import { WorkerHost } from './worker-host.js';
import { WorkerModule } from './worker.module.js';

/**
 * The whole of a worker process. `BERTH_WORKER_NAME` tells instances of one kind apart (`build-1`); two processes must never share a name.
 */
export async function startWorker<S extends Step>(kind: S, work: (core: Core, report: Report) => StepWork<S>): Promise<void> {
  const name = process.env['BERTH_WORKER_NAME'] ?? `${kind}-1`;
  const report = reporter(name);
  process.on('unhandledRejection', (error) => report('unhandled', error));
  try {
    if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(name)) throw new Error(`BERTH_WORKER_NAME=${name}: lower-case letters, digits and hyphens only`);
    const core = await Core.opened(readConfig(), report);
    const host = new WorkerHost(core, kind, name, work(core, report) as unknown as StepWork<Step>, report);
    const app = await NestFactory.createApplicationContext(WorkerModule.with(core, host), { logger: ['error', 'warn'], abortOnError: false });
    app.enableShutdownHooks();
    process.stderr.write(`${new Date().toISOString()} ${name} ready in ${Math.round(performance.now())} ms\n`);
  } catch (error) {
    process.stderr.write(` !     worker ${name} could not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}
