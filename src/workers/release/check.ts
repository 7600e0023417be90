import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HealthCheck } from '../../events/types/deploy.events.js';
import { tcpProbe } from '../tcp-probe.js';

/** One GET; answers the status. Throws when there is no answer within timeoutMs. */
export type HttpProbe = (target: { readonly ip: string; readonly port: number; readonly path: string; readonly host: string }, timeoutMs: number, signal: AbortSignal) => Promise<number>;

export const httpProbe: HttpProbe = ({ ip, port, path, host }, timeoutMs, signal) => new Promise((resolve, reject) => {
  const asked = request({ host: ip, port, path, headers: { host, 'user-agent': 'berth-check', connection: 'close' }, agent: false, signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]) }, (answer) => {
    answer.on('error', () => {});
    resolve(answer.statusCode ?? 0);
    answer.destroy();
  });
  asked.on('error', reject);
  asked.end();
});

export interface CheckTarget { readonly ip: string; readonly port: number; readonly host: string }
export type CheckResult =
  | { readonly ok: true; readonly what: string; readonly ms: number }
  /** `reached`: something took a connection, so the port is right */
  | { readonly ok: false; readonly what: string; readonly reached: boolean };

const SHORTEST_MS = 20;
const LONGEST_MS = 500;

/**
 * Asks until the app answers. Refused connections are not counted: the app is still starting; they are tried again after
 * a tenth of what was waited, 20 to 500 ms, so that an app is seen at most a tenth later than it could be. An answer that is not 2xx or 3xx counts, and so does silence for `timeoutMs`; `waitMs` lies between
 * counted attempts. It all takes at most attempts × (timeoutMs + waitMs).
 */
export async function waitUntilHealthy(target: CheckTarget, check: HealthCheck, http: HttpProbe, signal: AbortSignal): Promise<CheckResult> {
  const started = performance.now();
  const budget = Math.max(1000, check.attempts * (check.timeoutMs + check.waitMs));
  let counted = 0;
  let reached = false;
  let last = 'nothing answered';
  for (;;) {
    signal.throwIfAborted();
    let again = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, (performance.now() - started) / 10));
    try {
      if (check.path === null) {
        await tcpProbe(target.ip, target.port, check.timeoutMs);
        return { ok: true, what: `port ${target.port} answers`, ms: performance.now() - started };
      }
      const status = await http({ ...target, path: check.path }, check.timeoutMs, signal);
      if (status >= 200 && status < 400) return { ok: true, what: `GET ${check.path} answered ${status}`, ms: performance.now() - started };
      reached = true;
      last = `GET ${check.path} answered ${status}`;
      counted += 1;
      again = check.waitMs;
    } catch (error) {
      signal.throwIfAborted();
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED' || code === 'EHOSTUNREACH') {
        last = `port ${target.port} refused the connection`;
      } else {
        const silent = (error as Error).name === 'AbortError' || (error as Error).name === 'TimeoutError';
        last = check.path === null ? (error as Error).message : `GET ${check.path}: ${silent ? `no answer within ${check.timeoutMs} ms` : (error as Error).message}`;
        reached ||= silent || code === 'ECONNRESET';
        counted += 1;
        again = check.waitMs;
      }
    }
    const spent = performance.now() - started;
    if (counted >= check.attempts || spent + again > budget) {
      return { ok: false, reached, what: `${last} (${counted > 0 ? `${counted} of ${check.attempts} attempts, ` : ''}${(spent / 1000).toFixed(1)} s)` };
    }
    await sleep(again, undefined, { signal });
  }
}
