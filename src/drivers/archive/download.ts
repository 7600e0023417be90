import { Agent, get } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { Rejected } from '../../events/decider.js';

const REDIRECTS = 5;
/** longest silence of the other side, ms */
const SILENCE_MS = 60_000;

/** The address as it may stand in the log: what may be a secret left out. */
export const withoutQuery = (url: URL): string => `${url.protocol}//${url.host}${url.pathname}`;

/** @throws Rejected for what is not fetched */
export function archiveUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.protocol !== 'https:') throw new Rejected('archive.url', `'${text.slice(0, 80)}' is not an https address`, 'an https:// URL, or - and the archive piped in');
  if (url.username !== '' || url.password !== '') throw new Rejected('archive.url', 'An address with a user or a password in it is not fetched: it would be known to everybody who sees it', 'fetch it yourself and pipe it in: curl … | berth git:from-archive <app> -');
  return url;
}

/**
 * What an https address answers, as it comes; redirects are followed to https only.
 * @param options `ca`: trusted besides nobody; tests
 * @throws Rejected
 */
export async function* download(url: URL, signal: AbortSignal, options: { ca?: string | Buffer } = {}): AsyncGenerator<Buffer> {
  let at = url;
  for (let hops = 0; ; hops += 1) {
    const answer = await ask(at, signal, options);
    const status = answer.statusCode ?? 0;
    const location = answer.headers.location;
    if (status >= 300 && status < 400 && location !== undefined) {
      answer.destroy();
      if (hops === REDIRECTS) throw new Rejected('archive.download', `${withoutQuery(url)} leads from one address to the next`, 'look where it ends: curl -IL');
      at = archiveUrl(new URL(location, at).href);
      continue;
    }
    if (status !== 200) {
      answer.destroy();
      throw new Rejected('archive.download', `${withoutQuery(at)} answered ${status}`, status === 401 || status === 403 || status === 404 ? 'fetch it yourself and pipe it in: curl … | berth git:from-archive <app> -' : 'try again later');
    }
    try {
      for await (const piece of answer as AsyncIterable<Buffer>) yield piece;
    } catch (error) {
      throw failed(at, error, signal);
    }
    if (!answer.complete) throw failed(at, new Error('the connection ended in the middle'), signal);
    return;
  }
}

function ask(url: URL, signal: AbortSignal, { ca }: { ca?: string | Buffer }): Promise<IncomingMessage> {
  // proxies of the environment, as for every other program
  const agent = new Agent({ proxyEnv: process.env, ...(ca !== undefined && { ca }) } as ConstructorParameters<typeof Agent>[0]);
  return new Promise((resolve, reject) => {
    const sent = get(url, { agent, signal, headers: { 'user-agent': 'berth', accept: '*/*' } }, resolve);
    sent.setTimeout(SILENCE_MS, () => { sent.destroy(new Error(`nothing came for ${SILENCE_MS / 1000} s`)); });
    sent.on('error', (error) => { reject(failed(url, error, signal)); });
  });
}

function failed(url: URL, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  return new Rejected('archive.download', `${withoutQuery(url)} cannot be fetched: ${(error as Error).message}`, 'is it reachable from this server? An archive can be piped in, too: berth git:from-archive <app> - < archive');
}
