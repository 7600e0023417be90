import type { Recorded } from '../../events/event.js';
import { metaOf } from '../../events/repository.js';
import type { Core } from '../core.js';
import { Draft, operationsStream } from '../draft.js';
import { isDelivering, type OfEvent } from './delivery.state.js';
import { operate } from './operations.service.js';

/** Somebody who is handed what happens: every event that is wanted becomes one operation of the group. */
export interface Subscriber {
  /** of its operations, in whose order it is told; see `deliveryGroup` */
  readonly group: string;
  /** who asks, in the log: the newest request by this actor in the group says how far it came */
  readonly by: string;
  /** events behind this position */
  readonly since: number;
  readonly types: readonly string[];
  wants(event: Recorded): boolean;
  delivery(event: Recorded): { readonly kind: string; readonly subject: string; readonly input: OfEvent & { readonly position: number } };
}
export type Subscribed = () => Promise<readonly Subscriber[]>;

/** events that are read at once, and deliveries that are asked for in one round, which others wait for: the rest comes with the next */
const READ = 500;
const ASK = 50;

/**
 * Makes operations of what happened for everyone who subscribed. Where each stands is in the log: the last delivery that was asked for. What
 * this process knows beyond that only spares it reading.
 */
export class Subscribers {
  /** group → the position up to which nothing is left to be asked for */
  private readonly seen = new Map<string, number>();
  /** the newest event when it was looked last */
  private newest: { readonly position: number; readonly id: string } | null = null;
  /** not all was looked at that there was */
  private behind = false;

  constructor(private readonly core: Core, private readonly sources: readonly Subscribed[]) {}

  /** Looks at what happened since, a page at most for those that stand at the same place. */
  async pump(): Promise<void> {
    const { store } = this.core;
    const [newest] = await store.readBack(Number.MAX_SAFE_INTEGER, 1);
    if (!newest || (!this.behind && newest.id === this.newest?.id)) return;
    // a backup was restored: another event stands there, or none
    if (this.newest && (await store.readAll(this.newest.position - 1, 1))[0]?.id !== this.newest.id) this.seen.clear();
    this.newest = { position: newest.position, id: newest.id };
    this.behind = true;
    const places = new Map<number, Subscriber[]>();
    for (const one of (await Promise.all(this.sources.map((source) => source()))).flat()) {
      const at = Math.max(this.seen.get(one.group) ?? (await this.last(one)), one.since);
      places.set(at, [...(places.get(at) ?? []), one]);
    }
    let done = true;
    for (const [at, those] of places) done = (await this.walk(at, those, newest.position)) && done;
    this.behind = !done;
  }

  /** Answers whether nothing is left up to `head`. */
  private async walk(at: number, those: readonly Subscriber[], head: number): Promise<boolean> {
    if (at >= head) return true;
    const page = await this.core.store.readAll(at, READ, { types: [...new Set(those.flatMap(({ types }) => types))] });
    let asked = 0;
    for (const event of page) {
      if (asked >= ASK) return false;
      for (const one of those) {
        if (one.types.includes(event.type) && !isDelivering((event.data as { group?: string }).group ?? '') && one.wants(event)) asked += await this.ask(one, event);
        this.seen.set(one.group, event.position);
      }
    }
    if (page.length === READ) return false;
    for (const { group } of those) this.seen.set(group, Math.max(head, page.at(-1)?.position ?? 0));
    return true;
  }

  /** Position of the last event that was asked to be delivered. What people ask for (once more, or to try) does not count. */
  private async last({ group, by }: Subscriber): Promise<number> {
    const [found] = await this.core.store.readBack(Number.MAX_SAFE_INTEGER, 1, { stream: operationsStream(group), types: ['OperationRequested'], actor: by });
    return (found?.data as { input: OfEvent } | undefined)?.input.position ?? 0;
  }

  private async ask(one: Subscriber, event: Recorded): Promise<number> {
    const { core } = this;
    const { group, by } = one;
    const written = await core.repository.transact(async () => {
      const draft = new Draft(core);
      const operation = await operate(draft, group, { ...one.delivery(event), by });
      // another process may have asked for it meanwhile: the stream is not at this version any more then, and this is looked at again
      if ((await this.last(one)) >= event.position) return null;
      const correlation = `${group}.${operation}`;
      return { ...draft.transaction(), meta: metaOf(by, 'deliver', correlation, undefined, event.id), now: core.now() };
    });
    return written.length === 0 ? 0 : 1;
  }
}
