import { command, forget, type CommandContext } from '../commands/command.js';
import type { Core } from '../core.js';
import { bytes, seconds, table } from '../commands/words.js';
import { STEPS } from '../../events/types/deploy.events.js';
import { drift } from '../drift/drift.decider.js';
import { driftStream } from '../drift/reconciler.js';
import { stuck } from './stuck.js';
import { audit } from '../audit/audit.decider.js';
import { AUDIT } from '../audit/checkpoint.js';
import { newestBackup } from '../backup/newest.js';

class NoInput {}

export type Health = 'ok' | 'warn' | 'bad';
export interface Check { readonly check: string; readonly health: Health; readonly detail: string; readonly todo: string | null }

/** free share of a disk below which it is said, and below which new deploys are refused */
const DISK_WARN = 0.15;
export const DISK_BAD = 0.05;
/** bytes that must be free, however large the disk */
export const DISK_FLOOR = 500 * 1024 * 1024;

const ok = (check: string, detail: string): Check => ({ check, health: 'ok', detail, todo: null });
const bad = (check: string, detail: string, todo: string, health: Health = 'bad'): Check => ({ check, health, detail, todo });

async function probe(check: string, ask: (() => Promise<string>) | undefined, todo: string): Promise<Check> {
  if (!ask) return bad(check, 'not asked: the conductor does not run in this process', 'is another API process running?', 'warn');
  try {
    return ok(check, await ask());
  } catch (error) {
    return bad(check, (error as Error).message, todo);
  }
}

function disk(check: string, { path, free, total }: { path: string; free: number; total: number }): Check {
  const detail = `${bytes(free)} of ${bytes(total)} free at ${path}`;
  const share = free / total;
  if (share < DISK_BAD || free < DISK_FLOOR) return bad(check, detail, 'make room: new deploys are refused until there is');
  return share < DISK_WARN ? bad(check, detail, 'make room soon', 'warn') : ok(check, detail);
}

/** a backup that is older is said to be old, ms */
const BACKUP_OLD = 8 * 86_400_000;

async function backup(core: Core): Promise<Check> {
  const { takenAt, to, failed, restoring } = await newestBackup(core);
  if (restoring) return bad('backup', 'a restore has not ended yet', 'it goes on by itself: berth backup:list', 'warn');
  if (failed !== null) return bad('backup', `the last one failed: ${failed}`, 'see: berth backup:list', 'warn');
  if (takenAt === null) return bad('backup', 'none was ever taken', 'take one every day: berth help backup', 'warn');
  const old = core.now() - takenAt;
  return old > BACKUP_OLD ? bad('backup', `${seconds(old)} old: ${to}`, 'take one every day: berth help backup', 'warn') : ok('backup', `${seconds(old)} old: ${to}`);
}

/** Everything worth checking, with what to do about it. Looks, changes nothing. */
async function examine({ core }: CommandContext): Promise<Check[]> {
  const now = core.now();
  const { probes } = core;
  const board = await core.board.now();
  const checks: Check[] = [
    await probe('engine', probes?.engine, 'start it: systemctl start docker, or sv start /etc/berth/sv/docker'),
    await probe('redis', probes?.redis, 'start it: systemctl start berth-redis, or sv start /etc/berth/sv/redis. Nothing is lost, deploys wait'),
    await probe('router', probes?.router, 'start it: systemctl start berth-router, or sv start /etc/berth/sv/router'),
  ];
  for (const [name, space] of Object.entries((await probes?.space()) ?? {})) checks.push(disk(name, space));
  const workers = await core.workers?.().catch(() => []) ?? [];
  const missing = STEPS.filter((step) => !workers.some((w) => w.kind === step));
  checks.push(missing.length === 0 ? ok('workers', `${workers.length} running`) : bad('workers', `no ${missing.join(', no ')} worker was heard of in the last 10 s`, 'start them: systemctl start berth.target, or deploy/start.sh'));
  const open = await core.store.openWork();
  const oldest = Math.max(0, ...open.filter((row) => row.state === 'todo').map((row) => now - Math.max(row.addedAt, row.notBefore)));
  checks.push(oldest > 10_000 ? bad('queue', `${open.length} open, the oldest is due for ${Math.round(oldest / 1000)} s`, 'more workers: BERTH_WORKERS_BUILD in /etc/berth/berth.env', 'warn') : ok('queue', `${open.length} open`));
  const held = stuck(board, open, now);
  checks.push(held.length === 0 ? ok('stuck', 'nothing is stuck') : bad('stuck', held.map((s) => `${s.app}${s.deploy === null ? '' : ` deploy ${s.deploy}`}: ${s.why}`).join('; '), 'this should be impossible: please report it with berth events'));
  const drifting: string[] = [];
  const looping: string[] = [];
  for (const app of Object.values(board.apps)) {
    const { state } = await core.repository.load(drift, driftStream(app.id));
    const found = Object.values(state.open);
    if (found.length > 0) drifting.push(`${app.name}: ${found.map((f) => `${f.subject} ${f.what.replace('container-', '')}`).join(', ')}`);
    if (state.looping && found.length > 0) looping.push(app.name);
  }
  checks.push(drifting.length === 0 ? ok('drift', 'what runs is what the log says') : bad('drift', drifting.join('; '), 'it is being repaired: berth events --type RepairStarted', 'warn'));
  if (looping.length > 0) checks.push(bad('crash loops', looping.join(', '), 'look: berth logs <app>; then push a fix or roll back'));
  const failed = Object.keys(board.failed).length;
  checks.push(failed === 0 ? ok('failed jobs', 'none') : bad('failed jobs', `${failed} can be retried or discarded`, 'see: berth jobs:failed', 'warn'));
  checks.push(await backup(core));
  const { failed: broken } = (await core.repository.load(audit, AUDIT)).state;
  if (broken) checks.push(bad('log integrity', `${broken.message} (${broken.kind} at position ${broken.position})`, 'berth audit:verify; compare with a checkpoint kept elsewhere, or restore a backup'));
  checks.push(ok('event log', `${await core.store.head()} positions, ${Object.keys(board.apps).length} apps`));
  return checks;
}

const MARK: Readonly<Record<Health, string>> = { ok: '✔', warn: '!', bad: '✖' };

const doctor = command({
  name: 'doctor', summary: 'Check everything worth checking, and say what to do; exit 1 when something is bad', example: 'berth doctor', input: NoInput, http: { method: 'GET', path: '/doctor' }, reads: true,
  run: examine,
  render: (checks, out) => {
    for (const line of table([' ', 'CHECK', 'STATE'], checks.map((c) => [MARK[c.health], c.check, c.detail]))) out.line(line);
    const sick = checks.filter((c) => c.todo !== null);
    if (sick.length > 0) out.line();
    for (const c of sick) out.warn(`${c.check}: ${c.todo}`);
    return checks.some((c) => c.health === 'bad') ? 1 : 0;
  },
});

export const doctorCommands = [forget(doctor)];
