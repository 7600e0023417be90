import type { BuildPlan, ProcessTypes } from '../../events/types/deploy.events.js';
import { StepFailure } from '../../events/step.js';
import type { Project } from './builder.port.js';
import { buildArgs } from './dockerfile.builder.js';
import type { SourceTree } from './source-tree.js';

/** What the Dockerfiles of our own buildpacks have in common. */

/** `--mount=type=cache` of this app for a folder; caches of apps are apart. */
export const cacheMount = (app: string, what: string, target: string): string => `--mount=type=cache,id=${app}-${what},target=${target}`;

/** `ARG` lines of the config keys that the build may see, only ever in the stage that is thrown away. The build hands their values to RUN (see withConfig). */
export const argLines = (project: Project): string[] => buildArgs(project).map((name) => `ARG ${name}`);

/** A shell's way to say what was wrong and to end the build. Without single quotes in it. */
export const orSay = (text: string): string => ` || { echo ' !     ${text}'; exit 1; }`;

/** A shell's way to put everything but the packages into `/out`: those are a layer of their own, which stays the same while they do. */
export const setApart = (packages: string, without: readonly string[] = []): string =>
  `mkdir -p /out ${packages} && find . -mindepth 1 -maxdepth 1 ${[packages, '.berth', ...without].map((name) => `! -name ${name}`).join(' ')} -exec cp -a -t /out -- {} +`;

export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** First lines of the stage that carries the app. */
export function runStage(project: Project, image: string, env: Readonly<Record<string, string>> = {}): string[] {
  const { stack, earlier } = project;
  const { PATH: theirs, ...before } = earlier?.env ?? {};
  const path = [env['PATH'], theirs].filter((part) => part);
  // in the order in which the buildpack names them
  const all = { HOME: stack.user.home, ...(path.length === 0 && { PATH: SYSTEM_PATH }), ...env, ...before, ...env, ...(path.length > 0 && { PATH: [...path, SYSTEM_PATH].join(':') }) };
  return [`FROM ${runImage(project, image)}`, `ENV ${Object.entries(all).map(([name, value]) => `${name}=${value}`).join(' ')}`, `WORKDIR ${stack.user.home}`, ...(earlier?.programs ?? [])];
}

function runImage(project: Project, image: string): string {
  const { stack, earlier } = project;
  const before = earlier?.images ?? null;
  if (before === null || before.run === image) return image;
  if (image !== stack.run) throw new StepFailure('detect.buildpacks', `the buildpacks ${project.list!.join(', ')} can't be put together: they stand on different images of the stack (${before.run}, ${image})`, 'leave one of them out, or bring both languages with a Dockerfile');
  return before.run;
}

/** The image that a build stage stands on: with the programs of those in front of it in a list. */
export const buildImage = ({ stack, earlier }: Project, image: string): string => (image === stack.build ? earlier?.images?.build ?? image : image);

/** Lines for a build stage: the programs of those in front of it in a list, and their environment. */
export function programsOf({ earlier, stack }: Project, image = stack.build): string[] {
  if (earlier === undefined) return [];
  const { PATH: path = '', HOME: _, ...env } = earlier.env;
  // packages of the distribution belong to their own image
  const programs = image === stack.build ? earlier.programs : earlier.programs.filter((line) => line.startsWith('COPY '));
  return [`ENV PATH=${path === '' ? '' : `${path}:`}$PATH${Object.entries(env).map(([name, value]) => ` ${name}=${value}`).join('')}`, ...programs];
}

/** First lines of the stage `build`. */
export const buildStage = (project: Project, image: string = project.stack.build): string[] => [`FROM ${buildImage(project, image)} AS build`, ...programsOf(project, image)];

/** The source, or what those in front in a list made of it, into a folder. @param own it belongs to the user that the app runs as */
export const copySource = (project: Project, to: string, own = false): string[] => {
  const owner = own ? `${chown(project)} ` : '';
  return project.earlier === undefined ? [`COPY ${owner}. ${to}`] : project.earlier.tree.map(({ flags, source, at }) => `COPY ${flags}${owner}${source} ${at === '' ? `${to}/` : `${to}/${at}`}`);
};

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
