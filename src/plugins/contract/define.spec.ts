import { describe, expect, it } from 'vitest';
import type { PluginManifest } from '../../events/types/plugin.events.js';
import { answer, definePlugin, missingHandlers } from './define.js';
import type { ProjectCall, SeenEvent } from './protocol.js';

const event = (position: number): SeenEvent => ({ id: String(position), position, stream: 's', type: 'DeploySucceeded', at: position, actor: 'x', data: { app: 'a', deploy: position } });
const project = (projection: string, state: unknown, ...positions: number[]): ProjectCall => ({ call: 'project', projection, state, events: positions.map(event) }) as unknown as ProjectCall;
const plugin = definePlugin({
  projections: {
    sum: { initial: { sum: 0 }, fold: (state, { position }) => ({ sum: state.sum + position }) },
    list: { initial: [] as number[], fold: async (state, { position }) => { state.push(position); } },
    picky: { initial: {}, fold: (_, { position }) => { if (position === 2) throw new Error('not two'); } },
  },
});

describe('projections of a module', () => {
  it('begin with their initial state, which stays as it is, and go on with what they are given', async () => {
    expect(await answer(plugin, project('sum', null, 1, 2))).toEqual({ state: { sum: 3 } });
    expect(await answer(plugin, project('sum', { sum: 3 }, 4))).toEqual({ state: { sum: 7 } });
    expect(await answer(plugin, project('list', null, 1, 2))).toEqual({ state: [1, 2] });
    expect(await answer(plugin, project('list', null, 3))).toEqual({ state: [3] });
  });
  it('that throw say at which event', async () => {
    await expect(answer(plugin, project('picky', null, 1, 2))).rejects.toThrow('DeploySucceeded at 2: not two');
  });
  it('that the manifest declares must be there', () => {
    const manifest = { commands: [], hooks: [], events: null, projections: [{ name: 'sum', types: ['DeploySucceeded'] }, { name: 'gone', types: ['DeploySucceeded'] }] } as unknown as PluginManifest;
    expect(missingHandlers(manifest, plugin)).toEqual(['projections["gone"].fold']);
  });
});
