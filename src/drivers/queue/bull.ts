import { Queue, Worker, type Job } from 'bullmq';
import { Redis } from 'ioredis';

/** BullMQ as a disposable dispatcher: it wakes workers and holds nothing that could not be refilled from the store. */

const retryStrategy = (times: number): number => Math.min(50 * times, 500);

/** A connection; `redis` is a URL or the path of a unix socket. Errors are reported by `onError`, connecting goes on for ever. */
export function connect(redis: string, onError: (error: Error) => void, failFast = false): Redis {
  const shared = failFast
    ? { maxRetriesPerRequest: 1, enableOfflineQueue: false, retryStrategy }
    : { maxRetriesPerRequest: null, retryStrategy };
  const connection = redis.startsWith('/') ? new Redis({ path: redis, ...shared }) : new Redis(redis, shared);
  connection.on('error', onError);
  return connection;
}

export interface Ticket { readonly id: string }

/** What the relay needs of a queue. */
export interface Dispatcher {
  /** Hands work to the queues; a ticket that is there already is left alone. Throws when Redis is away. */
  dispatch(tickets: readonly { queue: string; jobId: string; id: string }[]): Promise<void>;
  /** Whether the queue still holds this ticket, and how. */
  state(queue: string, jobId: string): Promise<'waiting' | 'active' | 'gone'>;
  close(): Promise<void>;
}

/** Longest wait for one answer of Redis, ms: a command may hang for ever while Redis is away. */
const PATIENCE = 2000;

async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`Redis did not answer within ${PATIENCE} ms (${what})`)), PATIENCE); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export class BullDispatcher implements Dispatcher {
  private readonly connection: Redis;
  private readonly queues = new Map<string, Queue<Ticket>>();

  constructor(redis: string, private readonly prefix: string, private readonly onError: (error: Error) => void) {
    this.connection = connect(redis, onError, true);
  }

  private queue(name: string): Queue<Ticket> {
    let queue = this.queues.get(name);
    if (!queue) {
      // one that is made while Redis is away never becomes well; one whose Redis goes in that moment is made again
      if (this.connection.status !== 'ready') throw new Error('Redis is away');
      queue = new Queue<Ticket>(name, { connection: this.connection, prefix: this.prefix, skipWaitingForReady: true });
      queue.on('error', this.onError);
      this.queues.set(name, queue);
      const made = queue;
      made.waitUntilReady().catch(() => { if (this.queues.get(name) === made) this.queues.delete(name); });
    }
    return queue;
  }

  async dispatch(tickets: readonly { queue: string; jobId: string; id: string }[]): Promise<void> {
    const byQueue = Map.groupBy(tickets, (ticket) => ticket.queue);
    for (const [name, some] of byQueue) {
      const jobs = some.map(({ id, jobId }) => ({ name, data: { id }, opts: { jobId, removeOnComplete: true, removeOnFail: true, attempts: 1 } }));
      await within(this.queue(name).addBulk(jobs), `add to ${name}`);
    }
  }

  async state(queue: string, jobId: string): Promise<'waiting' | 'active' | 'gone'> {
    const state = await within(this.queue(queue).getJobState(jobId), `state in ${queue}`);
    if (state === 'active') return 'active';
    return state === 'unknown' || state === 'completed' || state === 'failed' ? 'gone' : 'waiting';
  }

  /** How quickly Redis answers. */
  async ping(): Promise<string> {
    const started = performance.now();
    await within(this.connection.ping(), 'ping');
    return `answers in ${(performance.now() - started).toFixed(1)} ms`;
  }

  async close(): Promise<void> {
    for (const queue of this.queues.values()) await queue.close().catch(this.onError);
    this.connection.disconnect();
  }
}

/** Takes tickets of one queue; at most `concurrency` at a time. Stalled tickets are the relay's business, not BullMQ's. */
export function takeTickets(redis: string, prefix: string, queue: string, concurrency: number, handle: (id: string, ticket: string) => Promise<void>, onError: (error: Error) => void): { close(): Promise<void> } {
  const connection = connect(redis, onError);
  const worker = new Worker<Ticket>(queue, (job: Job<Ticket>) => handle(job.data.id, job.id ?? job.data.id), {
    connection, prefix, concurrency, lockDuration: 10_000, stalledInterval: 10_000, maxStalledCount: 10, drainDelay: 5,
  });
  worker.on('error', onError);
  return {
    async close() {
      await worker.close();
      connection.disconnect();
    },
  };
}
