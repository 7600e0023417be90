import { describe, expect, it } from 'vitest';
import { standing } from './standing.js';

const [RUN, BUILD] = ['berth/stack-run:13-1', 'berth/stack-build:13-1'] as const;

describe('how a release stands to the stack of now', () => {
  const row = { name: 'blog', id: 'a1' };
  const now = new Map([[RUN, 'v2'], [BUILD, 'b1'], ['h:24', 'h2'], ['h:24-build', 'h1']]);
  it('is behind when one of its images is another now', () => {
    expect(standing(row, 3, { [RUN]: 'v1', [BUILD]: 'b1' }, null, now)).toEqual({ app: 'blog', id: 'a1', release: 3, set: null, behind: true, images: [{ image: RUN, built: 'v1', now: 'v2' }, { image: BUILD, built: 'b1', now: 'b1' }] });
    expect(standing(row, 3, { [RUN]: 'v2', [BUILD]: 'b1' }, null, now).behind).toBe(false);
  });
  it('is not behind what is not there to build on', () => { expect(standing(row, 3, { 'berth/stack-run-java:13-1': 'j1' }, null, now)).toMatchObject({ behind: false, images: [{ now: null }] }); });
  it('is behind when other images are set since', () => {
    const pair = { build: 'h:24-build', run: 'h:24' };
    expect(standing(row, 3, { [RUN]: 'v2', [BUILD]: 'b1' }, pair, now).behind).toBe(true);
    expect(standing(row, 3, { 'h:24-build': 'h1', 'h:24': 'h2' }, pair, now).behind).toBe(false);
    expect(standing(row, 3, { 'h:24-build': 'h0', 'h:24': 'h2' }, pair, now).behind).toBe(true);
    expect(standing(row, 3, { 'h:24-build': 'h1', 'h:24': 'h2' }, null, now).behind).toBe(true);
  });
});
