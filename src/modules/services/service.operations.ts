import { Rejected } from '../../events/decider.js';
import type { Sealed } from '../../events/sealed.js';
import type { FollowingDeploy } from '../../events/types/operation.events.js';
import type { ExposedPort, ServiceContainer, ServiceImage } from '../../events/types/service.events.js';
import { apps } from '../apps/app.decider.js';
import { appStream } from '../apps/app-context.js';
import { claims } from '../apps/claim.decider.js';
import type { Draft } from '../draft.js';
import type { OperationKind } from '../operations/operation.kind.js';
import type { OperationRun } from '../operations/operation.state.js';
import { nextTurn, serviceType } from '../../plugins/services/types.js';
import { linkIn, renewDsns, type LinkWish } from './link.js';
import { usersOf } from './password-users.js';
import { services, type Login, type ServiceState } from './service.decider.js';
import { serviceClaim, serviceStream } from './service-names.js';

/** What the steps of a service's operations are given and answer; secrets sealed with the service's key. */
export interface ServiceSpec {
  readonly service: string; readonly type: string; readonly name: string;
  /** that brought the type; absent: one of ours */
  readonly plugin?: string;
  readonly image: ServiceImage;
  readonly settings: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, Sealed>>;
  /** which of its type's users logs in; absent: the first */
  readonly turn?: number;
  /** the login of before, which is let in as well; absent: it is not */
  readonly former?: Login;
}
export interface ImageStepInput extends ServiceSpec { /** made or pulled although it is there */ readonly fresh: boolean }
export interface ImageStepOutput { readonly imageId: string }
export interface StartStepInput extends ServiceSpec { readonly imageId: string }
export type StartStepOutput = ServiceContainer;
export interface StopStepInput { readonly service: string; readonly container: string | null; readonly paused: boolean; readonly type: string; readonly plugin?: string }
export interface DumpStepInput extends ServiceSpec { readonly container: string; readonly dump: boolean }
export interface DumpStepOutput { readonly file: string | null }
export interface RemoveStepInput { readonly service: string }
export interface CopyStepInput extends ServiceSpec { readonly container: string; readonly from: ServiceSpec & { readonly container: string } }
export interface RotateStepInput extends ServiceSpec { readonly container: string; /** its secrets until now */ readonly before: Readonly<Record<string, Sealed>> }
/** the login `former` is let in as well, or is shut out */
export interface LoginStepInput extends ServiceSpec { readonly container: string; readonly former: Login; /** whatever becomes of whom has it */ readonly now?: boolean }
export interface ExposeStepInput { readonly service: string; readonly type: string; readonly name: string; readonly ports: readonly ExposedPort[] }

export const specOf = ({ id, type, plugin, name, image, settings, secrets, turn, former }: ServiceState): ServiceSpec => ({ service: id, type, ...(plugin !== undefined && { plugin }), name, image, settings, secrets, ...(turn !== 0 && { turn }), ...(former && { former }) });

/** The service as the draft has it. @throws Rejected when it is gone */
async function stateOf(draft: Draft, run: OperationRun): Promise<ServiceState> {
  const { service } = run.input as { service: string };
  const { state } = await draft.load(services, serviceStream(service));
  if (state.status === 'none' || state.status === 'destroyed') throw new Rejected('service.missing', `${run.subject} does not exist any more`, null, 20);
  return state;
}

export function running(state: ServiceState): string {
  if (state.container === null || state.wanted !== 'running') throw new Rejected('service.stopped', `${state.type} service ${state.name} does not run`, `start it: berth ${state.type}:start ${state.name}`);
  return state.container.id;
}

async function started(draft: Draft, run: OperationRun, image: ServiceImage): Promise<void> {
  const { service } = run.input as { service: string };
  await draft.decide(services, serviceStream(service), { type: 'Started', image, container: run.learnt['start'] as StartStepOutput });
}

/** The deploys of apps whose config was changed; of those that are gone, or never ran, none. */
export async function deploysOf(draft: Draft, appIds: readonly string[], kind: 'config' | 'link', by: string): Promise<FollowingDeploy[]> {
  const deploys: FollowingDeploy[] = [];
  for (const app of appIds) {
    if ((await draft.load(apps, appStream(app))).state.status !== 'live') continue;
    const deploy = await draft.deploy(app, kind, by);
    if (deploy !== null) deploys.push({ app, deploy });
  }
  return deploys;
}

type WithLink = { service: string; link: LinkWish | null };
async function linkAfter(draft: Draft, run: OperationRun): Promise<readonly FollowingDeploy[]> {
  const { service, link } = run.input as WithLink;
  if (link === null) return [];
  await linkIn(draft, service, link);
  return deploysOf(draft, [link.app], 'link', run.by);
}

const SLOW = { image: 30 * 60_000, start: 10 * 60_000, dump: 6 * 3_600_000, copy: 6 * 3_600_000 };

async function startInput(draft: Draft, step: string, run: OperationRun): Promise<unknown> {
  const state = await stateOf(draft, run);
  const { image, fresh = false } = run.input as { image?: ServiceImage; fresh?: boolean };
  const spec = { ...specOf(state), ...(image && { image }) };
  return step === 'image' ? { ...spec, fresh } satisfies ImageStepInput : { ...spec, imageId: (run.learnt['image'] as ImageStepOutput).imageId } satisfies StartStepInput;
}

/** Made, and linked when that was asked for. */
const create: OperationKind = {
  queue: 'service', steps: ['image', 'start'], deadlines: SLOW, input: startInput,
  ending: async (draft, run) => {
    await started(draft, run, (await stateOf(draft, run)).image);
    return linkAfter(draft, run);
  },
};

/** A new container in the place of the old one, on the same data: start, restart, upgrade, changed settings, repair. */
const replace: OperationKind = {
  queue: 'service', steps: ['image', 'start'], deadlines: SLOW, input: startInput,
  ending: async (draft, run) => started(draft, run, (run.input as { image?: ServiceImage }).image ?? (await stateOf(draft, run)).image),
};

const stop: OperationKind = {
  queue: 'service', steps: ['stop'],
  input: async (draft, _, run) => {
    const { id: service, container, type, plugin } = await stateOf(draft, run);
    return { service, type, ...(plugin !== undefined && { plugin }), container: container?.id ?? null, paused: (run.input as { paused: boolean }).paused } satisfies StopStepInput;
  },
  ending: async (draft, run) => { await draft.decide(services, serviceStream((run.input as { service: string }).service), { type: 'Stopped', paused: (run.input as { paused: boolean }).paused }); },
};

/**
 * `beside`: the one before is let in until nobody has it any more; `now`: it is shut out at once. Types that know one password get the new one
 * `instead`, or by a new `container`. Absent: asked for by an earlier Berth, which knew the last two
 */
export type RotateHow = 'beside' | 'now' | 'instead' | 'container';
interface RotateWish { readonly service: string; readonly secrets: Record<string, Sealed>; readonly how?: RotateHow }
const ROTATE_STEPS: Readonly<Record<RotateHow, readonly string[]>> = { beside: ['admit'], now: ['admit', 'retire'], instead: ['rotate'], container: ['image', 'start'] };
/** whose turn it is once it has another password */
const turnOf = ({ type, turn }: ServiceState, how: RotateHow | undefined): number => (how === 'beside' || how === 'now' ? nextTurn(serviceType(type), turn) : turn);

/** Another password, and its DSN for every linked app that runs with the one before. */
const rotate: OperationKind = {
  queue: 'service', steps: ({ how = 'instead' }: RotateWish) => ROTATE_STEPS[how], deadlines: SLOW,
  input: async (draft, step, run) => {
    const state = await stateOf(draft, run);
    const { secrets, how } = run.input as RotateWish;
    if (how === 'beside' && state.former) throw new Rejected('service.rotating', `${state.type} service ${state.name} still lets the password before this one in, too`, `see why: berth ${state.type}:info ${state.name}; or give it a new one and shut out all others at once: berth ${state.type}:rotate ${state.name} --now`);
    const { turn: _, former: __, ...spec } = specOf(state);
    const turn = turnOf(state, how);
    const login = { secrets, ...(turn !== 0 && { turn }) };
    if (step === 'admit' || step === 'retire') return { ...spec, ...login, former: { secrets: state.secrets, turn: state.turn }, container: running(state), ...(how === 'now' && { now: true }) } satisfies LoginStepInput;
    if (step === 'rotate') return { ...spec, ...login, before: state.secrets, container: running(state) } satisfies RotateStepInput;
    return { ...(await startInput(draft, step, run) as object), ...login };
  },
  ending: async (draft, run) => {
    const { service, secrets, how } = run.input as RotateWish;
    const state = await stateOf(draft, run);
    if (run.learnt['start'] !== undefined) await started(draft, run, state.image);
    await draft.decide(services, serviceStream(service), { type: 'Rotate', secrets, turn: turnOf(state, how), keeps: how === 'beside' });
    await renewDsns(draft, service);
    return deploysOf(draft, await usersOf(draft, state), 'config', run.by);
  },
};

/** The login of before is let in no longer: nobody has it any more. */
const retire: OperationKind = {
  queue: 'service', steps: ['retire'],
  input: async (draft, _, run) => {
    const state = await stateOf(draft, run);
    if (state.former === null) throw new Rejected('service.retired', `${state.type} service ${state.name} lets no password of before in any more`);
    return { ...specOf(state), former: state.former, container: running(state) } satisfies LoginStepInput;
  },
  ending: async (draft, run) => { await draft.decide(services, serviceStream((run.input as { service: string }).service), { type: 'Retire' }); },
};

/** A new service with another one's data. */
const clone: OperationKind = {
  queue: 'service', steps: ['image', 'start', 'copy'], deadlines: SLOW,
  input: async (draft, step, run) => {
    if (step !== 'copy') return startInput(draft, step, run);
    const from = (await draft.load(services, serviceStream((run.input as { from: string }).from))).state;
    return { ...specOf(await stateOf(draft, run)), container: (run.learnt['start'] as StartStepOutput).id, from: { ...specOf(from), container: running(from) } } satisfies CopyStepInput;
  },
  ending: async (draft, run) => started(draft, run, (await stateOf(draft, run)).image),
};

/** A last dump, unless it is not wanted or not to be had; then everything goes. */
const destroy: OperationKind = {
  queue: 'service', steps: ['dump', 'remove'], deadlines: SLOW,
  input: async (draft, step, run) => {
    const state = await stateOf(draft, run);
    if (state.links.length > 0) throw new Rejected('service.linked', `${state.type} service ${state.name} was linked meanwhile`, `first: berth ${state.type}:unlink ${state.name} <app>`);
    // retried after it was spared
    if (state.status === 'live') await draft.decide(services, serviceStream(state.id), { type: 'Doom' });
    if (step === 'remove') return { service: state.id } satisfies RemoveStepInput;
    const { dump } = run.input as { dump: boolean };
    return { ...specOf(state), dump, container: dump ? running(state) : '' } satisfies DumpStepInput;
  },
  ending: async (draft, run) => {
    const { id: service, type, name } = await stateOf(draft, run);
    await draft.decide(services, serviceStream(service), { type: 'Destroy', dump: (run.learnt['dump'] as DumpStepOutput).file });
    await draft.decide(claims, serviceClaim(type, name), { type: 'Release', name: `${type}:${name}`, app: service });
  },
  undone: async (draft, run) => {
    // nothing was removed yet
    if (run.learnt['dump'] === undefined) await draft.decide(services, serviceStream((run.input as { service: string }).service), { type: 'Spare' });
  },
};

const expose: OperationKind = {
  queue: 'service', steps: ['expose'], deadlines: SLOW,
  input: async (draft, _, run) => {
    const { id: service, type, name } = await stateOf(draft, run);
    return { service, type, name, ports: (run.input as { ports: readonly ExposedPort[] }).ports } satisfies ExposeStepInput;
  },
  ending: async (draft, run) => {
    const { service, ports } = run.input as { service: string; ports: readonly ExposedPort[] };
    await draft.decide(services, serviceStream(service), ports.length === 0 ? { type: 'Unexpose' } : { type: 'Expose', ports });
  },
};

export const SERVICE_KINDS: Readonly<Record<string, OperationKind>> = {
  'service-create': create, 'service-replace': replace, 'service-stop': stop, 'service-rotate': rotate, 'service-retire': retire, 'service-clone': clone, 'service-destroy': destroy, 'service-expose': expose,
};
