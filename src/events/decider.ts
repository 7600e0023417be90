import type { NewEvent } from './event.js';

/** A wish the rules refuse. Nothing was written. `code` is stable and dotted; `hint` says what to do. */
export class Rejected extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint: string | null = null,
    /** exit code of the command line: 1, or 20 for an app that does not exist (Dokku's) */
    readonly exit = 1,
  ) {
    super(message);
    this.name = 'Rejected';
  }
}

/** Pure rules of one kind of stream: `decide` says what happens, `evolve` what it leads to. */
export interface Decider<State, Command, E extends NewEvent> {
  readonly initial: State;
  decide(command: Command, state: State): readonly E[];
  evolve(state: State, event: E): State;
}

/** The state after `events`. */
export function fold<S, E extends NewEvent>(decider: Pick<Decider<S, never, E>, 'initial' | 'evolve'>, events: readonly E[], from: S = decider.initial): S {
  return events.reduce((state, event) => decider.evolve(state, event), from);
}

/** Named by a switch's default branch: a case that is missing does not compile. */
export function never(value: never): never {
  throw new Error(`unknown: ${JSON.stringify(value)}`);
}
