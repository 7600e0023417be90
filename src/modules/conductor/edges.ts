import { edgeOf, openSettings, type Edge } from '../../drivers/router/router.settings.js';
import { Unreadable, type SecretBox } from '../../events/seal.js';
import type { Sealed } from '../../events/sealed.js';
import type { Board } from '../read/board.projection.js';

/** In clear; null when its key is gone. */
export function opened(box: Pick<SecretBox, 'unseal'>, sealed: Sealed): Promise<string | null> {
  return box.unseal(sealed).catch((error: unknown) => {
    if (error instanceof Unreadable) return null;
    throw error;
  });
}

/** What the router does before it asks them, of all live apps, as the log says: app id → rules. */
export async function edges(box: Pick<SecretBox, 'unseal'>, board: Readonly<Board>): Promise<ReadonlyMap<string, Edge>> {
  const live = Object.values(board.apps).filter((app) => app.live?.router);
  return new Map(await Promise.all(live.map(async ({ id, live: now }) => [id, edgeOf(await openSettings(now!.router!, (hash) => opened(box, hash)), now!.hosts)] as const)));
}
