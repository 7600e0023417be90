import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Max, Min } from 'class-validator';
import { Rejected } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import { SCHEMAS } from '../../events/types/all.events.js';
import { shown } from '../apps/app.decider.js';
import { Arg, command, Flag, forget, type Out, type StreamItem } from '../commands/command.js';
import { when } from '../commands/words.js';
import { newest, newestOf, positionAt, SLACK_MS } from './app-log.js';
import { masked } from './mask.js';
import { tell } from './tell.js';
import { parseTime } from './moment.js';

const number = Transform(({ value }) => (typeof value === 'string' ? Number(value) : value));

class EventsInput {
  @IsOptional() @Flag('go on as events come', { short: 't' }) tail?: boolean;
  @IsOptional() @number @IsInt() @Min(1) @Max(100_000) @Flag('how many (50; all of them with --since)', { type: 'number', short: 'n', label: 'n' }) num?: number;
  @IsOptional() @number @IsInt() @Min(0) @Flag('from behind this position on, instead of the newest', { type: 'number', label: 'position' }) after?: number;
  @IsOptional() @IsString() @Flag('only since then: 2h, 30m, 3d (ago), or a date and time', { type: 'string', label: 'time' }) since?: string;
  @IsOptional() @IsString() @Flag('only until then', { type: 'string', label: 'time' }) until?: string;
  @IsOptional() @IsString() @Flag('only of these types, such as ImageBuilt,StepFailed', { type: 'string', label: 'type,…' }) type?: string;
  @IsOptional() @IsString() @Flag('only by this actor, such as key:admin, or by this kind: key, token, worker, root', { type: 'string', label: 'actor' }) actor?: string;
  @IsOptional() @IsString() @Flag('the same as <app>', { type: 'string', label: 'app' }) of?: string;
  @IsOptional() @IsString() @Arg('only of this app', { optional: true }) app?: string;
}

/** `imagebuilt,StepFailed` → the types as the log spells them. @throws Rejected for one there is none of */
export function parseTypes(text: string): string[] {
  const known = new Map(Object.keys(SCHEMAS).map((type) => [type.toLowerCase(), type]));
  return text.split(',').map((word) => word.trim()).filter(Boolean).map((word) => {
    const type = known.get(word.toLowerCase());
    if (type) return type;
    const asked = word.toLowerCase();
    const near = [...known].filter(([lower]) => lower.includes(asked) || asked.includes(lower) || lower.startsWith(asked.slice(0, Math.max(4, asked.length - 2)))).map(([, name]) => name);
    throw new Rejected('events.type', `There is no event type '${shown(word, 40)}'`, near.length > 0 ? `did you mean ${near.slice(0, 4).join(', ')}?` : `for example: ${[...known.values()].slice(0, 6).join(', ')}`);
  });
}

const events = command({
  name: 'events', summary: 'Show the event log, newest last; -t follows', example: 'berth events blog --since 2h --type StepFailed,DeployFailed', input: EventsInput, http: { method: 'GET', path: '/events' }, reads: true,
  async *stream({ core, signal }, { tail, num, after, since, until, of, app: named, type, actor }): AsyncGenerator<StreamItem> {
    const name = named ?? of;
    const app = name === undefined ? null : (await core.app(name)).id;
    const now = core.now();
    const [from, to] = [since, until].map((text) => (text === undefined ? null : parseTime(text, now))) as [number | null, number | null];
    if (tail && to !== null) throw new Rejected('events.until', '--until and -t do not go together', 'following has no end');
    if (from !== null && to !== null && from > to) throw new Rejected('events.range', '--since is later than --until');
    const inTime = (event: Recorded): boolean => (from === null || event.at >= from) && (to === null || event.at <= to);
    const wanted = (event: Recorded): boolean => (app === null || (event.data as { app?: string }).app === app) && inTime(event);
    const filter = { ...(type !== undefined && { types: parseTypes(type) }), ...(actor !== undefined && { actor }) };
    const item = (event: Recorded, names: Readonly<Record<string, { readonly name: string } | undefined>>): StreamItem => {
      const owner = (event.data as { app?: string }).app;
      return { id: String(event.position), event: event.type, data: { ...event, app: owner === undefined ? null : (names[owner]?.name ?? owner), data: masked(event.data) } };
    };
    const names = async (): Promise<Readonly<Record<string, { readonly name: string } | undefined>>> => (await core.board.now()).apps;
    const low = from === null ? 0 : await positionAt(core.store, from - SLACK_MS);
    const end = to === null ? Number.POSITIVE_INFINITY : await positionAt(core.store, to + SLACK_MS);
    let position = Math.max(after ?? 0, low);
    let left = Number.POSITIVE_INFINITY;
    if (after === undefined && (from === null || num !== undefined)) {
      const head = Math.min(end, await core.store.head());
      const range = { low, head, want: num ?? 50, ...filter, wanted };
      const found = await (app === null ? newest(core.store, range) : newestOf(core.store, app, range));
      const called = await names();
      for (const event of found) yield item(event, called);
      if (!tail) return;
      position = head;
    } else if (app !== null) {
      // what is there already comes from the app's own streams, however long the log is
      const head = Math.min(end, await core.store.head());
      const all = await newestOf(core.store, app, { low: position, head, want: Number.POSITIVE_INFINITY, ...filter, wanted });
      const called = await names();
      for (const event of tail ? all : all.slice(0, num ?? (from === null ? 50 : all.length))) yield item(event, called);
      if (!tail) return;
      position = Math.max(position, head);
    } else if (!tail) left = num ?? (from === null ? 50 : left);
    let wake: () => void = () => {};
    let changed = true;
    const nudge = (): void => { changed = true; wake(); };
    const unsubscribe = core.store.changes(nudge);
    signal.addEventListener('abort', nudge);
    try {
      while (!signal.aborted) {
        changed = false;
        const page = await core.store.readAll(position, 1000, filter);
        const called = page.length > 0 ? await names() : {};
        for (const event of page) {
          position = event.position;
          if (position > end) return;
          if (!wanted(event)) continue;
          yield item(event, called);
          left -= 1;
          if (left <= 0) return;
        }
        if (page.length === 1000) {
          await turnOfTheLoop();
          continue;
        }
        if (!tail) return;
        if (!changed) await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      signal.removeEventListener('abort', nudge);
      unsubscribe();
    }
  },
  renderItem: (item, out: Out) => {
    const event = item.data as Recorded & { app: string | null };
    out.line(`${String(event.position).padStart(7)}  ${when(event.at)}  ${event.type.padEnd(18)} ${event.meta.actor.padEnd(18)} ${(event.app ?? '-').padEnd(12)} ${tell(event)}`.trimEnd());
  },
});

export const eventCommands = [forget(events)];
