import type { BuildCache } from '../../drivers/engine/engine.port.js';
import type { Board } from '../read/board.projection.js';

/** bytes; 0 = no limit */
export interface CacheLimits { readonly app: number; readonly total: number }

const GB = 1024 ** 3;

/** What is not said: a tenth of the engine's disk for all, but at least 2 GiB, and a quarter of that for one app. */
export function cacheLimits(said: { readonly app: number | null; readonly total: number | null }, disk: number): CacheLimits {
  const total = said.total ?? Math.max(2 * GB, Math.floor(disk / 10));
  return { total, app: said.app ?? Math.floor(total / 4) };
}

export interface Unwanted { readonly cache: BuildCache; /** its app's name, or id when that is gone */ readonly app: string; readonly why: 'its app is gone' | 'over the limit of an app' | 'over the limit of all' }

/**
 * Build caches to be removed: of apps that are gone, and those used longest ago while an app's or all of them are more than they may be.
 * Those of an app that is deploying now stay, but count. Only what bears this instance's mark is ever looked at. Pure.
 */
export function planCaches(board: Readonly<Board>, instance: string, caches: readonly BuildCache[], limits: CacheLimits): readonly Unwanted[] {
  const prefix = `${instance}/`;
  const unwanted: Unwanted[] = [];
  const ours = caches.filter(({ mark }) => mark.startsWith(prefix)).map((cache) => {
    const id = cache.mark.slice(prefix.length);
    const row = board.apps[id];
    // the engine does not say when a volume was used: with the app's last deploy
    const used = cache.used ?? Math.max(0, ...(board.deploys[id] ?? []).map(({ startedAt }) => startedAt ?? 0));
    return { cache, id, used, app: row?.name ?? id, gone: row === undefined, busy: row?.running !== null && row !== undefined };
  });
  const left = new Set(ours);
  const drop = (one: typeof ours[number], why: Unwanted['why']): void => { left.delete(one); unwanted.push({ cache: one.cache, app: one.app, why }); };
  for (const one of ours) if (one.gone) drop(one, 'its app is gone');
  const shrink = (some: readonly typeof ours[number][], limit: number, why: Unwanted['why']): void => {
    if (limit === 0) return;
    let sum = some.reduce((total, { cache }) => total + cache.bytes, 0);
    for (const one of some.filter(({ busy, cache }) => !busy && cache.bytes > 0).toSorted((a, b) => a.used - b.used)) {
      if (sum <= limit) return;
      drop(one, why);
      sum -= one.cache.bytes;
    }
  };
  for (const some of Map.groupBy([...left], ({ id }) => id).values()) shrink(some, limits.app, 'over the limit of an app');
  shrink([...left], limits.total, 'over the limit of all');
  return unwanted;
}
