import type { Core } from '../core.js';
import { age } from '../doctor/judge.js';

/** How it is with the backups of a group, in a few words: for reports. */
export async function backupStanding({ copies, now }: Pick<Core, 'copies' | 'now'>, group: string): Promise<string> {
  const row = (await copies.now()).groups[group];
  const newest = row?.copies.findLast(({ safety }) => !safety);
  const said = [
    newest ? `number ${newest.copy}, ${age(now() - newest.at)} old${newest.failure ? `, its trial failed: ${newest.failure.message}` : newest.drilledAt === null ? '' : `, tried ${age(now() - newest.drilledAt)} ago`}` : 'none',
    ...(row?.failed?.what === 'backup' ? [`the last one failed: ${row.failed.failure.message}`] : []),
    ...(row?.schedule ? [`at ${row.schedule.cron}`] : []),
  ];
  return said.join('; ');
}
