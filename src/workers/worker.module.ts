import { Module, type DynamicModule } from '@nestjs/common';
import { Core } from '../modules/core.js';
import { WorkerHost } from './worker-host.js';

/** One worker process: the core, and the host that takes tickets for its step. */
@Module({})
export class WorkerModule {
  static with(core: Core, host: WorkerHost): DynamicModule {
    return { module: WorkerModule, providers: [{ provide: Core, useValue: core }, { provide: WorkerHost, useValue: host }] };
  }
}
