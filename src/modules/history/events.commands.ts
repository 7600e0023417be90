import { Transform } from 'class-transformer';
import { IsInt, IsOptional, IsString, Max, Min } from 'class-validator';
import type { Recorded } from '../../events/event.js';
import { command, Flag, forget, type Out, type StreamItem } from '../commands/command.js';
import { when } from '../commands/words.js';

const number = Transform(({ value }) => (typeof value === 'string' ? Number(value) : value));

class EventsInput {
  @IsOptional() @Flag('go on as events come', { short: 't' }) tail?: boolean;
  @IsOptional() @number @IsInt() @Min(1) @Max(100_000) @Flag('how many (50)', { type: 'number', short: 'n', label: 'n' }) num?: number;
  @IsOptional() @number @IsInt() @Min(0) @Flag('from behind this position on, instead of the newest', { type: 'number', label: 'position' }) after?: number;
  @IsOptional() @IsString() @Flag('only of this app', { type: 'string', label: 'app' }) of?: string;
  @IsOptional() @IsString() @Flag('only of this type, such as ImageBuilt', { type: 'string', label: 'type' }) type?: string;
  @IsOptional() @IsString() @Flag('only by this actor, such as key:admin', { type: 'string', label: 'actor' }) actor?: string;
}

/** A sealed value stays sealed, and is not printed either. */
export function masked(data: unknown): unknown {
  if (Array.isArray(data)) return data.map(masked);
  if (typeof data !== 'object' || data === null) return data;
  const entries = Object.entries(data);
  if ('ct' in data && 'iv' in data && 'tag' in data) return '(sealed)';
  return Object.fromEntries(entries.map(([key, value]) => [key, key === 'hash' ? '(hidden)' : masked(value)]));
}

function summary(event: Recorded): string {
  const text = JSON.stringify(masked(event.data));
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

const events = command({
  name: 'events', summary: 'Show the event log, newest last; -t follows', example: 'berth events -n 20 --of blog', input: EventsInput, http: { method: 'GET', path: '/events' }, reads: true,
  async *stream({ core, signal }, { tail, num, after, of, type, actor }): AsyncGenerator<StreamItem> {
    const app = of === undefined ? null : (await core.app(of)).id;
    const wanted = (event: Recorded): boolean => (app === null || (event.data as { app?: string }).app === app) && (actor === undefined || event.meta.actor === actor);
    const filter = type === undefined ? undefined : { types: [type] };
    const item = (event: Recorded): StreamItem => ({ id: String(event.position), event: event.type, data: { ...event, data: masked(event.data) } });
    let position = after ?? 0;
    if (after === undefined) {
      // the newest: read backwards is not what the log offers, so windows that grow from the end
      const head = await core.store.head();
      const want = num ?? 50;
      let recent: Recorded[] = [];
      for (let window = want * 4; ; window *= 8) {
        const from = Math.max(0, head - window);
        recent = [];
        for (let at = from; ;) {
          const page = await core.store.readAll(at, 5000, filter);
          recent.push(...page.filter((e) => e.position <= head && wanted(e)));
          at = page.at(-1)?.position ?? head;
          if (page.length < 5000) break;
        }
        if (recent.length >= want || from === 0) break;
      }
      for (const event of recent.slice(-want)) yield item(event);
      position = head;
    }
    let left = after !== undefined && !tail ? (num ?? 50) : Number.POSITIVE_INFINITY;
    if (after === undefined && !tail) return;
    let wake: () => void = () => {};
    let changed = true;
    const nudge = (): void => { changed = true; wake(); };
    const unsubscribe = core.store.changes(nudge);
    signal.addEventListener('abort', nudge);
    try {
      while (!signal.aborted) {
        changed = false;
        const page = await core.store.readAll(position, 1000, filter);
        for (const event of page) {
          position = event.position;
          if (!wanted(event)) continue;
          yield item(event);
          left -= 1;
          if (left <= 0) return;
        }
        if (page.length === 1000) continue;
        if (!tail) return;
        if (!changed) await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      signal.removeEventListener('abort', nudge);
      unsubscribe();
    }
  },
  renderItem: (item, out: Out) => {
    const event = item.data as Recorded;
    out.line(`${String(event.position).padStart(7)}  ${when(event.at)}  ${event.type.padEnd(18)} ${event.meta.actor.padEnd(16)} ${summary(event)}`);
  },
});

export const eventCommands = [forget(events)];
