import { describe, expect, it } from 'vitest';
import { given } from '../../../test/given.js';
import { Rejected } from '../../events/decider.js';
import { parseScale, processes, SCALE_MAX } from './process.decider.js';

const scale = (changes: Record<string, number>, known: readonly string[] | null = null) => ({ type: 'Scale' as const, app: 'a', changes, known });

describe('a formation', () => {
  it('starts with one web, and keeps what is not named', () => {
    given(processes).when(scale({ web: 3 })).then({ type: 'ContainerScaled', data: { app: 'a', from: { web: 1 }, to: { web: 3 } } });
    given(processes, [{ type: 'ContainerScaled', data: { app: 'a', from: { web: 1 }, to: { web: 3 } } }]).when(scale({ worker: 2 })).then({ type: 'ContainerScaled', data: { app: 'a', from: { web: 3 }, to: { web: 3, worker: 2 } } });
  });

  it('does not change when it is that already', () => given(processes).when(scale({ web: 1 })).then());
  it('may go down to none', () => given(processes).when(scale({ web: 0 })).then({ type: 'ContainerScaled', data: { app: 'a', from: { web: 1 }, to: { web: 0 } } }));

  it.each([-1, 1e9, SCALE_MAX + 1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('web=%d is refused', (n) => { given(processes).when(scale({ web: n })).rejects('processes.count'); });
  it.each(['', 'Web', 'a b', '../x', 'é', 'a_b', '__proto__', 'x'.repeat(64)])('%j is no process type', (type) => { given(processes).when(scale(Object.fromEntries([[type, 1]]))).rejects('processes.type'); });
  it('knows that release is a task', () => { given(processes).when(scale({ release: 1 })).rejects('processes.type'); });
  it('has only types that the live release has, once there is one', () => {
    given(processes).when(scale({ worker: 1 }, ['web'])).rejects('processes.unknown');
    given(processes).when(scale({ web: 2, wroker: 1 }, ['web', 'worker'])).rejects('processes.unknown');
  });
});

describe('words such as web=3', () => {
  it('are read', () => expect(parseScale(['web=3', 'worker=0', 'web=2'])).toEqual({ web: 2, worker: 0 }));
  it('are numbers even when they are far too large, for the decider to refuse', () => expect(parseScale(['web=1e9', 'cron=-1'])).toEqual({ web: 1e9, cron: -1 }));
  it.each([['web', 'form'], ['=3', 'form'], ['web=1=2', 'form'], ['', 'form'], ['web=abc', 'count'], ['web=', 'count'], ['web=1.5', 'count'], ['web=0x10', 'count'], ['web= 1', 'count'], ['web=1e999', 'count'], ['web=٣', 'count']])('%j is refused', (word, what) => {
    expect(() => parseScale([word])).toThrow(expect.objectContaining({ code: `processes.${what}` }) as Rejected);
  });
  it('are not lost when they look like JavaScript', () => expect(Object.keys(parseScale(['__proto__=1']))).toEqual(['__proto__']));
});
