import { describe, expect, it } from 'vitest';
import { fold } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { CopyFacts } from '../../events/types/copy.events.js';
import { chosen, condemned, copies, takenAt, type CopiesCommand } from './copies.decider.js';
import { COPIES } from './copies.projection.js';
import * as judge from '../doctor/judge.js';
import { idleSpools, idleVolumes } from './leftovers.plan.js';
import { emptyBoard } from '../read/board.projection.js';
import { keyOf } from './subject.js';

const group = 'volume-a1-data';
const subject = { type: 'volume', app: 'a1', name: 'data' } as const;
const facts = (copy: number, day: number, more: Partial<CopyFacts> = {}): CopyFacts => {
  const key = keyOf(['volumes', 'blog', 'data'], Date.UTC(2026, 10, day, 3), copy, '.tar');
  return { copy, safety: false, place: { type: 'folder', path: '/b' }, key, bytes: 1, sha256: 'x', encrypted: false, count: { files: 1 }, ...more };
};
const after = (...commands: CopiesCommand[]) => commands.reduce((state, command) => fold(copies, copies.decide(command, state), state), copies.initial);
const take = (one: CopyFacts, gone: number[] = []): CopiesCommand => ({ type: 'Take', group, subject, facts: one, kept: null, gone });

describe('backups of one thing', () => {
  it('a key tells when it was taken', () => { expect(new Date(takenAt(facts(7, 23).key)).toISOString()).toBe('2026-11-23T03:00:00.000Z'); });

  it('the new one condemns older ones of its own place and kind only', () => {
    const keep: CopiesCommand = { type: 'Keep', group, keep: { last: 2, daily: 0, weekly: 0, monthly: 0 } };
    const state = after(keep, take(facts(1, 1)), take(facts(2, 2)), take(facts(3, 2, { place: { type: 'folder', path: '/other' } })), take(facts(4, 3, { safety: true })));
    expect(condemned(state, facts(5, 4)).map(({ copy }) => copy)).toEqual([1]);
    const next = fold(copies, copies.decide(take(facts(5, 4), [1, 99]), state), state);
    expect(next.copies.map(({ copy }) => copy)).toEqual([2, 3, 4, 5]);
    expect(chosen(next, undefined, 'list').copy).toBe(5);
    expect(() => chosen(next, 1, 'list')).toThrow('There is no backup 1');
  });

  it('a time is due once', () => {
    const state = after({ type: 'Schedule', group, subject, cron: '0 3 * * *', zone: 'UTC', place: '/b', now: 100 });
    const due: CopiesCommand = { type: 'Due', group, due: 200, operation: 1 };
    const [event] = copies.decide(due, state);
    expect(event).toMatchObject({ type: 'CopyDue' });
    expect(copies.decide(due, fold(copies, [event!], state))).toEqual([]);
    expect(copies.decide({ ...due, due: 100 }, state)).toEqual([]);
  });

  it('one that never went well is known by what it should have been of', () => {
    const failure = { code: 'copies.full', message: 'the disk is full', hint: null, fault: 'machine' } as const;
    const [event] = copies.decide({ type: 'Fail', group, subject, what: 'backup', operation: 1, copy: null, step: 'store', failure }, copies.initial);
    const all = COPIES.initial();
    COPIES.apply(all, { ...event!, at: 5 } as unknown as Recorded);
    expect(all.groups[group]).toMatchObject({ subject, copies: [], failed: { at: 5, what: 'backup', failure } });
    expect(judge.copies([{ ...all.groups[group]!, name: 'volume blog/data' }], 60_005)).toMatchObject({ health: 'warn', detail: 'volume blog/data: the last one failed 60 s ago: the disk is full' });
  });

  it('refuses to keep nothing', () => { expect(() => after({ type: 'Keep', group, keep: { last: 0, daily: 0, weekly: 0, monthly: 0 } })).toThrow('Nothing would be kept'); });
});

describe('what is left over', () => {
  const row = (operation: number, status: string, endedAt: number | null = null) => ({ operation, status, endedAt });
  const works = { groups: { [group]: { running: 3, rows: [row(1, 'failed', 0), row(2, 'failed', 1000), row(3, 'running')] } }, failed: {} } as never;
  it('of operations: what is over, but for the newest that may be retried', () => {
    expect(idleSpools([`${group}.1`, `${group}.2`, `${group}.3`, 'volume-b2-x.1'], works, 2000)).toEqual([`${group}.1`, `${group}.2`, 'volume-b2-x.1']);
    const newest = { groups: { [group]: { running: null, rows: [row(1, 'succeeded', 0), row(2, 'failed', 1000)] } }, failed: {} } as never;
    expect(idleSpools([`${group}.1`, `${group}.2`], newest, 2000)).toEqual([`${group}.1`]);
    expect(idleSpools([`${group}.2`], newest, 90_000_000)).toEqual([`${group}.2`]);
  });

  it('of volumes: trials that are over, those that never came to use, those that nothing has any more', () => {
    const board = emptyBoard();
    board.apps['a1'] = { running: null, live: { release: 2 }, releases: [{ number: 2, spec: { mounts: [{ name: 'data', path: '/d', generation: 2 }] } }] } as never;
    board.generations['a1.data'] = 2;
    const of = (name: string, drill: string | null = null) => ({ name, app: drill ? null : 'a1', storage: drill ? null : 'data', drill });
    const all = [of('i.a1.data'), of('i.a1.data.g1'), of('i.a1.data.g2'), of('i.a1.data.g3'), of('i.a1.data.g4'), of('i-drill', `${group}.3.drill`), of('i-drill-2', `${group}.2.drill`)];
    expect(idleVolumes(all, board, works, 2000)).toEqual(['i.a1.data', 'i.a1.data.g1', 'i.a1.data.g4', 'i-drill-2']);
    // the deploy that takes it into use is not over, or failed: the old one serves
    const failed = (running: number | null) => ({ running, live: { release: 1 }, releases: [{ number: 1, spec: { mounts: [{ name: 'data', path: '/d' }] } }] }) as never;
    board.apps['a1'] = failed(5);
    expect(idleVolumes([of('i.a1.data'), of('i.a1.data.g1')], board, works, 2000)).toEqual([]);
    board.apps['a1'] = failed(null);
    expect(idleVolumes([of('i.a1.data'), of('i.a1.data.g1')], board, works, 2000)).toEqual(['i.a1.data.g1']);
  });
});
