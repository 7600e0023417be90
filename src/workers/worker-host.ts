import type { BeforeApplicationShutdown, OnApplicationBootstrap } from '@nestjs/common';
import { connect, takeTickets } from '../drivers/queue/bull.js';
import { forgetStatus, sayStatus } from '../drivers/queue/worker-status.js';
import type { Report } from '../modules/commands/report.js';
import type { Core } from '../modules/core.js';
import type { WorkerKind, WorkerStatus } from '../modules/server/worker-status.js';
import type { Line } from './line.js';
import { StepRunner } from './step-runner.js';
import { VERSION } from '../version.js';

const STATUS_MS = 3000;
/** how long a stopping worker lets its steps end, ms */
const GRACE_MS = 10_000;

/** Runs one worker inside Nest's life cycle: takes tickets, says how it is, stops in order. */
export class WorkerHost implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly runner: StepRunner;
  private readonly since: number;
  private readonly redis;
  private tickets: readonly { close(): Promise<void> }[] = [];
  private timer: NodeJS.Timeout | null = null;

  /** @param queues where its tickets come from */
  constructor(private readonly core: Core, private readonly kind: WorkerKind, readonly name: string, private readonly queues: readonly string[], line: Line, private readonly report: Report) {
    this.since = core.now();
    this.redis = connect(core.config.redis, (error) => report('Redis', error), true);
    this.runner = new StepRunner(line, { store: core.store, now: core.now, report, where: { pid: process.pid, host: core.config.host } }, name);
  }

  async onApplicationBootstrap(): Promise<void> {
    const { config, store, now } = this.core;
    // a predecessor of this name is dead: what it had is free at once, and where that cannot be written now, when its leases run out
    await store.giveBack(`${this.name}:`, now()).catch((error: unknown) => this.report('giving back', error));
    this.tickets = this.queues.map((queue) => takeTickets(config.redis, config.instance, queue, config.concurrency, async (id, ticket) => {
      try {
        await this.runner.take(id, `${process.pid}.${ticket}`);
      } catch (error) {
        this.report(`work ${id}`, error);
      }
      this.say();
    }, (error) => this.report('Redis', error)));
    this.timer = setInterval(() => this.say(), STATUS_MS);
    this.redis.on('ready', () => this.say());
    this.say();
  }

  private say(): void {
    if (!this.timer || this.redis.status !== 'ready') return; // stopping; still connecting, or away: its own errors are reported
    const status: WorkerStatus = {
      name: this.name, kind: this.kind, version: VERSION, pid: process.pid, host: this.core.config.host, since: this.since, seen: this.core.now(),
      done: this.runner.done, memory: process.memoryUsage.rss(), doing: this.runner.doing,
    };
    sayStatus(this.redis, this.core.config.instance, this.name, status).catch((error: unknown) => this.report('status', error));
  }

  async beforeApplicationShutdown(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
    const stopped = this.runner.stop(GRACE_MS);
    await Promise.race([Promise.all(this.tickets.map((tickets) => tickets.close())), stopped.then(() => new Promise((resolve) => setTimeout(resolve, 1000)))]);
    await stopped;
    if (this.redis.status === 'ready') await forgetStatus(this.redis, this.core.config.instance, this.name).catch(() => undefined); // forgotten in ten seconds anyway
    this.redis.disconnect();
    await this.core.close();
  }
}
