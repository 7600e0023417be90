import { setImmediate as turn } from 'node:timers/promises';
import { GENESIS, link, type ChainedEvent } from '../../events/chain.js';
import { SCHEMAS } from '../../events/types/all.events.js';
import { BACKUPS } from './backup.decider.js';
import { damaged } from './archive.js';

/** A line of the log as `audit:verify --file` reads it, too: the texts of data and meta letter by letter. */
export function lineOf({ data, meta, ...event }: ChainedEvent): string {
  return `${JSON.stringify({ ...event, text: { data, meta } })}\n`;
}

/** Reads the log's files in their order, and checks the chain as it goes. */
export class LogReader {
  head = { position: 0, hash: GENESIS };
  events = 0;
  /** version of the stream `backups` */
  backups = 0;
  /** kinds of events that this Berth cannot read: a newer one wrote them */
  readonly unknown = new Set<string>();

  /** The events of one file. @throws Rejected naming the event that is not as it was written */
  async page(name: string, content: Buffer): Promise<ChainedEvent[]> {
    const page: ChainedEvent[] = [];
    for (let at = 0; at < content.length;) {
      const end = content.indexOf(0x0a, at);
      const stop = end < 0 ? content.length : end;
      const line = content.toString('utf8', at, stop);
      at = stop + 1;
      const event = read(line);
      if (event === 'head') continue;
      if (event === null) throw damaged(`${name} in the archive has a line that is no event, behind event ${this.head.position}`);
      if (event.position !== this.head.position + 1 || link(this.head.hash, event) !== event.hash) throw damaged(`${name} in the archive: event ${event.position} (${event.type}) does not follow upon event ${this.head.position}: the chain is broken there`);
      this.head = { position: event.position, hash: event.hash };
      this.events += 1;
      if (event.stream === BACKUPS) this.backups = event.version;
      if (event.schema > (Object.hasOwn(SCHEMAS, event.type) ? SCHEMAS[event.type as keyof typeof SCHEMAS] : 0)) this.unknown.add(event.type);
      page.push(event);
    }
    await turn();
    return page;
  }
}

function read(line: string): ChainedEvent | 'head' | null {
  try {
    const { text, ...event } = JSON.parse(line) as ChainedEvent & { text?: { data: string; meta: string }; berth?: string };
    if (event.berth === 'audit-export') return 'head';
    if (typeof text?.data !== 'string' || typeof text.meta !== 'string' || typeof event.stream !== 'string' || typeof event.hash !== 'string' || !Number.isSafeInteger(event.position)) return null;
    return { ...event, data: text.data, meta: text.meta };
  } catch {
    return null;
  }
}
