import { told } from '../../../drivers/http/answered.js';
import { VERSION } from '../../../version.js';
import type { Posting } from '../channel.js';

const TIMEOUT_MS = 15_000;
/** what root says on the server for what stands at a private address */
export const ROOT = 'berth notify:add --private …';

/** POSTs JSON. @throws StepFailure */
export async function call({ anywhere, signal }: Posting, url: string, body: object, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const { status, tookMs } = await told({ url, body: JSON.stringify(body), timeoutMs: TIMEOUT_MS, signal, anywhere, headers: { 'content-type': 'application/json', 'user-agent': `Berth/${VERSION}`, ...headers } }, { code: 'notify', root: ROOT });
  return `it answered ${status} after ${tookMs} ms`;
}

/** Why a text is no address to call; null: it is one. */
export function notAnAddress(option: string, text: string, example: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url && ['http:', 'https:'].includes(url.protocol) && url.username === '' && text.length <= 2000 ? null : `${option} is not an address to call: for example ${example}`;
}
