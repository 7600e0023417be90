import { StepFailure, type StepLog } from '../../events/step.js';
import type { EnginePort } from '../engine/engine.port.js';
import { runStackBuild, type StackBuilt } from './stack-builds.js';
import { definitionHashes, LABEL_DEFINITION, partHash, partImages, stackImages, versionOf } from './stack.js';

export interface StackImage {
  readonly image: string;
  /** `run`, `java (build)` */
  readonly what: string;
  /** `old`: made from another definition than today's */
  readonly state: 'ready' | 'old' | 'not made';
  /** see versionOf */
  readonly version: string | null;
  readonly bytes: number | null;
  /** ms since the epoch */
  readonly made: number | null;
}

/** The stack's images as builds need them: those of a part are made when the first app wants it. */
export class StackImages {
  /** @param program `dist/stack-build.mjs` */
  constructor(private readonly engine: EnginePort, private readonly program: string) {}

  /**
   * Makes what is missing, pulls what was set. Workers that want the same one at once wait for each other.
   * @throws StepFailure (machine) `build.no-stack` the common images are not there, `build.stack` a part could not be made; `image.*` one that was set cannot be had
   */
  async ensure(images: readonly string[], log: StepLog, signal: AbortSignal): Promise<void> {
    const parts = partImages();
    const common: readonly string[] = Object.values(stackImages());
    for (const image of images) {
      const found = await this.engine.inspectImage(image);
      const what = parts.get(image);
      // the engine would look for what is missing on the internet, in a stranger's namespace
      if (what === undefined && !common.includes(image)) { if (found === null) { log.info(`Pulling ${image}`); await this.pull(image, (line) => log.output(line), signal); } }
      else if (what === undefined) { if (found === null) throw new StepFailure('build.no-stack', `the stack image ${image} is not on this machine`, 'make it again: deploy/bootstrap.sh', 'machine'); }
      else if (found?.labels[LABEL_DEFINITION] !== partHash(what.kind, what.part)) await this.make(image, what.part, log, signal);
    }
  }

  /** Brings an image that was set to what its registry has now. @throws StepFailure `image.*` */
  async pull(image: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    await this.engine.pullImage(image, signal, onLine);
  }

  /** What `build` takes: parts, and images of theirs. */
  names(): readonly string[] {
    const parts = partImages();
    return [...new Set([...parts.values()].map(({ part }) => part)), ...parts.keys()];
  }

  /** Every image of the stack, the common ones first. */
  async list(): Promise<readonly StackImage[]> {
    const { base, run, build } = stackImages();
    const hashes = definitionHashes();
    const common = [[base, 'base', hashes.base], [run, 'run', hashes.run], [build, 'build', hashes.build]] as const;
    const parts = [...partImages()].map(([image, { kind, part }]) => [image, `${part} (${kind})`, partHash(kind, part)] as const);
    return Promise.all([...common, ...parts].map(async ([image, what, hash]) => {
      const found = await this.engine.inspectImage(image);
      const state = found === null ? 'not made' : found.labels[LABEL_DEFINITION] === hash ? 'ready' : 'old';
      return { image, what, state, version: found && versionOf(image, found), bytes: found?.bytes ?? null, made: found?.created ?? null } as const;
    }));
  }

  /** The version that each image has now; those that are not on this machine are left out. */
  async versions(images: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const found = await Promise.all([...new Set(images)].map(async (image) => [image, await this.engine.inspectImage(image)] as const));
    return new Map(found.flatMap(([image, is]) => (is === null ? [] : [[image, versionOf(image, is)] as const])));
  }

  /** Makes images: all that are there already when none is named. See runStackBuild. */
  async build(names: readonly string[], options: { readonly force: boolean; readonly all: boolean }, onLine: (line: string) => void, signal: AbortSignal): Promise<StackBuilt> {
    const told = (line: string, stream: 'stdout' | 'stderr'): void => { if (stream === 'stdout') onLine(line); };
    const flags = [...(options.force ? ['--force'] : []), ...(options.all ? ['--all'] : []), '--verbose'];
    if (names.length > 0 || options.all) return runStackBuild(this.program, [...names, ...flags], told, signal);
    const parts = new Set(partImages().keys());
    const there = (await this.list()).filter(({ image, state }) => parts.has(image) && state !== 'not made').map(({ image }) => image);
    // what is forced is what is named: first what all stand on
    const common = await runStackBuild(this.program, flags, told, signal);
    return common.code !== 0 || there.length === 0 ? common : runStackBuild(this.program, [...there, ...flags], told, signal);
  }

  private async make(image: string, part: string, log: StepLog, signal: AbortSignal): Promise<void> {
    const started = performance.now();
    log.detail(`Making ${image}: the first app that wants ${part} on this server`);
    const { code, complaints } = await runStackBuild(this.program, [image, '--verbose'], (line) => log.output(line), signal);
    if (code !== 0) throw new StepFailure('build.stack', `${image} could not be made: ${complaints[0] ?? `stack-build ended with ${code}`}`, complaints.at(-1) ?? null, 'machine');
    log.call('stack.make', performance.now() - started, image);
  }
}
