import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { PROVIDERS, type Provider } from '../../events/types/webhook.events.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { settleBranch } from '../sources/branches.js';
import { operate } from '../operations/operations.service.js';
import { isGenuine, readCall, whyNot, type PushCall } from './push.call.js';
import { known, pushGroup, pushHooks, pushStream, type PushHook } from './push.decider.js';
import { PUSH_KIND, type PushInput } from './push.kind.js';

/** bytes: GitHub's largest are 25 MB, of pushes of thousands of commits; a push of a day has a hundred thousand */
export const BODY_MAX = 10 << 20;
/** calls whose bodies are read at the same time */
const AT_ONCE = 8;
const PATH = new RegExp(`^/hooks/(${PROVIDERS.join('|')})/([a-z0-9]{1,40})/?$`);

interface Answer { readonly status: number; readonly body: object }
const no = (status: number, error: string): Answer => ({ status, body: { error } });

/** What git servers call when somebody pushed: behind the router, on a socket of its own; nothing else of the API is there. */
export class PushServer {
  private reading = 0;

  constructor(private readonly core: Core, private readonly report: Report) {}

  listener(): Server {
    const server = createServer((request, response) => {
      this.answer(request).catch((error: unknown): Answer => {
        this.report('push hook', error);
        return no(500, 'it could not be written down: send it again');
      }).then(({ status, body }) => tell(request, response, status, body), (error: unknown) => this.report('push hook', error));
    });
    server.headersTimeout = 10_000;
    server.requestTimeout = 30_000;
    return server;
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const [, provider, app] = PATH.exec((request.url ?? '').split('?')[0]!) ?? [];
    if (provider === undefined || app === undefined) return no(404, 'there is no hook here');
    if (request.method !== 'POST') return no(405, 'hooks are called by POST');
    if (Number(request.headers['content-length'] ?? 0) > BODY_MAX) return this.refuse(app, 413, `the call is larger than ${BODY_MAX} bytes`);
    const row = (await this.core.board.now()).apps[app];
    const state = row && (await this.core.repository.load(pushHooks, pushStream(app))).state;
    const hook = state?.hooks[provider as Provider];
    if (!hook) return no(404, 'there is no hook here');
    if (this.reading >= AT_ONCE) return no(503, 'too many calls at once: send it again');
    this.reading += 1;
    const body = await bodyOf(request).finally(() => { this.reading -= 1; });
    if (body === null) return this.refuse(app, 413, `the call is larger than ${BODY_MAX} bytes`);
    if (!isGenuine(hook.provider, request.headers, body, await this.core.box.unseal(hook.secret))) return this.refuse(app, 401, `its ${hook.provider === 'gitlab' ? 'token' : 'signature'} is not that of the secret`);
    const call = readCall(hook.provider, request.headers, body);
    if (call === null) return this.refuse(app, 400, 'its body is not what a push hook sends');
    return this.take(app, hook, call, hook.branch ?? row!.branch ?? 'main');
  }

  /** Written down once, however often it comes. */
  private async take(app: string, hook: PushHook, call: PushCall, branch: string): Promise<Answer> {
    const { core } = this;
    const { provider, url } = hook;
    const { delivery, event, ref, commit } = call;
    const reason = whyNot(call, { url, branch });
    if (reason === null) {
      await core.git?.init(app); // nothing may have been pushed to us ever
      await settleBranch(core, app);
    }
    const { answer } = await change({ core, actor: `hook:${provider}` }, `${provider}:push`, pushGroup(app), async (draft) => {
      const before = known((await draft.load(pushHooks, pushStream(app))).state, { provider, delivery });
      if (before) return { again: true, operation: before.operation, reason: before.reason };
      const input: PushInput = { app, provider, delivery, url, branch };
      const operation = reason === null ? await operate(draft, pushGroup(app), { kind: PUSH_KIND, subject: `push ${(await core.board.now()).apps[app]?.name ?? app}`, input, by: `hook:${provider}` }) : null;
      await draft.decide(pushHooks, pushStream(app), { type: 'Receive', app, provider, delivery, event, ref, commit, operation, reason });
      return { again: false, operation, reason };
    });
    return { status: answer.operation !== null && !answer.again ? 202 : 200, body: answer };
  }

  private refuse(app: string, status: number, why: string): Answer {
    const { refusedCalls } = this.core;
    if (refusedCalls.has(app) || refusedCalls.size < 10_000) refusedCalls.set(app, { count: (refusedCalls.get(app)?.count ?? 0) + 1, at: this.core.now(), why });
    return no(status, why);
  }
}

function tell(request: IncomingMessage, response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  // what was not read is not waited for
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...(!request.complete && { connection: 'close' }), ...(status === 503 && { 'retry-after': '10' }) }).end(text);
}

/** Null: there is more of it than may be. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    if ((bytes += piece.length) > BODY_MAX) return null;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
