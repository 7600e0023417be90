import { IsInt, IsOptional, IsString, Matches, Min } from 'class-validator';
import { Transform } from 'class-transformer';
import { Rejected } from '../../events/decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, type CommandContext, type DeployAnswer, type Out, type StreamItem } from '../commands/command.js';
import { seconds, table, when } from '../commands/words.js';
import { change } from '../draft.js';
import type { AppRow, DeployRow } from '../read/board.projection.js';
import { requireRoom } from '../server/room.js';
import { DeployPrinter } from './deploy-output.js';
import { followDeploy, type FollowItem } from './follow.js';
import { NO_SOURCE } from './deploys.service.js';

/** `7` or `#7`, as typed. */
export function deployNumber(text: string): number {
  const match = /^#?(\d{1,9})$/.exec(text);
  if (!match) throw new Rejected('deploy.number', `'${shown(text)}' is not the number of a deploy`, 'see: berth deploys <app>');
  return Number(match[1]);
}

const number = ({ value }: { value: unknown }): unknown => (typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value);

class ListInput extends AppInput {
  @IsOptional() @Transform(number) @IsInt() @Min(1) @Flag('how many', { type: 'number', short: 'n', label: 'n' }) num?: number;
}
export class OneInput extends AppInput {
  @IsOptional() @IsString() @Arg('its number; the newest when there is none', { optional: true, label: 'deploy' }) deploy?: string;
}
class FollowInput extends OneInput {
  @IsOptional() @Transform(number) @IsInt() @Min(0) @Flag('go on behind this line', { type: 'number', label: 'line' }) after?: number;
}
class CancelInput extends OneInput {
  @IsOptional() @IsString() @Flag('why', { type: 'string', label: 'text' }) reason?: string;
}
class CreateInput extends AppInput {
  @IsOptional() @Matches(/^[0-9a-f]{7,64}$/, { message: 'commit: 7 to 64 hex digits of a commit that the server has' }) @Arg('the commit; the one that is live when there is none', { optional: true, label: 'commit' }) commit?: string;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
class RollbackInput extends AppInput {
  @IsOptional() @Matches(/^v?\d{1,9}$/, { message: 'release: a number such as v12, see berth releases' }) @Arg('the release; the one before when there is none', { optional: true, label: 'release' }) release?: string;
  @IsOptional() @Flag('do not wait for its end') detach?: boolean;
}
export async function deployRow(context: Pick<CommandContext, 'core'>, app: string, deploy?: string): Promise<{ row: AppRow; deploy: DeployRow }> {
  const row = await context.core.app(app);
  const all = (await context.core.board.now()).deploys[row.id] ?? [];
  const found = deploy === undefined ? all.at(-1) : all[deployNumber(deploy) - 1];
  if (!found) throw new Rejected('deploy.missing', deploy === undefined ? `${app} has not been deployed yet` : `${app} has no deploy ${shown(deploy)}`, `see: berth deploys ${app}`);
  return { row, deploy: found };
}

interface DeployInfo { deploy: number; kind: string; status: string; commit: string | null; subject: string | null; release: number | null; by: string; requestedAt: string; tookMs: number | null; failure: DeployRow['failure']; retryOf: number | null; steps: DeployRow['steps'] }
const infoOf = (d: DeployRow): DeployInfo => ({
  deploy: d.deploy, kind: d.kind, status: d.status, commit: d.source.sha, subject: d.subject, release: d.release, by: d.by,
  requestedAt: new Date(d.requestedAt).toISOString(), tookMs: d.endedAt === null ? null : d.endedAt - d.requestedAt, failure: d.failure, retryOf: d.retryOf, steps: d.steps,
});

const list = command({
  name: 'deploys', summary: 'List an app\'s deploys, newest first', example: 'berth deploys blog -n 5', input: ListInput, http: { method: 'GET', path: '/apps/:app/deploys' }, reads: true,
  run: async ({ core }, { app, num }) => {
    const row = await core.app(app);
    return ((await core.board.now()).deploys[row.id] ?? []).slice(-(num ?? 20)).reverse().map(infoOf);
  },
  render: (deploys, out) => {
    if (deploys.length === 0) return out.warn('There was no deploy yet');
    for (const line of table(['DEPLOY', 'KIND', 'STATUS', 'RELEASE', 'COMMIT', 'TOOK', 'WHEN (UTC)', 'BY', 'WHAT'], deploys.map((d) => [
      String(d.deploy), d.kind, d.status, d.release === null ? '-' : `v${d.release}`, d.commit?.slice(0, 7) ?? '-', d.tookMs === null ? '-' : seconds(d.tookMs), when(Date.parse(d.requestedAt)), d.by, d.failure?.message ?? [d.retryOf !== null && `retry of deploy ${d.retryOf}`, d.subject].filter(Boolean).join(': '),
    ]))) out.line(line);
  },
});

const show = command({
  name: 'deploys:show', summary: 'Show one deploy: its steps, who, how long, why it failed', example: 'berth deploys:show blog 7', input: OneInput, http: { method: 'GET', path: '/apps/:app/deploys/:deploy' }, reads: true,
  run: async (context, { app, deploy }) => ({ app, ...infoOf((await deployRow(context, app, deploy)).deploy) }),
  render: (d, out) => {
    out.section(`${d.app} deploy ${d.deploy}: ${d.status}`);
    out.detail(`${d.kind} by ${d.by} at ${when(Date.parse(d.requestedAt))} UTC${d.tookMs === null ? '' : `, took ${seconds(d.tookMs)}`}`);
    if (d.retryOf !== null) out.detail(`retry of deploy ${d.retryOf}`);
    if (d.commit) out.detail(`commit ${d.commit.slice(0, 12)} ${d.subject ?? ''}`);
    if (d.release !== null) out.detail(`release v${d.release}`);
    for (const s of d.steps) out.detail(`${s.step.padEnd(8)} ${s.status.padEnd(10)} ${seconds(s.tookMs).padStart(8)}  attempt ${s.attempt}  ${s.worker ?? ''}  ${s.failure ? s.failure.message : ''}`.trimEnd());
    if (d.failure?.hint) out.warn(d.failure.hint);
  },
});

const follow = command({
  name: 'deploys:follow', summary: 'Follow a deploy\'s output from its first line (or behind a given one) to its end', example: 'berth deploys:follow blog', input: FollowInput, http: { method: 'GET', path: '/apps/:app/deploys/:deploy/output' }, reads: true,
  async *stream(context, { app, deploy, after }): AsyncGenerator<StreamItem> {
    const found = await deployRow(context, app, deploy);
    yield* followDeploy(context.core, found.row.id, found.deploy.deploy, after ?? 0, context.signal);
  },
  renderItem: followRenderer(),
});

/** Renders a followed deploy; one printer a call, kept by its output. */
export function followRenderer(): (item: StreamItem, out: Out) => number | undefined {
  const printers = new WeakMap<Out, DeployPrinter>();
  return (item, out) => {
    let printer = printers.get(out);
    if (!printer) printers.set(out, (printer = new DeployPrinter(out, out.verbose)));
    return printer.print(item as unknown as FollowItem);
  };
}

const cancel = command({
  name: 'deploys:cancel', summary: 'Cancel the running (or a waiting) deploy; what served goes on serving', example: 'berth deploys:cancel blog', input: CancelInput, http: { method: 'POST', path: '/apps/:app/deploys/cancel' },
  run: async (context, { app, deploy, reason }) => {
    const row = await context.core.app(app);
    const events = await context.core.pipelines.handle(row.id, { type: 'Cancel', deploy: deploy === undefined ? null : deployNumber(deploy), by: context.actor, reason: reason ?? 'asked for' }, { actor: context.actor, command: 'deploys:cancel' });
    return { app, cancelled: (events[0]!.data as { deploy: number }).deploy };
  },
  render: ({ app, cancelled }, out) => out.info(`Cancelled deploy ${cancelled} of ${app}`),
});

const create = command({
  name: 'deploys:create', summary: 'Build and deploy a commit that the server has', example: 'berth deploys:create blog 1a2b3c4', input: CreateInput, http: { method: 'POST', path: '/apps/:app/deploys' },
  run: async (context, { app, commit }): Promise<DeployAnswer> => {
    const { core } = context;
    const row = await core.app(app);
    const live = row.releases.find((r) => r.number === row.live?.release);
    const origin = live && (await core.board.now()).deploys[row.id]?.[live.deploy - 1]?.source.origin;
    if (commit === undefined && origin?.type === 'image') {
      const { answer } = await change(context, 'deploys:create', row.id, (draft) => draft.deploy(row.id, 'rebuild', context.actor, { ...NO_SOURCE, origin }));
      return { app: row.id, name: app, deploy: answer };
    }
    const wanted = commit ?? live?.spec.sha;
    if (!wanted) throw new Rejected('deploy.no-commit', `${app} has nothing to build yet`, `push it: git push berth main`);
    const sha = await core.git?.resolve(row.id, wanted);
    await requireRoom(core);
    if (!sha) throw new Rejected('deploy.commit-missing', `The server has no commit ${wanted} of ${app}`, 'push it first');
    const { answer } = await change(context, 'deploys:create', row.id, (draft) => draft.deploy(row.id, 'rebuild', context.actor, { ...NO_SOURCE, sha, branch: row.branch }));
    return { app: row.id, name: app, deploy: answer };
  },
  render: ({ name, deploy }, out) => out.info(`Deploy ${deploy} of ${name}`),
});

/** Builds what is live again, as a deploy of its own. */
export const rebuild = command({ ...create, name: 'ps:rebuild', summary: 'Build the live commit again and deploy it', example: 'berth ps:rebuild blog', http: { method: 'POST', path: '/apps/:app/rebuild' } });

const releases = command({
  name: 'releases', summary: 'List an app\'s releases, newest first', example: 'berth releases blog', input: ListInput, http: { method: 'GET', path: '/apps/:app/releases' }, reads: true,
  run: async ({ core }, { app, num }) => {
    const row = await core.app(app);
    return row.releases.slice(-(num ?? 20)).reverse().map((r) => ({ release: r.number, live: r.number === row.live?.release, wasLive: r.wasLive, deploy: r.deploy, commit: r.spec.sha, image: r.spec.image, imageId: r.spec.imageId, configVersion: r.spec.configVersion, processTypes: r.spec.processTypes, by: r.by, why: r.why, at: new Date(r.at).toISOString() }));
  },
  render: (all, out) => {
    if (all.length === 0) return out.warn('There is no release yet');
    for (const line of table(['RELEASE', 'STATE', 'COMMIT', 'IMAGE', 'CONFIG', 'WHEN (UTC)', 'BY', 'WHY'], all.map((r) => [
      `v${r.release}`, r.live ? 'live' : r.wasLive ? 'was live' : 'never live', r.commit?.slice(0, 7) ?? '-', r.imageId.replace('sha256:', '').slice(0, 12), String(r.configVersion), when(Date.parse(r.at)), r.by, r.why,
    ]))) out.line(line);
  },
});

const rollback = command({
  name: 'rollback', summary: 'Make an earlier release\'s image live again, with today\'s config; nothing is built', example: 'berth rollback blog v11', input: RollbackInput, http: { method: 'POST', path: '/apps/:app/rollback' },
  run: async (context, { app, release }): Promise<DeployAnswer & { to: number }> => {
    const row = await context.core.app(app);
    const target = release === undefined ? row.releases.findLast((r) => r.wasLive && r.number < (row.live?.release ?? 0) && r.spec.imageId !== row.releases.find((x) => x.number === row.live?.release)?.spec.imageId)?.number : Number(release.replace('v', ''));
    if (target === undefined) throw new Rejected('release.none-before', `${app} has no earlier release to go back to`, `see: berth releases ${app}`);
    const spec = row.releases.find((r) => r.number === target)?.spec;
    // an engine that does not answer now may do so when the deploy gets there
    if (spec && context.core.engine && !(await context.core.engine.hasImage(spec.imageId).catch(() => true))) {
      throw new Rejected('image.gone', `The image of v${target} is not on this server any more`, spec.sha === null ? `see which are: berth images ${app}` : `build its commit again: berth deploys:create ${app} ${spec.sha.slice(0, 12)}`);
    }
    const { answer } = await change(context, 'rollback', row.id, (draft) => draft.deploy(row.id, 'rollback', context.actor, { ...NO_SOURCE, release: target }));
    return { app: row.id, name: app, deploy: answer, to: target };
  },
  render: ({ name, to }, out) => out.info(`Rolling ${name} back to v${to}`),
});

export const deployCommands = [forget(list), forget(show), forget(follow), forget(cancel), forget(create), forget(rebuild), forget(releases), forget(rollback)];
