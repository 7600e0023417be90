import { describe, expect, it } from 'vitest';
import type { WorkRow } from '../../events/store.port.js';
import { WORKER_KINDS } from '../server/worker-status.js';
import type { Certificate } from '../../drivers/router/haproxy.certificates.js';
import type { WorkerStatus } from '../server/worker-status.js';
import * as judge from './judge.js';

const NOW = Date.UTC(2026, 10, 22, 18);
const DAY = 86_400_000;
const worker = (kind: string, more: Partial<WorkerStatus> = {}): WorkerStatus => ({ name: `${kind}-1`, kind, version: '1.0.0', pid: 7, host: 'h', since: 0, seen: NOW - 1000, done: 0, memory: 0, doing: [], ...more });
const all = WORKER_KINDS.map((step) => worker(step));
const certificate = (days: number, more: Partial<Certificate> = {}): Certificate => ({ file: '/c.pem', subject: '/CN=a.com', names: ['a.com'], notAfter: NOW + days * DAY, used: true, ...more });
const row = (more: Partial<WorkRow>): WorkRow => ({ id: 'a', queue: 'build', group: 'a', payload: {}, notBefore: 0, state: 'todo', dispatch: 0, attempt: 0, owner: null, leaseUntil: 0, dispatchedAt: 0, addedAt: NOW - 30_000, ...more });

it('stack: who is behind', () => {
  expect(judge.stack([{ app: 'a', behind: false }])).toMatchObject({ health: 'ok', detail: '1 app stands on it, none is behind' });
  expect(judge.stack([{ app: 'a', behind: false }, { app: 'b', behind: true }])).toMatchObject({ health: 'warn', detail: 'behind: b', todo: expect.stringContaining('stack:upgrade') });
});

describe('the doctor', () => {
  it('says more than how it is about everything that is not well', () => {
    const sick = [
      judge.disk('log', { path: '/d', free: 1e6, total: 1e12 }), judge.certificates([certificate(-1)], NOW), judge.buildCa({ file: '/ca', broken: 'ENOENT' }, NOW),
      judge.workers([], '1.0.0', NOW), judge.queue([row({})], NOW), judge.logIntegrity({ problem: null, checked: 9, head: 9, checkpoint: null }, NOW - 3 * DAY, NOW), judge.clock(NOW, NOW + 60_000, 0),
      judge.backup({ takenAt: null, to: null, failed: null, restoring: false }, NOW - 3 * DAY, NOW),
    ];
    for (const check of sick) {
      expect(check.health, check.check).not.toBe('ok');
      expect([check.detail, check.means, check.todo].every((text) => typeof text === 'string' && text.length > 0), check.check).toBe(true);
    }
  });

  it('counts the days of the certificates that are used', () => {
    expect(judge.certificates([], NOW)).toMatchObject({ health: 'ok', detail: 'none loaded: the router serves plain HTTP only' });
    expect(judge.certificates([certificate(90), certificate(22, { names: ['b.com'] })], NOW)).toMatchObject({ health: 'ok', detail: 'b.com: 22 days left; a.com: 90 days left' });
    expect(judge.certificates([certificate(20.5)], NOW)).toMatchObject({ health: 'warn', detail: 'a.com: 20 days left' });
    expect(judge.certificates([certificate(-3)], NOW)).toMatchObject({ health: 'bad', detail: 'a.com: expired 3 days ago' });
    expect(judge.certificates([certificate(-3, { used: false })], NOW).health).toBe('ok');
  });

  it('looks at the build bundle: public certificates come and go, its own ones matter', () => {
    expect(judge.buildCa(null, NOW).health).toBe('ok');
    expect(judge.buildCa({ file: '/ca', all: 140, own: [] }, NOW)).toMatchObject({ health: 'ok', detail: '140 certificates in /ca' });
    expect(judge.buildCa({ file: '/ca', all: 141, own: [{ subject: 'O=Us', notAfter: NOW + 5 * DAY }] }, NOW)).toMatchObject({ health: 'warn', detail: expect.stringContaining('1 of them not public; the next to expire, 2026-11-27: O=Us') });
    expect(judge.buildCa({ file: '/ca', all: 141, own: [{ subject: 'O=Old', notAfter: NOW - 900 * DAY }] }, NOW)).toMatchObject({ health: 'ok' });
    expect(judge.buildCa({ file: '/ca', all: 0, own: [] }, NOW).health).toBe('bad');
  });

  it('knows a kind of worker that is missing, one that is silent, and one of another version', () => {
    expect(judge.workers(all, '1.0.0', NOW)).toMatchObject({ health: 'ok', detail: '6 running, all of version 1.0.0, last heard of 1 s ago' });
    expect(judge.workers(all.slice(1), '1.0.0', NOW)).toMatchObject({ health: 'bad', detail: 'no clone worker was heard of in the last 10 s' });
    expect(judge.workers([...all, worker('build', { name: 'build-2', seen: NOW - 8000 })], '1.0.0', NOW)).toMatchObject({ health: 'warn', detail: 'build-2 (pid 7) was last heard of 8 s ago' });
    expect(judge.workers([...all, worker('build', { name: 'build-2', version: '0.9.0' })], '1.0.0', NOW)).toMatchObject({ health: 'warn', detail: 'build-2 runs 0.9.0, the API 1.0.0' });
    expect(judge.workers(null, '1.0.0', NOW).health).toBe('bad');
  });

  it('measures how long work waits that nobody is at', () => {
    expect(judge.lag([], NOW)).toBe(0);
    expect(judge.lag([row({ state: 'dispatched', leaseUntil: NOW + 1000 })], NOW)).toBe(0); // somebody is at it
    expect(judge.lag([row({ notBefore: NOW + 5000 })], NOW)).toBe(0); // not its time
    expect(judge.lag([row({ notBefore: NOW - 4000 }), row({ state: 'dispatched', leaseUntil: NOW - 1, addedAt: NOW - 2000 })], NOW)).toBe(4000);
    expect(judge.queue([row({})], NOW)).toMatchObject({ health: 'warn', detail: '1 open, 0 worked on, the oldest waits for 30 s' });
  });

  it('wants checkpoints and backups, but not of a server that is new', () => {
    const checkpoint = { position: 5, chain: '', takenAt: NOW - 3 * DAY, signature: '', key: '' };
    const sound = { problem: null, checked: 9, head: 9, checkpoint: null };
    expect(judge.logIntegrity(sound, NOW - DAY, NOW).health).toBe('ok');
    expect(judge.logIntegrity(sound, NOW - 3 * DAY, NOW).health).toBe('warn');
    expect(judge.logIntegrity({ ...sound, checkpoint }, 0, NOW)).toMatchObject({ health: 'warn', detail: 'sound up to event 9; the last verified checkpoint is 3 days old and covers 5 events' });
    expect(judge.logIntegrity({ ...sound, checkpoint: { ...checkpoint, takenAt: NOW - 3_600_000 } }, 0, NOW).health).toBe('ok');
    expect(judge.logIntegrity({ ...sound, checked: 4 }, NOW, NOW).detail).toContain('up to event 4 of 9, the rest at the next look');
    expect(judge.logIntegrity({ ...sound, problem: { kind: 'altered', position: 3, message: 'event 3 is not as it was written' } }, 0, NOW)).toMatchObject({ health: 'bad', detail: 'event 3 is not as it was written (altered at position 3)' });
    expect(judge.backup({ takenAt: null, to: null, failed: null, restoring: false }, NOW, NOW)).toMatchObject({ health: 'ok' });
    expect(judge.backup({ takenAt: NOW - 9 * DAY, to: '/b', failed: null, restoring: false }, 0, NOW)).toMatchObject({ health: 'warn', detail: 'the last one is 9 days old: /b' });
    expect(judge.backup({ takenAt: NOW - DAY, to: '/b', failed: 'no room (disk.full)', restoring: false }, 0, NOW)).toMatchObject({ health: 'warn', detail: expect.stringContaining('no room') });
    expect(judge.backup({ takenAt: NOW - DAY, to: '/b', failed: null, restoring: true }, 0, NOW).health).toBe('warn');
  });

  it('sees a clock that was put back, or jumped', () => {
    expect(judge.clock(NOW, NOW - 1000, 20)).toMatchObject({ health: 'ok', detail: '2026-11-22 18:00:00 UTC' });
    expect(judge.clock(NOW, NOW + 3 * DAY, 0)).toMatchObject({ health: 'bad', means: expect.stringContaining('put back by 3 days') });
    expect(judge.clock(NOW, NOW, -5000)).toMatchObject({ health: 'warn', detail: expect.stringContaining('put back by 5.0s') });
  });

  it('tells ages in words', () => {
    expect([-1, 900, 90_000, 150_000, 7_300_000, 3 * DAY].map(judge.age)).toEqual(['0 s', '1 s', '90 s', '2 min', '2 h', '3 days']);
  });
});

describe('backups of volumes and services', () => {
  const HOUR = 3_600_000;
  const copy = (at: number, failure: { code: string } | null = null) => ({ copy: 1, safety: false, at, drilledAt: at, failure }) as never;
  const row = (more: object) => ({ group: 'g', name: 'postgres blog', schedule: null, copies: [], failed: null, ...more }) as never;
  const nightly = { cron: '0 3 * * *', zone: 'UTC', place: '/b', since: NOW - 30 * DAY };

  it('are well while the newest is younger than two of its intervals', () => {
    expect(judge.copies([row({ schedule: nightly, copies: [copy(NOW - 15 * HOUR)] })], NOW)).toMatchObject({ health: 'ok', detail: 'postgres blog 15 h old' });
    expect(judge.copies([row({ schedule: nightly, copies: [copy(NOW - 49 * HOUR)] })], NOW)).toMatchObject({ health: 'warn', detail: 'postgres blog: the newest is 2 days old' });
    expect(judge.copies([row({ copies: [copy(NOW - 300 * DAY)] })], NOW).health).toBe('ok'); // nobody said how often
    expect(judge.copies([row({ schedule: { ...nightly, since: NOW - HOUR } })], NOW)).toMatchObject({ health: 'ok', detail: 'none was taken yet' });
    expect(judge.copies([row({ schedule: nightly })], NOW)).toMatchObject({ health: 'warn', detail: 'postgres blog: none was taken in 30 days' });
  });

  it('say what failed, and are bad when none can be brought back', () => {
    const failed = { at: NOW - HOUR, what: 'backup', copy: null, step: 'store', failure: { message: 'the bucket is full' } };
    expect(judge.copies([row({ copies: [copy(NOW - HOUR)], failed })], NOW)).toMatchObject({ health: 'warn', detail: 'postgres blog: the last one failed 60 min ago: the bucket is full' });
    expect(judge.copies([row({ copies: [copy(NOW - HOUR, { code: 'copies.altered' })] })], NOW)).toMatchObject({ health: 'bad', detail: 'postgres blog: no backup can be brought back' });
  });
});

it('passwords of before: what ends by itself is well, the rest is to be looked at', () => {
  const still = (name: string, why: string, passes: boolean) => ({ name, why, passes, todo: passes ? null : 'berth ps:restart shop' });
  expect(judge.passwords([still('redis:cache', "app shop's deploy 12 is running", true)])).toMatchObject({ health: 'ok', detail: "redis:cache: old password still valid: app shop's deploy 12 is running" });
  expect(judge.passwords([still('redis:cache', 'x', true), still('postgres:blog', "app shop's deploy 12 failed", false)])).toMatchObject({ health: 'warn', detail: "redis:cache: old password still valid: x; postgres:blog: old password still valid: app shop's deploy 12 failed", todo: 'berth ps:restart shop' });
});
