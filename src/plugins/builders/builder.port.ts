import type { BuildPlan } from '../../events/types/deploy.events.js';
import type { AppJson } from './app-json.js';
import type { Procfile } from './procfile.js';
import type { SourceTree } from './source-tree.js';

/**
 * Keys of the app's configuration that decide how it is built. Who queues `detect` copies them from the config into
 * `DetectInput.settings` beside the app's settings (`dockerfile-path`, `procfile-path`, `appjson-path`, `build-args`).
 */
export const DETECT_CONFIG_KEYS = ['BUILDPACK_URL', 'DISABLE_COLLECTSTATIC', 'GOVERSION', 'MAVEN_CUSTOM_GOALS', 'MAVEN_CUSTOM_OPTS', 'MAVEN_OPTS', 'GRADLE_TASK', 'GRADLE_OPTS', 'NPM_CONFIG_PRODUCTION', 'NPM_SKIP_PRUNING', 'YARN_PRODUCTION', 'YARN2_SKIP_PRUNING', 'PNPM_SKIP_PRUNING', 'UV_PYTHON_INSTALL_MIRROR', 'UV_PYTHON_DOWNLOADS_JSON_URL'] as const;

/** Images instead of the ones that Berth makes. */
export interface StackImagePair { readonly build: string; readonly run: string }

/** The stack that buildpacks may stand on. */
export interface Stack {
  /** what `STACK` says inside builds: `berth-13`; null: what the images say */
  readonly name: string | null;
  /** images that were set instead of Berth's own; absent: these are its own */
  readonly set?: StackImagePair;
  /** image that carries apps */
  readonly run: string;
  /** the same with compilers */
  readonly build: string;
  /** one of the two with what a language needs beyond that (`go`, `rust`, `java`, …: see `parts` of the stack); made when it is not there */
  image(kind: 'run' | 'build', part: string): string;
  /** language → `major.minor` */
  readonly versions: Readonly<Record<string, string>>;
  readonly user: { readonly name: string; readonly uid: number; readonly home: string };
}

/** All that a builder may know; equal projects give equal plans. */
export interface Project {
  /** app id, for the names of caches */
  readonly app: string;
  readonly tree: SourceTree;
  readonly settings: Readonly<Record<string, string>>;
  readonly procfile: Procfile | null;
  readonly appJson: AppJson;
  readonly stack: Stack;
  /** names of our own buildpacks that one plan is made of; absent: this one alone */
  readonly list?: readonly string[];
  /** absent: there is none in front of this one */
  readonly earlier?: Earlier;
}

/** What the buildpacks in front of one in a list leave to it: lines of one Dockerfile. */
export interface Earlier {
  /** their stages, to stand in front */
  readonly stages: readonly string[];
  /** the stage that is their image: the app's folder complete */
  readonly app: string;
  /** what they stand on where that is more than the stack's common images */
  readonly images: { readonly run: string; readonly build: string } | null;
  /** of their containers; PATH without the system's part */
  readonly env: Readonly<Record<string, string>>;
  /** lines that put their programs into a stage, outside of the app's folder */
  readonly programs: readonly string[];
  /** COPY of the tree that they left: `flags` without owner, `at` below the app's folder */
  readonly tree: readonly { readonly flags: string; readonly source: string; readonly at: string }[];
}

export interface Detection {
  /** one line: `requirements.txt is there` */
  readonly reason: string;
}

export interface Planned {
  readonly plan: BuildPlan;
  /** what was decided and why, for the push: one line each */
  readonly details: readonly string[];
  readonly warnings: readonly string[];
}

/** Repository → plan. Both functions are pure. */
export interface Builder {
  /** `python` */
  readonly name: string;
  /** for people: `Python app` */
  readonly title: string;
  /** what is looked for, for the message when nothing fits: `requirements.txt, pyproject.toml` */
  readonly looksFor: string;
  /** of ours: what images that were set must have, as a name and a command of the shell that looks for it; absent: it stands on Berth's own only */
  readonly needs?: { readonly build?: Readonly<Record<string, string>>; readonly run?: Readonly<Record<string, string>> };
  detect(project: Project): Detection | null;
  /** @throws StepFailure (user) when the project can't be built as it is: says what to change */
  plan(project: Project): Planned;
}
