import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Recorded } from '../../../src/events/event.js';
import { SCHEMAS, type EventType } from '../../../src/events/types/all.events.js';
import { upcast } from '../../../src/events/upcast.js';
import { apps } from '../../../src/modules/apps/app.decider.js';
import { claims } from '../../../src/modules/apps/claim.decider.js';
import { audit } from '../../../src/modules/audit/audit.decider.js';
import { backups } from '../../../src/modules/backup/backup.decider.js';
import { copies } from '../../../src/modules/copies/copies.decider.js';
import { requests } from '../../../src/modules/commands/request.decider.js';
import { config } from '../../../src/modules/config/config.decider.js';
import { drift } from '../../../src/modules/drift/drift.decider.js';
import { pipeline } from '../../../src/modules/deploys/pipeline.decider.js';
import { keys } from '../../../src/modules/keys/key.decider.js';
import { operations } from '../../../src/modules/operations/operation.decider.js';
import { plugins, pluginSettings } from '../../../src/modules/plugins/plugin.decider.js';
import { processes } from '../../../src/modules/processes/process.decider.js';
import { applyToBoard, emptyBoard } from '../../../src/modules/read/board.projection.js';
import { registryAccess } from '../../../src/modules/registries/registry-access.decider.js';
import { gitAccess } from '../../../src/modules/sources/git-access.decider.js';
import { storage } from '../../../src/modules/storage/storage.decider.js';
import { links, services } from '../../../src/modules/services/service.decider.js';
import { pushHooks } from '../../../src/modules/hooks/push.decider.js';
import { webhooks } from '../../../src/modules/hooks/webhook.decider.js';
import { NOTIFICATIONS, notifications } from '../../../src/modules/notifications/notification.decider.js';
import { TROUBLES, troubles } from '../../../src/modules/doctor/trouble.decider.js';
import { server } from '../../../src/modules/server/server.decider.js';

/**
 * One sample of every shape of every event that was ever written: `<Type>.v<schema>.json`. A sample that was released is never
 * changed: logs with events like it are out there. In the order of their positions they are the life of one app.
 */
const folder = new URL('../../events/', import.meta.url);
const names = readdirSync(folder).filter((name) => name.endsWith('.json'));
const samples = names.map((name) => ({ name, event: JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as Recorded })).sort((a, b) => a.event.position - b.event.position);

/** which rules read a stream, by the first part of its name */
const READERS: Readonly<Record<string, { initial: unknown; evolve(state: never, event: never): unknown }>> = {
  app: apps, name: claims, domain: claims, config, processes, keys, server, storage, plugins, plugin: pluginSettings, git: gitAccess, registry: registryAccess, drift, pipeline, audit, backups, request: requests, operations, service: services, links, copies, webhooks, push: pushHooks, [NOTIFICATIONS]: notifications, [TROUBLES]: troubles,
};

describe('events as they were ever written', () => {
  it('are all in the list of types', () => {
    const types = new URL('../../../src/events/types/', import.meta.url);
    const declared = readdirSync(types).flatMap((file) => [...readFileSync(new URL(file, types), 'utf8').matchAll(/NewEvent<'(\w+)'/g)].map(([, type]) => type!));
    expect(declared.sort()).toEqual(Object.keys(SCHEMAS).sort());
  });

  it.each((Object.entries(SCHEMAS) as [EventType, number][]).flatMap(([type, newest]) => Array.from({ length: newest }, (_, i) => `${type}.v${i + 1}.json`)))('%s has a sample', (name) => { expect(names).toContain(name); });

  it.each(samples.map(({ name, event }) => [name, event] as const))('%s is what its name says, and reaches the newest shape', (name, event) => {
    expect(name).toBe(`${event.type}.v${event.schema}.json`);
    expect(Object.keys(SCHEMAS)).toContain(event.type);
    expect(upcast(event).schema).toBe(SCHEMAS[event.type as EventType]);
  });

  it('fold, each by the rules of its stream', () => {
    const states = new Map<string, unknown>();
    for (const { name, event } of samples) {
      const reader = READERS[event.stream.split('-')[0]!];
      expect(reader, name).toBeDefined();
      const state = reader!.evolve((states.has(event.stream) ? states.get(event.stream) : reader!.initial) as never, upcast(event) as never);
      expect(state, name).not.toBeUndefined();
      expect(JSON.parse(JSON.stringify(state)), name).toEqual(state);
      states.set(event.stream, state);
    }
    expect(states.get('app-k3v9q2mzxa')).toMatchObject({ status: 'destroyed', name: 'journal', branch: 'main', settings: { memory: '512m' }, domains: [] });
    expect(states.get('keys')).toEqual({ ssh: [], tokens: {} });
    expect(states.get('pipeline-k3v9q2mzxa')).toMatchObject({ releases: [{ number: 1 }] });
  });

  it('fold to a board on which the app was live until it was destroyed', () => {
    const board = emptyBoard();
    for (const { event } of samples) if (event.type !== 'AppDestroyed') applyToBoard(board, upcast(event));
    expect(board.apps['k3v9q2mzxa']).toMatchObject({ name: 'journal', live: { release: 1, containers: [{ id: 'c0ffee' }] }, configKeys: ['GREETING'], releases: [{ number: 1, wasLive: true }] });
    applyToBoard(board, upcast(samples.find(({ event }) => event.type === 'AppDestroyed')!.event));
    expect(board.apps).toEqual({});
    expect(board.server).toEqual({ domains: ['example.com'], trace: true, settings: { 'disable-autocreation': 'true' } });
  });
});
