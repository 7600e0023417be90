import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Recorded } from '../../src/events/event.js';
import type { Fixture } from '../lib/berth-fixture.js';

type Row = Record<'position' | 'version' | 'schema' | 'at', number> & Record<'stream' | 'id' | 'type' | 'data' | 'meta', string>;
export type Seen = Recorded & { readonly data: { readonly app?: string; readonly deploy?: number; readonly job?: string; readonly step?: string; readonly attempt?: number } };

/** The log, read from its file beside Berth, whose processes may all be dead. Sees an event within a few milliseconds. */
export class LogWatch {
  readonly events: Seen[] = [];
  private readonly db: DatabaseSync;
  private readonly timer: NodeJS.Timeout;
  private readonly listeners = new Set<(event: Seen) => void>();

  constructor(berth: Fixture) {
    this.db = new DatabaseSync(join(berth.root, 'berth.db'), { readOnly: true, timeout: 5000 });
    const next = this.db.prepare('SELECT position, stream, version, id, type, schema, data, meta, at FROM events WHERE position > ? ORDER BY position');
    const read = (): void => {
      for (const row of next.all(this.events.at(-1)?.position ?? 0) as unknown as Row[]) {
        const event = { ...row, data: JSON.parse(row.data) as object, meta: JSON.parse(row.meta) as object } as unknown as Seen;
        this.events.push(event);
        for (const listener of this.listeners) listener(event);
      }
    };
    read();
    this.timer = setInterval(read, 3);
  }

  /** The next event that is looked for, told in the moment it is seen; null when there is none in time. */
  next(wanted: (event: Seen) => boolean, withinMs: number, now: (event: Seen) => void = () => {}): Promise<Seen | null> {
    return new Promise((done) => {
      const end = (event: Seen | null): void => {
        clearTimeout(timer);
        this.listeners.delete(look);
        if (event) now(event);
        done(event);
      };
      const look = (event: Seen): void => { if (wanted(event)) end(event); };
      const timer = setTimeout(() => end(null), withinMs);
      this.listeners.add(look);
    });
  }

  /** Who holds a lease now; null: nobody. */
  holder(lease: string): string | null {
    return (this.db.prepare('SELECT owner FROM leases WHERE name = ? AND until > ?').get(lease, Date.now()) as { owner: string } | undefined)?.owner ?? null;
  }

  openWork(): string[] {
    return (this.db.prepare('SELECT id FROM work WHERE state < 2').all() as { id: string }[]).map(({ id }) => `work ${id} is open`);
  }

  close(): void {
    clearInterval(this.timer);
    this.db.close();
  }
}
