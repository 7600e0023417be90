import { expect } from 'vitest';
import { fold, Rejected, type Decider } from '../src/events/decider.js';
import type { NewEvent } from '../src/events/event.js';

interface When<E> {
  /** exactly these events, in this order */
  then(...events: readonly E[]): void;
  /** refused, nothing happens; answers the refusal for a closer look */
  rejects(code: string): Rejected;
}

/** `given(decider, events).when(command).then(...events)` or `.rejects(code)`. */
export function given<S, C, E extends NewEvent>(decider: Decider<S, C, E>, events: readonly E[] = []): { when(command: C): When<E> } {
  const state = fold(decider, events);
  return {
    when: (command) => ({
      then: (...expected) => { expect(decider.decide(command, state)).toEqual(expected); },
      rejects(code) {
        let thrown: unknown = 'nothing was refused';
        try {
          thrown = decider.decide(command, state);
        } catch (error) {
          thrown = error;
        }
        expect(thrown).toBeInstanceOf(Rejected);
        expect((thrown as Rejected).code).toBe(code);
        return thrown as Rejected;
      },
    }),
  };
}
