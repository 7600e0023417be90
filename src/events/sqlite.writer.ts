import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { busy, isBusy, translate } from './sqlite.errors.js';

/** How long a caller waits for the file's write lock. */
export const PATIENCE_MS = 5_000;
/** Bounds of one group: the event loop stands still while it is written. */
const GROUP = 64;
const GROUP_MS = 10;

interface Item {
  readonly work: () => unknown;
  readonly since: number;
  readonly done: (value: unknown) => void;
  readonly failed: (error: unknown) => void;
}
type Outcome = { readonly value: unknown } | { readonly error: unknown };

/** Between tries: long enough for another process's commit, random so that none is starved. */
export const pause = (): Promise<void> => sleep(0.5 + Math.random() * 4.5);

/**
 * The one way of a process to write: everything goes through a queue, and what waits together is committed together, each in
 * a savepoint of its own. The write lock is tried, never waited for inside SQLite: its waiting blocks the event loop and is unfair.
 */
export class SqliteWriter {
  readonly #db: DatabaseSync;
  readonly #file: string;
  readonly #undone: () => void;
  readonly #queue: Item[] = [];
  #pumping: Promise<void> | null = null;

  /** @param undone called after a savepoint or transaction was rolled back: forget what was remembered */
  constructor(db: DatabaseSync, file: string, undone: () => void) {
    this.#db = db;
    this.#file = file;
    this.#undone = undone;
  }

  /**
   * Runs `work` (synchronous) inside a write transaction; resolves after the commit.
   * @throws what `work` threw (its writes alone are undone) or StoreUnavailable (nothing was written)
   */
  write<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, since: performance.now(), done: (value) => resolve(value as T), failed: reject });
      this.#pumping ??= this.#pump();
    });
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#pumping) await this.#pumping;
  }

  async #pump(): Promise<void> {
    await Promise.resolve(); // let the callers of this turn come together
    while (this.#queue.length > 0) {
      if (this.#begin()) {
        this.#group();
        await turn();
      } else {
        const late = performance.now() - PATIENCE_MS;
        while (this.#queue[0] && this.#queue[0].since < late) this.#queue.shift()?.failed(busy(this.#file));
        if (this.#queue.length > 0) await pause();
      }
    }
    this.#pumping = null;
  }

  /** True when the lock is ours; false to try again. Any other failure is everyone's. */
  #begin(): boolean {
    try {
      this.#db.exec('BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      if (isBusy(error)) return false;
      for (const item of this.#queue.splice(0)) item.failed(translate(error, this.#file));
      return false;
    }
  }

  #group(): void {
    const items: Item[] = [];
    const outcomes: Outcome[] = [];
    const until = performance.now() + GROUP_MS;
    this.#undone();
    try {
      do {
        const item = this.#queue.shift();
        if (!item) break;
        items.push(item);
        outcomes.push(this.#one(item));
      } while (items.length < GROUP && performance.now() < until);
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#undone();
      try {
        if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      } catch { /* it is over either way */ }
      const reason = translate(error, this.#file);
      for (const item of items) item.failed(reason);
      return;
    }
    outcomes.forEach((outcome, index) => {
      if ('value' in outcome) items[index]?.done(outcome.value);
      else items[index]?.failed(outcome.error);
    });
  }

  #one(item: Item): Outcome {
    this.#db.exec('SAVEPOINT one');
    try {
      const value = item.work();
      this.#db.exec('RELEASE one');
      return { value };
    } catch (error) {
      this.#undone();
      // SQLite itself rolls everything back on some errors (full disk, I/O): then the whole group failed
      if (!this.#db.isTransaction) throw error;
      this.#db.exec('ROLLBACK TO one');
      this.#db.exec('RELEASE one');
      return { error: translate(error, this.#file) };
    }
  }
}
