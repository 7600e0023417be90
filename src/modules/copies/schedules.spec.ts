import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WorkStore } from '../../../test/work-store.js';
import type { Config } from '../../config.js';
import { apps } from '../apps/app.decider.js';
import { Core } from '../core.js';
import { change } from '../draft.js';
import { storage } from '../storage/storage.decider.js';
import { copies } from './copies.decider.js';
import { Schedules } from './schedules.js';

const group = 'volume-a1-data';
const DAY = 86_400_000;
const MIDNIGHT = Date.UTC(2026, 10, 23);

describe('schedules', () => {
  let root: string;
  let store: WorkStore;
  let now: number;
  const reports: unknown[] = [];
  const core = (): Core => new Core({ root, instance: 'x', domain: 'x' } as unknown as Config, store, () => now);
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'berth-schedules-'));
    store = new WorkStore();
    now = MIDNIGHT;
    reports.length = 0;
    await change({ core: core(), actor: 'me' }, 'test', 'a1', async (draft) => {
      await draft.decide(apps, 'app-a1', { type: 'Create', app: 'a1', name: 'blog' } as never);
      await draft.decide(storage, 'storage-a1', { type: 'Mount', app: 'a1', name: 'data', path: '/data' });
      await draft.decide(copies, `copies-${group}`, { type: 'Schedule', group, subject: { type: 'volume', app: 'a1', name: 'data' }, cron: '0 3 * * *', zone: 'UTC', place: '/backups', now });
    });
  });
  afterEach(() => { rmSync(root, { recursive: true }); });
  const api = (): Schedules => new Schedules(core(), (_, error) => { reports.push(error); });
  const types = (): string[] => store.log.filter((event) => /^(copies|operations)-/.test(event.stream)).map((event) => event.type);

  it('ask for a backup when its time came, once: however many look, restart, or were away', async () => {
    await Promise.all([api().fire(), api().fire()]);
    expect(types()).toEqual(['CopyScheduled']);
    now = MIDNIGHT + 3 * DAY + 4 * 3_600_000;
    await Promise.all([api().fire(), api().fire(), api().fire()]);
    await api().fire();
    expect(reports).toEqual([]);
    expect(types().toSorted()).toEqual(['CopyDue', 'CopyScheduled', 'OperationRequested', 'OperationStepQueued']);
    expect(store.log.find((event) => event.type === 'CopyDue')!.data).toMatchObject({ due: MIDNIGHT + 3 * DAY + 3 * 3_600_000, operation: 1 });
    now += DAY;
    await api().fire();
    expect(types().filter((type) => type === 'OperationRequested')).toHaveLength(2);
  });

  it('of what is gone are asked for no more; what cannot be asked for is a failure, and waits for its next time', async () => {
    await change({ core: core(), actor: 'me' }, 'test', 'a1', async (draft) => {
      await draft.decide(storage, 'storage-a1', { type: 'Unmount', app: 'a1', name: 'data' });
      await draft.decide(storage, 'storage-a1', { type: 'Destroy', app: 'a1', name: 'data' });
    });
    now += DAY;
    await api().fire();
    await api().fire();
    expect(types()).toEqual(['CopyScheduled', 'CopyDue', 'CopyFailed']);
    await change({ core: core(), actor: 'me' }, 'test', 'a1', (draft) => draft.decide(apps, 'app-a1', { type: 'Destroy' }));
    now += DAY;
    await api().fire();
    expect(types()).toEqual(['CopyScheduled', 'CopyDue', 'CopyFailed']);
  });
});
