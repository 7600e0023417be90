import { copyPlace } from '../../drivers/copies/place.js';
import type { CopyPlace, CopySubject } from '../../events/types/copy.events.js';
import type { Board } from '../read/board.projection.js';
import type { Draft } from '../draft.js';
import { operate } from '../operations/operations.service.js';
import type { During } from '../backup/volumes.js';
import type { BackupWish } from './backup.kinds.js';
import { copies, type CopiesState } from './copies.decider.js';
import { copiesStream, groupOf, nameOf } from './subject.js';

/** @throws Rejected for what is neither a folder nor a bucket */
export const placeIn = (state: CopiesState, text: string): CopyPlace => copyPlace(text, { endpoint: state.auth?.endpoint ?? null, region: state.auth?.region ?? 'us-east-1' });

/** First parts of the keys of its copies: `volumes/blog/data`. */
export function folderOf(subject: CopySubject, board: Readonly<Board>): string[] {
  return subject.type === 'volume' ? ['volumes', board.apps[subject.app]?.name ?? subject.app, subject.name] : [subject.service];
}

/** Asks for a backup; answers the operation's number. @throws Rejected */
export async function askBackup(draft: Draft, subject: CopySubject, place: string, by: string, during?: During): Promise<number> {
  const group = groupOf(subject);
  const { state } = await draft.load(copies, copiesStream(group));
  const board = await draft.core.board.now();
  const input: BackupWish = { subject, place: placeIn(state, place), folder: folderOf(subject, board), at: draft.core.now(), ...(during && { during }) };
  return operate(draft, group, { kind: 'backup', subject: nameOf(subject, board) ?? group, input, by });
}
