import { intersects } from 'semver';
import type { ProcessTypes } from '../../../events/types/deploy.events.js';
import { StepFailure } from '../../../events/step.js';
import type { Builder, Planned, Project } from '../builder.port.js';
import { startLines } from '../classic/start.js';
import { argLines, cacheMount, chown, copySource, orSay, planOf, processesOf, programsOf, runStage, setApart, userLine } from '../generated.js';
import type { SourceTree } from '../source-tree.js';
import { SITE_FILES, namedRoot, siteProcesses, siteRoot, siteStage, spaOf, startsServer } from '../static/static.buildpack.js';
import { readManifest, type Manifest } from './manifest.js';
import { NODE } from './node-fetch.js';
import { nodeLayer, type NodeLayer } from './node-layer.js';
import { NODE_PROFILE } from './node-start.js';
import type { PackageManager } from './package-manager.js';

/** scripts that a package manager runs by itself when it installs */
const LIFECYCLE = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare'] as const;
/** bytes of all manifests that may be put into a plan */
const MANIFESTS = 64 * 1024;

/** Config keys of Heroku's that switch pruning off, and the value that does. */
const NO_PRUNING = { NPM_CONFIG_PRODUCTION: 'false', YARN_PRODUCTION: 'false', YARN2_SKIP_PRUNING: 'true', PNPM_SKIP_PRUNING: 'true', NPM_SKIP_PRUNING: 'true' } as const;

/** Files that an install reads beside lock and manifests. */
const BESIDE = ['bunfig.toml', '.npmrc', '.yarnrc', '.yarnrc.yml', 'pnpm-workspace.yaml', '.pnpmfile.cjs'];
const BESIDE_FOLDERS = ['.yarn/releases', '.yarn/plugins', '.yarn/patches', 'patches'];

/** How packages come in. */
interface Install {
  /** `deps`: from lock and manifests alone, before the source is copied; `tree`: with everything there */
  readonly from: 'deps' | 'tree' | 'nothing';
  readonly why: string | null;
  readonly files: Readonly<Record<string, string>>;
}

function install(tree: SourceTree, manifest: Manifest, manager: PackageManager): Install {
  if (manager.lock === null) return { from: 'nothing', why: null, files: {} };
  const whole = (why: string): Install => ({ from: 'tree', why: `packages are installed again with every change: ${why}`, files: {} });
  if (tree.paths.some((path) => path.startsWith('node_modules/'))) return whole('node_modules is in the repository');
  if (manager.linker === 'pnp' && tree.paths.some((path) => path.startsWith('.yarn/cache/'))) return whole('.yarn/cache is in the repository');
  if (manifest.scripts['heroku-prebuild'] !== undefined) return whole('heroku-prebuild runs before them');
  const paths = manifest.workspaces ? tree.paths.filter((path) => /(^|\/)package\.json$/.test(path) && !/(^|\/)node_modules\//.test(path)) : ['package.json'];
  const files: Record<string, string> = {};
  for (const path of paths) {
    if (tree.text(path) === null) return whole(`${path} can't be read beforehand`);
    const { scripts, raw } = readManifest(tree, path);
    if (/"(?:file|link|portal):/.test(JSON.stringify(raw))) return whole('some are folders of the repository');
    if (path !== 'package.json' && LIFECYCLE.some((script) => scripts[script] !== undefined)) return whole(`${path} has an install script`);
    // without scripts: those run once the source is there, and a change of them needs no new install
    files[`.berth/manifests/${path}`] = `${JSON.stringify({ ...raw, scripts: undefined })}\n`;
  }
  if (Object.values(files).reduce((sum, text) => sum + text.length, 0) > MANIFESTS) return whole('the package.json files are larger than 64 kB together');
  return { from: 'deps', why: null, files };
}

interface Commands { /** done beside the install, so that `prune` can take what it made */ readonly ahead?: string; readonly cache: string; readonly all: string; readonly production: string; readonly prune: string; readonly run: string; readonly hint: string }

function commands({ kind, lock, prunes, range }: PackageManager): Commands {
  const hint = `${lock} must match package.json: ${kind === 'berry' ? 'yarn' : kind} install, and commit both`;
  switch (kind) {
    case 'npm': {
      const old = !intersects(range, '>=7');
      return { cache: '/root/.npm', run: 'npm run', hint, all: old ? 'npm ci --only=' : 'npm ci --include=dev', production: old ? 'npm ci --only=production' : 'npm ci --omit=dev', prune: old ? 'npm prune --production' : 'npm prune --omit=dev --ignore-scripts' };
    }
    case 'pnpm': {
      const store = '--store-dir=/root/.pnpm-store --package-import-method=copy';
      return { cache: '/root/.pnpm-store', run: 'pnpm run', hint, all: `pnpm install --frozen-lockfile --prod=false ${store}`, production: `pnpm install --frozen-lockfile --prod ${store}`,
        // else what is taken away stays on the disk for a week
        prune: `npm_config_modules_cache_max_age=0 pnpm install --frozen-lockfile --prod --prefer-offline --ignore-scripts ${store}` };
    }
    case 'yarn': {
      const yarn = 'yarn install --frozen-lockfile --non-interactive --no-progress';
      return { cache: '/usr/local/share/.cache/yarn', run: 'yarn run', hint, all: `${yarn} --production=false`, production: `${yarn} --production=true`, prune: `${yarn} --production=true --ignore-scripts --prefer-offline --ignore-engines` };
    }
    case 'bun': {
      const install = 'bun install --frozen-lockfile';
      // it takes nothing away that is there: the packages of production are installed apart
      return { cache: '/root/.bun/install/cache', run: 'bun run', hint, all: install, production: `${install} --production`, ahead: `cp -a . /prod && (cd /prod && ${install} --production && mkdir -p node_modules)`, prune: 'rm -rf node_modules && mv /prod/node_modules node_modules' };
    }
    case 'berry':
      return { cache: '/root/.yarn/berry', run: 'yarn run', hint, all: 'yarn install --immutable', production: `yarn install --immutable${prunes ? ' && yarn workspaces focus --all --production' : ''}`, prune: 'yarn workspaces focus --all --production' };
  }
}

/** Folders kept between builds: of `cacheDirectories`, and where frameworks keep theirs. */
function caches(project: Project, { dependencies, devDependencies, cacheDirectories }: Manifest, manager: PackageManager): string[] {
  const next = dependencies['next'] ?? devDependencies['next'];
  const own = cacheDirectories.map((path) => path.replace(/^(\.?\/)+|\/+$/g, '')).filter((path) => /^[\w.@-]+(?:\/[\w.@-]+)*$/.test(path) && !path.split('/').includes('..') && !/(^|\/)(node_modules|bower_components)$/.test(path) && !project.tree.has(path));
  return [...new Set([...(manager.linker === 'pnp' || manager.lock === null ? [] : ['node_modules/.cache']), ...(next === undefined ? [] : ['.next/cache']), ...own])];
}

/** The stage `build`: packages, the build script, and what goes into the image: `/app/node_modules` (or `.yarn`) and the rest in `/out`. */
function buildStage(project: Project, layer: NodeLayer, how: Install, site: boolean): { readonly head: string[]; readonly early: string[]; readonly late: string[]; readonly quick: boolean; readonly details: string[] } {
  const { tree, app, settings, stack } = project;
  const { manifest, manager } = layer;
  const { scripts } = manifest;
  const does = commands(manager);
  const build = scripts['heroku-postbuild'] !== undefined ? 'heroku-postbuild' : scripts['build'] !== undefined ? 'build' : null;
  const lifecycle = LIFECYCLE.filter((script) => scripts[script] !== undefined);
  const off = Object.entries(NO_PRUNING).find(([key, value]) => settings[key]?.toLowerCase() === value)?.[0];
  const nothingToPrune = how.from === 'nothing' || !manifest.workspaces && Object.keys(manifest.devDependencies).length === 0;
  const prunable = !site && !nothingToPrune && off === undefined;
  const prune = prunable && manager.prunes && (does.ahead === undefined || how.from === 'deps');
  const quick = !site && build === null && lifecycle.length === 0 && how.from !== 'tree' && !manifest.workspaces && scripts['heroku-cleanup'] === undefined;
  const cache = cacheMount(app, manager.kind, does.cache);
  const fetch = (command: string): string => `RUN ${cache} { ${command}; }${orSay(`the packages could not be installed; ${does.hint}`)}`;
  const beside = [...new Set([...(manager.lock === null ? [] : [manager.lock]), ...BESIDE.filter((file) => tree.has(file))])];
  const folders = BESIDE_FOLDERS.filter((folder) => tree.paths.some((path) => path.startsWith(`${folder}/`)));
  const early = how.from !== 'deps' ? [] : [
    'COPY .berth/manifests/ ./', `COPY ${beside.join(' ')} ./`, ...folders.map((folder) => `COPY ${folder} ${folder}`),
    fetch(`${prune && !quick && does.ahead !== undefined ? `${does.ahead} && ` : ''}${quick && off === undefined ? does.production : does.all}${manager.linker === 'pnp' ? '' : ' && mkdir -p node_modules'}`),
  ];
  const scriptsBefore = how.from === 'deps' ? lifecycle : [];
  const kept = caches(project, manifest, manager).map((path) => cacheMount(app, path.replace(/[^\w.-]/g, '-'), `${stack.user.home}/${path}`));
  const work = [...scriptsBefore, ...(build === null ? [] : [build])].map((script) => `${does.run} ${script}`);
  const modules = manager.linker === 'pnp' ? '.yarn' : 'node_modules';
  const out = setApart(modules);
  const late = quick ? [] : [
    ...copySource(project, '.'),
    ...(how.from === 'tree' && scripts['heroku-prebuild'] !== undefined ? [`RUN ${does.run} heroku-prebuild`] : []),
    ...(how.from === 'tree' ? [fetch(does.all)] : []),
    ...(work.length > 0 ? [`RUN ${[cache, ...kept].join(' ')} ${work.join(' && ')}`] : []),
    ...(site ? [] : [`RUN ${cache} ${[...(prune ? [does.prune] : []), ...(scripts['heroku-cleanup'] === undefined ? [] : [`${does.run} heroku-cleanup`]), out].join(' && ')}`]),
  ];
  const details = [
    ...(how.why === null ? [] : [how.why]),
    ...(build === null ? [] : [`build: ${manager.kind === 'berry' ? 'yarn' : manager.kind} run ${build}`]),
    ...(off === undefined ? [] : [`development packages stay: ${off} is ${settings[off]}`]),
    ...(!prunable || prune ? [] : [`development packages stay: ${manager.kind === 'bun' ? 'bun takes none away' : 'this Yarn needs its plugin workspace-tools to take them away'}`]),
  ];
  return {
    quick, details, early, late,
    head: [
      'FROM node AS build', layer.env, ...programsOf(project),
      ...(manager.linker === 'pnp' ? ['ENV YARN_ENABLE_GLOBAL_CACHE=false'] : []),
      `WORKDIR ${stack.user.home}`, 'ARG NODE_ENV=production', ...argLines(project).filter((line) => line !== 'ARG NODE_ENV'),
    ],
  };
}

function processes(project: Project, { scripts }: Manifest, manager: PackageManager): { readonly types: ProcessTypes; readonly detail: string } {
  const { procfile, tree } = project;
  if (procfile !== null && Object.keys(procfile.processes).length > 0) return processesOf(project, null, 'Node.js app');
  const pnp = manager.linker === 'pnp';
  const web = scripts['start'] !== undefined ? pnp ? 'yarn start' : manager.kind === 'bun' ? 'bun run start' : 'npm start' : tree.has('server.js') ? pnp ? 'yarn node server.js' : 'node server.js' : null;
  if (web === null) throw new StepFailure('detect.no-process', 'nothing says how to start this Node.js app: package.json has no script "start", and there is no server.js and no Procfile', 'add "scripts": {"start": "node <file>"} to package.json (it must listen on $PORT), or a script "build" that makes a static site');
  return { types: { web }, detail: `${procfile === null ? 'no Procfile' : 'no process in the Procfile'}: web is ${web}` };
}

/** start scripts that serve what is being worked on: in production the built files are served */
const DEV_SERVER = /^(?:npx )?(?:cross-env (?:\w+=\S+ )*)?(?:react-scripts start|react-app-rewired start|vite(?: dev| serve)?(?: -.*)?$|ng serve|vue-cli-service serve|webpack(?:-dev-server| serve)|parcel (?!build)|gatsby develop|docusaurus start|astro dev|eleventy .*--serve|snowpack dev)/;

/** Why an app is a site that its build script makes, or null: it has a server of its own. */
export function builtSite(project: Project, { scripts }: Manifest): string | null {
  // behind another buildpack in a list it belongs to an app
  if (project.earlier !== undefined || startsServer(project) || project.tree.has('server.js')) return null;
  if (scripts['build'] === undefined && scripts['heroku-postbuild'] === undefined) return null;
  if (scripts['start'] === undefined) return 'there is a build script and no start script';
  return DEV_SERVER.test(scripts['start'].trim()) ? `the start script (${scripts['start'].slice(0, 60)}) is a server for development` : null;
}

/** Our own Node.js buildpack: npm, pnpm, Yarn 1 and later. */
export const nodeBuildpack: Builder = {
  name: 'node',
  title: 'Node.js app',
  looksFor: 'package.json',
  needs: { build: { python3: 'command -v python3' } },
  detect(project) {
    const { tree } = project;
    if (!tree.has('package.json')) return null;
    // a site that keeps a package.json for its tools
    if (!startsServer(project) && siteRoot(project) !== null) {
      const manifest = readManifest(tree);
      if (manifest.scripts['start'] === undefined && !tree.has('server.js') && builtSite(project, manifest) === null) return null;
    }
    return { reason: 'package.json is there' };
  },
  plan(project) {
    const { stack, tree } = project;
    const { home } = stack.user;
    const layer = nodeLayer(project);
    const { manifest, manager } = layer;
    const how = install(tree, manifest, manager);
    const site = builtSite(project, manifest);
    if (site !== null) return sitePlan(project, layer, how, site);
    const { types, detail } = processes(project, manifest, manager);
    const { head, early, late, quick, details } = buildStage(project, layer, how, false);
    const own = chown(project);
    const modules = manager.linker === 'pnp' ? '.yarn' : 'node_modules';
    const dockerfile = [
      `# Generated by Berth's Node.js buildpack: ${manager.lock ?? 'package.json'}`,
      ...layer.stage, '',
      ...(quick && how.from === 'nothing' ? [] : [...head, ...early, ...late, '']),
      ...runStage(project, stack.run, {
        PATH: `${home}/node_modules/.bin:${NODE}/bin`, NODE_HOME: NODE, NODE_ENV: 'production', WEB_MEMORY: '512', NEXT_TELEMETRY_DISABLED: '1', npm_config_update_notifier: 'false', npm_config_logs_max: '0',
        ...(manager.linker === 'pnp' ? { YARN_ENABLE_GLOBAL_CACHE: 'false', YARN_ENABLE_TELEMETRY: '0' } : {}),
      }),
      `COPY --from=node ${NODE}/bin ${NODE}/bin`,
      `COPY --from=node ${NODE}/lib ${NODE}/lib`,
      // before what changes with every push
      `COPY ${own} .berth/node-profile.sh ./.profile.d/node.sh`,
      ...startLines(),
      ...(quick ? [
        ...(how.from === 'nothing' ? [] : manager.linker === 'pnp' ? [`COPY --from=build ${own} ${home}/.yarn ./.yarn`, `COPY --from=build ${own} ${home}/.pnp.* ./`] : [`COPY --from=build ${own} ${home}/node_modules ./node_modules`]),
        ...copySource(project, '.', true),
      ] : [`COPY --from=build ${own} ${home}/${modules} ./${modules}`, `COPY --from=build ${own} /out/ ./`]),
      userLine(project),
    ];
    return {
      plan: planOf(project, { buildpack: 'node', summary: `${layer.title}, ${manager.lock ?? 'no packages'}`, processTypes: types, dockerfile, files: { ...layer.files, ...how.files, '.berth/node-profile.sh': NODE_PROFILE } }),
      details: [...layer.details, ...details, detail],
      warnings: layer.warnings,
    };
  },
};

function sitePlan(project: Project, layer: NodeLayer, how: Install, why: string): Planned {
  const { stack } = project;
  const { types, detail } = siteProcesses(project);
  const { head, early, late, details } = buildStage(project, layer, how, true);
  const root = namedRoot(project);
  const dockerfile = [
    `# Generated by Berth's Node.js buildpack: a site, ${layer.manager.lock ?? 'package.json'}`,
    ...layer.stage, '', ...head, ...early, ...late,
    'COPY .berth/site.py /tmp/site.py',
    `RUN python3 /tmp/site.py ${root === null ? `find=${stack.user.home}` : `root=${stack.user.home}/${root.path}`} spa=${spaOf(project, true)} static=${stack.user.home}/static.json`,
    '', ...siteStage(project),
  ];
  return {
    plan: planOf(project, { buildpack: 'node', summary: `${layer.title}, static site, ${layer.manager.lock ?? 'no packages'}`, processTypes: types, dockerfile, files: { ...layer.files, ...how.files, ...SITE_FILES } }),
    details: [...layer.details, ...details, `static site: ${why}`, detail],
    warnings: layer.warnings,
  };
}

export interface NodeAssets {
  /** the stage `node`, to stand before the language's own */
  readonly stage: readonly string[];
  /** in the language's build stage, before the source is copied: Node.js and the packages */
  readonly early: readonly string[];
  /** afterwards, the source being there: the build script; packages are taken away again */
  readonly late: readonly string[];
  /** takes the packages away where the language's tools ran the build script */
  readonly gone: readonly string[];
  readonly files: Readonly<Record<string, string>>;
  readonly details: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * For other languages: assets that the build script of a package.json makes. Null where there is none.
 * @param run false: the language's own tools run it, and only want Node.js and the packages
 * @throws StepFailure as `nodeLayer`
 */
export function nodeAssets(project: Project, run = true): NodeAssets | null {
  if (!project.tree.has('package.json') || project.list?.includes('node')) return null;
  const { scripts } = readManifest(project.tree);
  if (run && scripts['build'] === undefined && scripts['heroku-postbuild'] === undefined) return null;
  const layer = nodeLayer(project);
  const how = install(project.tree, layer.manifest, layer.manager);
  const { early, late, details } = buildStage(project, layer, how, true);
  const sources = copySource(project, '.');
  const gone = how.from === 'nothing' ? [] : ['RUN rm -rf node_modules'];
  return {
    stage: layer.stage,
    early: [`COPY --from=node ${NODE} ${NODE}`, layer.env, ...early],
    late: run ? [...late.filter((line) => !sources.includes(line)), ...gone] : how.from === 'tree' ? late.filter((line) => !sources.includes(line)) : [],
    gone: run ? [] : gone,
    files: { ...layer.files, ...how.files }, details: [...layer.details.map((line) => `assets: ${line}`), ...details], warnings: layer.warnings,
  };
}
