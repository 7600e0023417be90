import type { ChainedEvent } from './chain.js';
import type { Meta, NewEvent, Recorded } from './event.js';

/** Someone else appended to the stream first: load it again, decide again. */
export class Conflict extends Error {
  constructor(readonly stream: string, readonly expected: number, readonly actual: number) {
    super(`stream ${stream} is at version ${actual}, expected ${expected}`);
    this.name = 'Conflict';
  }
}

/** The work row is no longer this owner's: another attempt has it, or it ended. Nothing was written. */
export class LeaseLost extends Error {
  constructor(readonly workId: string, readonly owner: string) {
    super(`work ${workId} is no longer leased to ${owner}`);
    this.name = 'LeaseLost';
  }
}

/**
 * The store could not take the write now (disk full, file locked for too long, server away). Nothing was written, but for one case:
 * a PostgreSQL server that stayed away for 5 s right after COMMIT was sent; the message says so. Trying again is safe: the expected
 * versions turn a second write into a Conflict.
 */
export class StoreUnavailable extends Error {
  constructor(message: string, readonly reason: 'disk-full' | 'busy' | 'away', options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreUnavailable';
  }
}

/** An event to be written. What `meta` says stands before the transaction's. */
export type Fact = NewEvent & { readonly meta?: Partial<Meta> };

/** Events for one stream. `expected` is the version the decision was made at: 0 = the stream does not exist. */
export interface Append {
  readonly stream: string;
  readonly expected: number;
  readonly events: readonly Fact[];
}

/** A piece of work to be handed to a worker. One transaction may add several. */
export interface NewWork {
  readonly id: string;
  readonly queue: string;
  /** items of one group are dispatched one at a time, in the order they were added */
  readonly group: string;
  readonly payload: unknown;
  /** not before this time (ms since the epoch); 0 or absent = at once */
  readonly notBefore?: number;
}

export type WorkState = 'todo' | 'dispatched' | 'done' | 'dropped';

export interface WorkRow extends Required<NewWork> {
  readonly state: WorkState;
  /** how often it was handed to the queue; part of the queue's job id */
  readonly dispatch: number;
  /** how often it was claimed */
  readonly attempt: number;
  readonly owner: string | null;
  /** ms since the epoch; 0 = no lease */
  readonly leaseUntil: number;
  readonly dispatchedAt: number;
  readonly addedAt: number;
}

/**
 * All of it is written, or none. Order of checks: `claim`/`finish`/`giveBack` (LeaseLost), then the expected versions (Conflict).
 */
export interface Transaction {
  readonly appends: readonly Append[];
  readonly meta: Meta;
  /** now, ms since the epoch: stamped on the events, compared with leases */
  readonly now: number;
  /** take a work row: refused with LeaseLost when it is unknown, done, dropped, or under a live lease (one's own, too); a todo row becomes dispatched */
  readonly claim?: { readonly id: string; readonly owner: string; readonly leaseMs: number };
  /** the own work row is done: refused with LeaseLost unless `owner` still owns it (an expired lease nobody took over is still owned) */
  readonly finish?: { readonly id: string; readonly owner: string };
  /** the own work row is for another to take at once: todo with dispatch + 1; refused like `finish` */
  readonly giveBack?: { readonly id: string; readonly owner: string };
  readonly work?: readonly NewWork[];
  /** rows that nobody shall do any more, whoever owns them (cancelled, superseded) */
  readonly drop?: readonly string[];
}

export interface ReadFilter {
  /** an empty list matches nothing */
  readonly types?: readonly string[];
  readonly stream?: string;
  readonly correlation?: string;
  /** who: this actor, and those that go on behind a colon or an at sign (`root` finds `root@host`, `worker:build-1` its processes) */
  readonly actor?: string;
  /**
   * With no other filter, for folding a whole log: all but these types. What stands right behind `after` and the log's newest event are
   * answered whatever their type, so that one read tells whether the log is still the same and how far it goes.
   */
  readonly except?: readonly string[];
}

/** A whole log, to take the place of another. */
export interface WholeLog {
  /** the head that the log which goes away must still have; Conflict when someone appended meanwhile */
  readonly expectedHead: number;
  /** every event from the first, in order, as it was written */
  readonly pages: AsyncIterable<readonly ChainedEvent[]>;
  /** key id → wrapped with this server's master key */
  readonly keys: ReadonlyMap<string, Uint8Array>;
}

/**
 * The event log and, in the same database so that one transaction covers both, the work items, leases, sealing keys and
 * snapshots. All times are passed in, so that tests and simulations own the clock.
 */
export abstract class EventStore {
  /** Appends atomically; answers the recorded events in order. Wakes every listener of `changes` in every process after the commit. */
  abstract transact(tx: Transaction): Promise<Recorded[]>;
  /** Events of one stream with version > `after` and <= `until`, in order. */
  abstract readStream(stream: string, after?: number, until?: number): Promise<Recorded[]>;
  /** Events with position > `after`, in order, at most `limit`. Never skips one that becomes visible later. */
  abstract readAll(after: number, limit: number, filter?: ReadFilter): Promise<Recorded[]>;
  /** Events with position < `before`, the newest first, at most `limit`: however long the log, only what is answered is read (with two filters also what one of them lets through). */
  abstract readBack(before: number, limit: number, filter?: ReadFilter): Promise<Recorded[]>;
  /** The same events as they lie in the database, letter by letter, with the hashes of the chain: what an audit reads. */
  abstract readChain(after: number, limit: number): Promise<ChainedEvent[]>;
  /** The highest position; 0 for an empty log. */
  abstract head(): Promise<number>;
  /**
   * Calls `listener` soon after any process committed a transaction (p50 a few ms). May call once for several, and without cause.
   * The listener must not throw. Does not keep the process alive. Returns the way to stop.
   */
  abstract changes(listener: () => void): () => void;

  /** Rows with state todo, `notBefore` reached, first of their group among the rows that are not done or dropped; oldest first. */
  abstract dispatchable(now: number, limit: number): Promise<WorkRow[]>;
  /** todo → dispatched where the row still has that `dispatch` count; answers how many rows changed. */
  abstract markDispatched(rows: readonly { id: string; dispatch: number }[], now: number): Promise<number>;
  /** Dispatched rows without a live lease, dispatched before `now - olderThanMs`. */
  abstract undelivered(now: number, olderThanMs: number): Promise<WorkRow[]>;
  /** dispatched → todo with dispatch + 1 and no owner, where `dispatch` still matches and no lease is live. */
  abstract redispatch(id: string, dispatch: number, now: number): Promise<boolean>;
  /** Prolongs the lease; false when the row is not this owner's any more (taken over, done, dropped): stop working. */
  abstract heartbeat(id: string, owner: string, now: number, leaseMs: number): Promise<boolean>;
  /**
   * Ends the leases of rows whose owner starts with `ownerPrefix` (a predecessor of the same name) and makes them todo with dispatch + 1, so that the
   * queue's old job, which may still stand as active, is not taken for the new one; answers how many.
   */
  abstract giveBack(ownerPrefix: string, now: number): Promise<number>;
  /** The earliest `notBefore` in the future among todo rows, or null. */
  abstract nextDue(now: number): Promise<number | null>;
  abstract openWork(): Promise<WorkRow[]>;
  abstract work(id: string): Promise<WorkRow | null>;

  /** A named lease held by one process at a time; re-acquiring one's own prolongs it. */
  abstract acquire(name: string, owner: string, now: number, ms: number): Promise<boolean>;
  abstract release(name: string, owner: string): Promise<void>;

  /** Wrapped (never clear) key material; `destroyKey` overwrites it in the database file. */
  abstract putKey(id: string, wrapped: Uint8Array): Promise<void>;
  abstract key(id: string): Promise<Uint8Array | null>;
  /** of those that were not destroyed, sorted */
  abstract keyIds(): Promise<string[]>;
  abstract destroyKey(id: string): Promise<void>;

  /** A projection's state at a position; a cache, thrown away when `version` differs. */
  abstract saveSnapshot(name: string, version: string, position: number, state: string): Promise<void>;
  abstract snapshot(name: string, version: string): Promise<{ position: number; state: string } | null>;
  /** Throws away a projection's snapshots of all versions but `but`. */
  abstract forgetSnapshots(name: string, but: string): Promise<void>;

  /**
   * Puts another log in the place of this one, with its keys; work rows and snapshots of the old one go. All of it, or nothing: also when
   * `pages` throws. Leases stay. Only for a restore.
   * @throws Conflict
   */
  replace(_log: WholeLog): Promise<void> {
    return Promise.reject(new Error('this store cannot take a whole log'));
  }

  abstract close(): Promise<void>;
}
