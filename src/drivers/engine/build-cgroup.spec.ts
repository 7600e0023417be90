import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { BuildCgroup, cgroupLayout } from './build-cgroup.js';

const MB = 1024 ** 2;
const roots: string[] = [];
const root = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-cgroup-'));
  roots.push(folder);
  return folder;
};
afterAll(() => { for (const folder of roots) rmSync(folder, { recursive: true, force: true }); });
const read = (...path: string[]): string => readFileSync(join(...path), 'utf8');
const layout = (cgroupVersion: 1 | 2, cgroupDriver: 'cgroupfs' | 'systemd' | 'none', parent: string | null = null) => cgroupLayout({ cgroupVersion, cgroupDriver }, parent);
const step = 'q1w2e3r4t5y6u7i8o9p0a1s2d';

describe('the cgroup of a build', () => {
  it('is where moby puts its steps', () => {
    expect(layout(1, 'cgroupfs')?.parent).toBe('docker/buildkit');
    expect(layout(2, 'cgroupfs', '/paas')?.parent).toBe('paas/buildkit');
    expect(layout(2, 'none')).toBeNull();
    const systemd = layout(2, 'systemd', 'berth.slice');
    expect(systemd?.parent).toBeNull();
    expect(systemd?.children[0]?.name.test(`berth.slice:docker:${step}`)).toBe(true);
    expect(systemd?.children[1]?.name.test(`docker-${step}.scope`)).toBe(true);
    expect(systemd?.children[1]?.name.test(`docker-${'a'.repeat(64)}.scope`)).toBe(false);
  });

  it('holds the sum of what runs, and nothing afterwards (v2)', () => {
    const at = root();
    const parent = join(at, 'docker/buildkit');
    const cgroup = new BuildCgroup(layout(2, 'cgroupfs')!, at, join(at, 'running'));
    const one = cgroup.enter({ memory: 100 * MB, cpus: 0.5 });
    expect([read(parent, 'memory.max'), read(parent, 'cpu.max'), read(parent, 'memory.swap.max'), read(at, 'docker/cgroup.subtree_control')]).toEqual([String(100 * MB), '50000 100000', '0', '+memory +cpu']);
    const two = cgroup.enter({ memory: 50 * MB, cpus: 0 });
    expect([read(parent, 'memory.max'), read(parent, 'cpu.max')]).toEqual([String(150 * MB), 'max 100000']);
    one.leave();
    one.leave();
    expect(read(parent, 'memory.max')).toBe(String(50 * MB));
    two.leave();
    expect([read(parent, 'memory.max'), read(parent, 'cpu.max')]).toEqual(['max', 'max 100000']);
  });

  it('is the last that the disk serves while builds run', () => {
    const [v1, v2] = [root(), root()];
    for (const dir of ['memory', 'cpu', 'blkio']) mkdirSync(join(v1, dir, 'docker/buildkit'), { recursive: true });
    mkdirSync(join(v2, 'docker/buildkit'), { recursive: true });
    writeFileSync(join(v1, 'blkio/docker/buildkit/blkio.bfq.weight'), '100');
    writeFileSync(join(v2, 'docker/buildkit/io.weight'), 'default 100');
    for (const [version, at, file] of [[1, v1, 'blkio/docker/buildkit/blkio.bfq.weight'], [2, v2, 'docker/buildkit/io.weight']] as const) {
      const guard = new BuildCgroup(layout(version, 'cgroupfs')!, at, join(at, 'running')).enter({ memory: 0, cpus: 0 });
      expect(read(at, file)).toBe('1');
      guard.leave();
      expect(read(at, file)).toBe('100');
    }
  });

  it('limits each step as it appears where there is no common parent (systemd)', async () => {
    const at = root();
    mkdirSync(join(at, 'system.slice'));
    const guard = new BuildCgroup(layout(2, 'systemd')!, at, join(at, 'running')).enter({ memory: 64 * MB, cpus: 0 });
    for (const dir of [`system.slice:docker:${step}`, `system.slice/docker-${step}.scope`, `system.slice/docker-${'a'.repeat(64)}.scope`]) {
      mkdirSync(join(at, dir));
      writeFileSync(join(at, dir, 'memory.max'), 'max');
    }
    await sleep(200);
    guard.leave();
    expect(read(at, `system.slice:docker:${step}`, 'memory.max')).toBe(String(64 * MB));
    expect(read(at, `system.slice/docker-${step}.scope`, 'memory.max')).toBe(String(64 * MB));
    expect(read(at, `system.slice/docker-${'a'.repeat(64)}.scope`, 'memory.max')).toBe('max');
  });

  it('counts the builds of other processes, but not those of dead ones', () => {
    const at = root();
    const parent = join(at, 'docker/buildkit');
    mkdirSync(join(at, 'running'));
    // pid 1 lives as long as the machine; the highest possible pid is nobody's
    writeFileSync(join(at, 'running', '1.other'), JSON.stringify({ memory: 30 * MB, cpus: 0.5 }));
    writeFileSync(join(at, 'running', '4194305.dead'), JSON.stringify({ memory: 900 * MB, cpus: 4 }));
    const guard = new BuildCgroup(layout(2, 'cgroupfs')!, at, join(at, 'running')).enter({ memory: 100 * MB, cpus: 0.5 });
    expect([read(parent, 'memory.max'), read(parent, 'cpu.max')]).toEqual([String(130 * MB), '100000 100000']);
    guard.leave();
    expect(read(parent, 'memory.max')).toBe(String(30 * MB));
  });

  it('says when it cannot be', () => {
    expect(() => new BuildCgroup(layout(1, 'cgroupfs')!, '/proc/nowhere', join(root(), 'running')).enter({ memory: MB, cpus: 0 })).toThrow();
  });
});
