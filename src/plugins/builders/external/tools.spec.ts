import { describe, expect, it } from 'vitest';
import { StepFailure } from '../../../events/step.js';
import { packProcesses, toolCall } from './tools.js';

const given = { source: '/w/source', out: '/w/out', tag: 'berth/shop:3-pack', builder: 'heroku/builder:24', socket: '/run/docker.sock', env: { B: 'x y', A: '$(id)' } };

describe('builders that are programs of their own', () => {
  it('pack', () => { expect(toolCall('pack', given)).toEqual({ args: ['build', 'berth/shop:3-pack', '--path', '/w/source', '--builder', 'heroku/builder:24', '--pull-policy', 'if-not-present', '--no-color', '--env', 'A', '--env', 'B'], env: { A: '$(id)', B: 'x y', DOCKER_HOST: 'unix:///run/docker.sock', NO_COLOR: '1' } }); });
  it('nixpacks', () => { expect(toolCall('nixpacks', given).args).toEqual(['build', '/w/source', '--out', '/w/out', '--env', 'A', '--env', 'B']); });
  it('railpack', () => { expect(toolCall('railpack', given).args).toEqual(['prepare', '/w/source', '--plan-out', '/w/out/railpack-plan.json', '--info-out', '/w/out/railpack-info.json', '--env', 'A', '--env', 'B']); });
  it('no value of the config is on a command line', () => { for (const tool of ['pack', 'nixpacks', 'railpack'] as const) expect(toolCall(tool, given).args.join(' ')).not.toMatch(/x y|\$\(id\)/); });
  it('reads the processes of an image that pack made', () => {
    expect(packProcesses({ 'io.buildpacks.build.metadata': JSON.stringify({ processes: [{ type: 'web', command: ['x'] }, { type: 'worker', command: 'y' }, { type: 'Not/one', command: 'z' }] }) })).toEqual({ web: '/cnb/process/web', worker: '/cnb/process/worker' });
    for (const labels of [{}, { 'io.buildpacks.build.metadata': '{"processes":[]}' }, { 'io.buildpacks.build.metadata': '{' }] as Record<string, string>[]) expect(() => packProcesses(labels)).toThrow(StepFailure);
  });
});
