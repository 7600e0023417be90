import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { acts, rules, World } from '../../../test/histories.js';
import type { ReleaseInput } from '../../events/types/deploy.events.js';
import { evolvePipeline, initialPipeline, type PipelineState } from '../deploys/pipeline.state.js';
import { carries, configVersions, holds, type Use } from './retirement.plan.js';

const use = (more: Partial<Use> = {}): Use => ({ name: 'shop', keys: [], live: false, starting: false, deploy: { number: 12, status: 'succeeded' }, ...more });

describe('a password of before', () => {
  const uses = fc.record({
    name: fc.constantFrom('shop', 'blog'), keys: fc.array(fc.constantFrom('DATABASE_URL', 'COPY'), { maxLength: 2 }), live: fc.boolean(), starting: fc.boolean(),
    deploy: fc.option(fc.record({ number: fc.nat(), status: fc.constantFrom('waiting' as const, 'running' as const, 'succeeded' as const, 'failed' as const, 'cancelled' as const, 'superseded' as const) })),
  });

  it('is wanted as long as anybody has it, and not a moment longer', () => {
    fc.assert(fc.property(fc.array(uses, { maxLength: 4 }), fc.array(fc.constant('shop.web.1.d1a1'), { maxLength: 1 }), (all, containers) => {
      const wanted = all.some(({ keys, live, starting }) => keys.length > 0 || live || starting) || containers.length > 0;
      expect(holds(all, containers).length > 0).toBe(wanted);
    }));
  });

  it('is said to be wanted by whom, and what ends that', () => {
    const said = (more: Partial<Use>) => holds([use(more)], []).map(({ what, passes }) => [what, passes]);
    expect(said({ live: true, deploy: { number: 12, status: 'failed' } })).toEqual([["app shop's deploy 12 failed", false]]);
    expect(said({ live: true, deploy: { number: 12, status: 'running' } })).toEqual([["app shop's deploy 12 is running", true]]);
    expect(said({ starting: true, deploy: { number: 12, status: 'running' } })).toEqual([["app shop's deploy 12 is running", true]]);
    expect(said({ live: true, deploy: { number: 12, status: 'cancelled' } })).toEqual([["app shop's deploy 12 was cancelled", false]]);
    expect(said({ live: true })).toEqual([['app shop was not deployed since', false]]);
    expect(said({ keys: ['COPY'], live: true })).toEqual([['app shop has it in its config var COPY', false]]);
    expect(holds([use()], ['shop.web.1.d3a1'])).toEqual([{ what: 'container shop.web.1.d3a1 runs with it', passes: true, todo: null }]);
  });

  it('is found alone and in addresses; a short word in other words is not', () => {
    const long = '0123456789abcdef0123456789abcdef';
    for (const value of [long, `postgres://blog:${long}@host/blog`, `host=x password=${long}`]) expect(carries(value, long), value).toBe(true);
    expect([carries('secret-sauce', 'secret'), carries('redis://:secret@host', 'secret'), carries('redis://:a%2Fb@host', 'a/b'), carries('x', long)]).toEqual([false, true, true, false]);
  });
});

describe('the config that an app\'s containers have', () => {
  it('is known before they serve, from when their making is asked for: in every history', () => {
    let switched = 0;
    let failed = 0;
    fc.assert(fc.property(acts, (history) => {
      const states: PipelineState[] = [initialPipeline];
      /** where the making of what is switched to was asked for */
      let asked = 0;
      for (const event of new World(rules).live(history).log) {
        const state = evolvePipeline(states.at(-1)!, event);
        if (event.type === 'StepQueued' && event.data.step === 'release') asked = states.length;
        // a retry may start it as it was
        if (event.type === 'DeployFailed' && event.data.step === 'release') {
          failed += 1;
          expect(configVersions(state).again).toContain((state.failed[event.data.job]!.input as ReleaseInput).configVersion);
          expect(configVersions(state).starting).toEqual([]);
        }
        states.push(state);
        if (event.type !== 'RouteSwitched') continue;
        const version = configVersions(state).live;
        const ran = configVersions(states.at(-2)!).live;
        switched += 1;
        if (version === ran) continue;
        for (const between of states.slice(asked, -1)) expect(configVersions(between).starting).toContain(version);
      }
    }), { numRuns: 150 });
    expect([switched, failed].every((n) => n > 50), `${switched} switches, ${failed} failures`).toBe(true);
  });
});
