import { StepFailure } from '../../events/step.js';
import { asWritten } from './dockerfile-config.js';
import { serverOf } from './registry-login.js';
import { binarySize } from './units.js';
import { type FailedStep, parseStep } from './buildkit/progress.js';

const FRAMES = [/^failed to solve with frontend [\w.]+: /, /^failed to solve: /, /^failed to create LLB definition: /, /^failed to build LLB: /, /^rpc error: code = \w+ desc = /, /^executor failed running /];
function bare(text: string): string {
  let at = text.trim();
  for (let again = true; again; ) {
    again = false;
    for (const frame of FRAMES) if (frame.test(at)) [at, again] = [at.replace(frame, ''), true];
  }
  return at.replace(/\s*\n\s*/g, ' ');
}

/** `step 3/7: RUN make` */
export function place(name: string): string {
  const step = parseStep(name);
  if (!step) return name;
  const instruction = asWritten(step.instruction).replace(/\s+/g, ' ');
  return `step ${step.stage && !/^stage-\d+$/.test(step.stage) ? `${step.stage} ` : ''}${step.step}/${step.total}: ${instruction.length > 160 ? `${instruction.slice(0, 157)}...` : instruction}`;
}

/** The exit code in the words of either builder; null when the step did not run a program. */
export function exitCode(text: string): number | null {
  const found = /exit code: (\d+)|returned a non-zero code: (\d+)/.exec(text);
  return found ? Number(found[1] ?? found[2]) : null;
}

/** What a builder's error means, for the user who has to mend it. */
export function buildFailure(error: string, failed: FailedStep | null): StepFailure {
  const text = bare(failed?.error ?? error);
  const base = /load metadata for (\S+)/.exec(failed?.name ?? '')?.[1] ?? /pull access denied for ([^\s,]+)/.exec(text)?.[1];
  if (base && !/no build stage|parse error/.test(text)) {
    const locked = /unauthorized|denied|forbidden|authentication required|no basic auth|authorization failed/i.test(text);
    return new StepFailure('build.base-image', `the base image ${base} cannot be had: ${text}`, locked ? `is its name right? For a private registry give its login (or a new one): berth registry:login ${serverOf(base)} <username>` : 'it must be on this machine (docker images) or in a registry that this machine can reach');
  }
  const code = exitCode(text) ?? exitCode(error);
  if (code === null && /no space left on device/i.test(`${failed?.error} ${error}`)) {
    return new StepFailure('build.disk-full', `the disk filled up while building: ${text}`, 'make room on the server: see berth doctor', 'machine');
  }
  // the engine's own trouble: the same build may pass the next time
  if (code === null && /unexpected EOF|transport is closing|code = (?:Unavailable|Internal) |connection (?:refused|reset)/i.test(`${failed?.error} ${error}`)) {
    return new StepFailure('build.engine', `the engine broke the build off: ${text}`, 'it is tried again; if it stays so, look at the engine\'s log', 'machine');
  }
  if (failed && parseStep(failed.name)) {
    const hint = code === null ? 'mend this line of the Dockerfile'
      : code === 127 ? 'the command is not in the image: install it in an earlier step'
      : 'its output is above; run the same command in your project to see it on your machine';
    return new StepFailure('build.failed', `the build failed in ${place(failed.name)}: ${code === null ? text : `exit code ${code}`}`, hint);
  }
  if (code !== null) return new StepFailure('build.failed', `the build failed: ${text}`, 'its output is above');
  if (/dockerfile|parse error|unknown instruction|unknown flag|requires (at least|exactly)|no build stage|syntax/i.test(text)) {
    return new StepFailure('build.dockerfile', `the Dockerfile cannot be used: ${text.replace(/^Dockerfile parse error/i, 'parse error')}`, 'mend the Dockerfile and push again');
  }
  return new StepFailure('build.failed', `the build failed: ${text}`, null);
}

export function outOfMemory(limit: number, where: string | null): StepFailure {
  return new StepFailure('build.out-of-memory', `the build ran out of memory${where ? ` in ${place(where)}` : ''}: it may use ${binarySize(limit)}`,
    'raise the limit: berth resource:limit <app> --build-memory 4g, or BERTH_BUILD_MEMORY for the server, and push again');
}

export function timedOut(timeoutMs: number, where: string | null): StepFailure {
  const limit = timeoutMs >= 60_000 ? `${Math.round(timeoutMs / 6000) / 10} minutes` : `${timeoutMs / 1000} seconds`;
  return new StepFailure('build.timeout', `the build took longer than ${limit}${where ? `; it was in ${place(where)}` : ''}`, 'raise the limit: set BERTH_BUILD_TIMEOUT (seconds) for the server');
}
