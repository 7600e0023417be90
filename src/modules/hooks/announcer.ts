import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { Report } from '../commands/report.js';
import type { Core } from '../core.js';
import { change } from '../draft.js';
import { operate } from '../operations/operations.service.js';
import { WEBHOOK_KIND, type DeliveryInput } from './webhook.delivery.js';
import { webhookGroup, webhooks, WEBHOOKS_STREAM, type Webhook } from './webhook.decider.js';

const PAGE = 500;
/** changes are many while apps deploy: looked at together, ms */
const TOGETHER_MS = 200;
/** it is looked again without a cause, ms */
const AGAIN_MS = 15_000;

/**
 * Asks for a delivery of every event that a webhook wants to be told of. How far it came stands in the log with each delivery, in one
 * transaction: nothing is left out or asked for twice, whoever dies when.
 */
export class Announcer {
  private cursor: number | null = null;
  private known: ReadonlySet<string> = new Set();
  private timer: NodeJS.Timeout | null = null;
  /** when it is, on the monotonic clock */
  private due = 0;
  private looking: Promise<void> | null = null;
  private unlisten: (() => void) | null = null;

  constructor(private readonly core: Core, private readonly report: Report) {}

  start(): void {
    this.unlisten = this.core.store.changes(() => this.soon(TOGETHER_MS));
    this.soon(0);
  }

  async stop(): Promise<void> {
    this.unlisten?.();
    this.unlisten = null;
    if (this.timer) clearTimeout(this.timer);
    await this.looking;
  }

  private soon(ms: number): void {
    const at = performance.now() + ms;
    if (this.looking || !this.unlisten || (this.timer && this.due <= at)) return;
    if (this.timer) clearTimeout(this.timer);
    this.due = at;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.looking = this.look().catch((error: unknown) => this.report('webhooks', error)).finally(() => {
        this.looking = null;
        this.again();
      });
    }, ms);
    this.timer.unref();
  }

  /** What came while it looked is looked at by the next change, or soon. */
  private again(): void {
    void this.core.store.head().then((head) => this.soon(head > (this.cursor ?? 0) ? TOGETHER_MS : AGAIN_MS), () => this.soon(AGAIN_MS));
  }

  /** Goes through what was written since the last look. */
  async look(): Promise<void> {
    const { core } = this;
    for (;;) {
      const head = await core.store.head();
      const hooks = Object.values((await core.repository.load(webhooks, WEBHOOKS_STREAM)).state.all);
      if (hooks.length === 0) return void (this.cursor = head);
      // a new one may begin before what was looked at; what was is asked for once all the same
      for (const { webhook, due } of hooks) if (!this.known.has(webhook)) this.cursor = Math.min(this.cursor ?? due, due);
      this.known = new Set(hooks.map(({ webhook }) => webhook));
      this.cursor ??= head;
      const events = await core.store.readAll(this.cursor, PAGE, { types: [...new Set(hooks.flatMap((hook) => hook.events))] });
      for (const event of events) {
        for (const hook of hooks) if (wants(hook, event)) await this.ask(hook, event);
        this.cursor = event.position;
      }
      if (events.length < PAGE) return void (this.cursor = Math.max(this.cursor, head));
    }
  }

  private async ask({ webhook }: Webhook, event: Recorded): Promise<void> {
    const { core } = this;
    const actor = 'system:webhooks';
    try {
      await change({ core, actor }, 'webhook', webhookGroup(webhook), async (draft) => {
        const events = await draft.decide(webhooks, WEBHOOKS_STREAM, { type: 'Due', webhook, position: event.position });
        if (events.length === 0) return;
        const input: DeliveryInput = { webhook, position: event.position, event: event.type, delivery: `msg_${webhook}_${event.id}` };
        await operate(draft, webhookGroup(webhook), { kind: WEBHOOK_KIND, subject: `webhook ${webhook}`, input, by: actor });
      }, event.id);
    } catch (error) {
      if (!(error instanceof Rejected)) throw error;
      this.report(`webhook ${webhook}`, error);
    }
  }
}

const wants = (hook: Webhook, event: Recorded): boolean => event.position > hook.due && hook.events.includes(event.type) && (hook.app === null || (event.data as { app?: string }).app === hook.app);
