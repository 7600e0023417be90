import { Rejected, type Decider } from '../../events/decider.js';
import type { RequestEvent } from '../../events/types/app.events.js';

/** The same request was carried out already: its answer is in the log, or about to be. */
export class CarriedOutBefore extends Error {}

export interface RequestState { readonly inputHash: string | null; readonly answer: { readonly status: number; readonly body: unknown } | null }
export type RequestCommand =
  | { type: 'CarryOut'; command: string; inputHash: string }
  | { type: 'Answer'; command: string; inputHash: string; status: number; body: unknown };

/** One request under one Idempotency-Key. Stream `request-<hash>`. */
export const requests: Decider<RequestState, RequestCommand, RequestEvent> = {
  initial: { inputHash: null, answer: null },
  decide({ type, ...data }, state) {
    if (state.inputHash !== null && state.inputHash !== data.inputHash) {
      throw new Rejected('request.key-reused', 'This Idempotency-Key was used for another request', 'make a new key for every request; repeat one only with the same body');
    }
    if (type === 'Answer') return state.answer === null ? [{ type: 'RequestAnswered', data: data as Extract<RequestEvent, { type: 'RequestAnswered' }>['data'] }] : [];
    if (state.inputHash !== null) throw new CarriedOutBefore();
    return [{ type: 'RequestCarriedOut', data: { command: data.command, inputHash: data.inputHash } }];
  },
  evolve(state, event) {
    return event.type === 'RequestCarriedOut' ? { ...state, inputHash: event.data.inputHash } : { inputHash: event.data.inputHash, answer: { status: event.data.status, body: event.data.body } };
  },
};
