import { join } from 'node:path';
import type { Core } from '../core.js';
import type { Board } from '../read/board.projection.js';

/**
 * Where the app's deploy branch belongs, when that is not a pusher's business: at the newest commit that went live, if it came from an
 * archive or another server. Null: leave it. Pure.
 */
export function branchOf(board: Readonly<Board>, app: string): { deploy: number; branch: string; sha: string } | null {
  const last = board.deploys[app]?.findLast((d) => d.status === 'succeeded' && (d.kind === 'push' || d.kind === 'rebuild' || d.kind === 'rollback'));
  const { origin, branch, sha } = last?.source ?? {};
  if (!last || !origin || origin.type === 'image' || !branch || !sha || board.apps[app]?.branch !== branch) return null;
  return { deploy: last.deploy, branch, sha };
}

/** deploys whose branch was seen to be where it belongs: `<app>.<deploy>` */
const settled = new WeakMap<Core, Map<string, number>>();

/** Moves the deploy branch behind a deploy that nobody pushed; at once when it is there already. */
export async function settleBranch(core: Core, app: string): Promise<void> {
  if (!core.sources) return;
  const wanted = branchOf(await core.board.now(), app);
  const known = settled.get(core) ?? new Map<string, number>();
  settled.set(core, known);
  if (wanted === null || known.get(app) === wanted.deploy) return;
  const repo = join(core.config.root, 'repos', `${app}.git`);
  if ((await core.sources.commits.branch(repo, wanted.branch)) !== wanted.sha) await core.sources.commits.moveBranch(repo, wanted.branch, wanted.sha);
  known.set(app, wanted.deploy);
}
