import { IsArray, IsString } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import { loadContext, pipelineStream } from '../apps/app-context.js';
import { checkSize, parse, splitGlobal } from '../commands/argv.js';
import { command, forget, Rest, type AnyCommand, type CommandContext } from '../commands/command.js';
import { validated } from '../commands/validated.js';
import { bytes } from '../commands/words.js';
import { pipeline } from '../deploys/pipeline.decider.js';
import { besides, plannedDeploys, type PlannedDeploy } from './effects.plan.js';
import { masked } from './mask.js';
import { tell } from './tell.js';
import { PlanningStore } from './planning.store.js';

/**
 * Commands whose work is all in the log, or follows from it: what they decide can be known beforehand. Any other one is refused, so
 * that a plan can never do what it only should tell.
 */
export const PLANNABLE: ReadonlySet<string> = new Set([
  'apps:create', 'apps:rename', 'apps:destroy', 'apps:set', 'config:set', 'config:unset', 'config:import', 'ps:scale', 'ps:restart', 'ps:rebuild', 'resource:limit', 'git:set', 'builder:set', 'builder-dockerfile:set', 'ports:set', 'ports:clear', 'stack:set',
  'deploys:create', 'deploys:cancel', 'rollback', 'jobs:retry', 'jobs:discard', 'domains:add', 'domains:remove', 'domains:set-global',
  'ssh-keys:add', 'ssh-keys:remove', 'tokens:create', 'tokens:revoke', 'trace:on', 'trace:off', 'undo', 'storage:mount', 'storage:unmount',
]);

class PlanInput {
  @IsArray() @IsString({ each: true }) @Rest('a command with its words, as it would be given', { label: 'command', raw: true }) words!: string[];
}

interface PlannedEvent { readonly stream: string; readonly version: number; readonly type: string; readonly data: unknown }
export interface Plan { readonly command: string; readonly events: readonly PlannedEvent[]; readonly deploys: readonly PlannedDeploy[]; readonly besides: readonly string[] }

/** The command that these words name, and its input; refused where the caller could not give it, either. */
async function commandOf(context: CommandContext, words: readonly string[], find: (name: string) => AnyCommand): Promise<{ wanted: AnyCommand; input: object; force: boolean }> {
  checkSize(words);
  const { name, rest, global } = splitGlobal(words);
  if (name === null) throw new Rejected('plan.command', 'Which command?', 'for example: berth plan ps:scale blog web=2');
  const wanted = find(name === 'berth' && rest[0] !== undefined ? rest.shift()! : name);
  if (!PLANNABLE.has(wanted.name)) {
    if (wanted.http.method === 'GET') throw new Rejected('plan.reads', `${wanted.name} changes nothing`, `just do it: berth ${wanted.name}`);
    throw new Rejected('plan.cannot', `What ${wanted.name} does is not all in the log, so it cannot be told beforehand`, `see: berth help ${wanted.name}`);
  }
  if (wanted.local && context.origin !== 'local') throw new Rejected('command.local', `${wanted.name} can only be run on the server itself`, `as root: berth plan ${wanted.name} …`);
  const parsed = parse(wanted, rest, global);
  if (parsed.global.json) throw new Rejected('argv.format', '--format stands before the command', `berth plan --format json ${wanted.name} …`);
  // nothing is destroyed: nobody has to be asked
  const force = parsed.global.force || context.force || wanted.name === 'apps:destroy';
  return { wanted, input: await validated(wanted, parsed.input), force };
}

async function plan(context: CommandContext, words: readonly string[], find: (name: string) => AnyCommand): Promise<Plan> {
  const { wanted, input, force } = await commandOf(context, words, find);
  const store = new PlanningStore(context.core.store);
  const core = context.core.on(store);
  const { once: _, ...rest } = context;
  await wanted.run!({ ...rest, core, force }, input);
  const deploys: PlannedDeploy[] = [];
  for (const stream of new Set(store.planned.map((event) => event.stream))) {
    if (!stream.startsWith('pipeline-')) continue;
    const app = stream.slice('pipeline-'.length);
    const { state } = await core.repository.load(pipeline, pipelineStream(app));
    deploys.push(...plannedDeploys(store.planned.filter((event) => event.stream === stream), state, await loadContext(core.repository, core.config, app), process.availableMemory()));
  }
  return {
    command: wanted.name, deploys, besides: besides(store.planned, store.keysMade.size, store.keysDestroyed.length),
    events: store.planned.map(({ stream, version, type, data }) => ({ stream, version, type, data: masked(data) })),
  };
}

const counts = (record: Readonly<Record<string, number>>): string => Object.entries(record).map(([type, n]) => `${type}=${n}`).join(' ') || 'none';

/** @param find knows every command */
export const planCommands = (find: (name: string) => AnyCommand) => [forget(command({
  name: 'plan', summary: 'Say what a command would do; nothing is changed', example: 'berth plan ps:scale blog web=2', input: PlanInput, http: { method: 'POST', path: '/plan' }, reads: true,
  run: (context, { words }) => plan(context, words, find),
  render: (answer, out) => {
    const { command: name, events, deploys, besides: notes } = answer;
    if (events.length === 0 && notes.length === 0) return out.info(`${name} would change nothing`);
    out.info(`${name} would append ${events.length} event${events.length === 1 ? '' : 's'}`);
    for (const event of events) out.detail(`${event.type.padEnd(18)} ${tell(event as { type: string; data: Record<string, unknown> }, 120)}`);
    for (const note of notes) out.detail(note);
    for (const d of deploys) {
      if (d.again) out.info(`Deploy ${d.deploy} of ${d.name} (${d.kind}) would go on: ${d.steps.join(', ')}`);
      else out.info(`Deploy ${d.deploy} of ${d.name} (${d.kind}) would follow${d.behind === null ? '' : `, behind deploy ${d.behind}`}: ${d.steps.join(', ')}`);
      if (d.kind !== 'domains') out.detail(`containers to start: ${counts(d.starts)}${d.guessed ? ', if the build finds the process types of today' : ''}; to stop: ${counts(d.stops)}`);
      if (d.hosts.added.length > 0) out.detail(`addresses more: ${d.hosts.added.join(' ')}`);
      if (d.hosts.removed.length > 0) out.detail(`addresses less: ${d.hosts.removed.join(' ')}`);
      out.detail(`downtime: ${d.downtime.expected ? 'yes' : 'none'}, ${d.downtime.why}`);
      if (d.memory && d.memory.needed > 0) {
        const { needed, available, fits } = d.memory;
        const words = `memory: the new containers may take ${bytes(needed)} beside the old ones, ${bytes(available)} are free`;
        if (fits) out.detail(words);
        else out.warn(`${words}: it may not fit`);
      }
    }
    if (deploys.length === 0) out.detail('no deploy would follow');
  },
}))];
