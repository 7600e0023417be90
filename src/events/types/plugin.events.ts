import type { NewEvent } from '../event.js';
import type { Sealed } from '../sealed.js';
import type { HealthCheck, RouterSettings, Step } from './deploy.events.js';

export const HOOK_TIMES = ['before', 'after'] as const;
export type HookTime = (typeof HOOK_TIMES)[number];

/** A program of the plugin: an argument array, the first word a file of its folder (`./hook.sh`) or a program of the server (`python3`). Absent where `main` answers. */
interface Runs { readonly run?: readonly string[]; /** seconds it may take */ readonly timeout?: number }
/** One word of a plugin's command. `app` is an app that exists; the plugin is given its id and settings. */
export interface PluginArgument {
  readonly name: string; readonly about: string; readonly kind: 'argument' | 'rest' | 'flag';
  readonly type: 'string' | 'boolean' | 'number'; readonly optional: boolean; /** one letter */ readonly short?: string;
}
export interface PluginCommand extends Runs {
  /** `<plugin>` or `<plugin>:<word>` */
  readonly name: string; readonly summary: string; readonly example?: string;
  readonly arguments: readonly PluginArgument[];
  /** it changes nothing: GET over HTTP, `--json` on the command line */
  readonly reads?: boolean;
  /** `text`: what it prints is shown as it is, and its exit code is the command's; else it answers JSON */
  readonly output?: 'json' | 'text';
  /** what is to be piped in, for people; the plugin is given it, base64 */
  readonly piped?: string;
}
export interface PluginHook extends Runs { readonly step: Step; readonly when: HookTime; /** its refusal ends the deploy */ readonly mayRefuse?: boolean }
export interface PluginSubscription extends Runs { readonly types: readonly string[] }
/** A state that is folded from all events of these types that there ever were. */
export interface PluginProjection extends PluginSubscription { readonly name: string }

/** A program in a service's container, as a manifest writes it. Texts have placeholders (`{name}`, `{host}`, …); `argv` never the password. */
export interface DeclaredExec { readonly argv: readonly string[]; readonly user?: string; readonly env?: Readonly<Record<string, string>>; readonly stdin?: string }
interface DeclaredServer { readonly volume: string | null; readonly env: Readonly<Record<string, string>>; /** absent: the image's own */ readonly command?: readonly string[] }
/** A type of service as a plugin brings it: what `ServiceType` has, as data. */
export interface DeclaredService {
  readonly type: string; readonly aliases: readonly string[]; readonly title: string; readonly version: string;
  readonly registry: DeclaredServer & { readonly reference: string };
  /** absent: only an image of a registry */
  readonly packaged?: DeclaredServer & { readonly packages: readonly string[]; readonly before?: Readonly<Record<string, string>>; readonly lines: readonly string[]; /** lines of `/usr/local/bin/berth-service` */ readonly script: readonly string[]; readonly remark?: string };
  readonly port: number; readonly ports: readonly number[]; readonly stopSeconds: number; readonly variable: string;
  /** what apps log in as; empty for a type without users */
  readonly user: string; readonly dsn: string;
  readonly health: DeclaredExec; readonly setup: readonly DeclaredExec[];
  /** absent: another password comes by a new container */
  readonly rotate?: readonly DeclaredExec[];
  readonly tellVersion: DeclaredExec; readonly connect: DeclaredExec;
  /** `magic`: how a dump begins */
  readonly dumps?: { readonly suffix: string; readonly out: DeclaredExec; readonly in: DeclaredExec; readonly count: DeclaredExec; readonly magic?: string };
  readonly noDumps?: string;
  readonly open?: true;
}

/** Asked whether a repository is its own, and how it is built. */
export interface PluginBuilder extends Runs {
  readonly name: string; readonly title: string;
  /** for the message when nothing fits */
  readonly looksFor: string;
  /** files whose text it is given: `*.toml`, `src/**` */
  readonly reads: readonly string[];
}

/** What a channel is set up with. `secret`: sealed, and never a word of a command line. */
export interface ChannelOption { readonly name: string; readonly about: string; readonly secret?: boolean; readonly optional?: boolean }
/** A way to tell people something: `notify:add <name> plugin:<plugin>/<channel>`. */
export interface PluginChannel extends Runs { readonly name: string; readonly title: string; readonly options: readonly ChannelOption[] }

/** What a plugin says of itself (`berth-plugin.json`), judged and with every list there. */
export interface PluginManifest {
  readonly name: string; readonly version: string; readonly description: string;
  /** range of Berth's versions that it fits */
  readonly berth: string;
  readonly protocol: 1;
  /** programs that must be on the server */
  readonly needs: readonly string[];
  /** a module with a default export of `definePlugin`; null: every part names its own program */
  readonly main: string | null;
  readonly commands: readonly PluginCommand[];
  readonly hooks: readonly PluginHook[];
  readonly events: PluginSubscription | null;
  /** name → folder of a buildpack of the classic API */
  readonly buildpacks: Readonly<Record<string, string>>;
  /** absent: none */
  readonly projections?: readonly PluginProjection[];
  /** absent: none */
  readonly builders?: readonly PluginBuilder[];
  /** absent: none */
  readonly services?: readonly DeclaredService[];
  /** absent: none */
  readonly channels?: readonly PluginChannel[];
}

/** Where its code comes from, as it was asked for: what an update asks again. */
export type PluginSource =
  | { readonly type: 'git'; readonly url: string; readonly committish: string | null }
  | { readonly type: 'npm'; readonly spec: string }
  | { readonly type: 'tarball'; readonly from: string }
  | { readonly type: 'folder'; readonly path: string };

/** Exactly what was installed. */
export interface PluginCode {
  readonly version: string; readonly source: PluginSource;
  /** commit id, npm's integrity, or the sha-256 of the files */
  readonly pin: string;
  /** folder below `<root>/plugins/.code` */
  readonly folder: string;
  readonly manifest: PluginManifest;
}

/** What plugins add to a deploy: each step takes what is its own. */
export interface Additions {
  readonly buildArgs?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** volumes of the app, made when they are not there */
  readonly mounts?: readonly { readonly name: string; readonly path: string }[];
  /** networks of the engine that its containers join */
  readonly networks?: readonly string[];
  /** labels of its containers */
  readonly labels?: Readonly<Record<string, string>>;
  /** takes the place of what app.json says */
  readonly checks?: Partial<HealthCheck>;
  readonly router?: RouterSettings;
}
/** As it stands in the log: the values of buildArgs and env sealed. */
export type SealedAdditions = Omit<Additions, 'buildArgs' | 'env'> & { readonly buildArgs?: Readonly<Record<string, Sealed>>; readonly env?: Readonly<Record<string, Sealed>> };

/** What one plugin answered to a hook. `fault`: why it did not answer, or not well; the step goes on without it. */
export interface HookReply {
  readonly plugin: string; readonly version: string; readonly tookMs: number;
  readonly add?: SealedAdditions; readonly refuse?: string; readonly say?: readonly string[]; readonly fault?: string;
}

/** stream `plugins`: which there are. One for all, so that no two share a user or a name. Those that come with Berth are there without an event. */
export type PluginEvent =
  | NewEvent<'PluginInstalled', { plugin: string; uid: number } & PluginCode>
  | NewEvent<'PluginUpdated', { plugin: string; from: string } & PluginCode>
  | NewEvent<'PluginEnabled', { plugin: string }>
  | NewEvent<'PluginDisabled', { plugin: string; reason: string }>
  | NewEvent<'PluginUninstalled', { plugin: string }>;

/** stream `plugin-<name>`: what it remembers. `app` null: of the server. */
export type PluginSettingEvent = NewEvent<'PluginSettingChanged', { plugin: string; app: string | null; key: string; value: string | Sealed | null }>;
