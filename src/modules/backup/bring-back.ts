import { Rejected } from '../../events/decider.js';
import { configStream, pipelineStream } from '../apps/app-context.js';
import { seconds } from '../commands/words.js';
import { config } from '../config/config.decider.js';
import type { Core } from '../core.js';
import { isOver } from '../deploys/follow.js';
import { NO_SOURCE } from '../deploys/deploys.service.js';
import { pipeline } from '../deploys/pipeline.decider.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';
import { commitOf } from './take.js';
import { backups, BACKUPS, type Fact } from './backup.decider.js';
import type { Say } from './telling.js';
import type { Trouble } from '../../events/types/backup.events.js';

export const RESTORE = 'system:restore';
type App = Fact<'AppRestored'>;
export type Asked = Pick<App, 'app' | 'name'> & { readonly deploy: number };
/** Something that is not as it was on the old machine, and what to do about it. */
export type Missing = Trouble & { readonly name: string };

const REASON = 'restored from a backup: the machine that it ran on is gone';

/**
 * Ends what the old machine was doing, and asks for a deploy of every app that was live and is not running here: of its recorded commit when
 * the image is gone, as it always is on another machine. Each app in one transaction with its `AppRestored`: those that have one are done.
 */
export async function askForDeploys(core: Core): Promise<void> {
  const { restore } = (await core.repository.load(backups, BACKUPS)).state;
  if (restore === null) return;
  const done = new Set(restore.apps.map(({ app }) => app));
  const unreadable = new Set(restore.unreadable);
  for (const app of Object.values((await core.board.now()).apps).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (done.has(app.id)) continue;
    const running = await core.engine!.states();
    const lost = (app.live?.containers ?? []).map((c) => c.id).filter((id) => !running.has(id));
    const secret = unreadable.has(app.id) && app.configKeys.length > 0;
    const { kind, sha, trouble } = secret ? blind(app) : await wayBack(core, app, lost.length === 0 && (app.live?.containers.length ?? 0) > 0);
    await change({ core, actor: RESTORE }, 'restore', app.id, async (draft) => {
      await draft.cancelAll(app.id, RESTORE, REASON);
      await draft.decide(pipeline, pipelineStream(app.id), { type: 'Lose', containers: lost, by: RESTORE, reason: REASON });
      // nothing could ever read them again, and whatever compares old values with new ones would stumble over them
      if (secret) await draft.decide(config, configStream(app.id), { type: 'Unset', app: app.id, keys: app.configKeys });
      const deploy = kind === null ? null : await draft.deploy(app.id, kind, RESTORE, kind === 'repair' ? NO_SOURCE : { ...NO_SOURCE, sha, branch: app.branch });
      await draft.decide(backups, BACKUPS, { type: 'AppRestored', data: { restore: restore.restore, app: app.id, name: app.name, deploy, trouble } });
    });
  }
}

interface WayBack { readonly kind: 'rebuild' | 'repair' | null; readonly sha: string | null; readonly trouble: Trouble | null }
const NONE: WayBack = { kind: null, sha: null, trouble: null };
const gives = (why: string, todo: string): WayBack => ({ ...NONE, trouble: { why, todo } });

const blind = (app: AppRow): WayBack => gives(`its key cannot be read: its config vars ${app.configKeys.join(', ')} are lost`, `set them again: berth config:set --no-restart ${app.name} ${app.configKeys[0]}=…${app.live ? `; then build: berth ps:rebuild ${app.name}` : ''}`);

async function wayBack(core: Core, app: AppRow, runs: boolean): Promise<WayBack> {
  if (!app.live || runs) return NONE;
  const spec = app.releases.find((r) => r.number === app.live!.release)?.spec;
  const sha = commitOf(app);
  if (spec && (await core.engine!.hasImage(spec.imageId))) return { ...NONE, kind: 'repair' };
  if (sha === null) return gives('its live release was made of an image, which is not here', 'deploy it again: berth git:from-image or git:load-image');
  if ((await core.git!.resolve(app.id, sha).catch(() => null)) === null) return gives(`its commit ${sha.slice(0, 12)} is not in the backup`, 'push it again');
  return { ...NONE, kind: 'rebuild', sha };
}

/** Waits until every deploy is over, says each, and answers what did not come back. */
export async function follow(core: Core, asked: readonly Asked[], signal: AbortSignal, say: Pick<Say, 'info' | 'warn'>): Promise<Missing[]> {
  const troubles: Missing[] = [];
  const open = new Map(asked.map(({ app, deploy }) => [app, deploy]));
  let wake: () => void = () => {};
  const stop = core.store.changes(() => wake());
  signal.addEventListener('abort', () => wake());
  try {
    while (open.size > 0) {
      if (signal.aborted) throw new Rejected('restore.left', 'The deploys go on', 'see: berth deploys <app>');
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 1000).unref();
      });
      const board = await core.board.now();
      for (const [id, deploy] of open) {
        const row = board.deploys[id]?.[deploy - 1];
        const name = board.apps[id]?.name ?? asked.find((a) => a.app === id)!.name;
        if (row && !isOver(row.status)) continue;
        if (row?.status === 'superseded' && row.endedBy) {
          open.set(id, Number(row.endedBy));
          continue;
        }
        open.delete(id);
        const idle = board.apps[id]?.live?.containers.length === 0;
        if (row?.status === 'succeeded') say.info(`${name} v${row.release} ${idle ? 'is back, scaled to nothing as it was' : 'serves again'}, ${seconds(row.endedAt! - row.requestedAt)} after it was asked for`);
        else if (row) {
          const job = row.steps.findLast((step) => step.failure !== null)?.job;
          const why = row.failure ? `${row.failure.message} (${row.failure.code})` : `deploy ${deploy} was ${row.status} by ${row.endedBy ?? 'somebody'}`;
          say.warn(`${name} does not serve: ${why}`);
          troubles.push({ name, why, todo: `look: berth trace ${name} ${deploy}; again: berth ${job ? `jobs:retry ${job}` : `ps:rebuild ${name}`}` });
        }
      }
      if (open.size > 0) await changed;
    }
  } finally {
    stop();
  }
  return troubles;
}
