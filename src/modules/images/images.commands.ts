import { IsBoolean, IsOptional, IsString, Matches } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { appStream } from '../apps/app-context.js';
import { apps } from '../apps/app.decider.js';
import { AppInput } from '../apps/apps.commands.js';
import { Arg, command, Flag, forget, type CommandContext } from '../commands/command.js';
import { bytes, table } from '../commands/words.js';
import { keptOf, pinnedOf } from '../conductor/sweep.plan.js';
import { change } from '../draft.js';
import type { AppRow } from '../read/board.projection.js';

class ReleaseInput extends AppInput {
  @IsString() @Arg('the release, as `berth releases <app>` shows it', { label: 'release' }) release!: string;
}
class KeepInput extends AppInput {
  @Matches(/^(?:\d\d?|100)$/, { message: 'a number from 0 to 100 is needed' }) @Arg('how many images of earlier releases are kept for a rollback, 0 to 100', { label: 'number' }) keep!: string;
}
class CleanupInput {
  @IsOptional() @IsBoolean() @Flag('only say what would be removed') dryRun?: boolean;
}

/** @throws Rejected when the app has no such release */
function numberOf(row: AppRow, text: string): number {
  const number = Number(/^v?(\d+)$/.exec(text)?.[1] ?? Number.NaN);
  if (!row.releases.some((release) => release.number === number)) throw new Rejected('release.missing', `${row.name} has no release ${text}`, `see: berth releases ${row.name}`);
  return number;
}

async function setPinned(context: CommandContext, name: string, row: AppRow, numbers: readonly number[]): Promise<{ app: string; pinned: number[] }> {
  const pinned = [...new Set(numbers)].toSorted((a, b) => a - b);
  await change(context, name, row.id, (draft) => draft.decide(apps, appStream(row.id), { type: 'Set', key: 'pinned', value: pinned.length === 0 ? null : pinned.join(',') }));
  return { app: row.name, pinned };
}

const list = command({
  name: 'images', summary: 'List an app\'s images: which releases use them, which are kept and why', example: 'berth images blog', input: AppInput, http: { method: 'GET', path: '/apps/:app/images' }, reads: true,
  run: async ({ core }, { app }) => {
    const row = await core.app(app);
    const board = await core.board.now();
    const pinned = pinnedOf(row.settings);
    const live = row.releases.find(({ number }) => number === row.live?.release)?.spec.imageId;
    const there = await core.engine?.images(row.id) ?? [];
    return {
      app, cached: await core.engine?.cached(row.id) ?? null, keep: keptOf(board, row.settings),
      images: there.map(({ id, bytes: size }) => {
        const releases = row.releases.filter(({ spec }) => spec.imageId === id).map(({ number }) => number);
        return { id, bytes: size, releases, why: id === live ? 'live' : releases.some((number) => pinned.includes(number)) ? 'pinned' : releases.length > 0 ? 'for a rollback' : 'of no release' };
      }),
    };
  },
  render: ({ images, keep, app, cached }, out) => {
    if (images.length === 0) return out.warn(`${app} has no image on this server yet`);
    for (const line of table(['IMAGE', 'SIZE', 'RELEASES', 'KEPT'], images.map((image) => [image.id.replace('sha256:', '').slice(0, 12), bytes(image.bytes), image.releases.map((number) => `v${number}`).join(' ') || '-', image.why]))) out.line(line);
    out.detail(`${keep} earlier images are kept (images:keep), and those that are pinned (images:pin)`);
    if (cached !== null) out.detail(`its builds have cached ${bytes(cached)} (repo:purge-cache)`);
  },
});

const pin = command({
  name: 'images:pin', summary: 'Never remove the image of a release', example: 'berth images:pin blog v12', input: ReleaseInput, http: { method: 'POST', path: '/apps/:app/images/pin' },
  run: async (context, { app, release }) => {
    const row = await context.core.app(app);
    const number = numberOf(row, release);
    const image = row.releases.find((one) => one.number === number)!.spec.imageId;
    if (context.core.engine && !(await context.core.engine.hasImage(image))) throw new Rejected('image.gone', `The image of v${number} is not on this server any more`, `ps:rebuild makes the live commit's again; see: berth images ${app}`);
    return setPinned(context, 'images:pin', row, [...pinnedOf(row.settings), number]);
  },
  render: ({ pinned }, out) => out.info(`Pinned: ${pinned.map((number) => `v${number}`).join(' ')}`),
});

const unpin = command({
  name: 'images:unpin', summary: 'Let the image of a release go with the others', example: 'berth images:unpin blog v12', input: ReleaseInput, http: { method: 'POST', path: '/apps/:app/images/unpin' },
  run: async (context, { app, release }) => {
    const row = await context.core.app(app);
    const number = numberOf(row, release);
    const pinned = pinnedOf(row.settings);
    if (!pinned.includes(number)) throw new Rejected('image.not-pinned', `v${number} of ${app} is not pinned`, `see: berth images ${app}`);
    return setPinned(context, 'images:unpin', row, pinned.filter((one) => one !== number));
  },
  render: ({ pinned }, out) => out.info(pinned.length === 0 ? 'Nothing is pinned' : `Pinned: ${pinned.map((number) => `v${number}`).join(' ')}`),
});

const keep = command({
  name: 'images:keep', summary: 'Say how many images of earlier releases are kept', example: 'berth images:keep blog 10', input: KeepInput, http: { method: 'POST', path: '/apps/:app/images/keep' },
  run: async (context, { app, keep: number }) => {
    const row = await context.core.app(app);
    await change(context, 'images:keep', row.id, (draft) => draft.decide(apps, appStream(row.id), { type: 'Set', key: 'keep-images', value: number }));
    return { app, keep: Number(number) };
  },
  render: ({ app, keep: number }, out) => out.info(`Keeping ${number} earlier images of ${app}`),
});

const purge = command({
  name: 'repo:purge-cache', summary: 'Forget what an app\'s builds have cached; the next build begins with nothing', example: 'berth repo:purge-cache blog', input: AppInput, http: { method: 'POST', path: '/apps/:app/purge-cache' },
  run: async (context, { app }) => {
    const row = await context.core.app(app);
    if (row.running !== null) throw new Rejected('cache.busy', `Deploy ${row.running} of ${app} is under way and may use the cache`, `wait for it, or: berth deploys:cancel ${app}`);
    await change(context, 'repo:purge-cache', row.id, (draft) => draft.decide(apps, appStream(row.id), { type: 'Set', key: 'cache-generation', value: String(Number(row.settings['cache-generation'] ?? 0) + 1) }));
    return { app, bytes: await context.core.engine?.purge(row.id) ?? 0 };
  },
  render: ({ app, bytes: freed }, out) => out.info(`The build caches of ${app} are gone, ${bytes(freed)} are free again`),
});

const cleanup = command({
  name: 'cleanup', summary: 'Remove what no app, release or deploy owns any more; it happens by itself, too', example: 'berth cleanup --dry-run', input: CleanupInput, http: { method: 'POST', path: '/cleanup' },
  run: async ({ core }, { dryRun }) => {
    if (!core.cleanup) throw new Rejected('cleanup.nobody', 'This process cannot clean up', 'ask the API on the server', 70);
    const found = await core.cleanup.look();
    if (dryRun) return { dryRun: true, removed: found, left: found };
    await core.cleanup.run();
    const left = await core.cleanup.look();
    const still = new Set(left.map(({ kind, name }) => `${kind} ${name}`));
    return { dryRun: false, removed: found.filter(({ kind, name }) => !still.has(`${kind} ${name}`)), left };
  },
  render: ({ dryRun, removed, left }, out) => {
    for (const { kind, name, bytes: size, why } of removed) out.line(`${dryRun ? 'would remove' : 'removed'} ${kind} ${name}${size === null ? '' : ` (${bytes(size)})`}${why === undefined ? '' : `: ${why}`}`);
    const sum = removed.reduce((total, { bytes: size }) => total + (size ?? 0), 0);
    out.info(removed.length === 0 ? 'There is nothing to remove' : `${removed.length} ${removed.length === 1 ? 'thing' : 'things'}, ${dryRun ? 'up to ' : ''}${bytes(sum)}`);
    if (!dryRun) for (const { kind, name } of left) out.warn(`${kind} ${name} is still there: see berth doctor, and the log of the API`);
  },
});

export const imageCommands = [forget(list), forget(pin), forget(unpin), forget(keep), forget(purge), forget(cleanup)];
