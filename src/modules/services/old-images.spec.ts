import { describe, expect, it } from 'vitest';
import type { Works } from '../operations/works.projection.js';
import { type ImageSeen, OLD_MS, oldImages, typesAtWork } from './old-images.plan.js';
import { todaysImages } from './old-images.js';

const NOW = 1_700_000_000_000;
const image = (id: string, tags: readonly string[], more: Partial<ImageSeen> = {}): ImageSeen => ({ id, tags, bytes: 7, made: false, created: NOW - 2 * OLD_MS, ...more });
const [today] = todaysImages() as unknown as Iterable<string>;
const old = image('old', ['berth/service-postgres:17-00000000']);
const swept = (images: readonly ImageSeen[], containers: readonly { imageId: string }[] = [], atWork: readonly string[] = []): string[] => oldImages(images, containers, todaysImages(), new Set(atWork), NOW).map(({ id }) => id);

describe('images of services that nobody uses', () => {
  it('go: those of an earlier definition, and those that were made anew under their name', () => {
    const anew = image('anew', [], { made: true });
    expect(oldImages([old, anew], [], todaysImages(), new Set(), NOW)).toEqual([{ id: 'old', references: ['berth/service-postgres:17-00000000'], bytes: 7 }, { id: 'anew', references: ['anew'], bytes: 7 }]);
  });

  it('stay while any container of the engine has one, running or not, and while they are young', () => {
    expect(swept([old], [{ imageId: 'old' }])).toEqual([]);
    expect(swept([image('young', old.tags, { created: NOW - OLD_MS + 1 })])).toEqual([]);
  });

  it('stay when this Berth would make them today, and what ways in from outside run on, too', () => {
    expect([...todaysImages()].filter((name) => /^berth\/service-(?:postgres|s3|ambassador):/.test(name))).toHaveLength(3);
    expect(swept([image('today', [today!]), image('both', [today!, ...old.tags])])).toEqual([]);
  });

  it('stay while an operation of their type is under way or may be retried: it may know one by its id', () => {
    expect(swept([old], [], ['postgres'])).toEqual([]);
    expect(swept([old], [], ['redis'])).toEqual(['old']);
    expect(swept([image('anew', [], { made: true })], [], ['redis'])).toEqual([]);
    const row = (subject: string, status: string) => ({ subject, status });
    expect([...typesAtWork({ groups: { a: { running: 1, rows: [row('postgres blog', 'running'), row('nats bus', 'succeeded')] }, b: { running: null, rows: [row('redis cache', 'waiting')] } }, failed: { j: { subject: 'mysql shop' } } } as unknown as Works)].toSorted()).toEqual(['mysql', 'postgres', 'redis']);
  });

  it('are only those that Berth has called so: nothing that has another name, and nothing without one that it did not mark', () => {
    const names = ['postgres:17', 'berth/service-postgres:mine', 'berth/service-postgres:17-zzzzzzzz', 'reg.example/berth/service-postgres:17-00000000', 'berth/stack-run:13-1'];
    expect(swept([...names.map((name) => image(name, [name])), image('also', [...old.tags, 'mine:1']), image('bare', [])])).toEqual([]);
  });
});
