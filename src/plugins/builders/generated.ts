import type { BuildPlan, ProcessTypes } from '../../events/types/deploy.events.js';
import { StepFailure } from '../../events/step.js';
import type { Project } from './builder.port.js';
import { buildArgs } from './dockerfile.builder.js';
import type { SourceTree } from './source-tree.js';

/** What the Dockerfiles of our own buildpacks have in common. */

/** `--mount=type=cache` of this app for a folder; caches of apps are apart. */
export const cacheMount = (app: string, what: string, target: string): string => `--mount=type=cache,id=${app}-${what},target=${target}`;

/** `ARG` lines of the config keys that the build may see; only ever in the stage that is thrown away. */
export const argLines = (project: Project): string[] => buildArgs(project).map((name) => `ARG ${name}`);

/** A shell's way to say what was wrong and to end the build. Without single quotes in it. */
export const orSay = (text: string): string => ` || { echo ' !     ${text}'; exit 1; }`;

/** A shell's way to put everything but the packages into `/out`: those are a layer of their own, which stays the same while they do. */
export const setApart = (packages: string, without: readonly string[] = []): string =>
  `mkdir -p /out ${packages} && find . -mindepth 1 -maxdepth 1 ${[packages, '.berth', ...without].map((name) => `! -name ${name}`).join(' ')} -exec cp -a -t /out -- {} +`;

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** First lines of the stage that carries the app. */
export function runStage({ stack }: Project, image: string, env: Readonly<Record<string, string>> = {}): string[] {
  const { PATH } = env;
  // in the order in which the buildpack names them
  const all = { HOME: stack.user.home, ...(PATH === undefined && { PATH: SYSTEM_PATH }), ...env, ...(PATH !== undefined && { PATH: `${PATH}:${SYSTEM_PATH}` }) };
  return [`FROM ${image}`, `ENV ${Object.entries(all).map(([name, value]) => `${name}=${value}`).join(' ')}`, `WORKDIR ${stack.user.home}`];
}

export const userLine = ({ stack: { user } }: Project): string => `USER ${user.uid}:${user.uid}`;
export const chown = ({ stack: { user } }: Project): string => `--chown=${user.uid}:${user.uid}`;

/**
 * The Procfile's processes, else the buildpack's own default.
 * @throws StepFailure `detect.no-process`
 */
export function processesOf(project: Project, fallback: { readonly types: ProcessTypes; readonly why: string } | null, what: string): { readonly types: ProcessTypes; readonly detail: string } {
  const { procfile } = project;
  if (procfile !== null) return { types: procfile.processes, detail: `Procfile: ${[...Object.keys(procfile.processes), ...(procfile.release === null ? [] : ['release'])].join(', ')}` };
  if (fallback === null) throw new StepFailure('detect.no-process', `there is no Procfile that says how to start this ${what}`, 'add a file Procfile with the line "web: <command that listens on $PORT>"');
  return { types: fallback.types, detail: `no Procfile: ${fallback.why}` };
}

/** A buildpack's plan: what is the same for all is filled in. */
export function planOf(project: Project, own: Pick<BuildPlan, 'buildpack' | 'summary' | 'processTypes'> & { readonly dockerfile: readonly string[]; readonly releaseCommand?: string | null; readonly files?: BuildPlan['files'] }): BuildPlan {
  return {
    builder: 'buildpack', buildpack: own.buildpack, summary: own.summary, dockerfilePath: null, dockerfile: [...own.dockerfile, ''].join('\n'), ...(own.files === undefined ? {} : { files: own.files }), buildArgs: buildArgs(project),
    processTypes: own.processTypes, releaseCommand: project.procfile?.release ?? own.releaseCommand ?? null, check: project.appJson.check, port: 5000,
  };
}

export interface Wanted {
  /** as it is written */
  readonly text: string;
  /** the file that says it */
  readonly from: string;
}

/** Lines of a text file without comments and blank ones. */
export const linesOf = (tree: SourceTree, path: string): string[] => (tree.text(path) ?? '').split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, '').trim()).filter((line) => line !== '');

/** What the first of these files says about a version, without a leading `v` or `<tool>-`. */
export function versionFile(tree: SourceTree, files: readonly string[]): Wanted | null {
  for (const from of files) {
    const text = linesOf(tree, from)[0];
    if (text !== undefined) return { text: text.replace(/^(?:[a-z]+-)?v?(?=\d)/i, ''), from };
  }
  return null;
}

/** The line of asdf's and mise's `.tool-versions` for one of these names. */
export function toolVersions(tree: SourceTree, names: readonly string[]): Wanted | null {
  for (const line of linesOf(tree, '.tool-versions')) {
    const [name, text] = line.split(/\s+/);
    if (name !== undefined && text !== undefined && names.includes(name)) return { text, from: '.tool-versions' };
  }
  return null;
}
