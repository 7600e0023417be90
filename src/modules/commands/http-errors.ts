import { Catch, HttpException, Inject, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { REPORT, type Report } from './report.js';

const CODES: Readonly<Record<number, readonly [code: string, hint: string | null]>> = {
  400: ['input.body', 'a JSON object, such as {"app":"blog"}, with content-type: application/json'],
  401: ['auth.token', null],
  404: ['http.no-route', 'the routes are in /v1/openapi.json, and for people in /v1/docs'],
  413: ['input.size', 'a body may have 16 MiB'],
  415: ['input.body', 'content-type: application/json'],
};

/** What is refused before any command is reached, in the words and the shape of every other refusal. */
@Catch()
export class HttpErrors implements ExceptionFilter {
  constructor(@Inject(REPORT) private readonly report: Report) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    // fastify's own errors (a body that is no JSON) carry their status as a number
    const given = error instanceof HttpException ? error.getStatus() : Number((error as { statusCode?: unknown }).statusCode);
    const status = given >= 400 && given < 600 ? given : 500;
    if (status >= 500) this.report('http', error);
    const [code, hint] = CODES[status] ?? ['http.refused', null];
    if (!reply.sent) void reply.code(status).send({ code, message: status >= 500 ? 'Something went wrong on the server' : (error as Error).message, hint });
  }
}
