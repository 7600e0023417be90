import { StepFailure } from '../../events/step.js';
import type { Builder, Planned, Project, Stack, StackImagePair } from './builder.port.js';
import { orSay } from './generated.js';

/** Name of the setting, of an app or of the whole server: two images, a space between them, or `own`. */
export const STACK_IMAGES = 'stack';
/** An app's way to stand on Berth's own stack although another one is set for the whole server. */
export const OWN = 'own';

/** `heroku-24` as Heroku's users write it; `name:tag-build` has its run image beside it; any other image alone is both. */
export function stackPair(build: string, run?: string): StackImagePair {
  const heroku = /^heroku-(\d{2})$/.exec(build);
  if (heroku && run === undefined) return { build: `heroku/heroku:${heroku[1]}-build`, run: `heroku/heroku:${heroku[1]}` };
  return { build, run: run ?? build.replace(/(?<=:[^/]*)-build$/, '') };
}
export const pairText = ({ build, run }: StackImagePair): string => `${build} ${run}`;

/** The images that a setting names; null for Berth's own. */
export function setPair(setting: string | undefined): StackImagePair | null {
  const [build, run] = (setting ?? '').split(' ');
  return build && run ? { build, run } : null;
}

/** Berth's stack with other images. What STACK says they say themselves; which languages they have nobody knows. */
export function foreignStack(pair: StackImagePair, own: Stack): Stack {
  return {
    name: null, ...pair, set: pair, versions: {}, user: own.user,
    image: (_, part) => { throw lacks(`what is needed for ${part}`, pair); },
  };
}
/** The stack of a project with these settings. */
export function stackOf(settings: Readonly<Record<string, string>>, own: Stack): Stack {
  const pair = setPair(settings[STACK_IMAGES]);
  return pair === null ? own : foreignStack(pair, own);
}

function lacks(what: string, pair: StackImagePair): StepFailure {
  return new StepFailure('detect.stack', `${what} comes with Berth's own stack, and the stack is set to ${pair.build}`, 'go back to it: berth stack:set <app> own; or take a buildpack that is made for that image: berth buildpacks:set <app> <git URL>');
}

/** @throws StepFailure `detect.stack` when a buildpack of ours cannot stand on the images that were set */
export function requireStack(builder: Builder, { stack }: Project): void {
  if (stack.set !== undefined && builder.needs === undefined) throw lacks(`the ${builder.name} buildpack`, stack.set);
}

/**
 * A plan on images that were set: each stage on one begins as root, without the image's own entry point, and says what is missing
 * before anything else would fail for it. The plan names the images.
 */
export function onStack<P extends Planned>(planned: P, { stack }: Project, builders: readonly Builder[]): P {
  const { plan } = planned;
  const pair = stack.set;
  if (pair === undefined || (plan.builder !== 'buildpack' && plan.builder !== 'classic-buildpack')) return planned;
  const needs = (kind: 'build' | 'run'): string[] => [...new Set(builders.filter(({ name }) => (plan.buildpack ?? '').split(', ').includes(name)).flatMap((builder) => Object.entries(builder.needs?.[kind] ?? {})).map(([what, test]) => `RUN ${test} > /dev/null 2>&1${orSay(`the stack image ${pair[kind]} has no ${what}, which this buildpack needs`)}`))];
  const dockerfile = plan.dockerfile?.split('\n').flatMap((line) => {
    const image = /^FROM (\S+)/.exec(line)?.[1];
    if (image === pair.build && /^FROM \S+ AS /.test(line)) return [line, 'USER 0:0', ...needs('build')];
    return image === pair.run ? [line, 'USER 0:0', 'ENTRYPOINT []', ...needs('run')] : [line];
  }).join('\n') ?? null;
  return { ...planned, plan: { ...plan, dockerfile, stack: pair }, details: [...planned.details, `stack: ${pair.build}, ${pair.run} (set)`] };
}
