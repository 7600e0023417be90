import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { acts, APP, rules, World } from '../../../test/histories.js';
import type { Recorded } from '../../events/event.js';
import type { ReleaseInput } from '../../events/types/deploy.events.js';
import { applyToBoard, emptyBoard, type Board } from '../read/board.projection.js';
import { NO_SOURCE } from '../deploys/deploys.service.js';
import { isKept } from '../deploys/pipeline.state.js';
import { KEEP_RELEASES, PUSH_MS, planSweep, type Found } from './sweep.plan.js';

const meta = { actor: 'x', command: 'c', correlation: 'x', causation: null, trace: 't' };
function boardOf(events: readonly { type: string; data: unknown }[]): Board {
  const board = emptyBoard();
  [{ type: 'AppCreated', data: { app: APP, name: 'blog' } }, ...events].forEach((event, i) => applyToBoard(board, { ...event, position: i + 1, stream: 's', version: 1, id: 'e', schema: 1, meta, at: i } as Recorded));
  return board;
}
const NOW = 1_700_000_000_000;
const nothing: Found = { containers: [], images: [], networks: [], volumes: [], quarantines: [], sources: [], repositories: [], logs: [] };

/** Everything the engine and the disk may hold of a history: each image built, each container started. */
function foundAfter(world: World): Found {
  const containers = new Map<string, { id: string; app: string; deploy: number }>();
  const images = new Map<string, { id: string; app: string; deploy: number }>();
  for (const event of world.log) {
    if (event.type === 'ImageBuilt') images.set(event.data.output.imageId, { id: event.data.output.imageId, app: APP, deploy: event.data.deploy });
    if (event.type === 'ContainersStarted') for (const c of event.data.output.containers) if (!containers.has(c.id)) containers.set(c.id, { id: c.id, app: APP, deploy: event.data.deploy });
  }
  const sources = world.log.flatMap((e) => (e.type === 'SourceCloned' ? [e.data.job] : []));
  return { ...nothing, containers: [...containers.values()], images: [...images.values()], sources, networks: [{ name: 'n', app: APP }], repositories: [APP], logs: [APP] };
}

describe('a sweep', () => {
  it('never takes what is live, what a deploy under way has or needs, what may be retried, or what one may go back to', () => {
    fc.assert(fc.property(acts, (history) => {
      const world = new World(rules, false).live(history);
      const { live, running, releases, waiting, failed } = world.state;
      const sweep = planSweep(boardOf(world.log), foundAfter(world), NOW);
      const images = new Set(sweep.images);
      const needs = (number: number | null | undefined): void => { expect(images).not.toContain(releases.find((r) => r.number === number)?.spec.imageId); };
      for (const c of live?.containers ?? []) expect(sweep.containers).not.toContain(c.id);
      needs(live?.release);
      for (const run of [running, ...Object.values(failed).filter(isKept)]) {
        if (!run) continue;
        for (const image of [run.learnt.build?.imageId, (run.input as Partial<ReleaseInput> | undefined)?.imageId]) if (image !== undefined) expect(images).not.toContain(image);
        if (run.kind === 'rollback') needs(run.source.release);
        for (const folder of foundAfter(world).sources) if (folder.startsWith(`${APP}.${run.deploy}.`)) expect(sweep.sources).not.toContain(folder);
        const source = run.learnt.clone?.source.split('/').at(-2);
        if (source !== undefined) expect(sweep.sources.filter((folder) => folder.startsWith(source))).toEqual([]);
      }
      for (const c of running?.learnt.release?.containers ?? []) expect(sweep.containers).not.toContain(c.id);
      if (waiting.source?.kind === 'rollback') needs(waiting.source.source.release);
      const back = [...new Set(releases.filter((r) => r.wasLive).map((r) => r.spec.imageId).reverse())].slice(0, KEEP_RELEASES);
      for (const image of back) expect(images).not.toContain(image);
      expect([sweep.networks, sweep.repositories, sweep.logs]).toEqual([[], [], []]);
    }), { numRuns: 300 });
  });

  it('takes every container that is not live once nothing runs', () => {
    fc.assert(fc.property(acts, (history) => {
      const world = new World(rules, false).live(history);
      if (world.state.running) return;
      const found = foundAfter(world);
      const live = new Set(world.state.live?.containers.map((c) => c.id));
      expect(planSweep(boardOf(world.log), found, NOW).containers).toEqual(found.containers.map((c) => c.id).filter((id) => !live.has(id)));
    }), { numRuns: 300 });
  });

  it('keeps the live image and so many before it', () => {
    const deploy = [{ do: 'request', kind: 'push', release: 1 }, { do: 'work', times: 5 }] as const;
    const world = new World(rules, false).live(Array.from({ length: KEEP_RELEASES + 4 }, () => deploy).flat());
    expect(planSweep(boardOf(world.log), foundAfter(world), NOW).images).toEqual(['sha256:1.1', 'sha256:2.1', 'sha256:3.1']);
  });

  it('keeps the older image that a rollback under way goes back to', () => {
    const deploy = [{ do: 'request', kind: 'push', release: 1 }, { do: 'work', times: 5 }] as const;
    const world = new World(rules, false).live([...Array.from({ length: KEEP_RELEASES + 4 }, () => deploy).flat(), { do: 'request', kind: 'rollback', release: 2 }]);
    expect(planSweep(boardOf(world.log), foundAfter(world), NOW).images).toEqual(['sha256:1.1', 'sha256:3.1']);
  });

  it('takes a volume only when somebody said so, and not one that is mounted again', () => {
    const volumes = ['data', 'cache'].map((storage) => ({ name: `berth.${APP}.${storage}`, app: APP, deploy: null, storage }));
    const doomed = { type: 'StorageDestroyed', data: { app: APP, name: 'data' } };
    expect(planSweep(boardOf([doomed]), { ...nothing, volumes }, NOW).volumes).toEqual([`berth.${APP}.data`]);
    expect(planSweep(boardOf([doomed, { type: 'AppDestroyed', data: { app: APP, name: 'blog' } }]), { ...nothing, volumes }, NOW).volumes).toEqual([`berth.${APP}.data`]);
    const service = { name: 'berth.db', app: '', deploy: null };
    expect(planSweep(boardOf([]), { ...nothing, volumes: [...volumes, service] }, NOW).volumes).toEqual([]);
    expect(planSweep(boardOf([doomed, { type: 'StorageMounted', data: { app: APP, name: 'data', path: '/d' } }]), { ...nothing, volumes }, NOW).volumes).toEqual([]);
  });

  it('keeps the source of a retry that cloned anew, and was retried itself', () => {
    const push = { do: 'request', kind: 'push', release: 1 } as const;
    const [well, again] = [[push, { do: 'work', times: 5 }], { do: 'retry', which: 0 }] as const;
    const world = new World(rules, false).live([push, { do: 'fail', after: 0 }, ...well, again, { do: 'fail', after: 1 }, ...well, again]);
    expect(world.state.running).toMatchObject({ deploy: 5, step: 'detect', input: { source: '/sources/a.3.clone/source.tar' } });
    expect(planSweep(boardOf(world.log), foundAfter(world), NOW).sources).toEqual(['a.2.clone']);
  });

  it('keeps the image that a failed deploy took over from an earlier one, for as long as that may be retried', () => {
    const fails = [{ do: 'request', kind: 'push', release: 1 }, { do: 'fail', after: 3 }] as const;
    const world = new World(rules, false).live([...fails, ...fails]);
    // nothing had changed: the second one found the first one's image
    const log = world.log.map((e) => (e.type === 'ImageBuilt' ? { ...e, data: { ...e.data, output: { ...e.data.output, imageId: 'sha256:1.1' } } } : e));
    const found: Found = { ...nothing, images: [{ id: 'sha256:1.1', app: APP, deploy: 1 }] };
    const discard = (deploy: number) => ({ type: 'JobDiscarded' as const, data: { app: APP, deploy, job: `${APP}.${deploy}.release`, by: 'x', reason: '' } });
    expect(planSweep(boardOf([...log, discard(1)]), found, NOW).images).toEqual([]);
    expect(planSweep(boardOf([...log, discard(1), discard(2)]), found, NOW).images).toEqual(['sha256:1.1']);
  });

  it('takes everything of an app that is not there', () => {
    const found: Found = { containers: [{ id: 'c', app: 'gone', deploy: 1 }], images: [{ id: 'i', app: 'gone', deploy: 1 }], networks: [{ name: 'n', app: 'gone' }], volumes: [{ name: 'v', app: 'gone', deploy: null }], quarantines: [], sources: ['gone.1.clone'], repositories: ['gone'], logs: ['gone'] };
    expect(planSweep(boardOf([]), found, NOW)).toMatchObject({ containers: ['c'], images: ['i'], networks: ['n'], volumes: ['v'], sources: ['gone.1.clone'], repositories: ['gone'], logs: ['gone'] });
  });

  it('takes volumes of containers that are gone, not those of a deploy under way, nor the app\'s own', () => {
    const world = new World(rules, false).live([{ do: 'request', kind: 'push', release: 1 }]);
    const volumes = [{ name: 'cache', app: APP, deploy: null }, { name: 'made just now', app: APP, deploy: 1 }, { name: 'left', app: APP, deploy: 7 }];
    expect(planSweep(boardOf(world.log), { ...nothing, volumes }, NOW).volumes).toEqual(['left']);
  });

  it('takes what a push left that was killed, never what a deploy waits with, or may still be coming', () => {
    const world = new World(rules, false).live([{ do: 'request', kind: 'push', release: 1 }]);
    const board = boardOf(world.log);
    board.deploys[APP] = board.deploys[APP]!.map((deploy) => ({ ...deploy, source: { ...deploy.source, quarantine: '/srv/repos/x.git/objects/tmp_objdir-incoming-held' } }));
    const at = (name: string, changed: number): { path: string; changed: number } => ({ path: `/data/repos/x.git/objects/tmp_objdir-incoming-${name}`, changed });
    expect(planSweep(board, { ...nothing, quarantines: [at('held', 0), at('coming', NOW - PUSH_MS / 2), at('left', NOW - 2 * PUSH_MS)] }, NOW).quarantines).toEqual([at('left', 0).path]);
  });

  it('keeps as many earlier images as was said, those that are pinned, and all while a deploy is under way', () => {
    const release = (number: number) => ({ number, deploy: number, at: 0, by: 'x', why: 'x', wasLive: true, kind: 'push', spec: { imageId: `i${number}` } });
    const board = (settings: Record<string, string>, running: number | null = null): Board => {
      const made = boardOf([]);
      Object.assign(made.apps[APP]!, { settings, running, releases: [1, 2, 3, 4, 5, 6, 7, 8].map(release), live: { release: 8, deploy: 8, containers: [], since: 0 } });
      if (running !== null) made.deploys[APP] = Array.from({ length: running }, (_, at) => ({ deploy: at + 1, kind: 'push', source: NO_SOURCE, status: at + 1 === running ? 'running' : 'succeeded' })) as never;
      return made;
    };
    const found: Found = { ...nothing, images: [1, 2, 3, 4, 5, 6, 7, 8].map((n) => ({ id: `i${n}`, app: APP, deploy: n })) };
    expect(planSweep(board({}), found, NOW).images).toEqual(['i1', 'i2']);
    expect(KEEP_RELEASES).toBe(5);
    expect(planSweep(board({ 'keep-images': '1', pinned: '2,4' }), found, NOW).images).toEqual(['i1', 'i3', 'i5', 'i6']);
    expect(planSweep(board({ 'keep-images': '0' }), found, NOW).images).toHaveLength(7);
    expect(planSweep(board({ 'keep-images': '0' }, 9), found, NOW).images).toEqual([]);
  });
});
