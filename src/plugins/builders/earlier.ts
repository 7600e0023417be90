import type { ProcessTypes } from '../../events/types/deploy.events.js';
import { StepFailure } from '../../events/step.js';
import type { Builder, Earlier, Planned, Project } from './builder.port.js';
import { START_TARGET, withStart } from './classic/start.js';
import { SYSTEM_PATH } from './generated.js';
import { readManifest } from './node/manifest.js';
import { builtSite } from './node/node.buildpack.js';
import type { Procfile } from './procfile.js';

/** Their images hold what they made and not the source: nobody can go on with that. */
const LAST_ONLY = ['elixir', 'dotnet', 'static'];

/**
 * One plan of several of our own buildpacks: each but the last makes stages whose result is the source of the next, the last one
 * makes the image and says how the app is started, as on Heroku.
 * @param from who named them, for messages
 * @param others whether third-party ones run before them, which may change what is there
 * @throws StepFailure `detect.buildpacks` they can't be put together, `detect.buildpack` one does not fit, and what they throw themselves
 */
export function planOwn(one: Project, named: readonly Builder[], from: string, others = false): Planned & { readonly reasons: readonly string[] } {
  const project = named.length === 1 ? one : { ...one, list: named.map(({ name }) => name) };
  const twice = named.find((builder, at) => named.indexOf(builder) !== at);
  if (twice !== undefined) throw new StepFailure('detect.buildpacks', `${from} names ${twice.name} twice`, 'take one of them out');
  const builders = withoutSite(project, named, from);
  const reasons = builders.map((builder) => {
    const detection = builder.detect(project);
    if (detection === null) throw new StepFailure('detect.buildpack', `the ${builder.name} buildpack (${from}) does not fit: it looks for ${builder.looksFor}`, others ? `it looks at what was pushed, before the others of the list have run: name it by its address to have it run among them, or set the app's folder (builder:set <app> build-dir <folder>)` : `add one of these files, or take ${builder.name} out of the list`);
    return detection.reason;
  });
  const last = builders.at(-1)!;
  if (builders.length === 1) return { ...last.plan(project), reasons };

  const early: Planned[] = [];
  let earlier: Earlier | undefined;
  for (const builder of builders.slice(0, -1)) {
    if (LAST_ONLY.includes(builder.name)) throw new StepFailure('detect.buildpacks', `${from}: the ${builder.name} buildpack can only be the last of a list: its image holds what it made and not the source`, `put ${builder.name} at the end`);
    const planned = builder.plan({ ...project, procfile: started(project.procfile), ...(earlier !== undefined && { earlier }) });
    early.push(planned);
    earlier = left(project, builder.name, planned, earlier);
  }
  const own = lastPlan({ ...project, earlier: earlier! }, last, builders);
  const plans = [...early.map(({ plan }) => plan), own.plan];
  const dockerfile = [...earlier!.stages, own.plan.dockerfile!].join('\n');
  const several = <T>(of: (plan: Planned) => readonly T[]): T[] => [...early, own].flatMap(of);
  return {
    plan: {
      ...own.plan, buildpack: builders.map(({ name }) => name).join(', '), summary: plans.map(({ summary }) => summary).join('; '),
      dockerfile: dockerfile.includes(START_TARGET) ? withStart(dockerfile) : dockerfile,
      files: Object.assign({}, ...plans.map(({ files }) => files ?? {})) as Record<string, string>,
      buildArgs: [...new Set(plans.flatMap(({ buildArgs }) => buildArgs))], processTypes: ownCommands(project.procfile, plans.map(({ processTypes }) => processTypes)),
    },
    details: several(({ details }) => details).filter((line, at, all) => !line.startsWith('Procfile: ') || at === all.length - 1),
    warnings: [...new Set(several(({ warnings }) => warnings))], reasons,
  };
}

/** `node, static`: a site that is built is the Node.js buildpack's own work, served by the same program. */
function withoutSite(project: Project, builders: readonly Builder[], from: string): readonly Builder[] {
  const names = project.list ?? [];
  if (names.at(-1) !== 'static' || names.at(-2) !== 'node' || !project.tree.has('package.json')) return builders;
  if (names.length === 2 && builtSite(project, readManifest(project.tree)) !== null) return builders.slice(0, 1);
  throw new StepFailure('detect.buildpacks', `${from}: node and static make a site where package.json has a script "build" and no server to start`, 'take static out of the list, or the script "start" out of package.json');
}

/** For one that need not know how the app is started: no site is made of what it builds. */
export const started = (procfile: Procfile | null): Procfile => (procfile?.processes['web'] === undefined ? { processes: { web: 'none', ...procfile?.processes }, release: procfile?.release ?? null } : procfile);

function lastPlan(project: Project, builder: Builder, builders: readonly Builder[]): Planned {
  try { return builder.plan(project); } catch (error) {
    if (!(error instanceof StepFailure) || error.code !== 'detect.no-process') throw error;
    throw new StepFailure(error.code, error.message, `${error.hint}; without a Procfile the last buildpack of the list decides: ${builders[0]!.name} could be the last`, 'user', { cause: error });
  }
}

/** A Procfile's command that an early buildpack carries out in its own way (`heroku-php-nginx public/`). */
function ownCommands(procfile: Procfile | null, all: readonly ProcessTypes[]): ProcessTypes {
  const types = { ...all.at(-1) };
  for (const early of all.slice(0, -1)) {
    for (const [type, command] of Object.entries(procfile?.processes ?? {})) if (types[type] === command && early[type] !== undefined) types[type] = early[type];
  }
  return types;
}

/** What a generated Dockerfile leaves to the next: its stages under names of their own, and the lines of its last one that carry something. */
function left({ stack }: Project, name: string, { plan }: Planned, before: Earlier | undefined): Earlier {
  const { home } = stack.user;
  const text = plan.dockerfile!;
  const own = new Set([...text.matchAll(/^FROM \S+ AS (\S+)$/gm)].map((match) => match[1]!));
  const rename = (stage: string): string => (own.has(stage) ? `${name}-${stage}` : stage);
  const all = text.trimEnd().split('\n').map((line) => line.replace(/^FROM (\S+)(?: AS (\S+))?$/, (_, image: string, stage?: string) => `FROM ${rename(image)} AS ${stage === undefined ? `${name}-app` : rename(stage)}`).replace(/^(COPY .*?--from=)(\S+)/, (_, start: string, stage: string) => start + rename(stage)));
  const last = all.slice(all.findLastIndex((line) => line.startsWith('FROM ')));
  const user = last.findIndex((line) => line.startsWith('USER '));
  const env = Object.fromEntries([...last[1]!.matchAll(/(\w+)=("[^"]*"|\S+)/g)].map((match): [string, string] => [match[1]!, match[2]!]));
  const copies = last.flatMap((line) => {
    const [, flags = '', source, to] = /^COPY ((?:--\S+ )*)(\S+) (\S+)$/.exec(line) ?? [];
    const at = to === undefined ? null : to === '.' || to.startsWith('./') ? to.slice(1) : to === home || to.startsWith(`${home}/`) ? to.slice(home.length) : null;
    return source === undefined || at === null ? [] : [{ line, flags, source, at: at.replace(/^\//, '') }];
  });
  const [image] = /(?<=^FROM )\S+/.exec(last[0]!)!;
  const build = /^FROM (\S+) AS build$/m.exec(text)?.[1];
  return {
    app: `${name}-app`, stages: [...before?.stages ?? [], ...all, ''],
    images: image === stack.run || build === undefined ? before?.images ?? null : { run: image, build },
    env: { ...env, PATH: (env['PATH'] ?? '').replace(SYSTEM_PATH, '').replace(/:$/, '') },
    programs: last.slice(0, user).filter((line) => /^(?:COPY|RUN) /.test(line) && !line.endsWith(START_TARGET) && !copies.some((copy) => copy.line === line)),
    // what a command changed in the last stage is nowhere else
    tree: last.slice(user).some((line) => line.startsWith('RUN ')) ? [{ flags: `--from=${name}-app `, source: `${home}/`, at: '' }] : copies.map(({ flags, source, at }) => ({ flags: flags.replace(/--chown=\S+ /, ''), source, at })),
  };
}
