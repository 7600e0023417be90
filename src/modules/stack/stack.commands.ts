import { IsArray, IsBoolean, IsOptional, IsString } from 'class-validator';
import { stackImages } from '../../drivers/stack/stack.js';
import { Rejected } from '../../events/decider.js';
import { StepFailure } from '../../events/step.js';
import { OWN, pairText, STACK_IMAGES, stackPair } from '../../plugins/builders/foreign-stack.js';
import { Arg, command, Flag, forget, Rest, type CommandContext, type StreamItem } from '../commands/command.js';
import { appStream } from '../apps/app-context.js';
import { apps, shown } from '../apps/app.decider.js';
import { bytes, table, when } from '../commands/words.js';
import { change } from '../draft.js';
import { server } from '../server/server.decider.js';
import { imageName } from '../sources/image.commands.js';
import { standings, type Under } from './standing.js';
import { upgradeApp, type Upgraded } from './upgrade.js';

class NoInput {}
class BuildInput {
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('the languages or images to make; those that are there when none is named', { label: 'part', optional: true }) parts?: string[];
  @IsOptional() @IsBoolean() @Flag('make them anew, with the distribution\'s packages of today') force?: boolean;
  @IsOptional() @IsBoolean() @Flag('every language, so that the first push of each needs no network') all?: boolean;
}
class UpgradeInput {
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('the apps to rebuild on it', { label: 'app', optional: true }) apps?: string[];
  @IsOptional() @IsBoolean() @Flag('all apps that stand on it') all?: boolean;
  @IsOptional() @IsBoolean() @Flag('take the stack as it is, do not make it anew') noBuild?: boolean;
}
class SetInput {
  @IsOptional() @IsString() @Arg('the app; with --global there is none', { optional: true, label: 'app' }) app?: string;
  @IsOptional() @IsString() @Arg('the image that builds, heroku-24 and its kind, or own for Berth\'s; nothing brings the default back', { optional: true, label: 'build image' }) build?: string;
  @IsOptional() @IsString() @Arg('the image that carries the app; when there is none, the same without -build', { optional: true, label: 'run image' }) run?: string;
  @IsOptional() @IsBoolean() @Flag('for all apps that have none of their own') global?: boolean;
}
class ReportInput {
  @IsOptional() @IsString() @Arg('app', { optional: true, label: 'app' }) app?: string;
}

function stackOf({ core }: CommandContext): NonNullable<CommandContext['core']['stack']> {
  if (!core.stack) throw new Rejected('stack.nobody', 'This process makes no stack images', 'ask the API on the server', 70);
  return core.stack;
}

type Item = { id: string; event: 'line'; data: { text: string } } | { id: string; event: 'app'; data: Upgraded } | { id: string; event: 'end'; data: { failed: string | null; hint: string | null } };

/** Lines of work as they come. Answers what it answers. */
async function* telling<T>(work: (onLine: (line: string) => void) => Promise<T>): AsyncGenerator<Item, T> {
  const lines: string[] = [];
  let wake: () => void = () => {};
  let done = false;
  const working = work((line) => { lines.push(line); wake(); }).finally(() => { done = true; wake(); });
  working.catch(() => undefined); // awaited below
  for (let n = 0; ;) {
    for (const text of lines.splice(0)) yield { id: String(n += 1), event: 'line', data: { text } };
    if (done && lines.length === 0) break;
    await new Promise<void>((resolve) => { wake = resolve; if (done || lines.length > 0) resolve(); });
  }
  return working;
}

/** Brings images that were set to what their registries have now. Answers what was wrong, if anything. */
async function* pulling(context: CommandContext, images: readonly string[]): AsyncGenerator<Item, { failed: string; hint: string | null } | null> {
  for (const image of images) {
    try { yield* telling((onLine) => { onLine(`-----> Pulling ${image}`); return stackOf(context).pull(image, (line) => onLine(`         ${line}`), context.signal); }); }
    catch (error) {
      if (!(error instanceof StepFailure)) throw error;
      return { failed: error.message, hint: error.hint };
    }
  }
  return null;
}

/** Lines of a stack build as they come. Answers what was wrong, if anything. */
async function* building(context: CommandContext, names: readonly string[], options: { force: boolean; all: boolean }): AsyncGenerator<Item, { failed: string; hint: string | null } | null> {
  const { code, complaints } = yield* telling((onLine) => stackOf(context).build(names, options, onLine, context.signal));
  return code === 0 ? null : { failed: complaints[0] ?? `stack-build ended with ${code}`, hint: complaints.length > 1 ? complaints.at(-1)! : null };
}

const show = (item: Item, out: { line(text?: string): void; info(text: string): void; warn(text: string): void; verbose: boolean }): number | undefined => {
  if (item.event === 'line') {
    if (out.verbose || !item.data.text.startsWith('         ')) out.line(item.data.text);
    return undefined;
  }
  if (item.event === 'app') {
    const { app, deploy, status, why } = item.data;
    const good = { current: 'stands on it already', waits: `deploy ${deploy} is running, waiting for its end`, begins: `deploy ${deploy} begins`, succeeded: `deploy ${deploy} is live`, gone: 'it is gone' };
    if (status in good) out.info(`${app}: ${good[status as keyof typeof good]}`);
    else out.warn(`${app}: ${deploy === null ? '' : `deploy ${deploy} ${status}`}${deploy !== null && why !== null ? ': ' : ''}${why ?? ''}; what served goes on serving`);
    return undefined;
  }
  if (item.data.failed === null) return 0;
  out.warn(item.data.failed);
  if (item.data.hint !== null) out.warn(item.data.hint);
  return 1;
};

const underText = ({ built, now }: Under): string => (now === null || now === built ? built : `${built} (now ${now})`);

const list = command({
  name: 'stack', summary: 'List the images that buildpacks stand on', example: 'berth stack', input: NoInput, http: { method: 'GET', path: '/stack' }, reads: true,
  run: async (context) => stackOf(context).list(),
  render: (images, out) => {
    for (const line of table(['IMAGE', 'FOR', 'STATE', 'VERSION', 'SIZE', 'MADE (UTC)'], images.map(({ image, what, state, version, bytes: size, made }) => [image, what, state, version ?? '-', size === null ? '-' : bytes(size), made === null ? '-' : when(made)]))) out.line(line);
    out.detail('those that are not made yet are made when the first app wants them, or by stack:build <part>');
  },
});

const reportCommand = command({
  name: 'stack:report', summary: 'Show which version of the stack each app was built on, and which apps are behind', example: 'berth stack:report', input: ReportInput, http: { method: 'GET', path: '/stack/apps' }, reads: true,
  run: async (context, { app }) => {
    const { core } = context;
    stackOf(context);
    return standings(core, app === undefined ? Object.values((await core.board.now()).apps) : [await core.app(app)]);
  },
  render: (apps, out) => {
    if (apps.length === 0) return out.warn('No app that is live stands on the stack');
    const rows = apps.flatMap(({ app, release, images, behind }) => {
      const state = behind ? 'behind' : 'current';
      return images.length === 0 ? [[app, `v${release}`, state, '-', 'not recorded']] : images.map((under) => [app, `v${release}`, state, under.image, underText(under)]);
    });
    for (const line of table(['APP', 'RELEASE', 'STATE', 'IMAGE', 'VERSION'], rows)) out.line(line);
    if (apps.some(({ behind }) => behind)) out.detail('those that are behind: berth stack:upgrade --all');
  },
});

const build = command({
  name: 'stack:build', summary: 'Make the images that buildpacks stand on', example: 'berth stack:build go --force', input: BuildInput, http: { method: 'POST', path: '/stack/build' },
  async *stream(context, { parts, force, all }): AsyncGenerator<StreamItem> {
    const known = stackOf(context).names();
    const odd = parts?.find((part) => !known.includes(part));
    if (odd !== undefined) throw new Rejected('stack.part', `The stack has no part '${shown(odd)}'`, `it has: ${known.filter((name) => !name.includes('/')).join(' ')}`);
    const failed = yield* building(context, parts ?? [], { force: force ?? false, all: all ?? false });
    yield { id: '0', event: 'end', data: failed ?? { failed: null, hint: null } };
  },
  renderItem: (item, out) => show(item as Item, out),
});

const setCommand = command({
  name: 'stack:set', summary: 'Set images of a registry that buildpacks stand on, for an app or the whole server', example: 'berth stack:set blog heroku/heroku:24-build heroku/heroku:24', input: SetInput, http: { method: 'POST', path: '/stack/setting' },
  run: async (context, input) => {
    const words = [input.app, input.build, input.run].filter((word) => word !== undefined && word !== '') as string[];
    const app = input.global ? undefined : words.shift();
    if (app === undefined && !input.global) throw new Rejected('stack.which', 'Which app?', 'berth stack:set <app> <build image> [<run image>], or --global for all');
    const [build, run] = words;
    if (words.length > 2) throw new Rejected('stack.words', 'Two images at most: the one that builds, and the one that carries the app', 'berth stack:set --global <build image> [<run image>]');
    const pair = build === undefined || build === OWN || build === stackImages().name ? null : stackPair(/^heroku-\d{2}$/.test(build) ? build : imageName(build), run === undefined ? undefined : imageName(run));
    if (pair === null && run !== undefined) throw new Rejected('stack.words', 'Berth\'s own stack knows its run image', `berth stack:set ${app ?? '--global'} ${OWN}`);
    // a word that brings the default back is no setting; for the whole server its own is the default
    const value = pair === null ? (build === undefined || app === undefined ? null : OWN) : pairText(pair);
    if (app === undefined) await change(context, 'stack:set', 'server', (draft) => draft.decide(server, 'server', { type: 'Set', key: STACK_IMAGES, value }));
    else {
      const row = await context.core.app(app);
      await change(context, 'stack:set', row.id, (draft) => draft.decide(apps, appStream(row.id), { type: 'Set', key: STACK_IMAGES, value }));
    }
    return { app: app ?? null, build: pair?.build ?? null, run: pair?.run ?? null, own: value === OWN };
  },
  render: ({ app, build, run, own }, out) => {
    out.info(build !== null ? `Setting the stack of ${app ?? 'the server'} to ${build}, ${run}` : own ? `Setting the stack of ${app} to Berth's own` : `Unsetting the stack of ${app ?? 'the server'}: ${app === null ? "Berth's own" : "the server's"} counts`);
    out.detail(`the next deploy takes it${app === null ? '' : `; to build again now: berth ps:rebuild ${app}`}`);
  },
});

const stayed = (names: readonly string[], of: number): { failed: string; hint: string } => ({
  failed: `${names.length} of ${of} ${of === 1 ? 'app' : 'apps'} ${names.length === 1 ? 'stays' : 'stay'} on the stack of before and ${names.length === 1 ? 'serves' : 'serve'} on: ${names.join(', ')}`,
  hint: `why: ${names.map((name) => `berth trace ${name}`).join(', ')}; mend it and push, or run berth stack:upgrade --no-build ${names.join(' ')} again: it leaves alone what stands on the new one`,
});

const upgrade = command({
  name: 'stack:upgrade', summary: 'Make the stack anew and rebuild the apps that are behind it, one after the other', example: 'berth stack:upgrade --all', input: UpgradeInput, http: { method: 'POST', path: '/stack/upgrade' },
  async *stream(context, { apps, all, noBuild }): AsyncGenerator<StreamItem> {
    const { core, force } = context;
    if (!all && !apps?.length) throw new Rejected('stack.none', 'Which apps?', 'berth stack:upgrade <app>..., or --all');
    if (all && apps?.length) throw new Rejected('stack.both', 'Either names of apps or --all, not both', 'berth stack:upgrade --all');
    const named = await Promise.all((apps ?? []).map((name) => core.app(name)));
    const chosen = await standings(core, all ? Object.values((await core.board.now()).apps) : named);
    const none = named.find(({ id }) => !chosen.some((one) => one.id === id));
    if (none) throw new Rejected('stack.stands-not', none.live === null ? `${none.name} has not been deployed yet` : `${none.name} was not built by a buildpack: it does not stand on the stack`, none.live === null ? 'push it first' : `to build it again all the same: berth ps:rebuild ${none.name}`);
    const failed = noBuild ? null : (yield* pulling(context, [...new Set(chosen.flatMap(({ set }) => (set === null ? [] : [set.build, set.run])))])) ?? (chosen.length === 0 || chosen.some(({ set }) => set === null) ? yield* building(context, [], { force: true, all: false }) : null);
    if (failed !== null) { yield { id: '0', event: 'end', data: failed }; return; }
    const stay: string[] = [];
    for (const { id, app } of chosen) {
      const upgrading = upgradeApp(context, id, force);
      let step = await upgrading.next();
      for (; !step.done; step = await upgrading.next()) yield { id: '0', event: 'app', data: step.value };
      if (step.value === 'stays') stay.push(app);
    }
    yield { id: '0', event: 'end', data: stay.length === 0 ? { failed: null, hint: null } : stayed(stay, chosen.length) };
  },
  renderItem: (item, out) => show(item as Item, out),
});

export const stackCommands = [forget(list), forget(reportCommand), forget(setCommand), forget(build), forget(upgrade)];
