import { Rejected } from '../../events/decider.js';
import type { CopySubject } from '../../events/types/copy.events.js';
import type { Board } from '../read/board.projection.js';

/** The group whose operations work on it, and whose stream `copies-<group>` knows its backups. */
export const groupOf = (subject: CopySubject): string => (subject.type === 'volume' ? `volume-${subject.app}-${subject.name}` : subject.service);
export const copiesStream = (group: string): string => `copies-${group}`;

/** For people; null when it is not there any more. */
export function nameOf(subject: CopySubject, board: Readonly<Board>): string | null {
  if (subject.type === 'service') return null;
  const app = board.apps[subject.app];
  return app ? `volume ${app.name}/${subject.name}` : null;
}

/** App of a volume's group; null for another group. */
export const appOfGroup = (group: string): string | null => /^volume-([a-z0-9]+)-/.exec(group)?.[1] ?? null;

const pad = (text: string): string => text.replaceAll(/[^A-Za-z0-9._-]/g, '-');
/** `volumes/blog/data/2026-11-23T03-00-00Z-7.tar.age` */
export function keyOf(folder: readonly string[], at: number, operation: number, ending: string): string {
  return [...folder.map(pad), `${new Date(at).toISOString().slice(0, 19).replaceAll(':', '-')}Z-${operation}${ending}`].join('/');
}

/** @throws Rejected unless the kind of subject is known here */
export function volumeOf(subject: CopySubject): Extract<CopySubject, { type: 'volume' }> {
  if (subject.type !== 'volume') throw new Rejected('backup.subject', 'this is no volume');
  return subject;
}
