import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { waterfall, type Trace, type TraceStep } from './waterfall.js';

const T = 1_000_000;
const step = (more: Partial<TraceStep>): TraceStep => ({
  job: 'a.7.build', step: 'build', status: 'succeeded', attempts: 1, worker: 'build-1', queuedAt: T, startedAt: T + 5, endedAt: T + 1000, waitedMs: 5, tookMs: 995, calls: [], input: null, output: null, failure: null, ...more,
});
const trace = (steps: TraceStep[], more: Partial<Trace> = {}): Trace => ({
  app: 'blog', deploy: 7, status: 'succeeded', kind: 'push', by: 'key:admin', trace: '0'.repeat(32), commit: 'c0ffee1234', subject: 'Add a page', release: 3, requestedAt: T, startedAt: T + 1, endedAt: T + 4000, steps, ...more,
});

const full = trace([
  step({ job: 'a.7.clone', step: 'clone', worker: 'clone-1', queuedAt: T + 200, startedAt: T + 204, endedAt: T + 330, waitedMs: 4 }),
  step({ job: 'a.7.detect', step: 'detect', worker: 'detect-1', queuedAt: T + 330, startedAt: T + 333, endedAt: T + 340, waitedMs: 3 }),
  step({ queuedAt: T + 340, startedAt: T + 350, endedAt: T + 2900, waitedMs: 10, attempts: 2, calls: [{ name: 'image.build', ms: 2400, detail: 'berth/blog:7' }, { name: 'image.inspect', ms: 3, detail: '' }] }),
  step({ job: 'a.7.release', step: 'release', worker: 'release-1', queuedAt: T + 2900, startedAt: T + 2905, endedAt: T + 3999, waitedMs: 5, status: 'failed', failure: { code: 'release.check-failed', message: 'web.1 never answered', hint: 'does it listen on PORT?' } }),
], { status: 'failed', release: null, startedAt: T + 200 });

describe('a waterfall', () => {
  it('shows waiting apart from work, the longest engine calls, and how to go on after a failure', () => {
    expect(waterfall(full, T + 9000, 100)).toMatchInlineSnapshot(`
      [
        "=====> blog deploy 7: failed in 4.0s",
        "       push c0ffee1 "Add a page" by key:admin",
        "       trace 00000000000000000000000000000000",
        "",
        "       STEP         WAIT     WORK  0                                     4.0s  WORKER",
        "       behind      200ms      0ms  ░░                                          (behind another)",
        "       ✔ clone       4ms    126ms    █                                         clone-1",
        "       ✔ detect      3ms      7ms     █                                        detect-1",
        "       ✔ build      10ms     2.5s      ██████████████████████████              build-1  attempt 2",
        "         · image.build                  2.4s  berth/blog:7",
        "       ✖ release     5ms     1.1s                                ░███████████  release-1",
        " !     release.check-failed: web.1 never answered",
        " !     does it listen on PORT?",
        " !     again from here: berth jobs:retry a.7.release",
      ]
    `);
  });

  it('grows while a step runs', () => {
    const running = trace([step({ status: 'running', queuedAt: T, startedAt: T + 100, endedAt: null })], { status: 'running', endedAt: null, release: null });
    const bar = (now: number): string => waterfall(running, now, 100).at(-1)!;
    expect(bar(T + 200)).toContain('100ms');
    expect(bar(T + 2100)).toContain('2.0s');
    expect(bar(T + 2100)).toMatch(/▸ build .*░+█+ {2}build-1$/);
  });

  const status = fc.constantFrom('queued', 'running', 'waiting-for-retry', 'succeeded', 'failed', 'cancelled', 'something new');
  const at = fc.integer({ min: -100, max: 100_000 }).map((n) => T + n);
  /** what people write, but for the words that the test looks for */
  const text = (maxLength = 20): fc.Arbitrary<string> => fc.string({ maxLength }).filter((word) => !/undefined|NaN|null/.test(word));
  const steps = fc.array(fc.record({
    job: fc.constant('a.7.build'), step: fc.constantFrom('clone', 'detect', 'build', 'release', 'route'), status, attempts: fc.nat(9), worker: fc.option(fc.constantFrom('build-1', 'a-worker-with-a-rather-long-name-12345')),
    queuedAt: at, startedAt: fc.option(at), endedAt: fc.option(at), waitedMs: fc.nat(1e7), tookMs: fc.nat(1e7),
    calls: fc.array(fc.record({ name: fc.constantFrom('image.build', 'a.very.long.call.name.that.fills.the.column'), ms: fc.double({ min: 0, max: 1e6, noNaN: true }), detail: text(200) }), { maxLength: 4 }),
    input: fc.constant(null), output: fc.constant(null), failure: fc.option(fc.record({ code: fc.constant('x.y'), message: text(), hint: fc.option(text()) })),
  }), { maxLength: 8 });
  const any = fc.record({ steps, ended: fc.option(at), started: fc.option(at), subject: fc.option(text(300)), release: fc.option(fc.nat()) })
    .map(({ steps: all, ended, started, subject, release }) => trace(all, { endedAt: ended, startedAt: started, subject, release }));

  it('is drawn for steps in whatever state, never wider than the terminal, failures in full', () => {
    fc.assert(fc.property(any, at, fc.integer({ min: 40, max: 200 }), fc.boolean(), (one, now, columns, all) => {
      for (const line of waterfall(one, now, columns, all)) {
        expect(line).not.toMatch(/undefined|NaN|null/);
        if (!line.startsWith(' !     ')) expect(line.length, line).toBeLessThanOrEqual(columns);
      }
      expect(waterfall(one, now, columns).filter((line) => line.includes('berth jobs:retry'))).toHaveLength(one.steps.filter((s) => s.failure).length);
    }), { numRuns: 500 });
  });

  it('gives every step that worked a cell, however short it was and wherever', () => {
    fc.assert(fc.property(any, at, (one, now) => {
      const bars = waterfall(one, now, 140).filter((line) => /^ {7}. (clone|detect|build|release|route) /.test(line));
      expect(bars).toHaveLength(one.steps.length);
      one.steps.forEach((s, i) => expect(bars[i]!.includes('█'), bars[i]).toBe(s.startedAt !== null));
    }), { numRuns: 500 });
  });
});
