import { All, Controller, Get, Inject, Post, Req, Res } from '@nestjs/common';
import { ApiBearerAuth, ApiExcludeController, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Rejected } from '../../events/decider.js';
import { Core } from '../core.js';
import { asleep, foreignCommands } from '../plugins/foreign.js';
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

type OfType = FastifyRequest<{ Params: { type: string } }>;

/** The values of a path's words: `/services/valkey/:service` and `/services/valkey/blog`; null when it is another path. */
export function valuesOf(path: string, asked: string): Record<string, string> | null {
  const [wanted, given] = [path.split('/'), asked.split('/')];
  if (wanted.length !== given.length || wanted.some((word, i) => !word.startsWith(':') && word !== given[i])) return null;
  try {
    return Object.fromEntries(wanted.flatMap((word, i) => (word.startsWith(':') ? [[word.slice(1), decodeURIComponent(given[i]!)] as const] : [])));
  } catch {
    return null;
  }
}

/** Commands of the types of services that installed plugins bring, on the same paths as those of ours, which have routes of their own. */
@ApiExcludeController()
@Controller('v1')
export class PluginServicesController {
  constructor(@Inject(Core) private readonly core: Core, @Inject(REPORT) private readonly report: Report) {}

  @All(['services/:type', 'services/:type/*', 'apps/:app/services/:type'])
  async carryOut(@Req() request: OfType, @Res() reply: FastifyReply): Promise<void> {
    try {
      const { type } = request.params;
      const path = request.url.split('?')[0]!.replace(/^\/v1/, '');
      const found = (await foreignCommands(this.core)).flatMap((command) => { const params = valuesOf(command.http.path, path); return params === null ? [] : [{ command, params }]; });
      const [first] = found;
      if (!first) throw (await asleep(this.core, type)) ?? new Rejected('service.type.missing', 'There is no such type of service, or it has no such command', 'see: GET /v1/plugins', 20);
      const wanted = found.find(({ command }) => command.http.method === request.method);
      if (!wanted) return void reply.code(405).header('allow', found.map(({ command }) => command.http.method).join(', ')).send({ code: 'command.method', message: `${first.command.name} is asked by ${first.command.http.method}`, hint: null });
      await serve(this.core, this.report, wanted.command, request, reply, wanted.params);
    } catch (error) {
      const { message, hint, code, ours, exit } = explain(error);
      if (ours) this.report('plugin service command', error);
      reply.code(ours ? 503 : exit === 20 ? 404 : 409).send({ code, message, hint });
    }
  }
}
