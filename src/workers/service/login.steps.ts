import { setTimeout as sleep } from 'node:timers/promises';
import { StepFailure, type OperationContext, type OperationWork } from '../../events/step.js';
import type { LoginStepInput } from '../../modules/services/service.operations.js';
import type { RotationBeside, ServiceAccess, ServiceLogin } from '../../plugins/services/service-type.js';
import { execFailure, mustExec, observed, openSpec, runExec, type ServiceDeps } from './deps.js';

/** longest that a server may take until a change of who is let in counts, ms */
const COUNTS_MS = 15_000;
const LOOK_MS = 200;
/** how a program ends that this container cannot be asked for */
const CANNOT = 78;

type Context = OperationContext<LoginStepInput>;

async function opened(deps: ServiceDeps, { input }: Context) {
  const { type, access } = await openSpec(deps, input);
  if (type.rotation?.how !== 'beside' || access.former === null) throw new StepFailure('service.no-logins', `${type.title} has no second login`, 'an upgrade was not finished: start the workers anew', 'machine');
  return { type, access, former: access.former, rotation: type.rotation };
}

/** Waits until the server lets the login in, or refuses it. @throws StepFailure (machine) when it never does */
async function seen(deps: ServiceDeps, context: Context, rotation: RotationBeside, access: ServiceAccess, login: ServiceLogin, wanted: 'let in' | 'refused', whose: string): Promise<void> {
  const { input, signal } = context;
  for (const until = performance.now() + COUNTS_MS; ;) {
    const { exitCode, stdout, stderr } = await runExec(observed(deps, context), input.container, rotation.login(access, login), signal);
    if ((exitCode === 0) === (wanted === 'let in')) return;
    if (performance.now() > until) throw new StepFailure('service.login', `${whose} password is ${wanted === 'let in' ? `refused: ${stderr || stdout}` : 'let in all the same'}`, 'see the service\'s log', 'machine');
    await sleep(LOOK_MS, undefined, { signal });
  }
}

/** The new login is let in beside the one before, and both were seen to be. */
export function admitStep(deps: ServiceDeps): OperationWork<LoginStepInput, null> {
  return async (context) => {
    const { input, signal, log } = context;
    const { type, access, former, rotation } = await opened(deps, context);
    const engine = observed(deps, context);
    for (const exec of rotation.admit(access)) {
      const ended = await runExec(engine, input.container, exec, signal);
      if (ended.exitCode === CANNOT) throw new StepFailure('service.earlier', ended.stderr || ended.stdout, `give it a new one, which takes a moment: berth ${input.type}:restart ${input.name}`);
      if (ended.exitCode !== 0) throw execFailure(exec, ended);
    }
    await seen(deps, context, rotation, access, access, 'let in', 'the new');
    if (!input.now) await seen(deps, context, rotation, access, former, 'let in', 'the old');
    log.info(`${type.title} ${input.name} has another password${input.now ? '' : '; the one before is let in as well'}`);
    return null;
  };
}

/** The login of before is shut out, and was seen to be. */
export function retireStep(deps: ServiceDeps): OperationWork<LoginStepInput, null> {
  return async (context) => {
    const { input, signal, log } = context;
    const { type, access, former, rotation } = await opened(deps, context);
    const engine = observed(deps, context);
    for (const exec of rotation.retire(access, former, input.now ?? false)) await mustExec(engine, input.container, exec, signal);
    await seen(deps, context, rotation, access, access, 'let in', 'the new');
    await seen(deps, context, rotation, access, former, 'refused', 'the old');
    log.info(`${type.title} ${input.name} lets the password before in no longer`);
    return null;
  };
}
