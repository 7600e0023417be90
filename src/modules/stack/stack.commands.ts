import { IsArray, IsBoolean, IsOptional, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { command, Flag, forget, Rest, type CommandContext, type StreamItem } from '../commands/command.js';
import type { BuildPlan } from '../../events/types/deploy.events.js';
import { shown } from '../apps/app.decider.js';
import { pipelineStream } from '../apps/app-context.js';
import { bytes, table, when } from '../commands/words.js';
import { followDeploy, type EndOfDeploy } from '../deploys/follow.js';
import { rebuild } from '../deploys/deploys.commands.js';
import type { AppRow } from '../read/board.projection.js';

class NoInput {}
class BuildInput {
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('the languages or images to make; those that are there when none is named', { label: 'part', optional: true }) parts?: string[];
  @IsOptional() @IsBoolean() @Flag('make them anew, with the distribution\'s packages of today') force?: boolean;
  @IsOptional() @IsBoolean() @Flag('every language, so that the first push of each needs no network') all?: boolean;
}
class UpgradeInput {
  @IsOptional() @IsArray() @IsString({ each: true }) @Rest('the apps to rebuild on it', { label: 'app', optional: true }) apps?: string[];
  @IsOptional() @IsBoolean() @Flag('all apps that stand on it') all?: boolean;
}

function stackOf({ core }: CommandContext): NonNullable<CommandContext['core']['stack']> {
  if (!core.stack) throw new Rejected('stack.nobody', 'This process makes no stack images', 'ask the API on the server', 70);
  return core.stack;
}

type Item = { id: string; event: 'line'; data: { text: string } } | { id: string; event: 'app'; data: { app: string; deploy: number | null; status: string; why: string | null } } | { id: string; event: 'end'; data: { failed: string | null; hint: string | null } };

/** Lines of a stack build as they come. Answers what was wrong, if anything. */
async function* building(context: CommandContext, names: readonly string[], options: { force: boolean; all: boolean }): AsyncGenerator<Item, { failed: string; hint: string | null } | null> {
  const lines: string[] = [];
  let wake: () => void = () => {};
  let done = false;
  const build = stackOf(context).build(names, options, (line) => { lines.push(line); wake(); }, context.signal).finally(() => { done = true; wake(); });
  build.catch(() => undefined); // awaited below
  for (let n = 0; ;) {
    for (const text of lines.splice(0)) yield { id: String(n += 1), event: 'line', data: { text } };
    if (done && lines.length === 0) break;
    await new Promise<void>((resolve) => { wake = resolve; if (done || lines.length > 0) resolve(); });
  }
  const { code, complaints } = await build;
  return code === 0 ? null : { failed: complaints[0] ?? `stack-build ended with ${code}`, hint: complaints.length > 1 ? complaints.at(-1)! : null };
}

const show = (item: Item, out: { line(text?: string): void; info(text: string): void; warn(text: string): void; verbose: boolean }): number | undefined => {
  if (item.event === 'line') {
    if (out.verbose || !item.data.text.startsWith('         ')) out.line(item.data.text);
    return undefined;
  }
  if (item.event === 'app') {
    const { app, deploy, status, why } = item.data;
    if (status === 'succeeded' || status === 'begins') out.info(`${app}: ${status === 'begins' ? `deploy ${deploy} begins` : `deploy ${deploy} is live`}`);
    else out.warn(`${app}: ${deploy === null ? '' : `deploy ${deploy} ${status}: `}${why ?? ''}; what served goes on serving`);
    return undefined;
  }
  if (item.data.failed === null) return 0;
  out.warn(item.data.failed);
  if (item.data.hint !== null) out.warn(item.data.hint);
  return 1;
};

const list = command({
  name: 'stack', summary: 'List the images that buildpacks stand on', example: 'berth stack', input: NoInput, http: { method: 'GET', path: '/stack' }, reads: true,
  run: async (context) => stackOf(context).list(),
  render: (images, out) => {
    for (const line of table(['IMAGE', 'FOR', 'STATE', 'SIZE', 'MADE (UTC)'], images.map(({ image, what, state, bytes: size, made }) => [image, what, state, size === null ? '-' : bytes(size), made === null ? '-' : when(made)]))) out.line(line);
    out.detail('those that are not made yet are made when the first app wants them, or by stack:build <part>');
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

/** Apps whose live release one of our buildpacks has built. */
async function standing({ core }: CommandContext, names: readonly string[]): Promise<AppRow[]> {
  if (names.length > 0) return Promise.all(names.map((name) => core.app(name)));
  const live = Object.values((await core.board.now()).apps).filter((row) => row.live !== null).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const builders = await Promise.all(live.map(async ({ id, live: serving, releases }) => {
    const deploy = releases.find(({ number }) => number === serving?.release)?.deploy;
    // scaled or configured since: what was built is some deploys back
    const built = (await core.store.readStream(pipelineStream(id))).findLast(({ type, data }) => type === 'BuildpackDetected' && (data as { deploy: number }).deploy <= (deploy ?? 0));
    return (built?.data as { output: BuildPlan } | undefined)?.output.builder ?? null;
  }));
  return live.filter((_, at) => builders[at] === 'buildpack' || builders[at] === 'classic-buildpack');
}

const upgrade = command({
  name: 'stack:upgrade', summary: 'Make the stack anew and rebuild the apps on it, one after the other', example: 'berth stack:upgrade --all', input: UpgradeInput, http: { method: 'POST', path: '/stack/upgrade' },
  async *stream(context, { apps, all }): AsyncGenerator<StreamItem> {
    if (!all && !apps?.length) throw new Rejected('stack.none', 'Which apps?', 'berth stack:upgrade <app>..., or --all');
    const rows = await standing(context, apps ?? []);
    const failed = yield* building(context, [], { force: true, all: false });
    if (failed !== null) { yield { id: '0', event: 'end', data: failed }; return; }
    const stayed: string[] = [];
    for (const row of rows) {
      let deploy: number | null;
      try { deploy = (await rebuild.run!(context, { app: row.name })).deploy; }
      catch (error) {
        if (!(error instanceof Rejected)) throw error;
        stayed.push(row.name);
        yield { id: '0', event: 'app', data: { app: row.name, deploy: null, status: 'refused', why: error.message } };
        continue;
      }
      if (deploy === null) continue;
      yield { id: '0', event: 'app', data: { app: row.name, deploy, status: 'begins', why: null } };
      for await (const item of followDeploy(context.core, row.id, deploy, 0, context.signal)) {
        if (item.event !== 'end') continue;
        const { status, failure } = item.data as EndOfDeploy;
        if (status !== 'succeeded') stayed.push(row.name);
        yield { id: '0', event: 'app', data: { app: row.name, deploy, status, why: failure?.message ?? null } };
      }
    }
    yield { id: '0', event: 'end', data: stayed.length === 0 ? { failed: null, hint: null } : { failed: `${stayed.length} of ${rows.length} apps stay on the stack of before: ${stayed.join(', ')}`, hint: `see: berth trace ${stayed[0]}` } };
  },
  renderItem: (item, out) => show(item as Item, out),
});

export const stackCommands = [forget(list), forget(build), forget(upgrade)];
