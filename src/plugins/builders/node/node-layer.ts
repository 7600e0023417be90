import type { Project } from '../builder.port.js';
import { buildArgs } from '../dockerfile.builder.js';
import { buildImage } from '../generated.js';
import { readManifest, type Manifest } from './manifest.js';
import { NODE, NODE_FETCH } from './node-fetch.js';
import { DEFAULT_NODE, comparators, preferred, wantedNode } from './node-version.js';
import { packageManager, type PackageManager } from './package-manager.js';

export interface NodeLayer {
  /** a stage called `node`, on the stack's build image or `from`: Node.js, its headers and the package manager below `NODE` */
  readonly stage: readonly string[];
  /** for `BuildPlan.files` */
  readonly files: Readonly<Record<string, string>>;
  /** `ENV` of stages that use it */
  readonly env: string;
  readonly manifest: Manifest;
  readonly manager: PackageManager;
  /** `Node.js 22.x` */
  readonly title: string;
  readonly details: readonly string[];
  readonly warnings: readonly string[];
}

/** An argument in single quotes; only texts without a quote come here. */
const argument = (name: string, value: string): string => `'${name}=${value.replace(/[^\x20-\x26\x28-\x7e]/g, '')}'`;

/**
 * Node.js and the package manager that a repository's package.json asks for, as a stage of a generated Dockerfile. No app's name is
 * in it, so equal wishes share one layer. For Node apps, and for other languages that build their assets with it:
 *
 *     [...layer.stage, 'FROM node AS build', layer.env, …, 'COPY --from=node /opt/node /opt/node']
 *
 * @throws StepFailure `detect.package-json`, `detect.version`, `detect.no-lock`, `detect.locks`, `detect.package-manager`
 */
export function nodeLayer(project: Project, from: string = buildImage(project, project.stack.build)): NodeLayer {
  const manifest = readManifest(project.tree);
  const manager = packageManager(project.tree, manifest);
  const { wanted, warnings } = wantedNode(project.tree, manifest);
  const range = wanted?.range ?? comparators(DEFAULT_NODE)!;
  const prefer = wanted === null ? null : preferred(range);
  const says = wanted === null ? `${DEFAULT_NODE} (the default)` : `${wanted.text} (${wanted.from} asks for it)`;
  const fetch = (words: readonly string[]): string => `RUN python3 /tmp/node-fetch.py ${words.join(' ')}`;
  const managed = [argument(manager.kind, manager.range), ...(manager.prefer === manager.range ? [] : [argument(`${manager.kind}-prefer`, manager.prefer)]), ...(manager.says === null ? [] : [argument(`${manager.kind}-says`, manager.says)]), ...(manager.hash === null ? [] : [argument(`${manager.kind}-hash`, manager.hash)])];
  // npm is always there: scripts call it, and it is how a Node app is started
  const first = [argument('node', range), ...(prefer === null || prefer === range ? [] : [argument('prefer', prefer)]), argument('says', says), ...(manager.kind === 'npm' ? managed : [`'npm=*'`, `'npm-prefer=own'`])];
  const title = `Node.js ${wanted?.text ?? DEFAULT_NODE}`;
  return {
    stage: [
      `FROM ${from} AS node`,
      ...buildArgs(project).filter((name) => /^npm_config_registry$/i.test(name)).map((name) => `ARG ${name}`),
      'COPY .berth/node-fetch.py /tmp/node-fetch.py',
      fetch(first),
      ...(manager.kind === 'npm' ? [] : [fetch(managed)]),
    ],
    files: { '.berth/node-fetch.py': NODE_FETCH },
    env: `ENV CI=true PATH=${NODE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin npm_config_nodedir=${NODE} npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false npm_config_progress=false COREPACK_ENABLE_STRICT=0 YARN_ENABLE_TELEMETRY=0 NEXT_TELEMETRY_DISABLED=1`,
    manifest, manager, title,
    details: [wanted === null ? `${title}: Berth's default; nothing asks for another (engines in package.json)` : `${title}: ${wanted.from} says so`, `packages: ${manager.lock ?? 'none'} (${manager.title})`],
    warnings,
  };
}
