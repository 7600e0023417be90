import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { StepFailure, type StepLog } from '../../events/step.js';
import type { EnginePort } from '../engine/engine.port.js';
import { LABEL_DEFINITION, partHash, partImages } from './stack.js';

/** The stack's images as builds need them: those of a part are made when the first app wants it. */
export class StackImages {
  /** @param program `dist/stack-build.mjs` */
  constructor(private readonly engine: EnginePort, private readonly program: string) {}

  /**
   * Makes what is missing. Workers that want the same one at once wait for each other.
   * @throws StepFailure (machine) `build.no-stack` the common images are not there, `build.stack` a part could not be made
   */
  async ensure(images: readonly string[], log: StepLog, signal: AbortSignal): Promise<void> {
    const parts = partImages();
    for (const image of images) {
      const found = await this.engine.inspectImage(image);
      const what = parts.get(image);
      // the engine would look for what is missing on the internet, in a stranger's namespace
      if (what === undefined) { if (found === null) throw new StepFailure('build.no-stack', `the stack image ${image} is not on this machine`, 'make it again: deploy/bootstrap.sh', 'machine'); }
      else if (found?.labels[LABEL_DEFINITION] !== partHash(what.kind, what.part)) await this.make(image, what.part, log, signal);
    }
  }

  private async make(image: string, part: string, log: StepLog, signal: AbortSignal): Promise<void> {
    const started = performance.now();
    log.detail(`Making ${image}: the first app that wants ${part} on this server`);
    const child = spawn(process.execPath, [this.program, image, '--verbose'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const stop = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    const complaints: string[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => log.output(line));
    createInterface({ input: child.stderr }).on('line', (line) => { complaints.push(line.replace(/^ !\s+/, '').trim()); log.output(line); });
    const code = await new Promise<number | string>((resolve, reject) => { child.on('error', reject); child.on('close', (exit, by) => resolve(exit ?? by ?? 'unknown')); }).finally(() => signal.removeEventListener('abort', stop));
    signal.throwIfAborted();
    if (code !== 0) throw new StepFailure('build.stack', `${image} could not be made: ${complaints[0] ?? `stack-build ended with ${code}`}`, complaints.at(-1) ?? null, 'machine');
    log.call('stack.make', performance.now() - started, image);
  }
}
