import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { EventStore } from '../../events/store.port.js';
import type { EventType } from '../../events/types/all.events.js';
import type { ClaimEvent } from '../../events/types/app.events.js';
import { upcast } from '../../events/upcast.js';
import { appStream, configStream, pipelineStream, processStream } from '../apps/app-context.js';
import { shown } from '../apps/app.decider.js';
import { when } from '../commands/words.js';
import { applyToBoard, emptyBoard, type Board } from '../read/board.projection.js';
import type { Moment } from './moment.js';

type Reads = Pick<EventStore, 'readStream' | 'readAll' | 'readBack' | 'head'>;

const byPosition = (a: Recorded, b: Recorded): number => a.position - b.position;

/** Streams in the order in which their events were written. Nothing else of the log is read: a long log costs nothing. */
export async function merged(store: Reads, streams: readonly string[]): Promise<Recorded[]> {
  const read = await Promise.all(streams.map((stream) => store.readStream(stream)));
  return read.flat().map((event) => upcast(event)).sort(byPosition);
}

/** Everything that made the app what it is. */
const streamsThatMake = (app: string): string[] => [appStream(app), configStream(app), processStream(app), pipelineStream(app)];
export const appLog = (store: Reads, app: string): Promise<Recorded[]> => merged(store, streamsThatMake(app));

/** The last of those events up to `position`. */
export async function lastOf(store: Reads, app: string, position: number): Promise<Recorded | undefined> {
  const each = await Promise.all(streamsThatMake(app).map((stream) => store.readBack(position + 1, 1, { stream })));
  return each.flat().sort(byPosition).at(-1);
}

type Kind = 'app' | 'config' | 'processes' | 'pipeline' | 'drift' | 'claim';
/** In which of an app's streams a type is looked for; one that is not named here, in all of them. */
const FOUND_IN: Readonly<Partial<Record<EventType, Kind>>> = {
  AppCreated: 'app', AppRenamed: 'app', AppDestroyed: 'app', DeployBranchSet: 'app', AppSettingChanged: 'app', DomainAdded: 'app', DomainRemoved: 'app',
  NameClaimed: 'claim', NameReleased: 'claim', ConfigSet: 'config', ConfigUnset: 'config', ContainerScaled: 'processes',
  DriftDetected: 'drift', DriftEnded: 'drift', RepairStarted: 'drift', CrashLoopDetected: 'drift',
  BuildRequested: 'pipeline', DeployRequested: 'pipeline', DeployStarted: 'pipeline', DeploySuperseded: 'pipeline', StepQueued: 'pipeline', StepStarted: 'pipeline', SourceCloned: 'pipeline',
  BuildpackDetected: 'pipeline', ImageBuilt: 'pipeline', ContainersStarted: 'pipeline', ReleaseCreated: 'pipeline', RouteSwitched: 'pipeline', StepFailed: 'pipeline', StepGivenBack: 'pipeline', StepExtended: 'pipeline',
  DeploySucceeded: 'pipeline', DeployFailed: 'pipeline', DeployCancelled: 'pipeline', ContainersLost: 'pipeline', JobRetried: 'pipeline', JobDiscarded: 'pipeline',
};

/** The streams of everything that was written about the app: its names, its domains and what the reconciler saw, too; only those that may hold `types`. */
async function streamsOf(store: Reads, app: string, types: readonly string[] | undefined): Promise<string[]> {
  const kinds = new Set((types ?? ['any']).map((type) => FOUND_IN[type as EventType] ?? 'any'));
  const may = (kind: Kind): boolean => kinds.has('any') || kinds.has(kind);
  const own = ([['app', appStream], ['config', configStream], ['processes', processStream], ['pipeline', pipelineStream], ['drift', (id: string) => `drift-${id}`]] as const).filter(([kind]) => may(kind)).map(([, stream]) => stream(app));
  if (!may('claim')) return own;
  const named = await store.readAll(0, Number.MAX_SAFE_INTEGER, { stream: appStream(app), types: ['AppCreated', 'AppRenamed', 'DomainAdded', 'DomainRemoved'] });
  const claims = named.flatMap(({ data }) => {
    const { name, to, domain } = data as { name?: string; to?: string; domain?: string };
    return [name, to].flatMap((each) => (each ? [`name-${each}`] : [])).concat(domain ? [`domain-${domain}`] : []);
  });
  return [...new Set([...own, ...claims])];
}

export interface Newest { /** positions: behind `low`, up to `head` */ readonly low: number; readonly head: number; readonly want: number; readonly types?: readonly string[]; readonly actor?: string; wanted(event: Recorded): boolean }

/** The newest events of a range, oldest first; only about as many are read as are wanted. */
export async function newest(store: Reads, { low, head, want, types, actor, wanted }: Newest, stream?: string): Promise<Recorded[]> {
  const found: Recorded[] = [];
  const page = Math.min(want, 1000);
  for (let before = Math.min(head, Number.MAX_SAFE_INTEGER - 1) + 1; ;) {
    const events = await store.readBack(before, page, { ...(stream !== undefined && { stream }), ...(types && { types }), ...(actor !== undefined && { actor }) });
    for (const event of events) {
      if (event.position <= low || found.length === want) return found.reverse();
      if (wanted(event)) found.push(event);
    }
    if (events.length < page || found.length === want) return found.reverse();
    before = events.at(-1)!.position;
    await turnOfTheLoop(); // a long answer holds up nobody else
  }
}

/** The same of everything that was written about one app: from its own streams, whatever else is in the log. */
export async function newestOf(store: Reads, app: string, range: Newest): Promise<Recorded[]> {
  const wanted = (event: Recorded): boolean => (event.data as { app?: string }).app === app && range.wanted(event);
  const each = await Promise.all((await streamsOf(store, app, range.types)).map((stream) => newest(store, { ...range, wanted }, stream)));
  return each.flat().sort(byPosition).slice(-range.want);
}

/** What had happened by then: clocks may jump back, the order of the log does not. */
export function until(events: readonly Recorded[], moment: Moment): Recorded[] {
  if ('position' in moment) return events.filter((event) => event.position <= moment.position);
  return events.slice(0, events.findLastIndex((event) => event.at <= moment.time) + 1);
}

export function boardOf(events: readonly Recorded[]): Board {
  const board = emptyBoard();
  for (const event of events) applyToBoard(board, event);
  return board;
}

/** Id of the app that had this name then; an app's id is one of its names. @throws Rejected with exit 20, saying when an app had it */
export async function whoHad(store: Reads, name: string, moment: Moment): Promise<string> {
  const claims = (await store.readStream(`name-${name}`)) as unknown as (Recorded & ClaimEvent)[];
  const last = until(claims, moment).at(-1) as (Recorded & ClaimEvent) | undefined;
  if (last?.type === 'NameClaimed') return last.data.app;
  if (/^[a-z0-9]{10}$/.test(name)) {
    const own = await store.readStream(appStream(name));
    if (own.length > 0 && until(own, moment).length > 0) return name;
  }
  if (claims.length === 0) throw new Rejected('app.missing', `App ${shown(name)} does not exist`, 'see: berth apps:list', 20);
  const spans = claims.flatMap((claim, i) => (claim.type === 'NameClaimed' ? [`from ${when(claim.at)} (event ${claim.position}) to ${claims[i + 1] ? `${when(claims[i + 1]!.at)} (event ${claims[i + 1]!.position - 1})` : 'now'}`] : []));
  throw new Rejected('app.missing', `No app was called ${shown(name)} then`, `one was ${spans.slice(-3).join(', and ')}; times are UTC`, 20);
}

/** How far clocks of several writers may be apart, ms: a search by time looks so much further. */
export const SLACK_MS = 60_000;

/** The last position that was written at or before `time`, found by halving; 0 when there is none. */
export async function positionAt(store: Pick<Reads, 'readAll' | 'head'>, time: number): Promise<number> {
  let low = 0;
  let high = await store.head();
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const [event] = await store.readAll(middle - 1, 1);
    if (event && event.at <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Refuses a moment that is not yet. */
export async function checkMoment(store: Reads, moment: Moment, now: number): Promise<void> {
  if ('time' in moment) {
    if (moment.time > now) throw new Rejected('time.future', `${when(moment.time)} UTC is in the future`);
    return;
  }
  const head = await store.head();
  if (moment.position > head) throw new Rejected('time.future', `There is no event ${moment.position} yet`, `the newest is ${head}`);
}
