import { Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD } from '@nestjs/core';
import { CliController } from './commands/cli.controller.js';
import { DoorGuard } from './commands/guard.js';
import { HttpErrors } from './commands/http-errors.js';
import { REPORT, type Report } from './commands/report.js';
import { PluginServicesController, PluginsController } from './commands/plugins.controller.js';
import { REST_CONTROLLERS } from './commands/rest.controllers.js';
import { Core } from './core.js';

/** The API process: the door of the small programs, and one controller for every command. */
@Module({})
export class ApiModule {
  static with(core: Core, report: Report): DynamicModule {
    return {
      module: ApiModule,
      controllers: [CliController, ...REST_CONTROLLERS, PluginsController, PluginServicesController],
      providers: [{ provide: Core, useValue: core }, { provide: REPORT, useValue: report }, { provide: APP_GUARD, useClass: DoorGuard }, { provide: APP_FILTER, useClass: HttpErrors }],
    };
  }
}
