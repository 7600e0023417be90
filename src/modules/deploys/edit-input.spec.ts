import { describe, expect, it } from 'vitest';
import { Rejected } from '../../events/decider.js';
import type { BuildInput } from '../../events/types/deploy.events.js';
import { editInput } from './edit-input.js';

const input: BuildInput = {
  app: 'a', name: 'blog', source: '/s.tar', configVersion: 3, limits: { memory: 512, cpus: 0.5, timeoutMs: 1000 },
  plan: { builder: 'dockerfile', buildpack: null, summary: '', dockerfilePath: 'Dockerfile', dockerfile: null, buildArgs: [], processTypes: {}, releaseCommand: null, check: { path: null, timeoutMs: 1, attempts: 1, waitMs: 1 }, port: 5000 },
};
const refused = (edits: Record<string, string>): string => {
  try {
    editInput(input, edits);
  } catch (error) {
    if (error instanceof Rejected) return error.message;
    throw error;
  }
  return 'taken';
};

describe('editing the input of a failed job', () => {
  it('changes what is named, and nothing of the original', () => {
    const before = structuredClone(input);
    expect(editInput(input, { 'limits.memory': '4g', 'plan.buildArgs': 'A,B', 'plan.dockerfilePath': 'x/Dockerfile' })).toEqual({
      ...before, limits: { ...before.limits, memory: 4 * 1024 ** 3 }, plan: { ...before.plan, buildArgs: ['A', 'B'], dockerfilePath: 'x/Dockerfile' },
    });
    expect(input).toEqual(before);
  });

  it('keeps the type that a value had', () => {
    expect(refused({ 'limits.memory': 'much' })).toContain('a number is needed');
    expect(refused({ 'limits.memory': '-1' })).toContain('a number is needed');
    expect(editInput(input, { 'plan.releaseCommand': 'migrate' })).toMatchObject({ plan: { releaseCommand: 'migrate' } });
  });

  it('refuses what is not there, what is no single value, and what says which job this is', () => {
    expect(refused({ 'limits.disk': '1' })).toContain('has no limits.disk');
    expect(refused({ '__proto__.x': '1' })).toContain('has no');
    expect(refused({ limits: '1' })).toContain('not a single value');
    expect(refused({ 'name.x': '1' })).toContain('cannot be changed');
    expect(refused({ app: 'b' })).toContain('cannot be changed');
  });
});
