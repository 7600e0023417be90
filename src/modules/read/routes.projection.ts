import type { Recorded } from '../../events/event.js';
import { applyToBoard, BOARD, emptyBoard, type Board } from './board.projection.js';
import type { Shape } from './projection.js';

/**
 * The board without what only people look at: releases, and the steps of deploys that ended. What serves, and which deploy is switching, is in
 * it; a process that asks for nothing else needs a tenth of the memory.
 */
function applyToRoutes(board: Board, event: Recorded): void {
  applyToBoard(board, event);
  const { app, deploy } = event.data as { app?: string; deploy?: number };
  const row = deploy === undefined ? undefined : board.deploys[app ?? '']?.[deploy - 1];
  if (!row) return;
  board.apps[app!]!.releases = [];
  // a failed one may be retried, and goes on with what it had
  if (row.status !== 'succeeded' && row.status !== 'cancelled' && row.status !== 'superseded') return;
  Object.assign(row, { steps: [], failure: null, subject: null, trace: '' });
}

export const ROUTES: Shape<Board> = { version: '1', initial: emptyBoard, apply: applyToRoutes, ...(BOARD.skips && { skips: [...BOARD.skips, 'ConfigSet', 'ConfigUnset'] }) };
