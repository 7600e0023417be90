import { describe, expect, it } from 'vitest';
import { standing } from './standing.js';

describe('how a release stands to the stack of now', () => {
  const row = { name: 'blog', id: 'a1' };
  const now = new Map([['run', 'v2'], ['build', 'b1']]);
  it('is behind when one of its images is another now', () => {
    expect(standing(row, 3, { run: 'v1', build: 'b1' }, now)).toEqual({ app: 'blog', id: 'a1', release: 3, behind: true, images: [{ image: 'run', built: 'v1', now: 'v2' }, { image: 'build', built: 'b1', now: 'b1' }] });
    expect(standing(row, 3, { run: 'v2', build: 'b1' }, now).behind).toBe(false);
  });
  it('is not behind what is not there to build on', () => { expect(standing(row, 3, { java: 'j1' }, now)).toMatchObject({ behind: false, images: [{ now: null }] }); });
});
