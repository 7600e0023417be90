import type { Recorded } from '../../events/event.js';
import type { AppContext, DeployKind, LiveContainer, PipelineEvent, ReleaseInput, Step } from '../../events/types/deploy.events.js';
import type { PipelineState, Run } from '../deploys/pipeline.state.js';
import { inputFor } from '../deploys/step-input.js';

/** A deploy that would follow, and what it would do to what runs. */
export interface PlannedDeploy {
  readonly app: string; readonly name: string; readonly deploy: number; readonly kind: DeployKind; readonly steps: readonly Step[];
  /** it failed and would go on from the first of `steps` */
  readonly again: boolean;
  /** null: at once */
  readonly behind: number | null;
  /** process type → how many; `guessed` where only the build will tell the process types */
  readonly starts: Readonly<Record<string, number>>; readonly stops: Readonly<Record<string, number>>; readonly guessed: boolean;
  readonly hosts: { readonly added: readonly string[]; readonly removed: readonly string[] };
  readonly downtime: { readonly expected: boolean; readonly why: string };
  /** bytes that the new containers may take beside the old ones; null where no limit says */
  readonly memory: { readonly needed: number; readonly available: number; readonly fits: boolean } | null;
}

function countOf(containers: readonly Pick<LiveContainer, 'type'>[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { type } of containers) counts[type] = (counts[type] ?? 0) + 1;
  return counts;
}
const total = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((sum, n) => sum + n, 0);

/** Which containers a deploy of this kind would start and stop, given the state behind the planned events. */
function containersOf(kind: DeployKind, run: Run, context: AppContext, state: PipelineState): { starts: Record<string, number>; stops: Record<string, number>; web: number; guessed: boolean } {
  const live = state.live?.containers ?? [];
  if (kind === 'domains') return { starts: {}, stops: {}, web: live.filter((c) => c.type === 'web').length, guessed: false };
  if (kind === 'push' || kind === 'rebuild') {
    const types = Object.keys(state.releases.find((r) => r.number === state.live?.release)?.spec.processTypes ?? { web: null });
    const starts = Object.fromEntries(types.map((type) => [type, context.formation[type] ?? Number(type === 'web')] as const).filter(([, n]) => n > 0));
    return { starts, stops: countOf(live), web: starts['web'] ?? 0, guessed: true };
  }
  const { formation, keep } = inputFor('release', run, context, state) as ReleaseInput;
  const kept = countOf(keep);
  const starts = Object.fromEntries(Object.entries(formation).map(([type, n]) => [type, n - (kept[type] ?? 0)] as const).filter(([, n]) => n > 0));
  const stay = new Set(keep.map((c) => c.id));
  return { starts, stops: countOf(live.filter((c) => !stay.has(c.id))), web: formation['web'] ?? 0, guessed: false };
}

function downtimeOf(state: PipelineState, web: number, removed: readonly string[], kept: number): PlannedDeploy['downtime'] {
  if (!state.live) return { expected: false, why: 'nothing serves yet' };
  if (web === 0 && state.live.containers.some((c) => c.type === 'web')) return { expected: true, why: 'no web container would run any more' };
  if (removed.length > 0 && kept === 0) return { expected: true, why: 'none of its addresses of today would answer any more' };
  return { expected: false, why: 'what serves goes on until the new containers answer' };
}

/** The deploys that `events` ask for. `state` and `context` are the app's behind all of them; `available`: bytes of free memory. Pure. */
export function plannedDeploys(events: readonly Recorded[], state: PipelineState, context: AppContext, available: number): PlannedDeploy[] {
  const all = events as unknown as readonly PipelineEvent[];
  return all.flatMap((event): PlannedDeploy[] => {
    if (event.type === 'JobRetried') return state.running?.deploy === event.data.deploy ? [plannedDeploy(state.running, state.running.steps.slice(state.running.steps.indexOf(state.running.step)), true)] : [];
    if (event.type !== 'BuildRequested' && event.type !== 'DeployRequested') return [];
    const { deploy, kind, source, steps, by } = event.data;
    // superseded again within the same plan
    if (all.some((later) => later.type === 'DeploySuperseded' && later.data.deploy === deploy)) return [];
    const run: Run = { deploy, kind, source, steps, by, job: '', step: steps[0]!, input: undefined as never, attempt: 0, claimed: false, lost: 0, faults: 0, retries: 0, retryOf: null, learnt: {}, work: '', coversUpTo: 0, base: state.live?.deploy ?? 0 };
    return [plannedDeploy(run, steps, false)];
  });

  function plannedDeploy(run: Run, steps: readonly Step[], again: boolean): PlannedDeploy {
    const { deploy, kind } = run;
    const { starts, stops, web, guessed } = containersOf(kind, run, context, state);
    const now = new Set(state.live?.hosts);
    const then = new Set(context.hosts);
    const removed = [...now].filter((host) => !then.has(host));
    const needed = total(starts) * context.limits.memory;
    return {
      app: context.app, name: context.name, deploy, kind, steps, again, behind: state.running && state.running.deploy !== deploy ? state.running.deploy : null,
      starts, stops, guessed, hosts: { added: [...then].filter((host) => !now.has(host)), removed },
      downtime: downtimeOf(state, web, removed, now.size - removed.length),
      memory: context.limits.memory > 0 ? { needed, available, fits: needed <= available } : null,
    };
  }
}

/** What would happen beside the log. Pure. */
export function besides(events: readonly Pick<Recorded, 'type'>[], keysMade: number, keysDestroyed: number): string[] {
  const types = new Set(events.map((event) => event.type));
  const notes: string[] = [];
  if (keysMade > 0) notes.push('a key for the app\'s secrets would be made');
  if (keysDestroyed > 0) notes.push('the key of the app\'s secrets would be destroyed: no copy of the log could be read for them any more');
  if (types.has('AppDestroyed')) notes.push('its containers, images, repository and logs would be removed: it would not answer any more');
  if (types.has('StorageDestroyed')) notes.push('the data of its volumes would be destroyed');
  if (types.has('SshKeyAdded') || types.has('SshKeyRemoved')) notes.push('the SSH server\'s list of keys would be written anew');
  if (types.has('DeployCancelled')) notes.push('the step under way would be stopped, what it made removed');
  return notes;
}
