import type { Config } from '../../config.js';
import type { EnginePort, ExecIo } from '../../drivers/engine/engine.port.js';
import { execOutput } from '../../drivers/engine/exec-output.js';
import type { VolumePort } from '../../drivers/engine/volume.port.js';
import type { Sealed } from '../../events/sealed.js';
import { StepFailure, type OperationContext } from '../../events/step.js';
import type { ServiceSpec } from '../../modules/services/service.operations.js';
import type { TypeName } from '../../modules/services/type-of.js';
import type { ServiceAccess, ServiceExec, ServiceType } from '../../plugins/services/service-type.js';
import { accessOf } from '../../plugins/services/types.js';

export interface ServiceDeps {
  readonly engine: EnginePort;
  readonly volumes: Pick<VolumePort, 'ensure' | 'remove' | 'inspect'>;
  readonly config: Pick<Config, 'instance' | 'root' | 'networkPool' | 'buildProxy' | 'buildCa' | 'goProxy'>;
  readonly unseal: (sealed: Sealed) => Promise<string>;
  readonly typeOf: (name: TypeName) => Promise<ServiceType>;
  readonly now: () => number;
}

/** The engine with its calls in the step's log. */
export const observed = (deps: ServiceDeps, { log }: Pick<OperationContext, 'log'>): EnginePort => deps.engine.observed((name, ms, detail) => log.call(name, ms, detail));

/** What the type says of this very service, its passwords opened. */
export async function openSpec(deps: Pick<ServiceDeps, 'unseal' | 'typeOf'>, spec: ServiceSpec): Promise<{ type: ServiceType; access: ServiceAccess }> {
  const type = await deps.typeOf(spec);
  const password = (secrets: ServiceSpec['secrets']): Promise<string> => deps.unseal(secrets['password']!);
  const former = spec.former ? { password: await password(spec.former.secrets), turn: spec.former.turn } : null;
  return { type, access: accessOf(type, spec.name, await password(spec.secrets), spec.turn, former) };
}

async function* once(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

/** Runs one of a type's programs; answers the exit code and what it printed. */
export async function runExec(engine: Pick<EnginePort, 'exec'>, container: string, { stdin, ...exec }: ServiceExec, signal: AbortSignal): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const pieces: Buffer[] = [];
  const io: ExecIo = { signal, stdout: (piece) => { pieces.push(piece); }, ...(stdin !== undefined && { stdin: once(stdin) }) };
  const { exitCode, stderr } = await engine.exec(container, exec, io);
  return { exitCode, stderr: stderr.trim(), stdout: Buffer.concat(pieces).toString().trim() };
}

/** Why a program that did not end with 0 fails its step. */
export const execFailure = ({ argv }: ServiceExec, { exitCode, stdout, stderr }: Awaited<ReturnType<typeof runExec>>): StepFailure => new StepFailure('service.exec', `${argv[0]} ended with ${exitCode}: ${stderr || stdout || 'it said nothing'}`, 'see the service\'s log', 'machine');

/** The same where it has to go well. @throws StepFailure (machine) */
export async function mustExec(engine: Pick<EnginePort, 'exec'>, container: string, exec: ServiceExec, signal: AbortSignal): Promise<string> {
  const ended = await runExec(engine, container, exec, signal);
  if (ended.exitCode !== 0) throw execFailure(exec, ended);
  return ended.stdout;
}

/** What a program prints, read no faster than it is taken. @throws StepFailure (machine) when it does not end well: what came is not all */
export async function* printed(engine: Pick<EnginePort, 'exec'>, container: string, { stdin: _, ...exec }: ServiceExec, signal: AbortSignal): AsyncGenerator<Buffer> {
  const { output, ended } = execOutput(engine, container, exec, { signal });
  yield* output;
  const { exitCode, stderr } = await ended;
  if (exitCode !== 0) throw new StepFailure('service.dump', `${exec.argv[0]} ended with ${exitCode}: ${stderr.trim() || 'it said nothing'}`, 'does the service run? its log may say why', 'machine');
}
