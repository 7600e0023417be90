import { createWriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { getCACertificates } from 'node:tls';
import { StepFailure } from '../../events/step.js';

export interface Download {
  /** what the server calls this state of the file, or null */
  readonly etag: string | null;
}
export interface DownloadOptions {
  /** bytes */
  readonly most: number;
  /** of the whole download */
  readonly timeoutMs: number;
  /** PEM certificates to trust; default: Node's and the system's */
  readonly ca?: readonly string[] | undefined;
  /** an earlier answer's */
  readonly etag: string | null;
}

const REDIRECTS = 5;

/**
 * Downloads a file over https, through HTTPS_PROXY where it is set; redirects are followed to https only.
 * @returns null when the file is still what `etag` says
 * @throws StepFailure `build.buildpack`: it is not there, too large (user), not reached or too slow (machine)
 */
export async function download(url: string, file: string, options: DownloadOptions, signal: AbortSignal): Promise<Download | null> {
  const late = AbortSignal.timeout(options.timeoutMs);
  const both = AbortSignal.any([signal, late]);
  try {
    let at = url;
    for (let hops = 0; hops <= REDIRECTS; hops += 1) {
      const answer = await get(at, options, both);
      const { statusCode: status = 0, headers } = answer;
      if (status === 304 && options.etag !== null) { answer.resume(); return null; }
      if (status >= 300 && status < 400 && headers.location) {
        answer.destroy();
        at = new URL(headers.location, at).href;
        if (!at.startsWith('https://')) throw new StepFailure('build.buildpack', `${url} leads to ${at.slice(0, 200)}, which is not protected`, 'name an https address');
        continue;
      }
      if (status !== 200) {
        answer.destroy();
        const gone = status >= 400 && status < 500 && status !== 408 && status !== 429;
        throw new StepFailure('build.buildpack', `the buildpack ${url} can't be fetched: the server answers ${status}`, gone ? 'correct its address' : 'try again later', gone ? 'user' : 'machine');
      }
      const large = new StepFailure('build.buildpack', `${url} is larger than ${Math.floor(options.most / 1024 / 1024)} MiB`, 'this is no buildpack');
      if (Number(headers['content-length'] ?? 0) > options.most) { answer.destroy(); throw large; }
      let bytes = 0;
      const count = new Transform({ transform(chunk: Buffer, _encoding, done) { bytes += chunk.length; if (bytes > options.most) done(large); else done(null, chunk); } });
      await pipeline(answer, count, createWriteStream(file, { mode: 0o600 }), { signal: both });
      return { etag: headers.etag ?? null };
    }
    throw new StepFailure('build.buildpack', `${url} leads from one address to the next more than ${REDIRECTS} times`, 'name the last one');
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof StepFailure || (error as NodeJS.ErrnoException).code === 'ENOSPC') throw error;
    const why = late.aborted ? `no answer within ${options.timeoutMs / 1000} s` : (error as Error).message;
    throw new StepFailure('build.buildpack', `the buildpack ${url} can't be fetched: ${why.slice(0, 300)}`, 'can this server reach it? curl -I tells', 'machine', { cause: error });
  }
}

function get(url: string, { etag, ca }: DownloadOptions, signal: AbortSignal): Promise<IncomingMessage> {
  // one connection a request, and the proxy of our own environment
  const agent = new Agent({ keepAlive: false, proxyEnv: process.env, ca: [...(ca ?? [...getCACertificates('default'), ...getCACertificates('system')])] });
  return new Promise((resolve, reject) => {
    request(url, { agent, signal, headers: { 'user-agent': 'berth', 'accept-encoding': 'identity', ...(etag === null ? {} : { 'if-none-match': etag }) } }, resolve).on('error', reject).end();
  });
}
