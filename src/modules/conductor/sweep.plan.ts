import { isKept } from '../deploys/pipeline.state.js';
import type { Board } from '../read/board.projection.js';

/** a push that takes longer to send its objects is given up, ms */
export const PUSH_MS = 24 * 3_600_000;

/** earlier releases whose images are kept for a rollback, the live one not counted; `images:keep` says another number */
export const KEEP_RELEASES = 5;

/** Numbers of the releases whose images are never taken away, as the setting `pinned` has them: `3,12`. */
export const pinnedOf = (settings: Readonly<Record<string, string>>): number[] => (settings['pinned'] ?? '').split(',').filter((text) => text !== '').map(Number);
/** How many earlier images are kept for an app. */
export const keptOf = (board: Readonly<Board>, settings: Readonly<Record<string, string>>): number => Number(settings['keep-images'] ?? board.server.settings['keep-images'] ?? KEEP_RELEASES);

export interface Found {
  readonly containers: readonly { readonly id: string; readonly app: string; readonly deploy: number }[];
  readonly images: readonly { readonly id: string; readonly app: string; readonly deploy: number }[];
  readonly networks: readonly { readonly name: string; readonly app: string }[];
  /** those that no container has; of a deploy: a container's own, else its app's for all deploys */
  readonly volumes: readonly { readonly name: string; readonly app: string; readonly deploy: number | null; /** what the app calls it; null: no app's storage */ readonly storage?: string | null }[];
  /** folders of source archives, named by the clone job: `<app>.<deploy>.clone[.r1][.a2]` */
  readonly sources: readonly string[];
  /** folders of pushed objects that were not taken over, whole paths, and when something last changed in them, ms since the epoch */
  readonly quarantines: readonly { readonly path: string; readonly changed: number }[];
  /** app ids that have a repository, logs */
  readonly repositories: readonly string[];
  readonly logs: readonly string[];
}

export interface Sweep {
  readonly containers: readonly string[]; readonly images: readonly string[]; readonly networks: readonly string[]; readonly volumes: readonly string[];
  readonly sources: readonly string[]; readonly quarantines: readonly string[]; readonly repositories: readonly string[]; readonly logs: readonly string[];
}

/** Something that nobody owns. */
export interface Leftover { readonly kind: 'container' | 'image' | 'network' | 'volume' | 'pushed objects' | 'source' | 'repository' | 'logs' | 'build cache'; readonly name: string; /** where it is not plain */ readonly why?: string; /** an image's with the layers that it shares; null: not known */ readonly bytes: number | null }

/** git tells of a folder by another path than ours where a symbolic link leads there; its last part is random */
const lastName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/**
 * What is there and belongs to nobody: neither to what is live, nor to a deploy under way, nor to a job that may be retried, nor to a
 * release one may go back to. Look first, then ask the board: what was made since is then not in `found`. Pure.
 */
export function planSweep(board: Readonly<Board>, found: Found, now: number): Sweep {
  const busy = (app: string, deploy: number): boolean => {
    const status = board.deploys[app]?.[deploy - 1]?.status;
    return status === 'running' || status === 'waiting';
  };
  const retriable = new Set(Object.values(board.failed).filter(isKept).map((job) => `${job.app}.${job.deploy}`));
  const open = (app: string, deploy: number): boolean => busy(app, deploy) || retriable.has(`${app}.${deploy}`);
  // a retry as a deploy of its own works on what the failed one made
  const madeFor = (wanted: (app: string, deploy: number) => boolean): ReadonlySet<string> => new Set(Object.entries(board.deploys).flatMap(([app, deploys]) => deploys
    .flatMap(({ deploy, madeBy }) => (wanted(app, deploy) ? [`${app}.${deploy}`, `${app}.${madeBy}`] : []))));
  const forOpen = madeFor(open);
  const forLive = madeFor((app, deploy) => board.apps[app]?.live?.deploy === deploy);
  const live = new Set(Object.values(board.apps).flatMap((app) => app.live?.containers.map((c) => c.id) ?? []));
  const images = new Set(Object.values(board.apps).flatMap((app) => {
    const current = app.releases.find((r) => r.number === app.live?.release)?.spec.imageId;
    const earlier = [...new Set(app.releases.filter((r) => r.wasLive).map((r) => r.spec.imageId).reverse())].filter((id) => id !== current).slice(0, keptOf(board, app.settings));
    const pinned = new Set(pinnedOf(app.settings));
    return [...(current === undefined ? [] : [current]), ...earlier, ...app.releases.filter((r) => pinned.has(r.number)).map((r) => r.spec.imageId)];
  }));
  // what is under way, or may be retried, needs the image that it built, took over from an earlier deploy, or goes back to
  for (const [app, deploys] of Object.entries(board.deploys)) {
    for (const { kind, deploy, source, imageId } of deploys) {
      if (imageId && open(app, deploy)) images.add(imageId);
      const target = kind === 'rollback' && open(app, deploy) ? board.apps[app]?.releases.find((r) => r.number === source.release) : undefined;
      if (target) images.add(target.spec.imageId);
    }
  }
  const source = (folder: string): boolean => {
    const [app = '', deploy = ''] = folder.split('.');
    return forOpen.has(`${app}.${deploy}`) || forLive.has(`${app}.${deploy}`);
  };
  // a deploy under way may take over an image that an earlier one has made
  const building = (app: string): boolean => {
    const row = board.deploys[app]?.[(board.apps[app]?.running ?? 0) - 1];
    return row !== undefined && (row.kind === 'push' || row.kind === 'rebuild');
  };
  // a push waits for its deploy, however long that takes
  const held = new Set(Object.entries(board.deploys).flatMap(([app, deploys]) => deploys.flatMap(({ deploy, source }) => (source.quarantine !== null && busy(app, deploy) ? [lastName(source.quarantine)] : []))));
  const gone = (app: string): boolean => board.apps[app] === undefined;
  return {
    containers: found.containers.filter((c) => !live.has(c.id) && !busy(c.app, c.deploy)).map((c) => c.id),
    images: found.images.filter((i) => !images.has(i.id) && !building(i.app) && !forOpen.has(`${i.app}.${i.deploy}`)).map((i) => i.id),
    networks: found.networks.filter((n) => gone(n.app)).map((n) => n.name),
    // data goes only when somebody said so; what is no app's is somebody else's to remove
    volumes: found.volumes.filter((v) => (v.storage ? board.doomed.includes(`${v.app}.${v.storage}`) : v.app !== '' && (gone(v.app) || (v.deploy !== null && !busy(v.app, v.deploy))))).map((v) => v.name),
    quarantines: found.quarantines.filter((q) => now - q.changed > PUSH_MS && !held.has(lastName(q.path))).map((q) => q.path),
    sources: found.sources.filter((folder) => !source(folder)),
    repositories: found.repositories.filter(gone),
    logs: found.logs.filter(gone),
  };
}
