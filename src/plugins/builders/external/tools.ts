import { StepFailure } from '../../../events/step.js';
import type { Planned, Project } from '../builder.port.js';
import { buildArgs } from '../dockerfile.builder.js';

/**
 * Builders that are programs of their own: Cloud Native Buildpacks by `pack`, Nixpacks and Railpack. Their command lines are those of
 * pack 0.38, nixpacks 1.40 and railpack 0.9; what they decide is theirs, so the plan says little more than who builds.
 */
export const EXTERNAL = {
  pack: { title: 'Cloud Native Buildpacks', install: 'https://buildpacks.io/docs/for-platform-operators/how-to/integrate-ci/pack/' },
  nixpacks: { title: 'Nixpacks', install: 'https://nixpacks.com/docs/install' },
  railpack: { title: 'Railpack', install: 'https://railpack.com/installation' },
} as const;
export type External = keyof typeof EXTERNAL;

export const isExternal = (name: string): name is External => Object.hasOwn(EXTERNAL, name);

/** the builder image of `pack` when the setting `pack-builder` names none; Heroku's fits what its users know */
const PACK_BUILDER = 'heroku/builder:24';
const IMAGE = /^[a-z0-9][a-z0-9._/:@-]{0,254}$/i;

/** @throws StepFailure `detect.pack-builder` */
export function planExternal(project: Project, tool: External): Planned {
  const builder = project.settings['pack-builder'] || PACK_BUILDER;
  if (tool === 'pack' && !IMAGE.test(builder)) throw new StepFailure('detect.pack-builder', `setting pack-builder: ${JSON.stringify(builder).slice(0, 100)} is not the name of an image`, `for example: ${PACK_BUILDER}`);
  const summary = tool === 'pack' ? `${EXTERNAL.pack.title} (${builder})` : EXTERNAL[tool].title;
  return {
    plan: {
      builder: 'external', buildpack: tool, summary, dockerfilePath: null, dockerfile: null, buildArgs: buildArgs(project), ...(tool === 'pack' ? { image: { reference: builder, pull: false, loaded: false } } : {}),
      processTypes: project.procfile?.processes ?? { web: null }, releaseCommand: project.procfile?.release ?? null, check: project.appJson.check, port: 5000,
    },
    details: [`setting builder is ${tool}: it decides how the app is built`, project.procfile === null ? `no Procfile: ${tool} says how web is started` : `Procfile: ${Object.keys(project.procfile.processes).join(', ')}`],
    warnings: [],
  };
}

export interface ToolCall {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The tool's command line. Values of the config go by environment (`--env NAME` without a value takes it from there), so that they are on no
 * command line.
 * @param source folder of the unpacked source; `out`: an empty folder for what the tool writes; `tag`: the image that `pack` makes
 */
export function toolCall(tool: External, given: { readonly source: string; readonly out: string; readonly tag: string; readonly builder: string; readonly socket: string; readonly env: Readonly<Record<string, string>> }): ToolCall {
  const names = Object.keys(given.env).toSorted();
  const env = { ...given.env, DOCKER_HOST: `unix://${given.socket}`, NO_COLOR: '1' };
  switch (tool) {
    case 'pack': return { args: ['build', given.tag, '--path', given.source, '--builder', given.builder, '--pull-policy', 'if-not-present', '--no-color', ...names.flatMap((name) => ['--env', name])], env };
    case 'nixpacks': return { args: ['build', given.source, '--out', given.out, ...names.flatMap((name) => ['--env', name])], env };
    case 'railpack': return { args: ['prepare', given.source, '--plan-out', `${given.out}/railpack-plan.json`, '--info-out', `${given.out}/railpack-info.json`, ...names.flatMap((name) => ['--env', name])], env };
  }
}

interface BuiltProcess { readonly type: string; readonly command: string | readonly string[]; readonly args?: readonly string[]; readonly default?: boolean }

/**
 * Process types of an image that `pack` made, from its label `io.buildpacks.build.metadata`; each is a program of the launcher.
 * @throws StepFailure `build.no-process`
 */
export function packProcesses(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  let processes: readonly BuiltProcess[] = [];
  try { processes = (JSON.parse(labels['io.buildpacks.build.metadata'] ?? '{}') as { processes?: readonly BuiltProcess[] }).processes ?? []; }
  catch (error) { throw new StepFailure('build.failed', `pack wrote metadata that is no JSON: ${(error as Error).message}`, null); }
  const types = Object.fromEntries(processes.filter(({ type }) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(type)).map(({ type }) => [type, `/cnb/process/${type}`]));
  if (Object.keys(types).length === 0) throw new StepFailure('build.no-process', 'no buildpack of the builder says how to start this app', 'add a Procfile with the line "web: <command that listens on $PORT>"');
  return types;
}
