import type { Space } from '../../drivers/disk/space.js';
import type { Certificate } from '../../drivers/router/haproxy.certificates.js';
import type { WorkRow } from '../../events/store.port.js';
import type { NewestBackup } from '../backup/newest.js';
import type { CopiesRow } from '../copies/copies.projection.js';
import { interval } from '../copies/schedule.js';
import type { Integrity } from '../audit/integrity.js';
import { seconds, when } from '../commands/words.js';
import { roomOn, roomText, type Disk } from '../server/room.js';
import { WORKER_KINDS, type WorkerStatus } from '../server/worker-status.js';
import { bad, ok, warn, type Check } from './check.js';

/** What was found is judged here. All of it pure; times in ms since the epoch. */

const DAY = 86_400_000;
/** days left of a certificate below which it is said */
const EXPIRES_SOON = 21;
/** age of the newest checkpoint or backup above which it is said */
const DAILY = 2 * DAY;
const WEEKLY = 8 * DAY;
/** silence of a worker, which speaks every 3 s, above which it hangs; after 10 s it is forgotten */
const SILENT_MS = 7000;
/** how long work may wait for a worker before it is said */
const LAG_MS = 10_000;
/** how far clocks may be apart */
const CLOCK_MS = 2000;

/** `3 days`, `5 h`, `40 s` */
export function age(ms: number): string {
  if (ms >= 2 * DAY) return `${Math.floor(ms / DAY)} days`;
  if (ms >= 2 * 3_600_000) return `${Math.floor(ms / 3_600_000)} h`;
  return ms >= 120_000 ? `${Math.floor(ms / 60_000)} min` : `${Math.max(0, Math.round(ms / 1000))} s`;
}

const UNIT = 'systemctl start berth-NAME, or sv start /etc/berth/sv/NAME';
export const START = (name: string): string => UNIT.replaceAll('NAME', name);

export function disk(which: Disk, space: Space): Check {
  const name = `disk (${which})`;
  const room = roomOn(which, space);
  const images = 'remove what nobody needs: docker image prune, docker builder prune, old backups; or give the disk more room';
  if (room === 'none') return bad(name, roomText(space), `new deploys are refused until there is room; what serves goes on serving${which === 'log' ? '. When it is quite full nothing can be changed, and running deploys wait' : ''}`, images);
  return room === 'low' ? warn(name, roomText(space), 'deploys will soon be refused', images) : ok(name, roomText(space));
}

export function certificates(list: readonly Certificate[], now: number): Check {
  if (list.length === 0) return ok('certificates', 'none loaded: the router serves plain HTTP only');
  const of = (c: Certificate): string => {
    const left = Math.floor((c.notAfter - now) / DAY);
    return `${c.names.join(', ') || c.subject}: ${left < 0 ? `expired ${-left} days ago` : `${left} days left`}${c.used ? '' : ' (not used)'}`;
  };
  const sorted = list.toSorted((a, b) => a.notAfter - b.notAfter);
  const text = sorted.map(of).join('; ');
  const used = sorted.filter((c) => c.used);
  const todo = 'renew it, and load it into the router';
  if (used.some((c) => c.notAfter < now)) return bad('certificates', text, 'browsers refuse these hosts', todo);
  return used.some((c) => c.notAfter - now < EXPIRES_SOON * DAY) ? warn('certificates', text, 'browsers will refuse these hosts when it has expired', todo) : ok('certificates', text);
}

/** @param all notifications, and why the last message of each did not arrive; null: it did, or there was none */
export function telling(all: readonly { readonly name: string; readonly channel: string; readonly failure: string | null }[]): Check {
  const failed = all.filter(({ failure }) => failure !== null);
  if (failed.length === 0) return ok('notifications', `${all.length} set up, what was last told by each arrived`);
  return warn('notifications', failed.map(({ name, channel, failure }) => `${name} (${channel}): ${failure}`).join('; '), 'people do not hear of what goes wrong', `see: berth notify:deliveries ${failed[0]!.name}; once mended: berth notify:test ${failed[0]!.name}`);
}

/** Certificates that builds are to trust beside the public ones. */
export interface Trusted { readonly subject: string; readonly notAfter: number }

/** @param bundle the file, its own (not public) certificates and how many it holds in all; `broken`: why it cannot be read */
export function buildCa(bundle: { readonly file: string; readonly own: readonly Trusted[]; readonly all: number } | { readonly file: string; readonly broken: string } | null, now: number): Check {
  const name = 'build CA';
  const todo = 'give BERTH_BUILD_CA in berth.env a PEM bundle, and start the workers anew';
  if (bundle === null) return ok(name, 'none handed to builds: they trust what their images trust');
  if ('broken' in bundle) return bad(name, `${bundle.file}: ${bundle.broken}`, 'every build fails', todo);
  if (bundle.all === 0) return bad(name, `${bundle.file} holds no certificate`, 'builds trust nobody: downloads fail', todo);
  // a distribution keeps some that are long dead
  const soon = bundle.own.filter((c) => c.notAfter > now - 30 * DAY).toSorted((a, b) => a.notAfter - b.notAfter)[0];
  const text = `${bundle.all} certificate${bundle.all === 1 ? '' : 's'} in ${bundle.file}${soon ? `, ${bundle.own.length} of them not public; the next to expire, ${when(soon.notAfter).slice(0, 10)}: ${soon.subject.replaceAll('\n', ', ')}` : ''}`;
  return soon && soon.notAfter - now < EXPIRES_SOON * DAY ? warn(name, text, 'builds that reach the network through it will fail', 'put its successor into the bundle') : ok(name, text);
}

export function workers(found: readonly WorkerStatus[] | null, version: string, now: number): Check {
  const start = 'systemctl start berth.target, or deploy/start.sh';
  if (found === null) return bad('workers', 'not known: Redis does not answer', 'see redis', START('redis'));
  const missing = WORKER_KINDS.filter((kind) => !found.some((w) => w.kind === kind));
  if (missing.length > 0) return bad('workers', `no ${missing.join(', no ')} worker was heard of in the last 10 s`, 'deploys or operations wait there; nothing is lost', `start them: ${start}`);
  const silent = found.filter((w) => now - w.seen > SILENT_MS);
  if (silent.length > 0) return warn('workers', silent.map((w) => `${w.name} (pid ${w.pid}) was last heard of ${age(now - w.seen)} ago`).join('; '), 'it hangs or was stopped; others take its work over when there are any', 'look at its log; kill it, and it is started again');
  const other = found.filter((w) => w.version !== version);
  if (other.length > 0) return warn('workers', other.map((w) => `${w.name} runs ${w.version ?? 'an older version'}, the API ${version}`).join('; '), 'an upgrade was not finished', 'start them anew: systemctl restart berth.target, or deploy/start.sh');
  return ok('workers', `${found.length} running, all of version ${version}, last heard of ${age(Math.max(...found.map((w) => now - w.seen)))} ago`);
}

/** How long the oldest row waits that somebody could be at. */
export function lag(open: readonly WorkRow[], now: number): number {
  const waiting = open.filter((row) => row.leaseUntil < now && Math.max(row.addedAt, row.notBefore) < now);
  return Math.max(0, ...waiting.map((row) => now - Math.max(row.addedAt, row.notBefore)));
}

export function queue(open: readonly WorkRow[], now: number): Check {
  const busy = open.filter((row) => row.leaseUntil >= now).length;
  const late = lag(open, now);
  const text = `${open.length} open, ${busy} worked on${late > 0 ? `, the oldest waits for ${age(late)}` : ''}`;
  return late > LAG_MS ? warn('queue', text, 'deploys wait for a worker', 'are the workers well? If they are busy, have more of them: BERTH_WORKERS_BUILD in /etc/berth/berth.env') : ok('queue', text);
}

/** @param firstAt of the log's first event; null: there is none */
export function logIntegrity({ problem, checked, head, checkpoint }: Integrity, firstAt: number | null, now: number): Check {
  const name = 'log integrity';
  if (problem) return bad(name, `${problem.message} (${problem.kind} at position ${problem.position})`, 'somebody changed the event log, or the disk did', 'berth audit:verify names the first such event; compare with a checkpoint kept elsewhere, or restore a backup');
  const scope = checked < head ? `sound up to event ${checked} of ${head}, the rest at the next look` : `sound up to event ${head}`;
  const daily = 'it is taken every day by itself: where it is not, see the API\'s log, or take it by hand: berth audit:checkpoint';
  if (checkpoint === null) {
    const text = `${scope}; no checkpoint was taken yet`;
    return firstAt !== null && now - firstAt > DAILY ? warn(name, text, 'nothing vouches for the log: whoever can write the database could have made it anew', daily) : ok(name, text);
  }
  const text = `${scope}; the last verified checkpoint is ${age(now - checkpoint.takenAt)} old and covers ${checkpoint.position} events`;
  return now - checkpoint.takenAt > DAILY ? warn(name, text, 'nothing vouches for what came since', daily) : ok(name, text);
}

/** @param firstAt of the log's first event: a server that is new has none yet */
export function backup({ takenAt, to, failed, restoring }: NewestBackup, firstAt: number | null, now: number): Check {
  const todo = 'take one every day, and keep it on another machine: berth help backup';
  if (restoring) return warn('backup', 'a restore has not ended yet', 'apps come back one after another', 'wait for it: berth backup:list');
  if (failed !== null) return warn('backup', `the last one failed: ${failed}`, 'what came since the one before is lost if this machine dies', `see: berth backup:list; ${todo}`);
  if (takenAt === null) return firstAt !== null && now - firstAt > DAILY ? warn('backup', 'none was ever taken', 'if this machine dies, everything is lost', todo) : ok('backup', 'none was taken yet');
  const text = `the last one is ${age(now - takenAt)} old: ${to}`;
  return now - takenAt > WEEKLY ? warn('backup', text, 'what came since is lost if this machine dies', todo) : ok('backup', text);
}

/** @param apps that stand on the stack */
export function stack(apps: readonly { readonly app: string; readonly behind: boolean }[]): Check {
  const behind = apps.filter((one) => one.behind).map(({ app }) => app);
  if (behind.length === 0) return ok('stack', `${apps.length} ${apps.length === 1 ? 'app stands' : 'apps stand'} on it, none is behind`);
  return warn('stack', `behind: ${behind.join(', ')}`, 'they run on packages of before, maybe with holes that were mended since', 'see: berth stack:report; then: berth stack:upgrade --all --no-build');
}

/** @param newestAt of the log's newest event; `moved`: ms by which the clock was moved since this process started */
export function clock(now: number, newestAt: number | null, moved: number): Check {
  const todo = 'let it be set by NTP: timedatectl set-ntp true, or chrony';
  const ahead = newestAt === null ? 0 : newestAt - now;
  if (ahead > CLOCK_MS) return bad('clock', `${when(now)} UTC, but the newest event is of ${when(newestAt!)} UTC`, `the clock was put back by ${age(ahead)}: work that waits for its time waits longer, and times of the log are not in order`, todo);
  if (Math.abs(moved) > CLOCK_MS) return warn('clock', `${when(now)} UTC, put ${moved > 0 ? 'forward' : 'back'} by ${seconds(Math.abs(moved))} since this process started`, 'a jump hands running steps to other workers, once; nothing is lost', todo);
  return ok('clock', `${when(now)} UTC`);
}

type CopyStanding = Pick<CopiesRow, 'group' | 'schedule' | 'copies' | 'failed'> & { readonly name: string };

/** Backups of volumes and services: of one that has a schedule the newest that is good must not be older than two of its intervals. */
export function copies(rows: readonly CopyStanding[], now: number): Check {
  const check = 'copies';
  const wrong: string[] = [];
  const worth: string[] = [];
  for (const { name, schedule, copies: there, failed } of rows) {
    const taken = there.filter(({ safety }) => !safety);
    const good = taken.findLast(({ failure }) => failure === null);
    if (taken.length > 0 && !good) wrong.push(`${name}: no backup can be brought back`);
    else if (failed) worth.push(`${name}: ${failed.what === 'verify' ? `the trial of backup ${failed.copy}` : 'the last one'} failed ${age(now - failed.at)} ago: ${failed.failure.message}`);
    if (!schedule) continue;
    const limit = 2 * interval(schedule, now);
    if (now - Math.max(good?.at ?? 0, schedule.since) > limit) worth.push(good ? `${name}: the newest is ${age(now - good.at)} old` : `${name}: none was taken in ${age(now - schedule.since)}`);
  }
  const means = 'what came since is lost when a disk or a person fails';
  const todo = 'see: berth storage:backups <app> <name>, berth <service>:backups <name>; then berth jobs:failed';
  if (wrong.length > 0) return bad(check, [...wrong, ...worth].join('; '), means, todo);
  if (worth.length > 0) return warn(check, worth.join('; '), means, todo);
  const newest = rows.flatMap(({ name, copies: there }) => there.filter(({ safety }) => !safety).slice(-1).map(({ at }) => `${name} ${age(now - at)} old`));
  return ok(check, newest.join(', ') || 'none was taken yet');
}

/** Passwords of services that were given another one, and are let in all the same. */
export function passwords(all: readonly { readonly name: string; readonly why: string; readonly passes: boolean; readonly todo: string | null }[]): Check {
  const detail = all.map(({ name, why }) => `${name}: old password still valid: ${why}`).join('; ');
  const held = all.filter(({ passes }) => !passes);
  if (held.length === 0) return ok('passwords', detail);
  return warn('passwords', detail, 'whoever knows it gets in; what has it goes on working', held.map(({ todo }) => todo).filter((todo) => todo !== null).join('; ') || 'see: berth jobs:failed');
}
