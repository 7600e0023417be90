import { describe, expect, it } from 'vitest';
import type { Recorded } from '../../events/event.js';
import type { Sealed } from '../../events/sealed.js';
import { bytes } from '../commands/words.js';
import { compareConfig, compareReleases, releaseIn } from './compare.js';

const sealed = (ct: string, iv = 'i'): Sealed => ({ k: 'a', iv, ct, tag: 't' });
const check = { path: null, timeoutMs: 5000, attempts: 3, waitMs: 5000 };
const spec = (n: number, more = {}) => ({ image: `berth/blog:${n}`, imageId: `sha256:${n}${n}`, sha: `${n}`.repeat(40), configVersion: n, processTypes: { web: 'serve' }, releaseCommand: null, check, port: 5000, ...more });
const ref = (deploy: number, step: string) => ({ app: 'a', deploy, step, job: `a.${deploy}.${step}` });
let at = 0;
const event = (type: string, data: object): Recorded => ({ type, data, at: (at += 1000), position: at, schema: 1 }) as unknown as Recorded;
const release = (n: number, s: object, input: object, hosts: string[] | null): Recorded[] => [
  event('BuildpackDetected', { ...ref(n, 'detect'), output: { summary: `Python 3.${n}` } }),
  event('ImageBuilt', { ...ref(n, 'build'), output: { imageId: `sha256:${n}${n}`, bytes: n * 1e8 } }),
  event('StepQueued', { ...ref(n, 'release'), input: { formation: { web: 1 }, limits: { memory: 0, cpus: 0 }, hosts: ['h'], ...input } }),
  event('ReleaseCreated', { app: 'a', deploy: n, number: n, spec: s, kind: 'push', by: 'me', why: 'push' }),
  ...(hosts ? [event('RouteSwitched', { ...ref(n, 'route'), output: { hosts } })] : []),
];
const log = [
  ...release(1, spec(1), {}, ['blog.x']),
  ...release(2, spec(2, { processTypes: { web: 'serve', worker: 'work' }, port: 8000 }), { formation: { web: 3, worker: 0 }, limits: { memory: 512e6, cpus: 0.5 } }, ['blog.x', 'www.y']),
  ...release(3, spec(3, { imageId: 'sha256:11' }), {}, null),
];

describe('two releases', () => {
  it('are compared by what they became live with', () => {
    const rows = compareReleases(releaseIn(log, 1)!, releaseIn(log, 2)!, { bytes });
    expect(rows.filter((r) => r.differs).map((r) => [r.what, r.from, r.to])).toEqual([
      ['commit', '111111111111', '222222222222'], ['image', '11', '22'], ['size', '100 MB', '200 MB'], ['built as', 'Python 3.1', 'Python 3.2'], ['config version', '1', '2'],
      ['process worker', '-', 'work'], ['port', '5000', '8000'], ['containers web', '1', '3'], ['memory limit', 'none', '512 MB'], ['cpu limit', 'none', '0.5'], ['domain www.y', '-', 'yes'],
    ]);
    expect(compareReleases(releaseIn(log, 1)!, releaseIn(log, 1)!, { bytes }).filter((r) => r.differs)).toEqual([]);
  });

  it('know their image, also one that was built for another release, and whether they ever served', () => {
    expect(releaseIn(log, 3)).toMatchObject({ bytes: 1e8, buildpack: 'Python 3.1', liveAt: null, hosts: ['h'] });
    expect(releaseIn(log, 2)!.liveAt).toBeTypeOf('number');
    expect(releaseIn(log, 4)).toBeNull();
  });

  it('never show a value: the same sealed text or the same opened value is no change', async () => {
    const open = async (s: Sealed): Promise<string | null> => (s.ct === 'gone' ? null : s.ct);
    const a = { SAME: sealed('1'), RESEALED: sealed('1', 'x'), CHANGED: sealed('1'), REMOVED: sealed('1'), LOST: sealed('gone'), constructor: sealed('1') };
    const b = { SAME: sealed('1'), RESEALED: sealed('1', 'y'), CHANGED: sealed('2'), ADDED: sealed('1'), LOST: sealed('gone', 'z') };
    expect(await compareConfig(a, b, open)).toEqual({ ADDED: 'added', CHANGED: 'changed', LOST: 'unreadable', REMOVED: 'removed', constructor: 'removed' });
  });
});
