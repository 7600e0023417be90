import { StepFailure } from '../../events/step.js';
import { NO_APP_JSON, parseAppJson } from './app-json.js';
import type { Builder, Planned, Project, Stack } from './builder.port.js';
import { namedBuildpacks } from './classic/named.js';
import { planNamed } from './classic/planned.js';
import { withoutIgnored } from './classic/slugignore.js';
import { hasProfile, withStart } from './classic/start.js';
import { composeBuilder } from './compose.builder.js';
import { dockerfileBuilder } from './dockerfile.builder.js';
import { inWords, isForeign, plannedBy, type ForeignBuilder, type Told } from './foreign.builder.js';
import { BUILDPACKS } from './buildpacks.js';
import { onStack, requireStack } from './foreign-stack.js';
import { EXTERNAL, isExternal, planExternal } from './external/tools.js';
import { parseProcfile } from './procfile.js';
import type { SourceTree } from './source-tree.js';

export interface Selected extends Planned {
  /** `Python app` */
  readonly title: string;
  readonly reason: string;
  /** everyone who was asked, in order, with the answer */
  readonly asked: readonly { readonly builder: string; readonly answer: string }[];
}

const SUBFOLDER = /^[\w.*-]+(?:, [\w.*-]+)*$/;

const root = (path: string): string => path.replace(/^(\.?\/)+/, '');

/** Paths whose text must be read whatever they are called. */
export function namedPaths(settings: Readonly<Record<string, string>>): string[] {
  return ['dockerfile-path', 'procfile-path', 'appjson-path'].flatMap((key) => (settings[key] ? [root(settings[key])] : []));
}

/**
 * What a repository says, put together for the builders.
 * @throws StepFailure `detect.procfile`, `detect.app-json`
 */
export function projectOf(app: string, tree: SourceTree, settings: Readonly<Record<string, string>>, stack: Stack): Project {
  const read = (key: string, fallback: string, code: string): { path: string; text: string } | null => {
    const path = root(settings[key] || fallback);
    if (!tree.has(path)) {
      if (settings[key]) throw new StepFailure(code, `setting ${key} says ${path}, which is not in the repository`, 'correct the setting or add the file');
      return null;
    }
    const text = tree.text(path);
    if (text === null) throw new StepFailure(code, `${path} can't be read: it is no plain text file of at most 512 kB`, null);
    return { path, text };
  };
  const procfile = read('procfile-path', 'Procfile', 'detect.procfile');
  const appJson = read('appjson-path', 'app.json', 'detect.app-json');
  return {
    app, tree, settings, stack,
    procfile: procfile === null ? null : parseProcfile(procfile.text, procfile.path),
    appJson: appJson === null ? NO_APP_JSON : parseAppJson(appJson.text, appJson.path),
  };
}

/**
 * Which builder takes the project, and its plan: the buildpacks that the app names, else a Dockerfile, else what a plugin's builder was told to have said,
 * else our buildpacks in order, else a compose file.
 * @param plugins builders of plugins that are there, and what those of them said that were asked
 * @throws StepFailure NothingFits, and what builders throw
 */
export function select(project: Project, buildpacks: readonly Builder[] = BUILDPACKS, plugins: { readonly all: readonly ForeignBuilder[]; readonly told: readonly Told[] } = { all: [], told: [] }): Selected {
  const wanted = project.settings['builder'] ?? '';
  if (isForeign(wanted)) return namedForeign(project, wanted, plugins.told);
  if (isExternal(wanted)) return { ...planExternal(project, wanted), title: EXTERNAL[wanted].title, reason: `setting builder is ${wanted}`, asked: [{ builder: wanted, answer: 'set' }] };
  if (wanted === composeBuilder.name) return { ...composeBuilder.plan(project), title: composeBuilder.title, reason: 'setting builder is compose', asked: [{ builder: wanted, answer: 'set' }] };
  if (wanted === dockerfileBuilder.name) {
    if (dockerfileBuilder.detect(project) === null) throw new StepFailure('detect.dockerfile', 'setting builder is dockerfile, and the repository has no Dockerfile', 'commit one, or let Berth choose: builder:set <app> selected');
    return { ...dockerfileBuilder.plan(project), title: dockerfileBuilder.title, reason: 'setting builder is dockerfile', asked: [{ builder: wanted, answer: 'set' }] };
  }
  const { named, asked: first, warnings } = namedBuildpacks(project);
  const asked = [...first];
  const slug = (): Project => ({ ...project, tree: withoutIgnored(project.tree) });
  if (named !== null) {
    const planned = onStack(started(planNamed(slug(), named, buildpacks), project.tree), project, buildpacks);
    const beside = dockerfileBuilder.detect(project) === null ? [] : [`the Dockerfile is not used: ${named.from} decides`];
    return { ...planned, asked, warnings: [...warnings, ...beside, ...planned.warnings] };
  }
  const ask = (builder: Builder, of: Project): Selected | null => {
    const detection = builder.detect(of);
    asked.push({ builder: builder.name, answer: detection?.reason ?? 'no' });
    if (detection === null) return null;
    if (buildpacks.includes(builder)) requireStack(builder, of);
    return { ...onStack(started(withAssetsHint(builder.plan(of), builder, of), of.tree), of, buildpacks), title: builder.title, reason: detection.reason, asked };
  };
  const docker = wanted === 'buildpacks' ? null : ask(dockerfileBuilder, project);
  if (docker !== null) return docker;
  for (const each of plugins.told) {
    asked.push({ builder: each.builder.name, answer: inWords(each) });
    if (each.answer?.detect) return { ...plannedBy(each, project), title: each.builder.title, reason: each.answer.detect.reason, asked };
  }
  const source = slug();
  for (const builder of [...buildpacks, composeBuilder]) {
    const taken = ask(builder, source);
    if (taken !== null) return taken;
  }
  throw new NothingFits(source.tree, [dockerfileBuilder, ...plugins.all, ...buildpacks, composeBuilder]);
}

/** The builder of a plugin that the app names decides alone. @throws StepFailure `detect.plugin` when it does not */
function namedForeign(project: Project, wanted: string, told: readonly Told[]): Selected {
  const said = told.find(({ builder }) => builder.name === wanted);
  const [plugin] = wanted.slice('plugin:'.length).split('/');
  if (!said) throw new StepFailure('detect.plugin', `setting builder says ${wanted}, and no plugin that is enabled brings it`, `berth plugin:info ${plugin} shows what it brings; or let Berth choose: builder:set <app> selected`);
  if (said.fault !== null) throw new StepFailure('detect.plugin', `${wanted}, which setting builder names, did not answer: ${said.fault}`, `a fault of plugin ${plugin}; without it: builder:set <app> selected`);
  if (!said.answer?.detect) throw new StepFailure('detect.plugin', `${wanted}, which setting builder names, does not take this repository`, `it looks for ${said.builder.looksFor}; or let Berth choose: builder:set <app> selected`);
  return { ...plannedBy(said, project), title: said.builder.title, reason: `setting builder is ${wanted}; ${said.answer.detect.reason}`, asked: [{ builder: wanted, answer: 'set' }] };
}

/** Languages whose buildpack does not look at a package.json by itself. */
const WITHOUT_NODE = ['python', 'go', 'rust', 'java', 'dotnet', 'elixir'];

function withAssetsHint(planned: Planned, { name }: Builder, { tree }: Project): Planned {
  if (!WITHOUT_NODE.includes(name) || !tree.has('package.json')) return planned;
  if (!/"(?:build|heroku-postbuild)"\s*:\s*"/.test(tree.text('package.json') ?? '')) return planned;
  return { ...planned, details: [...planned.details, `package.json has a build script, which nothing runs: buildpacks:set --replace <app> node ${name} has Node.js run it first`] };
}

/** `.profile` and `.profile.d` of the repository are read before a process of ours starts, as on Heroku. */
function started<P extends Planned>(planned: P, tree: SourceTree): P {
  const { dockerfile, classic } = planned.plan;
  return dockerfile === null || classic !== undefined || !hasProfile(tree) ? planned : { ...planned, plan: { ...planned.plan, dockerfile: withStart(dockerfile) } };
}

/** No builder takes the repository. `lookedFor` says what each of them wants, one line each. */
export class NothingFits extends StepFailure {
  readonly lookedFor: readonly string[];
  constructor(tree: SourceTree, builders: readonly Pick<Builder, 'name' | 'looksFor'>[]) {
    const top = [...new Set(tree.paths.map((path) => (path.includes('/') ? `${path.split('/')[0]!}/` : path)))].map((name) => (/^[\x20-\x7e]{1,60}$/.test(name) ? name : JSON.stringify(name).slice(0, 60)));
    const found = top.length === 0 ? 'the repository is empty' : `at the root there is ${top.slice(0, 12).join(', ')}${top.length > 12 ? ` and ${top.length - 12} more` : ''}`;
    const below = top.length > 0 ? builders.find((builder) => SUBFOLDER.test(builder.looksFor) && tree.paths.some((path) => path.split('/').length === 2 && builder.looksFor.split(', ').includes(path.split('/')[1]!))) : undefined;
    const folder = below && tree.paths.find((path) => path.split('/').length === 2 && below.looksFor.split(', ').includes(path.split('/')[1]!))!.split('/')[0]!;
    const python = tree.paths.some((path) => /^[^/]+\.py$/.test(path));
    super('detect.nothing', `there is no Dockerfile, and no buildpack fits: ${found}`,
      python ? 'a Python app lists its packages in requirements.txt (it may be empty)'
        : folder ? `${folder}/ looks like the app: builder:set <app> build-dir ${folder}`
          : 'add one of the files above, or name a buildpack: buildpacks:set <app> <git URL>');
    this.lookedFor = builders.map(({ name, looksFor }) => `${name}: ${looksFor}`);
  }
}
