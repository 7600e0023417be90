import { IsOptional, Matches } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import { Unreadable } from '../../events/seal.js';
import { AppInput } from '../apps/apps.commands.js';
import { fold } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { ConfigEvent } from '../../events/types/app.events.js';
import { upcast } from '../../events/upcast.js';
import { configStream } from '../apps/app-context.js';
import { deployEvents } from '../deploys/follow.js';
import type { AppRow } from '../read/board.projection.js';
import { Arg, command, Flag, forget } from '../commands/command.js';
import { bytes, table, when } from '../commands/words.js';
import { config } from '../config/config.decider.js';
import type { Core } from '../core.js';
import { compareConfig, compareReleases, releaseIn, type KeyChange, type ReleaseThen } from './compare.js';

const RELEASE = { message: 'release: a number such as v12, see berth releases' };

class DiffInput extends AppInput {
  @Matches(/^v?\d{1,9}$/, RELEASE) @Arg('a release', { label: 'vN' }) from!: string;
  @IsOptional() @Matches(/^v?\d{1,9}$/, RELEASE) @Arg('another; the live one when there is none', { optional: true, label: 'vM' }) to?: string;
  @IsOptional() @Flag('show what is the same, too') all?: boolean;
}

/** The sealed config vars as they were at each of the two versions. */
async function sealedAt(core: Core, app: string, versions: readonly [number, number]): Promise<[Readonly<Record<string, Sealed>>, Readonly<Record<string, Sealed>>]> {
  const [older, newer] = [Math.min(...versions), Math.max(...versions)];
  const events = (await core.store.readStream(configStream(app), 0, newer)).map((event) => upcast(event)) as unknown as (Recorded & ConfigEvent)[];
  const then = fold(config, events.filter((event) => event.version <= older));
  const later = fold(config, events.filter((event) => event.version > older), then);
  return versions[0] === older ? [then, later] : [later, then];
}

/** What is known of a release: the events of its own deploy, and of the one that built its image. */
async function releaseOf(core: Core, row: AppRow, number: number): Promise<ReleaseThen | null> {
  const own = row.releases.find((r) => r.number === number);
  const built = row.releases.find((r) => r.spec.imageId === own?.spec.imageId);
  const deploys = [...new Set([built, own].flatMap((r) => (r ? [r.deploy] : [])))];
  return releaseIn((await Promise.all(deploys.map((deploy) => deployEvents(core, row.id, deploy)))).flat(), number);
}

const opener = (core: Core) => async (sealed: Sealed): Promise<string | null> => {
  try {
    return await core.box.unseal(sealed);
  } catch (error) {
    if (error instanceof Unreadable) return null;
    throw error;
  }
};

const KEY_WORDS: Readonly<Record<KeyChange, readonly [string, string]>> = { added: ['-', '(set)'], removed: ['(set)', '-'], changed: ['(sealed)', '(changed)'], unreadable: ['(sealed)', '(cannot be opened any more)'] };
const about = (r: ReleaseThen) => ({ release: r.number, deploy: r.deploy, by: r.by, why: r.why, createdAt: new Date(r.at).toISOString(), liveAt: r.liveAt === null ? null : new Date(r.liveAt).toISOString(), commit: r.spec.sha, imageId: r.spec.imageId, bytes: r.bytes, configVersion: r.spec.configVersion });

const diff = command({
  name: 'diff', summary: 'Compare two releases: commit, image, config keys, processes, domains, limits', example: 'berth diff blog v11 v12', input: DiffInput, http: { method: 'GET', path: '/apps/:app/diff' }, reads: true,
  run: async ({ core }, { app, from, to }) => {
    const row = await core.app(app);
    if (to === undefined && !row.live) throw new Rejected('release.none-live', `${app} has no live release to compare with`, `see: berth releases ${app}`);
    const [a, b] = await Promise.all([from, to ?? String(row.live!.release)].map(async (text) => {
      const found = await releaseOf(core, row, Number(text.replace('v', '')));
      if (!found) throw new Rejected('release.missing', `${app} has no release v${text.replace('v', '')}`, `see: berth releases ${app}`);
      return found;
    })) as [ReleaseThen, ReleaseThen];
    const changes = await compareConfig(...await sealedAt(core, row.id, [a.spec.configVersion, b.spec.configVersion]), opener(core));
    return { app, from: about(a), to: about(b), config: changes, rows: compareReleases(a, b, { bytes }) };
  },
  render: ({ app, from, to, config: keys, rows }, out, { all }) => {
    out.section(`${app} v${from.release} → v${to.release}`);
    for (const r of [from, to]) out.detail(`v${r.release}: ${r.why}, by ${r.by} at ${when(Date.parse(r.createdAt))} UTC${r.liveAt === null ? ', never live' : ''}`);
    const shown = [
      ...rows.filter((row) => row.differs || all).map((row) => [row.what, row.from, row.to]),
      ...Object.entries(keys).map(([key, change]) => [`config ${key}`, ...KEY_WORDS[change]]),
    ];
    if (shown.length === 0) return out.info('They are the same');
    out.line();
    for (const line of table(['', `v${from.release}`, `v${to.release}`], shown)) out.line(`       ${line}`);
  },
});

export const diffCommands = [forget(diff)];
