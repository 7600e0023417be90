import { metaOf } from '../../events/repository.js';
import type { Recorded } from '../../events/event.js';
import type { Core } from '../core.js';
import { Draft, operationsStream } from '../draft.js';
import { operate } from '../operations/operations.service.js';
import type { Plugin } from './active.js';
import { DELIVERY, type Delivery } from './delivery.kind.js';
import type { Plugins } from './plugins.service.js';

const deliveryGroup = (plugin: string): string => `plugin-${plugin}`;

/** events that are asked for in one round, which others wait for: the rest comes with the next */
const PAGE = 100;

/** Makes work of what happened for the plugins that subscribed to it. Where it stands is in the log: the last delivery that was asked for. */
export class Deliveries {
  /** plugin → the position up to which nothing is left to be asked for, as this process knows */
  private readonly seen = new Map<string, number>();

  constructor(private readonly core: Core, private readonly plugins: Pick<Plugins, 'enabled'>) {}

  /** Asks for deliveries of everything that happened since. By one process at a time. */
  async pump(): Promise<void> {
    const subscribed = (await this.plugins.enabled()).filter(({ manifest }) => manifest.events !== null);
    if (subscribed.length === 0) return;
    const { since } = await this.core.plugins.now();
    const head = await this.core.store.head();
    for (const plugin of subscribed) {
      // of Berth's own only those that somebody has set up
      const from = since[plugin.name];
      if (from !== undefined) await this.ask(plugin, from, head);
    }
  }

  private async ask(plugin: Plugin, from: number, head: number): Promise<void> {
    const group = deliveryGroup(plugin.name);
    let at = Math.max(this.seen.get(plugin.name) ?? (await this.last(group)), from);
    if (at > head) at = Math.max(await this.last(group), from); // a backup was restored
    if (at >= head) return;
    const page = await this.core.store.readAll(at, PAGE, { types: plugin.manifest.events!.types });
    for (const event of page) {
      // what deliveries lead to is none of its business: there would be no end to it
      if (!event.stream.startsWith(operationsStream('plugin-'))) await this.request(plugin.name, group, event);
      at = event.position;
    }
    this.seen.set(plugin.name, page.length < PAGE ? Math.max(at, head) : at);
  }

  /** Position of the last event that was asked to be delivered. */
  private async last(group: string): Promise<number> {
    const [found] = await this.core.store.readBack(Number.MAX_SAFE_INTEGER, 1, { stream: operationsStream(group), types: ['OperationRequested'] });
    return found ? (found.data as { input: Delivery }).input.position : 0;
  }

  private async request(plugin: string, group: string, { position, id, type }: Recorded): Promise<void> {
    const { core } = this;
    await core.repository.transact(async () => {
      const draft = new Draft(core);
      const operation = await operate(draft, group, { kind: DELIVERY, subject: `${type} ${position}`, input: { plugin, position, id, type } satisfies Delivery, by: 'system:plugins' });
      // another process may have asked for it meanwhile: the stream is not at this version any more then, and this is looked at again
      if ((await this.last(group)) >= position) return null;
      return { ...draft.transaction(), meta: metaOf('system:plugins', 'deliver', `${group}.${operation}`), now: core.now() };
    });
  }
}
