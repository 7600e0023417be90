/** What `clear` takes. */
export type Timer = unknown;

/** Time as a port: whoever waits is handed one, so that a simulation owns time. */
export interface Clock {
  /** ms since the epoch */
  now(): number;
  setTimeout(work: () => void, ms: number): Timer;
  setInterval(work: () => void, ms: number): Timer;
  /** ends a timeout or an interval; nothing happens for one that is over, or for null */
  clear(timer: Timer): void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (work, ms) => setTimeout(work, ms),
  setInterval: (work, ms) => setInterval(work, ms),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

export const sleep = (clock: Clock, ms: number): Promise<void> => new Promise((resolve) => { clock.setTimeout(resolve, ms); });
