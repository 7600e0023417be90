import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { acts, rules, World, type Law, type Rules } from '../../../test/histories.js';
import type { PipelineEvent, ReleaseInput, StepInput } from '../../events/types/deploy.events.js';
import type { PipelineCommand } from './pipeline.decider.js';
import type { PipelineState } from './pipeline.state.js';
import { stepsOf } from './step-input.js';

const holds = (law: Law, under: Rules) => fc.property(acts, (history) => {
  expect(new World(under).live(history, law).broken.filter((b) => b.law === law)).toEqual([]);
});

const LAWS: readonly [Law, string][] = [
  ['one-runs', 'at most one deploy of an app runs'],
  ['newest-waits', 'only the newest of a place waits, for somebody; it supersedes older ones; no request is lost'],
  ['nothing-after-end', 'nothing happens to a deploy after its end, but for a failed one that is retried'],
  ['late-changes-nothing', 'a late or second report changes nothing'],
  ['plain-data', 'nothing but refusals is ever thrown, and the state survives JSON'],
  ['one-row', 'a running deploy has exactly one open work row, and nobody else has one that no worker holds'],
  ['no-change-lost', 'a change is live once the deploy that stands for it succeeded'],
  ['live-is-real', 'a release number means one image for ever, and what is routed to exists and runs that image'],
];

describe('in every history of an app\'s pipeline', () => {
  it.each(LAWS)('%s: %s', (law) => { fc.assert(holds(law, rules), { numRuns: Number(process.env.RUNS ?? 150) }); });

  it('histories go far enough to mean something', () => {
    const seen = new Map<string, number>();
    fc.assert(fc.property(acts, (history) => { for (const e of new World(rules).live(history).log) for (const what of [e.type, ...(e.type === 'JobRetried' && e.data.as ? ['JobRetried as another'] : [])]) seen.set(what, (seen.get(what) ?? 0) + 1); }), { numRuns: 300, seed: 1 });
    const types: PipelineEvent['type'][] = ['BuildRequested', 'DeployRequested', 'DeployStarted', 'DeploySuperseded', 'StepQueued', 'StepStarted', 'StepGivenBack', 'SourceCloned', 'BuildpackDetected', 'ImageBuilt', 'ContainersStarted', 'ReleaseCreated', 'RouteSwitched', 'StepFailed', 'DeploySucceeded', 'DeployFailed', 'DeployCancelled', 'JobRetried', 'JobDiscarded'];
    for (const type of [...types, 'JobRetried as another']) expect(seen.get(type) ?? 0, type).toBeGreaterThan(20);
  });
});

// ---- planted bugs

const decides = (change: (command: PipelineCommand, state: PipelineState, right: Rules['decide']) => readonly PipelineEvent[]): Rules => ({ ...rules, decide: (command, state) => change(command, state, rules.decide) });
const evolves = (change: (state: PipelineState, event: PipelineEvent, right: Rules['evolve']) => PipelineState): Rules => ({ ...rules, evolve: (state, event) => change(state, event, rules.evolve) });
const withInput = (events: readonly PipelineEvent[], change: (input: StepInput) => StepInput): PipelineEvent[] => events.map((e) => (e.type === 'StepQueued' ? { ...e, data: { ...e.data, input: change(e.data.input) } } : e));

const MUTANTS: readonly [Law, string, Rules][] = [
  ['one-runs', 'a request starts whatever runs', decides((command, state, right) => right(command, command.type === 'Request' ? { ...state, running: null } : state))],
  ['one-runs', 'a retry starts whatever runs', decides((command, state, right) => right(command, command.type === 'Retry' ? { ...state, running: null } : state))],
  ['newest-waits', 'older requests are not superseded', decides((command, state, right) => right(command, state).filter((e) => command.type !== 'Request' || e.type !== 'DeploySuperseded'))],
  ['newest-waits', 'a failure forgets to start what waits', decides((command, state, right) => {
    const events = right(command, state);
    return command.type === 'Fail' ? events.slice(0, events.findIndex((e) => e.type === 'DeployFailed') + 1 || events.length) : events;
  })],
  ['newest-waits', 'giving up on a step forgets to start what waits', decides((command, state, right) => {
    const events = right(command, state);
    return command.type === 'Claim' && events[0]?.type === 'DeployFailed' ? events.slice(0, 1) : events;
  })],
  ['newest-waits', 'two requests get one number', decides((command, state, right) => right(command, command.type === 'Request' && state.last > 1 ? { ...state, last: state.last - 1 } : state))],
  ['nothing-after-end', 'a cancelled deploy goes on', evolves((state, event, right) => (event.type === 'DeployCancelled' && state.running?.deploy === event.data.deploy ? state : right(state, event)))],
  ['nothing-after-end', 'a success is told twice', decides((command, state, right) => right(command, state).flatMap((e): PipelineEvent[] => (e.type === 'DeploySucceeded' ? [e, e] : [e])))],
  ['late-changes-nothing', 'the attempt is not looked at', decides((command, state, right) => right((command.type === 'Complete' || command.type === 'Fail') && state.running ? { ...command, attempt: state.running.attempt } : command, state))],
  ['late-changes-nothing', 'a claim may report after it failed', decides((command, state, right) => right(command, state.running && state.running.attempt > 0 ? { ...state, running: { ...state.running, claimed: true } } : state))],
  ['plain-data', 'a state has a date in it', evolves((state, event, right) => ({ ...right(state, event), at: new Date(0) }) as PipelineState)],
  ['plain-data', 'a first deploy is followed by what needs a release', decides((command, state, right) => right(command, command.type === 'Request' && !state.live ? { ...state, live: { release: 1, deploy: 0, containers: [], hosts: [] } } : state))],
  ['one-row', 'a cancelled deploy\'s row stays', { ...rules, workFor: (events, before) => ({ ...rules.workFor(events, before), drop: [] }) }],
  ['one-row', 'a machine fault adds no row', { ...rules, workFor: (events, before) => rules.workFor(events.filter((e) => e.type !== 'StepFailed'), before) }],
  ['one-row', 'a cancel forgets the faults so far', { ...rules, workFor: (events, before) => rules.workFor(events, before.running ? { ...before, running: { ...before.running, work: `${before.running.job}.t0` } } : before) }],
  ['no-change-lost', 'a newer change takes an older one\'s place and does only its own', decides((command, state, right) => right(command, state).map((e) => (command.type === 'Request' && e.type === 'DeployRequested' ? { ...e, data: { ...e.data, kind: command.kind, steps: stepsOf(command.kind) } } : e)))],
  ['no-change-lost', 'a deploy covers what was asked for after its release step', decides((command, state, right) => right(command, state.running ? { ...state, running: { ...state.running, coversUpTo: state.last } } : state))],
  ['no-change-lost', 'a change during the first release is taken for done', decides((command, state, right) => (command.type === 'Request' && !state.live && command.kind !== 'push' && command.kind !== 'rebuild' && command.kind !== 'rollback' ? [] : right(command, state)))],
  ['live-is-real', 'a retried release keeps a number that another one has got', decides((command, state, right) => {
    const failed = command.type === 'Retry' ? state.failed[command.job] : undefined;
    return failed?.step === 'release' ? withInput(right(command, state), (input) => ({ ...input, number: (failed.input as ReleaseInput).number })) : right(command, state);
  })],
  ['live-is-real', 'a retried change goes on from containers that are gone', decides((command, state, right) => {
    const failed = command.type === 'Retry' ? state.failed[command.job] : undefined;
    return failed ? withInput(right(command, state), (input) => ('keep' in input && failed.step === 'release' ? failed.input : input)) : right(command, state);
  })],
  ['live-is-real', 'a scale keeps containers of the wrong release', decides((command, state, right) => (command.type === 'Request' && command.kind === 'scale' && state.live && state.releases.length > 1 ? right(command, { ...state, live: { ...state.live, release: state.releases[0]!.number } }) : right(command, state)))],
];

describe('each property finds its planted bug', () => {
  it.each(MUTANTS)('%s: %s', (law, _, mutant) => {
    const result = fc.check(holds(law, mutant), { numRuns: 5000, seed: 3, endOnFailure: true });
    expect(result.failed, `not found in ${result.numRuns} histories`).toBe(true);
  });
});
