import { X509Certificate } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { VERSION } from '../../version.js';
import { keptIn } from '../../drivers/plugin/plugin.room.js';
import { newestBackup } from '../backup/newest.js';
import { namer } from '../copies/subject.js';
import { integrity } from '../audit/integrity.js';
import { NOTIFICATIONS, notifications, notifyGroup } from '../notifications/notification.decider.js';
import { isOverOperation } from '../operations/works.projection.js';
import { drift } from '../drift/drift.decider.js';
import type { Core } from '../core.js';
import { dataFolder } from '../plugins/active.js';
import { DOES_NOT_LOAD } from '../plugins/plugin.decider.js';
import { standing, toldTrouble } from '../plugins/projected.js';
import { stillValid } from '../services/password-users.js';
import { standings } from '../stack/standing.js';
import { bad, ok, warn, type Check } from './check.js';
import * as judge from './judge.js';
import { START } from './judge.js';
import { stuck } from './stuck.js';

async function probe(check: string, ask: (() => Promise<string>) | undefined, means: string, todo: string): Promise<Check> {
  if (!ask) return warn(check, 'not asked: the conductor does not run in this process', 'this says nothing about it', 'ask the API: berth doctor');
  try {
    return ok(check, await ask());
  } catch (error) {
    return bad(check, (error as Error).message, means, todo);
  }
}

/** Everything worth checking, with what it means and what to do about it. Looks, changes nothing. */
export async function examine(core: Core): Promise<Check[]> {
  const now = core.now();
  const { probes } = core;
  const board = await core.board.now();
  const [first] = await core.store.readAll(0, 1);
  const head = await core.store.head();
  const [newest] = head > 0 ? await core.store.readAll(head - 1, 1) : [];
  const checks: Check[] = [
    await probe('engine', probes?.engine, 'nothing can be built or started; what the router leads to may be gone', 'start it: systemctl start docker, or sv start /etc/berth/sv/docker'),
    await probe('redis', probes?.redis, 'deploys that are asked for wait; nothing is lost, what serves goes on serving', `start it: ${START('redis')}`),
    await probe('router', probes?.router, 'no app can be reached', `start it: ${START('router')}`),
  ];
  checks.push(...await watched(core));
  checks.push(judge.workers((await core.workers?.().catch(() => null)) ?? null, VERSION, now));
  const open = await core.store.openWork();
  checks.push(judge.queue(open, now));
  const works = await core.works.now();
  const held = stuck(board, works, open, now);
  checks.push(held.length === 0 ? ok('stuck', 'nothing is stuck') : bad('stuck', held.map((s) => `${s.app}${s.deploy === null ? '' : ` deploy ${s.deploy}`}: ${s.why}`).join('; '), 'a deploy will not end by itself, which should be impossible', 'if workers, Redis and disks are well: please report it with berth events; berth deploys:cancel <app> ends it'));
  checks.push(...await drifting(core));
  const failed = Object.values(board.failed).filter(({ superseded }) => superseded === null).length + Object.keys(works.failed).length;
  checks.push(failed === 0 ? ok('failed jobs', 'none') : warn('failed jobs', `${failed} can be retried or discarded`, 'deploys or operations ended there; what served goes on serving', 'see: berth jobs:failed'));
  checks.push(...await plugins(core), ...await pluginProjections(core), ...projections(core));
  checks.push(ok('event log', `${head} events, ${Object.keys(board.apps).length} apps`));
  checks.push(judge.logIntegrity(await integrity(core), first?.at ?? null, now));
  checks.push(judge.backup(await newestBackup(core), first?.at ?? null, now));
  checks.push(...await copied(core), ...await telling(core), ...await oldPasswords(core));
  const standing = core.stack && await standings(core, Object.values(board.apps).filter((row) => row.releases.some(({ number, spec }) => number === row.live?.release && spec.stack !== undefined))).catch(() => null); // the engine's own check says that it is away
  if (standing) checks.push(judge.stack(standing));
  checks.push(judge.clock(now, newest?.at ?? null, now - (performance.timeOrigin + performance.now())));
  return checks;
}

/** What nobody asks about until it is too late: disks that fill, certificates that expire. */
export async function watched(core: Core): Promise<Check[]> {
  const { probes, config } = core;
  const now = core.now();
  const loaded = await probes?.certificates().catch(() => null); // the router's own check says that it is away
  const space = await probes?.space();
  return [
    ...(loaded ? [judge.certificates(loaded, now)] : []), judge.buildCa(await caBundle(config.buildCa), now),
    ...(space ? [judge.disk('log', space.log)] : []), ...(space?.images ? [judge.disk('images', space.images)] : []),
  ];
}

/** Nothing where nothing is backed up. */
async function copied(core: Core): Promise<Check[]> {
  const nameOf = await namer(core);
  const rows = Object.values((await core.copies.now()).groups).flatMap((row) => (row.subject && nameOf(row.subject) !== null ? [{ ...row, name: nameOf(row.subject)! }] : []));
  return rows.length > 0 ? [judge.copies(rows, core.now())] : [];
}

/** Nothing where nobody is told anything. */
async function telling(core: Core): Promise<Check[]> {
  const all = Object.values((await core.repository.load(notifications, NOTIFICATIONS)).state.all);
  if (all.length === 0) return [];
  const { groups } = await core.works.now();
  return [judge.telling(all.map(({ name, channel }) => {
    const last = groups[notifyGroup(name)]?.rows.findLast(({ status }) => isOverOperation(status) && status !== 'cancelled');
    return { name, channel, failure: last?.status === 'failed' ? (last.failure?.message ?? 'it failed') : null };
  }))];
}

/** Nothing where no plugin was installed. */
async function plugins(core: Core): Promise<Check[]> {
  const all = Object.values((await core.plugins.now()).registry.installed);
  if (all.length === 0) return [];
  const broken = all.filter(({ enabled, reason }) => !enabled && reason?.startsWith(DOES_NOT_LOAD));
  if (broken.length > 0) return [warn('plugins', broken.map(({ name, reason }) => `${name}: ${reason}`).join('; '), 'they take part in nothing; deploys go on without them', 'berth plugin:update <plugin>, or berth plugin:uninstall <plugin>')];
  const full = (await Promise.all(all.map(async ({ name }) => ({ name, over: (await keptIn(dataFolder(core.config.root, name), core.config.pluginDisk)).over })))).filter(({ over }) => over !== null);
  if (full.length > 0) return [warn('plugins', full.map(({ name, over }) => `${name}: ${over}`).join('; '), 'they are asked nothing any more; deploys go on without them', 'make room; or berth plugin:uninstall <plugin>, which removes what it has kept')];
  return [ok('plugins', `${all.filter(({ enabled }) => enabled).length} of ${all.length} enabled`)];
}

/** Nothing where no plugin has one. */
async function pluginProjections(core: Core): Promise<Check[]> {
  const all = ((await core.pluginHost?.enabled()) ?? []).flatMap((plugin) => (plugin.manifest.projections ?? []).map(({ name }) => ({ plugin, name })));
  if (all.length === 0) return [];
  const check = 'plugin projections';
  const troubled = (await Promise.all(all.map(async ({ plugin, name }) => ({ what: `${plugin.name}/${name}`, trouble: (await standing(core.store, plugin, name)).trouble })))).flatMap(({ what, trouble }) => (trouble ? [`${what}: ${toldTrouble(trouble)}`] : []));
  if (troubled.length > 0) return [warn(check, troubled.join('; '), 'they stay as they were before that event, and are tried again ever more rarely; nothing else waits', 'mend the plugin, then: berth plugin:update <plugin>')];
  return [ok(check, `${all.length}, none in trouble`)];
}

/** Of services that were given another password, how it is with the one before. */
async function oldPasswords(core: Core): Promise<Check[]> {
  const rows = Object.values((await core.services.now()).rows);
  const all = await Promise.all(rows.map(async (row) => ({ name: `${row.type}:${row.name}`, still: await stillValid(core, row) })));
  const old = all.flatMap(({ name, still }) => (still === null ? [] : [{ name, ...still }]));
  return old.length === 0 ? [] : [judge.passwords(old)];
}

function projections({ board, drifts, works, services, copies, plugins: registered }: Core): Check[] {
  const all = [['board', board.standing], ['drift', drifts.standing], ['operations', works.standing], ['services', services.standing], ['copies', copies.standing], ['plugins', registered.standing]] as const;
  const troubled = all.flatMap(([name, { trouble }]) => (trouble ? [`${name}: ${trouble}`] : []));
  if (troubled.length > 0) return [warn('projections', troubled.join('; '), 'what lists show is right, or of the version before; starts take longer', 'make room if a disk is full; then berth projections:rebuild')];
  return [ok('projections', all.map(([name, { version, serves }]) => (serves === version ? `${name} version ${version}` : `${name} version ${version} is being folded, ${serves} serves`)).join(', '))];
}

async function drifting(core: Core): Promise<Check[]> {
  const found: string[] = [];
  const looping: string[] = [];
  const drifts = await core.drifts.now();
  const services = Object.values((await core.services.now()).rows).map(({ id, type, name }) => ({ id, name: `${type}:${name}` }));
  for (const app of [...Object.values((await core.board.now()).apps), ...services]) {
    const state = drifts[app.id] ?? drift.initial;
    const now = Object.values(state.open);
    if (now.length > 0) found.push(`${app.name}: ${now.map((f) => `${f.subject} ${f.what.replace('container-', '')}`).join(', ')}`);
    if (state.looping && now.length > 0) looping.push(app.name);
  }
  return [
    found.length === 0 ? ok('drift', 'what runs is what the log says') : warn('drift', found.join('; '), 'it is being repaired', 'see: berth events --type DriftDetected,RepairStarted'),
    ...(looping.length > 0 ? [bad('crash loops', looping.join(', '), 'these apps exit again and again; they are started ever more rarely', 'look: berth logs <app>; then push a fix or roll back')] : []),
  ];
}

/** The public certificates that the distribution packages (Debian's ca-certificates): they come and go with its updates. */
async function distributed(folder = '/usr/share/ca-certificates'): Promise<string[]> {
  const files = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return []; throw error; });
  return Promise.all(files.filter((entry) => entry.isFile() && entry.name.endsWith('.crt')).map((entry) => readFile(join(entry.parentPath, entry.name), 'utf8')));
}

async function caBundle(file: string | null): Promise<Parameters<typeof judge.buildCa>[0]> {
  if (file === null) return null;
  try {
    const all = ((await readFile(file, 'utf8')).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((pem) => new X509Certificate(pem));
    const known = new Set([...rootCertificates, ...await distributed()].map((pem) => new X509Certificate(pem).fingerprint256));
    const own = all.filter((one) => !known.has(one.fingerprint256)).map((one) => ({ subject: one.subject, notAfter: one.validToDate.getTime() }));
    return { file, own, all: all.length };
  } catch (error) {
    return { file, broken: (error as Error).message };
  }
}
