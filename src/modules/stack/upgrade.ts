import { Rejected } from '../../events/decider.js';
import type { CommandContext } from '../commands/command.js';
import { rebuild } from '../deploys/deploys.commands.js';
import { followDeploy, isOver, type EndOfDeploy } from '../deploys/follow.js';
import type { AppRow } from '../read/board.projection.js';
import { standings } from './standing.js';

/** What becomes of one app. `current`: it stands on the stack of now already; `refused`: no deploy came of it. */
export interface Upgraded { readonly app: string; readonly deploy: number | null; readonly status: 'current' | 'waits' | 'begins' | 'succeeded' | 'refused' | 'failed' | 'cancelled' | 'superseded' | 'gone'; readonly why: string | null }

/**
 * Rebuilds one app on the stack of now and follows that to its end. A deploy that runs already is waited for: it may be one that an upgrade
 * before this one began. What stands on the stack of now is left alone, unless `again`.
 */
export async function* upgradeApp(context: CommandContext, id: string, again: boolean): AsyncGenerator<Upgraded, 'current' | 'upgraded' | 'stays'> {
  const { core, signal } = context;
  const row = async (): Promise<AppRow | undefined> => (await core.board.now()).apps[id];
  const idle = async function* (): AsyncGenerator<Upgraded> {
    for (;;) {
      const board = await core.board.now();
      const open = (board.deploys[id] ?? []).find(({ status }) => !isOver(status));
      if (!open || !board.apps[id]) return;
      yield { app: board.apps[id].name, deploy: open.deploy, status: 'waits', why: null };
      await endOf(context, id, open.deploy);
    }
  };
  const behind = async (app: AppRow): Promise<boolean> => (await standings(core, [app]))[0]?.behind ?? false;

  yield* idle();
  const app = await row();
  if (!app) { yield { app: id, deploy: null, status: 'gone', why: null }; return 'current'; }
  if (!again && !(await behind(app))) { yield { app: app.name, deploy: null, status: 'current', why: null }; return 'current'; }
  let deploy: number | null;
  try { deploy = (await rebuild.run!(context, { app: app.name })).deploy; }
  catch (error) {
    if (!(error instanceof Rejected)) throw error;
    yield { app: app.name, deploy: null, status: 'refused', why: error.message };
    return 'stays';
  }
  if (deploy === null) return 'current';
  yield { app: app.name, deploy, status: 'begins', why: null };
  const end = await endOf(context, id, deploy);
  const why = end.failure?.message ?? null;
  if (end.status === 'cancelled' || end.status === 'superseded') {
    // whoever pushed meanwhile has built on the stack of now, too
    yield* idle();
    const after = await row();
    if (!after || !(await behind(after))) { yield { app: app.name, deploy, status: 'current', why: null }; return 'current'; }
  }
  signal.throwIfAborted();
  yield { app: app.name, deploy, status: end.status as Upgraded['status'], why };
  return end.status === 'succeeded' ? 'upgraded' : 'stays';
}

/** @throws the signal's reason when nobody wants to know any more */
async function endOf(context: CommandContext, app: string, deploy: number): Promise<EndOfDeploy> {
  for await (const item of followDeploy(context.core, app, deploy, 0, context.signal)) if (item.event === 'end') return item.data as EndOfDeploy;
  context.signal.throwIfAborted();
  throw new Error(`deploy ${deploy} of ${app} has no end`);
}
