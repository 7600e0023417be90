import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { acts, APP, rules, World } from '../../../test/histories.js';
import { fold } from '../../events/decider.js';
import type { NewEvent, Recorded } from '../../events/event.js';
import { liveTable, overtaken } from '../conductor/live-table.js';
import { applyToBoard, emptyBoard, type Board } from './board.projection.js';
import { ROUTES } from './routes.projection.js';

let position = 0;
const recorded = (event: NewEvent, version = 1): Recorded => {
  position += 1;
  return { position, stream: 's', version, id: `e${position}`, type: event.type, data: structuredClone(event.data), schema: 1, meta: { actor: 'root@host', command: 'c', correlation: 'x', causation: null, trace: 't' }, at: position * 10 };
};
const boardOf = (events: readonly Recorded[], from: Board = emptyBoard()): Board => {
  for (const event of events) applyToBoard(from, event);
  return from;
};
const created: NewEvent = { type: 'AppCreated', data: { app: APP, name: 'blog' } };
const logOf = (history: Parameters<World['live']>[0]): Recorded[] => [created, ...new World(rules, false).live(history).log].map((event) => recorded(event));

describe('the board', () => {
  it('says of every history what the pipeline\'s own state says', () => {
    fc.assert(fc.property(acts, (history) => {
      const world = new World(rules, false).live(history);
      const board = boardOf([]);
      applyToBoard(board, recorded(created));
      let state = rules.initial;
      for (const events of world.written) {
        for (const event of events) applyToBoard(board, recorded(event));
        state = fold(rules, events, state);
        const row = board.apps[APP]!;
        expect(row.live && { release: row.live.release, deploy: row.live.deploy, containers: row.live.containers, hosts: row.live.hosts }).toEqual(state.live);
        expect(row.running).toBe(state.running?.deploy ?? null);
        expect(row.last).toBe(state.last);
        expect(Object.keys(board.failed).sort()).toEqual(Object.keys(state.failed).sort());
        expect(row.releases.map(({ at: _, ...release }) => release)).toEqual(state.releases);
        const waiting = board.deploys[APP]!.filter((d) => d.status === 'waiting').map((d) => d.deploy);
        expect(waiting).toEqual([state.waiting.source, state.waiting.converge].flatMap((r) => (r ? [r.deploy] : [])).sort((a, b) => a - b));
      }
    }), { numRuns: 200 });
  });

  it('has no open step in a deploy that is over, and one in the one that runs', () => {
    fc.assert(fc.property(acts, (history) => {
      const board = boardOf(logOf(history));
      for (const deploy of board.deploys[APP]!) {
        const open = deploy.steps.filter((s) => s.status === 'queued' || s.status === 'running' || s.status === 'waiting-for-retry');
        expect(open.map((s) => s.job), deploy.status).toHaveLength(deploy.status === 'running' ? 1 : 0);
        for (const s of open) if (s.status === 'running') expect(s.endedAt).toBeNull();
        if (deploy.status !== 'waiting' && deploy.status !== 'running') expect(deploy.endedAt).not.toBeNull();
      }
    }), { numRuns: 200 });
  });

  it('without what only people look at says the same of routes', () => {
    fc.assert(fc.property(acts, (history) => {
      const [whole, slim] = [emptyBoard(), ROUTES.initial()];
      for (const event of logOf(history)) {
        applyToBoard(whole, event);
        ROUTES.apply(slim, event);
        expect(liveTable(slim)).toEqual(liveTable(whole));
        for (let deploy = 1; deploy <= whole.apps[APP]!.last; deploy += 1) expect(overtaken(slim, APP, deploy)).toBe(overtaken(whole, APP, deploy));
      }
      expect(slim.deploys[APP]!.filter((d) => d.status === 'succeeded' && d.steps.length > 0)).toEqual([]);
    }), { numRuns: 100 });
  });

  it('opens a step again that is tried again, and closes it with its deploy', () => {
    const faulty = [{ do: 'request', kind: 'push', release: 1 }, { do: 'claim', dies: false }, { do: 'report', which: 0, how: 'machine' }] as const;
    const stepAfter = (...more: Parameters<World['live']>[0]) => boardOf(logOf([...faulty, ...more])).deploys[APP]![0]!.steps[0]!;
    expect(stepAfter()).toMatchObject({ status: 'waiting-for-retry', endedAt: expect.any(Number) });
    expect(stepAfter({ do: 'claim', dies: false })).toMatchObject({ status: 'running', attempt: 2, endedAt: null });
    expect(stepAfter({ do: 'cancel', which: 0 }).status).toBe('cancelled');
    expect(stepAfter({ do: 'claim', dies: false }, { do: 'cancel', which: 0 }).status).toBe('cancelled');
    expect(stepAfter({ do: 'die' }).status).toBe('failed');
  });

  it('goes on from a snapshot taken anywhere as if nothing had been', () => {
    fc.assert(fc.property(acts, fc.nat(), (history, at) => {
      const log = logOf(history);
      const cut = at % (log.length + 1);
      const snapshot = JSON.parse(JSON.stringify(boardOf(log.slice(0, cut)))) as Board;
      expect(boardOf(log.slice(cut), snapshot)).toEqual(boardOf(log));
    }), { numRuns: 200 });
  });

  it('leaves the events as they were', () => {
    fc.assert(fc.property(acts, (history) => {
      const log = logOf(history);
      const before = JSON.stringify(log);
      boardOf(log);
      expect(JSON.stringify(log)).toBe(before);
    }), { numRuns: 50 });
  });

  it('follows an app\'s name, settings, config, domains and formation', () => {
    const board = boardOf([
      recorded(created), recorded({ type: 'AppRenamed', data: { app: APP, from: 'blog', to: 'journal' } }), recorded({ type: 'DeployBranchSet', data: { app: APP, branch: 'main', why: 'set' } }),
      recorded({ type: 'AppSettingChanged', data: { app: APP, key: 'memory', from: null, to: '1g' } }), recorded({ type: 'AppSettingChanged', data: { app: APP, key: 'cpu', from: null, to: '1' } }), recorded({ type: 'AppSettingChanged', data: { app: APP, key: 'cpu', from: '1', to: null } }),
      recorded({ type: 'ConfigSet', data: { app: APP, values: { B: {}, A: {} } } }, 1), recorded({ type: 'ConfigUnset', data: { app: APP, keys: ['B'] } }, 2),
      recorded({ type: 'DomainAdded', data: { app: APP, domain: 'a.b' } }), recorded({ type: 'DomainAdded', data: { app: APP, domain: 'c.d' } }), recorded({ type: 'DomainRemoved', data: { app: APP, domain: 'a.b' } }),
      recorded({ type: 'ContainerScaled', data: { app: APP, from: { web: 1 }, to: { web: 3 } } }),
    ]);
    expect(board.names).toEqual({ journal: APP });
    expect(board.apps[APP]).toMatchObject({ name: 'journal', branch: 'main', settings: { memory: '1g' }, configVersion: 2, configKeys: ['A'], domains: ['c.d'], formation: { web: 3 } });
    expect(board.apps[APP]!.settings).not.toHaveProperty('cpu');
  });

  it('forgets a destroyed app whole, and passes over what comes after it', () => {
    fc.assert(fc.property(acts, (history) => {
      const log = logOf(history);
      const board = boardOf([...log, recorded({ type: 'AppDestroyed', data: { app: APP, name: 'blog' } })]);
      expect(board).toEqual(emptyBoard());
      expect(boardOf([...log.slice(1), recorded({ type: 'SomethingOfLater', data: {} })], board)).toEqual(emptyBoard());
    }), { numRuns: 50 });
  });

  it('keeps keys, tokens and the server\'s settings', () => {
    const board = boardOf([
      recorded({ type: 'SshKeyAdded', data: { name: 'a', key: 'k', fingerprint: 'f' } }), recorded({ type: 'SshKeyAdded', data: { name: 'b', key: 'l', fingerprint: 'g' } }), recorded({ type: 'SshKeyRemoved', data: { name: 'a', fingerprint: 'f' } }),
      recorded({ type: 'TokenCreated', data: { name: 'ci', hash: 'h' } }), recorded({ type: 'TokenCreated', data: { name: 'cd', hash: 'i' } }), recorded({ type: 'TokenRevoked', data: { name: 'ci' } }),
      recorded({ type: 'GlobalDomainSet', data: { domains: ['x.y'] } }), recorded({ type: 'TraceSwitched', data: { on: true } }), recorded({ type: 'ServerSettingChanged', data: { key: 'k', from: null, to: 'v' } }),
    ]);
    expect(board).toMatchObject({ keys: [{ name: 'b' }], tokens: [{ name: 'cd', hash: 'i', by: 'root@host' }], server: { domains: ['x.y'], trace: true, settings: { k: 'v' } } });
  });
});
