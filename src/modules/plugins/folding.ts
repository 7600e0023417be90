import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import type { Recorded } from '../../events/event.js';
import type { PluginProjection } from '../../events/types/plugin.events.js';
import { upcast } from '../../events/upcast.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import type { Plugin } from './active.js';
import type { Plugins } from './plugins.service.js';
import { BEGINNING, codeVersion, keepStanding, keptPosition, standing, type Standing } from './projected.js';
import { seenEvent } from './seen-event.js';

/** events in one call: a process started for each is what most of the time goes into */
const PAGE = 500;
/** by how much pages get smaller after a fault, until it is known which event it is, and larger again */
const STEP = 8;
/** what comes within this time is folded together, ms */
const TOGETHER_MS = 1000;
/** a long fold is kept so often, ms: what a crash costs */
const KEEP_MS = 5000;
/** waits after an event that could not be folded, ms */
const BACKOFF = [1_000, 5_000, 30_000, 120_000, 600_000];
/** how long somebody who said that it leads is believed, ms: the lease's time */
const LED_MS = 5000;
/** faults that a page of fewer events need not have */
const OF_AN_EVENT: readonly PluginFault['code'][] = ['timeout', 'flood', 'signal', 'exit', 'answer'];

interface Progress {
  readonly version: string; readonly now: Standing;
  /** events of the next page */
  readonly page: number;
  /** head of the log when nothing was left to fold; -1: not looked */
  readonly idle: number;
  /** monotonic, ms: not before; last kept */
  readonly again: number; readonly keptAt: number;
}

type Sees = Pick<Core, 'store' | 'now'>;

/**
 * Folds the projections of plugins, from the log's first event on: a page of events and one process at a time. What a plugin cannot fold
 * stays where it was, with the reason, and is tried again; nobody waits for it.
 */
export class Folding {
  private readonly known = new Map<string, Progress>();
  private readonly stopping = new AbortController();
  private working: Promise<void> | null = null;
  private ledAt = Number.NEGATIVE_INFINITY;
  private next = 0;

  /** @param clock monotonic, ms */
  constructor(private readonly core: Sees, private readonly plugins: Pick<Plugins, 'enabled' | 'ask'>, private readonly report: Report, private readonly clock: () => number = () => performance.now()) {}

  /** Goes on beside whoever calls, who leads; called over and over for as long as it does. Answers the end of the pass under way; never rejects. */
  look(): Promise<void> {
    this.ledAt = this.clock();
    if (this.working || this.ledAt < this.next || this.stopping.signal.aborted) return this.working ?? Promise.resolve();
    this.working = this.pass().catch((error: unknown) => {
      if (!this.stopping.signal.aborted) this.report('projections of plugins', error);
    }).finally(() => {
      this.working = null;
      this.next = this.clock() + TOGETHER_MS;
    });
    return this.working;
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.working;
  }

  private get leads(): boolean {
    return !this.stopping.signal.aborted && this.clock() - this.ledAt < LED_MS;
  }

  /** Folds until nothing is left to fold, every projection in its turn. */
  private async pass(): Promise<void> {
    for (let more = true; more;) {
      more = false;
      for (const plugin of await this.plugins.enabled()) {
        for (const projection of plugin.manifest.projections ?? []) {
          if (!this.leads) return;
          more = (await this.fold(plugin, projection)) || more;
          await turnOfTheLoop();
        }
      }
    }
  }

  /** One page. Answers whether there may be another. */
  private async fold(plugin: Plugin, projection: PluginProjection): Promise<boolean> {
    const { store } = this.core;
    const key = `${plugin.name}/${projection.name}`;
    const progress = await this.progress(plugin, projection, key);
    const head = await store.head();
    if (head === progress.idle || this.clock() < progress.again) return false;
    const { now, page } = progress;
    const put = (next: Progress): void => { this.known.set(key, next); };
    if (now.position > 0 && (await store.readAll(now.position - 1, 1))[0]?.id !== now.last) {
      put({ ...progress, now: BEGINNING, page: PAGE }); // a backup was restored: this is another log
      return true;
    }
    const events = await store.readAll(now.position, page, { types: projection.types });
    if (events.length === 0) {
      // the last page may not have been kept, or a restore or an uninstall has taken what was
      if (now.position > 0 && (await keptPosition(store, plugin, projection.name)) !== now.position) await keepStanding(store, plugin, projection.name, now);
      put({ ...progress, idle: head });
      return false;
    }
    try {
      const { answer: { state } } = await this.plugins.ask(plugin, { call: 'project', projection: projection.name, state: now.state, events: events.map((event) => seenEvent(upcast(event))) }, null, this.stopping.signal, () => {});
      const { position, id } = events.at(-1)!;
      const next: Standing = { state, position, last: id, trouble: null };
      const due = events.length < page || now.trouble !== null || this.clock() - progress.keptAt > KEEP_MS;
      if (due) await keepStanding(store, plugin, projection.name, next);
      put({ ...progress, now: next, page: Math.min(PAGE, page * STEP), again: 0, keptAt: due ? this.clock() : progress.keptAt });
      return true;
    } catch (error) {
      if (!(error instanceof PluginFault)) throw error;
      if (events.length > 1 && OF_AN_EVENT.includes(error.code)) {
        put({ ...progress, page: Math.max(1, Math.floor(events.length / STEP)) });
        return true;
      }
      await this.failed(plugin, projection.name, progress, events[0]!, error, put);
      return false;
    }
  }

  private async failed(plugin: Plugin, projection: string, progress: Progress, { position, type }: Recorded, error: PluginFault, put: (next: Progress) => void): Promise<void> {
    const before = progress.now.trouble?.position === position ? progress.now.trouble.tries : 0;
    const why = error.code === 'flood' ? `${error.message}; a state has at most 1 MiB` : error.message;
    const now: Standing = { ...progress.now, trouble: { why, position, type, at: this.core.now(), tries: before + 1 } };
    put({ ...progress, now, page: 1, again: this.clock() + BACKOFF[Math.min(before, BACKOFF.length - 1)]!, keptAt: this.clock() });
    await keepStanding(this.core.store, plugin, projection, now);
  }

  private async progress(plugin: Plugin, { name }: PluginProjection, key: string): Promise<Progress> {
    const known = this.known.get(key);
    const version = codeVersion(plugin);
    if (known?.version === version) return known;
    const fresh: Progress = { version, now: await standing(this.core.store, plugin, name), page: PAGE, idle: -1, again: 0, keptAt: this.clock() };
    this.known.set(key, fresh);
    return fresh;
  }
}
