import type { CopySubject } from '../../events/types/copy.events.js';
import type { Core } from '../core.js';

/** The group whose operations work on it, and whose stream `copies-<group>` knows its backups. */
export const groupOf = (subject: CopySubject): string => (subject.type === 'volume' ? `volume-${subject.app}-${subject.name}` : subject.service);
export const copiesStream = (group: string): string => `copies-${group}`;

/** For people: `volume blog/data`, `postgres blog`; null for what is not there any more. */
export async function namer({ board, services }: Pick<Core, 'board' | 'services'>): Promise<(subject: CopySubject) => string | null> {
  const { apps } = await board.now();
  const { rows } = await services.now();
  return (subject) => {
    if (subject.type === 'service') return rows[subject.service] ? `${rows[subject.service]!.type} ${rows[subject.service]!.name}` : null;
    return apps[subject.app] ? `volume ${apps[subject.app]!.name}/${subject.name}` : null;
  };
}

/** App of a volume's group; null for another group. */
export const appOfGroup = (group: string): string | null => /^volume-([a-z0-9]+)-/.exec(group)?.[1] ?? null;

const pad = (text: string): string => text.replaceAll(/[^A-Za-z0-9._-]/g, '-');
/** `volumes/blog/data/2026-11-23T03-00-00Z-7.tar.age` */
export function keyOf(folder: readonly string[], at: number, operation: number, ending: string): string {
  return [...folder.map(pad), `${new Date(at).toISOString().slice(0, 19).replaceAll(':', '-')}Z-${operation}${ending}`].join('/');
}
