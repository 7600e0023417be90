import { Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Core } from '../core.js';
import { foreignCommands } from '../plugins/foreign.js';
import { explain } from './explain.js';
import { REPORT, type Report } from './report.js';
import { serve } from './rest.controllers.js';

type Named = FastifyRequest<{ Params: { plugin: string; command: string } }>;

/** Commands of installed plugins: which there are changes while the server runs. */
@ApiTags('plugin')
@ApiBearerAuth()
@Controller('v1/plugins/:plugin/commands/:command')
export class PluginsController {
  constructor(@Inject(Core) private readonly core: Core, @Inject(REPORT) private readonly report: Report) {}

  @Get()
  @ApiOperation({ operationId: 'plugin:read', summary: 'A command of an installed plugin that changes nothing' })
  async read(@Req() request: Named, @Res() reply: FastifyReply): Promise<void> {
    await this.carryOut('GET', request, reply);
  }

  @Post()
  @ApiOperation({ operationId: 'plugin:run', summary: 'A command of an installed plugin', description: 'Its input as JSON: see `berth help <plugin>:<command>`' })
  async run(@Req() request: Named, @Res() reply: FastifyReply): Promise<void> {
    await this.carryOut('POST', request, reply);
  }

  private async carryOut(method: 'GET' | 'POST', request: Named, reply: FastifyReply): Promise<void> {
    try {
      const { plugin, command } = request.params;
      const found = (await foreignCommands(this.core)).find(({ http }) => http.path === `/plugins/${plugin}/commands/${command}`);
      if (!found) return void reply.code(404).send({ code: 'command.missing', message: `No plugin that is enabled has this command`, hint: 'see: GET /v1/plugins' });
      if (found.http.method !== method) return void reply.code(405).header('allow', found.http.method).send({ code: 'command.method', message: `${found.name} is asked by ${found.http.method}`, hint: null });
      await serve(this.core, this.report, found, request, reply, {});
    } catch (error) {
      const { message, hint, code, ours } = explain(error);
      if (ours) this.report('plugin command', error);
      reply.code(ours ? 503 : 409).send({ code, message, hint });
    }
  }
}
