import { never, Rejected, type Decider } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { Provider, PushHookEvent } from '../../events/types/webhook.events.js';

export const pushStream = (app: string): string => `push-${app}`;
export const pushGroup = (app: string): string => `push-${app}`;

export interface PushHook { readonly provider: Provider; readonly url: string; readonly branch: string | null; readonly secret: Sealed }
/** A call that came, and what became of it; `deploy` and `reason` both null: it is not known yet. */
export interface Received { readonly provider: Provider; readonly delivery: string; readonly event: string; readonly ref: string; readonly commit: string; readonly operation: number | null; readonly deploy: number | null; readonly reason: string | null }

/** calls of an app that are remembered, the newest: one that comes again is known among them */
export const KEEP_RECEIVED = 1000;

/** Stream `push-<app id>`. */
export interface PushState { readonly hooks: Readonly<Partial<Record<Provider, PushHook>>>; readonly received: readonly Received[] }
export type PushCommand =
  | { type: 'Enable'; app: string; provider: Provider; url: string; branch: string | null; secret: Sealed }
  | { type: 'Disable'; app: string; provider: Provider }
  /** one that came before changes nothing */
  | { type: 'Receive'; app: string; provider: Provider; delivery: string; event: string; ref: string; commit: string; operation: number | null; reason: string | null }
  | { type: 'Settle'; app: string; provider: Provider; delivery: string; deploy: number | null; reason: string | null };

const same = (a: Pick<Received, 'provider' | 'delivery'>, b: Pick<Received, 'provider' | 'delivery'>): boolean => a.provider === b.provider && a.delivery === b.delivery;
/** That call, if it came before. */
export const known = (state: PushState, call: Pick<Received, 'provider' | 'delivery'>): Received | null => state.received.findLast((one) => same(one, call)) ?? null;

export const pushHooks: Decider<PushState, PushCommand, PushHookEvent> = {
  initial: { hooks: {}, received: [] },
  decide(command, state) {
    switch (command.type) {
      case 'Enable': {
        const { type: _, ...data } = command;
        return [{ type: 'PushHookEnabled', data }];
      }
      case 'Disable':
        if (!state.hooks[command.provider]) throw new Rejected('push.disabled', `${command.provider} is not enabled for the app`, `berth ${command.provider}:enable <app> <repository>`);
        return [{ type: 'PushHookDisabled', data: { app: command.app, provider: command.provider } }];
      case 'Receive': {
        const { type: _, ...data } = command;
        return known(state, data) ? [] : [{ type: 'PushReceived', data }];
      }
      case 'Settle': {
        const { type: _, ...data } = command;
        return [{ type: 'PushSettled', data }];
      }
      default: return never(command);
    }
  },
  evolve(state, event) {
    switch (event.type) {
      case 'PushHookEnabled': {
        const { app: _, ...hook } = event.data;
        return { ...state, hooks: { ...state.hooks, [hook.provider]: hook } };
      }
      case 'PushHookDisabled': {
        const { [event.data.provider]: _, ...hooks } = state.hooks;
        return { ...state, hooks };
      }
      case 'PushReceived': {
        const { app: _, ...call } = event.data;
        return { ...state, received: [...state.received, { ...call, deploy: null }].slice(-KEEP_RECEIVED) };
      }
      case 'PushSettled': return { ...state, received: state.received.map((one) => (same(one, event.data) ? { ...one, deploy: event.data.deploy, reason: event.data.reason } : one)) };
      default: return never(event);
    }
  },
};
