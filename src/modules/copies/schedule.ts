import { CronExpressionParser } from 'cron-parser';
import { Rejected } from '../../events/decider.js';

/** Times of a cron line in a time zone, as the queue's own schedulers count them (the same library). */

export interface Times { readonly cron: string; /** IANA name */ readonly zone: string }

const parsed = ({ cron, zone }: Times, now: number) => CronExpressionParser.parse(cron, { tz: zone, currentDate: new Date(now) });

/** @throws Rejected `schedule.cron`, `schedule.zone` */
export function timesOf(line: string, zone: string): Times {
  const cron = line.trim().replaceAll(/\s+/g, ' ');
  const example = 'minute, hour, day, month, weekday: "0 3 * * *" is every night at three; @daily and @hourly will do, too';
  if (!cron.startsWith('@') && cron.split(' ').length !== 5) throw new Rejected('schedule.cron', `'${line.slice(0, 80)}' is no schedule`, example);
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
  } catch {
    throw new Rejected('schedule.zone', `'${zone.slice(0, 60)}' is no time zone`, 'for example: --tz Europe/Berlin');
  }
  const times = { cron, zone };
  try {
    parsed(times, Date.now()).next();
  } catch (error) {
    throw new Rejected('schedule.cron', `'${line.slice(0, 80)}' is no schedule: ${(error as Error).message}`, example);
  }
  return times;
}

/** The first time after `now`, ms since the epoch. */
export const nextTime = (times: Times, now: number): number => parsed(times, now).next().getTime();

/** The newest time that came, up to `now`; null: none since `since`, which itself does not count. */
export function dueTime(times: Times, since: number, now: number): number | null {
  const last = parsed(times, now + 1).prev().getTime();
  return last > since ? last : null;
}

/** The time between two runs at `now`, ms; the longer of the last and the next, for lines that are uneven. */
export function interval(times: Times, now: number): number {
  const cron = parsed(times, now);
  const [first, second] = [cron.next().getTime(), cron.next().getTime()];
  const last = parsed(times, now + 1).prev().getTime();
  return Math.max(second - first, first - last);
}

/** The server's own zone. */
export const localZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone;
