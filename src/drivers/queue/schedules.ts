import { Queue, Worker } from 'bullmq';
import { connect } from './bull.js';

/** A line of a schedule; `key` tells it from every other. */
export interface Tick { readonly key: string; readonly pattern: string; readonly tz: string }
/** The first time of such a line behind a time, ms since the epoch. */
export type NextTime = (times: { readonly cron: string; readonly zone: string }, after: number) => number;

const QUEUE = 'schedules';

/** BullMQ's schedulers as an alarm clock: what is due is the log's to say, and all of it can be set anew from there. */
export class BullSchedules {
  private readonly connection;
  private readonly queue: Queue;
  private readonly worker: Worker;

  /**
   * @param next how times are counted: the queue's own way would load its library in every process
   * @param rings told whenever a time came; of several processes one is
   */
  constructor(redis: string, prefix: string, next: NextTime, rings: () => void, onError: (error: Error) => void) {
    this.connection = connect(redis, onError);
    const repeatStrategy = (after: number, { pattern, tz }: { pattern?: string; tz?: string }): number => next({ cron: pattern!, zone: tz! }, after);
    const options = { connection: this.connection, prefix, settings: { repeatStrategy } };
    this.queue = new Queue(QUEUE, { ...options, skipWaitingForReady: true });
    this.queue.on('error', onError);
    this.worker = new Worker(QUEUE, async () => { rings(); }, { ...options, drainDelay: 5 });
    this.worker.on('error', onError);
  }

  /** Makes them these, and no others. Waits while Redis is away. */
  async set(wanted: readonly Tick[]): Promise<void> {
    const there = new Map((await this.queue.getJobSchedulers()).map((one) => [one.key, one]));
    for (const { key, pattern, tz } of wanted) {
      const found = there.get(key);
      there.delete(key);
      if (found?.pattern === pattern && found.tz === tz) continue;
      await this.queue.upsertJobScheduler(key, { pattern, tz }, { name: 'tick', opts: { removeOnComplete: true, removeOnFail: true } });
    }
    for (const key of there.keys()) await this.queue.removeJobScheduler(key);
  }

  async close(): Promise<void> {
    await this.worker.close();
    await this.queue.close();
    this.connection.disconnect();
  }
}
