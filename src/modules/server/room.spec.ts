import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Space } from '../../drivers/disk/space.js';
import { Rejected } from '../../events/decider.js';
import { BUILD_ROOM, requireRoom, roomOn, roomText, standstill, type Disk } from './room.js';

const MB = 1024 ** 2;
const GB = 1024 ** 3;
const at = (free: number, total: number, files?: Space['files']): Space => ({ path: '/data', free, total, ...(files && { files }) });
const core = (log: Space, images: Space | null): Parameters<typeof requireRoom>[0] => ({ probes: { space: async () => ({ log, images }) } as never });
const disks = fc.constantFrom<Disk>('log', 'images');

describe('room on a disk', () => {
  it('is judged by its size: small disks keep what is needed to work, large ones not more than 5 GB', () => {
    expect([499 * MB, 501 * MB, 800 * MB].map((free) => roomOn('log', at(free, 5 * GB)))).toEqual(['none', 'low', 'enough']);
    expect([0.9 * GB, 1.1 * GB, 4 * GB].map((free) => roomOn('log', at(free, 20 * GB)))).toEqual(['none', 'low', 'enough']);
    expect([4.9 * GB, 6 * GB, 19 * GB, 21 * GB].map((free) => roomOn('log', at(free, 4000 * GB)))).toEqual(['none', 'low', 'low', 'enough']);
    expect([BUILD_ROOM - 1, BUILD_ROOM + 1].map((free) => roomOn('images', at(free, 10 * GB)))).toEqual(['none', 'low']);
  });

  it('has run out when no file can be made any more, whatever the bytes say', () => {
    const space = at(50 * GB, 100 * GB, { free: 12, total: 6_000_000 });
    expect(roomOn('log', space)).toBe('none');
    expect(roomText(space)).toBe('54 GB of 107 GB free at /data, and only 12 more files can be made there');
    expect(roomOn('log', at(50 * GB, 100 * GB, { free: 5000, total: 6_000_000 }))).toBe('enough');
  });

  it('never grows with less of it', () => {
    const order = ['none', 'low', 'enough'];
    fc.assert(fc.property(disks, fc.double({ min: 0.1, max: 1e5, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true }), (disk, size, a, b) => {
      const [less, more] = [Math.min(a, b), Math.max(a, b)].map((share) => order.indexOf(roomOn(disk, at(share * size * GB, size * GB))));
      expect(less).toBeLessThanOrEqual(more!);
    }));
  });

  it('that is low is no standstill: only what is full is', () => {
    fc.assert(fc.property(disks, fc.integer({ min: 0, max: 1e13 }), fc.integer({ min: 0, max: 1e13 }), (disk, free, more) => {
      const space = at(free, free + more);
      if (standstill(space) !== null) expect(roomOn(disk, space)).toBe('none');
    }));
    expect(standstill(at(600 * MB, 10 * GB))).toBeNull();
    expect(standstill(at(0, 10 * GB))).toContain('The disk of /data on the server is full (0 B of 11 GB free)');
  });
});

describe('new work', () => {
  const enough = at(50 * GB, 100 * GB);
  const refused = (log: Space, images: Space | null): Promise<unknown> => requireRoom(core(log, images)).then(() => null, (error: unknown) => error);

  it('is refused while either disk has no room, with its path and how much there is', async () => {
    for (const [log, images] of [[at(400 * MB, 20 * GB), enough], [enough, at(1 * GB, 20 * GB)]] as const) {
      const error = await refused(log, images);
      expect(error).toBeInstanceOf(Rejected);
      expect(error).toMatchObject({ code: 'disk.full', message: expect.stringMatching(/nearly full: .* of 21 GB free at \/data\. Nothing new is deployed until there is room$/), hint: expect.stringContaining('berth doctor') });
    }
  });

  it('is taken when there is room, little room, or nobody to ask', async () => {
    expect(await refused(enough, enough)).toBeNull();
    expect(await refused(at(1.2 * GB, 20 * GB), null)).toBeNull();
    await requireRoom({ probes: null });
  });
});
