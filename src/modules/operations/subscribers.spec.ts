import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WorkStore } from '../../../test/work-store.js';
import type { Config } from '../../config.js';
import type { ReadFilter } from '../../events/store.port.js';
import { Core } from '../core.js';
import { change } from '../draft.js';
import { DELIVERY } from '../plugins/delivery.kind.js';
import { server } from '../server/server.decider.js';
import { operations } from './operation.decider.js';
import { operate } from './operations.service.js';
import { Subscribers, type Subscriber } from './subscribers.js';

/** Counts what is read. */
class CountingStore extends WorkStore {
  reads = 0;
  override async readAll(after: number, limit: number, filter?: ReadFilter) { this.reads += 1; return super.readAll(after, limit, filter); }
}

async function world(work: (core: Core, store: CountingStore) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-subscribers-'));
  const store = new CountingStore();
  try {
    await work(new Core({ root: dir, instance: 'x' } as unknown as Config, store), store);
  } finally {
    rmSync(dir, { recursive: true });
  }
}
const trace = async (core: Core, times: number): Promise<void> => { for (let i = 0; i < times; i += 1) await change({ core, actor: 'me' }, 'trace', 'x', async (draft) => { const { state } = await draft.load(server, 'server'); await draft.decide(server, 'server', { type: 'Trace', on: !state.trace }); }); };
const one = (name: string, more: Partial<Subscriber> = {}): Subscriber => ({
  group: `plugin-${name}`, by: 'system:plugins', since: 0, types: ['TraceSwitched'], wants: () => true,
  delivery: ({ position, id, type }) => ({ kind: DELIVERY, subject: `${type} ${position}`, input: { plugin: name, position, id, type } }), ...more,
});
const told = async (store: WorkStore, name: string): Promise<number[]> => (await store.readStream(`operations-plugin-${name}`)).filter(({ type }) => type === 'OperationRequested').map(({ data }) => (data as { input: { position: number } }).input.position);
const happened = (store: WorkStore): number[] => store.log.filter(({ type }) => type === 'TraceSwitched').map(({ position }) => position);

describe('subscribers', () => {
  it('are each told everything they want, in order, from where they began', () => world(async (core, store) => {
    await trace(core, 3);
    const [, second, third] = happened(store);
    const walker = new Subscribers(core, [async () => [one('a'), one('b', { since: second! })], async () => [one('c', { types: ['AppCreated'] }), one('d', { wants: ({ position }) => position === third })]]);
    await walker.pump();
    expect([await told(store, 'a'), await told(store, 'b'), await told(store, 'c'), await told(store, 'd')]).toEqual([happened(store), [third], [], [third]]);
    await trace(core, 1);
    await walker.pump();
    expect(await told(store, 'b')).toEqual(happened(store).slice(2));
  }));

  it('read nothing when nothing is new, and no page twice', () => world(async (core, store) => {
    await trace(core, 5);
    let asked = 0;
    const walker = new Subscribers(core, [async () => { asked += 1; return [one('a'), one('b'), one('rare', { types: ['AppCreated'] })]; }]);
    await walker.pump();
    await walker.pump();
    const [reads, times] = [store.reads, asked];
    for (let i = 0; i < 5; i += 1) await walker.pump();
    expect([store.reads, asked]).toEqual([reads, times]);
    await trace(core, 1);
    await walker.pump();
    // is it the same log, and one page for all three
    expect(store.reads - reads).toBe(2);
  }));

  it('are asked for a page at a time, and nobody is left behind', () => world(async (core, store) => {
    await trace(core, 120);
    const walker = new Subscribers(core, [async () => [one('a'), one('b', { since: happened(store)[100]! })]]);
    await walker.pump();
    expect((await told(store, 'a')).length).toBe(50);
    expect((await told(store, 'b')).length).toBe(19);
    for (let i = 0; i < 3; i += 1) await walker.pump();
    expect(await told(store, 'a')).toEqual(happened(store));
  }));

  it('hear nothing of deliveries, whosever they are', () => world(async (core, store) => {
    for (const group of ['plugin-x', 'webhook-w1', 'notify-n', 'service-x']) await change({ core, actor: 'me' }, 'test', 'x', (draft) => operate(draft, group, { kind: DELIVERY, subject: group, input: {}, by: 'me' }));
    for (const group of ['plugin-x', 'webhook-w1', 'notify-n', 'service-x']) await change({ core, actor: 'me' }, 'test', 'x', (draft) => draft.operation(group, { type: 'Cancel', operation: 1, by: 'me', reason: '' }));
    await new Subscribers(core, [async () => [one('a', { types: ['OperationCancelled'] })]]).pump();
    const [position, ...more] = await told(store, 'a');
    expect([store.log.find((event) => event.position === position)?.stream, more]).toEqual(['operations-service-x', []]);
    expect((await core.repository.load(operations, 'operations-plugin-a')).state.running?.operation).toBe(1);
  }));

  it('of another log, after a restore, are told what that one has', () => world(async (core, store) => {
    await trace(core, 3);
    const walker = new Subscribers(core, [async () => [one('a')]]);
    await walker.pump();
    await walker.pump();
    // a backup of before there was any of that, on which something else happened
    const other = new CountingStore();
    await trace(new Core(core.config, other), 40);
    Object.assign(store, { log: other.log, head_: { ...(other as unknown as { head_: object }).head_ }, versions: (other as unknown as { versions: unknown }).versions, rows: other.rows });
    for (let i = 0; i < 2; i += 1) await walker.pump();
    expect(await told(store, 'a')).toEqual(happened(store));
  }));
});
