import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fold } from '../../events/decider.js';
import type { Recorded } from '../../events/event.js';
import type { DriftEvent } from '../../events/types/app.events.js';
import { drift, type DriftState } from './drift.decider.js';
import { DRIFTS, type Drifts } from './drift.projection.js';

describe('the drift of every app', () => {
  it('is of each app what its own stream says, and nothing of one that is gone', () => {
    const look = fc.record({ app: fc.constantFrom('a', 'b', 'c'), wait: fc.nat(400_000), broken: fc.boolean(), busy: fc.boolean() });
    fc.assert(fc.property(fc.array(look, { maxLength: 60 }), (looks) => {
      const streams = new Map<string, DriftEvent[]>();
      const drifts: Drifts = DRIFTS.initial();
      let now = 1;
      for (const { app, wait, broken, busy } of looks) {
        now += wait;
        const own = streams.get(app) ?? [];
        const events = drift.decide({ type: 'Observe', app, findings: broken ? [{ what: 'container-missing', subject: 'web.1', detail: 'gone' }] : [], now, busy }, fold(drift, own));
        streams.set(app, [...own, ...events]);
        for (const event of events) DRIFTS.apply(drifts, event as unknown as Recorded);
      }
      for (const [app, events] of streams) expect<DriftState>(drifts[app] ?? drift.initial).toEqual(fold(drift, events));
      expect(JSON.parse(JSON.stringify(drifts))).toEqual(drifts);
      DRIFTS.apply(drifts, { type: 'AppDestroyed', data: { app: 'a', name: 'x' } } as unknown as Recorded);
      expect(Object.keys(drifts)).not.toContain('a');
    }));
    expect(DRIFTS.skips).not.toContain('AppDestroyed');
  });
});
