import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold } from '../../events/decider.js';
import type { DriftEvent } from '../../events/types/app.events.js';
import { drift, LOOP_AFTER, REPAIR_BACKOFF, type DriftState, type Finding } from './drift.decider.js';
import { findings } from './drift.plan.js';

const gone: Finding = { what: 'container-missing', subject: 'web.1', detail: 'gone' };
const restarting: Finding = { what: 'container-restarting', subject: 'web.1', detail: 'crashed' };

/** Looks at an app again and again, as the reconciler does. */
class Watch {
  state: DriftState = drift.initial;
  events: DriftEvent[] = [];
  see(now: number, found: readonly Finding[], busy = false): string[] {
    const events = drift.decide({ type: 'Observe', app: 'a', findings: found, now, busy }, this.state);
    this.state = fold(drift, events, this.state);
    this.events.push(...events);
    return events.map((event) => event.type);
  }
}

describe('drift of an app', () => {
  it('is told once, repaired once, and told to be over', () => {
    const app = new Watch();
    expect(app.see(1000, [gone])).toEqual(['DriftDetected', 'RepairStarted']);
    expect(app.see(2000, [gone], true)).toEqual([]);
    expect(app.see(9000, [])).toEqual(['DriftEnded']);
    expect(app.events.at(-1)!.data).toMatchObject({ lastedMs: 8000 });
    expect(app.see(10_000, [])).toEqual([]);
  });

  const stopped: Finding = { what: 'container-stopped', subject: 'web.2', detail: 'exited' };
  const by = (app: Watch): unknown => app.events.findLast((event) => event.type === 'RepairStarted')?.data;

  it('is a container that stopped: started again, also beside a deploy; made anew when it does not stay up', () => {
    const app = new Watch();
    expect(app.see(1000, [stopped, gone], true)).toEqual(['DriftDetected', 'DriftDetected', 'RepairStarted']);
    expect(by(app)).toMatchObject({ by: 'start', subjects: ['web.2'] });
    expect(app.see(17_000, [stopped, gone], true)).toEqual(['RepairStarted']);
    expect(by(app)).toMatchObject({ by: 'start', attempt: 2 });
    expect(app.see(80_000, [stopped, gone])).toEqual(['RepairStarted', 'CrashLoopDetected']);
    expect(by(app)).toMatchObject({ by: 'deploy', subjects: ['web.2', 'web.1'] });
  });

  it('that came with the end of the machine or its engine is repaired at once, however often that was before', () => {
    const app = new Watch();
    for (let now = 1000; now < 5000; now += 1000) {
      app.state = fold(drift, [], app.state);
      const events = drift.decide({ type: 'Observe', app: 'a', findings: [stopped], now, busy: false, back: true }, app.state);
      app.state = fold(drift, events, app.state);
      expect(events.at(-1)).toMatchObject({ type: 'RepairStarted', data: { by: 'start', attempt: 1 } });
    }
  });

  it('is left to a deploy that is under way, and to the engine while it restarts a container', () => {
    const app = new Watch();
    expect(app.see(1000, [gone], true)).toEqual(['DriftDetected']);
    expect(new Watch().see(1000, [restarting])).toEqual(['DriftDetected']);
  });

  it('backs off when repairs do not last, and calls it a crash loop once', () => {
    const app = new Watch();
    let repairs = 0;
    let loops = 0;
    for (let now = 1000; now < 1000 + 600_000; now += 1000) {
      const types = app.see(now, [gone]);
      repairs += types.filter((t) => t === 'RepairStarted').length;
      loops += types.filter((t) => t === 'CrashLoopDetected').length;
    }
    // at once, after 15 s, 60 s, 300 s: not six hundred times
    expect(repairs).toBe(4);
    expect(loops).toBe(1);
  });

  it('begins anew for an app that held for long', () => {
    const app = new Watch();
    for (let now = 0; now <= 80_000; now += 5000) app.see(now, [gone]);
    expect(app.state.repairs.length).toBe(LOOP_AFTER);
    app.see(90_000, []);
    const later = 90_000 + 3_600_000;
    expect(app.see(later, [gone])).toEqual(['DriftDetected', 'RepairStarted']);
    expect(app.state.looping).toBe(false);
  });

  it('never repairs more often than the back-off allows, whatever is seen', () => {
    fc.assert(fc.property(fc.array(fc.record({ wait: fc.integer({ min: 0, max: 400_000 }), broken: fc.boolean(), busy: fc.boolean() }), { maxLength: 80 }), (looks) => {
      const app = new Watch();
      let now = 1;
      const at: number[] = [];
      for (const look of looks) {
        now += look.wait;
        if (app.see(now, look.broken ? [gone] : [], look.busy).includes('RepairStarted')) at.push(now);
      }
      for (let i = 1; i < at.length; i += 1) expect(at[i]! - at[i - 1]!).toBeGreaterThanOrEqual(REPAIR_BACKOFF[1]);
      const open = app.events.filter((e) => e.type === 'DriftDetected').length - app.events.filter((e) => e.type === 'DriftEnded').length;
      expect(open).toBe(Object.keys(app.state.open).length);
    }));
  });
});

describe('what is found', () => {
  const live = { release: 1, deploy: 1, hosts: [], since: 0, containers: ['a', 'b', 'c', 'd'].map((id, i) => ({ id, name: `x.web.${i + 1}`, type: 'web', index: i + 1, ip: '', port: 1 })) };

  it('is what is not there, does not run, or is being restarted', () => {
    const seen = new Map([['a', { id: 'a', state: 'running' }], ['b', { id: 'b', state: 'exited' }], ['c', { id: 'c', state: 'restarting' }]]);
    expect(findings({ live }, seen).map((f) => `${f.subject} ${f.what}`)).toEqual(['web.2 container-stopped', 'web.3 container-restarting', 'web.4 container-missing']);
    expect(findings({ live: null }, seen)).toEqual([]);
  });
});
