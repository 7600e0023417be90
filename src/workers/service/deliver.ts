import { PluginFault } from '../../drivers/plugin/plugin.port.js';
import { StepFailure, type OperationContext } from '../../events/step.js';
import type { Core } from '../../modules/core.js';
import type { Delivery } from '../../modules/plugins/delivery.kind.js';
import type { Plugins } from '../../modules/plugins/plugins.service.js';
import { seenEvent } from '../../modules/plugins/seen-event.js';

/** Hands an event to the plugin that subscribed to it. What goes wrong is tried again; what nobody waits for any more is left. */
export function deliver(core: Pick<Core, 'store' | 'board'>, plugins: Pick<Plugins, 'enabled' | 'ask'>) {
  return async ({ input, log, signal }: OperationContext<Delivery>): Promise<{ delivered: boolean; why?: string }> => {
    const plugin = (await plugins.enabled()).find(({ name }) => name === input.plugin);
    if (!plugin?.manifest.events?.types.includes(input.type)) return { delivered: false, why: 'it is not enabled, or does not want such events any more' };
    const [event] = await core.store.readAll(input.position - 1, 1);
    if (event?.id !== input.id) return { delivered: false, why: 'the event is not in the log any more: a backup was restored' };
    const { app } = event.data as { app?: unknown };
    const row = typeof app === 'string' ? (await core.board.now()).apps[app] : undefined;
    try {
      const { answer } = await plugins.ask(plugin, { call: 'event', event: seenEvent(event) }, row ? { id: row.id, name: row.name } : null, signal, (line) => log.output(line));
      for (const line of answer.say ?? []) log.detail(line);
      return { delivered: true };
    } catch (error) {
      if (!(error instanceof PluginFault)) throw error;
      throw new StepFailure(`plugin.${error.code}`, `plugin ${plugin.name} did not take ${event.type} at ${event.position}: ${error.message}`, `try it by hand: berth plugin:trigger ${plugin.name} ${event.type}`, 'machine', { cause: error });
    }
  };
}
