import { copyPlace } from '../../drivers/copies/place.js';
import type { CopyPlace, CopySubject } from '../../events/types/copy.events.js';
import type { Core } from '../core.js';
import type { Draft } from '../draft.js';
import { operate } from '../operations/operations.service.js';
import type { During } from '../backup/volumes.js';
import type { BackupWish } from './backup.kinds.js';
import { copies, type CopiesState } from './copies.decider.js';
import { copiesStream, groupOf, namer } from './subject.js';

/** @throws Rejected for what is neither a folder nor a bucket */
export const placeIn = (state: CopiesState, text: string): CopyPlace => copyPlace(text, { endpoint: state.auth?.endpoint ?? null, region: state.auth?.region ?? 'us-east-1' });

/** First parts of the keys of its copies: `volumes/blog/data`, `postgres/blog`. */
export async function folderOf(subject: CopySubject, { board, services }: Pick<Core, 'board' | 'services'>): Promise<string[]> {
  if (subject.type === 'volume') return ['volumes', (await board.now()).apps[subject.app]?.name ?? subject.app, subject.name];
  const row = (await services.now()).rows[subject.service];
  return row ? [row.type, row.name] : [subject.service];
}

/** Asks for a backup; answers the operation's number. @throws Rejected */
export async function askBackup(draft: Draft, subject: CopySubject, place: string, by: string, during?: During): Promise<number> {
  const group = groupOf(subject);
  const { state } = await draft.load(copies, copiesStream(group));
  const input: BackupWish = { subject, place: placeIn(state, place), folder: await folderOf(subject, draft.core), at: draft.core.now(), ...(during && { during }) };
  return operate(draft, group, { kind: 'backup', subject: (await namer(draft.core))(subject) ?? group, input, by });
}
