import type { Recorded } from '../../events/event.js';
import type { Sealed } from '../../events/sealed.js';
import type { Formation } from '../../events/types/app.events.js';
import type { HealthCheck, Limits, PipelineEvent, ProcessTypes, ReleaseInput, ReleaseSpec } from '../../events/types/deploy.events.js';

/** A release and what it became live with: what its release step was given, and what was built for it. */
export interface ReleaseThen {
  readonly number: number; readonly deploy: number; readonly at: number; readonly by: string; readonly why: string;
  readonly spec: ReleaseSpec;
  /** when it was first routed to; null: it never served */
  readonly liveAt: number | null;
  readonly bytes: number | null; readonly buildpack: string | null;
  readonly formation: Formation; readonly limits: Limits | null;
  readonly hosts: readonly string[];
}

/** Finds a release in the app's pipeline; null when there is none of that number. Pure. */
export function releaseIn(events: readonly Recorded[], number: number): ReleaseThen | null {
  const all = events as unknown as readonly (Recorded & PipelineEvent)[];
  const created = all.find((e) => e.type === 'ReleaseCreated' && e.data.number === number) as (Recorded & Extract<PipelineEvent, { type: 'ReleaseCreated' }>) | undefined;
  if (!created) return null;
  const { deploy, by, why, spec } = created.data;
  let input: ReleaseInput | null = null;
  let bytes: number | null = null;
  let buildpack: string | null = null;
  let route: { at: number; hosts: readonly string[] } | null = null;
  let plan: string | null = null;
  for (const e of all) {
    if (e.type === 'BuildpackDetected') plan = e.data.output.summary;
    // a rollback's image was built for another release
    if (e.type === 'ImageBuilt' && e.data.output.imageId === spec.imageId && bytes === null) ({ bytes, buildpack } = { bytes: e.data.output.bytes, buildpack: plan });
    if (e.type === 'StepQueued' && e.data.step === 'release' && e.data.deploy === deploy) input = e.data.input as ReleaseInput;
    if (e.type === 'RouteSwitched' && e.data.deploy === deploy && route === null) route = { at: e.at, hosts: e.data.output.hosts };
  }
  return { number, deploy, at: created.at, by, why, spec, liveAt: route?.at ?? null, bytes, buildpack, formation: input?.formation ?? {}, limits: input?.limits ?? null, hosts: route?.hosts ?? input?.hosts ?? [] };
}

export type KeyChange = 'added' | 'removed' | 'changed' | 'unreadable';

/**
 * Which config keys differ. The same sealed text is the same value; others are opened in memory and never leave it.
 * `open` answers null for a value that cannot be opened any more.
 */
export async function compareConfig(a: Readonly<Record<string, Sealed>>, b: Readonly<Record<string, Sealed>>, open: (sealed: Sealed) => Promise<string | null>): Promise<Record<string, KeyChange>> {
  const changes: Record<string, KeyChange> = {};
  for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
    const [one, other] = [Object.hasOwn(a, key) ? a[key] : undefined, Object.hasOwn(b, key) ? b[key] : undefined];
    if (!one) changes[key] = 'added';
    else if (!other) changes[key] = 'removed';
    else if (one.ct !== other.ct || one.iv !== other.iv || one.tag !== other.tag) {
      const [x, y] = [await open(one), await open(other)];
      if (x === null || y === null) changes[key] = 'unreadable';
      else if (x !== y) changes[key] = 'changed';
    }
  }
  return changes;
}

export interface Row { readonly what: string; readonly from: string; readonly to: string; readonly differs: boolean }

const checkText = (c: HealthCheck): string => `${c.path ?? 'a port that answers'}, ${c.attempts} × ${c.timeoutMs} ms, ${c.waitMs} ms apart`;
const processText = (types: ProcessTypes, type: string): string => (Object.hasOwn(types, type) ? (types[type] ?? '(the image\'s own command)') : '-');

/** Everything that two releases consist of, side by side; config keys apart. Pure. */
export function compareReleases(a: ReleaseThen, b: ReleaseThen, words: { bytes(n: number): string }): Row[] {
  const rows: Row[] = [];
  const row = (what: string, from: string, to: string): void => { rows.push({ what, from, to, differs: from !== to }); };
  const of = (what: string, text: (r: ReleaseThen) => string): void => row(what, text(a), text(b));
  of('commit', (r) => r.spec.sha?.slice(0, 12) ?? '-');
  of('image', (r) => r.spec.imageId.replace('sha256:', '').slice(0, 12));
  of('size', (r) => (r.bytes === null ? 'unknown' : words.bytes(r.bytes)));
  of('built as', (r) => r.buildpack ?? 'unknown');
  of('config version', (r) => String(r.spec.configVersion));
  for (const type of [...new Set([...Object.keys(a.spec.processTypes), ...Object.keys(b.spec.processTypes)])].sort()) of(`process ${type}`, (r) => processText(r.spec.processTypes, type));
  of('release command', (r) => r.spec.releaseCommand ?? '-');
  of('check', (r) => checkText(r.spec.check));
  of('port', (r) => String(r.spec.port));
  for (const type of [...new Set([...Object.keys(a.formation), ...Object.keys(b.formation)])].sort()) of(`containers ${type}`, (r) => String(r.formation[type] ?? 0));
  of('memory limit', (r) => (r.limits?.memory ? words.bytes(r.limits.memory) : 'none'));
  of('cpu limit', (r) => (r.limits?.cpus ? String(r.limits.cpus) : 'none'));
  const [before, after] = [new Set(a.hosts), new Set(b.hosts)];
  for (const host of [...new Set([...a.hosts, ...b.hosts])].sort()) row(`domain ${host}`, before.has(host) ? 'yes' : '-', after.has(host) ? 'yes' : '-');
  return rows;
}
