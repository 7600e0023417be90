import type { BuildPlan, StandsOn } from '../../events/types/deploy.events.js';
import { isOwn } from '../../drivers/stack/stack.js';
import { setPair, STACK_IMAGES } from '../../plugins/builders/foreign-stack.js';
import type { StackImagePair } from '../../plugins/builders/builder.port.js';
import { pipelineStream, withGlobalStack } from '../apps/app-context.js';
import { server } from '../server/server.decider.js';
import type { Core } from '../core.js';
import type { AppRow } from '../read/board.projection.js';

/** An image of the stack under an app's live release. */
export interface Under {
  readonly image: string;
  /** the one that the release was built on */
  readonly built: string;
  /** the one that is on this machine now, null for none */
  readonly now: string | null;
}
export interface Standing {
  readonly app: string; readonly id: string; readonly release: number;
  /** empty for a release of before this was recorded */
  readonly images: readonly Under[];
  /** images that are set for the next build instead of Berth's own; null: its own */
  readonly set: StackImagePair | null;
  /** a build of today would stand on something else */
  readonly behind: boolean;
}


const liveRelease = ({ live, releases }: AppRow): AppRow['releases'][number] | undefined => releases.find(({ number }) => number === live?.release);

/** Compares what a release was built on with what is there now. Pure. */
export function standing(row: Pick<AppRow, 'name' | 'id'>, release: number, stack: StandsOn, set: StackImagePair | null, now: ReadonlyMap<string, string>): Standing {
  const images = Object.entries(stack).map(([image, built]) => ({ image, built, now: now.get(image) ?? null }));
  // set to others since: what was recorded are the two that were set, or images of ours
  const moved = set === null ? images.some(({ image }) => !isOwn(image)) : images.some(({ image }) => image !== set.build && image !== set.run);
  return { app: row.name, id: row.id, release, images, set, behind: moved || images.some((under) => under.now !== null && under.now !== under.built) };
}

/** How the live releases of apps stand to the stack of now, by name; those that stand on none of its images are left out. */
export async function standings(core: Core, rows: readonly AppRow[]): Promise<Standing[]> {
  const live = rows.flatMap((row) => { const release = liveRelease(row); return release ? [{ row, release }] : []; }).toSorted((a, b) => (a.row.name < b.row.name ? -1 : 1));
  const now = await core.stack?.versions(live.flatMap(({ release }) => Object.keys(release.spec.stack ?? {}))) ?? new Map<string, string>();
  const global = (await core.repository.load(server, 'server')).state;
  const found: Standing[] = [];
  for (const { row, release } of live) {
    const { stack } = release.spec;
    const set = setPair(withGlobalStack(row.settings, global)[STACK_IMAGES]);
    if (stack === undefined) { if (await builtByBuildpack(core, row.id, release.deploy)) found.push({ app: row.name, id: row.id, release: release.number, images: [], set, behind: true }); }
    else if (Object.keys(stack).length > 0) found.push(standing(row, release.number, stack, set, now));
  }
  return found;
}

/** Of a release of before versions were recorded: whether it stands on the stack at all. */
async function builtByBuildpack(core: Core, app: string, deploy: number): Promise<boolean> {
  // scaled or configured since: what was built is some deploys back
  const built = (await core.store.readStream(pipelineStream(app))).findLast(({ type, data }) => type === 'BuildpackDetected' && (data as { deploy: number }).deploy <= deploy);
  const builder = (built?.data as { output: BuildPlan } | undefined)?.output.builder;
  return builder === 'buildpack' || builder === 'classic-buildpack';
}
