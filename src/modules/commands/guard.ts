import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Inject, Injectable, UnauthorizedException, type CanActivate, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { Core } from '../core.js';
import { tokenHash } from '../keys/keys.commands.js';
import { originOf } from './origin.js';

const actors = new WeakMap<IncomingMessage, string>();
export const actorOf = (request: IncomingMessage): string => actors.get(request) ?? 'unknown';

/** Lets in who comes by a unix socket (the file's owner decides) or brings a bearer token that is in the log and not revoked. */
@Injectable()
export class DoorGuard implements CanActivate {
  constructor(@Inject(Core) private readonly core: Core) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const { raw } = context.switchToHttp().getRequest<FastifyRequest>();
    const origin = originOf(raw);
    if (origin === 'local') {
      actors.set(raw, `root@${this.core.config.host}`);
      return true;
    }
    // the SSH side may use the command line and git, nothing else
    if (origin === 'ssh') {
      if (/^\/v1\/(?:cli|git\/open|git\/push)$/.test(raw.url ?? '')) return true;
      throw new UnauthorizedException('this socket is for the SSH shell and the git hook');
    }
    const [, token] = /^Bearer (\S{1,200})$/i.exec(raw.headers.authorization ?? '') ?? [];
    if (token === undefined) throw new UnauthorizedException('a bearer token is needed: on the server, berth tokens:create <name>');
    const hash = Buffer.from(tokenHash(token), 'hex');
    const found = (await this.core.board.now()).tokens.find((t) => timingSafeEqual(Buffer.from(t.hash, 'hex'), hash));
    if (!found) throw new UnauthorizedException('this token is not valid here, or was revoked');
    actors.set(raw, `token:${found.name}`);
    return true;
  }
}
