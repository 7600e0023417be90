/** Run by the event store's suite and bench in processes of their own: `node child.mjs <mode> <url> …`; speaks in lines on stdout. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore } from '../../src/events/open-store.js';
import { Conflict, StoreUnavailable, type EventStore } from '../../src/events/store.port.js';

const say = (line: string) => process.stdout.write(`${line}\n`);
/** ms since the epoch with fractions, comparable between processes of one machine */
const clock = () => performance.timeOrigin + performance.now();

const meta = (correlation: string) => ({ actor: 'test', command: 'write', correlation, causation: null, trace: '0'.repeat(32) });

/** One transaction: two events on a stream shared by all, one on the own, one work row. Answers only when it is written. */
async function write(store: EventStore, name: string, n: number, versions: Map<string, number>): Promise<void> {
  const shared = `shared-${n % 3}`;
  const id = `${name}-${n}`;
  for (;;) {
    try {
      const facts = [{ type: 'A', data: { n } }, { type: 'B', data: { n, pad: 'x'.repeat(200) } }];
      await store.transact({
        now: Date.now(), meta: meta(id), work: [{ id, queue: 'q', group: name, payload: { n } }],
        appends: [
          { stream: shared, expected: versions.get(shared) ?? 0, events: facts },
          { stream: `own-${name}`, expected: n, events: [{ type: 'C', data: { n } }] },
        ],
      });
      versions.set(shared, (versions.get(shared) ?? 0) + 2);
      return;
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
      versions.set(error.stream, error.actual);
    }
  }
}

const [mode = '', url = '', name = '', count = '0', extra = '0'] = process.argv.slice(2);
const store = await openStore(url);
say('open');

if (mode === 'write') {
  const versions = new Map<string, number>();
  for (let n = 0; n < Number(count); n++) await write(store, name, n, versions);
} else if (mode === 'watch') {
  let after = await store.head();
  let again = false, reading = false;
  const read = async () => {
    again = true;
    if (reading) return;
    reading = true;
    while (again) {
      again = false;
      const events = await store.readAll(after, 1000);
      const now = clock();
      for (const event of events) say(`event ${event.position} ${now} ${event.meta.correlation}`);
      after = events.at(-1)?.position ?? after;
    }
    reading = false;
  };
  store.changes(() => void read());
  say('ready');
  await new Promise((resolve) => process.stdin.once('end', resolve).resume());
} else if (mode === 'bench') {
  // <name> <ms> <callers>: each caller appends to streams of its own as fast as it can; negative: paced, so many a second
  const callers = Math.max(1, Number(extra));
  const pace = Number(extra) < 0 ? 1000 / -Number(extra) : 0;
  const waits: number[] = [];
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once('data', resolve));
  const before = process.cpuUsage();
  const end = performance.now() + Number(count);
  await Promise.all(Array.from({ length: callers }, async (_, caller) => {
    for (let n = 0; performance.now() < end; n++) {
      const start = performance.now();
      const id = `${name}-${caller}-${n}`;
      try {
        await store.transact({
          now: Date.now(), meta: meta(id), work: [{ id, queue: 'q', group: name, payload: { n } }],
          appends: [{ stream: `${name}-${caller}-${n >> 4}`, expected: n & 15, events: [{ type: 'A', data: { n, pad: 'x'.repeat(150) } }] }],
        });
        if (pace) say(`wrote ${id} ${performance.timeOrigin + start} ${clock()}`); // a line an append would be a good part of what is measured
        waits.push(performance.now() - start);
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        say(`unavailable ${error.reason}`);
        n = ((n >> 4) + 1) * 16 - 1; // a new stream
      }
      if (pace) await sleep(Math.max(0, pace - (performance.now() - start)));
    }
  }));
  say(`waits ${JSON.stringify(waits.map((ms) => Math.round(ms * 1000) / 1000))}`);
  const { user, system } = process.cpuUsage(before);
  say(`cpu ${user + system}`);
  process.stdin.pause();
} else if (mode !== 'open') {
  throw new Error(`unknown mode ${mode}`);
}
await store.close();
say('done');
