/** `ready` takes requests, `drain` finishes what it has and is reachable for probes only, `maint` is out. */
export type ServerState = 'ready' | 'drain' | 'maint';

/** One container that web requests can go to. */
export interface RouterServer {
  /** unique in the app: the container's name */
  readonly name: string;
  /** container address, IPv4 or IPv6 */
  readonly ip: string;
  readonly port: number;
  readonly state: ServerState;
  /** 1 to 256, share among the ready ones; without meaning in other states */
  readonly weight: number;
}

/**
 * What the router looks up before it asks an app; changes while it runs. `maintenance` and `auth` are there or not (key empty); `users`: name →
 * `<salt, base64>|<HMAC-SHA-256 of the password, upper-case hex>`; `allow`: `4/` or `6/` and the first hexadecimal digits of an address →
 * the CIDR that they stand for; `redirects`: host → `<code>|<scheme and host>`.
 */
export interface RouterRule { readonly table: RuleTable; readonly key: string; readonly value: string }
export const RULE_TABLES = ['users', 'allow', 'auth', 'maintenance', 'redirects'] as const;
export type RuleTable = (typeof RULE_TABLES)[number];

/** What the router reads only when it loads its configuration. */
export interface RouterFixed {
  /** HTML of the answer while `maintenance` is there; absent: the router's own */
  readonly page?: string;
  /** set on every answer of the app */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RouterApp {
  readonly id: string;
  /** for people; may change freely */
  readonly name: string;
  /** lower case, no port; `*.x` takes every name below x that nobody has exactly or by a longer wildcard */
  readonly hosts: readonly string[];
  readonly servers: readonly RouterServer[];
  readonly rules?: readonly RouterRule[];
  readonly fixed?: RouterFixed;
}

/** The whole of what shall be routed. */
export interface DesiredTable { readonly apps: readonly RouterApp[] }

/** What the running router has. A host may point to an app that it has no backend for (a half-done change). */
export interface RouterState {
  readonly apps: readonly { readonly id: string; readonly name: string; readonly servers: readonly RouterServer[]; readonly fixed?: RouterFixed; /** it was loaded with another one */ readonly stale?: true }[];
  readonly hosts: readonly { readonly host: string; readonly app: string }[];
  readonly rules?: readonly (RouterRule & { readonly app: string })[];
}

export type RouterChange =
  | { readonly do: 'app.add'; readonly app: string; readonly name: string }
  | { readonly do: 'server.add'; readonly app: string; readonly server: RouterServer }
  | { readonly do: 'server.move'; readonly app: string; readonly name: string; readonly ip: string; readonly port: number }
  | { readonly do: 'server.set'; readonly app: string; readonly name: string; readonly state: ServerState; readonly weight: number }
  | { readonly do: 'host.add' | 'host.move'; readonly app: string; readonly host: string }
  | { readonly do: 'host.remove'; readonly host: string }
  | { readonly do: 'rule.add' | 'rule.set' | 'rule.remove'; readonly app: string; readonly rule: RouterRule }
  | { readonly do: 'app.fix'; readonly app: string; readonly fixed: RouterFixed | null }
  | { readonly do: 'server.remove'; readonly app: string; readonly name: string }
  | { readonly do: 'app.remove'; readonly app: string };

/** From `plan`; what `apply` takes. */
export interface RouterPlan { readonly desired: DesiredTable; readonly changes: readonly RouterChange[] }

export interface ServerStats {
  readonly app: string;
  readonly server: string;
  /** requests and upgraded connections under way or queued, in all of the router's processes; idle keep-alive ones are not counted */
  readonly inFlight: number;
  /** since the router's process started */
  readonly sessions: number;
  readonly requests: number;
}

export interface ProbeRequest {
  readonly host: string;
  readonly path: string;
  /** ask this server, in whatever state but `maint`; without it the router chooses as for anybody */
  readonly server?: string;
  /** milliseconds */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}
/** `server` is who answered, as the router says; null when it was the router itself. */
export interface ProbeAnswer { readonly status: number; readonly server: string | null }

/** What routes requests by host to containers. One writer at a time: callers hold the lease `router` around observe → plan → apply. */
export abstract class RouterPort {
  /**
   * What to do to get from `actual` to `desired`, in an order that never takes an app's last ready server away before another is ready. Pure.
   * @throws StepFailure `route.table-invalid` when the table contradicts itself (a host twice, a name that is none)
   */
  abstract plan(desired: DesiredTable, actual: RouterState): RouterPlan;
  /**
   * Carries a plan out, in the running router and in its files. Safe to repeat from a new `observe`.
   * @throws StepFailure `route.router-down`, `route.refused`, `route.config-invalid`, `route.reload-failed`; all machine faults
   */
  abstract apply(plan: RouterPlan): Promise<void>;
  /** @throws StepFailure `route.router-down` */
  abstract observe(): Promise<RouterState>;
  /** Counters of one app's servers, or of all. @throws StepFailure `route.router-down` */
  abstract stats(app?: string): Promise<readonly ServerStats[]>;
  /** A real request through the router's own port. Rejects when nothing answers in time. */
  abstract probe(request: ProbeRequest): Promise<ProbeAnswer>;
}

/** The observed state as a table again: the base for changing one app and leaving all others as they are. Hosts of unknown apps are dropped. */
export function tableOf(state: RouterState): DesiredTable {
  return { apps: state.apps.map(({ stale: _, ...app }) => {
    const rules = (state.rules ?? []).filter((rule) => rule.app === app.id).map(({ app: __, ...rule }) => rule);
    return hosted({ ...app, ...(rules.length > 0 && { rules }) }, state.hosts.filter((entry) => entry.app === app.id).map((entry) => entry.host));
  }) };
}

/** With these hosts, and without redirects from any other. */
export function hosted(app: Omit<RouterApp, 'hosts'>, hosts: readonly string[]): RouterApp {
  const { rules, ...rest } = app;
  const left = rules?.filter((rule) => rule.table !== 'redirects' || hosts.includes(rule.key)) ?? [];
  return { ...rest, hosts, ...(left.length > 0 && { rules: left }) };
}
