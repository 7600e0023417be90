import type { EnginePort } from '../../drivers/engine/engine.port.js';
import { readLabels } from '../../drivers/engine/labels.js';
import type { LogWriter } from '../../drivers/logs/log-store.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { appLog } from '../logs/logs.commands.js';
import { serviceLog } from '../services/service-names.js';

/** bytes kept of one app's log */
const KEEP = 64 << 20;
const TRIM_EVERY = 20_000;

/** RFC 3339 with nanoseconds → ms since the epoch with microseconds behind the point. */
export function toMs(at: string): number {
  const match = /^(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(at);
  if (!match) return Date.parse(at) || 0;
  const micros = Number((match[2] ?? '').padEnd(6, '0').slice(0, 6));
  return Date.parse(`${match[1]}${match[3]}`) + micros / 1000;
}

/**
 * Copies what processes print from the engine into the app's log, so that it outlives the container. One collector at a time.
 * After a restart it goes on behind the last line it wrote of each container.
 */
export class LogCollector {
  private readonly following = new Map<string, Promise<void>>();
  private readonly writers = new Map<string, { writer: LogWriter; users: number; lines: number }>();
  private readonly stopping = new AbortController();

  /**
   * @param changed told of every container that ends or goes, so that drift is seen at once
   * @param back told when the engine answers again after it did not
   */
  constructor(private readonly core: Core, private readonly engine: EnginePort, private readonly report: Report, private readonly changed: () => void = () => {}, private readonly back: () => void = () => {}) {}

  /** Follows every container of ours until `stop`. */
  async run(): Promise<void> {
    const { instance } = this.core.config;
    const { signal } = this.stopping;
    let lost = false;
    while (!signal.aborted) {
      try {
        const since = this.core.now() - 1000;
        for (const c of await this.engine.listContainers({ instance })) this.follow(c.id, c.labels);
        if (lost) this.back();
        lost = false;
        for await (const event of this.engine.events({ labels: { instance }, actions: ['start', 'die', 'destroy'], since, signal })) {
          if (event.action === 'start') this.follow(event.id, event.labels);
          else this.changed();
        }
      } catch (error) {
        lost = true;
        if (!signal.aborted) this.report('container events', error);
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    await Promise.allSettled(this.following.values());
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.allSettled(this.following.values());
  }

  private follow(id: string, labels: Readonly<Record<string, string>>): void {
    const { app, service, type, index, release } = readLabels(labels);
    if ((!app && !service) || !type || !index || type === 'release' || type === 'buildpack' || type === 'ambassador' || this.following.has(id)) return;
    const done = this.copy(id, app ? appLog(app) : serviceLog(service!), `${type}.${index}`, Number(release ?? 0)).catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.report(`log of ${id.slice(0, 12)}`, error);
    }).finally(() => this.following.delete(id));
    this.following.set(id, done);
  }

  private async copy(id: string, log: string, process: string, release: number): Promise<void> {
    const { signal } = this.stopping;
    const [last] = await this.core.logs.tail(log, 1, (line) => line.s === process && line.a === release);
    let seen = last?.t ?? 0;
    const held = this.open(log);
    try {
      while (!signal.aborted) {
        try {
          for await (const line of this.engine.logs(id, { follow: true, since: seen / 1000, signal })) {
            const t = toMs(line.at);
            if (t <= seen) continue;
            seen = t;
            held.writer.append({ t, s: process, m: line.text, a: release, ...(line.stream === 'stderr' ? { k: 'e' as const } : {}) });
            held.lines += 1;
            if (held.lines % TRIM_EVERY === 0) await this.core.logs.trim(log, KEEP);
          }
        } catch (error) {
          if (signal.aborted) return;
          this.report(`${log}: ${process}`, error);
        }
        const state = await this.engine.inspectContainer(id).catch(() => undefined); // engine away: asked again below
        if (state === null || (state !== undefined && !state.running && !state.restarting)) return;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    } finally {
      await this.close(log);
    }
  }

  private open(log: string): { writer: LogWriter; users: number; lines: number } {
    let held = this.writers.get(log);
    if (!held) this.writers.set(log, (held = { writer: this.core.logs.writer(log), users: 0, lines: 0 }));
    held.users += 1;
    return held;
  }

  private async close(log: string): Promise<void> {
    const held = this.writers.get(log)!;
    held.users -= 1;
    if (held.users > 0) return held.writer.flush();
    this.writers.delete(log);
    await held.writer.close();
  }
}
