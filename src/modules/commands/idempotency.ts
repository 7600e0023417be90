import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Rejected } from '../../events/decider.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import type { CommandContext } from './command.js';
import { requests } from './request.decider.js';

type Once = NonNullable<CommandContext['once']>;
const sha = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What one Idempotency-Key of one caller stands for. @throws Rejected for a key that is none */
export function onceFor(actor: string, key: string, command: string, input: object): Once {
  if (!/^[\x21-\x7e]{1,200}$/.test(key)) throw new Rejected('request.key', 'An Idempotency-Key has 1 to 200 printable characters without spaces');
  return { stream: `request-${sha(`${actor}\0${key}`)}`, command, inputHash: sha(JSON.stringify([command, input])) };
}

/** The answer that the same request got before; waits for one that is being carried out, at most `waitMs`. @throws Rejected when the key was used for another request */
export async function answeredBefore(core: Core, once: Once, waitMs = 0): Promise<{ status: number; body: unknown } | null> {
  const until = core.now() + waitMs;
  for (;;) {
    const { state } = await core.repository.load(requests, once.stream);
    if (state.inputHash !== null && state.inputHash !== once.inputHash) requests.decide({ type: 'CarryOut', ...once }, state); // throws
    if (state.answer) return { ...state.answer };
    if (core.now() >= until) return null;
    await sleep(50);
  }
}

/** Keeps the answer, so that the same request gets it again. */
export async function recordAnswer(core: Core, actor: string, once: Once, status: number, body: unknown): Promise<void> {
  await change({ core, actor }, once.command, once.stream, (draft) => draft.decide(requests, once.stream, { type: 'Answer', command: once.command, inputHash: once.inputHash, status, body }));
}
