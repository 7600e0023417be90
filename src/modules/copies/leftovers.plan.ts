import type { Board } from '../read/board.projection.js';
import type { Works } from '../operations/works.projection.js';
import { generationOf } from '../storage/storage.decider.js';

export interface FoundVolume { readonly name: string; readonly app: string | null; readonly storage: string | null; /** job that tries a backup in it */ readonly drill: string | null }

/** Whether an operation runs, waits, or may still be retried: of those that failed the newest of its group, for a day. */
function wanted(works: Readonly<Works>, group: string, operation: number, now: number): boolean {
  const rows = works.groups[group]?.rows ?? [];
  const row = rows.find((one) => one.operation === operation);
  if (!row) return false;
  if (row.status === 'running' || row.status === 'waiting') return true;
  return row.status === 'failed' && row === rows.at(-1) && now - (row.endedAt ?? now) < 86_400_000;
}

/** Spool folders (`<group>.<operation>`) that no operation needs. Look first, then ask the log. Pure. */
export const idleSpools = (names: readonly string[], works: Readonly<Works>, now: number): string[] => names.filter((name) => {
  const dot = name.lastIndexOf('.');
  return !wanted(works, name.slice(0, dot), Number(name.slice(dot + 1)), now);
});

/**
 * Volumes of trials and restores that nobody needs: filled for an operation that is over, or replaced by another one that every container has. Pure.
 * @param found those that no container has
 */
export function idleVolumes(found: readonly FoundVolume[], board: Readonly<Board>, works: Readonly<Works>, now: number): string[] {
  return found.filter(({ name, app, storage, drill }) => {
    if (drill !== null) {
      const [group = '', operation = ''] = drill.split('.');
      const row = works.groups[group]?.rows.find((one) => one.operation === Number(operation));
      return row?.status !== 'running';
    }
    if (app === null || storage === null) return false;
    const generation = generationOf(name);
    const current = board.generations[`${app}.${storage}`] ?? 0;
    if (generation === current) return false;
    // not taken into use, or not yet
    if (generation > current) return !wanted(works, `volume-${app}-${storage}`, generation, now);
    const row = board.apps[app];
    if (!row) return true;
    const serving = row.releases.find(({ number }) => number === row.live?.release)?.spec.mounts ?? [];
    return row.running === null && !board.deploys[app]?.some(({ status }) => status === 'waiting') && !serving.some((mount) => mount.name === storage && (mount.generation ?? 0) === generation);
  }).map(({ name }) => name);
}
