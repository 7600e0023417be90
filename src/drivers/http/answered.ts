import { StepFailure } from '../../events/step.js';
import { post, PrivateAddress, type Call, type Called } from './call.js';

/** What was called, as its failures are named: `webhook` → `webhook.status`; `root`: what root says on the server to allow private addresses. */
interface Callee { readonly code: string; readonly root: string }

/** What may pass is tried again; what will not is not. @throws StepFailure for all but 2xx */
export function judge({ status, tookMs, text }: Called, code: string): void {
  if (status >= 200 && status < 300) return;
  const passes = status >= 500 || [408, 425, 429].includes(status);
  const moved = status >= 300 && status < 400;
  throw new StepFailure(`${code}.status`, `it answered ${status} after ${tookMs} ms${text.trim() === '' ? '' : `: ${text.trim().replace(/\s+/g, ' ').slice(0, 200)}`}`, moved ? 'redirects are not followed: use the address that it moved to' : null, passes ? 'machine' : 'user');
}

/** POSTs once, as a step. @throws StepFailure; the signal's reason when that is aborted */
export async function told(call: Call, { code, root }: Callee): Promise<Called> {
  try {
    const called = await post(call);
    judge(called, code);
    return called;
  } catch (error) {
    if (error instanceof StepFailure) throw error;
    call.signal.throwIfAborted();
    throw unreachable(error, { code, root });
  }
}

/** Why nobody was reached, as a step's failure. */
export function unreachable(error: unknown, { code, root }: Callee): StepFailure {
  if (error instanceof PrivateAddress) return new StepFailure(`${code}.private`, error.message, `only root on the server can say that it may be called: ${root}`);
  return new StepFailure(`${code}.unreachable`, `it cannot be reached: ${(error as Error).message}`, null, 'machine', { cause: error });
}
