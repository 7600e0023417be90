import type { SecretBox } from '../events/seal.js';
import { StepFailure, type Replies, type StepContext, type StepLog, type StepWork } from '../events/step.js';
import type { Step, StepOutput } from '../events/types/deploy.events.js';
import type { Additions, HookReply, HookTime, SealedAdditions } from '../events/types/plugin.events.js';
import type { Plugin } from '../modules/plugins/active.js';
import type { Plugins } from '../modules/plugins/plugins.service.js';
import type { HookCall } from '../plugins/contract/protocol.js';
import { merged } from '../plugins/contract/protocol.js';

type Box = Pick<SecretBox, 'seal' | 'unseal'>;
type Asks = Pick<Plugins, 'enabled' | 'ask'>;

/**
 * A step's work with the plugins that take part in it: all of them at once, before and after. What they answer is written down before it
 * counts; an attempt after this one takes it from there. No plugin: no cost but for asking which there are.
 */
export function withPlugins<S extends Step>(plugins: Asks, box: Box, work: StepWork<S>): StepWork<S> {
  return async (context) => {
    const { replies, step } = context;
    if (!replies) return work(context);
    const enabled = await plugins.enabled();
    const registered = (when: HookTime): Plugin[] => enabled.filter(({ manifest }) => manifest.hooks.some((hook) => hook.step === step && hook.when === when));
    const before = await consult('before', registered('before'), context, replies, plugins, box);
    const earlier = replies.all.filter((reply) => !(replies.of('before') ?? []).includes(reply));
    const given = await Promise.all([...earlier, ...before].flatMap(({ add }) => (add ? [opened(add, box)] : [])));
    const output = await work(given.length > 0 ? { ...context, added: merged(given) } : context);
    await consult('after', registered('after'), context, replies, plugins, box, output);
    return output;
  };
}

async function consult<S extends Step>(when: HookTime, registered: readonly Plugin[], context: StepContext<S>, replies: Replies, plugins: Asks, box: Box, output?: StepOutput): Promise<readonly HookReply[]> {
  const known = replies.of(when);
  const given = known ?? (registered.length === 0 ? [] : (await Promise.all(registered.map((plugin) => hook(when, plugin, context, plugins, box, output)))).filter((reply) => reply !== null));
  if (known === null && given.length > 0) await replies.record(when, given);
  for (const reply of given) tell(reply, context.log);
  const refusal = given.find(({ refuse }) => refuse !== undefined);
  if (refusal) throw new StepFailure('plugin.refused', `plugin ${refusal.plugin} refuses: ${refusal.refuse!.trim().replace(/\s+/g, ' ').slice(0, 500)}`, `it was asked ${when} ${context.step}; without it: berth plugin:disable ${refusal.plugin}`);
  return given;
}

async function hook<S extends Step>(when: HookTime, plugin: Plugin, context: StepContext<S>, plugins: Asks, box: Box, output?: StepOutput): Promise<HookReply | null> {
  const { app, step, deploy, job, attempt, input, log, signal } = context;
  const started = performance.now();
  const whose = (): Pick<HookReply, 'plugin' | 'version' | 'tookMs'> => {
    const tookMs = Math.round(performance.now() - started);
    log.call(`plugin.${plugin.name}`, tookMs, `${when} ${step}`);
    return { plugin: plugin.name, version: plugin.manifest.version, tookMs };
  };
  try {
    const wanted = { call: 'hook', hook: { step, when }, deploy, job, attempt, input, ...(output !== undefined && { output }) } as Omit<HookCall, 'protocol' | 'plugin' | 'berth' | 'settings' | 'app'>;
    const { answer: { add, refuse, say } } = await plugins.ask(plugin, wanted, { id: app, name: input.name }, signal, (line) => log.output(`${plugin.name}: ${line}`));
    // one of Berth's own that has nothing to say costs no event
    if (plugin.handlers !== null && !add && refuse === undefined && !say?.length) return null;
    const mayRefuse = plugin.manifest.hooks.some((each) => each.step === step && each.when === when && each.mayRefuse);
    return {
      ...whose(), ...(add && { add: await sealed(app, add, box) }), ...(say && say.length > 0 && { say }),
      ...(refuse !== undefined && (mayRefuse ? { refuse } : { fault: `it refuses (${refuse.slice(0, 200)}), which its manifest does not declare: mayRefuse` })),
    };
  } catch (error) {
    signal.throwIfAborted();
    // with one of Berth's own a deploy does not go on: what it guards would be open
    if (plugin.handlers !== null) throw new StepFailure('plugin.fault', `plugin ${plugin.name}, which comes with Berth, did not answer: ${(error as Error).message}`, `without it: berth plugin:disable ${plugin.name}`, 'machine', { cause: error });
    // whatever is wrong with another: the deploy goes on
    return { ...whose(), fault: (error as Error).message.slice(0, 500) };
  }
}

function tell({ plugin, say, fault, add }: HookReply, log: StepLog): void {
  for (const line of say ?? []) log.detail(`${plugin}: ${line}`);
  if (add && Object.keys(add).length > 0) log.output(`${plugin} adds ${Object.entries(add).map(([what, value]) => `${what} ${Array.isArray(value) ? value.length : Object.keys(value).join(' ')}`).join(', ')}`);
  if (fault !== undefined) log.warn(`Plugin ${plugin}: ${fault}; the deploy goes on without it`);
}

type Values<T> = Readonly<Record<string, T>>;
const each = async <A, B>(values: Values<A>, work: (value: A) => Promise<B>): Promise<Record<string, B>> => Object.fromEntries(await Promise.all(Object.entries(values).map(async ([key, value]) => [key, await work(value)] as const)));

/** Hashes of passwords stay sealed: only the router's table has them open. */
async function sealed(app: string, { env, buildArgs, router, ...plain }: Additions, box: Box): Promise<SealedAdditions> {
  const seal = (text: string): ReturnType<Box['seal']> => box.seal(app, text);
  const auth = router?.auth && { ...router.auth, users: await Promise.all(router.auth.users.map(async ({ name, hash }) => ({ name, hash: typeof hash === 'string' ? await seal(hash) : hash }))) };
  return { ...plain, ...(router && { router: { ...router, ...(auth && { auth }) } }), ...(env && { env: await each(env, seal) }), ...(buildArgs && { buildArgs: await each(buildArgs, seal) }) };
}

async function opened({ env, buildArgs, ...plain }: SealedAdditions, box: Box): Promise<Additions> {
  const open = (value: Parameters<Box['unseal']>[0]): Promise<string> => box.unseal(value);
  return { ...plain, ...(env && { env: await each(env, open) }), ...(buildArgs && { buildArgs: await each(buildArgs, open) }) };
}
